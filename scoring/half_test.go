package scoring_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// TestHalfBoundByHand follows one row through two layers: (1 + 2) * 4, with both factors
// rounded, times 2 of the output.
func TestHalfBoundByHand(t *testing.T) {
	m := &scoring.Model{
		Columns: 1, Members: 1, Width: 1, Bias: []float32{-24}, Out: []float32{2},
		Inputs: []scoring.Input{{Inv: 1, Lo: -3, Hi: 3, Slope: []float32{1}}},
		Hidden: []scoring.Layer{
			{Width: 1, S: []float32{1}, B: []float32{2}},
			{Width: 1, R: []float32{1}, W: []float32{4}, S: []float32{1}, B: []float32{0}},
		},
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	b := scoring.NewHalfBound(m)
	// The dot product is 24, by which the sigmoid stands at its steepest.
	want := 2 * 12 * (2 * 0x1p-11) / 4
	if got := b.Of([]float32{1}); math.Abs(got-want) > want/100 {
		t.Errorf("the bound is %g, want %g", got, want)
	}
	// Far from there nothing can move.
	m.Bias[0] = 24
	if got := b.Of([]float32{1}); got > 2e-6 {
		t.Errorf("the bound of a score of 1 is %g", got)
	}
	if !b.Allows([]float32{1}, 1, 1) || b.Allows([]float32{1}, .999, 1) {
		t.Error("a score that is off is allowed, or one that is not is none")
	}
}

// near is a scorer that says that it is of float16 arithmetic, off by a part of its bound.
type near struct {
	scoring.Scorer
	bound *scoring.HalfBound
	part  float64
	half  bool
}

func (s *near) Half() bool { return s.half }

func (s *near) Score(x scoring.Matrix, out []float32) error {
	err := s.Scorer.Score(x, out)
	for i := range x.Rows {
		out[i] -= float32(math.Copysign(s.part*s.bound.Of(x.Data[i*x.Cols:(i+1)*x.Cols]), float64(out[i])-.5))
	}
	return err
}

// TestSelfTestOfHalf holds a scorer to its bound where it says that it is of float16
// arithmetic, and to the bits where it does not.
func TestSelfTestOfHalf(t *testing.T) {
	m := scoringtest.Model(rand.New(rand.NewPCG(1, 50)), scoringtest.Shape{Columns: 4, Hidden: []int{9, 7}, Members: 2, Scale: 1})
	c, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	b := &scoring.Bundle{Model: m, Features: make([]string, 4)}
	if err := b.SetSelfTest(c, scoringtest.Rows(rand.New(rand.NewPCG(2, 50)), 20, 4)); err != nil {
		t.Fatal(err)
	}
	bound := scoring.NewHalfBound(m)
	for _, s := range []struct {
		near
		ok bool
	}{{near{c, bound, 0, false}, true}, {near{c, bound, .9, true}, true}, {near{c, bound, 1.1, true}, false}, {near{c, bound, .9, false}, false}} {
		if err := b.SelfTest(&s.near); errors.Is(err, scoring.ErrSelfTest) == s.ok || s.ok != (err == nil) {
			t.Errorf("%+v: %v", s.near, err)
		}
	}
}
