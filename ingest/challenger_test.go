package ingest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// entries returns the records of the ledger, parsed.
func (w *world) entries() (list []schemas.Entry) {
	w.t.Helper()
	for _, v := range w.ledger() {
		var e schemas.Entry
		w.must(schemas.ParseEntry(v, &e))
		list = append(list, e)
	}
	return list
}

// slotsTaken returns what slots took, in the order of the ledger: "champion 1a2b3c4d".
func (w *world) slotsTaken() (list []string) {
	w.t.Helper()
	for _, e := range w.entries() {
		if e.Kind == schemas.EntryBundle {
			list = append(list, fmt.Sprintf("%s %.4x", e.Bundle.Slot, e.Bundle.Hash))
		}
	}
	return list
}

// point writes a slot's record.
func (w *world) point(name, bundle string, key ed25519.PrivateKey) {
	w.t.Helper()
	w.must(PublishSlot(w.t.Context(), w.log, w.topics, name, Slot{Bundle: bundle, By: "test", Reason: "test"}, key, time.UnixMilli(1)))
}

// model writes a record of models; nil is one without a value.
func (w *world) model(key string, value []byte) {
	w.t.Helper()
	var b kafka.BatchWriter
	b.Append([]byte(key), value, 1, nil)
	set, err := b.Finish(kafka.None)
	w.must(err)
	_, err = w.log.Produce(w.t.Context(), w.topics.Models, 0, set)
	w.must(err)
}

// publish publishes a bundle into a slot.
func (w *world) publish(name string, data []byte, hash [32]byte, key ed25519.PrivateKey) {
	w.t.Helper()
	w.must(PublishBundle(w.t.Context(), w.log, w.topics, data, hash, name, Slot{By: "test", Reason: "test"}, key, time.UnixMilli(1)))
}

// verifyModels verifies the ledger with the bundles that models holds.
func (w *world) verifyModels(trust []ed25519.PublicKey) *Verifier {
	w.t.Helper()
	m := NewModels(w.log, w.topics, trust)
	w.must(m.Read(w.t.Context()))
	known := make(map[[32]byte]serving)
	v, err := VerifyLog(w.t.Context(), Audit{Log: w.log, Topics: w.topics, Spec: w.spec, Tokens: w.tokens(),
		Bundles: func(hash, _ [32]byte) (b *scoring.Bundle, s scoring.Scorer, err error) {
			if _, ok := known[hash]; !ok {
				b, s, err = m.Open(w.t.Context(), hash, w.spec.Hash)
				known[hash] = serving{bundle: b, scorer: s}
			}
			return known[hash].bundle, known[hash].scorer, err
		}})
	w.must(err)
	if !v.Report.OK() {
		w.t.Fatalf("%+v", v.Report)
	}
	return v
}

// TestAChallengerChangesNothing decides one stream with a challenger and without:
// its score is beside the champion's in every decision that has a vector to score,
// with the bits that its model gives, and nothing else differs.
func TestAChallengerChangesNothing(t *testing.T) {
	alone := newWorld(t, "payments", 1)
	n := alone.payments(1500, 5, 1)
	alone.runUntil(n, nil)
	w := newWorld(t, "payments", 1)
	w.challenge()
	w.payments(1500, 5, 1)
	w.runUntil(n, func(c *Config) { c.RowsMax = 100 })
	w.verify()
	want := alone.entries()[1:] // the genesis record names the topic's own id
	rival, score, scored, other := w32(t, w.shadow.Model), make([]float32, 1), 0, 0
	i := 0
	for _, e := range w.entries()[1:] {
		if e.Kind == schemas.EntryBundle && string(e.Bundle.Slot) == "challenger" {
			if e.Bundle.Hash != w.shadow.Hash {
				t.Fatalf("challenger %x", e.Bundle.Hash)
			}
			continue
		}
		d := &e.Decision
		if e.Kind == schemas.EntryDecision && d.Outcome == schemas.Scored {
			w.must(rival.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, score))
			if d.Challenger != w.shadow.Prefix() || math.Float32bits(d.ChallengerScore) != math.Float32bits(score[0]) {
				t.Fatalf("decision %d: challenger %x scores %v, want %x and %v", d.Offset, d.Challenger, d.ChallengerScore, w.shadow.Prefix(), score[0])
			}
			scored++
			if d.ChallengerScore != d.Score {
				other++
			}
			d.Challenger, d.ChallengerScore = 0, 0
		}
		if !bytes.Equal(encoded(&e), encoded(&want[i])) {
			t.Fatalf("record %d is another than without a challenger: %+v, want %+v", i, e, want[i])
		}
		i++
	}
	if i != len(want) || scored < int(n)/2 || other == 0 {
		t.Fatalf("%d records, want %d; %d with both scores, %d of them different", i, len(want), scored, other)
	}
}

