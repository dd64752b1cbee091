package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
)

// TestASeatIsTakenOnce has three nodes want the place of their process: it joins when the
// last one does, whoever gave up before does not count, and who comes later has it at once.
func TestASeatIsTakenOnce(t *testing.T) {
	w := newWorld(t, "payments", 1)
	var joins atomic.Int32
	join := func() (*kafka.Member, error) {
		joins.Add(1)
		return kafka.Join(t.Context(), w.log, w.prefix+"seat", w.topics.Decisions, kafka.GroupOptions{})
	}
	s := &Seat{}
	taken := make(chan func(bool), 3)
	take := func(ctx context.Context) error {
		_, leave, err := s.take(ctx, 3, join)
		if err == nil {
			taken <- leave
		}
		return err
	}
	waits := func(n int) {
		t.Helper()
		w.until(func() string { return "nodes wait" }, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.wait == n })
	}
	for range 2 { // and again, once it was given up
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- take(ctx) }()
		waits(1)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		before := joins.Load()
		for k := range 2 {
			go func() { _ = take(t.Context()) }()
			waits(k + 1)
		}
		if joins.Load() != before {
			t.Fatal("it joins before all can decide")
		}
		if err := take(t.Context()); err != nil {
			t.Fatal(err)
		}
		(<-taken)(true)
		leave := <-taken
		if err := take(t.Context()); err != nil || joins.Load() != before+1 { // one that lost its shard comes back
			t.Fatalf("%d joins, %v", joins.Load()-before, err)
		}
		leave(false)
		<-taken
		<-taken
	}
	s.resign()
	(*Seat)(nil).resign()
}

// TestAProcessJoinsWithAllItsShards has one shard of a process halt, beside a process that
// decides both: it asks for no membership by which it might be given that shard, and takes
// over once the shard has room.
func TestAProcessJoinsWithAllItsShards(t *testing.T) {
	embedded(t)
	w := newShardedWorld(t, "payments", 2, 2, broker.Options{Session: session})
	n := w.payments(300, 21, 2)
	membership := func(c *Config) {
		c.Membership = kafka.GroupOptions{Session: session, Heartbeat: 20 * time.Millisecond}
	}
	owner := w.crew("owner", membership)
	owner.until("all is decided", func() bool { return owner.owns() == 2 && owner.decided() >= n })
	joins := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Observe: true, Count: -1})
	defer joins.Remove()
	var pauses atomic.Int32
	odd := w.crew("odd", func(c *Config) {
		membership(c)
		if hasty(c); c.Shard == 1 {
			c.StateMax = 1
			short := c.After
			c.After = func(d time.Duration) <-chan time.Time { pauses.Add(1); return short(d) }
		}
	})
	odd.until("a shard halts, and the other waits for it", func() bool {
		return pauses.Load() > 3 && testutil.ToFloat64(odd.nodes[1].Metrics.Halted.WithLabelValues("state_full")) == 1 &&
			odd.nodes[0].Status().Reason == "waits for the other shards of its process"
	})
	if hits := joins.Hits(); hits != 0 || owner.owns() != 2 {
		t.Errorf("%d joins while a shard halts, and %d shards are held", hits, owner.owns())
	}
	odd.stop()
	next := w.crew("odd", membership)
	next.until("stands by", func() bool { return next.nodes[0].Status().Ready && next.nodes[1].Status().Ready })
	owner.stop()
	next.until("decides both shards", func() bool { return next.owns() == 2 })
	next.stop()
}
