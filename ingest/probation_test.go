package ingest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// What a payment of a trial's stream is worth: the large ones are alerted on.
const small, large = 5, 9000

// promising returns a bundle that alerts from an amount on that lies between small
// and large, or on everything, and promises a share of alerts.
func (w *world) promising(seed uint64, all bool, promised float64, key ed25519.PrivateKey) ([]byte, *scoring.Bundle) {
	w.t.Helper()
	_, sealed := w.sealed(seed, key)
	b := *sealed
	b.Calibration = scoring.Calibration{Kind: scoring.Platt, A: 1e-6, B: 1e-6} // half, whatever the network says: the amount decides
	b.Policy = scoring.Policy{Rank: scoring.ByAmount, Review: 1e4, Explore: .01, ExploreKey: [16]byte{1}}
	if all {
		b.Policy.Review = 0
	}
	b.Facts = json.RawMessage(fmt.Sprintf(`{"held_out":{"rows":10000,"reviewed":%.0f}}`, promised*10000))
	data, read, err := trainer.Seal(&b, key)
	w.must(err)
	return data, read
}

// A duel is two nodes that follow models over one stream.
type duel struct {
	w     *world
	key   ed25519.PrivateKey
	nodes []*running
	sent  int
}

func newDuel(t *testing.T, rollbackKey ed25519.PrivateKey) *duel {
	w := newWorldOn(t, "payments", 1, broker.Options{Session: session})
	d := &duel{w: w, key: testKey(t, 1)}
	trust := []ed25519.PublicKey{d.key.Public().(ed25519.PublicKey)}
	for range 2 {
		n := w.node(func(c *Config) {
			c.SnapshotDir, c.WatchFor, c.RollbackKey = t.TempDir(), time.Hour, rollbackKey
			c.Membership = kafka.GroupOptions{Session: session, Heartbeat: 20 * time.Millisecond}
		})
		n.Use(nil, nil)
		m := NewModels(w.log, w.topics, trust)
		w.must(n.Load(t.Context(), m))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Watch(ctx, m) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		d.nodes = append(d.nodes, w.run(n))
	}
	w.until(func() string { return "nobody decides" }, func() bool { return d.owner() != nil })
	return d
}

// owner returns the node that decides.
func (d *duel) owner() *Node {
	for _, r := range d.nodes {
		if r.owns() {
			return r.node
		}
	}
	return nil
}

// swap makes a bundle champion and waits until both nodes have taken it, and the one
// before it scores on.
func (d *duel) swap(data []byte, b, before *scoring.Bundle) {
	d.w.t.Helper()
	s := Slot{By: "test", Reason: "test"}
	var past [32]byte
	if before != nil {
		s.Previous, past = hex32(before.Hash), before.Hash
	}
	d.w.must(PublishBundle(d.w.t.Context(), d.w.log, d.w.topics, data, b.Hash, "champion", s, d.key, time.Now()))
	d.all(b, past)
}

// all waits until both nodes have these in their slots.
func (d *duel) all(b *scoring.Bundle, past [32]byte) {
	d.w.t.Helper()
	for i, r := range d.nodes {
		d.w.until(func() string {
			return fmt.Sprintf("node %d has champion %.4x and %.4x beside it, want %.4x and %.4x", i, r.node.Champion(), r.node.Challenger(), b.Hash, past)
		}, func() bool { return r.node.Champion() == b.Hash && r.node.Challenger() == past })
	}
}

// pay sends n payments, every so many of them large, and waits for their decisions.
func (d *duel) pay(n, every int) {
	d.w.t.Helper()
	var f feed
	for range n {
		d.sent++
		amount := small
		if d.sent%every == 0 {
			amount = large
		}
		at := time.UnixMilli(1_790_000_000_000).Add(time.Duration(d.sent) * time.Second)
		f.add(fmt.Appendf(nil, paymentsForm, d.sent, at.UTC().Format(time.RFC3339), d.sent%97, 8, amount), at.UnixMilli())
	}
	f.send(d.w, d.w.topics.Transactions, 0)
	for _, r := range d.nodes {
		r.decided(int64(d.sent))
	}
}

// by returns how many payments a bundle decided.
func (d *duel) by(b *scoring.Bundle) (n int) {
	for _, e := range d.w.entries() {
		if e.Kind == schemas.EntryDecision && e.Decision.Bundle == b.Prefix() {
			n++
		}
	}
	return n
}

// alarms returns how often the owner alarmed for a reason.
func (d *duel) alarms(reason string) float64 {
	return testutil.ToFloat64(d.owner().Metrics.WatchAlarms.WithLabelValues(reason))
}

func (d *duel) rollbacks() (n float64) {
	for _, r := range d.nodes {
		n += testutil.ToFloat64(r.node.Metrics.Rollbacks)
	}
	return n
}

