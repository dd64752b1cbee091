package trainer

import (
	"math"

	"github.com/weir-risk/weir/scoring"
)

// platt fits sigmoid(A*logit(score) + C) to what became of the rows, by
// Newton's method with the smoothed targets of Platt's paper, which keep the
// fit finite where scores separate the classes. Where the best A is not above
// zero, as of scores that say nothing, the calibration is the identity.
func platt(scores []float32, d *Dataset) scoring.Calibration {
	identity := scoring.Calibration{Kind: scoring.Identity, A: 1, B: 1}
	frauds, rows := float64(d.Frauds()), float64(d.Rows())
	if frauds == 0 || frauds == rows {
		return identity
	}
	targets := [2]float64{1 / (rows - frauds + 2), (frauds + 1) / (frauds + 2)}
	a, c := 1.0, 0.0
	last := plattLoss(scores, d.Y, targets, a, c)
	for range 100 {
		stepA, stepC := plattStep(scores, d.Y, targets, a, c)
		size, better := 1.0, false
		for range 30 {
			if loss := plattLoss(scores, d.Y, targets, a-size*stepA, c-size*stepC); loss < last {
				a, c, last, better = a-size*stepA, c-size*stepC, loss, true
				break
			}
			size /= 2
		}
		if !better {
			break
		}
	}
	fit := scoring.Calibration{Kind: scoring.Platt, A: float32(a), B: float32(a), C: float32(c)}
	if !(fit.A > 0 && fit.A < 1e6 && math.Abs(c) < 1e6) {
		return identity
	}
	return fit
}

// logit is what scoring's calibration takes of a score.
func logit(score float32) float64 {
	p := min(max(float64(score), 0x1p-100), 1-0x1p-24)
	return math.Log(p) - math.Log1p(-p)
}

func plattLoss(scores []float32, y []uint8, targets [2]float64, a, c float64) float64 {
	loss := 0.0
	for i, s := range scores {
		f := a*logit(s) + c
		// -t ln p - (1-t) ln(1-p), with p the sigmoid of f.
		loss += max(f, 0) - f*targets[y[i]] + math.Log1p(math.Exp(-math.Abs(f)))
	}
	return loss
}

// plattStep is Newton's step: the inverse of the Hessian times the gradient.
func plattStep(scores []float32, y []uint8, targets [2]float64, a, c float64) (stepA, stepC float64) {
	var ga, gc, haa, hac, hcc float64
	for i, s := range scores {
		l := logit(s)
		p := 1 / (1 + math.Exp(-(a*l + c)))
		g, h := p-targets[y[i]], p*(1-p)
		ga, gc = ga+g*l, gc+g
		haa, hac, hcc = haa+h*l*l, hac+h*l, hcc+h
	}
	// A little on the diagonal keeps the inverse finite for scores all alike.
	haa, hcc = haa+1e-12, hcc+1e-12
	det := haa*hcc - hac*hac
	return (hcc*ga - hac*gc) / det, (haa*gc - hac*ga) / det
}
