package trainer

import (
	"math"

	"gonum.org/v1/plot/plotter"
)

// pointsMax is about how many points a curve of a report has: more than a screen
// can tell.
const pointsMax = 400

// rankingCurves returns the precision by recall, and the recall by the share of
// genuine rows that rank as high (the ROC curve), of each distinct probability.
func rankingCurves(m *Judged, d *Dataset) (precision, roc plotter.XYs) {
	var all [2]float64
	for i, y := range d.Y {
		all[y] += float64(d.Weight[i])
	}
	var hits, misses float64
	var last plotter.XY
	eachTie(m.Prob, d.Y, d.Weight, func(hit, miss float64) {
		hits, misses = hits+hit, misses+miss
		recall, alarms := hits/all[1], misses/all[0]
		end := hits == all[1] && misses == all[0]
		if hit > 0 && (len(precision) == 0 || end || recall-precision[len(precision)-1].X > 1./pointsMax) {
			precision = append(precision, plotter.XY{X: recall, Y: hits / (hits + misses)})
		}
		// By logarithm, as it is drawn: what matters happens at a few in ten thousand.
		if alarms > 0 && (end || math.Log(alarms/last.X) > 10./pointsMax || recall-last.Y > 1./pointsMax) {
			last = plotter.XY{X: alarms, Y: recall}
			roc = append(roc, last)
		}
	})
	return precision, roc
}

// capacityPoint is what a desk of a capacity would see.
type capacityPoint struct{ perDay, precision, money float64 }

// capacityCurve returns these for capacities from a twentieth to twenty times
// that of the desk.
func capacityCurve(m *Judged, d *Dataset, o *GateOptions) (list []capacityPoint) {
	c := newDesk(d, nil, o.PerDay)
	q := c.newQueue(newItems(d, o.Cards), m)
	once := make([]uint64, c.clusters)
	for i := range once {
		once[i] = 1
	}
	t := newTally(1)
	for step := -20; step <= 20; step++ {
		perDay := o.PerDay * math.Pow(20, float64(step)/20)
		c.capacity = dayCapacity(d, perDay)
		c.work(&q, once, 0, t)
		list = append(list, capacityPoint{perDay, known(t.hits[0] / t.reviewed[0]), known(t.caught[0] / t.money[0])})
	}
	return list
}

// reliabilityPoint is a bin with the 95 % interval of the share seen in it.
type reliabilityPoint struct {
	Reliability
	low, high float64
}

// reliabilityCurve returns bins of equally many expected frauds, as most rows say
// nothing: of bins of equally many rows nearly all would lie in one corner.
func reliabilityCurve(m *Judged, d *Dataset) (list []reliabilityPoint) {
	mass := make([]float32, d.Rows())
	for i, p := range m.Prob {
		mass[i] = p * d.Weight[i]
	}
	for _, b := range reliability(m.Prob, d.Y, d.Weight, mass, 15) {
		p := reliabilityPoint{Reliability: b}
		p.low, p.high = wilson(b.Seen, b.Weight)
		list = append(list, p)
	}
	return list
}

// wilson is the 95 % interval of a share seen in n cases.
func wilson(share, n float64) (low, high float64) {
	const z = 1.96
	mid := (share + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(share*(1-share)/n+z*z/(4*n*n))
	return max(mid-half, 0), min(mid+half, 1)
}
