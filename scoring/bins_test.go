package scoring_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// value is Bins' definition.
func value(b *scoring.Bins, z float64, j int) float64 {
	width := len(b.Linear)
	v := z * float64(b.Linear[j])
	if c := float64(b.Clip); c > 0 {
		v = min(max(z, -c), c) * float64(b.Linear[j])
	}
	for k := 0; k+1 < len(b.Edges); k++ {
		lo, hi := float64(b.Edges[k]), float64(b.Edges[k+1])
		v += min(max((z-lo)/(hi-lo), 0), 1) * float64(b.Weights[k*width+j])
	}
	return v
}

// TestBinsBecomeATable compares the score of a table with the definition of its
// bins, for values below, on, between and above the edges.
func TestBinsBecomeATable(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 6))
		b := &scoring.Bins{Linear: []float32{r.Float32() - .5}, Missing: []float32{r.Float32() - .5}}
		for at := -3 + r.Float32(); r.IntN(9) > 0; at += .1 + r.Float32() {
			b.Edges = append(b.Edges, at)
		}
		if n := len(b.Edges); n > 2 && r.IntN(2) == 0 {
			// As in life, the clip is an edge, and so is its opposite where bins reach there.
			b.Clip = float32(math.Abs(float64(b.Edges[r.IntN(n)])))
			b.Edges = append(b.Edges, -b.Clip, b.Clip)
			slices.Sort(b.Edges)
			b.Edges = slices.Compact(b.Edges)
		}
		for range len(b.Edges) - 1 {
			b.Weights = append(b.Weights, r.Float32()-.5)
		}
		in := b.Table(scoring.Input{Inv: 1, Lo: -4 + 3*r.Float32(), Hi: 5})
		m := &scoring.Model{Columns: 1, Inputs: []scoring.Input{in}, Members: 1, Width: 1, Bias: []float32{0}}
		s, err := cpu.New(m)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		f := func(x float32, want float64) {
			t.Helper()
			out := []float32{0}
			if err := s.Score(scoring.Matrix{Data: []float32{x}, Rows: 1, Cols: 1}, out); err != nil {
				t.Fatal(err)
			}
			if want = 1 / (1 + math.Exp(-want)); math.Abs(float64(out[0])-want) > 1e-6 {
				t.Fatalf("seed %d: at %g, edges %v, scored %g, want %g", seed, x, b.Edges, out[0], want)
			}
		}
		f(float32(math.NaN()), float64(b.Missing[0]))
		for _, x := range append([]float32{in.Lo, -9, 9, 0, r.Float32()*8 - 4}, b.Edges...) {
			f(x, value(b, float64(min(max(x, in.Lo), in.Hi)), 0))
		}
	}
}
