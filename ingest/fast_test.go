package ingest

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/simulate"
)

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
	n := w.node(func(c *Config) { c.AnswerWait = 2 * time.Second }) // however busy the machine
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var tx simulate.Transaction
	var l simulate.Label
	const total = 60_000
	for sent := 0; sent < total; {
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
	if c.Labels < 300 || c.Unknown > 0 {
		t.Errorf("%d of %d labels did not find their transaction", c.Unknown, c.Labels)
	}
	t.Logf("%d labels, %d did not find their transaction; %d approximate", c.Labels, c.Unknown, c.Approx)
}
