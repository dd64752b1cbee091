package trainer

import (
	"math"
	"slices"
)

// ranking returns the rows by falling score; equal ones in their own order.
func ranking(scores []float32) []int32 {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if sa, sb := scores[a], scores[b]; sa > sb {
			return -1
		} else if sa < sb {
			return 1
		}
		return int(a - b)
	})
	return order
}

// AUC is the area under the ROC curve: the chance that a fraud scores higher
// than a genuine row, half where they are equal. NaN where either is lacking.
func AUC(scores []float32, y []uint8) float64 { return auc(scores, y, nil) }

// auc is AUC of rows that stand for as many as their weights say; nil is 1 each.
func auc(scores []float32, y []uint8, weight []float32) float64 {
	var area, hits, misses float64
	eachTie(scores, y, weight, func(hit, miss float64) {
		area += miss * (hits + hit/2)
		hits, misses = hits+hit, misses+miss
	})
	return area / (hits * misses)
}

// AveragePrecision is the area under the steps of the precision-recall curve,
// as scikit-learn's average_precision_score: the sum over each distinct score,
// falling, of precision there times the recall that it adds. NaN where there is
// no fraud.
func AveragePrecision(scores []float32, y []uint8) float64 {
	return averagePrecision(scores, y, nil)
}

func averagePrecision(scores []float32, y []uint8, weight []float32) float64 {
	var area, hits, rows float64
	eachTie(scores, y, weight, func(hit, miss float64) {
		hits, rows = hits+hit, rows+hit+miss
		area += hit * hits / rows
	})
	return area / hits
}

// eachTie calls f for each distinct score, falling, with the weights of the
// frauds and the genuine rows that have it.
func eachTie(scores []float32, y []uint8, weight []float32, f func(hit, miss float64)) {
	order := ranking(scores)
	for i := 0; i < len(order); {
		j, sum := i, [2]float64{}
		for ; j < len(order) && scores[order[j]] == scores[order[i]]; j++ {
			w := 1.0
			if weight != nil {
				w = float64(weight[order[j]])
			}
			sum[y[order[j]]] += w
		}
		f(sum[1], sum[0])
		i = j
	}
}

// CardPrecision is the Handbook's card precision at n: each day (of UTC) the n
// cards of the highest score, the share of them with a fraud that day, the mean
// over the days; a card whose fraud was among them is left out afterwards. The
// rows are in the order of time. NaN where no row says who paid.
func CardPrecision(n int, d *Dataset, scores []float32) float64 {
	caught := make(map[uint64]bool)
	sum, days := 0.0, 0
	for i := 0; i < d.Rows(); {
		day := floorDiv(d.Time[i], dayMs)
		j := i
		for j < d.Rows() && floorDiv(d.Time[j], dayMs) == day {
			j++
		}
		if hits, ok := dayPrecision(n, d.Slice(i, j), scores[i:j], caught); ok {
			sum += hits
			days++
		}
		i = j
	}
	if days == 0 {
		return math.NaN()
	}
	return sum / float64(days)
}

func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// dayPrecision is one day of CardPrecision; it adds to caught.
func dayPrecision(n int, d *Dataset, scores []float32, caught map[uint64]bool) (share float64, ok bool) {
	index := make(map[uint64]int)
	var cards []uint64
	var best []float32
	var fraud []uint8
	for i, card := range d.Card {
		if card == 0 || caught[card] {
			continue
		}
		k, known := index[card]
		if !known {
			k = len(cards)
			index[card] = k
			cards, best, fraud = append(cards, card), append(best, scores[i]), append(fraud, 0)
		}
		best[k], fraud[k] = max(best[k], scores[i]), max(fraud[k], d.Y[i])
	}
	if len(cards) == 0 {
		return 0, false
	}
	hits := 0
	order := ranking(best)
	for _, k := range order[:min(n, len(order))] {
		if fraud[k] != 0 {
			hits++
			caught[cards[k]] = true
		}
	}
	return float64(hits) / float64(n), true
}
