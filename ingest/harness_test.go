package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// patience bounds every wait of a test. It is no measure of anything.
const patience = 30 * time.Second

// A running is a node that runs.
type running struct {
	w      *world
	node   *Node
	cancel context.CancelFunc
	done   chan error
}

// start runs a node until stop, or until the test ends.
func (w *world) start(change func(*Config)) *running { return w.run(w.node(change)) }

// run does as start with a node.
func (w *world) run(n *Node) *running {
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{w: w, node: n, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- r.node.Run(ctx) }()
	w.t.Cleanup(r.stop)
	return r
}

// stop stops the node and waits for it.
func (r *running) stop() {
	r.cancel()
	if err, ok := <-r.done; ok {
		close(r.done)
		if err != nil {
			r.w.t.Error(err)
		}
	}
}

// until waits for the node to say something of itself.
func (r *running) until(what string, cond func(Status) bool) {
	r.w.t.Helper()
	r.w.until(func() string { return what + "; the node says " + fmt.Sprintf("%+v", r.node.Status()) }, func() bool { return cond(r.node.Status()) })
}

// decided waits until so many source records are decided.
func (r *running) decided(n int64) {
	r.w.t.Helper()
	r.until("waits for decisions", func(s Status) bool { return s.Counts.Decisions() >= n })
}

// until waits for a condition.
func (w *world) until(what func() string, cond func() bool) {
	w.t.Helper()
	limit := time.After(max(w.limit, patience))
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			w.t.Fatal("waited in vain: " + what())
		}
	}
}

// A ledgerBatch is a batch of the ledger, kept.
type ledgerBatch struct {
	base      int64
	timestamp int64
	facts     schemas.Facts
	values    [][]byte
}

// batches returns the batches of the ledger that the chain takes.
func (w *world) batches() []ledgerBatch { return w.batchesOf(0) }

func (w *world) batchesOf(shard int32) (list []ledgerBatch) {
	w.t.Helper()
	_, end, err := w.log.Offsets(w.t.Context(), w.topics.Decisions, shard)
	if err != nil {
		w.t.Fatal(err)
	}
	r := kafka.NewLedgerReader(w.log, w.topics.Decisions, shard, schemas.Anchor{})
	for {
		b, err := r.Next(w.t.Context(), end)
		if err != nil {
			w.t.Fatal(err)
		}
		if b == nil {
			return list
		}
		if !b.Taken {
			continue
		}
		k := ledgerBatch{base: b.Base, timestamp: b.Timestamp, facts: copyFacts(&b.Facts)}
		for _, v := range b.Values {
			k.values = append(k.values, append([]byte(nil), v...))
		}
		list = append(list, k)
	}
}

func copyFacts(f *schemas.Facts) schemas.Facts {
	c := *f
	for _, p := range []*[]schemas.Position{&c.Sources, &c.Labels, &c.Rates, &c.Shards} {
		*p = append([]schemas.Position(nil), *p...)
	}
	return c
}

// append appends a batch with these facts to a topic and returns its offset.
func (w *world) append(topic string, facts *schemas.Facts, values [][]byte) int64 {
	w.t.Helper()
	return w.appendTo(topic, 0, facts, values)
}

