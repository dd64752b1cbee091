package cpu_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// dense returns a plain network, the same for each call: one member, no tables,
// inputs as they come, scales of 1; what gonum and ONNX Runtime can do too.
func dense(widths ...int) *scoring.Model {
	r := rand.New(rand.NewPCG(1, 1))
	normal := func(n int, size float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(r.NormFloat64() * size)
		}
		return out
	}
	last := len(widths) - 2 // hidden layers
	m := &scoring.Model{Columns: widths[0], Members: 1, Width: widths[1], Bias: []float32{-.5}}
	for c := range widths[0] {
		slope := normal(widths[1], math.Sqrt(2/float64(widths[0])))
		m.Inputs = append(m.Inputs, scoring.Input{Column: c, Inv: 1, Lo: -1e6, Hi: 1e6, Slope: slope})
	}
	for l, w := range widths[1 : last+1] {
		h := scoring.Layer{Width: w, S: slices.Repeat([]float32{1}, w), B: normal(w, .1)}
		if l > 0 {
			h.R = slices.Repeat([]float32{1}, widths[l])
			h.W = normal(widths[l]*w, math.Sqrt(2/float64(widths[l])))
		}
		m.Hidden = append(m.Hidden, h)
	}
	m.Out = normal(widths[last], math.Sqrt(1/float64(widths[last])))
	return m
}

// export writes what another runtime needs to do the same as the benchmark:
// per layer the weights, then the biases, of inputs as rows; then rows of
// inputs, and their scores. All are little-endian float32.
func export(folder, name string, m *scoring.Model, x scoring.Matrix) error {
	var out []float32
	for i := range m.Inputs {
		out = append(out, m.Inputs[i].Slope...)
	}
	for l := range m.Hidden {
		out = append(append(out, m.Hidden[l].W...), m.Hidden[l].B...)
	}
	out = append(append(append(out, m.Out...), m.Bias...), x.Data...)
	scores := make([]float32, x.Rows)
	mustScorer(cpu.NewPureGo(m))(x, scores)
	out = append(out, scores...)
	var data []byte
	for _, v := range out {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return os.WriteFile(filepath.Join(folder, name+".f32"), data, 0o644)
}

var exportTo = flag.String("export", "", "folder to which BenchmarkScore writes its networks, for onnx/bench.py")

// gonum is the same network by gonum's float32 matrix product; its library
// exponential and its order of sums give other bits.
type gonum struct {
	m    *scoring.Model
	w    []blas32.General // the first is the encoding
	h    [2]blas32.General
	rows int
}

func newGonum(m *scoring.Model, rows int) *gonum {
	g := &gonum{m: m, rows: rows}
	first := blas32.General{Rows: m.Columns, Cols: m.Width, Stride: m.Width}
	for i := range m.Inputs {
		first.Data = append(first.Data, m.Inputs[i].Slope...)
	}
	g.w = append(g.w, first)
	widest := max(m.Columns, m.Width)
	for l := 1; l < len(m.Hidden); l++ {
		h := m.Hidden[l]
		g.w = append(g.w, blas32.General{Rows: m.Hidden[l-1].Width, Cols: h.Width, Stride: h.Width, Data: h.W})
		widest = max(widest, h.Width)
	}
	for i := range g.h {
		g.h[i].Data = make([]float32, rows*widest)
	}
	return g
}

func (g *gonum) score(x scoring.Matrix, out []float32) {
	in, next := &g.h[0], &g.h[1]
	in.Rows, in.Cols, in.Stride = x.Rows, x.Cols, x.Cols
	for i := range x.Rows {
		for c := range g.m.Inputs {
			p := &g.m.Inputs[c]
			z := (x.Data[i*x.Cols+c] - p.Mean) * p.Inv
			in.Data[i*x.Cols+c] = max(min(z, p.Hi), p.Lo)
		}
	}
	for l, w := range g.w {
		next.Rows, next.Cols, next.Stride = x.Rows, w.Cols, w.Cols
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, *in, w, 0, *next)
		layer := &g.m.Hidden[l]
		for i := range x.Rows {
			row := next.Data[i*w.Cols : (i+1)*w.Cols]
			for j, v := range row {
				v = max(v*layer.S[j]+layer.B[j], 0)
				if l+1 < len(g.w) {
					v *= g.m.Hidden[l+1].R[j]
				}
				row[j] = v
			}
		}
		in, next = next, in
	}
	for i := range x.Rows {
		sum := g.m.Bias[0]
		for j, v := range in.Data[i*in.Cols : (i+1)*in.Cols] {
			sum += v * g.m.Out[j]
		}
		out[i] = float32(1 / (1 + math.Exp(-float64(sum))))
	}
}

func normalRows(rows, columns int) scoring.Matrix {
	r := rand.New(rand.NewPCG(2, 2))
	x := scoring.Matrix{Data: make([]float32, rows*columns), Rows: rows, Cols: columns}
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

func benchmark(b *testing.B, rows, columns int, flop float64, score func(scoring.Matrix, []float32)) {
	// Batches of other rows each time, so that branches cannot be learnt by heart.
	all := normalRows(max(rows, 4096), columns)
	x := scoring.Matrix{Rows: rows, Cols: columns}
	out := make([]float32, rows)
	at := 0
	b.ReportAllocs()
	for b.Loop() {
		x.Data = all.Data[at*columns : (at+rows)*columns]
		score(x, out)
		if at += rows; at+rows > all.Rows {
			at = 0
		}
	}
	perRow := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(rows)
	b.ReportMetric(perRow, "ns/row")
	b.ReportMetric(flop/perRow, "GFLOP/s")
}

func mustScorer(s *cpu.Scorer, err error) func(scoring.Matrix, []float32) {
	if err != nil {
		panic(err)
	}
	return func(x scoring.Matrix, out []float32) {
		if err := s.Score(x, out); err != nil {
			panic(err)
		}
	}
}

func BenchmarkScore(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one core each: gonum would take all
	for _, widths := range [][]int{{64, 256, 256, 1}, {15, 64, 64, 1}} {
		m := dense(widths...)
		flop, name := 0., "net="
		for i, w := range widths {
			if i > 0 {
				flop += 2 * float64(widths[i-1]*w)
				name += "-"
			}
			name += fmt.Sprint(w)
		}
		if *exportTo != "" {
			if err := export(*exportTo, name, m, normalRows(256, m.Columns)); err != nil {
				b.Fatal(err)
			}
		}
		for _, rows := range []int{1, 32, 256, 1024} {
			for _, back := range []struct {
				name  string
				score func(scoring.Matrix, []float32)
			}{
				{"asm", mustScorer(cpu.New(m))},
				{"gonum", newGonum(m, rows).score},
				{"twin", mustScorer(cpu.NewPureGo(m))},
			} {
				if back.name == "twin" && rows > 32 {
					continue // a row takes the same time whatever the batch
				}
				b.Run(fmt.Sprintf("%s/rows=%d/backend=%s", name, rows, back.name), func(b *testing.B) {
					benchmark(b, rows, m.Columns, flop, back.score)
				})
			}
		}
	}
}
