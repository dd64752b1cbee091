package ingest

import (
	"encoding/json"
	"math"
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

// TestReasonsLeaveTimeToScore has alerts come at once and at a pace: those that a
// desk can work through are explained in full, a flood is not, nor what others
// wait for; a clock that is set back earns nothing.
func TestReasonsLeaveTimeToScore(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	e := explainers{node: &Node{Config: Config{Now: func() time.Time { return now }, Metrics: NewMetrics(prometheus.NewRegistry())}}}
	full := func(alerts int, behind bool) (n int) {
		for range alerts {
			if e.rows(behind) == scoring.ReasonRows {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		after  time.Duration
		alerts int
		behind bool
		want   int
	}{
		{0, 1000, false, reasonsBurst}, {time.Second, 1000, false, reasonsPerSecond},
		{-time.Hour, 5, false, 0}, {time.Second, 5, true, 0}, {0, 1000, false, reasonsPerSecond},
		{time.Hour, 1000, false, reasonsBurst},
	} {
		now = now.Add(c.after)
		if got := full(c.alerts, c.behind); got != c.want {
			t.Errorf("%d alerts %v later, behind %v: %d explained in full, want %d", c.alerts, c.after, c.behind, got, c.want)
		}
	}
}
