package trainer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

// reportOf is a report of a world whose cards are numbers that nothing else is.
func reportOf(t *testing.T, network bool) *Report {
	t.Helper()
	d, _ := knownWorld(21, 15_000)
	for i := range d.Card {
		d.Card[i] += 4_111_111_111_110_000
	}
	o := DefaultOptions()
	o.ReviewCardsPerDay, o.Iterations = 5, 20
	champion, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if network {
		n := DefaultNetwork()
		n.Epochs, n.Members, n.Widths = 1, 1, []int{64}
		o.Network = &n
	}
	o.Rank = scoring.BySqrtAmount
	r := &Report{Name: "bank <b>&", Spec: "payments", Made: "2026-01-02", Data: d, Options: o, Groups: []Group{{"all that tells", []int{0, 1, 4}}, {"noise", []int{3}}}}
	if r.Result, err = Fit(t.Context(), d, o, nil); err != nil {
		t.Fatal(err)
	}
	if !network {
		return r
	}
	_, _, held, err := Cut(d, &o)
	if err != nil {
		t.Fatal(err)
	}
	judged, err := champion.Judge("before", held)
	if err != nil {
		t.Fatal(err)
	}
	own, err := r.Result.Judge(r.Name, held)
	if err != nil {
		t.Fatal(err)
	}
	g := o.Gate(held)
	g.Draws, g.FraudsMin = 100, 5
	g.Segments = []Segment{AmountBands(held, 2), Hours(held)}
	if r.Verdict, err = Gate(judged, own, held, g); err != nil {
		t.Fatal(err)
	}
	judged.Since = []Drift{{Name: "the score", Index: .3}, {Name: "a field", Index: .41, MissingIn: .5}, {Name: "another", Index: .05}}
	r.Champion = &judged
	r.LabelAges = []float64{3, 1, 2, 30}
	r.Search = []Trial{{"64, rate .006", .31, false}, {"64, rate .003", .32, true}}
	r.Timings = []Timing{{"fit", 3.25}, {"gate", 200}}
	return r
}

func written(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The report is one file that needs no other, runs nothing, and shows no card.
func TestReportHoldsAllThatItShows(t *testing.T) {
	r := reportOf(t, true)
	text := written(t, r)
	for _, want := range []string{
		"bank &lt;b&gt;&amp;", "Did not pass the gate", "logistic regression", "before", "Precision and recall", "ROC", "Reliability",
		"Precision by capacity", "Money caught by capacity", "Transactions by day", "Frauds by day", "Label ages", "all that tells",
		"No feature moved much", "64, rate .003", "3 min", "3.2 s", "1000 and more",
		"The champion since its training", "1 of ", "the score", "missing 50 %, was 0 %", "in 5 cards a day", "<svg role=\"img\"",
		"probability × √amount", "10,500", "prefers-color-scheme: dark", "@media print", "var(--challenger)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the report", want)
		}
	}
	for _, not := range []string{"<script", "http:", "https:", "src=", "url(", "@import", "<link", "NaN", "Inf", "#0101", "Liberation Sans;", "<b>&", "ZgotmplZ", "4111111111", "%!"} {
		if at := strings.Index(text, not); at >= 0 {
			t.Errorf("%q in the report: %.80q", not, text[max(0, at-30):])
		}
	}
	if n := strings.Count(text, "<svg"); n != 9 || strings.Count(text, "</svg>") != n || strings.Count(text, "<g") != strings.Count(text, "</g>") {
		t.Errorf("%d plots", n)
	}
	for _, card := range r.Data.Card[:50] {
		if strings.Contains(text, fmt.Sprint(card)) {
			t.Fatalf("card %d is in the report", card)
		}
	}
	if again := written(t, r); again != text {
		t.Error("the same run gives another report")
	}
}

// Without champion, network or anything to search there is less to show.
func TestReportOfAFirstModel(t *testing.T) {
	text := written(t, reportOf(t, false))
	for _, want := range []string{"Not compared", "Reliability", "noise"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the report", want)
		}
	}
	for _, not := range []string{"Challenger against champion", "baseline</span>", "<h2>Search", "Label ages", "since its training", "NaN", "%!"} {
		if strings.Contains(text, not) {
			t.Errorf("%q in the report", not)
		}
	}
}

