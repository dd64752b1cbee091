package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/trainer"
)

// gpuBits is the comparison of scores.
type gpuBits struct {
	Rows        int     `json:"rows"`
	Differences int     `json:"differences"`        // of bits, in float16 scores that are off by halfWrong or more
	Largest     float64 `json:"largest_difference"` // of scores
	Seconds     float64 `json:"seconds"`
}

// gpuTier is what batches of one size cost. GPU is nil where there is none.
type gpuTier struct {
	Rows int         `json:"rows"`
	GPU  *gpuFigures `json:"gpu,omitempty"`
	CPU  gpuFigures  `json:"cpu"`
}

// gpuFigures are of one back end: latencies, and rows a second of batches one after
// another, on the GPU with every lane full.
type gpuFigures struct {
	batchLatency
	Rate float64 `json:"rows_per_s"`
	// Lanes is how many batches are in flight, Fallbacks how many of them the CPU had to
	// score in place of the GPU.
	Lanes     int    `json:"lanes"`
	Fallbacks uint64 `json:"fallbacks"`
}

// batchLatency is of batches, each measured, in microseconds.
type batchLatency struct {
	Batches int     `json:"batches"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p999_us"`
	Max     float64 `json:"max_us"`
}

// latencyOf takes a list, which it sorts.
func latencyOf(list []time.Duration) batchLatency {
	if len(list) == 0 {
		return batchLatency{}
	}
	slices.Sort(list)
	at := func(share float64) float64 {
		return float64(list[min(int(share*float64(len(list))), len(list)-1)].Nanoseconds()) / 1000
	}
	return batchLatency{len(list), at(.5), at(.99), at(.999), at(1)}
}

// ensemble draws a model of the kind that the trainer makes: every other input a table,
// and members that differ by scales, biases and outputs.
func ensemble(seed uint64, columns, members int, hidden ...int) *scoring.Model {
	m := trainer.RandomModel(seed, append(append([]int{columns}, hidden...), 1)...)
	r := rand.New(rand.NewPCG(seed, 1))
	draw := func(n int, about, size float32) []float32 {
		list := make([]float32, n)
		for i := range list {
			list[i] = about + float32(size*(2*r.Float32()-1))
		}
		return list
	}
	const segments = 16
	for c := 0; c < columns; c += 2 {
		in := &m.Inputs[c]
		for s := range segments {
			in.Edges = append(in.Edges, float32(s)/2-4)
		}
		in.Prefix, in.Slope = draw((segments+1)*m.Width, 0, .25), draw((segments+1)*m.Width, 0, .25)
	}
	m.Members = members
	before := 0
	for l := range m.Hidden {
		h := &m.Hidden[l]
		if h.S, h.B = draw(members*h.Width, 1, .25), draw(members*h.Width, 0, .25); l > 0 {
			h.R = draw(members*before, 1, .25)
		}
		before = h.Width
	}
	m.Out, m.Bias = draw(members*before, 0, .125), draw(members, 0, 1)
	return m
}

// drawRows fills x with ordinary values, and one in 32 that is missing or at an edge.
func drawRows(r *rand.PCG, x []float32) {
	edges := [...]float32{float32(math.NaN()), float32(math.NaN()), 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), 1e-40, 1e30}
	for i := range x {
		if v := r.Uint64(); v&31 == 0 {
			x[i] = edges[v>>5&7]
		} else {
			x[i] = float32(int64(v)>>40) * 0x1p-21 // -4 to 4
		}
	}
}

// rowsOf draws a matrix.
func rowsOf(seed uint64, rows, columns int) scoring.Matrix {
	x := scoring.Matrix{Data: make([]float32, rows*columns), Rows: rows, Cols: columns}
	drawRows(rand.NewPCG(seed, 2), x.Data)
	return x
}

// compareBits scores rows on the GPU and on every core, and counts the scores that
// differ.
func (b *gpuBench) compareBits(ctx context.Context, m *scoring.Model) (*gpuBits, error) {
	gpu, err := b.gpu.Scorer(m, nil)
	if err != nil {
		return nil, err
	}
	defer gpu.Close()
	var scorers []*cpu.Scorer
	for range runtime.GOMAXPROCS(0) {
		s, err := cpu.New(m)
		if err != nil {
			return nil, err
		}
		scorers = append(scorers, s)
	}
	part := min(link.RowsMax, (b.rows+len(scorers)-1)/len(scorers))
	x := rowsOf(0, part*len(scorers), m.Columns)
	want, got := make([]float32, x.Rows), make([]float32, x.Rows)
	start, f := time.Now(), &gpuBits{}
	for seed := uint64(1); f.Rows < b.rows && ctx.Err() == nil; seed++ {
		errs := make([]error, len(scorers))
		var wg sync.WaitGroup
		for i, s := range scorers {
			wg.Go(func() {
				mine := x.Data[i*part*x.Cols : (i+1)*part*x.Cols]
				drawRows(rand.NewPCG(seed, uint64(i)), mine)
				errs[i] = s.Score(scoring.Matrix{Data: mine, Rows: part, Cols: x.Cols}, want[i*part:])
			})
		}
		wg.Wait()
		if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
			return nil, errs[i]
		}
		if _, err := gpu.Measure(cuda.GPU, x, got); err != nil {
			return nil, err
		}
		wrong, largest := b.differences(want, got)
		f.Rows, f.Differences, f.Largest = f.Rows+x.Rows, f.Differences+wrong, max(f.Largest, largest)
	}
	f.Seconds = time.Since(start).Seconds()
	return f, ctx.Err()
}

