package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/optimize"

	"github.com/weir-risk/weir/scoring"
)

// Logistic is a fitted logistic regression: the logit of fraud is Bias plus the
// sum over terms of Weight[i] * clamp((t - Mean[i]) / Std[i]), where t is the
// value of Column[i], or its signed logarithm where Log[i], and a missing value
// adds nothing.
type Logistic struct {
	Columns int // of a row
	Column  []int
	Log     []bool
	Mean    []float64
	Std     []float64
	Weight  []float64
	Bias    float64
}

// clampAt is how many deviations from the mean a value is taken for at most, so
// that no single absurd one outweighs all the rest. Why not less: a rare rate of
// fraud lies a dozen deviations out where it matters most; with 8, average
// precision on the Handbook stream fell from .652 to .623. Why not more: beyond
// 16 it did not rise, and on a simulated bank fell a little.
const clampAt = 16

// Model returns the regression as a network without hidden layers. Scoring
// rounds to float32.
func (l *Logistic) Model() *scoring.Model {
	m := &scoring.Model{Columns: l.Columns, Members: 1, Width: 1, Bias: []float32{float32(l.Bias)}}
	for i := range l.Column {
		in := l.input(i)
		in.Slope = []float32{float32(l.Weight[i])}
		m.Inputs = append(m.Inputs, in)
	}
	return m
}

// input is term i as scoring computes it, without its weight.
func (l *Logistic) input(i int) scoring.Input {
	return scoring.Input{
		Column: l.Column[i], Log: l.Log[i],
		Mean: float32(l.Mean[i]), Inv: float32(1 / l.Std[i]), Lo: -clampAt, Hi: clampAt,
	}
}

// standardise returns a regression with the terms of a data set and no weights:
// each column, and with logs its signed logarithm as well, save what does not
// vary.
func standardise(d *Dataset, logs bool) *Logistic {
	l := &Logistic{Columns: len(d.Names)}
	for c := range d.Names {
		for _, log := range []bool{false, true} {
			if log && !logs {
				continue
			}
			mean, std := moments(d, c, log)
			// A scale that float32 cannot hold is of no use to scoring.
			if inv := float32(1 / std); !(std > 0) || !(inv > 0) || inv > math.MaxFloat32 {
				continue
			}
			l.Column, l.Log = append(l.Column, c), append(l.Log, log)
			l.Mean, l.Std = append(l.Mean, mean), append(l.Std, std)
			l.Weight = append(l.Weight, 0)
		}
	}
	return l
}

// moments returns the weighted mean and deviation of a column's finite values,
// in two passes; the deviation is 0 where there are fewer than two.
func moments(d *Dataset, column int, log bool) (mean, std float64) {
	pass := func(f func(v float64) float64) (sum, weight float64) {
		w := len(d.Names)
		for i := range d.Y {
			v := d.X[i*w+column]
			if log {
				v = scoring.SignedLog(v)
			}
			if v-v != 0 {
				continue
			}
			sum += float64(d.Weight[i]) * f(float64(v))
			weight += float64(d.Weight[i])
		}
		return sum, max(weight, math.SmallestNonzeroFloat64)
	}
	sum, weight := pass(func(v float64) float64 { return v })
	mean = sum / weight
	sum, weight = pass(func(v float64) float64 { return (v - mean) * (v - mean) })
	std = math.Sqrt(sum / weight)
	if std <= 1e-9*math.Abs(mean) { // rounding of a constant
		std = 0
	}
	return mean, std
}

// design returns the terms of all rows, row-major, as scoring computes them.
func (l *Logistic) design(d *Dataset) []float32 {
	terms := len(l.Column)
	z := make([]float32, d.Rows()*terms)
	inputs := make([]scoring.Input, terms)
	for t := range inputs {
		inputs[t] = l.input(t)
	}
	eachChunk(d.Rows(), func(_, from, to int) {
		for i := from; i < to; i++ {
			row, out := d.Row(i), z[i*terms:]
			for t := range inputs {
				in := &inputs[t]
				v := row[in.Column]
				if v != v {
					continue
				}
				out[t] = in.Standardise(v)
			}
		}
	})
	return z
}

// chunkRows is how many rows are summed together. Sums are those of chunks, in
// the order of chunks, so that they do not depend on the number of processors.
const chunkRows = 8192

// eachChunk calls f for each chunk of rows, on all processors, and waits.
func eachChunk(rows int, f func(chunk, from, to int)) {
	chunks := (rows + chunkRows - 1) / chunkRows
	workers := min(runtime.GOMAXPROCS(0), chunks)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for c := w; c < chunks; c += workers {
				f(c, c*chunkRows, min((c+1)*chunkRows, rows))
			}
		})
	}
	wait.Wait()
}

// objective is the weighted mean log-loss of rows of terms with an L2 penalty
// on the weights; the bias is the last parameter and is free.
type objective struct {
	z      []float32
	y      []uint8
	weight []float64
	total  float64 // of weight
	terms  int
	l2     float64

	loss []float64 // by chunk
	grad []float64 // by chunk, terms+1 each
	at   []float64 // the parameters of loss and grad
}

func newObjective(z []float32, d *Dataset, terms int, fraudWeight, l2 float64) *objective {
	chunks := (d.Rows() + chunkRows - 1) / chunkRows
	o := &objective{
		z: z, y: d.Y, terms: terms, l2: l2, weight: make([]float64, d.Rows()),
		loss: make([]float64, chunks), grad: make([]float64, chunks*(terms+1)),
	}
	for i, y := range d.Y {
		o.weight[i] = float64(d.Weight[i])
		if y != 0 {
			o.weight[i] *= fraudWeight
		}
		o.total += o.weight[i]
	}
	return o
}

