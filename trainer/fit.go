package trainer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// ErrTooFew is of a data set that holds too little to learn from; test with
// errors.Is.
var ErrTooFew = errors.New("too little to learn from")

// fraudsMin is how many frauds the weights need at least, and calibration with
// the operating point; below it they follow single cases.
const (
	fitFraudsMin       = 10
	calibrateFraudsMin = 3
)

// Result is a fitted model with what is needed to serve it and to judge it.
type Result struct {
	Names       []string
	Logistic    *Logistic
	Calibration scoring.Calibration
	Policy      scoring.Policy
	Held        Metrics // on the rows held out
	Facts       Facts

	background []float32
	selfTest   []float32
}

// Facts says what a model was learnt from. There is no date of the training in
// it, so that the same data gives the same bytes.
type Facts struct {
	Kind       string  `json:"kind"`
	From       string  `json:"from"` // first and last event time of the weights' rows
	To         string  `json:"to"`
	Rows       int     `json:"rows"`
	Frauds     int     `json:"frauds"`
	Used       int     `json:"rows_used"` // after thinning
	Terms      int     `json:"terms"`
	Iterations int     `json:"iterations"`
	L2         float64 `json:"l2"`
	Weight     float64 `json:"fraud_weight"`
	Held       Metrics `json:"held_out"`
}

// Fit learns a model from d, whose rows it puts in the order of time. Progress,
// where not nil, is called with the iterations done and at most to come. The
// errors are the Options', ErrTooFew, and of a loss that is not finite.
func Fit(d *Dataset, o Options, progress func(done, total int)) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	d.Sort()
	fit, calibrate, held, err := cut(d, &o)
	if err != nil {
		return nil, err
	}
	used := fit.thin(o.RowsMax)
	l := standardise(used, o.Logs)
	if len(l.Column) == 0 {
		return nil, fmt.Errorf("no column varies: %w", ErrTooFew)
	}
	iterations, err := l.learn(used, &o, progress)
	if err != nil {
		return nil, fmt.Errorf("fit %d rows of %d columns: %w", used.Rows(), len(d.Names), err)
	}
	r := &Result{Names: slices.Clone(d.Names), Logistic: l}
	if err := r.operate(calibrate, held, &o); err != nil {
		return nil, err
	}
	r.Facts = Facts{
		Kind: "logistic", From: day(fit.Time[0]), To: day(fit.Time[fit.Rows()-1]), Rows: fit.Rows(), Frauds: fit.Frauds(),
		Used: used.Rows(), Terms: len(l.Column), Iterations: iterations, L2: o.L2, Weight: o.FraudWeight, Held: r.Held,
	}
	r.background = sample(used, 256)
	r.selfTest = sample(held, 64)
	return r, nil
}

// cut returns the three parts of rows in the order of time.
func cut(d *Dataset, o *Options) (fit, calibrate, held *Dataset, err error) {
	n := d.Rows()
	gap := o.Gap.Milliseconds()
	i, j := int(o.FitShare*float64(n)), int((o.FitShare+o.CalibrateShare)*float64(n))
	if n == 0 || i == 0 || j >= n {
		return nil, nil, nil, fmt.Errorf("%d rows: %w", n, ErrTooFew)
	}
	fit = d.Slice(0, i)
	calibrate = d.Slice(min(d.cut(d.Time[i]+gap), j), j)
	held = d.Slice(d.cut(d.Time[j]+gap), n)
	for _, part := range []struct {
		name   string
		rows   *Dataset
		frauds int
	}{{"fit", fit, fitFraudsMin}, {"calibrate", calibrate, calibrateFraudsMin}, {"measure", held, 1}} {
		f := part.rows.Frauds()
		if f < part.frauds || part.rows.Rows()-f < scoring.SelfTestRowsMin {
			return nil, nil, nil, fmt.Errorf("%d rows with %d frauds to %s, at least %d frauds wanted: %w",
				part.rows.Rows(), f, part.name, part.frauds, ErrTooFew)
		}
	}
	return fit, calibrate, held, nil
}

// learn finds the weights.
func (l *Logistic) learn(d *Dataset, o *Options, progress func(done, total int)) (iterations int, err error) {
	terms := len(l.Column)
	obj := newObjective(l.design(d), d, terms, o.FraudWeight, o.L2)
	start := make([]float64, terms+1)
	// The bias of a model without columns: it starts with the right mean.
	fraud := 0.0
	for i, y := range d.Y {
		fraud += float64(y) * obj.weight[i]
	}
	start[terms] = math.Log(fraud / (obj.total - fraud))
	p, iterations, err := minimise(obj.value, obj.gradient, start, o.Iterations, progress)
	if err != nil {
		return 0, err
	}
	copy(l.Weight, p[:terms])
	l.Bias = p[terms]
	return iterations, nil
}

// operate calibrates, chooses the operating point, and measures, all by scores
// as the service computes them.
func (r *Result) operate(calibrate, held *Dataset, o *Options) error {
	s, err := cpu.New(r.Logistic.Model())
	if err != nil {
		return fmt.Errorf("serve fitted model: %w", err)
	}
	scores, err := score(s, calibrate)
	if err != nil {
		return err
	}
	r.Calibration = platt(scores, calibrate)
	r.Policy = scoring.Policy{Rank: o.Rank, Explore: float32(o.Explore), ExploreKey: o.ExploreKey}
	r.Policy.Review = threshold(ranks(scores, calibrate, r.Calibration, o.Rank), o.capacity(calibrate))
	if scores, err = score(s, held); err != nil {
		return err
	}
	r.Held = measure(scores, held, r.Calibration, r.Policy)
	return nil
}

func score(s scoring.Scorer, d *Dataset) ([]float32, error) {
	out := make([]float32, d.Rows())
	if err := s.Score(scoring.Matrix{Data: d.X, Rows: d.Rows(), Cols: len(d.Names)}, out); err != nil {
		return nil, fmt.Errorf("score %d rows: %w", d.Rows(), err)
	}
	return out, nil
}

// sample returns n rows evenly spread, without infinities, which a bundle does
// not take; nothing where there are fewer.
func sample(d *Dataset, n int) []float32 {
	if d.Rows() < n {
		n = d.Rows()
	}
	out := make([]float32, 0, n*len(d.Names))
	for k := range n {
		for _, v := range d.Row(int(int64(k) * int64(d.Rows()) / int64(n))) {
			out = append(out, min(max(v, -math.MaxFloat32), math.MaxFloat32))
		}
	}
	return out
}

// day writes a time for people.
func day(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
