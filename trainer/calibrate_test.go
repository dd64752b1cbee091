package trainer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// bent draws scores whose true probability is a calibration of them, and what
// became of the rows.
func bent(seed uint64, rows int, truth scoring.Calibration) (scores []float32, d *Dataset) {
	r := rand.New(rand.NewPCG(seed, 0))
	d = NewDataset([]string{"x"})
	for i := range rows {
		score := float32(1 / (1 + math.Exp(2-2*r.NormFloat64())))
		scores = append(scores, score)
		d.AddCard([]float32{0}, r.Float32() < truth.Prob(score), int64(i)*60_000, 100, uint64(1+r.IntN(rows/10)))
	}
	return scores, d
}

func TestCalibrateFindsTheCurve(t *testing.T) {
	f := func(truth scoring.Calibration) {
		t.Helper()
		scores, d := bent(1, 50_000, truth)
		got := fitCalibration(scores, d)
		if got.Kind != scoring.Beta {
			t.Errorf("%+v of %+v", got, truth)
		}
		for _, p := range []float32{.001, .01, .05, .2, .5, .8, .95} {
			if truth.Prob(p) < 1e-3 {
				continue // nothing to learn it from
			}
			if a, b := logit(got.Prob(p)), logit(truth.Prob(p)); math.Abs(a-b) > .2 {
				t.Errorf("%+v: %g becomes %.4f, not %.4f", truth, p, got.Prob(p), truth.Prob(p))
			}
		}
	}
	f(scoring.Calibration{Kind: scoring.Beta, A: 1, B: 1})
	f(scoring.Calibration{Kind: scoring.Beta, A: .5, B: 2, C: -1}) // no Platt curve
	f(scoring.Calibration{Kind: scoring.Beta, A: 1.5, B: .4, C: .3})
}

func logit(p float32) float64 { return math.Log(float64(p)) - math.Log1p(-float64(p)) }

// Of rows thinned by a known share the probability comes out as of all.
func TestCalibrateCountsWhatRowsStandFor(t *testing.T) {
	scores, d := bent(2, 80_000, scoring.Calibration{Kind: scoring.Beta, A: .7, B: 1.4, C: -2})
	all := fitCalibration(scores, d)
	r := rand.New(rand.NewPCG(2, 2))
	var rows []int
	var kept []float32
	for i, y := range d.Y {
		if y != 0 || r.IntN(5) == 0 {
			rows, kept = append(rows, i), append(kept, scores[i])
		}
	}
	thin := d.pick(rows)
	for i, y := range thin.Y {
		if y == 0 {
			thin.Weight[i] = 5
		}
	}
	few := fitCalibration(kept, thin)
	for _, p := range []float32{.01, .1, .5, .9} {
		if a, b := logit(all.Prob(p)), logit(few.Prob(p)); math.Abs(a-b) > .15 {
			t.Errorf("%g becomes %.4f of a fifth, %.4f of all", p, few.Prob(p), all.Prob(p))
		}
	}
}

// Where scores mislead, the frauds scoring low, a calibration that turned their
// order round would be one that no bundle takes; where few frauds, or a slope
// that falls, leave beta without ground, Platt stands in.
func TestCalibrateWithoutGroundForBeta(t *testing.T) {
	f := func(name string, want scoring.CalibrationKind, rows int, row func(i int) (score float32, fraud bool)) {
		t.Helper()
		d := NewDataset([]string{"x"})
		var scores []float32
		for i := range rows {
			s, fraud := row(i)
			scores = append(scores, s)
			d.Add([]float32{0}, fraud, int64(i), 0)
		}
		c := fitCalibration(scores, d)
		if c.Kind != want || c.A <= 0 || c.B <= 0 || c.C-c.C != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	f("misleading", scoring.Identity, 400, func(i int) (float32, bool) {
		fraud := i%4 == 0
		s := .6 + float32(i%7)/100
		if fraud {
			s -= .5
		}
		return s, fraud
	})
	f("no fraud", scoring.Identity, 50, func(i int) (float32, bool) { return .1, false })
	f("all alike", scoring.Beta, 400, func(i int) (float32, bool) { return .1, i%4 == 0 })
	f("few frauds", scoring.Platt, 400, func(i int) (float32, bool) {
		if i%16 == 1 {
			return .9, true
		}
		return .1, false
	})
	// From the middle on the chance falls again: no curve of two rising slopes.
	f("falls at the top", scoring.Platt, 8000, func(i int) (float32, bool) {
		s := float32(i%100)/100 + .005
		return s, i/100%100 < int(60*s*(1.3-s))
	})
	f("separated", scoring.Beta, 400, func(i int) (float32, bool) { return .1 + .8*float32(i%2), i%2 == 1 })
}

func TestOutOfFoldScoresAreOfOtherCards(t *testing.T) {
	d, _ := knownWorld(12, 20_000)
	o := plain()
	o.CalibrateFolds = 3
	fit := d.Slice(0, 14_000)
	scores, err := outOfFold(t.Context(), fit, &o, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The rows of a card can be anything without moving their own scores' model:
	// with labels of one fold turned round its own scores stay, all others move.
	turned := fit.pick(upTo(fit.Rows()))
	for i := range turned.Y {
		if fold(turned, i, 3) == 1 {
			turned.Y[i] = 1 - turned.Y[i]
		}
	}
	other, err := outOfFold(t.Context(), turned, &o, nil)
	if err != nil {
		t.Fatal(err)
	}
	var folds [3]int
	for i := range scores {
		k := fold(fit, i, 3)
		folds[k]++
		if same := scores[i] == other[i]; same != (k == 1) {
			t.Fatalf("row %d of fold %d: %g and %g", i, k, scores[i], other[i])
		}
	}
	for k, n := range folds {
		if n < 14_000/4 {
			t.Errorf("fold %d has %d rows", k, n)
		}
	}
	r, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := fitCalibration(scores, fit); r.Calibration != want {
		t.Errorf("calibration %+v, not %+v", r.Calibration, want)
	}
	if e := r.Held.Expected; math.Abs(e-1) > .15 || r.Facts.CalibrateFolds != 3 {
		t.Errorf("expected %.3f times the frauds seen, %d folds", e, r.Facts.CalibrateFolds)
	}
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
