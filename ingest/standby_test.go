package ingest

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// session is the session timeout of a group that notices a dead member soon: no
// shorter than what deploy/kafka sets.
const session = 600 * time.Millisecond

// join starts a node with a client and a folder of its own, over wires where they
// are given; set may alter its config.
func (w *world) join(over *wires, set func(*Config)) *running {
	w.t.Helper()
	log := w.log
	o := kafka.Options{Brokers: []string{w.addr}}
	if over != nil {
		o.Dial = over.dial
	}
	w.log = kafka.New(o)
	w.t.Cleanup(w.log.Close)
	dir := w.t.TempDir()
	r := w.start(func(c *Config) {
		c.SnapshotDir = dir
		c.Membership = kafka.GroupOptions{Session: session, Heartbeat: 20 * time.Millisecond}
		set(c)
	})
	w.log = log
	return r
}

func (r *running) owns() bool { return testutil.ToFloat64(r.node.Metrics.Owner) == 1 }

// TestAStandbyTakesOver has the owner stop in the middle of the stream: cleanly,
// and cut off so that it leaves nothing and tells nobody. The standby goes on;
// the ledger's records are the bytes that one node alone writes, and so are the
// alerts.
func TestAStandbyTakesOver(t *testing.T) {
	alone := newWorld(t, "payments", 2)
	alone.challenge()
	n := alone.payments(3000, 16, 2)
	alone.runUntil(n, nil)
	alone.finish(n)
	want := alone.ledger()[1:] // the genesis record names the topic's own id
	for _, cut := range []bool{false, true} {
		t.Logf("cut off is %v", cut)
		w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
		w.challenge()
		w.payments(3000, 16, 2)
		halfway := make(chan struct{})
		var once sync.Once
		var owner *running
		hold := make(chan struct{})
		cable := &wires{}
		owner = w.join(cable, func(c *Config) {
			if cut {
				hasty(c) // its stop waits in vain
			}
			c.RowsMax = 50
			decided := 0
			c.OnPublished = func(places []schemas.Place, _ []schemas.Verdict) {
				// The first owner waits in the middle until it is stopped.
				if decided += len(places); int64(decided) >= n/2 {
					once.Do(func() { close(halfway); <-hold })
				}
			}
		})
		<-halfway
		reg := prometheus.NewRegistry()
		standby := w.join(nil, func(c *Config) { c.RowsMax, c.Metrics = 70, NewMetrics(reg) })
		standby.until("stands by", func(s Status) bool { return s.Ready && s.Counts.Decisions() > 0 })
		if cut { // from here on nothing of the owner arrives, its leaving neither
			cable.cut()
		}
		owner.cancel()
		close(hold)
		owner.stop()
		standby.decided(n)
		if !standby.owns() {
			t.Error("the standby does not own the shard")
		}
		if times, seconds := observed(t, reg, "weir_takeover_seconds"); times != 1 || seconds <= 0 || seconds > patience.Seconds() {
			t.Errorf("%d take-overs in %v s", times, seconds)
		}
		standby.stop()
		w.finish(n)
		got := w.ledger()[1:]
		if len(got) != len(want) {
			t.Fatalf("%d records in the ledger, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
		w.verify()
		if a, b := w.checkAlerts(), alone.checkAlerts(); a != b || a == 0 {
			t.Fatalf("%d alerts, %d with one node", a, b)
		}
	}
}

// finish runs a node until every alert is acknowledged.
func (w *world) finish(n int64) {
	w.t.Helper()
	r := w.start(nil)
	defer r.stop()
	r.until("owns", func(s Status) bool { return s.Owner })
	_, end := w.ends(w.topics.Decisions, 0)
	alerts := w.foldAll(end).Counts.Alerts
	w.until(func() string { return "alerts are published" }, func() bool {
		last := int64(-1)
		taken := int64(0)
		for _, a := range w.records(w.topics.Alerts, 0) {
			if o, ok := alertOffset(a.Key); ok && o > last {
				last = o
				taken++
			}
		}
		return taken == alerts
	})
}

// TestTwoOwnersAtOnce runs two nodes of different groups, each of which takes
// itself for the owner. They overwrite one another all the time; what stands is
// one ledger.
func TestTwoOwnersAtOnce(t *testing.T) {
	w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
	n := w.payments(3000, 17, 2)
	var nodes []*running
	for _, group := range []string{"g", "other"} {
		nodes = append(nodes, w.join(nil, func(c *Config) { c.Group, c.RowsMax, c.SnapshotEvery = w.prefix+group, 30, 500 }))
	}
	w.until(func() string { return "every record is decided" }, func() bool {
		_, end := w.ends(w.topics.Decisions, 0)
		return w.foldAll(end).Counts.Decisions() >= n
	})
	corrections := 0.0
	for _, r := range nodes {
		r.stop()
		corrections += testutil.ToFloat64(r.node.Metrics.Corrections)
	}
	w.finish(n)
	if r := w.verify().Report; r.Decisions != n || corrections == 0 {
		t.Fatalf("%v corrections, %+v", corrections, r)
	}
	// The two publish side by side, each what it must in order: a reader of
	// alerts misses none.
	w.checkAlerts()
}

// TestWhatAStandbyHoldsIsBounded keeps the alerts topic away from the owner: it
// stops deciding, and what a standby has to hold is no more than what the owner
// may be ahead.
func TestWhatAStandbyHoldsIsBounded(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(3000, 18, 2)
	away := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.Alerts, Err: kerr.NotEnoughReplicas, Count: -1})
	const rows = 8
	r := w.start(func(c *Config) { hasty(c); c.RowsMax = rows })
	r.until("is held up", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Retries) > 5 })
	most := int64(0)
	for range 3 { // every owner may add to it, and none without end
		f := w.follow()
		_, end := w.ends(w.topics.Decisions, 0)
		s := f.stop(end)
		most = max(most, s.Counts.Decisions())
		if held := int64(len(f.fold.pending)); held > s.Counts.Alerts || s.Counts.Decisions() > (followQueue+12)*rows*3 {
			t.Fatalf("%d held of %d decisions", held, s.Counts.Decisions())
		}
		r.stop()
		r = w.start(func(c *Config) { hasty(c); c.RowsMax = rows })
		r.until("is held up", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Retries) > 5 })
	}
	if most >= n || most == 0 {
		t.Fatalf("%d of %d were decided though no alert could be published", most, n)
	}
	away.Remove()
	r.decided(n)
	r.stop()
	w.finish(n)
	w.verify()
	w.checkAlerts()
}

