package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

type backtestLine struct {
	Bundle, Currency string
	Weeks            []backtestWeek
	All              backtestWeek
}

// mondayOf is the date on which the week of a time began.
func mondayOf(ms int64) string {
	day := time.UnixMilli(ms).UTC()
	for day.Weekday() != time.Monday {
		day = day.AddDate(0, 0, -1)
	}
	return day.Format(time.DateOnly)
}

// wantBacktest goes through the decisions of a past one by one.
func wantBacktest(t *testing.T, p *past, b *scoring.Bundle, from, to, asOf, ripe int64) (want map[string]*backtestWeek, ranks map[string][]float32) {
	t.Helper()
	s, err := cpu.NewPureGo(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string]schemas.LabelVerdict)
	for i := range p.labels {
		if l := &p.labels[i]; l.KnownAt <= asOf {
			labels[string(l.TxID)] = l.Verdict
		}
	}
	want, ranks = make(map[string]*backtestWeek), make(map[string][]float32)
	for i := range p.decisions {
		d := &p.decisions[i]
		if d.Tx.Time < from || d.Tx.Time >= to {
			continue
		}
		week := mondayOf(d.Tx.Time)
		if want[week] == nil {
			want[week] = &backtestWeek{Week: week}
		}
		w := want[week]
		if d.Spec != schemas.HashPrefix(b.Spec.Hash) {
			w.Other++
			continue
		}
		w.Decisions++
		var score [1]float32
		if err := s.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, score[:]); err != nil {
			t.Fatal(err)
		}
		rank := b.Policy.Rank.Rank(b.Calibration.Prob(score[0]), d.Tx.AmountBase)
		verdict, known := labels[string(d.Text[schemas.ID])]
		known = known || d.Tx.Time <= asOf-ripe
		fraud := verdict == schemas.LabelFraud
		if known {
			w.Known++
		}
		if fraud {
			w.Fraud++
			w.Lost += d.Tx.AmountBase
		}
		add := func(f *backtestFlags) {
			f.Flagged++
			if known {
				f.Known++
			}
			if fraud {
				f.Fraud++
				f.Caught += d.Tx.AmountBase
			}
		}
		model, taken := rank >= b.Policy.Review, d.Action != schemas.Allow && (d.ReviewProb >= 1 || d.Bundle == 0)
		if model {
			add(&w.Model)
		}
		if taken {
			add(&w.Taken)
		}
		if model && !taken {
			add(&w.OnlyModel)
		}
		if taken && !model {
			add(&w.OnlyTaken)
		}
		ranks[week] = append(ranks[week], rank)
	}
	return want, ranks
}

// TestBacktestCountsAsByHand holds the weeks of a past, decided by a third, by rules and by
// exploration too, to what going through it by hand gives.
func TestBacktestCountsAsByHand(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p, _ := decidedPast(t, 5, 6000)
	for i := range p.decisions {
		d := &p.decisions[i]
		switch {
		case i%7 == 0: // rules
			d.Bundle, d.Score, d.Prob, d.ReviewProb, d.Action = 0, 0, 0, 0, schemas.Action(i/7%3)
		case i%11 == 0:
			d.Spec++ // of another spec
		case i%4 == 0:
			d.ReviewProb, d.Action = .1, schemas.Allow // another threshold
		}
	}
	p.write("live.db")
	file, _, err := readAnyBundle(bundleFile{"model.weir", []byte(content(t, "model.weir"))})
	if err != nil {
		t.Fatal(err)
	}
	from, to, asOf, ripe := pastStart+9*dayMs, pastStart+38*dayMs, pastStart+36*dayMs, int64(5*dayMs)
	args := []string{"backtest", "--bundle", "model.weir", "--history", "live.db", "--since", rfc3339(from), "--until", rfc3339(to), "--as-of", rfc3339(asOf), "--ripe", "5d"}
	var got backtestLine
	lastLine(t, call(t, append(args, "--json")...).succeeds(t).stdout, &got)
	want, ranks := wantBacktest(t, p, file, from, to, asOf, ripe)
	if len(got.Weeks) != len(want) || len(want) < 4 {
		t.Fatalf("%d weeks, want %d", len(got.Weeks), len(want))
	}
	bare := func(w backtestWeek) backtestWeek {
		for _, f := range []*backtestFlags{&w.Taken, &w.Model, &w.OnlyTaken, &w.OnlyModel} {
			f.Precision, f.Recall = nil, nil
		}
		w.Level = backtestFlags{}
		return w
	}
	for _, w := range got.Weeks {
		if g, x := bare(w), *want[w.Week]; g != x {
			t.Errorf("week %s:\n%+v, want\n%+v", w.Week, g, x)
		}
		for _, f := range []backtestFlags{w.Taken, w.Model} {
			if f.Known > 0 && (f.Precision == nil || f.Precision.Value != float64(f.Fraud)/float64(f.Known)) {
				t.Errorf("week %s: precision %v of %+v", w.Week, f.Precision, f)
			}
		}
		// What is flagged at the same volume is the head of the ranking, to a bin.
		list := ranks[w.Week]
		slices.Sort(list)
		at := list[len(list)-max(w.Level.Flagged, 1)]
		more := 0
		for _, r := range list {
			if float64(r) > float64(at)*(1-1./64) {
				more++
			}
		}
		if w.Level.Flagged > w.Taken.Flagged || more < w.Taken.Flagged*9/10 || w.Level.Fraud < w.Taken.Fraud {
			t.Errorf("week %s: %d of %d flagged at the same volume, %d frauds of %d; %d are as high", w.Week, w.Level.Flagged, w.Taken.Flagged, w.Level.Fraud, w.Taken.Fraud, more)
		}
	}
	if got.All.OnlyModel.Fraud == 0 || got.All.Other == 0 || got.All.Known == got.All.Decisions || math.IsNaN(got.All.Model.Recall.Value) {
		t.Errorf("the past is too plain to tell: %+v", got.All)
	}
	text := call(t, args...).succeeds(t).stdout
	for _, want := range []string{"as it was decided", "this model, at its threshold", "at the same volume", got.Weeks[1].Week, "It would have flagged " + thousands(int64(got.All.OnlyModel.Flagged)) + " that were not"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	t.Log("\n" + text)
}

// TestBacktestSaysWhatIsMissing has no vectors, no bundle and no history.
func TestBacktestSaysWhatIsMissing(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p, _ := decidedPast(t, 6, 800)
	for i := range p.decisions {
		p.decisions[i].Spec++
	}
	p.write("other.db")
	a := call(t, "backtest", "--bundle", "model.weir", "--history", "other.db").succeeds(t)
	if !strings.Contains(a.stdout, "no decision of this time has a vector of the spec handbook") {
		t.Errorf("%q", a.stdout)
	}
	for _, args := range [][]string{{}, {"--bundle", "gone.weir", "--history", "other.db"}, {"--bundle", "model.weir"}, {"--bundle", "champion", "--history", "other.db"}} {
		if a := call(t, append([]string{"backtest"}, args...)...); a.code == 0 || a.stderr == "" {
			t.Errorf("%q: exit code %d, %q", args, a.code, a.stderr)
		}
	}
}
