package trainer

import (
	"math"
	"math/rand/v2"
	"testing"
)

const near = 1e-12

// someScores draws scores with many ties, and what became of the rows.
func someScores(r *rand.Rand) (scores []float32, y []uint8) {
	n, levels := 2+r.IntN(80), 1+r.IntN(40)
	for i := range n {
		scores = append(scores, float32(r.IntN(levels))/8)
		y = append(y, uint8(r.IntN(2)))
		if i < 2 {
			y[i] = uint8(i) // one of each at least
		}
	}
	return scores, y
}

func TestAUCIsTheCountOfPairs(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		scores, y := someScores(r)
		wins, pairs := 0.0, 0.0
		for i := range y {
			for j := range y {
				if y[i] != 1 || y[j] != 0 {
					continue
				}
				pairs++
				if scores[i] > scores[j] {
					wins++
				} else if scores[i] == scores[j] {
					wins += 0.5
				}
			}
		}
		if got := AUC(scores, y); math.Abs(got-wins/pairs) > near {
			t.Fatalf("seed %d: %g, not %g, of %v and %v", seed, got, wins/pairs, scores, y)
		}
	}
}

// The definition: the sum over thresholds, falling, of what each adds to recall
// times the precision there, counted from nothing at each threshold.
func TestAveragePrecisionIsItsDefinition(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	for range 2000 {
		scores, y := someScores(r)
		all := 0.0
		for _, v := range y {
			all += float64(v)
		}
		want, before := 0.0, 0.0
		for level := float32(40); level >= 0; level -= 0.125 {
			hits, rows := 0.0, 0.0
			for i, s := range scores {
				if s >= level {
					hits += float64(y[i])
					rows++
				}
			}
			if rows > 0 {
				want += (hits/all - before) * hits / rows
				before = hits / all
			}
		}
		if got := AveragePrecision(scores, y); math.Abs(got-want) > near {
			t.Fatalf("seed %d: %g, not %g, of %v and %v", seed, got, want, scores, y)
		}
	}
}

func TestMetricsOfSmallCases(t *testing.T) {
	// The example of scikit-learn's documentation.
	scores, y := []float32{0.1, 0.4, 0.35, 0.8}, []uint8{0, 0, 1, 1}
	f := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > near && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s is %g, not %g", name, got, want)
		}
	}
	f("auc", AUC(scores, y), 0.75)
	f("average precision", AveragePrecision(scores, y), 5./6)
	f("auc of one class", AUC(scores, []uint8{0, 0, 0, 0}), math.NaN())
	f("average precision of none", AveragePrecision(scores, []uint8{0, 0, 0, 0}), math.NaN())
	f("all equal", AveragePrecision([]float32{1, 1, 1, 1}, y), 0.5)
}

func TestCardPrecision(t *testing.T) {
	d := NewDataset([]string{"a"})
	var scores []float32
	add := func(day int64, card uint64, score float32, fraud bool) {
		d.AddCard([]float32{0}, fraud, day*86_400_000+int64(d.Rows()), 0, card)
		scores = append(scores, score)
	}
	f := func(n int, want float64) {
		t.Helper()
		if got := CardPrecision(n, d, scores); !(math.Abs(got-want) < near) {
			t.Errorf("at %d: %g, not %g", n, got, want)
		}
	}
	// Day 0: cards by their best score are 2 (0.9), 1 (0.8, fraud by another
	// row), 3 (0.1).
	add(0, 1, 0.8, false)
	add(0, 1, 0.2, true)
	add(0, 2, 0.9, false)
	add(0, 3, 0.1, true)
	f(1, 0)
	f(2, 0.5)
	f(3, 2./3)
	// Day 1: where card 1 was caught it is gone, and 3 comes first.
	add(1, 1, 1, true)
	add(1, 3, 0.5, true)
	add(1, 2, 0.4, false)
	f(1, (0+1)/2.)
	f(2, (0.5+0.5)/2)
	// A row of nobody counts for nothing.
	add(1, 0, 9, true)
	f(1, 0.5)
	if got := CardPrecision(5, d.Slice(0, 0), nil); !math.IsNaN(got) {
		t.Errorf("of nothing: %g", got)
	}
}

func TestCapacityIsOfDaysOrAShare(t *testing.T) {
	d := NewDataset([]string{"x"})
	for i := range int64(1001) {
		d.Add([]float32{0}, false, i*3*86_400_000/1000, 0)
	}
	f := func(o Options, want float64, wantCards bool) {
		t.Helper()
		if n, cards := o.capacity(d); math.Abs(n-want) > .01 || cards != wantCards {
			t.Errorf("%+v: %g (cards: %t), want %g", o, n, cards, want)
		}
	}
	f(Options{ReviewCardsPerDay: 10, ReviewPerDay: 40, ReviewShare: .5}, 30, true)
	f(Options{ReviewPerDay: 40, ReviewShare: .5}, 120, false)
	f(Options{ReviewShare: .02}, 20.02, false)
	d.Weight[7] = 100 // stands for a hundred
	f(Options{ReviewShare: .02}, 22, false)
}

func TestThresholdKeepsCapacity(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	for range 2000 {
		ranks, _ := someScores(r)
		weight, total := make([]float64, len(ranks)), 0.0
		for i := range weight {
			weight[i] = float64(1 + r.IntN(3))
			total += weight[i]
		}
		n := total * 1.1 * r.Float64()
		at := threshold(ranks, weight, n)
		above := func(level float32) (sum float64) {
			for i, v := range ranks {
				if v >= level {
					sum += weight[i]
				}
			}
			return sum
		}
		if got := above(at); got > n {
			t.Fatalf("seed %d: %g reviewed from %g on, of at most %g: %v", seed, got, at, n, ranks)
		}
		// The next lower rank would be too many, unless there is none.
		below := float32(-1)
		for _, v := range ranks {
			if v < at {
				below = max(below, v)
			}
		}
		if below >= 0 && above(below) <= n {
			t.Fatalf("seed %d: only %g of %g reviewed from %g on: %v", seed, above(at), n, at, ranks)
		}
	}
}
