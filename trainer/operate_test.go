package trainer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// queueWorld draws rows of a few cards over some days, with many ties, some of
// nobody.
func queueWorld(r *rand.Rand) (d *Dataset, scores []float32) {
	d = NewDataset([]string{"x"})
	at := r.Int64N(2 * dayMs)
	for range 20 + r.IntN(200) {
		at += r.Int64N(dayMs / 10)
		fraud := r.IntN(6) == 0
		d.AddCard([]float32{0}, fraud, at, r.Int64N(1000), uint64(r.IntN(9)))
		if !fraud {
			d.Weight[len(d.Weight)-1] = float32(1 + r.IntN(3))
		}
		scores = append(scores, float32(1+r.IntN(30))/32)
	}
	return d, scores
}

// countCards is what reviewing every card of a day with a row of a rank comes
// to, from the rows alone.
func countCards(d *Dataset, rank []float32, level float32) (w work) {
	type cardDay struct{ card, day int64 }
	var keys []cardDay
	weight, fraud, in := make(map[cardDay]float64), make(map[cardDay]bool), make(map[cardDay]bool)
	for i, v := range rank {
		key := cardDay{int64(d.Card[i]), floorDiv(d.Time[i], dayMs)}
		if key.card == 0 {
			key.card = int64(1000 + i)
		}
		keys = append(keys, key)
		if _, known := weight[key]; !known {
			weight[key] = math.Inf(1)
		}
		weight[key] = min(weight[key], float64(d.Weight[i]))
		fraud[key] = fraud[key] || d.Y[i] != 0
		in[key] = in[key] || v >= level
	}
	for i, key := range keys {
		if d.Y[i] != 0 && in[key] {
			w.money += float64(d.AmountBase[i])
		}
	}
	for key, v := range weight {
		if in[key] {
			w.items += v
		}
		if in[key] && fraud[key] {
			w.frauds += v
		}
	}
	return w
}

// The rank from which cards are reviewed takes as many of them, each counted on
// each of its days, as the desk can review.
func TestCardsOfADayKeepCapacity(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 4))
	for range 300 {
		d, scores := queueWorld(r)
		o := Options{ReviewCardsPerDay: 6 * r.Float64(), Rank: scoring.RankKey(r.IntN(3))}
		none := scoring.Calibration{A: 1, B: 1}
		rank := ranks(scores, d, none, o.Rank)
		p := choosePolicy(scores, d, none, &o)
		n, got := o.ReviewCardsPerDay*days(d), countCards(d, rank, p.Review)
		if got.items > n {
			t.Fatalf("seed %d: %g card days from %g on, of at most %g", seed, got.items, p.Review, n)
		}
		below := float32(-1)
		for _, v := range rank {
			if v < p.Review {
				below = max(below, v)
			}
		}
		// A lower rank may be of a card that is in already.
		if less := countCards(d, rank, below); below >= 0 && less.items <= n && less.items > got.items {
			t.Fatalf("seed %d: only %g of %g card days from %g on", seed, got.items, n, p.Review)
		}
		it := newItems(d, true)
		best, _ := it.best(rank)
		for _, level := range []float32{p.Review, below} {
			if w, want := it.reviewed(best, level, d), countCards(d, rank, level); w != want {
				t.Fatalf("seed %d: %+v from %g on, counted %+v", seed, w, level, want)
			}
		}
	}
}

// The rank key is the one that catches most money: with a scarce queue, and
// frauds of all sizes, one that looks at amounts; where all are of one size, p.
func TestRankAutoTakesWhatCatchesMost(t *testing.T) {
	f := func(name string, want []scoring.RankKey, amount func(r *rand.Rand) int64) {
		t.Helper()
		r := rand.New(rand.NewPCG(5, 5))
		d := NewDataset([]string{"x"})
		var scores []float32
		for i := range 20_000 {
			p := float32(1 / (1 + math.Exp(5-2*r.NormFloat64())))
			scores = append(scores, p)
			d.AddCard([]float32{0}, r.Float32() < p, int64(i)*60_000, amount(r), uint64(1+r.IntN(3000)))
		}
		none := scoring.Calibration{A: 1, B: 1}
		o := Options{RankAuto: true, ReviewCardsPerDay: 5}
		p := choosePolicy(scores, d, none, &o)
		if !slices.Contains(want, p.Rank) {
			t.Errorf("%s: ranks by %d", name, p.Rank)
		}
		// None of the others catches more.
		caught := func(p scoring.Policy) float64 {
			it := newItems(d, true)
			best, _ := it.best(ranks(scores, d, none, p.Rank))
			return it.reviewed(best, p.Review, d).money
		}
		most := caught(p)
		for key := range scoring.ByAmount + 1 {
			o := Options{Rank: key, ReviewCardsPerDay: 5}
			if other := caught(choosePolicy(scores, d, none, &o)); other > most {
				t.Errorf("%s: key %d catches %g, the one chosen %g", name, key, other, most)
			}
		}
	}
	f("of one size", []scoring.RankKey{scoring.ByProb}, func(*rand.Rand) int64 { return 5000 })
	f("of all sizes", []scoring.RankKey{scoring.BySqrtAmount, scoring.ByAmount}, func(r *rand.Rand) int64 {
		return int64(math.Exp(8 + 1.5*r.NormFloat64()))
	})
}

