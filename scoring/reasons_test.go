package scoring_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// additive returns a bundle of a logistic regression on its columns as they
// are, whose reasons can be told by hand: weights 2, -1, .5, 0.
func additive(t testing.TB) *scoring.Bundle {
	t.Helper()
	weights := []float32{2, -1, .5, 0}
	m := &scoring.Model{Columns: len(weights), Members: 1, Width: 1, Bias: []float32{-1}}
	for c, w := range weights {
		m.Inputs = append(m.Inputs, scoring.Input{Column: c, Inv: 1, Lo: -10, Hi: 10, Slope: []float32{w}})
	}
	b := &scoring.Bundle{Features: []string{"a", "b", "c", "d"}, Model: m}
	r := rand.New(rand.NewPCG(1, 9))
	for range 64 {
		b.Background = append(b.Background, float32(r.NormFloat64()*.1), float32(r.NormFloat64()*.1), float32(math.NaN()), 7)
	}
	return b
}

// background returns the mean of additive's background rows, and the row whose logit
// is closest to that.
func background(b *scoring.Bundle) (mean, usual [2]float64) {
	logit := func(x [2]float64) float64 { return 2*x[0] - x[1] }
	row := func(i int) [2]float64 { return [2]float64{float64(b.Background[i*4]), float64(b.Background[i*4+1])} }
	for i := range scoring.ReasonRows {
		mean[0], mean[1] = mean[0]+row(i)[0]/scoring.ReasonRows, mean[1]+row(i)[1]/scoring.ReasonRows
	}
	usual = row(0)
	for i := range scoring.ReasonRows {
		if math.Abs(logit(row(i))-logit(mean)) < math.Abs(logit(usual)-logit(mean)) {
			usual = row(i)
		}
	}
	return mean, usual
}

var additiveTexts = []scoring.FeatureText{
	{Group: "customer", Text: "a"}, {Group: "card", Text: "b"}, {Group: "customer", Text: "c"}, {Group: "rest", Text: "d"},
}

func newScorer(m *scoring.Model) (scoring.Scorer, error) { return cpu.New(m) }