// halfWrong is how far a score of float16 arithmetic may not be off, for networks of
// this kind.
const halfWrong = 1e-3

// differences counts scores that are wrong: whose bits are not the same, or that are off
// by halfWrong or more in float16 arithmetic. largest is the largest difference.
func (b *gpuBench) differences(want, got []float32) (n int, largest float64) {
	for i, v := range want {
		off := math.Abs(float64(v) - float64(got[i]))
		if largest = max(largest, off); b.device.arithmetic.half && off < halfWrong {
			continue
		}
		if math.Float32bits(v) != math.Float32bits(got[i]) {
			n++
		}
	}
	return n, largest
}

// wrong reports whether a batch has scores that are.
func (b *gpuBench) wrong(want, got []float32) bool {
	n, _ := b.differences(want, got)
	return n > 0
}

// tier measures batches of one size on both back ends.
func (b *gpuBench) tier(m *scoring.Model, rows int) (t gpuTier, err error) {
	t = gpuTier{Rows: rows, CPU: gpuFigures{Lanes: 1}}
	x, out := rowsOf(1, rows, m.Columns), make([]float32, rows)
	s, err := cpu.New(m)
	if err != nil {
		return t, err
	}
	began := time.Now()
	t.CPU.batchLatency, err = b.sample(func() (time.Duration, error) {
		start := time.Now()
		err := s.Score(x, out)
		return time.Since(start), err
	})
	// One after another on one core: the rate is that of the latencies.
	t.CPU.Rate = float64(t.CPU.Batches*rows) / time.Since(began).Seconds()
	if err != nil || b.gpu == nil {
		return t, err
	}
	gpu, err := b.gpu.Scorer(m, nil)
	if err != nil {
		return t, err
	}
	defer gpu.Close()
	t.GPU = &gpuFigures{}
	if t.GPU.batchLatency, err = b.sample(func() (time.Duration, error) { return gpu.Measure(cuda.GPU, x, out) }); err != nil {
		return t, err
	}
	return t, b.full(t.GPU, m, x)
}

// sample calls f for the time that a figure has, behind a tenth of it to warm up.
func (b *gpuBench) sample(f func() (time.Duration, error)) (batchLatency, error) {
	var list []time.Duration
	whole := time.Duration(b.seconds * float64(time.Second))
	for _, length := range []time.Duration{whole / 10, whole} {
		list = list[:0]
		for start := time.Now(); len(list) == 0 || time.Since(start) < length; {
			took, err := f()
			if err != nil {
				return batchLatency{}, err
			}
			list = append(list, took)
		}
	}
	return latencyOf(list), nil
}

// full measures rows a second with a scorer for each lane, as a scorer of the stream
// uses it.
func (b *gpuBench) full(f *gpuFigures, m *scoring.Model, x scoring.Matrix) error {
	f.Lanes = link.Lanes - 1 // the last one is for golden rows
	scorers := make([]*cuda.Scorer, f.Lanes)
	for i := range scorers {
		var err error
		if scorers[i], err = b.gpu.Scorer(m, nil); err != nil {
			return err
		}
		defer scorers[i].Close()
	}
	before, start := b.gpu.Stats(), time.Now()
	var wg sync.WaitGroup
	errs := make([]error, f.Lanes)
	for i, s := range scorers {
		wg.Go(func() {
			out := make([]float32, x.Rows)
			for n := 0; errs[i] == nil && (n == 0 || time.Since(start).Seconds() < b.seconds); n++ {
				errs[i] = s.Score(x, out)
			}
		})
	}
	wg.Wait()
	took, after := time.Since(start).Seconds(), b.gpu.Stats()
	f.Rate = float64(after.Rows[cuda.GPU]-before.Rows[cuda.GPU]) / took
	f.Fallbacks = after.Batches[cuda.CPU] - before.Batches[cuda.CPU]
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if f.Rate == 0 {
		return fmt.Errorf("the GPU scored nothing with every lane full: %s", after.Reason)
	}
	return nil
}
