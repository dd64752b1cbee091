package ingest

import (
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/schemas"
)

// A change is something that happens to a topic.
type change struct {
	name   string
	make   func(w *world)
	reason string // that the node gives, empty where it goes on
	snaps  bool   // whether the node has a snapshot
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// recreate deletes a topic and makes it again, empty.
func (w *world) recreate(topic string, partitions int32) {
	w.t.Helper()
	c := w.broker.Cluster()
	w.must(c.DeleteTopic(topic))
	w.must(c.CreateTopic(topic, partitions, nil))
}

// grow gives a topic more partitions.
func (w *world) grow(topic string, partitions int32) {
	w.t.Helper()
	admin := kafkago.Client{Addr: kafkago.TCP(w.broker.Addr())}
	resp, err := admin.CreatePartitions(w.t.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: partitions}}})
	w.must(err)
	w.must(resp.Errors[topic])
}

func (w *world) trim(topic string, partition int32, to int64) {
	w.t.Helper()
	w.must(w.broker.Cluster().DeleteRecords(topic, partition, to))
}

// more sends records that the source has held once more.
func (w *world) more(n int) int64 {
	w.sendAgain(n)
	return int64(n)
}

var changes = []change{
	{"the source is recreated", func(w *world) { w.recreate(w.topics.Transactions, 2) }, "source_recreated", false},
	// A fetch at the old position finds records again, and other ones.
	{"the source is recreated and filled", func(w *world) {
		w.recreate(w.topics.Transactions, 2)
		w.sendAgain(len(w.saved.values))
		w.sendAgain(len(w.saved.values))
	}, "source_recreated", false},
	{"the source grows", func(w *world) { w.grow(w.topics.Transactions, 3) }, "source_partitions", false},
	{"the source is deleted", func(w *world) { w.must(w.broker.Cluster().DeleteTopic(w.topics.Transactions)) }, "topic_gone", false},
	{"the ledger is recreated", func(w *world) { w.recreate(w.topics.Decisions, 1) }, "ledger", false},
	{"the ledger is recreated, there is a snapshot", func(w *world) { w.recreate(w.topics.Decisions, 1) }, "ledger", true},
	{"the ledger grows", func(w *world) { w.grow(w.topics.Decisions, 2) }, "ledger_partitions", false},
	{"the ledger is deleted", func(w *world) { w.must(w.broker.Cluster().DeleteTopic(w.topics.Decisions)) }, "topic_gone", false},
	{"the ledger is trimmed", func(w *world) { w.trim(w.topics.Decisions, 0, 300) }, "ledger_trimmed", false},
	{"the ledger is emptied", func(w *world) {
		_, end := w.ends(w.topics.Decisions, 0)
		w.trim(w.topics.Decisions, 0, end)
	}, "ledger_trimmed", false},
	{"the ledger is trimmed up to before a snapshot", func(w *world) { w.trim(w.topics.Decisions, 0, 300) }, "", true},
	{"labels grow", func(w *world) { w.grow(w.topics.Labels, 3) }, "", false},
	{"what is decided of the source is deleted", func(w *world) {
		_, end := w.ends(w.topics.Transactions, 0)
		w.trim(w.topics.Transactions, 0, end)
	}, "", false},
}

// halted waits until a node says that it does not go on, in its readiness and in
// its metric.
func (r *running) halted(reason string) {
	r.w.t.Helper()
	r.until("waits for "+reason, func(s Status) bool {
		if reason == "ledger" { // which of the two depends on who looks first
			return !s.Ready && s.Reason != "" && r.alarm("ledger_truncated")+r.alarm("ledger_recreated") == 1
		}
		return !s.Ready && s.Reason != "" && r.alarm(reason) == 1
	})
}

func (r *running) alarm(reason string) float64 {
	return testutil.ToFloat64(r.node.Metrics.Halted.WithLabelValues(reason))
}

func watchful(c *Config) { c.WatchEvery, c.SnapshotDir = 5*time.Millisecond, "" }

// TestChangesOfTopicsAreNamed makes each change while a node runs, and while none
// does.
func TestChangesOfTopicsAreNamed(t *testing.T) {
	embedded(t)
	for _, c := range changes {
		for _, down := range []bool{false, true} {
			w := newWorld(t, "payments", 2)
			n := w.payments(600, 6, 2)
			set := watchful
			if c.snaps {
				set = func(c *Config) { c.WatchEvery, c.SnapshotEvery, c.RowsMax = 5*time.Millisecond, 400, 100 }
			}
			r := w.start(set)
			r.decided(n)
			if c.snaps {
				r.until("has a snapshot", func(Status) bool { names, _ := Snapshots(w.dir); return len(names) > 0 })
			}
			if down {
				r.stop()
			}
			c.make(w)
			if down {
				r = w.start(set)
			}
			t.Logf("%s, down is %v", c.name, down)
			if c.reason != "" {
				r.halted(c.reason)
				r.stop()
				continue
			}
			n += w.more(20)
			r.decided(n)
			r.until("is ready", func(s Status) bool { return s.Ready && s.Owner })
			r.stop()
			if w.topicStart(w.topics.Decisions) == 0 {
				w.verify()
			}
		}
	}
}

func (w *world) topicStart(topic string) int64 { start, _ := w.ends(topic, 0); return start }

