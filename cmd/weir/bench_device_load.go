package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda"
)

// gpuSwaps is what swapping bundles did to the batches meanwhile.
type gpuSwaps struct {
	Swaps   int          `json:"swaps"`
	Batches int          `json:"batches"`
	Rows    int          `json:"rows"`
	Failed  int          `json:"failed"` // batches that the GPU did not score
	Wrong   int          `json:"wrong"`  // batches of other bits than their model's
	During  batchLatency `json:"during"`
	Without batchLatency `json:"without"`
	LoadP50 float64      `json:"load_p50_ms"` // from a bundle to its golden rows scored right
}

// gpuLoad is what disturbances did to the batches meanwhile.
type gpuLoad struct {
	Rows       int               `json:"rows"`
	Batches    int               `json:"batches"`
	OnGPU      uint64            `json:"on_gpu"`
	Wrong      int               `json:"wrong"`
	Fallbacks  uint64            `json:"fallbacks"`
	Faults     map[string]uint64 `json:"faults"`
	Recoveries uint64            `json:"recoveries"`
	Recovery   float64           `json:"recovery_ms"` // the last one
	Latency    batchLatency      `json:"latency"`
	Longest    float64           `json:"longest_ms"`
	Ended      string            `json:"ended"` // the device's state at the end
}

// A served model is one on the GPU, and what the CPU says of the rows that it is given.
type served struct {
	scorer *cuda.Scorer
	want   []float32
}

func (b *gpuBench) serve(m *scoring.Model, x scoring.Matrix) (*served, error) {
	s, err := cpu.New(m)
	if err != nil {
		return nil, err
	}
	v := &served{want: make([]float32, x.Rows)}
	if err := s.Score(x, v.want); err != nil {
		return nil, err
	}
	v.scorer, err = b.gpu.Scorer(m, nil)
	return v, err
}

// swapRows is the size of the batches that go on under swaps, where --tiers has it.
const swapRows = 1024

// swap scores batches while one bundle after another takes over.
func (b *gpuBench) swap(ctx context.Context, n *gpuNetwork) (*gpuSwaps, error) {
	f := &gpuSwaps{Rows: min(swapRows, b.tiers[len(b.tiers)-1])}
	x, out := rowsOf(3, f.Rows, n.Columns), make([]float32, f.Rows)
	now, err := b.serve(n.model, x)
	if err != nil {
		return nil, err
	}
	defer func() { now.scorer.Close() }()
	batch := func() (time.Duration, error) { return now.scorer.Measure(cuda.GPU, x, out) }
	if f.Without, err = b.sample(batch); err != nil {
		return nil, err
	}
	// The next model is made and loaded beside the batches; a batch is scored by one
	// model, from its first row to its last.
	next, stop, ended := atomic.Pointer[served]{}, make(chan struct{}), make(chan error, 1)
	var loads []time.Duration
	free := make(chan struct{}, 1)
	free <- struct{}{}
	go func() { ended <- b.bundles(n, x, &next, free, stop, &loads) }()
	var list []time.Duration
	for f.Swaps < b.swaps && ctx.Err() == nil && err == nil {
		if v := next.Swap(nil); v != nil {
			now.scorer.Close()
			now = v
			f.Swaps++
			free <- struct{}{}
		}
		took, failed := batch()
		switch {
		case failed != nil:
			f.Failed++
			// Where it fails for good, no bundle comes any more.
			if f.Failed > failedMost {
				err = failed
			}
			continue
		case b.wrong(now.want, out):
			f.Wrong++
		}
		list = append(list, took)
		select {
		case err = <-ended:
			ended <- nil
		default:
		}
	}
	close(stop)
	if last := <-ended; err == nil {
		err = last
	}
	if v := next.Load(); v != nil {
		v.scorer.Close()
	}
	f.Batches, f.During, f.LoadP50 = len(list)+f.Failed, latencyOf(list), latencyOf(loads).P50/1000
	return f, err
}

// failedMost is how many batches may fail before the measurement is given up.
const failedMost = 1000

// bundles makes one model after another, each when the one before has taken over.
func (b *gpuBench) bundles(n *gpuNetwork, x scoring.Matrix, next *atomic.Pointer[served], free, stop <-chan struct{}, loads *[]time.Duration) error {
	for seed := uint64(2); ; seed++ {
		select {
		case <-stop:
			return nil
		case <-free:
		}
		m := ensemble(seed, n.Columns, n.Members, n.Hidden...)
		start := time.Now()
		v, err := b.serve(m, x)
		if err != nil {
			return err
		}
		*loads = append(*loads, time.Since(start))
		next.Store(v)
	}
}

// underLoad scores one batch after another for the time of --load. The GPU may fail as
// it likes; each score has to be right.
func (b *gpuBench) underLoad(ctx context.Context, e *env, m *scoring.Model) (*gpuLoad, error) {
	f := &gpuLoad{Rows: b.tiers[0], Faults: make(map[string]uint64)}
	x, out := rowsOf(4, f.Rows, m.Columns), make([]float32, f.Rows)
	v, err := b.serve(m, x)
	if err != nil {
		return nil, err
	}
	defer v.scorer.Close()
	before := b.gpu.Stats()
	e.printf("under load for %v\n", b.load)
	var list []time.Duration
	for start := time.Now(); time.Since(start) < b.load && ctx.Err() == nil; {
		clear(out)
		began := time.Now()
		if err := v.scorer.Score(x, out); err != nil {
			return nil, err
		}
		list = append(list, time.Since(began))
		if b.wrong(v.want, out) {
			f.Wrong++
		}
	}
	after := b.gpu.Stats()
	f.Latency = latencyOf(list)
	f.Batches, f.Longest, f.Ended = len(list), f.Latency.Max/1000, after.State.String()
	f.OnGPU, f.Fallbacks = after.Batches[cuda.GPU]-before.Batches[cuda.GPU], after.Fallbacks-before.Fallbacks
	f.Recoveries, f.Recovery = after.Recoveries-before.Recoveries, float64(after.Recovery.Microseconds())/1000
	for class, count := range after.Faults {
		f.Faults[class.String()] = count
	}
	return f, ctx.Err()
}