// encoded returns the bytes of what a test compares.
func encoded(e *schemas.Entry) []byte {
	if e.Kind == schemas.EntryDecision {
		return schemas.AppendDecision(nil, &e.Decision)
	}
	return fmt.Appendf(nil, "%+v", *e)
}

// TestAChallengerIsKept stops a node in the middle of a stream and starts another,
// from its snapshot and from the ledger alone: the ledger takes the challenger once,
// and the state knows it.
func TestAChallengerIsKept(t *testing.T) {
	w := newWorld(t, "payments", 1)
	w.challenge()
	n := w.payments(1500, 6, 1)
	for i, upto := range []int64{n / 3, n * 2 / 3, n} {
		w.runUntil(upto, func(c *Config) {
			if c.RowsMax = 100; i == 2 {
				c.SnapshotDir = t.TempDir()
			}
		})
		names, err := Snapshots(w.dir)
		if err != nil || len(names) == 0 {
			t.Fatalf("%d snapshots, %v", len(names), err)
		}
		s, err := ReadSnapshot(names[0], w.spec, w.node(nil).Features, 0)
		w.must(err)
		if s.Challenger != w.shadow.Hash || s.Champion != w.bundle.Hash {
			t.Fatalf("the snapshot has challenger %x and champion %x", s.Challenger, s.Champion)
		}
	}
	want := []string{fmt.Sprintf("champion %.4x", w.bundle.Hash), fmt.Sprintf("challenger %.4x", w.shadow.Hash)}
	if got := w.slotsTaken(); !slices.Equal(got, want) {
		t.Errorf("the ledger says %q, want %q", got, want)
	}
	w.verify()
}

// TestAChallengersLife walks the slot through what may befall it while one node
// decides: each step waits until a decision shows it.
func TestAChallengersLife(t *testing.T) {
	w := newWorld(t, "payments", 1)
	key, stranger := testKey(t, 1), testKey(t, 2)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	data, first := w.sealed(1, key)
	w.publish("champion", data, first.Hash, key)
	l := w.live(trust)
	l.shows(first, nil)
	data, second := w.sealed(2, key)
	w.publish("challenger", data, second.Hash, key)
	l.shows(first, second)
	foreign, third := w.sealed(3, stranger)
	w.publish("challenger", foreign, third.Hash, key)
	l.refuses("challenger", "unknown_signer")
	l.shows(first, second)
	w.point("challenger", "", key)
	l.shows(first, nil)
	data, fourth := w.sealed(4, key)
	w.publish("challenger", data, fourth.Hash, key)
	l.shows(first, fourth)
	w.point("champion", hex32(fourth.Hash), key) // it challenges itself no more
	l.shows(fourth, nil)
	w.point("champion", hex32(first.Hash), key)
	l.shows(first, fourth)
	l.stop()
	w.verifyModels(trust)
	var want []string
	for _, x := range []struct {
		slot string
		hash [32]byte
	}{{"champion", first.Hash}, {"challenger", second.Hash}, {"challenger", [32]byte{}}, {"challenger", fourth.Hash},
		{"champion", fourth.Hash}, {"challenger", [32]byte{}}, {"champion", first.Hash}, {"challenger", fourth.Hash}} {
		want = append(want, fmt.Sprintf("%s %.4x", x.slot, x.hash))
	}
	if got := w.slotsTaken(); !slices.Equal(got, want) {
		t.Errorf("the ledger says\n%q, want\n%q", got, want)
	}
}

// A life is a node that runs and follows models, and payments that come one by one.
type life struct {
	*running
	sent    int
	watched chan error
}

// reigning returns a world and a node there that decides by a champion of models.
func reigning(t *testing.T) (w *world, l *life, key ed25519.PrivateKey, trust []ed25519.PublicKey, data []byte, first *scoring.Bundle) {
	t.Helper()
	w, key = newWorld(t, "payments", 1), testKey(t, 1)
	data, first = w.sealed(1, key)
	w.publish("champion", data, first.Hash, key)
	trust = []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	l = w.live(trust)
	l.shows(first, nil)
	return w, l, key, trust, data, first
}