// sum computes loss and gradient of all chunks at p, unless they are there.
func (o *objective) sum(p []float64) {
	if o.at != nil {
		same := true
		for i, v := range p {
			same = same && o.at[i] == v
		}
		if same {
			return
		}
	}
	o.at = append(o.at[:0], p...)
	w, bias := p[:o.terms], p[o.terms]
	eachChunk(len(o.y), func(chunk, from, to int) {
		g := o.grad[chunk*(o.terms+1) : (chunk+1)*(o.terms+1)]
		clear(g)
		loss := 0.0
		i := from
		for ; i+4 <= to; i += 4 {
			loss += o.sumFour(i, w, bias, g)
		}
		for ; i < to; i++ {
			z := o.z[i*o.terms : (i+1)*o.terms]
			dot := bias
			for t, v := range z {
				dot += w[t] * float64(v)
			}
			l, slope := o.row(i, dot)
			loss += l
			for t, v := range z {
				g[t] += slope * float64(v)
			}
			g[o.terms] += slope
		}
		o.loss[chunk] = loss
	})
}

// sumFour does four rows at once, whose sums do not wait for one another: half
// as long again row by row.
func (o *objective) sumFour(i int, w []float64, bias float64, g []float64) (loss float64) {
	n := o.terms
	z := o.z[i*n : (i+4)*n]
	a, b, c, d := z[:n], z[n:2*n], z[2*n:3*n], z[3*n:4*n]
	da, db, dc, dd := bias, bias, bias, bias
	for t, wt := range w[:n] {
		da += wt * float64(a[t])
		db += wt * float64(b[t])
		dc += wt * float64(c[t])
		dd += wt * float64(d[t])
	}
	la, sa := o.row(i, da)
	lb, sb := o.row(i+1, db)
	lc, sc := o.row(i+2, dc)
	ld, sd := o.row(i+3, dd)
	for t := range g[:n] {
		g[t] += (sa*float64(a[t]) + sb*float64(b[t])) + (sc*float64(c[t]) + sd*float64(d[t]))
	}
	g[n] += (sa + sb) + (sc + sd)
	return (la + lb) + (lc + ld)
}

// row returns the weighted loss of row i and its slope at a logit.
func (o *objective) row(i int, z float64) (loss, slope float64) {
	loss, slope = logLoss(z, o.y[i] != 0)
	return o.weight[i] * loss, o.weight[i] * slope
}

// logLoss returns the loss of a logit and its slope: ln(1 + exp(z)) and sigmoid(z),
// z being the logit of what the row is not.
func logLoss(z float64, fraud bool) (loss, slope float64) {
	sign := 1.0
	if fraud {
		z, sign = -z, -1
	}
	e := math.Exp(-math.Abs(z))
	loss, slope = max(z, 0)+math.Log1p(e), sign/(1+e)
	if z < 0 {
		slope *= e
	}
	return loss, slope
}

func (o *objective) value(p []float64) float64 {
	o.sum(p)
	loss, penalty := 0.0, 0.0
	for _, v := range o.loss {
		loss += v
	}
	for _, w := range p[:o.terms] {
		penalty += w * w
	}
	return loss/o.total + o.l2/2*penalty
}

func (o *objective) gradient(grad, p []float64) {
	o.sum(p)
	clear(grad)
	for c := range o.loss {
		for t := range grad {
			grad[t] += o.grad[c*len(grad)+t]
		}
	}
	for t := range grad {
		grad[t] /= o.total
	}
	for t, w := range p[:o.terms] {
		grad[t] += o.l2 * w
	}
}

// minimise finds the least value from a start, by L-BFGS. It stops after a
// number of iterations at the latest, which is no error: the loss of a
// regression has no bad place to stop at.
func minimise(ctx context.Context, value func([]float64) float64, gradient func(grad, p []float64), start []float64, iterations int,
	progress func(done, total int)) (p []float64, done int, err error) {
	settings := &optimize.Settings{
		MajorIterations: iterations, GradientThreshold: 1e-6,
		Converger: &optimize.FunctionConverge{Absolute: 1e-12, Relative: 1e-9, Iterations: 10},
		Recorder:  recorder{ctx, progress, iterations},
	}
	r, err := optimize.Minimize(optimize.Problem{Func: value, Grad: gradient}, start, settings, &optimize.LBFGS{})
	// Near the end a line search may find no better point that float64 can tell
	// from the last one. What was reached counts.
	if r == nil || err != nil && !errors.Is(err, optimize.ErrLinesearcherFailure) && !errors.Is(err, optimize.ErrNoProgress) {
		return nil, 0, fmt.Errorf("minimise loss: %w", err)
	}
	for _, v := range r.X {
		if v-v != 0 {
			return nil, 0, fmt.Errorf("minimise loss: parameter %g after %d iterations", v, r.MajorIterations)
		}
	}
	done = min(r.MajorIterations, iterations)
	if progress != nil {
		progress(done, iterations)
	}
	return r.X, done, nil
}

// recorder reports iterations to a progress function, and stops where the context ended.
type recorder struct {
	ctx      context.Context
	progress func(done, total int)
	total    int
}

func (recorder) Init() error { return nil }

func (r recorder) Record(_ *optimize.Location, op optimize.Operation, stats *optimize.Stats) error {
	if op == optimize.MajorIteration && r.progress != nil {
		r.progress(min(stats.MajorIterations, r.total), r.total)
	}
	return r.ctx.Err()
}
