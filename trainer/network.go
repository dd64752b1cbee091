package trainer

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/weir-risk/weir/scoring"
)

// RandomModel returns a network that nobody trained, for benchmarks: widths are
// those of the input, the hidden layers and the output, which is 1. The same
// seed gives the same bits on every processor: weights are multiples of powers
// of two, of about the size that keeps sums from growing (He). Its inputs are
// linear, clamped to ten deviations; a missing value counts as the mean. It
// panics where there are fewer than two widths or the last is not 1.
func RandomModel(seed uint64, widths ...int) *scoring.Model {
	if len(widths) < 2 || widths[len(widths)-1] != 1 {
		panic(fmt.Sprintf("BUG: a network of widths %v", widths))
	}
	r := rand.NewPCG(seed, 0)
	columns, hidden := widths[0], widths[1:len(widths)-1]
	m := &scoring.Model{Columns: columns, Members: 1, Width: 1, Bias: uniform(r, 1, 1)}
	if len(hidden) > 0 {
		m.Width = hidden[0]
	}
	for c := range columns {
		m.Inputs = append(m.Inputs, scoring.Input{
			Column: c, Inv: 1, Lo: -10, Hi: 10, Slope: uniform(r, m.Width, columns),
		})
	}
	before := 0
	for l, w := range hidden {
		h := scoring.Layer{Width: w, S: ones(w), B: uniform(r, w, 16*w)}
		if l > 0 {
			h.R, h.W = ones(before), uniform(r, before*w, before)
		}
		m.Hidden = append(m.Hidden, h)
		before = w
	}
	m.Out = uniform(r, before, max(before, 1))
	return m
}

// uniform draws n numbers evenly from plus or minus a power of two, the one
// nearest to sqrt(6/fan).
func uniform(r *rand.PCG, n, fan int) []float32 {
	size := math.Ldexp(1, int(math.Round(math.Log2(6/float64(fan))/2)))
	list := make([]float32, n)
	for i := range list {
		list[i] = float32(int64(r.Uint64())>>40) * float32(size*0x1p-23)
	}
	return list
}

func ones(n int) []float32 {
	list := make([]float32, n)
	for i := range list {
		list[i] = 1
	}
	return list
}
