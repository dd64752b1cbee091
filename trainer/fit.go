package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
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
	Logistic    *Logistic // one of the two
	Network     *Network
	Calibration scoring.Calibration
	Policy      scoring.Policy
	Held        Metrics // on the rows held out
	// Reliability is what was expected of these, and seen: the bins of Held's
	// calibration error.
	Reliability []Reliability
	Facts       Facts

	profile    *scoring.Profile
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
	// Network says how a network was learnt; Iterations are its steps then.
	Network *NetworkOptions `json:"network,omitempty"`
	// CalibrateFolds is how many folds the calibration was fitted out of; 0, to
	// rows after the weights'.
	CalibrateFolds int `json:"calibrate_folds,omitempty"`
	// AsOf is the date as of which a history was read; Taken of Genuine genuine
	// decisions were, each to stand for as many more; Weighed is whether rows count by
	// how their labels came.
	AsOf    string  `json:"as_of,omitempty"`
	Genuine int     `json:"genuine,omitempty"`
	Taken   int     `json:"genuine_taken,omitempty"`
	Weighed bool    `json:"weighed,omitempty"`
	Held    Metrics `json:"held_out"`
}

// Fit learns a model from d, whose rows it puts in the order of time. Progress,
// where not nil, is called with the iterations done and at most to come. The
// errors are the Options', ErrTooFew, of a loss that is not finite, and the context's,
// within a step of its end.
func Fit(ctx context.Context, d *Dataset, o Options, progress func(done, total int)) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	d.Sort()
	fit, calibrate, held, err := Cut(d, &o)
	if err != nil {
		return nil, err
	}
	r := &Result{Names: slices.Clone(d.Names), Facts: Facts{
		From: day(fit.Time[0]), To: day(fit.Time[fit.Rows()-1]), Rows: fit.Rows(), Frauds: fit.Frauds(), Network: o.Network,
	}}
	used := fit
	if o.Network == nil {
		used = fit.thin(o.RowsMax)
	}
	parts := 1 // fits to come
	if o.CalibrateFolds > 1 {
		parts += o.CalibrateFolds
	}
	if err := r.learn(ctx, used, &o, stage(progress, 0, parts)); err != nil {
		return nil, err
	}
	r.Facts.Used = used.Rows()
	if err := r.calibrate(ctx, used, calibrate, &o, progress); err != nil {
		return nil, err
	}
	if err := r.operate(fit, calibrate, held, &o); err != nil {
		return nil, err
	}
	r.Facts.Held = r.Held
	r.background = sample(used, 256)
	r.selfTest = sample(held, 64)
	return r, nil
}

// learn finds the weights of the family that o asks for.
func (r *Result) learn(ctx context.Context, d *Dataset, o *Options, progress func(done, total int)) (err error) {
	if o.Network != nil {
		err = r.fitNetwork(ctx, d, o, progress)
	} else {
		err = r.fitLogistic(ctx, d, o, progress)
	}
	if err != nil {
		return fmt.Errorf("fit %d rows of %d columns: %w", d.Rows(), len(d.Names), err)
	}
	return nil
}

// stage is progress within one of several fits of the same length.
func stage(progress func(done, total int), k, parts int) func(done, total int) {
	if progress == nil {
		return nil
	}
	return func(done, total int) { progress(k*total+done, parts*total) }
}

func (r *Result) fitLogistic(ctx context.Context, d *Dataset, o *Options, progress func(done, total int)) (err error) {
	r.Facts.Kind, r.Facts.L2, r.Facts.Weight = "logistic", o.L2, o.FraudWeight
	r.Logistic = standardise(d, o.Logs)
	if r.Facts.Terms = len(r.Logistic.Column); r.Facts.Terms == 0 {
		return fmt.Errorf("no column varies: %w", ErrTooFew)
	}
	r.Facts.Iterations, err = r.Logistic.learn(ctx, d, o, progress)
	return err
}

