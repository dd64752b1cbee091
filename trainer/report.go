package trainer

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/weir-risk/weir/scoring"
)

// Report is what a training run leaves for people: one HTML file that holds all
// that it shows, without scripts, to be read on a screen by day or night, on a
// phone, or on paper. There are counts, sums and shares in it, never a row.
type Report struct {
	Name string // of the bundle
	Spec string // its name
	Made string // when, as people write it; the trainer has no clock

	// Data and Options are what Fit was given, and Result what it returned.
	Data    *Dataset
	Options Options
	Result  *Result
	// Baseline is a logistic regression of the same data. Where it is nil and the
	// result is none itself, Write fits one.
	Baseline *Result

	// Champion is what the model in service says of the rows held out, and Verdict
	// what the gate found; nil where there is none.
	Champion *Judged
	Verdict  *Verdict

	Groups []Group // of features, for their importance
	// LabelAges are how long after their transactions labels came, in days.
	LabelAges []float64
	Search    []Trial
	Timings   []Timing
}

// Trial is one try of a search for options: in the order of trying.
type Trial struct {
	Options          string // in words
	AveragePrecision float64
	Chosen           bool
}

// Timing is how long a part of the run took.
type Timing struct {
	Part    string
	Seconds float64
}

//go:embed report.html
var reportText string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"grouped": func(n int) string { return grouped(int64(n)) },
	"percent": func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
	"fixed":   func(digits int, v float64) string { return fmt.Sprintf("%.*f", digits, v) },
	"signed":  signed,
	"seconds": secondsText,
}).Parse(reportText))

