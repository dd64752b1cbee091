package trainer

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// An Estimate is a figure with its 95 % interval.
type Estimate struct{ Value, Low, High float64 }

// shareOf is the estimate of a share by those of n cases that were hit, with Wilson's
// interval; false where there are no cases.
func shareOf(hits, n float64) (e Estimate, known bool) {
	e.Value = hits / n
	e.Low, e.High = wilson(e.Value, n)
	e.Low, e.High = min(e.Low, e.Value), max(e.High, e.Value) // all or none, but for rounding
	return e, n > 0
}

// A drawn is a sum over cases that were each drawn with a known probability, and so
// stand for as many as its inverse (Horvitz and Thompson).
type drawn struct {
	sum, square float64 // of the weights, and of their squares
	most        float64 // the largest weight that a case could have
}

// could takes in that a case would be drawn with a probability, if there were one.
func (d *drawn) could(prob float64) {
	if prob > 0 {
		d.most = max(d.most, 1/prob)
	}
}

// add takes in a case that was drawn.
func (d *drawn) add(prob float64) {
	d.sum += 1 / prob
	d.square += 1 / (prob * prob)
}

// interval is the 95 % interval of the sum by Fay and Feuer, "Confidence intervals for
// directly standardized rates: a method based on the gamma distribution", Statistics in
// Medicine 16 (1997): that of a weighted sum of Poisson counts, exact where the weights
// are equal and otherwise rather too wide than too narrow. It holds where few or none
// were drawn, where a bootstrap of none would be sure.
func (d *drawn) interval() (low, high float64) {
	quantile := func(mean, variance, p float64) float64 {
		return variance / (2 * mean) * distuv.ChiSquared{K: 2 * mean * mean / variance}.Quantile(p)
	}
	if d.sum > 0 {
		low = quantile(d.sum, d.square, .025)
	}
	return low, quantile(d.sum+d.most, d.square+d.most*d.most, .975)
}

// A recall is the share of frauds that were alerted on, of all there were: those not
// alerted on are known from the ones that exploration drew. That the alerts caught what
// they did is no chance, so that the interval is of the others alone.
type recall struct {
	alerted float64
	missed  drawn
}

// estimate is false where nothing below the threshold could have been drawn, or no
// fraud was seen.
func (r *recall) estimate() (e Estimate, known bool) {
	if r.missed.most == 0 || r.alerted+r.missed.sum == 0 {
		return e, false
	}
	low, high := r.missed.interval()
	e = Estimate{Value: r.alerted / (r.alerted + r.missed.sum), Low: r.alerted / (r.alerted + high), High: 1}
	if r.alerted+low > 0 {
		e.High = r.alerted / (r.alerted + low)
	}
	return e, true
}

// expectedOverSeen is the sum of probabilities over the frauds that came of them, with
// the interval of these as a Poisson count; false where there was none.
func expectedOverSeen(expected, frauds float64) (e Estimate, known bool) {
	count := drawn{sum: frauds, square: frauds, most: 1}
	low, high := count.interval()
	return Estimate{expected / frauds, expected / high, expected / max(low, math.SmallestNonzeroFloat64)}, frauds > 0
}
