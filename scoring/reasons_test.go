package scoring_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

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

var additiveTexts = []scoring.FeatureText{
	{Group: "customer", Text: "a"}, {Group: "card", Text: "b"}, {Group: "customer", Text: "c"}, {Group: "rest", Text: "d"},
}

func explainer(t testing.TB, b *scoring.Bundle, texts []scoring.FeatureText) *scoring.Explainer {
	t.Helper()
	s, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	x, err := scoring.NewExplainer(b, s, texts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExplainTellsWhatMovedTheScore(t *testing.T) {
	b := additive(t)
	got, err := explainer(t, b, additiveTexts).Explain([]float32{1, 3, 4, 7}, 2)
	if err != nil {
		t.Fatal(err)
	}
	var meanA, meanB float64
	for i := range scoring.ReasonRows {
		meanA += float64(b.Background[i*64/scoring.ReasonRows*4]) / scoring.ReasonRows
		meanB += float64(b.Background[i*64/scoring.ReasonRows*4+1]) / scoring.ReasonRows
	}
	want := []float64{2*(1-meanA) + .5*4, -(3 - meanB)}
	if len(got) != 2 || got[0].Group != "customer" || got[1].Group != "card" {
		t.Fatalf("reasons are %+v, want customer and card", got)
	}
	for i := range got {
		// The score's float32 keeps this much of a logit of 3.
		if math.Abs(float64(got[i].Logit)-want[i]) > 1e-4 {
			t.Errorf("%s moved the logit by %g, want %g", got[i].Group, got[i].Logit, want[i])
		}
	}
	if f := got[0].Features; len(f) != 2 || f[0].Feature != 0 || f[1].Feature != 2 || f[1].Usual == f[1].Usual {
		t.Errorf("unusual of the customer: %+v, want a, then c, which is usually missing", f)
	}
}

func TestExplainNamesNothingThatIsAsUsual(t *testing.T) {
	got, err := explainer(t, additive(t), additiveTexts).Explain([]float32{1, 3, 4, 7}, 9)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2].Group != "rest" || got[2].Logit != 0 || len(got[2].Features) != 0 {
		t.Errorf("got %+v, want the rest last, with nothing to say", got)
	}
}

// TestReasonsAreAPureFunction holds them to the same bits by every back end and
// whatever was explained before.
func TestReasonsAreAPureFunction(t *testing.T) {
	const seed = 4
	r := rand.New(rand.NewPCG(seed, 0))
	b := &scoring.Bundle{Model: scoringtest.Model(r, scoringtest.Shape{Columns: 12, Hidden: []int{16, 8}, Members: 3, Tables: 3, Log: 2, Scale: 1})}
	var texts []scoring.FeatureText
	for c := range 12 {
		b.Features = append(b.Features, fmt.Sprint(c))
		texts = append(texts, scoring.FeatureText{Group: fmt.Sprint(c % 5)})
	}
	b.Background = scoringtest.Rows(r, 70, 12).Data
	pure, err := cpu.NewPureGo(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	again, err := scoring.NewExplainer(b, pure, texts)
	if err != nil {
		t.Fatal(err)
	}
	x := explainer(t, b, texts)
	rows, moved := scoringtest.Rows(r, 30, 12), false
	for i := range rows.Rows {
		row := rows.Data[i*12 : (i+1)*12]
		first, err := x.Explain(row, 5)
		one := cloned(first)
		if err != nil {
			t.Fatal(err)
		}
		two, err := again.Explain(row, 5)
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
		if _, err := scoring.NewExplainer(b, nil, texts); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	f(scoring.ErrBackground, func(b *scoring.Bundle, _ *[]scoring.FeatureText) { b.Background = nil })
	f(scoring.ErrFeatures, func(_ *scoring.Bundle, texts *[]scoring.FeatureText) { *texts = (*texts)[1:] })
	f(scoring.ErrFeatures, func(b *scoring.Bundle, texts *[]scoring.FeatureText) {
		for c := range 70 {
			b.Features = append(b.Features, fmt.Sprint(c))
			*texts = append(*texts, scoring.FeatureText{Group: fmt.Sprint(c)})
		}
		b.Background = make([]float32, 64*len(b.Features))
	})
	if _, err := explainer(t, additive(t), additiveTexts).Explain(make([]float32, 3), 1); !errors.Is(err, scoring.ErrMatrix) {
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
	s, err := cpu.New(m)
	if err != nil {
		panic(err)
	}
	x, err := scoring.NewExplainer(b, s, texts)
	if err != nil {
		panic(err)
	}
	reasons, err := x.Explain([]float32{9.2, 14}, 1)
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

func BenchmarkExplain(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const cols = 75
	bundle := &scoring.Bundle{Model: scoringtest.Model(r, scoringtest.Shape{Columns: cols, Hidden: []int{64, 64}, Members: 1, Tables: 4, Scale: 1})}
	var texts []scoring.FeatureText
	for c := range cols {
		bundle.Features = append(bundle.Features, fmt.Sprint(c))
		texts = append(texts, scoring.FeatureText{Group: fmt.Sprint(c % 8)})
	}
	bundle.Background = scoringtest.Rows(r, 256, cols).Data
	x := explainer(b, bundle, texts)
	row := bundle.Background[:cols]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Explain(row, 3); err != nil {
			b.Fatal(err)
		}
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
	if n := testing.AllocsPerRun(100, func() {
		reasons, err := x.Explain(row, 3)
		if err != nil || len(reasons) == 0 {
			t.Fatal("no reasons", err)
		}
		line = w.Append(line[:0], scoring.Unusual{Value: 9.25, Usual: 1})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
