//go:build !purego

package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/weir-risk/weir/scoring"
)

// pair returns a model of one matrix, inputs by outputs.
func pair(r *rand.Rand, inputs, outputs, members int) *scoring.Model {
	list := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = r.Float32() - .5
		}
		return out
	}
	k := members
	return &scoring.Model{
		Columns: 1, Members: k, Width: inputs, Bias: list(k), Out: list(k * outputs),
		Inputs: []scoring.Input{{Inv: 1, Hi: 1, Slope: list(inputs)}},
		Hidden: []scoring.Layer{
			{Width: inputs, S: list(k * inputs), B: list(k * inputs)},
			{Width: outputs, R: list(k * inputs), W: list(inputs * outputs), S: list(k * outputs), B: list(k * outputs)},
		},
	}
}

// TestSparseEqualsDense runs both products over the same inputs, from none to
// all of them zeros. The sign of a zero may differ; doc.go says why it may.
func TestSparseEqualsDense(t *testing.T) {
	if len(kernelsHere()) == 0 {
		t.Logf("this processor has no AVX2: nothing to compare")
		return
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := pair(r, 1+r.IntN(200), 1+r.IntN(300), 1+r.IntN(5))
		k := kernelsHere()[int(seed)%len(kernelsHere())]
		f := newPacked(m, k)
		l, stride, n := &f.layers[1], pad(m.Width, padding), 1+r.IntN(f.rows)
		zeros := r.IntN(5)
		for row := range n * m.Members {
			for i := range m.Width {
				if f.h[row*stride+i] = 0; r.IntN(4) >= zeros {
					f.h[row*stride+i] = r.Float32() - .5
				}
			}
		}
		f.hidden(l, stride, n) // makes the mask
		f.sparse(l, stride, n)
		sparse := append([]float32(nil), f.in[:n*m.Members*l.width]...)
		clear(f.in)
		f.dense(l, stride, n)
		for i, v := range sparse {
			if f.in[i] != v {
				t.Fatalf("seed %d, %s: %d rows, %d members, %d by %d: %g dense, %g sparse at %d",
					seed, k.name, n, m.Members, m.Width, l.width, f.in[i], v, i)
			}
		}
	}
}

// BenchmarkProduct compares products of matrices without zeros.
func BenchmarkProduct(b *testing.B) {
	for _, rows := range []int{32, 256} {
		r := rand.New(rand.NewPCG(1, 2))
		m := pair(r, 256, 256, 1)
		a, c := make([]float32, rows*256), make([]float32, rows*256)
		for i := range a {
			a[i] = r.Float32() + .1
		}
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("rows=%d/backend=%s", rows, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*256*256*float64(rows)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
		for _, k := range kernelsHere() {
			p := product{kernels: k, a: a, aStride: 256, inputs: 256, w: newPacked(m, k).layers[1].weights, c: c, width: 256}
			run(k.name, func() { clear(c); p.run(rows) })
		}
		run("gonum", func() {
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, blas32.General{Rows: rows, Cols: 256, Stride: 256, Data: a},
				blas32.General{Rows: 256, Cols: 256, Stride: 256, Data: m.Hidden[1].W}, 0,
				blas32.General{Rows: rows, Cols: 256, Stride: 256, Data: c})
		})
	}
}