func TestReportFailure(t *testing.T) {
	r := reportOf(t, false)
	full := errors.New("full")
	if err := r.Write(t.Context(), failing{full}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	r.Champion = &Judged{Name: "short", Prob: []float32{1}}
	if err := r.Write(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "compare short: 1 probabilities") {
		t.Errorf("%v", err)
	}
	// What a caller cannot tell is left out, and breaks nothing.
	r.Champion, r.LabelAges, r.Search = nil, []float64{math.NaN()}, []Trial{{"failed", math.NaN(), false}}
	if text := written(t, r); !strings.Contains(text, "No label says when it came") {
		t.Error("label ages of nothing")
	}
	r.Options.FitShare = .999
	if err := r.Write(t.Context(), &bytes.Buffer{}); !errors.Is(err, ErrTooFew) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// At the desk's capacity the curve is what the gate says, and by recall each
// point is the precision at some threshold.
func TestCurvesAreWhatTheGateSays(t *testing.T) {
	d, m := rivals(31, 4000, [2]float64{1, .5})
	desk := Options{ReviewCardsPerDay: 20}
	o := desk.Gate(d)
	o.Draws = 100
	v := gate(t, d, m, func(g *GateOptions) { *g = o })
	curve := capacityCurve(&m[1], d, &o)
	k := slices.IndexFunc(curve, func(p capacityPoint) bool { return math.Abs(p.perDay-20) < 1e-9 })
	if k < 0 || math.Abs(curve[k].money-v.Figures[figureMoney].Challenger) > near || math.Abs(curve[k].precision-v.Figures[figurePrecision].Challenger) > near {
		t.Errorf("%v of %v, not %+v", k, curve, v.Figures)
	}
	if first, last := curve[0], curve[len(curve)-1]; last.money < first.money+.3 || last.precision > first.precision {
		t.Errorf("from %v to %v", first, last)
	}
	for i := 1; i < len(curve); i++ {
		if curve[i].money < curve[i-1].money {
			t.Errorf("more work catches less: %v", curve[i])
		}
	}
	precision, roc := rankingCurves(&m[1], d)
	if last := precision[len(precision)-1]; last.X != 1 || math.Abs(last.Y-float64(d.Frauds())/float64(d.Rows())) > .02 {
		t.Errorf("the curve ends at %v", last)
	}
	if last := roc[len(roc)-1]; last.X != 1 || last.Y != 1 {
		t.Errorf("the ROC curve ends at %v", last)
	}
	if len(precision) < 50 || len(precision) > 2*pointsMax || len(roc) > 3*pointsMax {
		t.Errorf("%d and %d points", len(precision), len(roc))
	}
	area := precision[0].X * precision[0].Y
	for i := 1; i < len(precision); i++ {
		area += (precision[i].X - precision[i-1].X) * precision[i].Y
	}
	if ap := v.Figures[figureAP].Challenger; math.Abs(area-ap) > .01 {
		t.Errorf("an area of %.4f below the curve of an average precision of %.4f", area, ap)
	}
}

func TestWilson(t *testing.T) {
	f := func(share, n, low, high float64) {
		t.Helper()
		if a, b := wilson(share, n); math.Abs(a-low) > 5e-4 || math.Abs(b-high) > 5e-4 {
			t.Errorf("%g of %g: %.4f to %.4f, not %g to %g", share, n, a, b, low, high)
		}
	}
	f(.5, 100, .4038, .5962)
	f(0, 10, 0, .2775)
	f(1, 10, .7225, 1)
	f(.1, 1000, .0829, .1202)
}

// Columns that carry the model lose it where they are another row's, noise loses
// nothing; genuine rows that were thinned are drawn as often as they stand for.
func TestImportanceIsOfWhatTells(t *testing.T) {
	d, _ := knownWorld(22, 20_000)
	r, err := Fit(t.Context(), d, plain(), nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := importances(r.Model(), d.Slice(14_000, 20_000), []Group{{"noise", []int{3}}, {"weak", []int{2}}, {"all", []int{0, 1, 2, 3, 4}}, {"strong", []int{0, 4}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Group)
	}
	if !slices.Equal(names, []string{"all", "strong", "weak", "noise"}) || list[0].Loss < .3 || math.Abs(list[3].Loss) > .02 || list[1].Columns != 2 {
		t.Errorf("%+v", list)
	}
	for i := range d.Weight {
		d.Weight[i] = float32(1 + 9*(i%2))
	}
	odd := 0
	for _, i := range d.donors(rand.New(rand.NewPCG(1, 1))) {
		odd += i % 2
	}
	if share := float64(odd) / 20_000; math.Abs(share-10./11) > .02 {
		t.Errorf("%.3f of the donors weigh ten of eleven", share)
	}
}

func TestDriftSeesWhatMoves(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 0))
	before, in := NewDataset([]string{"same", "moved", "gone", "flag"}), NewDataset([]string{"same", "moved", "gone", "flag"})
	for i := range 30_000 {
		flag := float32(r.IntN(2))
		before.Add([]float32{r.Float32(), float32(r.NormFloat64()), r.Float32(), flag}, false, int64(i), 0)
		gone := r.Float32()
		if r.IntN(2) == 0 {
			gone = float32(math.NaN())
		}
		in.Add([]float32{r.Float32(), float32(.5 + r.NormFloat64()), gone, flag}, false, int64(i), 0)
	}
	list := drifts(before, in)
	var names []string
	for _, d := range list {
		names = append(names, d.Name)
	}
	// Normal values moved by half a deviation have an index of .25 in theory.
	if !slices.Equal(names[:2], []string{"gone", "moved"}) || math.Abs(list[1].Index-.25) > .04 || list[2].Index > .01 || list[3].Index > .01 {
		t.Errorf("%+v", list)
	}
	if math.Abs(list[0].MissingIn-.5) > .01 || list[0].MissingBefore != 0 {
		t.Errorf("%+v", list[0])
	}
}

func TestReportNumbers(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	f(grouped(0), "0")
	f(grouped(999), "999")
	f(grouped(1000), "1,000")
	f(grouped(-123456), "-123,456")
	f(grouped(1234567), "1,234,567")
	f(plural(1, "feature"), "1 feature")
	f(plural(2, "feature"), "2 features")
	f(secondsText(.25), "0.2 s")
	f(secondsText(61), "61 s")
	f(secondsText(600), "10 min")
	c := Contrast{Figure: figureNames[figureCalibration], Difference: -.001, Low: -.002, High: -.0005}
	f(c.Better(), "better")
	c.Figure = figureNames[figureAP]
	f(c.Better(), "worse")
	c.Figure = figureNames[figureAlerts]
	f(c.Better(), "")
	if s := (Contrast{Difference: .1, Low: 0, High: .2}).Span(); s.Low != 50 || s.High <= 90 || s.High > 100 || s.At <= 50 {
		t.Errorf("%+v", s)
	}
}

// Labels of axes are few, rise, and do not repeat.
func TestAxes(t *testing.T) {
	number := regexp.MustCompile(`^[0-9,]+$`)
	for _, most := range []float64{0, 1, 3, 7, 12, 40, 99, 101, 2_500, 9_999, 123_456, 7e6} {
		p := newPlot("", "")
		countAxis(&p.Y, most)
		ticks := p.Y.Tick.Marker.Ticks(0, 0)
		seen := make(map[string]bool)
		for _, k := range ticks {
			if seen[k.Label] || !number.MatchString(k.Label) {
				t.Errorf("to %g: %q", most, k.Label)
			}
			seen[k.Label] = true
		}
		if p.Y.Max < most || len(ticks) < 2 || len(ticks) > 11 {
			t.Errorf("to %g: up to %g in %d labels", most, p.Y.Max, len(ticks))
		}
	}
}
