package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// dense returns a plain network, the same for each call: one member, no tables.
func dense(widths ...int) *scoring.Model {
	r := rand.New(rand.NewPCG(1, 1))
	m := scoringtest.Model(r, scoringtest.Shape{Columns: widths[0], Hidden: widths[1 : len(widths)-1], Members: 1, Scale: 1})
	m.Inputs = nil
	for c := range widths[0] {
		slope := make([]float32, widths[1])
		for j := range slope {
			slope[j] = float32(r.NormFloat64() * math.Sqrt(2/float64(widths[0])))
		}
		m.Inputs = append(m.Inputs, scoring.Input{Column: c, Mean: .1, Inv: .9, Lo: -5, Hi: 5, Slope: slope})
	}
	return m
}

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

func benchmark(b *testing.B, rows, columns int, flop float64, score func(scoring.Matrix, []float32)) {
	r := rand.New(rand.NewPCG(2, 2))
	x := scoring.Matrix{Data: make([]float32, rows*columns), Rows: rows, Cols: columns}
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	out := make([]float32, rows)
	b.ReportAllocs()
	for b.Loop() {
		score(x, out)
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

// BenchmarkTables is the network that the trainer fits: every input a table of
// 17 segments and a logarithm, 8 members.
func BenchmarkTables(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 3))
	m := scoringtest.Model(r, scoringtest.Shape{Columns: 53, Hidden: []int{64, 64}, Members: 8, Tables: 4, Log: 4, Scale: 1})
	for _, rows := range []int{1, 32, 256, 1024} {
		b.Run(fmt.Sprintf("net=53-64-64-1/members=8/rows=%d/backend=asm", rows), func(b *testing.B) {
			benchmark(b, rows, m.Columns, 8*2*64*65+2*53*64, mustScorer(cpu.New(m)))
		})
	}
}
