package trainer

import (
	"math"
	"slices"

	"github.com/weir-risk/weir/scoring"
)

// ranks returns the rows' ranks under a policy's key: what decisions compare
// with the threshold.
func ranks(scores []float32, d *Dataset, c scoring.Calibration, key scoring.RankKey) []float32 {
	out := make([]float32, len(scores))
	for i, s := range scores {
		out[i] = key.Rank(c.Prob(s), d.AmountBase[i])
	}
	return out
}

// days is how long the rows, in the order of time, take.
func days(d *Dataset) float64 {
	if d.Rows() == 0 {
		return 0
	}
	return float64(d.Time[d.Rows()-1]-d.Time[0]+1) / dayMs
}

// capacity is how much of d the desk can review: cards, each counting on every
// day that it is reviewed, or transactions.
func (o *Options) capacity(d *Dataset) (n float64, cards bool) {
	switch {
	case o.ReviewCardsPerDay > 0:
		return o.ReviewCardsPerDay * days(d), true
	case o.ReviewPerDay > 0:
		return o.ReviewPerDay * days(d), false
	}
	for _, w := range d.Weight {
		n += float64(w)
	}
	return o.ReviewShare * n, false
}

// threshold returns the least rank with which no more than n are reviewed: one
// above that of the first that comes too late, so that equals stay out together.
// With nothing to review it lies above every rank; with everything, at the
// lowest.
func threshold(ranks []float32, weight []float64, n float64) float32 {
	order := ranking(ranks)
	if len(order) == 0 {
		return math.MaxFloat32
	}
	sum := 0.0
	for _, i := range order {
		// A sum of weights may pass n by its rounding alone.
		if sum += weight[i]; sum > n+1e-9*sum {
			return min(math.Nextafter32(ranks[i], math.MaxFloat32), math.MaxFloat32)
		}
	}
	return ranks[order[len(order)-1]]
}

// choosePolicy returns the operating point that fills the desk's capacity on d.
// Where the rank key is left to it, it takes the one with which what is reviewed
// holds most of the frauds' money; of equals, most frauds to an item; then the
// simplest.
func choosePolicy(scores []float32, d *Dataset, c scoring.Calibration, o *Options) scoring.Policy {
	n, cards := o.capacity(d)
	it := newItems(d, cards)
	keys := []scoring.RankKey{o.Rank}
	if o.RankAuto {
		keys = []scoring.RankKey{scoring.ByProb, scoring.BySqrtAmount, scoring.ByAmount}
	}
	p := scoring.Policy{Explore: float32(o.Explore), ExploreKey: o.ExploreKey}
	money, precision := -1.0, 0.0
	for _, key := range keys {
		best, _ := it.best(ranks(scores, d, c, key))
		at := threshold(best, it.weight, n)
		switch w := it.reviewed(best, at, d); {
		case w.money > money, w.money == money && w.precision() > precision:
			p.Rank, p.Review = key, at
			money, precision = w.money, w.precision()
		}
	}
	return p
}

// work is what a review of some items comes to.
type work struct {
	items, frauds float64 // how many, and how many of them with fraud
	money         float64 // of the frauds in them
}

func (w work) precision() float64 { return known(w.frauds / w.items) }

// reviewed returns what the items from a rank on come to. An item is reviewed as
// a whole: an analyst who opens a card sees all frauds of its day.
func (it *items) reviewed(best []float32, at float32, d *Dataset) (w work) {
	for k, r := range best {
		if r >= at {
			w.items += it.weight[k]
			if it.fraud[k] {
				w.frauds += it.weight[k]
			}
		}
	}
	for i, k := range it.of {
		if d.Y[i] != 0 && best[k] >= at {
			w.money += money(d, i)
		}
	}
	return w
}

// money is the amount that row i stands for, in minor units; what flows back to
// the card counts as none.
func money(d *Dataset, i int) float64 {
	return float64(d.Weight[i]) * float64(max(d.AmountBase[i], 0))
}

