package trainer

import "math"

// reliabilityBins is how many bins of equally many transactions the calibration
// error is measured over.
const reliabilityBins = 20

// Reliability is one bin of transactions of about the same probability: the
// share of fraud that was said of them, and the share that was seen.
type Reliability struct {
	Weight   float64 `json:"transactions"`
	Expected float64 `json:"expected"`
	Seen     float64 `json:"seen"`
}

// reliability sorts rows by their probability, falling, and cuts them into bins
// of about the same mass; rows of the same probability stay together.
func reliability(prob []float32, y []uint8, weight, mass []float32, bins int) []Reliability {
	total := 0.0
	for _, m := range mass {
		total += float64(m)
	}
	var list []Reliability
	var b Reliability
	full, order := 0.0, ranking(prob)
	for n, i := range order {
		w := float64(weight[i])
		b.Weight += w
		b.Expected += w * float64(prob[i])
		b.Seen += w * float64(y[i])
		full += float64(mass[i])
		last := n == len(order)-1
		if !last && (prob[order[n+1]] == prob[i] || full < total*float64(len(list)+1)/float64(bins)*(1-1e-12)) {
			continue
		}
		if b.Weight > 0 {
			list = append(list, Reliability{b.Weight, b.Expected / b.Weight, b.Seen / b.Weight})
		}
		b = Reliability{}
	}
	return list
}

// calibrationError is the mean distance of expected from seen over the bins.
func calibrationError(list []Reliability) float64 {
	sum, weight := 0.0, 0.0
	for _, b := range list {
		sum += b.Weight * math.Abs(b.Expected-b.Seen)
		weight += b.Weight
	}
	return known(sum / weight)
}
