package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
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

// TestAStandbyDoesNotWaitForASnapshot stops an owner whose snapshot cannot be written for
// as long as nobody else decides: that of a large state takes minutes.
func TestAStandbyDoesNotWaitForASnapshot(t *testing.T) {
	w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
	n := w.payments(300, 3, 2)
	var stopping atomic.Bool
	over := make(chan struct{})
	dir := t.TempDir()
	owner := w.join(nil, func(c *Config) {
		c.SnapshotDir = dir
		c.Probe = func(p Phase, in bool) {
			if p != Snapshotting || !in || !stopping.Load() {
				return
			}
			select {
			case <-over:
			case <-time.After(20 * time.Second):
				t.Error("nobody takes over before the snapshot is written")
			}
		}
	})
	owner.decided(n)
	owner.until("waits for its alerts", func(s Status) bool { // a stop waits for them some seconds only
		_, alerts, err := w.log.Offsets(t.Context(), w.topics.Alerts, 0)
		return err == nil && alerts >= s.Counts.Alerts
	})
	standby := w.join(nil, func(*Config) {})
	standby.until("stands by", func(s Status) bool { return s.Ready })
	stopping.Store(true)
	owner.cancel()
	standby.until("takes over", func(Status) bool { return standby.owns() })
	close(over)
	owner.stop()
	if names, err := Snapshots(dir); err != nil || len(names) == 0 {
		t.Errorf("it left %d snapshots, %v", len(names), err)
	}
	w.sendAgain(100)
	standby.decided(n + 100)
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

// lag returns how many source records lie behind the group's offsets, as a lag
// dashboard does; where there are none, all of them do.
func (w *world) lag() (lag int64) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr))
	w.must(err)
	defer client.Close()
	req := kmsg.NewPtrOffsetFetchRequest()
	g, topic := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = w.topics.Transactions, []int32{0, 1}
	g.Group, g.Topics = ProgressGroup(w.prefix+"g"), append(g.Topics, topic)
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(w.t.Context(), client)
	w.must(err)
	for p := range topic.Partitions {
		_, end := w.ends(w.topics.Transactions, int32(p))
		lag += end
	}
	for _, topic := range resp.Groups[0].Topics {
		for _, p := range topic.Partitions {
			w.must(kerr.ErrorForCode(p.ErrorCode))
			lag -= max(0, p.Offset)
		}
	}
	return lag
}

// TestProgressIsCommitted looks at a scorer's progress while it runs and when it has
// stopped.
func TestProgressIsCommitted(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1000, 3, 2)
	if lag := w.lag(); lag != n {
		t.Fatalf("before there is a scorer, %d of %d records are behind", lag, n)
	}
	r := w.start(func(c *Config) { c.WatchEvery = 10 * time.Millisecond })
	r.decided(n)
	r.until("commits its progress", func(Status) bool { return w.lag() == 0 })
	r.stop()
	w.runUntil(n+w.payments(1000, 4, 2), func(c *Config) { c.WatchEvery = time.Hour })
	if lag := w.lag(); lag != 0 {
		t.Errorf("a scorer that stopped is %d records behind", lag)
	}
}

// TestProgressIsCommittedAfterAFault has the broker break, refuse and delay commits
// while a scorer runs and as it stops.
func TestProgressIsCommittedAfterAFault(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	broken := func(times int) {
		for range times {
			w.broker.Cluster().ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("the connection breaks"), true
			})
		}
	}
	broken(2)
	n := w.payments(1000, 3, 2)
	r := w.start(func(c *Config) { c.WatchEvery = 10 * time.Millisecond })
	r.until("commits its progress though nothing more comes", func(Status) bool { return w.lag() == 0 })
	r.stop()
	broken(2)
	n += w.payments(1000, 4, 2)
	w.runUntil(n, func(c *Config) { c.WatchEvery = time.Hour })
	if lag := w.lag(); lag != 0 {
		t.Errorf("a scorer that stopped is %d records behind", lag)
	}
}

// TestProgressOfTheDeadIsCommitted begins where a scorer died before it said how far
// it had come.
func TestProgressOfTheDeadIsCommitted(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1000, 3, 2)
	w.runUntil(n, func(c *Config) { c.Group = w.prefix + "other" })
	if lag := w.lag(); lag != n {
		t.Fatalf("%d of %d records are behind", lag, n)
	}
	r := w.start(func(c *Config) { c.WatchEvery = 10 * time.Millisecond })
	r.until("commits what it has not decided itself", func(Status) bool { return w.lag() == 0 })
}