// A row of weight n is as n rows of weight 1 to every metric by rows.
func TestMetricsCountWhatRowsStandFor(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 6))
	for range 100 {
		d, scores := queueWorld(r)
		all, allScores := NewDataset(d.Names), []float32(nil)
		for i := range d.Y {
			for range int(d.Weight[i]) {
				all.AddCard(d.Row(i), d.Y[i] != 0, d.Time[i], d.AmountBase[i], d.Card[i])
				allScores = append(allScores, scores[i])
			}
		}
		c, p := scoring.Calibration{Kind: scoring.Beta, A: .8, B: 1.1, C: -1}, scoring.Policy{Rank: scoring.BySqrtAmount, Review: 5}
		got, bins := measure(scores, d, c, p)
		want, wantBins := measure(allScores, all, c, p)
		if len(bins) != len(wantBins) || len(bins) > 0 && math.Abs(bins[0].Seen-wantBins[0].Seen) > 1e-9 {
			t.Fatalf("seed %d: bins %v, of the rows spelt out %v", seed, bins, wantBins)
		}
		want.Rows = got.Rows
		// These are by cards and days, of which thinned rows tell less.
		got.CardsPerDay, got.CardPrecision = want.CardsPerDay, want.CardPrecision
		g := []float64{got.AUC, got.AveragePrecision, got.LogLoss, got.Expected, got.CalibrationError, got.Precision, got.Recall, got.MoneyRecall, got.CardMoneyRecall}
		w := []float64{want.AUC, want.AveragePrecision, want.LogLoss, want.Expected, want.CalibrationError, want.Precision, want.Recall, want.MoneyRecall, want.CardMoneyRecall}
		for i := range g {
			if math.Abs(g[i]-w[i]) > 1e-9 {
				t.Fatalf("seed %d: metric %d is %g, of the rows spelt out %g", seed, i, g[i], w[i])
			}
		}
		if got.Reviewed != want.Reviewed || got.Frauds != want.Frauds {
			t.Fatalf("seed %d: %+v, of the rows spelt out %+v", seed, got, want)
		}
	}
}

func TestReliability(t *testing.T) {
	prob := []float32{.8, .2, .8, .4, .2, .6}
	y := []uint8{1, 0, 0, 1, 0, 1}
	ones := []float32{1, 1, 1, 1, 1, 1}
	near32 := func(a, b Reliability) bool {
		return math.Abs(a.Weight-b.Weight)+math.Abs(a.Expected-b.Expected)+math.Abs(a.Seen-b.Seen) < 1e-6
	}
	f := func(weight, mass []float32, bins int, want ...Reliability) {
		t.Helper()
		if got := reliability(prob, y, weight, mass, bins); !slices.EqualFunc(got, want, near32) {
			t.Errorf("%v, not %v", got, want)
		}
	}
	f(ones, ones, 3, Reliability{2, .8, .5}, Reliability{2, .5, 1}, Reliability{2, .2, 0})
	f(ones, ones, 2, Reliability{3, 2.2 / 3, 2. / 3}, Reliability{3, .8 / 3, 1. / 3})
	// Equals stay together, so the bins are fewer.
	f(ones, ones, 6, Reliability{2, .8, .5}, Reliability{1, .6, 1}, Reliability{1, .4, 1}, Reliability{2, .2, 0})
	// A row that stands for three weighs three.
	f([]float32{1, 3, 1, 1, 3, 1}, ones, 3, Reliability{2, .8, .5}, Reliability{2, .5, 1}, Reliability{6, .2, 0})
	// Of equally many frauds expected, 1.5 each: most are at the top.
	f(ones, prob, 2, Reliability{2, .8, .5}, Reliability{4, .35, .5})
	if got, want := calibrationError([]Reliability{{2, .8, .5}, {6, .2, .1}}), (2*.3+6*.1)/8; math.Abs(got-want) > near {
		t.Errorf("calibration error %g, not %g", got, want)
	}
}
