package ingest

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestStepsFitTheLedger gives the ledger a max.message.bytes that is far below
// what a step may hold by the configuration, and alerts one that holds few.
func TestStepsFitTheLedger(t *testing.T) {
	for _, codec := range []kafka.Codec{kafka.None, kafka.LZ4} {
		w := newWorld(t, "payments", 2)
		w.topics.Decisions, w.topics.Alerts = w.topics.Decisions+".small", w.topics.Alerts+".smaller"
		w.must(w.log.Ensure(t.Context(), []schemas.Layout{
			{Topic: w.topics.Decisions, Partitions: 1, Config: map[string]string{"max.message.bytes": "20000"}},
			{Topic: w.topics.Alerts, Partitions: 1}}))
		n := w.payments(1500, 19, 2)
		r := w.start(func(c *Config) { c.Codec = codec })
		r.decided(n)
		r.stop()
		w.finish(n)
		w.verify()
		w.checkAlerts()
		if b := w.batches(); len(b) < 20 {
			t.Fatalf("%d batches: nothing was bounded", len(b))
		}
	}
}

// TestALedgerThatTakesNoDecisionIsNamed has a ledger that the largest decision
// would not fit into.
func TestALedgerThatTakesNoDecisionIsNamed(t *testing.T) {
	w := newWorld(t, "payments", 1)
	w.topics.Decisions += ".tiny"
	w.must(w.log.Ensure(t.Context(), []schemas.Layout{{Topic: w.topics.Decisions, Partitions: 1, Config: map[string]string{"max.message.bytes": "3000"}}}))
	w.payments(100, 20, 1)
	r := w.start(nil)
	r.halted("too_large")
	r.stop()
	if got := w.ledger(); len(got) != 0 {
		t.Fatalf("%d records in the ledger", len(got))
	}
}

// TestDeadLettersAndAlertsOutliveTheirOwner takes one of the two topics away from
// an owner until it is gone: the next owner publishes what is missing, since the
// mark stays until both are acknowledged.
func TestDeadLettersAndAlertsOutliveTheirOwner(t *testing.T) {
	embedded(t)
	for _, lost := range []string{"alerts", "letters"} {
		t.Log(lost)
		w := newWorld(t, "payments", 1)
		n := w.payments(300, 21, 1)
		var f feed
		for range 7 {
			f.add([]byte("{"), 1)
		}
		f.send(w, w.topics.Transactions, 0)
		n += 7
		topic := map[string]string{"alerts": w.topics.Alerts, "letters": w.topics.DLQ}[lost]
		away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1})
		r := w.start(hasty)
		r.decided(n)
		r.until("cannot publish", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Retries) > 3 })
		r.stop()
		away.Remove()
		r = w.start(nil)
		r.until("publishes the dead letters", func(Status) bool { return len(w.records(w.topics.DLQ, 0)) >= 7 })
		r.stop()
		w.finish(n)
		if w.checkAlerts() == 0 {
			t.Error("no alert was published")
		}
		w.verify()
	}
}

// TestAStopEndsThoughAlertsAreAway stops a node that waits for alerts to be
// acknowledged: before a snapshot, and before it decides anything, since its
// forerunner left more than the queue of alerts holds.
func TestAStopEndsThoughAlertsAreAway(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 1)
	w.bundle.Policy.Review = 0 // everything is an alert
	w.payments(9000, 23, 1)
	away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Alerts, Err: kerr.NotEnoughReplicas, Count: -1})
	defer away.Remove()
	for _, every := range []int64{100, 1 << 40, 1 << 40} {
		r := w.start(func(c *Config) {
			hasty(c)
			c.SnapshotEvery, c.RowsMax = every, 50
		})
		r.until("is held up", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Retries) > 5 })
		r.cancel()
		select {
		case err := <-r.done:
			r.done <- err
			r.stop()
		case <-time.After(patience):
			t.Fatal("the node does not stop")
		}
	}
}

