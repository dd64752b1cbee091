package ingest

import (
	"context"
	"crypto/ed25519"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

func testKey(t testing.TB, seed byte) ed25519.PrivateKey {
	t.Helper()
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

// sealed returns a random bundle's file, signed.
func (w *world) sealed(seed uint64, key ed25519.PrivateKey) ([]byte, *scoring.Bundle) {
	w.t.Helper()
	b := *w.bundle
	b.Model = trainer.RandomModel(seed, len(b.Features), 8, 1)
	rows := make([]float32, 16*len(b.Features))
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range rows {
		rows[i] = r.Float32()
	}
	if err := b.SetSelfTest(w32(w.t, b.Model), scoring.Matrix{Data: rows, Rows: 16, Cols: len(b.Features)}); err != nil {
		w.t.Fatal(err)
	}
	data, read, err := trainer.Seal(&b, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return data, read
}

// TestAChampionIsTakenOnlyWhereItIsGood publishes bundles while nothing runs and
// looks at what a node would decide with.
func TestAChampionIsTakenOnlyWhereItIsGood(t *testing.T) {
	w := newWorld(t, "payments", 1)
	key, stranger := testKey(t, 1), testKey(t, 2)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	n := w.node(nil)
	n.Use(nil, nil)
	m := NewModels(w.log, w.topics, trust)
	published := time.UnixMilli(1_790_000_000_123)
	publish := func(data []byte, hash [32]byte, slot ed25519.PrivateKey) {
		t.Helper()
		if err := PublishBundle(t.Context(), w.log, w.topics, data, hash, "champion", Slot{By: "test", Reason: "test"}, slot, published); err != nil {
			t.Fatal(err)
		}
		if err := n.Load(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	serves := func(want *scoring.Bundle) {
		t.Helper()
		got := n.serves()[champion].bundle
		switch {
		case want == nil && got != nil:
			t.Fatalf("serves %x, want none", got.Hash)
		case want != nil && (got == nil || got.Hash != want.Hash):
			t.Fatalf("does not serve %x", want.Hash)
		}
	}

	if err := n.Load(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	serves(nil)
	data, first := w.sealed(1, key)
	publish(data, first.Hash, key)
	serves(first)

	// Signed by a stranger: the slot, then the bundle.
	foreign, other := w.sealed(2, stranger)
	publish(foreign, other.Hash, stranger)
	serves(first)
	if len(m.Refused) != 1 {
		t.Fatalf("%d slots refused, want 1", len(m.Refused))
	}
	publish(foreign, other.Hash, key)
	serves(first)

	// A bit of the weights flipped.
	data, third := w.sealed(3, key)
	broken := append([]byte(nil), data...)
	broken[len(broken)/2] ^= 1
	publish(broken, third.Hash, key)
	serves(first)
	for _, reason := range []string{"slot_signature", "unknown_signer", "wrong_hash"} {
		if testutil.ToFloat64(n.Metrics.Refused.WithLabelValues("champion", reason)) == 0 {
			t.Errorf("%s is not counted", reason)
		}
	}
	// The slot points at another bundle than it is filed under.
	data, fourth := w.sealed(4, key)
	publish(data, [32]byte{1}, key)
	serves(first)

	publish(data, fourth.Hash, key)
	serves(fourth)
	for _, r := range w.records(w.topics.Models, 0) {
		if r.Timestamp != published.UnixMilli() {
			t.Errorf("%s bears the time %d, want %d", r.Key, r.Timestamp, published.UnixMilli())
		}
	}
}

// TestASwapIsInTheLedger runs a node over one half of the stream with one
// bundle and the other half with the next.
func TestASwapIsInTheLedger(t *testing.T) {
	w := newWorld(t, "payments", 1)
	key := testKey(t, 1)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	n := w.payments(2000, 1, 1)
	for i, upto := range []int64{n / 2, n} {
		data, b := w.sealed(uint64(i), key)
		if err := PublishBundle(t.Context(), w.log, w.topics, data, b.Hash, "champion", Slot{By: "test", Reason: "test"}, key, time.Now()); err != nil {
			t.Fatal(err)
		}
		w.runNode(upto, func(c *Config) { c.RowsMax = 100 }, func(ctx context.Context, node *Node) {
			if err := node.Load(ctx, NewModels(w.log, w.topics, trust)); err != nil {
				t.Fatal(err)
			}
		})
	}
	m := NewModels(w.log, w.topics, trust)
	if err := m.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := VerifyLog(t.Context(), Audit{Log: w.log, Topics: w.topics, Spec: w.spec,
		Bundles: func(hash, _ [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			return m.Open(t.Context(), hash, w.spec.Hash)
		}})
	if err != nil {
		t.Fatal(err)
	}
	if !v.Report.OK() || v.Report.Scored == 0 {
		t.Fatalf("%+v", v.Report)
	}
	if len(m.Bundles()) != 2 {
		t.Fatalf("%d bundles, want 2", len(m.Bundles()))
	}
}