// Metrics is what a model does with rows that it has not learnt from, each
// counting as the many that it stands for, save in Rows and Frauds.
type Metrics struct {
	Rows   int     `json:"rows"`
	Frauds int     `json:"frauds"`
	Days   float64 `json:"days"`

	AUC              float64 `json:"roc_auc"`
	AveragePrecision float64 `json:"average_precision"`
	// CardPrecision100 is the Handbook's; 0 where no row says who paid.
	CardPrecision100 float64 `json:"card_precision_100,omitempty"`

	// At the operating point: how many are sent to review, what share of them is
	// fraud, what share of the frauds and of their money is among them.
	Reviewed    int     `json:"reviewed"`
	Precision   float64 `json:"precision"`
	Recall      float64 `json:"recall"`
	MoneyRecall float64 `json:"money_recall"`
	// The same by cards, each reviewed as a whole on the days on which any row of
	// it is sent to review: how many a day, what share of them had a fraud that
	// day, what share of the frauds' money they hold. 0 where no row says who paid.
	CardsPerDay     float64 `json:"cards_per_day,omitempty"`
	CardPrecision   float64 `json:"card_precision,omitempty"`
	CardMoneyRecall float64 `json:"card_money_recall,omitempty"`

	LogLoss float64 `json:"log_loss"`
	// Expected is the sum of calibrated probabilities over the number of frauds:
	// 1 where they are right in the mean.
	Expected float64 `json:"expected_over_seen"`
	// CalibrationError is the mean distance of the share of fraud expected from
	// that seen, over twenty bins of equally many transactions.
	CalibrationError float64 `json:"calibration_error"`
}

// measure returns the metrics of a model's scores of rows in the order of time,
// and the bins of their calibration error. What cannot be told, as without any
// fraud, is 0.
func measure(scores []float32, d *Dataset, c scoring.Calibration, p scoring.Policy) (m Metrics, bins []Reliability) {
	m = Metrics{Rows: d.Rows(), Frauds: d.Frauds(), Days: days(d)}
	if m.Rows == 0 {
		return m, nil
	}
	m.AUC, m.AveragePrecision = known(auc(scores, d.Y, d.Weight)), known(averagePrecision(scores, d.Y, d.Weight))
	m.CardPrecision100 = known(CardPrecision(100, d, scores))
	prob := ranks(scores, d, c, scoring.ByProb)
	bins = reliability(prob, d.Y, d.Weight, d.Weight, reliabilityBins)
	m.CalibrationError = calibrationError(bins)
	frauds, total := m.probable(prob, d)
	rank := ranks(scores, d, c, p.Rank)
	w := newItems(d, false).reviewed(rank, p.Review, d)
	m.Reviewed, m.Precision = int(math.Round(w.items)), w.precision()
	m.Recall, m.MoneyRecall = known(w.frauds/frauds), known(w.money/total)
	if slices.ContainsFunc(d.Card, func(card uint64) bool { return card != 0 }) {
		cards := newItems(d, true)
		best, _ := cards.best(rank)
		w := cards.reviewed(best, p.Review, d)
		m.CardsPerDay, m.CardPrecision, m.CardMoneyRecall = w.items/m.Days, w.precision(), known(w.money/total)
	}
	return m, bins
}

// probable measures probabilities, and returns the frauds and their money.
func (m *Metrics) probable(prob []float32, d *Dataset) (frauds, total float64) {
	rows, sum := 0.0, 0.0
	for i, y := range d.Y {
		w, p := float64(d.Weight[i]), min(max(float64(prob[i]), 0x1p-60), 1-0x1p-24)
		rows += w
		sum += w * p
		if y == 0 {
			m.LogLoss -= w * math.Log1p(-p)
			continue
		}
		m.LogLoss -= w * math.Log(p)
		frauds += w
		total += money(d, i)
	}
	m.LogLoss, m.Expected = m.LogLoss/rows, known(sum/frauds)
	return frauds, total
}

// known returns v, or 0 where it is a ratio to nothing.
func known(v float64) float64 {
	if v-v != 0 {
		return 0
	}
	return v
}
