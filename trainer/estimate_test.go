package trainer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestIntervalOfCounts has limits of Poisson counts as tables have them (Garwood), and
// that a weight scales them.
func TestIntervalOfCounts(t *testing.T) {
	f := func(n int, weight, low, high float64) {
		t.Helper()
		var d drawn
		d.could(1 / weight)
		for range n {
			d.add(1 / weight)
		}
		a, b := d.interval()
		if math.Abs(a/weight-low) > 5e-3 || math.Abs(b/weight-high) > 5e-3 {
			t.Errorf("%d of weight %g: %.4f to %.4f, want %g to %g of them", n, weight, a, b, low, high)
		}
	}
	f(0, 1, 0, 3.689)
	f(1, 1, .0253, 5.572)
	f(10, 1, 4.795, 18.390)
	f(100, 1, 81.364, 121.627)
	f(0, 50, 0, 3.689)
	f(10, 50, 4.795, 18.390)
}

// TestRecallIsTheStreams draws streams in which an alert is certain review and the rest
// is drawn by one of two shares, as under two models, and holds the estimate to the
// truth, which the stream's maker knows.
func TestRecallIsTheStreams(t *testing.T) {
	const seeds = 200
	covered, naive, ratio := 0, 0, 0.0
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 41))
		var est recall
		caught, frauds := 0.0, 0.0
		plain := recall{missed: drawn{most: 1}}
		for i := range 4000 {
			explore := .02
			if i%2 == 0 {
				explore = .1
			}
			fraud := r.IntN(20) == 0
			alert := r.Float64() < .01 || fraud && r.Float64() < .4
			if fraud {
				frauds++
			}
			if alert {
				if fraud {
					est.alerted, plain.alerted, caught = est.alerted+1, plain.alerted+1, caught+1
				}
				continue
			}
			est.missed.could(explore)
			if r.Float64() < explore && fraud {
				est.missed.add(explore)
				plain.missed.add(1)
			}
		}
		truth := caught / frauds
		e, known := est.estimate()
		if !known || e.Low > e.Value || e.Value > e.High {
			t.Fatalf("seed %d: %+v, %v", seed, e, known)
		}
		if e.Low <= truth && truth <= e.High {
			covered++
		}
		if e, _ := plain.estimate(); e.Low <= truth && truth <= e.High {
			naive++
		}
		ratio += est.missed.sum / (frauds - caught) / seeds
	}
	t.Logf("the interval covers the truth for %d of %d seeds, without weights for %d; missed frauds are estimated at %.3f of those there were", covered, seeds, naive, ratio)
	if covered < 180 || naive > 20 || math.Abs(ratio-1) > .08 {
		t.Errorf("covered %d, %d without weights, ratio %.3f", covered, naive, ratio)
	}
}

// TestRecallWithoutExploration is not known, and that of a stream without a fraud
// neither.
func TestRecallWithoutExploration(t *testing.T) {
	if e, known := (&recall{alerted: 5}).estimate(); known {
		t.Errorf("%+v without exploration", e)
	}
	if e, known := (&recall{missed: drawn{most: 10}}).estimate(); known {
		t.Errorf("%+v without a fraud", e)
	}
	// None drawn is not none missed: up to 3.7 draws' worth.
	if e, known := (&recall{alerted: 20, missed: drawn{most: 10}}).estimate(); !known || e.Value != 1 || math.Abs(e.Low-20/56.89) > 1e-3 {
		t.Errorf("%+v, %v of 20 alerted", e, known)
	}
	if e, known := expectedOverSeen(20, 10); !known || e.Value != 2 || math.Abs(e.Low-20/18.390) > 1e-2 || math.Abs(e.High-20/4.795) > 1e-2 {
		t.Errorf("%+v, %v of 20 for 10", e, known)
	}
}
