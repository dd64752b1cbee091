package main

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// TestBenchHistoryIsOfTheAlerts: whoever an alert of a measurement is of has payments in
// its history, none of which lies where an alert does, and fraud is known of some.
func TestBenchHistoryIsOfTheAlerts(t *testing.T) {
	const cards, payments = 40, 4000
	m, now := history.NewMemory(payments), time.Now()
	if err := benchHistory(t.Context(), m, cards, payments, now, 30); err != nil {
		t.Fatal(err)
	}
	value, _ := benchAlert(rand.New(rand.NewPCG(1, 1)), 7, cards, now.UnixMilli())
	var of struct{ Card, Merchant string }
	if err := json.Unmarshal(value, &of); err != nil {
		t.Fatal(err)
	}
	paid, err := m.Payments(t.Context(), history.PaymentQuery{Field: schemas.Card, Value: of.Card, From: now.AddDate(0, 0, -31).UnixMilli(), To: now.UnixMilli(), Limit: payments})
	if err != nil || len(paid) < payments/cards/2 {
		t.Fatalf("%d payments of %q, %v", len(paid), of.Card, err)
	}
	for _, p := range paid {
		if p.Shard != benchShard || p.Tx.Time < now.AddDate(0, 0, -30).UnixMilli() {
			t.Fatalf("%+v", p)
		}
	}
	days, err := m.Days(t.Context(), history.DayQuery{Field: schemas.Merchant, Value: of.Merchant, To: now.UnixMilli(), Sources: []schemas.LabelSource{schemas.Chargeback}})
	frauds := int64(0)
	for _, d := range days {
		frauds += d.Frauds
	}
	if err != nil || len(days) < 10 || frauds == 0 {
		t.Errorf("%d days of %q, %d frauds, %v", len(days), of.Merchant, frauds, err)
	}
}

func TestBenchHistoryFindsWhatItWrites(t *testing.T) {
	got := benchJSON(t, "history", "--payments", "2000", "--cards", "50", "--lookups", "50", "--runs", "1", "--json")
	rate, _ := got["payments_per_s"].(map[string]any)
	positive(t, rate, "median")
	lookups, _ := got["lookups"].([]any)
	if len(lookups) != 1 {
		t.Fatalf("%v", got)
	}
	positive(t, lookups[0].(map[string]any), "batches", "p50_us", "max_us")
}
