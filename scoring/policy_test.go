package scoring_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

func TestProbSuccess(t *testing.T) {
	f := func(c scoring.Calibration, score float32, want float64) {
		t.Helper()
		if got := c.Prob(score); math.Abs(float64(got)-want) > 1e-6*max(want, 1e-3) {
			t.Errorf("%+v of %g = %g, want %g", c, score, got, want)
		}
	}
	beta := func(a, b, c, p float64) float64 {
		return 1 / (1 + math.Exp(-(a*math.Log(p) - b*math.Log(1-p) + c)))
	}
	f(scoring.Calibration{A: 1, B: 1}, .25, .25)
	f(scoring.Calibration{A: 1, B: 1}, 0, 0)
	f(scoring.Calibration{Kind: scoring.Platt, A: 1, B: 1}, .25, .25)
	f(scoring.Calibration{Kind: scoring.Platt, A: 2, B: 2, C: -1}, .75, beta(2, 2, -1, .75))
	f(scoring.Calibration{Kind: scoring.Beta, A: 1.5, B: .5, C: .25}, .01, beta(1.5, .5, .25, .01))
	f(scoring.Calibration{Kind: scoring.Beta, A: 1.5, B: .5, C: .25}, .999, beta(1.5, .5, .25, float64(float32(.999))))
	f(scoring.Calibration{Kind: scoring.Beta, A: 1, B: 1}, 1, 1)
	f(scoring.Calibration{Kind: scoring.Beta, A: 1, B: 1}, 0, 0)
}

// TestCalibrationKeepsTheOrder holds every calibration to not falling where the
// score rises.
func TestCalibrationKeepsTheOrder(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		c := scoring.Calibration{Kind: scoring.Beta, A: r.Float32() * 3, B: r.Float32() * 3, C: r.Float32() - .5}
		last := float32(0)
		for bits := math.Float32bits(1e-20); bits <= math.Float32bits(1); bits += 1 + r.Uint32N(30_000) {
			p := c.Prob(math.Float32frombits(bits))
			if !(p >= last) || p > 1 {
				t.Fatalf("seed %d: %+v falls from %g to %g at %g", seed, c, last, p, math.Float32frombits(bits))
			}
			last = p
		}
	}
}

func TestRankSuccess(t *testing.T) {
	f := func(k scoring.RankKey, prob float32, amount int64, want float32) {
		t.Helper()
		if got := k.Rank(prob, amount); got != want {
			t.Errorf("rank %d of %g and %d = %g, want %g", k, prob, amount, got, want)
		}
	}
	f(scoring.ByProb, .25, 1e6, .25)
	f(scoring.BySqrtAmount, .25, 6400, 20)
	f(scoring.ByAmount, .25, 6400, 1600)
	f(scoring.ByAmount, .25, -6400, 0)
	// Rounded once: with a root, or an amount, of float32 these end otherwise.
	f(scoring.BySqrtAmount, .1, 5, .2236068)
	f(scoring.ByAmount, .1, 16777217, 1677721.8)
	f(scoring.BySqrtAmount, 1, math.MaxInt64, float32(math.Sqrt(math.MaxInt64)))
}

func TestDecideSuccess(t *testing.T) {
	b := &scoring.Bundle{
		Calibration: scoring.Calibration{A: 1, B: 1},
		Policy:      scoring.Policy{Rank: scoring.ByAmount, Review: 100, Block: 1000},
	}
	f := func(score float32, amount int64, want scoring.Ruling) {
		t.Helper()
		want.Threshold = 100
		if got := b.Decide(score, amount, []byte("t1")); got != want {
			t.Errorf("score %g, amount %d: %+v, want %+v", score, amount, got, want)
		}
	}
	f(.5, 100, scoring.Ruling{Prob: .5, Rank: 50})
	f(.5, 200, scoring.Ruling{Prob: .5, Rank: 100, ReviewProb: 1, Action: schemas.Review})
	f(.5, 1999, scoring.Ruling{Prob: .5, Rank: 999.5, ReviewProb: 1, Action: schemas.Review})
	f(.5, 2000, scoring.Ruling{Prob: .5, Rank: 1000, ReviewProb: 1, Action: schemas.Block})
	b.Policy.Block = 0 // never
	f(.5, 2000, scoring.Ruling{Prob: .5, Rank: 1000, ReviewProb: 1, Action: schemas.Review})
	b.Policy.Explore, b.Policy.ExploreKey = .999999, [16]byte{1}
	f(.5, 100, scoring.Ruling{Prob: .5, Rank: 50, ReviewProb: .999999, Action: schemas.Review, Explored: true})
	f(.5, 200, scoring.Ruling{Prob: .5, Rank: 100, ReviewProb: 1, Action: schemas.Review})
}

// TestExplorationTakesItsShare counts what is explored, and holds the choice to
// depend on the key, on the id, and on nothing else.
func TestExplorationTakesItsShare(t *testing.T) {
	const n, share = 200_000, .02
	b := &scoring.Bundle{Policy: scoring.Policy{Review: 1, Explore: share, ExploreKey: [16]byte{7}}}
	other := &scoring.Bundle{Policy: scoring.Policy{Review: 1, Explore: share, ExploreKey: [16]byte{8}}}
	var count, both int
	for i := range n {
		id := fmt.Append(nil, "tx", i)
		r := b.Decide(.1, 5, id)
		if r != b.Decide(.1, 5, id) || r.Explored != b.Decide(.9, 7, id).Explored {
			t.Fatalf("%s: exploration depends on more than the id", id)
		}
		if r.Explored != (r.Action == schemas.Review) || r.ReviewProb != share {
			t.Fatalf("%s: %+v", id, r)
		}
		if r.Explored {
			count++
			if other.Decide(.1, 5, id).Explored {
				both++
			}
		}
	}
	mean := float64(n * share)
	if sd := math.Sqrt(mean); math.Abs(float64(count)-mean) > 5*sd {
		t.Errorf("%d explored, want about %g", count, mean)
	}
	if both > count/10 {
		t.Errorf("%d of %d are explored under another key too", both, count)
	}
}

// TestARollOutTakesItsShare counts the cards that a bundle takes: its share, of any
// size, each card for good, those of a smaller share among those of a larger, and
// others than another bundle's.
func TestARollOutTakesItsShare(t *testing.T) {
	const n = 30_000
	b, other := &scoring.Bundle{Hash: [32]byte{1}}, &scoring.Bundle{Hash: [32]byte{2}}
	var before [n]bool
	for _, share := range []float32{0, .001, .2, .5, .999, 1} {
		count, both := 0, 0
		for i := range n {
			card := fmt.Append(nil, "card", i)
			takes := b.Takes(share, card)
			if before[i] && !takes {
				t.Fatalf("%s is taken by a smaller share than %v", card, share)
			}
			if before[i] = takes; takes {
				count++
				if other.Takes(share, card) {
					both++
				}
			}
		}
		f := float64(share)
		if far := math.Abs(float64(count) - f*n); far > 5*math.Sqrt(f*(1-f)*n) {
			t.Errorf("a share of %v takes %d of %d cards", share, count, n)
		}
		if far := math.Abs(float64(both) - f*f*n); far > 5*math.Sqrt(f*f*(1-f*f)*n) {
			t.Errorf("a share of %v: %d of %d cards are another bundle's too", share, both, count)
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	b, id := newBundle(t), []byte("0123456789abcdef")
	if n := testing.AllocsPerRun(100, func() { b.Decide(.3, 1234, id); b.Takes(.3, id) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	bundle, id := newBundle(b), []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		bundle.Decide(.3, 1234, id)
	}
}