// TestANodeRestoresBesideAnOwner has a node restore again and again while another decides
// and publishes alerts: what is written between two of its looks is no sign of a loss.
func TestANodeRestoresBesideAnOwner(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(3000, 21, 2)
	r := w.start(func(c *Config) { c.RowsMax = 2 })
	other := w.node(func(c *Config) { c.SnapshotDir = "" })
	times := 0
	for r.node.Status().Counts.Decisions() < n && times < 20_000 {
		f, err := other.restore(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.close()
		times++
	}
	r.decided(n)
	r.stop()
	w.finish(n)
	if w.checkAlerts() == 0 || times < 3 {
		t.Fatalf("restored %d times", times)
	}
}

// TestNobodyIsMissedBeforeTheGroupIsThere has records wait while the group has not
// answered, and then while it has and nobody decides.
func TestNobodyIsMissedBeforeTheGroupIsThere(t *testing.T) {
	w := newWorld(t, "payments", 1)
	w.payments(10, 3, 1)
	looks := 0
	n := w.node(func(c *Config) {
		c.After = func(time.Duration) <-chan time.Time {
			looks++
			now := make(chan time.Time, 1)
			now <- time.Time{}
			return now
		}
	})
	const formed = 50
	err := n.noticeSilence(t.Context(), &fold{}, func() bool { return looks > formed })
	if !errors.Is(err, ErrNobodyDecides) || looks != formed+1+silencesMax {
		t.Errorf("after %d looks: %v", looks, err)
	}
}

// TestANodeThatHaltsDoesNotJoin has a node halt again and again as it restores, and as it
// looks at the topics, beside one that decides: whoever joins has all others join again,
// and so it asks for no membership before it could take over.
func TestANodeThatHaltsDoesNotJoin(t *testing.T) {
	embedded(t)
	w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
	n := w.payments(300, 19, 2)
	owner := w.join(nil, func(*Config) {})
	owner.decided(n)
	joins := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Observe: true, Count: -1})
	defer joins.Remove()
	for reason, set := range map[string]func(*Config){
		"state_full":  func(c *Config) { c.StateMax = 1 },
		"gap_refused": func(c *Config) { c.AcceptGaps = []schemas.Gap{{From: 1 << 40, To: 1<<40 + 1}} },
	} {
		var pauses atomic.Int32
		odd := w.join(nil, func(c *Config) {
			set(c)
			hasty(c)
			short := c.After
			c.After = func(d time.Duration) <-chan time.Time { pauses.Add(1); return short(d) }
		})
		odd.until("halts "+reason, func(Status) bool {
			return pauses.Load() > 3 && testutil.ToFloat64(odd.node.Metrics.Halted.WithLabelValues(reason)) == 1
		})
		odd.stop()
		if hits := joins.Hits(); hits != 0 {
			t.Errorf("%d joins while a node halts by %s", hits, reason)
		}
	}
	if !owner.owns() {
		t.Error("the owner has lost the shard")
	}
}
