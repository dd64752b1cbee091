package trainer

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func BenchmarkGradient(b *testing.B) {
	for _, terms := range []int{30, 120} {
		b.Run(fmt.Sprintf("rows=100000/terms=%d", terms), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			d := NewDataset(make([]string, terms))
			x := make([]float32, terms)
			for i := range 100_000 {
				for t := range x {
					x[t] = float32(r.NormFloat64())
				}
				d.Add(x, i%100 == 0, int64(i), 0)
			}
			o := newObjective(d.X, d, terms, 1, 0)
			p, grad := make([]float64, terms+1), make([]float64, terms+1)
			b.ReportAllocs()
			for b.Loop() {
				p[0]++
				o.gradient(grad, p)
			}
		})
	}
}
