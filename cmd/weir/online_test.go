package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/trainer"
)

// smallStream makes 31 days, or in short tests 9, of payments in two hours a day, in others on even days
// than on odd ones: so no label, seven days late, falls into an hour of payments, and
// it is plain what each may know. The frauds are large, and at one terminal of ten.
func smallStream(t *testing.T) *handbookStream {
	t.Helper()
	const seed = 7
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &handbookStream{from: "a small stream"}
	days := int64(31)
	if testing.Short() {
		days = 9
	}
	for day := range days {
		for _, hour := range []int64{10 - day%2, 15 - day%2} {
			for i := range int64(150) {
				r := handbookRow{time: dayTime("2018-04-01") + day*dayMs + hour*hourMs + i*20_000, amount: 1000 + rng.Int64N(4000), fraud: rng.IntN(20) == 0}
				term := rng.IntN(50)
				if r.fraud {
					r.amount, term = r.amount*(1+rng.Int64N(10)), term/10
				}
				r.id, r.customer, r.term = fmt.Append(nil, len(s.rows)), fmt.Append(nil, rng.IntN(2000)), fmt.Append(nil, term)
				s.rows = append(s.rows, r)
			}
		}
	}
	return s
}

// small returns one life of the small stream, lived.
func small(t *testing.T, o onlineFlags) *online {
	t.Helper()
	sp, err := loadSpec("payments")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	l := &online{env: &env{stdout: &out, stderr: &errs, lookup: func(string) (string, bool) { return "", false }},
		spec: sp, from: "payments", stream: smallStream(t), network: trainer.DefaultNetwork(), options: o}
	l.network.Epochs = 4
	if err := l.liveThrough(t.Context(), "online"); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestOnlineIsTheStreamAsItHappened holds the vectors of the ledger against those of
// the engine alone, which is told of labels after seven days; then what came of the
// nights.
func TestOnlineIsTheStreamAsItHappened(t *testing.T) {
	l := small(t, onlineFlags{on: true, retrain: 3})
	if l.decided != len(l.stream.rows) || l.base != 0 {
		t.Fatalf("%d of %d decided, %d forgotten", l.decided, len(l.stream.rows), l.base)
	}
	other := 0
	err := l.stream.fold(l.spec, func(i int, x []float32) error {
		for k, v := range l.rows.Row(i) {
			if v != x[k] && (v == v || x[k] == x[k]) {
				if other++; other < 5 {
					t.Errorf("row %d: %s is %g, not %g", i, l.rows.Names[k], v, x[k])
				}
			}
		}
		return nil
	})
	if err != nil || other > 0 {
		t.Errorf("%d numbers differ; %v", other, err)
	}
	end := l.stream.rows[len(l.stream.rows)-1].time/dayMs*dayMs + dayMs
	for i, r := range l.stream.rows {
		if due := r.time+labelDelay < end; due && r.fraud != (l.rows.Y[i] != 0) || !due && l.rows.Y[i] != 0 {
			t.Fatalf("row %d, fraud %v, is known as %d", i, r.fraud, l.rows.Y[i])
		}
	}
	life := l.measure()
	if testing.Short() {
		return // there were too few days to learn
	}
	if life.Trained != 4 || life.Published < 1 || len(life.Weeks) != 1 || life.Weeks[0].Start != "2018-04-25" || life.Reviewed != 0 {
		t.Fatalf("%+v", life)
	}
	if w := life.Weeks[0]; w.AveragePrecision < 0.4 || w.Still.AveragePrecision < 0.4 || len(w.Models) < 1 || w.MoneyCaught < 0.5 {
		t.Errorf("%+v", w)
	}
	// Before the first night with a model the rules decide.
	first := slices.IndexFunc(l.bundle, func(b uint64) bool { return b != 0 })
	if day := time.UnixMilli(l.stream.rows[first].time).UTC().Format(time.DateOnly); day != "2018-04-22" {
		t.Errorf("the first model decides from %s on", day)
	}
}

// TestOnlineDesk holds who is reviewed, and that their verdicts are known the same
// evening.
func TestOnlineDesk(t *testing.T) {
	if testing.Short() {
		t.Skip("TestDeskTeachesMost holds the choice; this is one more life")
	}
	const analysts, explore = 10, 5
	l := small(t, onlineFlags{on: true, retrain: 7, analysts: analysts, explore: explore})
	days := map[int64]map[string]bool{}
	for i, r := range l.stream.rows {
		if !l.reviewed[i] {
			continue
		}
		day := r.time / dayMs
		if days[day] == nil {
			days[day] = map[string]bool{}
		}
		days[day][string(r.customer)] = true
		if r.fraud && l.rows.Y[i] == 0 {
			t.Fatalf("row %d is reviewed and its fraud not known", i)
		}
	}
	// From the evening after the first model on.
	if len(days) != 10 {
		t.Errorf("reviewed on %d days", len(days))
	}
	for day, cards := range days {
		if len(cards) != analysts+explore {
			t.Errorf("day %d: %d cards", day, len(cards))
		}
	}
	last := len(l.stream.rows) - 300
	best := float32(math.Inf(-1))
	for i := last; i < len(l.stream.rows); i++ {
		best = max(best, l.prob[i])
	}
	for i := last; i < len(l.stream.rows); i++ {
		if l.prob[i] == best && !l.reviewed[i] {
			t.Errorf("row %d of the last day has the highest score and is not reviewed", i)
		}
	}
}

// TestDeskTeachesMost has cards to choose from that differ in one thing each.
func TestDeskTeachesMost(t *testing.T) {
	evening := dayTime("2018-05-02")
	l := &online{stream: &handbookStream{}}
	d := &deskMind{terminals: map[string]*deskTerminal{
		"busy": {seen: 100, known: evening - 8*dayMs}, "quiet": {seen: 10, known: evening - 8*dayMs},
		"looked at": {seen: 1000, known: evening - dayMs/2}, "old": {seen: 100, known: evening - 12*dayMs},
	}}
	card := func(terms ...string) (c deskCard) {
		for _, term := range terms {
			c.rows = append(c.rows, len(l.stream.rows))
			l.stream.rows = append(l.stream.rows, handbookRow{term: []byte(term)})
		}
		return c
	}
	for _, c := range []struct {
		name  string
		cards []deskCard
		want  int
	}{
		{"more transactions", []deskCard{card("quiet"), card("busy")}, 1},
		{"a label longer ago", []deskCard{card("busy"), card("old")}, 1},
		{"two terminals", []deskCard{card("busy"), card("busy", "quiet")}, 1},
		{"one terminal twice", []deskCard{card("busy", "quiet"), card("busy", "busy")}, 0},
		{"looked at today", []deskCard{card("looked at"), card("quiet")}, 1},
	} {
		if got := d.teachesMost(l, c.cards, evening); got != c.want {
			t.Errorf("%s: card %d", c.name, got)
		}
	}
}

func TestOnlineFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--retrain 0 --online", "--retrain 0"},
		{"--analysts 5", "are of --online"},
		{"--online --explore 5", "--analysts, which is not given"},
		{"--online --analysts -1", "0 to 100000"},
	} {
		call(t, strings.Fields("eval handbook "+c.args)...).fails(t, exitUsage, c.want)
	}
}

// TestOnlineFitsATerminal keeps the table in 80 columns, each number below its name.
func TestOnlineFitsATerminal(t *testing.T) {
	text := onlineHead + fmt.Sprintf(onlineRow, "2018-08-29*", 0.7512, 0.7012, 0.3123, 0.3012, 56.7, 55.1, 7)
	for line := range strings.Lines(text) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