func (r *Result) fitNetwork(ctx context.Context, d *Dataset, o *Options, progress func(done, total int)) (err error) {
	r.Facts.Kind = "network"
	learn := LearnNetwork
	if o.Warm != nil {
		r.Facts.Kind, learn = "network, continued", o.Warm.Continue
	}
	r.Network, err = learn(ctx, d, *o.Network, func(done, total int) {
		r.Facts.Iterations = done
		if progress != nil {
			progress(done, total)
		}
	})
	if err == nil {
		r.Facts.Terms = len(r.Network.inputs)
	}
	return err
}

// Model returns the fitted model as it is served.
func (r *Result) Model() *scoring.Model {
	if r.Network != nil {
		return r.Network.Model()
	}
	return r.Logistic.Model()
}

// Cut returns the three parts of rows in the order of time that Fit uses; they
// alias d. It fails with ErrTooFew.
func Cut(d *Dataset, o *Options) (fit, calibrate, held *Dataset, err error) {
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
func (l *Logistic) learn(ctx context.Context, d *Dataset, o *Options, progress func(done, total int)) (iterations int, err error) {
	terms := len(l.Column)
	obj := newObjective(l.design(d), d, terms, o.FraudWeight, o.L2)
	start := make([]float64, terms+1)
	// The bias of a model without columns: it starts with the right mean.
	fraud := 0.0
	for i, y := range d.Y {
		fraud += float64(y) * obj.weight[i]
	}
	start[terms] = math.Log(fraud / (obj.total - fraud))
	p, iterations, err := minimise(ctx, obj.value, obj.gradient, start, o.Iterations, progress)
	if err != nil {
		return 0, err
	}
	copy(l.Weight, p[:terms])
	l.Bias = p[terms]
	return iterations, nil
}

// calibrate fits the calibration: to later rows than the weights', or to the
// weights' own rows, each scored by a model that has not seen its card.
func (r *Result) calibrate(ctx context.Context, used, later *Dataset, o *Options, progress func(done, total int)) error {
	rows, scores, err := later, []float32(nil), error(nil)
	if r.Facts.CalibrateFolds = o.CalibrateFolds; o.CalibrateFolds > 1 {
		rows = used
		scores, err = outOfFold(ctx, used, o, progress)
	} else {
		scores, err = r.scores(later)
	}
	if err == nil {
		r.Calibration = fitCalibration(scores, rows)
	}
	return err
}

// outOfFold returns each row's score by a model learnt from the other folds.
func outOfFold(ctx context.Context, d *Dataset, o *Options, progress func(done, total int)) ([]float32, error) {
	scores := make([]float32, d.Rows())
	for k := range o.CalibrateFolds {
		var in, out []int
		for i := range d.Rows() {
			if fold(d, i, o.CalibrateFolds) == k {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		var r Result
		if err := r.learn(ctx, d.pick(in), o, stage(progress, k+1, o.CalibrateFolds+1)); err != nil {
			return nil, fmt.Errorf("leave out fold %d of %d: %w", k+1, o.CalibrateFolds, err)
		}
		some, err := r.scores(d.pick(out))
		if err != nil {
			return nil, err
		}
		for j, i := range out {
			scores[i] = some[j]
		}
	}
	return scores, nil
}

// fold is the fold of row i: that of its card, or its own where nobody is known
// to have paid.
func fold(d *Dataset, i, folds int) int {
	key := d.Card[i]
	if key == 0 {
		key = uint64(i)
	}
	hi, _ := bits.Mul64(mix(key), uint64(folds))
	return int(hi)
}

// mix is the finaliser of SplitMix64: whatever the keys of cards are made of,
// every bit of them moves every bit of it.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// scores returns the rows' scores as the service computes them.
func (r *Result) scores(d *Dataset) ([]float32, error) {
	s, err := cpu.New(r.Model())
	if err != nil {
		return nil, fmt.Errorf("serve fitted model: %w", err)
	}
	return score(s, d)
}

// operate chooses the operating point, and measures.
func (r *Result) operate(fit, calibrate, held *Dataset, o *Options) error {
	scores, err := r.scores(calibrate)
	if err != nil {
		return err
	}
	r.Policy = choosePolicy(scores, calibrate, r.Calibration, o)
	if scores, err = r.scores(held); err != nil {
		return err
	}
	r.Held, r.Reliability = measure(scores, held, r.Calibration, r.Policy)
	r.profile = profile(fit, held, scores)
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
