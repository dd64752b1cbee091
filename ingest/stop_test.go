package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/schemas"
)

// TestACleanStopLeavesNothingToFold stops a node in the middle of the stream: the
// snapshot that it leaves is at the end of the ledger, and every alert of what it
// decided is there.
func TestACleanStopLeavesNothingToFold(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(6000, 3, 2)
	w.runUntil(n/2, func(c *Config) { c.RowsMax = 50 })
	names, err := Snapshots(w.dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%d snapshots, %v; want 1", len(names), err)
	}
	s, err := ReadSnapshot(names[0], w.spec, w.node(nil).Features, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, end, err := w.log.Offsets(t.Context(), w.topics.Decisions, 0)
	if err != nil {
		t.Fatal(err)
	}
	if s.Chain.Offset != end {
		t.Errorf("snapshot at %d, the ledger ends at %d", s.Chain.Offset, end)
	}
	if got := s.Counts.Decisions(); got < n/2 || got >= n {
		t.Errorf("stopped after %d of %d decisions", got, n)
	}
	_, alerts, err := w.log.Offsets(t.Context(), w.topics.Alerts, 0)
	if err != nil {
		t.Fatal(err)
	}
	if alerts != s.Counts.Alerts {
		t.Errorf("%d alerts are published, %d decisions call for one", alerts, s.Counts.Alerts)
	}
	w.runUntil(n, nil)
	w.verify()
}

// TestAStopEndsThoughTheBrokerIsGone takes the broker away first.
func TestAStopEndsThoughTheBrokerIsGone(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 1)
	w.payments(500, 4, 1)
	ctx, cancel := context.WithCancel(t.Context())
	decided := make(chan struct{}, 1)
	n := w.node(func(c *Config) {
		c.RowsMax = 20
		c.After = func(d time.Duration) <-chan time.Time { return time.After(d / 20) }
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
			select {
			case decided <- struct{}{}:
			default:
			}
		}
	})
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	<-decided
	w.broker.Close()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the node does not stop")
	}
}

// TestProgressIsCommitted looks at a scorer's progress as a lag dashboard does:
// in the group's offsets, while it runs and when it has stopped.
func TestProgressIsCommitted(t *testing.T) {
	w := newWorld(t, "payments", 2)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr))
	w.must(err)
	defer client.Close()
	lag := func() (lag int64) {
		req := kmsg.NewPtrOffsetFetchRequest()
		g, topic := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = w.topics.Transactions, []int32{0, 1}
		g.Group, g.Topics = ProgressGroup(w.prefix+"g"), append(g.Topics, topic)
		req.Groups = append(req.Groups, g)
		resp, err := req.RequestWith(t.Context(), client)
		w.must(err)
		for _, topic := range resp.Groups[0].Topics {
			for _, p := range topic.Partitions {
				_, end := w.ends(w.topics.Transactions, p.Partition)
				lag += end - p.Offset
			}
		}
		return lag
	}
	n := w.payments(1000, 3, 2)
	r := w.start(nil)
	r.decided(n)
	r.until("commits its progress", func(Status) bool { return lag() == 0 })
	r.stop()
	w.runUntil(n+w.payments(1000, 4, 2), func(c *Config) { c.WatchEvery = time.Hour })
	if lag := lag(); lag != 0 {
		t.Errorf("a scorer that stopped is %d records behind", lag)
	}
}
