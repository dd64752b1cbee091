package ingest

import (
	"encoding/json"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// TestAlertsSayWhy decides with a bundle that has background rows: alerts carry
// reasons, those that moved the score most before the others.
func TestAlertsSayWhy(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(3000, 7, 1)
	rows := w.vectors(n)
	b := *w.bundle
	b.Model = trainer.RandomModel(5, len(b.Features), 16, 1)
	b.Background = rows[:scoring.BackgroundRowsMin*len(b.Features)]
	b.Policy = scoring.Policy{Review: 0.55, Block: 0.95}
	if err := b.SetSelfTest(w32(t, b.Model), scoring.Matrix{Data: rows[:16*len(b.Features)], Rows: 16, Cols: len(b.Features)}); err != nil {
		t.Fatal(err)
	}
	_, read, err := trainer.Seal(&b, testKey(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	w.bundle = read
	w.topics.Decisions, w.topics.Alerts = "why.decisions", "why.alerts"
	if err := w.log.Ensure(t.Context(), w.topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	w.runUntil(n, func(c *Config) { c.Group, c.SnapshotDir = "why", "" })
	seen := 0
	var last []byte
	for _, r := range w.records(w.topics.Alerts, 0) {
		value := r.Value
		var a struct {
			Outcome string
			Reasons []struct {
				Group string
				Logit float64
				Words []string
			}
		}
		if err := json.Unmarshal(value, &a); err != nil {
			t.Fatal(err)
		}
		if a.Outcome != "scored" {
			continue
		}
		seen++
		last = value
		if len(a.Reasons) != reasonsMax {
			t.Fatalf("%d reasons: %s", len(a.Reasons), value)
		}
		for i, r := range a.Reasons {
			if r.Group == "" || i > 0 && math.Abs(r.Logit) > math.Abs(a.Reasons[i-1].Logit) {
				t.Fatalf("reasons out of order: %s", value)
			}
		}
	}
	if seen == 0 {
		t.Fatal("no alert of a scored transaction")
	}
	t.Logf("%d alerts, the last one: %s", seen, last)
}

// vectors decides n records and returns the vectors that the ledger holds.
func (w *world) vectors(n int64) (x []float32) {
	w.t.Helper()
	w.runUntil(n, nil)
	var e schemas.Entry
	for _, value := range w.ledger() {
		if err := schemas.ParseEntry(value, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Kind == schemas.EntryDecision && len(e.Decision.Features) == len(w.spec.Features) {
			x = append(x, e.Decision.Features...)
		}
	}
	return x
}

// TestReasonsLeaveTimeToScore has alerts come at once and at a pace, each taking 10 ms
// to be explained in full: so are as many as the burst and then the share allow, and
// none that others wait for; a clock that is set back earns nothing.
func TestReasonsLeaveTimeToScore(t *testing.T) {
	const each = 10 * time.Millisecond
	now := time.UnixMilli(1_700_000_000_000)
	e := explainers{node: &Node{Config: Config{Now: func() time.Time { return now }, Metrics: NewMetrics(prometheus.NewRegistry())}}}
	full := func(alerts int, behind bool) (n int) {
		for range alerts {
			if !e.quick(behind) {
				now = now.Add(each)
				e.spend()
				n++
			}
		}
		return n
	}
	share := reasonsShare * float64(runtime.GOMAXPROCS(0))
	burst, second := float64(reasonsBurst/each), share*float64(time.Second/each)
	// What is earned while one is explained counts as well.
	for _, c := range []struct {
		after    time.Duration
		alerts   int
		behind   bool
		from, to float64
	}{
		{0, 1000, false, burst, burst/(1-share) + 2}, {time.Second, 1000, false, second - 1, second/(1-share) + 2},
		{-time.Hour, 5, false, 0, 1}, {time.Second, 5, true, 0, 0}, {0, 1000, false, second - 1, second/(1-share) + 2},
		{time.Hour, 1000, false, burst, burst/(1-share) + 2},
	} {
		now = now.Add(c.after)
		if got := float64(full(c.alerts, c.behind)); share < 1 && (got < c.from || got > c.to) {
			t.Errorf("%d alerts %v later, behind %v: %v explained in full, want %.1f to %.1f", c.alerts, c.after, c.behind, got, c.from, c.to)
		}
	}
}