// TestGapsAreGivenUpByHand deletes records before they were decided, while a node
// runs and while none does. Only the gap that is exactly what is missing lets it
// go on; the ledger says who gave it up.
func TestGapsAreGivenUpByHand(t *testing.T) {
	t.Parallel() // it mostly waits
	embedded(t)
	for _, down := range []bool{false, true} {
		t.Logf("down is %v", down)
		w := newWorld(t, "payments", 2)
		n := w.payments(600, 7, 2)
		r := w.start(watchful)
		r.decided(n)
		_, end := w.ends(w.topics.Transactions, 0)
		if down {
			r.stop()
		}
		// The broker does not answer fetches of the source while this happens.
		away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: w.topics.Transactions, Err: kerr.LeaderNotAvailable, Count: -1})
		deaf := r.node.Metrics.Retries
		if !down {
			w.until(func() string { return "the node is cut off" }, func() bool { return testutil.ToFloat64(deaf) > 0 })
		}
		w.sendAgain(50)
		w.trim(w.topics.Transactions, 0, end+20)
		away.Remove()
		if down {
			r = w.start(watchful)
		}
		r.halted("source_gone")
		r.stop()

		right := schemas.Gap{From: end, To: end + 19, By: []byte("--accept-gap")}
		for _, wrong := range [][]schemas.Gap{{{From: end, To: end + 18}}, {{From: end, To: end + 20}}, {{From: end - 1, To: end + 19}},
			{{From: end + 5, To: end + 19}}, {right, {Partition: 1, From: 1 << 20, To: 1 << 21}}} {
			r := w.start(func(c *Config) { watchful(c); c.AcceptGaps = wrong })
			r.halted("gap_refused")
			r.stop()
		}
		for range 2 { // the second time it is an old story
			r = w.start(func(c *Config) { watchful(c); c.AcceptGaps = []schemas.Gap{right} })
			r.decided(n + 30)
			r.until("is ready", func(s Status) bool { return s.Ready && s.Owner })
			r.stop()
		}
		if v := w.verify(); v.Report.Gaps != 20 || v.Report.Decisions != n+30 {
			t.Fatalf("%+v", v.Report)
		}
		var e schemas.Entry
		found := 0
		for _, b := range w.ledger() {
			w.must(schemas.ParseEntry(b, &e))
			if e.Kind == schemas.EntryGap {
				found++
				if g := e.Gap; g.From != right.From || g.To != right.To || string(g.By) != "--accept-gap" {
					t.Fatalf("gap in the ledger: %+v", g)
				}
			}
		}
		if found != 1 {
			t.Fatalf("%d gaps in the ledger", found)
		}
	}
}

// sendAgain sends the first n records of partition 0 of the source, as they are
// kept, again.
func (w *world) sendAgain(n int) {
	w.t.Helper()
	f := feed{values: w.saved.values[:n], times: w.saved.times[:n]}
	f.send(w, w.topics.Transactions, 0)
}

// TestANewPartitionIsTakenInByHand gives the source a third partition; an empty
// gap, signed, takes it in.
func TestANewPartitionIsTakenInByHand(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(600, 8, 2)
	w.runUntil(n, watchful)
	w.grow(w.topics.Transactions, 3)
	f := feed{values: w.saved.values[:40], times: w.saved.times[:40]}
	f.send(w, w.topics.Transactions, 2)
	r := w.start(watchful)
	r.halted("source_partitions")
	r.stop()
	r = w.start(func(c *Config) { watchful(c); c.AcceptGaps = []schemas.Gap{{Partition: 2, To: 0}} })
	r.halted("gap_refused")
	r.stop()
	r = w.start(func(c *Config) { watchful(c); c.AcceptGaps = []schemas.Gap{{Partition: 2, To: -1, By: []byte("me")}} })
	r.decided(n + 40)
	r.stop()
	w.runUntil(n+40+w.more(10), watchful)
	if v := w.verify(); v.Report.Gaps != 0 || v.Report.Decisions != n+50 {
		t.Fatalf("%+v", v.Report)
	}
}

// TestLabelsAndRatesThatAreGoneAreGivenUpByHand deletes labels and rates before
// they were taken.
func TestLabelsAndRatesThatAreGoneAreGivenUpByHand(t *testing.T) {
	embedded(t)
	for name, topic := range map[string]func(w *world) string{
		"labels": func(w *world) string { return w.topics.Labels }, "rates": func(w *world) string { return w.topics.Rates }} {
		w := newWorld(t, "payments", 1)
		n := w.payments(400, 26, 1)
		w.runUntil(n, watchful)
		// What comes next is a step whose facts say how far labels and rates are.
		n += w.more(5)
		w.runUntil(n, watchful)
		b := w.batches()
		last := b[len(b)-1].facts
		next := map[string]int64{"labels": last.Labels[0].Offset, "rates": last.Rates[0].Offset}[name] + 1
		_, end := w.ends(topic(w), 0)
		var f feed
		for range 4 + next + 4 - end {
			f.add([]byte(`{"not":"one"}`), 1)
		}
		f.send(w, topic(w), 0)
		w.trim(topic(w), 0, next+4)
		r := w.start(watchful)
		r.halted("source_gone")
		r.stop()
		for _, wrong := range []schemas.Gap{{Partition: 0, From: next, To: next + 3}, {From: next, To: next + 2, Topic: []byte(name)}} {
			r = w.start(func(c *Config) { watchful(c); c.AcceptGaps = []schemas.Gap{wrong} })
			if len(wrong.Topic) > 0 || wrong.To >= n {
				r.halted("gap_refused")
			} else {
				r.halted("source_gone")
			}
			r.stop()
		}
		for range 2 {
			r = w.start(func(c *Config) {
				watchful(c)
				c.AcceptGaps = []schemas.Gap{{From: next, To: next + 3, By: []byte("me"), Topic: []byte(name)}}
			})
			n += w.more(5)
			r.decided(n)
			r.stop()
		}
		if v := w.verify(); v.Report.Gaps != 4 {
			t.Fatalf("%+v", v.Report)
		}
	}
}