func explainer(t testing.TB, b *scoring.Bundle, texts []scoring.FeatureText) *scoring.Explainer {
	t.Helper()
	x, err := scoring.NewExplainer(b, newScorer, texts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExplainTellsWhatMovedTheScore(t *testing.T) {
	b := additive(t)
	x := explainer(t, b, additiveTexts)
	mean, usual := background(b)
	for _, quick := range []bool{false, true} {
		got, err := x.Explain([]float32{1, 3, 4, 7}, 2, quick)
		if err != nil {
			t.Fatal(err)
		}
		meanA, meanB := mean[0], mean[1]
		if quick {
			meanA, meanB = usual[0], usual[1]
		}
		want := []float64{2*(1-meanA) + .5*4, -(3 - meanB)}
		if len(got) != 2 || got[0].Group != "customer" || got[1].Group != "card" {
			t.Fatalf("reasons are %+v, want customer and card", got)
		}
		for i := range got {
			// The score's float32 keeps this much of a logit of 3.
			if math.Abs(float64(got[i].Logit)-want[i]) > 1e-4 {
				t.Errorf("quick %v: %s moved the logit by %g, want %g", quick, got[i].Group, got[i].Logit, want[i])
			}
		}
		if f := got[0].Features; len(f) != 2 || f[0].Feature != 0 || f[1].Feature != 2 || f[1].Usual == f[1].Usual {
			t.Errorf("unusual of the customer: %+v, want a, then c, which is usually missing", f)
		}
	}
}

// TestReasonsAreShapleyValues compares them with the definition: over every order
// of the groups, by how much each moves the mean log-odds of rows mixed feature by
// feature; and quick ones with the two orders and the row that they are of.
func TestReasonsAreShapleyValues(t *testing.T) {
	const seed, cols, groups = 11, 12, 4
	r := rand.New(rand.NewPCG(seed, 0))
	for _, hidden := range [][]int{nil, {16}, {24, 8}} {
		b, texts := random(r, cols, groups, hidden)
		x := explainer(t, b, texts)
		rows := scoringtest.Rows(r, 5, cols)
		for i := range rows.Rows {
			row := rows.Data[i*cols : (i+1)*cols]
			copy(row, b.Background[:cols/2]) // some of it the same
			mean, usual := worth(t, b, groups, row)
			want, quick := make([]float64, groups), make([]float64, groups)
			orders(groups, func(order []int) {
				up, down := slices.IsSorted(order), slices.IsSortedFunc(order, func(a, b int) int { return b - a })
				set := 0
				for _, g := range order {
					want[g] += (mean[set|1<<g] - mean[set]) / 24
					if up || down {
						quick[g] += (usual[set|1<<g] - usual[set]) / 2
					}
					set |= 1 << g
				}
			})
			for _, c := range []struct {
				quick       bool
				want, worth []float64
			}{{false, want, mean}, {true, quick, usual}} {
				got, err := x.Explain(row, groups, c.quick)
				if err != nil {
					t.Fatal(err)
				}
				sum := 0.
				for _, g := range got {
					sum += float64(g.Logit)
					n, _ := strconv.Atoi(g.Group)
					if math.Abs(float64(g.Logit)-c.want[n]) > 1e-4 {
						t.Errorf("seed %d hidden %v row %d quick %v: group %d is %g, want %g", seed, hidden, i, c.quick, n, g.Logit, c.want[n])
					}
				}
				if off := sum - (c.worth[1<<groups-1] - c.worth[0]); math.Abs(off) > 1e-4 {
					t.Errorf("seed %d hidden %v row %d quick %v: groups add up to %g, %g off", seed, hidden, i, c.quick, sum, off)
				}
			}
		}
	}
}

// worth returns what the sets of groups of row are worth, that of all being all
// bits: the mean over the background, and that of its most usual row.
func worth(t *testing.T, b *scoring.Bundle, groups int, row []float32) (mean, usual []float64) {
	t.Helper()
	s, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	mean = make([]float64, 1<<groups)
	mixed, out := make([]float32, len(row)), make([]float32, 1)
	var list [scoring.ReasonRows][]float64
	for i := range list {
		for set := range mean {
			copy(mixed, b.Background[i*len(row):])
			for c := range mixed {
				if set>>(c%groups)&1 == 1 {
					mixed[c] = row[c]
				}
			}
			if err := s.Score(scoring.Matrix{Data: mixed, Rows: 1, Cols: len(row)}, out); err != nil {
				t.Fatal(err)
			}
			p := float64(out[0])
			list[i] = append(list[i], math.Log(p/(1-p)))
			mean[set] += math.Log(p/(1-p)) / scoring.ReasonRows
		}
	}
	usual = list[0]
	for _, one := range list {
		if math.Abs(one[0]-mean[0]) < math.Abs(usual[0]-mean[0]) {
			usual = one
		}
	}
	return mean, usual
}

// orders calls f with every order of n numbers.
func orders(n int, f func([]int)) {
	var next func([]int)
	next = func(order []int) {
		if len(order) == n {
			f(order)
		}
		for g := range n {
			if !slices.Contains(order, g) {
				next(append(order[:len(order):len(order)], g))
			}
		}
	}
	next(nil)
}

// random is a bundle of a network that nobody trained, column c being of group
// c%groups.
func random(r *rand.Rand, cols, groups int, hidden []int) (*scoring.Bundle, []scoring.FeatureText) {
	b := &scoring.Bundle{Model: scoringtest.Model(r, scoringtest.Shape{Columns: cols, Hidden: hidden, Members: 3, Tables: 3, Log: 2, Scale: 1})}
	var texts []scoring.FeatureText
	for c := range cols {
		b.Features = append(b.Features, fmt.Sprint(c))
		texts = append(texts, scoring.FeatureText{Group: fmt.Sprint(c % groups)})
	}
	b.Background = scoringtest.Rows(r, scoring.ReasonRows, cols).Data
	return b, texts
}

func TestExplainNamesNothingThatIsAsUsual(t *testing.T) {
	got, err := explainer(t, additive(t), additiveTexts).Explain([]float32{1, 3, 4, 7}, 9, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2].Group != "rest" || math.Abs(float64(got[2].Logit)) > 1e-6 || len(got[2].Features) != 0 {
		t.Errorf("got %+v, want the rest last, with nothing to say", got)
	}
}

// TestReasonsAreAPureFunction holds them to the same bits by every back end and
// whatever was explained before.
func TestReasonsAreAPureFunction(t *testing.T) {
	const seed = 4
	r := rand.New(rand.NewPCG(seed, 0))
	b, texts := random(r, 12, 5, []int{16, 8})
	again, err := scoring.NewExplainer(b, func(m *scoring.Model) (scoring.Scorer, error) { return cpu.NewPureGo(m) }, texts)
	if err != nil {
		t.Fatal(err)
	}
	x := explainer(t, b, texts)
	rows, moved := scoringtest.Rows(r, 6, 12), false // the reference scorer is slow
	for i := range rows.Rows {
		row := rows.Data[i*12 : (i+1)*12]
		quick := i > 1
		first, err := x.Explain(row, 5, quick)
		one := cloned(first)
		if err != nil {
			t.Fatal(err)
		}
		two, err := again.Explain(row, 5, quick)
		if err != nil {
			t.Fatal(err)
		}
		// Print tells apart bits, and takes NaN for itself.
		if fmt.Sprint(one) != fmt.Sprint(two) {
			t.Fatalf("seed %d row %d: %v by one back end, %v by another", seed, i, one, two)
		}
		moved = moved || one[0].Logit != 0
	}
	if !moved {
		t.Error("no group moves any score")
	}
}

func TestNewExplainerFailure(t *testing.T) {
	f := func(want error, change func(b *scoring.Bundle, texts *[]scoring.FeatureText)) {
		t.Helper()
		b, texts := additive(t), append([]scoring.FeatureText(nil), additiveTexts...)
		change(b, &texts)
		if _, err := scoring.NewExplainer(b, newScorer, texts); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(scoring.ErrBackground, func(b *scoring.Bundle, _ *[]scoring.FeatureText) { b.Background = nil })
	f(scoring.ErrFeatures, func(_ *scoring.Bundle, texts *[]scoring.FeatureText) { *texts = (*texts)[1:] })
	f(scoring.ErrFeatures, func(b *scoring.Bundle, texts *[]scoring.FeatureText) {
		for c := range scoring.ReasonGroupsMax {
			b.Features = append(b.Features, fmt.Sprint(c))
			*texts = append(*texts, scoring.FeatureText{Group: fmt.Sprint(c)})
		}
		b.Background = make([]float32, 64*len(b.Features))
	})
	if _, err := explainer(t, additive(t), additiveTexts).Explain(make([]float32, 3), 1, false); !errors.Is(err, scoring.ErrMatrix) {
		t.Errorf("a row of another width: got %v", err)
	}
}

// words are what an analyst reads of an unusual feature.
func words(text string, u scoring.Unusual) []byte {
	w := scoring.NewWords(text)
	return w.Append(nil, u)
}

func TestWords(t *testing.T) {
	f := func(text string, value, usual float32, want string) {
		t.Helper()
		if got := string(words(text, scoring.Unusual{Value: value, Usual: usual})); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	nan := float32(math.NaN())
	f("amount / mean(amount) by customer over 30d before", 9.2, 1, "9.2 times this customer's 30-day mean amount")
	f("amount / geo_mean(amount) by customer over all before", 12, 1, "12 times this customer's geometric mean amount")
	f("amount / mean(amount) by customer × merchant over 1h", 2, 1, "2 times this customer and merchant's 1-hour mean amount")
	f("amount / mean(amount) by customer over 30d", nan, 1, "amount / mean(amount) by customer over 30d is missing, usually 1")
	f("count() by card over 1h", 14, 1, "this card's 1-hour number of payments is 14, usually 1")
	f("sum(amount) by customer over 1d", 1234.5, nan, "this customer's 1-day total amount is 1234, usually missing")
	f("distinct(merchant) by customer over 7d", 8, 2, "this customer's 7-day number of different merchant is 8, usually 2")
	f("since_last() by customer", 3, 86400, "this customer's seconds since the last payment is 3, usually 86400")
	f("fraud_rate() by terminal over 7d delay 7d", .25, 0, "this terminal's 7-day share of known fraud until 7 days ago is 0.25, usually 0")
	f("count() by card over 1h where amount < 5", 6, 0, "this card's 1-hour number of payments where amount < 5 is 6, usually 0")
	f("hour(time) <= 6", 1, 0, "hour(time) <= 6 is 1, usually 0")
	f("count() by merchant over 1h / count() by merchant over 1d", .5, .1,
		"count() by merchant over 1h / count() by merchant over 1d is 0.5, usually 0.1")
	f("sum(amount) by card over 1500ms", 1, 2, "this card's 1500ms total amount is 1, usually 2")
}

func ExampleExplainer() {
	// A logistic regression of two features: what the payment is of this
	// customer's mean, and the hour.
	m := &scoring.Model{Columns: 2, Members: 1, Width: 1, Bias: []float32{-4}, Inputs: []scoring.Input{
		{Column: 0, Inv: 1, Hi: 100, Slope: []float32{.5}},
		{Column: 1, Inv: 1, Hi: 23, Slope: []float32{0}},
	}}
	b := &scoring.Bundle{Features: []string{"ratio", "hour"}, Model: m}
	for range scoring.BackgroundRowsMin {
		b.Background = append(b.Background, 1, 14)
	}
	texts := []scoring.FeatureText{
		{Group: "customer amount", Text: "amount / mean(amount) by customer over 30d"},
		{Group: "transaction", Text: "hour(time)"},
	}
	newScorer := func(m *scoring.Model) (scoring.Scorer, error) { return cpu.New(m) }
	x, err := scoring.NewExplainer(b, newScorer, texts)
	if err != nil {
		panic(err)
	}
	reasons, err := x.Explain([]float32{9.2, 14}, 1, false)
	if err != nil {
		panic(err)
	}
	for _, r := range reasons {
		for _, u := range r.Features {
			fmt.Printf("%s %+.1f: %s\n", r.Group, r.Logit, words(texts[u.Feature].Text, u))
		}
	}
	// Output: customer amount +4.1: 9.2 times this customer's 30-day mean amount
}

// served is a bundle of the network that the trainer fits, in the worst case: not
// one group of a decision is as any background row has it.
func served() (b *scoring.Bundle, texts []scoring.FeatureText, row []float32) {
	const cols = 68
	r := rand.New(rand.NewPCG(1, 1))
	b = &scoring.Bundle{Model: scoringtest.Model(r, scoringtest.Shape{Columns: cols, Hidden: []int{64, 64}, Members: 8, Tables: 4, Log: 4, Scale: 1})}
	for c := range cols {
		b.Features = append(b.Features, fmt.Sprint(c))
		texts = append(texts, scoring.FeatureText{Group: fmt.Sprint(c % 8)})
	}
	b.Background = scoringtest.Rows(r, 256, cols).Data
	return b, texts, scoringtest.Rows(r, 1, cols).Data
}

func BenchmarkExplain(b *testing.B) {
	for _, quick := range []bool{true, false} {
		b.Run(fmt.Sprintf("features=68/groups=8/members=8/quick=%t", quick), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			bundle, texts, row := served()
			x := explainer(b, bundle, texts)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Explain(row, 3, quick); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
		})
	}
}

// BenchmarkScoreBesideReasons times a step's scoring alone, and while alerts are
// explained as fast as one goroutine can. It needs two cores that are free.
func BenchmarkScoreBesideReasons(b *testing.B) {
	for _, explaining := range []bool{false, true} {
		b.Run(fmt.Sprintf("rows=32/explaining=%t", explaining), func(b *testing.B) {
			bundle, texts, row := served()
			s, err := cpu.New(bundle.Model)
			if err != nil {
				b.Fatal(err)
			}
			x, stop, done := explainer(b, bundle, texts), make(chan struct{}), make(chan error, 1)
			go func() {
				err := error(nil)
				for running := explaining; running && err == nil; {
					select {
					case <-stop:
						running = false
					default:
						_, err = x.Explain(row, 3, false)
					}
				}
				done <- err
			}()
			m, out := scoring.Matrix{Data: bundle.Background, Rows: 32, Cols: 68}, make([]float32, 32)
			var took []time.Duration
			for b.Loop() {
				from := time.Now()
				if err := s.Score(m, out); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(from))
			}
			close(stop)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
		})
	}
}

// cloned is reasons that outlive the next call.
func cloned(list []scoring.Reason) (out []scoring.Reason) {
	for _, r := range list {
		r.Features = append([]scoring.Unusual(nil), r.Features...)
		out = append(out, r)
	}
	return out
}

func TestExplainDoesNotAllocate(t *testing.T) {
	x := explainer(t, additive(t), additiveTexts)
	row := []float32{1, 3, 4, 7}
	w := scoring.NewWords("amount / mean(amount) by customer over 30d")
	line := make([]byte, 0, 1024)
	quick := false
	if n := testing.AllocsPerRun(100, func() {
		quick = !quick
		reasons, err := x.Explain(row, 3, quick)
		if err != nil || len(reasons) == 0 {
			t.Fatal("no reasons", err)
		}
		line = w.Append(line[:0], scoring.Unusual{Value: 9.25, Usual: 1})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
