package scoring_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

func TestValidateFailure(t *testing.T) {
	f := func(name string, want error, change func(m *scoring.Model)) {
		t.Helper()
		r := rand.New(rand.NewPCG(1, 2))
		m := scoringtest.Model(r, scoringtest.Shape{Columns: 3, Hidden: []int{4, 5}, Members: 2, Tables: 4, Scale: 1})
		m.Inputs[1].Edges, m.Inputs[1].Prefix, m.Inputs[1].Slope = nil, nil, m.Inputs[1].Slope[:4]
		if err := m.Validate(); err != nil {
			t.Fatalf("the sound model: %v", err)
		}
		change(m)
		if err := m.Validate(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := cpu.New(m); !errors.Is(err, want) {
			t.Errorf("%s: cpu.New gives %v, want %v", name, err, want)
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f("no columns", scoring.ErrShape, func(m *scoring.Model) { m.Columns = 0 })
	f("no inputs", scoring.ErrShape, func(m *scoring.Model) { m.Inputs = nil })
	f("no members", scoring.ErrShape, func(m *scoring.Model) { m.Members = 0 })
	f("another width", scoring.ErrShape, func(m *scoring.Model) { m.Width = 5 })
	f("a column below 0", scoring.ErrShape, func(m *scoring.Model) { m.Inputs[0].Column = -1 })
	f("a column too high", scoring.ErrShape, func(m *scoring.Model) { m.Inputs[2].Column = 3 })
	f("a slope short", scoring.ErrShape, func(m *scoring.Model) { m.Inputs[1].Slope = m.Inputs[1].Slope[:3] })
	f("a prefix of a line", scoring.ErrShape, func(m *scoring.Model) { m.Inputs[1].Prefix = make([]float32, 4) })
	f("a table without the missing row", scoring.ErrShape, func(m *scoring.Model) {
		m.Inputs[0].Prefix = m.Inputs[0].Prefix[:len(m.Inputs[0].Edges)*4]
	})
	f("an R in the first layer", scoring.ErrShape, func(m *scoring.Model) { m.Hidden[0].R = make([]float32, 8) })
	f("a weight short", scoring.ErrShape, func(m *scoring.Model) { m.Hidden[1].W = m.Hidden[1].W[1:] })
	f("an adapter short", scoring.ErrShape, func(m *scoring.Model) { m.Hidden[1].S = m.Hidden[1].S[1:] })
	f("no output", scoring.ErrShape, func(m *scoring.Model) { m.Out = nil })
	f("no bias", scoring.ErrShape, func(m *scoring.Model) { m.Bias = nil })
	f("a mean of NaN", scoring.ErrNotFinite, func(m *scoring.Model) { m.Inputs[0].Mean = nan })
	f("a bound of infinity", scoring.ErrNotFinite, func(m *scoring.Model) { m.Inputs[0].Hi = inf })
	f("an edge of NaN", scoring.ErrNotFinite, func(m *scoring.Model) { m.Inputs[0].Edges[0] = nan })
	f("a weight of infinity", scoring.ErrNotFinite, func(m *scoring.Model) { m.Hidden[1].W[3] = -inf })
	f("a scale of NaN", scoring.ErrNotFinite, func(m *scoring.Model) { m.Hidden[1].R[3] = nan })
	f("an output of NaN", scoring.ErrNotFinite, func(m *scoring.Model) { m.Out[9] = nan })
	f("no scale", scoring.ErrEncoding, func(m *scoring.Model) { m.Inputs[0].Inv = 0 })
	f("bounds crossed", scoring.ErrEncoding, func(m *scoring.Model) { m.Inputs[0].Lo = 9 })
	f("a stand-in in a table", scoring.ErrEncoding, func(m *scoring.Model) { m.Inputs[0].Missing = 1 })
	f("an edge twice", scoring.ErrEncoding, func(m *scoring.Model) { m.Inputs[0].Edges[1] = m.Inputs[0].Edges[0] })
	f("a wide clamp", scoring.ErrUnbounded, func(m *scoring.Model) { m.Inputs[0].Hi = 1e38 })
	f("an overflow in the encoding", scoring.ErrUnbounded, func(m *scoring.Model) { m.Inputs[1].Slope[0] = 1e30 })
	f("an overflow in an adapter", scoring.ErrUnbounded, func(m *scoring.Model) { m.Hidden[0].S[0] = 1e30 })
	f("an overflow behind a weight of 0", scoring.ErrUnbounded, func(m *scoring.Model) {
		clear(m.Hidden[1].W)
		m.Hidden[1].R[0] = 3e38
	})
	f("an overflow in a product", scoring.ErrUnbounded, func(m *scoring.Model) { m.Hidden[1].W[0] = 1e30 })
	f("an overflow in the output", scoring.ErrUnbounded, func(m *scoring.Model) { m.Out[0] = 1e30 })
	f("an overflow by the bias", scoring.ErrUnbounded, func(m *scoring.Model) { m.Bias[0] = 1e31 })
}

// TestTwinAgainstDoublePrecision guards the meaning of the network, which bits
// alone do not: the score is close to that of a plain evaluation in float64 of
// the piecewise linear sums.
func TestTwinAgainstDoublePrecision(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := scoringtest.RandomShape(r)
		s.Scale = 1
		m := scoringtest.Model(r, s)
		x := scoringtest.Rows(r, 8, m.Columns)
		twin, err := cpu.NewPureGo(m)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, x.Rows)
		if err := twin.Score(x, out); err != nil {
			t.Fatal(err)
		}
		for i, got := range out {
			want := plain(m, x.Data[i*x.Cols:(i+1)*x.Cols])
			if math.Abs(float64(got)-want) > 2e-4 {
				t.Fatalf("seed %d, row %d: twin %g, double precision %g", seed, i, got, want)
			}
		}
	}
}

func plain(m *scoring.Model, x []float32) float64 {
	code := make([]float64, m.Width)
	for i := range m.Inputs {
		in := &m.Inputs[i]
		v := float64(x[in.Column])
		if in.Log {
			v = math.Copysign(math.Log1p(min(math.Abs(v), math.MaxFloat32)), v)
		}
		z := min(max((v-float64(in.Mean))*float64(in.Inv), float64(in.Lo)), float64(in.Hi))
		missing := math.IsNaN(float64(x[in.Column]))
		for j := range code {
			switch {
			case in.Linear() && missing:
				code[j] += float64(in.Missing) * float64(in.Slope[j])
			case in.Linear():
				code[j] += z * float64(in.Slope[j])
			case missing:
				code[j] += float64(in.Prefix[len(in.Edges)*m.Width+j])
			default:
				b := 0
				for b+1 < len(in.Edges) && float64(in.Edges[b+1]) <= z {
					b++
				}
				code[j] += float64(in.Prefix[b*m.Width+j]) + (z-float64(in.Edges[b]))*float64(in.Slope[b*m.Width+j])
			}
		}
	}
	mean := 0.
	for k := range m.Members {
		acc, h := code, []float64(nil)
		for l := range m.Hidden {
			layer := &m.Hidden[l]
			if l > 0 {
				acc = make([]float64, layer.Width)
				for i, v := range h {
					for j := range acc {
						acc[j] += v * float64(layer.R[k*len(h)+i]) * float64(layer.W[i*layer.Width+j])
					}
				}
			}
			h = make([]float64, layer.Width)
			for j := range h {
				h[j] = max(acc[j]*float64(layer.S[k*layer.Width+j])+float64(layer.B[k*layer.Width+j]), 0)
			}
		}
		z := float64(m.Bias[k])
		if h == nil {
			z += code[0]
		}
		for j, v := range h {
			z += v * float64(m.Out[k*len(h)+j])
		}
		mean += 1 / (1 + math.Exp(-z)) / float64(m.Members)
	}
	return mean
}

// TestReach follows one input through two layers by hand.
func TestReach(t *testing.T) {
	m := &scoring.Model{
		Columns: 1, Members: 2, Width: 1, Bias: []float32{0, 0}, Out: []float32{1, 1},
		Inputs: []scoring.Input{{Inv: 1, Lo: -3, Hi: 2, Slope: []float32{10}}}, // sums to 30
		Hidden: []scoring.Layer{
			{Width: 1, S: []float32{1, -2}, B: []float32{5, 0}}, // to 35, to 60
			{Width: 1, R: []float32{-1, .5}, W: []float32{4}, S: []float32{1, 1}, B: []float32{0, 0}},
		},
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := m.Reach(); !slices.Equal(got, []float64{0, 35}) {
		t.Errorf("inputs reach %g", got)
	}
}
