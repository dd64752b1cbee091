package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestTailLeavesOutWhatTheChainDrops writes a ledger in which another writer's
// batch lost, and reads it from every offset.
func TestTailLeavesOutWhatTheChainDrops(t *testing.T) {
	log, address := brokerWith(t, "decisions")
	genesis := schemas.BatchID{Writer: 1, Sequence: 1}
	second, lost, third := schemas.BatchID{Writer: 1, Sequence: 2}, schemas.BatchID{Writer: 2, Sequence: 1}, schemas.BatchID{Writer: 1, Sequence: 3}
	appendBatch(t, log, schemas.Facts{ID: genesis, Records: 2})
	appendBatch(t, log, schemas.Facts{ID: second, Extends: genesis, Anchor: schemas.Anchor{Offset: 2, Head: genesis}, Records: 3})
	appendBatch(t, log, schemas.Facts{ID: lost, Extends: genesis, Anchor: schemas.Anchor{Offset: 2, Head: genesis}, Records: 2})
	appendBatch(t, log, schemas.Facts{ID: third, Extends: second, Anchor: schemas.Anchor{Offset: 5, Head: second}, Records: 2})

	taken := []int64{0, 1, 2, 3, 4, 7, 8}
	for from := range int64(10) {
		out := call(t, "tail", "--kafka", address, "--from", fmt.Sprint(from), "--end", "decisions").succeeds(t).stdout
		want := slices.DeleteFunc(slices.Clone(taken), func(o int64) bool { return o < from })
		if got := offsetsOf(t, out); !slices.Equal(got, want) {
			t.Errorf("from %d: offsets %v, want %v", from, got, want)
		}
	}
	out := call(t, "tail", "--kafka", address, "--from", "3", "--count", "3", "decisions").succeeds(t).stdout // follows
	if got := offsetsOf(t, out); !slices.Equal(got, []int64{3, 4, 7}) {
		t.Errorf("three records from 3 are %v", got)
	}
}

func offsetsOf(t *testing.T, out string) (list []int64) {
	t.Helper()
	for line := range strings.Lines(out) {
		var r struct{ Offset int64 }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, r.Offset)
	}
	return list
}

// brokerWith starts a broker with one empty topic of one partition.
func brokerWith(t *testing.T, topic string) (*kafka.Client, string) {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	log := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	t.Cleanup(log.Close)
	if err := log.Ensure(t.Context(), []schemas.Layout{{Topic: topic, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	return log, b.Addr()
}

// appendBatch appends a batch of the ledger whose records are rates.
func appendBatch(t *testing.T, log *kafka.Client, f schemas.Facts) {
	t.Helper()
	headers, _ := schemas.AppendFacts(nil, nil, &f)
	var w kafka.BatchWriter
	for range f.Records {
		w.Append(nil, schemas.AppendRateEntry(nil, &schemas.Rate{Currency: []byte("USD"), Num: 1, Den: 1}), 1, headers)
		headers = nil
	}
	batch, err := w.Finish(kafka.LZ4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Produce(t.Context(), "decisions", 0, batch); err != nil {
		t.Fatal(err)
	}
}

// TestTailShowsALabel leaves out what a label does not say.
func TestTailShowsALabel(t *testing.T) {
	l := schemas.Label{TxID: []byte("t"), Verdict: schemas.LabelFraud, Source: schemas.Analyst, Version: 2, KnownAt: 1_750_000_000_000}
	shown := func() string {
		text, err := json.Marshal(labelFields(&l))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const known = `"known_at":"2025-06-15T15:06:40.000Z","offset":0,"partition":0,`
	if got, want := shown(), `{`+known+`"source":"analyst","tx_id":"t","verdict":"fraud","version":2}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	l.FraudType, l.Selected, l.SelectedProb, l.Time = []byte("stolen"), []byte("exploration"), .5, 1_750_000_000_000
	l.Entity[3], l.Entity[7] = []byte("shop"), []byte("10.0.0.1")
	if got, want := shown(), `{"counterparty":"shop","fraud_type":"stolen","ip":"10.0.0.1",`+known+
		`"selected":"exploration","selected_probability":0.5,"source":"analyst","time":"2025-06-15T15:06:40.000Z","tx_id":"t","verdict":"fraud","version":2}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