// TestABadChampionIsRolledBackAndAnAttackIsNot has two nodes decide a stream. An
// attack raises alerts tenfold under a good new champion: an alarm, and it stays. Then
// one that alerts on everything is published, which promised as much as the good one,
// or owned up to it: within 1,000 transactions or 10 s both nodes are back.
func TestABadChampionIsRolledBackAndAnAttackIsNot(t *testing.T) {
	for _, promised := range []float64{.02, 1} {
		d := newDuel(t, testKey(t, 1))
		data, first := d.w.promising(1, false, .02, d.key)
		d.swap(data, first, nil)
		data, good := d.w.promising(2, false, .02, d.key)
		d.swap(data, good, first)
		d.pay(500, 50) // as promised
		if d.alarms("drift") != 0 || d.rollbacks() != 0 {
			t.Fatal("two percent of alerts are held for too many")
		}
		d.pay(1000, 5) // the attack
		d.w.until(func() string { return "no alarm" }, func() bool { return d.alarms("drift") == 1 })
		d.all(good, first.Hash)

		data, bad := d.w.promising(3, true, promised, d.key)
		d.swap(data, bad, good)
		began := time.Now()
		d.w.until(func() string { return "the bad one decides on" }, func() bool {
			d.pay(5, 50)
			return d.nodes[0].node.Champion() == good.Hash && d.nodes[1].node.Champion() == good.Hash
		})
		took, decided := time.Since(began), d.by(bad)
		d.all(good, [32]byte{})
		t.Logf("promised %g: rolled back after %d decisions and %v", promised, decided, took)
		if decided == 0 || decided > 1000 && took > 10*time.Second {
			t.Errorf("rolled back after %d decisions and %v", decided, took)
		}
		if d.rollbacks() != 1 {
			t.Errorf("%v roll-backs are counted, want 1", d.rollbacks())
		}
		// Nothing goes to and fro.
		d.pay(200, 50)
		d.all(good, [32]byte{})
		for _, r := range d.nodes {
			r.stop()
		}
		d.w.verifyModels([]ed25519.PublicKey{d.key.Public().(ed25519.PublicKey)})
		if testing.Short() {
			break
		}
	}
}

// TestNothingIsRolledBackWithoutAKey alarms where there is nothing to sign with.
func TestNothingIsRolledBackWithoutAKey(t *testing.T) {
	d := newDuel(t, nil)
	data, good := d.w.promising(1, false, .02, d.key)
	d.swap(data, good, nil)
	data, bad := d.w.promising(2, true, .02, d.key)
	d.swap(data, bad, good)
	d.pay(100, 50)
	d.w.until(func() string { return "no alarm" }, func() bool { return d.alarms("no_key") == 1 })
	d.all(bad, good.Hash)
	if !d.owner().Status().Ready {
		t.Error("the node is not ready")
	}
}

// TestProbationEvidence holds the bounds to what they say: within them there is no
// evidence that would be enough, beyond them there is, on either side.
func TestProbationEvidence(t *testing.T) {
	for _, c := range []struct {
		promised     float64
		rows, alerts int
		enough       bool
	}{
		{.01, 10000, 100, false}, {.01, 10000, 200, false}, {.01, 40000, 200, false}, {.01, 10000, 290, false}, // up to twice, down to half
		{.01, 10000, 400, true}, {.01, 20, 20, true}, {.01, 19, 19, false}, {.01, 200, 20, false},
		{.01, 20000, 10, true}, {.01, 1000, 0, false}, {.5, 1000, 1000, false}, {.2, 1000, 1000, true},
	} {
		p := probation{rows: c.rows}
		p.alerts[champion], p.promised[champion] = c.alerts, c.promised
		if got := p.evidence(champion); got >= evidenceMax != c.enough {
			t.Errorf("%+v: evidence %.2f", c, got)
		}
	}
}

// TestProbationFinds has the new champion and the one before it alert as often as it
// says, of 1,000 transactions.
func TestProbationFinds(t *testing.T) {
	for _, c := range []struct {
		now, before int
		want        finding
	}{
		{20, 20, nothing}, {40, 20, nothing}, {200, 20, guilty}, {200, 40, guilty}, {200, 200, drifted}, {20, 200, nothing},
		{200, 61, nothing}, // the one before it seems to move too: it is waited for
	} {
		p := probation{rows: 1000, promised: [numSlots]float64{.02, .02}, alerts: [numSlots]int{c.now, c.before}}
		if got := p.find(); got != c.want {
			t.Errorf("%+v: %d, evidence %.2f and %.2f", c, got, p.evidence(champion), p.evidence(challenger))
		}
		if got := p.find(); c.want != nothing && got != nothing {
			t.Errorf("%+v: said twice", c)
		}
	}
}