// live starts a node that follows models.
func (w *world) live(trust []ed25519.PublicKey) *life {
	w.t.Helper()
	return w.liveWith(trust, nil)
}

// liveWith does as live; change may alter the node's config.
func (w *world) liveWith(trust []ed25519.PublicKey, change func(*Config)) *life {
	w.t.Helper()
	n := w.node(change)
	n.Use(nil, nil)
	m := NewModels(w.log, w.topics, trust)
	w.must(n.Load(w.t.Context(), m))
	ctx, cancel := context.WithCancel(w.t.Context())
	l := &life{running: w.run(n), watched: make(chan error, 1)}
	go func() { l.watched <- n.Watch(ctx, m) }()
	stop := l.cancel
	l.cancel = func() { cancel(); stop() }
	w.t.Cleanup(func() {
		cancel()
		if err := <-l.watched; err != nil {
			w.t.Error(err)
		}
	})
	return l
}

// pay sends a payment and waits until it is decided; it returns the decision.
func (l *life) pay() *schemas.Decision {
	l.w.t.Helper()
	var f feed
	at := time.UnixMilli(1_790_000_000_000).Add(time.Duration(l.sent) * time.Second)
	f.add(fmt.Appendf(nil, paymentsForm, l.sent, at.UTC().Format(time.RFC3339), 7, 8, 9), at.UnixMilli())
	f.send(l.w, l.w.topics.Transactions, 0)
	l.sent++
	l.decided(int64(l.sent))
	list := l.w.entries()
	for i := len(list) - 1; ; i-- {
		if list[i].Kind == schemas.EntryDecision {
			return &list[i].Decision
		}
	}
}

// shows pays until a decision names these bundles; nil is none.
func (l *life) shows(champion, challenger *scoring.Bundle) {
	l.w.t.Helper()
	prefix := func(b *scoring.Bundle) uint64 {
		if b == nil {
			return 0
		}
		return b.Prefix()
	}
	var d *schemas.Decision
	l.w.until(func() string {
		return fmt.Sprintf("decided by %x with challenger %x, want %x and %x", d.Bundle, d.Challenger, prefix(champion), prefix(challenger))
	}, func() bool {
		d = l.pay()
		return d.Bundle == prefix(champion) && d.Challenger == prefix(challenger)
	})
}

// refuses waits until a refusal is counted.
func (l *life) refuses(slot, reason string) {
	l.w.t.Helper()
	l.w.until(func() string { return "no refusal of " + slot + " for " + reason }, func() bool {
		return testutil.ToFloat64(l.node.Metrics.Refused.WithLabelValues(slot, reason)) > 0
	})
}

// TestAChallengerDecidesItsShareOfCards rolls a challenger out to a third of the
// cards: each card is one's or the other's for good, either score is in the decision,
// and what the challenger decides is by its own operating point.
func TestAChallengerDecidesItsShareOfCards(t *testing.T) {
	const share = 1. / 3
	w := newWorld(t, "payments", 1)
	w.challenge()
	n := w.payments(1200, 9, 1)
	for _, upto := range []int64{n / 2, n} {
		w.runNode(upto, func(c *Config) { c.RowsMax = 100 }, func(_ context.Context, node *Node) {
			node.serve(challenger, serving{bundle: w.shadow, scorer: w32(t, w.shadow.Model), offset: -1, share: share})
		})
	}
	w.verify()
	of := make(map[string]uint64)
	scorers := map[*scoring.Bundle]scoring.Scorer{w.bundle: w32(t, w.bundle.Model), w.shadow: w32(t, w.shadow.Model)}
	rolled := 0
	for _, e := range w.entries() {
		d := &e.Decision
		if e.Kind != schemas.EntryDecision || d.Outcome != schemas.Scored {
			continue
		}
		decides, beside := w.bundle, w.shadow
		if d.Bundle == w.shadow.Prefix() {
			decides, beside = w.shadow, w.bundle
		}
		card := string(whose(d))
		if was, ok := of[card]; ok && was != d.Bundle {
			t.Fatalf("%s is decided by %x and by %x", card, was, d.Bundle)
		} else if !ok && decides == w.shadow {
			rolled++
		}
		of[card] = d.Bundle
		var scores [2]float32
		for i, b := range []*scoring.Bundle{decides, beside} {
			w.must(scorers[b].Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, scores[i:]))
		}
		r := decides.Decide(scores[0], d.Tx.AmountBase, d.Text[schemas.ID])
		if d.Bundle != decides.Prefix() || d.Challenger != beside.Prefix() || d.Score != scores[0] || d.ChallengerScore != scores[1] || d.Action != r.Action || d.Rank != r.Rank {
			t.Fatalf("%+v, want scores %v and %+v", d, scores, r)
		}
	}
	// Four standard deviations of what chance gives.
	cards := float64(len(of))
	if far := math.Abs(float64(rolled) - share*cards); far > 4*math.Sqrt(cards*share*(1-share)) || rolled == 0 {
		t.Errorf("the challenger decides for %d of %v cards", rolled, cards)
	}
	want := []string{fmt.Sprintf("champion %.4x", w.bundle.Hash), fmt.Sprintf("challenger %.4x", w.shadow.Hash)}
	if got := w.slotsTaken(); !slices.Equal(got, want) {
		t.Errorf("the ledger says %q, want %q", got, want)
	}
}

