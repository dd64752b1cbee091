package trainer

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

func TestRandomModel(t *testing.T) {
	f := func(want uint64, widths ...int) {
		t.Helper()
		m := RandomModel(1, widths...)
		if err := m.Validate(); err != nil {
			t.Fatalf("%v: %v", widths, err)
		}
		h := fnv.New64a()
		hash := func(list []float32) {
			for _, v := range list {
				fmt.Fprintf(h, "%08x", math.Float32bits(v))
			}
		}
		for i := range m.Inputs {
			hash(m.Inputs[i].Slope)
		}
		for l := range m.Hidden {
			hash(m.Hidden[l].W)
			hash(m.Hidden[l].B)
		}
		hash(m.Out)
		hash(m.Bias)
		if got := h.Sum64(); got != want {
			t.Errorf("%v: bits %x, golden are %x", widths, got, want)
		}
		// A benchmark of a network whose scores are all 0 or 1, or all the same,
		// would measure something else.
		s, err := cpu.New(m)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 1))
		x := scoring.Matrix{Data: make([]float32, 1000*widths[0]), Rows: 1000, Cols: widths[0]}
		for i := range x.Data {
			x.Data[i] = float32(r.NormFloat64())
		}
		out := make([]float32, x.Rows)
		if err := s.Score(x, out); err != nil {
			t.Fatal(err)
		}
		mean, square := 0.0, 0.0
		for _, v := range out {
			mean += float64(v) / 1000
			square += float64(v) * float64(v) / 1000
		}
		if sd := math.Sqrt(square - mean*mean); mean < 0.05 || mean > 0.95 || sd < 0.05 {
			t.Errorf("%v: scores of mean %g and deviation %g", widths, mean, sd)
		}
	}
	f(0x5890213ea03a5346, 15, 64, 64, 1)
	f(0xfea6c7d360e3c285, 64, 256, 256, 1)
	f(0xa6f4ed4dd7394040, 8, 1)
}