func (w *world) appendTo(topic string, partition int32, facts *schemas.Facts, values [][]byte) int64 {
	w.t.Helper()
	var b kafka.BatchWriter
	headers, _ := schemas.AppendFacts(nil, nil, facts)
	for i, v := range values {
		if i > 0 {
			headers = nil
		}
		b.Append(nil, v, 1, headers)
	}
	bytes, err := b.Finish(kafka.LZ4)
	if err != nil {
		w.t.Fatal(err)
	}
	base, err := w.log.Produce(w.t.Context(), topic, partition, bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return base
}

// ends returns where a partition begins and ends.
func (w *world) ends(topic string, partition int32) (start, end int64) {
	w.t.Helper()
	start, end, err := w.log.Offsets(w.t.Context(), topic, partition)
	if err != nil {
		w.t.Fatal(err)
	}
	return start, end
}

// records returns the records of a partition, kept.
func (w *world) records(topic string, partition int32) (list []kafka.Record) {
	w.t.Helper()
	_, end := w.ends(topic, partition)
	r := kafka.NewReader(w.log, topic, partition, kafka.Earliest)
	for {
		set, err := r.Next(w.t.Context(), end)
		if err != nil {
			w.t.Fatal(err)
		}
		if set == nil {
			return list
		}
		for set.Next() {
			rec := *set.Record()
			k := kafka.Record{Offset: rec.Offset, Timestamp: rec.Timestamp, Key: append([]byte(nil), rec.Key...)}
			if rec.Value != nil {
				k.Value = append([]byte{}, rec.Value...)
			}
			for _, h := range rec.Headers {
				k.Headers = append(k.Headers, schemas.Header{Key: append([]byte(nil), h.Key...), Value: append([]byte(nil), h.Value...)})
			}
			list = append(list, k)
		}
		if err := set.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// checkAlerts sees that whoever reads alerts as they are to be read takes the
// alerts of the standing ledger, each once and in order, and that nothing that
// was ever published speaks of a decision that fell. It returns how many there
// are.
func (w *world) checkAlerts() (n int) {
	w.t.Helper()
	for shard := range w.shards {
		n += w.checkAlertsOf(shard)
	}
	return n
}

func (w *world) checkAlertsOf(shard int32) int {
	w.t.Helper()
	taken, due := w.takeAlerts(shard)
	if taken != due {
		w.t.Fatalf("%d alerts, want %d", taken, due)
	}
	return taken
}

// takeAlerts does as checkAlerts where the last of them may not be published yet, and
// returns how many are, and how many will be.
func (w *world) takeAlerts(shard int32) (taken, due int) {
	w.t.Helper()
	alerts := w.records(w.topics.Alerts, shard) // first: others may decide
	want := make(map[int64]string)
	var order []int64
	var e schemas.Entry
	for _, b := range w.batchesOf(shard) {
		for i, v := range b.values {
			if err := schemas.ParseEntry(v, &e); err != nil {
				w.t.Fatal(err)
			}
			if e.Kind == schemas.EntryDecision && e.Decision.Action != schemas.Allow {
				offset := b.base + int64(i)
				d := &e.Decision
				want[offset] = fmt.Sprintf("%d-%d %v %s %d-%d %v", shard, offset, d.Action, d.Text[schemas.ID], d.Partition, d.Offset, d.Tx.Amount)
				order = append(order, offset)
			}
		}
	}
	last := int64(-1)
	for _, r := range alerts {
		offset, ok := alertOffset(r.Key)
		var a struct {
			ID     string
			Action string
			TxID   string `json:"tx_id"`
			Source struct{ Partition, Offset int64 }
			Amount int64
		}
		w.must(json.Unmarshal(r.Value, &a))
		if got := fmt.Sprintf("%s %s %s %d-%d %d", a.ID, a.Action, a.TxID, a.Source.Partition, a.Source.Offset, a.Amount); !ok || got != want[offset] {
			w.t.Fatalf("alert %q at offset %d is of no decision that stands: %s, want %s", r.Key, r.Offset, got, want[offset])
		}
		if offset <= last {
			continue
		}
		if taken >= len(order) || order[taken] != offset {
			w.t.Fatalf("alert %q comes where another is due", r.Key)
		}
		last = offset
		taken++
	}
	return taken, len(order)
}

// sameState fails the test where two states differ.
func sameState(t testing.TB, what string, got, want *State) {
	t.Helper()
	if got.Chain != want.Chain {
		t.Fatalf("%s: states at %v and at %v", what, got.Chain, want.Chain)
	}
	if StateHash(got) != StateHash(want) {
		t.Fatalf("%s: the states differ at ledger offset %d: counts %+v and %+v, progress %v and %v, marks %d %d and %d %d", what, got.Chain.Offset,
			got.Counts, want.Counts, got.Progress, want.Progress, got.AlertsMark, got.DeadMark, want.AlertsMark, want.DeadMark)
	}
}

// hasty makes a node wait for nothing long, a clean stop for what cannot be
// published least of all.
func hasty(c *Config) {
	c.After = func(d time.Duration) <-chan time.Time { return time.After(min(d, 50*time.Millisecond)) }
}

// nap lets others run for a moment; nothing depends on how long it is.
func (w *world) nap() <-chan time.Time { return time.After(3 * time.Millisecond) }