// Write computes what the report shows, and writes it. The errors are Cut's, of
// a champion that does not cover the rows held out, of fitting the baseline, and
// the writer's.
func (r *Report) Write(ctx context.Context, w io.Writer) error {
	v, err := r.view(ctx)
	if err != nil {
		return fmt.Errorf("make report: %w", err)
	}
	if err := reportTemplate.Execute(w, v); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// reportView is what the template shows.
type reportView struct {
	*Report
	Facts      *Facts
	Held       *Metrics
	Unit       string // that the desk works by
	PerDay     float64
	Rank       string
	Parts      []reportPart
	Models     []reportModel
	Days       []reportPlot
	Curves     []reportPlot
	Trials     []reportPlot
	Importance []reportBar
	Drift      []reportBar
	DriftMuch  int // columns of much drift
	DriftSome  int
	Since      []reportBar // of the champion, its score first
	SinceMuch  int
	Summary    string
}

// reportPart is a part of the data.
type reportPart struct {
	Name, Use, From, To string
	Rows, Frauds        int
	SharePercent        float64 // of fraud, of what the rows stand for
}

// reportModel is one of the models that the curves are of.
type reportModel struct {
	Name, Role, Ink string
	Metrics         judgedMetrics
	judged          *Judged
}

type reportPlot struct {
	Title, Note string
	SVG         template.HTML
	Legend      []reportKey
}

// reportKey is an entry of a plot's legend.
type reportKey struct{ Ink, Text string }

// reportBar is a number with a bar.
type reportBar struct {
	Name  string
	Value float64
	Width float64 // percent of the longest
	Note  string
}

func (r *Report) view(ctx context.Context) (*reportView, error) {
	fit, calibrate, held, err := Cut(r.Data, &r.Options)
	if err != nil {
		return nil, err
	}
	gate := r.Options.Gate(held)
	v := &reportView{Report: r, Facts: &r.Result.Facts, Held: &r.Result.Held, PerDay: gate.PerDay, Unit: "transactions", Summary: r.Result.Summary()}
	if gate.Cards {
		v.Unit = "cards"
	}
	v.Rank = [...]string{scoring.ByProb: "probability", scoring.BySqrtAmount: "probability × √amount", scoring.ByAmount: "probability × amount"}[r.Result.Policy.Rank]
	v.Parts = []reportPart{
		newPart("Learning", "the weights", fit), newPart("Calibration", "probabilities and operating point", calibrate),
		newPart("Held out", "measured on, and compared", held),
	}
	if v.Models, err = r.models(ctx, held, &gate); err != nil {
		return nil, err
	}
	v.Days = r.dayPlots(fit, calibrate, held)
	v.Curves = curvePlots(v.Models, held, &gate)
	if len(r.Search) > 0 {
		v.Trials = []reportPlot{searchPlot(r.Search)}
	}
	importance, err := importances(r.Result.Model(), held, r.Groups, 1)
	if err != nil {
		return nil, err
	}
	for _, i := range importance {
		v.Importance = append(v.Importance, reportBar{Name: i.Group, Value: i.Loss, Note: plural(i.Columns, "feature")})
	}
	widths(v.Importance)
	list := drifts(fit, held)
	v.DriftMuch, v.DriftSome = countDrift(list)
	v.Drift = driftBars(list[:min(10, len(list))])
	if c := r.Champion; c != nil && len(c.Since) > 1 {
		v.SinceMuch, _ = countDrift(c.Since[1:])
		v.Since = driftBars(c.Since[:min(11, len(c.Since))])
	}
	return v, nil
}

func newPart(name, use string, d *Dataset) reportPart {
	p := reportPart{Name: name, Use: use, From: day(d.Time[0])[:10], To: day(d.Time[d.Rows()-1])[:10], Rows: d.Rows(), Frauds: d.Frauds()}
	var sum [2]float64
	for i, y := range d.Y {
		sum[y] += float64(d.Weight[i])
	}
	p.SharePercent = 100 * sum[1] / (sum[0] + sum[1])
	return p
}

// models returns the models to show: this one, the champion, and a regression as
// the baseline that any model has to beat.
func (r *Report) models(ctx context.Context, held *Dataset, gate *GateOptions) ([]reportModel, error) {
	own, err := r.Result.Judge(r.Name, held)
	if err != nil {
		return nil, err
	}
	list := []reportModel{{Name: r.Name, Role: "this model", Ink: "challenger", judged: &own}}
	if r.Champion != nil {
		if err := r.Champion.covers(held); err != nil {
			return nil, err
		}
		list = append(list, reportModel{Name: r.Champion.Name, Role: "champion", Ink: "champion", judged: r.Champion})
	}
	if r.Result.Network != nil {
		base := r.Baseline
		if base == nil {
			o := r.Options
			o.Network, o.CalibrateFolds = nil, 0
			if base, err = Fit(ctx, r.Data, o, nil); err != nil {
				return nil, fmt.Errorf("fit baseline: %w", err)
			}
		}
		j, err := base.Judge("logistic regression", held)
		if err != nil {
			return nil, err
		}
		list = append(list, reportModel{Name: j.Name, Role: "baseline", Ink: "baseline", judged: &j})
	}
	for i := range list {
		list[i].Metrics = judgedFigures(list[i].judged, held, gate)
	}
	return list, nil
}

// judgedMetrics are a model's figures as the gate has them.
type judgedMetrics struct {
	AUC, AveragePrecision, Precision, Money, Alerts, CalibrationError float64
}

func judgedFigures(m *Judged, d *Dataset, o *GateOptions) judgedMetrics {
	c := newContest([2]*Judged{m, m}, d, &GateOptions{PerDay: o.PerDay, Cards: o.Cards})
	once := make([]uint64, c.clusters)
	for i := range once {
		once[i] = 1
	}
	f := c.figures(once, newTally(1), 1)[0]
	return judgedMetrics{
		known(auc(m.Prob, d.Y, d.Weight)), known(f[figureAP]), known(f[figurePrecision]), known(f[figureMoney]),
		known(f[figureAlerts]), known(f[figureCalibration]),
	}
}

// countDrift counts the columns that moved much, and somewhat.
func countDrift(list []Drift) (much, some int) {
	for _, d := range list {
		if d.Index > scoring.IndexMuch {
			much++
		} else if d.Index > .1 {
			some++
		}
	}
	return much, some
}

func driftBars(list []Drift) (bars []reportBar) {
	for _, d := range list {
		b := reportBar{Name: d.Name, Value: d.Index}
		if math.Abs(d.MissingIn-d.MissingBefore) > .01 {
			b.Note = fmt.Sprintf("missing %.0f %%, was %.0f %%", 100*d.MissingIn, 100*d.MissingBefore)
		}
		bars = append(bars, b)
	}
	widths(bars)
	return bars
}

func widths(list []reportBar) {
	most := 1e-9
	for _, b := range list {
		most = max(most, b.Value)
	}
	for i := range list {
		list[i].Width = 100 * max(list[i].Value, 0) / most
	}
}

// Span is where an interval lies on a scale of 100 whose middle is no difference.
func (c Contrast) Span() (span struct{ Low, High, At, Width float64 }) {
	most := max(math.Abs(c.Low), math.Abs(c.High), math.Abs(c.Difference), 1e-12) * 1.1
	at := func(v float64) float64 { return 50 + 50*v/most }
	span.Low, span.High, span.At = at(c.Low), at(c.High), at(c.Difference)
	span.Width = span.High - span.Low
	return span
}

// Better is "better" or "worse" where the difference surely is, and empty where
// it may be chance or neither is better.
func (c Contrast) Better() string {
	low, high := c.Low, c.High
	switch c.Figure {
	case figureNames[figureAlerts]:
		return ""
	case figureNames[figureCalibration]:
		low, high = -high, -low
	}
	switch {
	case low > 0:
		return "better"
	case high < 0:
		return "worse"
	}
	return ""
}

// Digits is how many decimals tell two models apart.
func (c Contrast) Digits() int {
	switch c.Figure {
	case figureNames[figureAlerts]:
		return 1
	case figureNames[figureCalibration]:
		return 5
	}
	return 3
}

// grouped writes a count with its thousands apart.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func secondsText(s float64) string {
	switch {
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	}
	return fmt.Sprintf("%.0f min", s/60)
}
