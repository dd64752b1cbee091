package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestAnInterruptedFoldGoesOn interrupts a standby while it folds the other shard for a
// batch, as it is when it gets its shard: that batch is folded first afterwards.
func TestAnInterruptedFoldGoesOn(t *testing.T) {
	w := newShardedWorld(t, "payments", 4, 2, broker.Options{Session: session})
	n := w.payments(300, 5, 4)
	c := w.crew("a", func(c *Config) { c.RowsMax = 20 })
	c.until("decides", func() bool { return c.decided() == n })
	c.stop()
	_, end := w.ends(w.topics.Decisions, 1)
	fold := func(interrupted bool) *State {
		node := w.node(func(c *Config) { c.Shard, c.Shards, c.SnapshotDir = 1, 2, "" })
		s := NewState(w.spec, node.Features)
		s.Others = beside(1, 2)
		f := &fold{node: node, shard: 1, state: s, reader: kafka.NewLedgerReader(w.log, w.topics.Decisions, 1, schemas.Anchor{})}
		f.others = newOthers(w.log, w.topics.Decisions, s, &f.folder.past)
		defer f.close()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for interrupted {
			b, err := f.reader.Next(t.Context(), end)
			w.must(err)
			if b == nil {
				t.Fatal("nothing was to be folded of the other shard")
			}
			interrupted = f.take(over, b) == nil
		}
		w.must(f.until(t.Context(), end))
		return s
	}
	whole := fold(false)
	if whole.Counts.Decisions() == 0 {
		t.Fatal("the shard has decided nothing")
	}
	sameState(t, "interrupted", fold(true), whole)
}

// TestOthersAreFoldedInOneOrder gathers what two shards decided at the same moment of the
// same customer, in either order: the state is one.
func TestOthersAreFoldedInOneOrder(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(300, 5, 1)
	w.runUntil(n, nil)
	// Each decision is of the one or the other shard, and all are of one customer and
	// minute.
	shards := [2][][]byte{}
	var e schemas.Entry
	for _, v := range w.ledger() {
		w.must(schemas.ParseEntry(v, &e))
		if d := &e.Decision; e.Kind == schemas.EntryDecision && d.Outcome != schemas.Rejected {
			k := len(shards[0]) + len(shards[1])
			d.Partition, d.Offset, d.Prev = int32(1+k%2), int64(k/2), int64(k/2)-1
			d.Tx.Time = d.Tx.Time / 86_400_000 * 86_400_000
			d.Text[schemas.Customer], d.Text[schemas.Terminal] = []byte("one"), []byte("one")
			shards[k%2] = append(shards[k%2], schemas.AppendDecision(nil, d))
		}
	}
	fold := func(order ...int) [32]byte {
		s := NewState(w.spec, w.node(nil).Features)
		s.Others = beside(0, 3)
		o := newOthers(w.log, w.topics.Decisions, s, &pastSpecs{})
		for _, k := range order {
			w.must(o.gather(k, 0, schemas.BatchID{Writer: uint64(1 + k), Sequence: 1}, shards[k]))
		}
		w.must(o.fold(s))
		return StateHash(s)
	}
	if fold(0, 1) != fold(1, 0) {
		t.Error("the state depends on the order in which the other shards came")
	}
}

// TestALabelWaitsForAnotherShard tells a shard of a fraud that another has yet to decide:
// it goes on with its payments, and takes the label once the payment is decided.
func TestALabelWaitsForAnotherShard(t *testing.T) {
	w := newShardedWorld(t, "payments", 2, 2, broker.Options{Session: session})
	node := func(k int32) *running {
		return w.start(func(c *Config) {
			c.Shard, c.Shards, c.SnapshotDir = k, 2, ""
			c.SkewMax = 10_000 * time.Hour   // it is live
			c.Group += string(rune('0' + k)) // each has the group to itself, and every shard of it
		})
	}
	mine := node(0)
	mine.until("owns", func(s Status) bool { return s.Owner })
	sources, told := w.bank(400, 9, 2)
	for p := range sources {
		sources[p].send(w, w.topics.Transactions, int32(p))
	}
	told.send(w, w.topics.Labels, 0) // of payments of both
	n := int64(400)
	_, first := w.ends(w.topics.Transactions, 0)
	mine.until("decides its own", func(s Status) bool { return s.Counts.Decisions() == first })
	if s := mine.node.Status(); s.Counts.Unknown > 0 {
		t.Errorf("%d labels were taken before their payments", s.Counts.Unknown)
	}
	other := node(1)
	other.decided(n - first)
	_, labels := w.ends(w.topics.Labels, 0)
	if labels == 0 {
		t.Fatal("there is no label")
	}
	for _, r := range []*running{mine, other} {
		r.until("takes all labels", func(s Status) bool { return s.Counts.Labels == labels })
		if s := r.node.Status(); s.Counts.Unknown > 0 {
			t.Errorf("shard %d: %d of %d labels were taken before their payments", r.node.Shard, s.Counts.Unknown, labels)
		}
	}
	mine.stop()
	other.stop()
	w.verify()
}