// TestAShareIsGivenAndTaken changes the share while a node decides.
func TestAShareIsGivenAndTaken(t *testing.T) {
	w, l, key, trust, data, first := reigning(t)
	data, second := w.sealed(2, key)
	w.publish("challenger", data, second.Hash, key)
	l.shows(first, second)
	give := func(slot string, b *scoring.Bundle, share float64) {
		t.Helper()
		w.must(PublishSlot(t.Context(), w.log, w.topics, slot, Slot{Bundle: hex32(b.Hash), Share: share}, key, time.UnixMilli(1)))
	}
	give("challenger", second, 1)
	l.shows(second, first)
	give("champion", first, .5)
	l.refuses("champion", "slot_form")
	l.shows(second, first)
	give("challenger", second, 0)
	l.shows(first, second)
	l.stop()
	w.verifyModels(trust)
}

// A flaky scorer fails from one call on.
type flaky struct {
	scoring.Scorer
	good int
}

var errFlaky = errors.New("the device is gone")

func (f *flaky) Score(x scoring.Matrix, out []float32) error {
	if f.good--; f.good < 0 {
		return errFlaky
	}
	return f.Scorer.Score(x, out)
}

// TestAChallengerThatFailsIsTakenOut has the challenger's device die in the middle:
// the ledger says from where on there is none, and can be proved.
func TestAChallengerThatFailsIsTakenOut(t *testing.T) {
	w := newWorld(t, "payments", 1)
	w.challenge()
	n := w.payments(1000, 8, 1)
	w.runNode(n, func(c *Config) { c.RowsMax = 100 }, func(_ context.Context, node *Node) {
		node.Shadow(w.shadow, &flaky{w32(t, w.shadow.Model), 4})
		t.Cleanup(func() {
			if got := testutil.ToFloat64(node.Metrics.Refused.WithLabelValues("challenger", "error")); got != 1 {
				t.Errorf("counted %v times", got)
			}
		})
	})
	w.verify()
	want := []string{fmt.Sprintf("champion %.4x", w.bundle.Hash), fmt.Sprintf("challenger %.4x", w.shadow.Hash), "challenger 00000000"}
	if got := w.slotsTaken(); !slices.Equal(got, want) {
		t.Errorf("the ledger says %q, want %q", got, want)
	}
	with := 0
	for _, e := range w.entries() {
		if e.Kind == schemas.EntryDecision && e.Decision.Challenger != 0 {
			with++
		}
	}
	if with == 0 || with > 400 {
		t.Errorf("%d decisions with a challenger, want those of four steps", with)
	}
}

// TestTheLedgersChampionGoesOn starts a node where the champion's slot points at a
// bundle that is refused: the champion of the ledger goes on, and not the rules.
func TestTheLedgersChampionGoesOn(t *testing.T) {
	w, l, key, trust, _, good := reigning(t)
	l.stop()
	w.point("champion", hex32([32]byte{7}), key)
	again := w.live(trust)
	again.sent = l.sent
	if d := again.pay(); d.Bundle != good.Prefix() || d.Outcome != schemas.Scored {
		t.Errorf("decided by %x, %v; want %x", d.Bundle, d.Outcome, good.Prefix())
	}
	again.refuses("champion", "no_bundle")
	again.stop()
	w.verifyModels(trust)
}
