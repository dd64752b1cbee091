package kernels_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/scoringtest"
	"github.com/weir-risk/weir/trainer"
)

// roundings returns how far half precision can take a row's score from the CPU's: each
// input and each weight of a product is off by a part in 2^11 at most, and what
// follows from that is followed to the end, every error at its worst. It is in
// float64; what else there is rounded is below the small terms that it adds.
func roundings(m *scoring.Model, x []float32) float64 {
	const part = 0x1p-11 + 0x1p-18
	code, reach, sum := make([]float32, m.Width), m.Reach(), 0.
	for i := range m.Inputs {
		m.Inputs[i].Add(x[m.Inputs[i].Column], code)
	}
	for k := range m.Members {
		var h, off []float64
		for l := range m.Hidden {
			layer := &m.Hidden[l]
			acc, accOff := make([]float64, layer.Width), make([]float64, layer.Width)
			for j := range acc {
				if l == 0 {
					acc[j] = float64(code[j])
				}
				for i, v := range h {
					r, w := float64(layer.R[k*len(h)+i]), float64(layer.W[i*layer.Width+j])
					in, inOff := v*r, off[i]*math.Abs(r)+part*math.Abs(v*r)+0x1p-37*reach[l]
					acc[j] += in * w
					accOff[j] += inOff*math.Abs(w)*(1+part) + part*math.Abs(in*w)
				}
			}
			h, off = make([]float64, layer.Width), make([]float64, layer.Width)
			for j, v := range acc {
				s := float64(layer.S[k*layer.Width+j])
				h[j] = max(0, v*s+float64(layer.B[k*layer.Width+j]))
				off[j] = accOff[j] * math.Abs(s)
			}
		}
		for j, v := range off {
			sum += v * math.Abs(float64(m.Out[k*len(h)+j]))
		}
	}
	return min(1, sum/float64(m.Members)/4) + 1e-6 // a sigmoid rises by a quarter at most
}

// TestTensorCoresAreNear prints how far the scores of the tensor-core kernel are
// from the CPU's, at most and on average.
func TestTensorCoresAreNear(t *testing.T) {
	for _, members := range []int{1, 8, 16, 64} {
		shape := shippedShape
		shape.Members = members
		m, x := random(600, shape, scaled(20, 500))
		measure(t, fmt.Sprintf("a random network of the shipped size, %d members", members), m, x)
	}
	if atFull {
		m, x := random(601, scoringtest.Shape{Columns: 40, Hidden: []int{256, 256}, Members: 8, Tables: 3, Log: 3, Scale: 1}, 300)
		measure(t, "a random network of 256 by 256", m, x)
	}
}

// measure compares the scores of the tensor-core kernel with the CPU's.
func measure(t *testing.T, about string, m *scoring.Model, x scoring.Matrix) {
	t.Helper()
	got, err := inF16.device(t, m).launch(x, 16, nil)
	if err != nil {
		t.Fatalf("%s: %v", about, err)
	}
	all, sum := want(t, m, x), 0.
	most := inF16.compare(t, got, all, about)
	for i := range all {
		sum += math.Abs(float64(got[i]) - float64(all[i]))
	}
	t.Logf("%s: %d rows, %.2g at most, %.2g on average", about, x.Rows, most, sum/float64(x.Rows))
}

// TestTensorCoresKeepTheirBound draws models of any shape and scale, some of which
// half precision suits badly, and holds each row to what the roundings allow.
func TestTensorCoresKeepTheirBound(t *testing.T) {
	over, rows, worst, closest := 0, 0, 0., 0.
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 27))
		shape := scoringtest.RandomShape(r)
		for len(shape.Hidden) < 2 {
			shape.Hidden = append(shape.Hidden, 1+r.IntN(70))
		}
		m := scoringtest.Model(r, shape)
		x := scoringtest.Rows(r, scaled(4, 60), m.Columns)
		got, err := inF16.device(t, m).launch(x, 16, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, w := range want(t, m, x) {
			d, bound := math.Abs(float64(got[i])-float64(w)), roundings(m, x.Data[i*x.Cols:(i+1)*x.Cols])
			if !(d <= bound) {
				t.Fatalf("seed %d, row %d: scores %g, want %g within %g", seed, i, got[i], w, bound)
			}
			rows++
			if d > inF16.off {
				over++
			}
			worst, closest = max(worst, d), max(closest, d/bound)
		}
	}
	t.Logf("%d rows of 40 random models: %.2g at most, at %.2g of the bound, %d rows above %g", rows, worst, closest, over, inF16.off)
}

// trained learns a network as the trainer ships it, from rows in which fraud is
// where two columns lie within bands.
func trained(t *testing.T) (*scoring.Model, scoring.Matrix) {
	t.Helper()
	r := rand.New(rand.NewPCG(700, 28))
	var names []string
	for c := range 20 {
		names = append(names, fmt.Sprint("column ", c))
	}
	draw := func(d *trainer.Dataset, rows int) {
		for i := range rows {
			x := make([]float32, len(names))
			for c := range x {
				x[c] = float32(math.Exp(2*r.NormFloat64()) - 1)
				if r.IntN(50) == 0 {
					x[c] = float32(math.NaN())
				}
			}
			fraud := r.Float64() < 0.005 || x[0] > 0 && x[0] < 2 && x[1] > 1 && r.Float64() < 0.5
			d.Add(x, fraud, int64(i)*60_000, 1000)
		}
	}
	d, held := trainer.NewDataset(names), trainer.NewDataset(names)
	draw(d, 20_000)
	draw(held, 1000)
	n, err := trainer.LearnNetwork(t.Context(), d, trainer.DefaultNetwork(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n.Model(), scoring.Matrix{Data: held.X, Rows: held.Rows(), Cols: len(names)}
}

// TestTrainedNetwork scores what the trainer has learnt with both kernels.
func TestTrainedNetwork(t *testing.T) {
	if !atFull {
		t.Skip("a network is learnt in the part gpu of .ci/run")
	}
	m, x := trained(t)
	all := want(t, m, x)
	for _, c := range []*code{inF32, inF16} {
		got, err := c.device(t, m).launch(x, 32, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d rows of a trained network, off by %.2g at most", c.entry, x.Rows, c.compare(t, got, all, c.entry))
	}
}