// TestNobodyWaitsForTheAlertsOfOthers takes a ledger over whose alerts are not published,
// more than the queue of alerts holds, and cannot be for now: the owner decides what comes.
func TestNobodyWaitsForTheAlertsOfOthers(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 1)
	w.bundle.Policy.Review = 0 // everything is an alert
	n := w.payments((followQueue+4)*alertsPerBatch, 24, 1)
	away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Alerts, Err: kerr.NotEnoughReplicas, Count: -1})
	for range 2 {
		r := w.start(func(c *Config) {
			hasty(c)
			c.RowsMax = 4096
		})
		r.decided(n)
		r.stop()
		n += w.more(100)
	}
	away.Remove()
	r := w.start(nil)
	r.decided(n)
	r.until("publishes the alerts", func(Status) bool { _, end := w.ends(w.topics.Alerts, 0); return end > followQueue*alertsPerBatch })
	r.stop()
	w.finish(n)
	w.checkAlerts()
	w.verify()
}

// TestTheBrokerGoesAway has every kind of request fail for a while in the middle
// of the stream.
func TestTheBrokerGoesAway(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(2000, 22, 2)
	steps := 0
	r := w.start(func(c *Config) {
		c.RowsMax, c.WatchEvery = 50, 5*time.Millisecond
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
			if steps++; steps%7 != 0 {
				return
			}
			key := []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata}[steps/7%4]
			err := []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.LeaderNotAvailable}[steps/7%3]
			w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: 3})
		}
	})
	r.decided(n)
	r.stop()
	w.finish(n)
	w.verify()
	w.checkAlerts()
}

// TestReasonsOfHalts sees that every error that a person has to mend has a name
// of its own.
func TestReasonsOfHalts(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range haltReasons {
		if seen[r.name] || haltReason(errors.Join(errors.New("x"), r.target)) != r.name {
			t.Errorf("%s is named %s", r.target, haltReason(r.target))
		}
		seen[r.name] = true
	}
	if got := haltReason(errors.New("x")); got != "error" {
		t.Errorf("another error is named %s", got)
	}
}

// TestALedgerThatCannotBeReadIsNamed has another writer extend the chain with
// what no version writes, and with another spec, while a node decides. By the
// chain both are taken, so the node must not go on as if they were not there.
func TestALedgerThatCannotBeReadIsNamed(t *testing.T) {
	embedded(t)
	decision := func(change func(d *schemas.Decision)) []byte {
		d := schemas.Decision{Place: schemas.Place{Prev: -1}}
		change(&d)
		return schemas.AppendDecision(nil, &d)
	}
	for _, c := range []struct {
		reason string
		value  []byte
		spec   byte
	}{
		{"ledger_unreadable", []byte{0xff, 0xff}, 0},
		{"ledger_unreadable", decision(func(d *schemas.Decision) { d.Outcome = 200 }), 0},
		{"ledger_unreadable", decision(func(d *schemas.Decision) { d.Reason = 250 }), 0},
		{"ledger_unreadable", decision(func(d *schemas.Decision) { d.Features = make([]float32, 3) }), 0},
		{"ledger_spec", decision(func(*schemas.Decision) {}), 1},
	} {
		w := newWorld(t, "payments", 2)
		n := w.payments(200, 24, 2)
		r := w.start(nil)
		r.decided(n)
		in := w.intruder(rand.New(rand.NewPCG(1, 1)))
		w.must(in.catchUp(t.Context()))
		facts := in.facts(1)
		facts.Spec[0] ^= c.spec
		w.must(in.send(t.Context(), &facts, [][]byte{c.value}))
		w.sendAgain(3)
		r.halted(c.reason)
		r.stop()
		r = w.start(nil)
		r.halted(c.reason)
		r.stop()
	}
}

// TestATrimmedLedgerIsSavedByASnapshot deletes the beginning of the ledger while
// the node that knows it runs: it says so, writes a snapshot, and all is well.
func TestATrimmedLedgerIsSavedByASnapshot(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(400, 25, 2)
	r := w.start(func(c *Config) { c.WatchEvery = 5 * time.Millisecond })
	r.decided(n)
	w.trim(w.topics.Decisions, 0, 100)
	r.halted("ledger_trimmed")
	n += w.more(10)
	r.decided(n)
	r.until("is ready again", func(s Status) bool { return s.Ready && s.Owner && r.alarm("ledger_trimmed") == 0 })
	r.stop()
	r = w.start(nil)
	n += w.more(10)
	r.decided(n)
	r.stop()
}
