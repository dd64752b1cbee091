package ingest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-risk/weir/schemas"
)

// An upstream is a bank's transactional producer.
type upstream struct {
	w      *world
	client *kgo.Client
	next   int
}

func (w *world) upstream(id string) *upstream {
	w.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.must(err)
	w.t.Cleanup(c.Close)
	return &upstream{w: w, client: c}
}

// send sends n records inside the transaction and returns their ids.
func (u *upstream) send(partition int32, name string, n int) (ids []string) {
	u.w.t.Helper()
	for range n {
		u.next++
		id := fmt.Sprintf("%s-%d", name, u.next)
		ids = append(ids, id)
		value := fmt.Sprintf(`{"TRANSACTION_ID":%q,"TX_DATETIME":"2026-01-02T03:04:%02dZ","TX_AMOUNT":"12.50","CUSTOMER_ID":"c1","TERMINAL_ID":"t1"}`, id, u.next%60)
		r := &kgo.Record{Topic: u.w.topics.Transactions, Partition: partition, Value: []byte(value)}
		u.w.must(u.client.ProduceSync(u.w.t.Context(), r).FirstErr())
	}
	return ids
}

func (u *upstream) transaction(end kgo.TransactionEndTry, partition int32, name string, n int) []string {
	u.w.t.Helper()
	u.begin()
	ids := u.send(partition, name, n)
	u.end(end)
	return ids
}

func (u *upstream) begin() { u.w.t.Helper(); u.w.must(u.client.BeginTransaction()) }

func (u *upstream) end(how kgo.TransactionEndTry) {
	u.w.t.Helper()
	u.w.must(u.client.EndTransaction(context.WithoutCancel(u.w.t.Context()), how))
}

// decidedIDs returns the ids that the ledger decides in a partition, in order.
func (w *world) decidedIDs(partition int32) (ids []string) {
	w.t.Helper()
	var e schemas.Entry
	for _, v := range w.ledger() {
		w.must(schemas.ParseEntry(v, &e))
		if e.Kind == schemas.EntryDecision && e.Decision.Partition == partition {
			ids = append(ids, string(e.Decision.Text[schemas.ID]))
		}
	}
	return ids
}

// TestATransactionalUpstream has one producer commit and abort, and another leave
// a transaction open, before a node starts and while it runs. Exactly what was
// committed is decided, in order; the open transaction once it is committed; and
// a partition that it holds back holds no other.
func TestATransactionalUpstream(t *testing.T) {
	w := newWorld(t, "handbook", 2)
	a, b := w.upstream("a"), w.upstream("b")
	var first, second []string
	first = append(first, a.transaction(kgo.TryCommit, 0, "one", 5)...)
	a.transaction(kgo.TryAbort, 0, "fallen", 7)
	first = append(first, a.transaction(kgo.TryCommit, 0, "two", 3)...)
	b.begin()
	open := b.send(0, "open", 4)
	behind := a.transaction(kgo.TryCommit, 0, "behind", 2) // behind the open one
	second = append(second, a.transaction(kgo.TryCommit, 1, "other", 6)...)

	r := w.start(nil)
	r.decided(int64(len(first) + len(second)))
	second = append(second, a.transaction(kgo.TryCommit, 1, "live", 3)...)
	a.transaction(kgo.TryAbort, 1, "fallen too", 3)
	r.decided(int64(len(first) + len(second)))
	if got := w.decidedIDs(0); !slices.Equal(got, first) {
		t.Fatalf("before the open transaction ends, decided %v, want %v", got, first)
	}
	b.end(kgo.TryCommit)
	first = append(append(first, open...), behind...)
	r.decided(int64(len(first) + len(second)))
	r.stop()

	// A second node begins behind control records and an aborted transaction.
	a.transaction(kgo.TryAbort, 0, "fallen once more", 2)
	first = append(first, a.transaction(kgo.TryCommit, 0, "late", 2)...)
	w.runUntil(int64(len(first)+len(second)), nil)
	for p, want := range [][]string{first, second} {
		if got := w.decidedIDs(int32(p)); !slices.Equal(got, want) {
			t.Fatalf("partition %d: decided %v, want %v", p, got, want)
		}
	}
	w.verify()
}
