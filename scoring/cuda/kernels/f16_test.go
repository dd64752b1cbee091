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
// half precision suits badly, and holds each row to its bound.
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
			d, bound := math.Abs(float64(got[i])-float64(w)), scoring.NewHalfBound(m).Of(x.Data[i*x.Cols:(i+1)*x.Cols])
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
