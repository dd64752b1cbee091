package trainer

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"

	"github.com/weir-risk/weir/scoring"
)

// betaFraudsMin is from how many frauds on a calibration gets three parameters:
// ten for each, the customary rule. With fewer, Platt's two.
const betaFraudsMin = 30

// fitCalibration fits a calibration to what became of the rows, each counting as its
// weight says: beta calibration (Kull, Silva Filho and Flach, 2017), which lets
// low and high scores bend each in their own way, and has the identity among its
// curves. Where its slopes are not both above zero it would fall somewhere, or
// lie flat, where scores rise; Platt's single slope is then the best that rises,
// and where that is not above zero either, as of scores that say nothing, the
// calibration is the identity.
func fitCalibration(scores []float32, d *Dataset) scoring.Calibration {
	identity := scoring.Calibration{Kind: scoring.Identity, A: 1, B: 1}
	frauds := d.Frauds()
	if frauds == 0 || frauds == d.Rows() {
		return identity
	}
	hit, miss, logits := logarithms(scores)
	target, weight := targets(d)
	if frauds >= betaFraudsMin {
		if p, err := fitSigmoid([][]float64{hit, miss}, target, weight); err == nil {
			if c, ok := calibration(scoring.Beta, p[0], p[1], p[2]); ok {
				return c
			}
		}
	}
	if p, err := fitSigmoid([][]float64{logits}, target, weight); err == nil {
		if c, ok := calibration(scoring.Platt, p[0], p[0], p[1]); ok {
			return c
		}
	}
	return identity
}

// calibration rounds fitted parameters, and reports whether they rise and are of
// a size that a bundle takes.
func calibration(kind scoring.CalibrationKind, a, b, c float64) (scoring.Calibration, bool) {
	fit := scoring.Calibration{Kind: kind, A: float32(a), B: float32(b), C: float32(c)}
	return fit, fit.A > 0 && fit.B > 0 && fit.A < 1e6 && fit.B < 1e6 && math.Abs(c) < 1e6
}

// logarithms returns ln p, -ln(1-p), and their sum, of scores clamped as scoring
// clamps them.
func logarithms(scores []float32) (hit, miss, logits []float64) {
	hit, miss, logits = make([]float64, len(scores)), make([]float64, len(scores)), make([]float64, len(scores))
	for i, s := range scores {
		p := min(max(float64(s), 0x1p-100), 1-0x1p-24)
		hit[i], miss[i] = math.Log(p), -math.Log1p(-p)
		logits[i] = hit[i] + miss[i]
	}
	return hit, miss, logits
}

// targets returns what each row is fitted to, and its weight. The targets are
// those of Platt's paper, a little inside 0 and 1, which keeps the fit finite
// where scores separate the classes.
func targets(d *Dataset) (target, weight []float64) {
	target, weight = make([]float64, d.Rows()), make([]float64, d.Rows())
	var sum [2]float64
	for i, y := range d.Y {
		weight[i] = float64(d.Weight[i])
		sum[y] += weight[i]
	}
	of := [2]float64{1 / (sum[0] + 2), (sum[1] + 1) / (sum[1] + 2)}
	for i, y := range d.Y {
		target[i] = of[y]
	}
	return target, weight
}

// fitSigmoid returns the slopes of columns, and the constant after them, with
// which sigmoid(sum of slope*column + constant) is nearest to the targets by
// log-loss. The loss is convex, so Newton's method finds the one minimum.
func fitSigmoid(columns [][]float64, target, weight []float64) ([]float64, error) {
	s := &sigmoidFit{columns: columns, target: target, weight: weight}
	for i, w := range weight {
		s.scale += w * target[i]
	}
	start := make([]float64, len(columns)+1)
	for k := range columns {
		start[k] = 1
	}
	r, err := optimize.Minimize(optimize.Problem{Func: s.value, Grad: s.gradient, Hess: s.hessian}, start,
		&optimize.Settings{MajorIterations: 100, GradientThreshold: 1e-8}, &optimize.Newton{})
	// As in minimise: near the end no better point may be found.
	if r == nil || err != nil && !errors.Is(err, optimize.ErrLinesearcherFailure) && !errors.Is(err, optimize.ErrNoProgress) {
		return nil, fmt.Errorf("fit calibration: %w", err)
	}
	return r.X, nil
}

// sigmoidFit is the loss of fitSigmoid, a mean by fraud, so that its size does
// not depend on how rare frauds are.
type sigmoidFit struct {
	columns        [][]float64
	target, weight []float64
	scale          float64
}

func (s *sigmoidFit) at(x []float64, i int) float64 {
	f := x[len(s.columns)]
	for k, c := range s.columns {
		f += x[k] * c[i]
	}
	return f
}

func (s *sigmoidFit) value(x []float64) float64 {
	loss := 0.0
	for i, w := range s.weight {
		f := s.at(x, i)
		// -t ln p - (1-t) ln(1-p), with p the sigmoid of f.
		loss += w * (max(f, 0) - f*s.target[i] + math.Log1p(math.Exp(-math.Abs(f))))
	}
	return loss / s.scale
}

func (s *sigmoidFit) gradient(grad, x []float64) {
	clear(grad)
	for i, w := range s.weight {
		g := w * (sigmoid(s.at(x, i)) - s.target[i]) / s.scale
		for k, c := range s.columns {
			grad[k] += g * c[i]
		}
		grad[len(s.columns)] += g
	}
}

func (s *sigmoidFit) hessian(hess *mat.SymDense, x []float64) {
	n := len(s.columns)
	h := make([]float64, (n+1)*(n+1))
	row := make([]float64, n+1)
	row[n] = 1
	for i, w := range s.weight {
		p := sigmoid(s.at(x, i))
		v := w * p * (1 - p) / s.scale
		for k, c := range s.columns {
			row[k] = c[i]
		}
		for j := range row {
			for k := j; k <= n; k++ {
				h[j*(n+1)+k] += v * row[j] * row[k]
			}
		}
	}
	for j := range row {
		for k := j; k <= n; k++ {
			hess.SetSym(j, k, h[j*(n+1)+k])
		}
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
