package trainer

import (
	"math"

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

// capacity is how many rows of d the desk can review.
func (o *Options) capacity(d *Dataset) int {
	if o.ReviewPerDay > 0 {
		span := float64(d.Time[d.Rows()-1]-d.Time[0]+1) / 86_400_000
		return int(math.Round(o.ReviewPerDay * span))
	}
	return int(math.Round(o.ReviewShare * float64(d.Rows())))
}

// threshold returns the least rank with which no more than n rows are reviewed:
// one above that of the row that comes too late, so that equals stay out
// together. With nothing to review it lies above every row; with everything, at
// the lowest.
func threshold(ranks []float32, n int) float32 {
	order := ranking(ranks)
	if len(order) == 0 {
		return math.MaxFloat32
	}
	if n >= len(order) {
		return ranks[order[len(order)-1]]
	}
	out := ranks[order[n]]
	return min(math.Nextafter32(out, math.MaxFloat32), math.MaxFloat32)
}

// Metrics is what a model does with rows that it has not learnt from.
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

	LogLoss float64 `json:"log_loss"`
	// Expected is the sum of calibrated probabilities over the number of frauds:
	// 1 where they are right in the mean.
	Expected float64 `json:"expected_over_seen"`
}

// measure returns the metrics of a model's scores of rows in the order of time.
// What cannot be told, as without any fraud, is 0.
func measure(scores []float32, d *Dataset, c scoring.Calibration, p scoring.Policy) Metrics {
	m := Metrics{Rows: d.Rows(), Frauds: d.Frauds()}
	if m.Rows == 0 {
		return m
	}
	m.Days = float64(d.Time[m.Rows-1]-d.Time[0]+1) / 86_400_000
	rank := ranks(scores, d, c, p.Rank)
	m.AUC, m.AveragePrecision = known(AUC(scores, d.Y)), known(AveragePrecision(scores, d.Y))
	m.CardPrecision100 = known(CardPrecision(100, d, scores))
	var hits, money, caught, sum float64
	for i, y := range d.Y {
		prob := min(max(float64(c.Prob(scores[i])), 0x1p-60), 1-0x1p-24)
		sum += prob
		amount := float64(max(d.AmountBase[i], 0))
		reviewed := rank[i] >= p.Review
		if reviewed {
			m.Reviewed++
		}
		if y == 0 {
			m.LogLoss -= math.Log1p(-prob)
			continue
		}
		m.LogLoss -= math.Log(prob)
		money += amount
		if reviewed {
			hits++
			caught += amount
		}
	}
	m.LogLoss /= float64(m.Rows)
	m.Precision, m.Recall = known(hits/float64(m.Reviewed)), known(hits/float64(m.Frauds))
	m.MoneyRecall, m.Expected = known(caught/money), known(sum/float64(m.Frauds))
	return m
}

// known returns v, or 0 where it is a ratio to nothing.
func known(v float64) float64 {
	if v-v != 0 {
		return 0
	}
	return v
}
