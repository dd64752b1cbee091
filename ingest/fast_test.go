package ingest

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/simulate"
)

// TestLabelsWaitForTransactionsThatWereWrittenBefore has a broker that is slow to
// answer for a partition of transactions: a label that was written after its
// transaction, and read before it, is taken after it.
func TestLabelsWaitForTransactionsThatWereWrittenBefore(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	cluster := w.broker.Cluster()
	id := cluster.TopicInfo(w.topics.Transactions).TopicID
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := w.node(func(c *Config) { c.AnswerWait, c.FetchWait = 1, 50*time.Millisecond }) // so that time decides nothing
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()

	release, held := make(chan struct{}), make(chan int32, 16)
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if topic := r.(*kmsg.FetchRequest).Topics[0]; topic.TopicID == id {
			select {
			case held <- topic.Partitions[0].Partition:
				cluster.SleepControl(func() { <-release })
			default:
			}
		}
		return nil, nil, false
	})
	var asked atomic.Bool
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if r := r.(*kmsg.ListOffsetsRequest); r.Topics[0].Topic == w.topics.Transactions && r.IsolationLevel == 1 {
			asked.Store(true)
		}
		return nil, nil, false
	})
	for first := <-held; <-held == first; { // both partitions are held
	}

	cfg := simulate.DefaultConfig()
	bank, err := simulate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cfg.Rates() {
		w.rate(&r)
	}
	var tx simulate.Transaction
	bank.Next(&tx)
	var source, labels feed
	source.add(tx.AppendJSON(nil), tx.Sent)
	source.send(w, w.topics.Transactions, 1)
	l := simulate.Label{Number: tx.Number, Time: tx.Time, KnownAt: tx.Time + 86_400_000, Version: 1}
	labels.add(l.AppendJSON(nil), l.KnownAt)
	labels.send(w, w.topics.Labels, 0)
	for n.Status().Counts.Labels == 0 && !asked.Load() {
		<-w.nap()
	}
	close(release)
	for n.Status().Counts.Labels == 0 || n.Status().Counts.Decisions() == 0 {
		<-w.nap()
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c := n.Status().Counts; c.Labels != 1 || c.Unknown != 0 {
		t.Errorf("%d labels, %d before their transaction", c.Labels, c.Unknown)
	}
}

// TestLabelsOfAFastStreamFindTheirTransactions decides a stream while it is
// written, months of it in seconds: labels wait for the transactions that they
// are about, though their partition is read faster.
func TestLabelsOfAFastStreamFindTheirTransactions(t *testing.T) {
	const partitions = 4
	w := newWorld(t, "payments", partitions)
	cfg := simulate.DefaultConfig()
	cfg.Seed, cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.Devices, cfg.Days = 9, 1000, 200, 300, 1500, 0
	bank, err := simulate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range cfg.Rates() {
		w.rate(&r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := w.node(nil)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var tx simulate.Transaction
	var l simulate.Label
	total := int64(briefly(60_000, 20_000))
	for sent := int64(0); sent < total; {
		sources := make([]feed, partitions)
		var labels feed
		for began := bank.Now(); sent < total && bank.Now() < began+3_600_000; sent++ {
			if !bank.Next(&tx) {
				t.Fatal("the bank has closed")
			}
			for bank.NextLabel(&l) {
				labels.add(l.AppendJSON(nil), tx.Sent)
			}
			h := fnv.New32a()
			fmt.Fprint(h, tx.Customer)
			sources[h.Sum32()%partitions].add(tx.AppendJSON(nil), tx.Sent)
			if began == 0 {
				began = bank.Now()
			}
		}
		for p := range sources {
			sources[p].send(w, w.topics.Transactions, int32(p))
		}
		labels.send(w, w.topics.Labels, 0)
	}
	for deadline := time.Now().Add(5 * time.Minute); n.Status().Counts.Decisions() < total; {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are decided", n.Status().Counts.Decisions(), total)
		}
		<-w.nap()
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c := w.verify().State().Counts
	if c.Labels < total/200 || c.Unknown > 0 {
		t.Errorf("%d of %d labels did not find their transaction", c.Unknown, c.Labels)
	}
	t.Logf("%d labels, %d did not find their transaction; %d approximate", c.Labels, c.Unknown, c.Approx)
}
