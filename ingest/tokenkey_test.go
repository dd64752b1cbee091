package ingest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/scoring"
)

// keyed makes a node make its tokens of a key, in a change from another one where
// that is given.
func keyed(t *testing.T, current decode.Key, previous *decode.Key) func(*Config) {
	tokens := tokensOf(t, current, previous)
	return func(c *Config) { c.Tokens = tokens }
}

func tokensOf(t *testing.T, current decode.Key, previous *decode.Key) *decode.Tokens {
	t.Helper()
	tokens, err := decode.NewTokens(current, previous)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// TestAnotherTokenKeyIsNamed starts nodes with keys that the ledger's tokens are
// not of, from its snapshot and from the ledger itself: none decides anything. A
// change of keys that is declared goes on, and then the new key alone does; the
// old one does not any more.
func TestAnotherTokenKeyIsNamed(t *testing.T) {
	first := decode.Key{ID: "k1", Secret: bytes.Repeat([]byte{1}, 32)}
	other := decode.Key{ID: "k1", Secret: bytes.Repeat([]byte{2}, 32)}
	second := decode.Key{ID: "k2", Secret: bytes.Repeat([]byte{3}, 32)}
	renamed := decode.Key{ID: "k3", Secret: first.Secret}
	w := newWorld(t, "payments", 1)
	n := w.payments(60, 31, 1)
	goOn := func(how func(*Config)) {
		t.Helper()
		r := w.start(how)
		r.until("decides", func(s Status) bool { return s.Owner && s.Counts.Decisions() >= n })
		r.stop()
	}
	halts := func(key decode.Key, previous *decode.Key) {
		t.Helper()
		for _, dir := range []string{w.dir, t.TempDir()} {
			before := len(w.ledger())
			r := w.start(func(c *Config) {
				keyed(t, key, previous)(c)
				c.SnapshotDir = dir
			})
			r.halted("ledger_key")
			r.stop()
			if after := len(w.ledger()); after != before {
				t.Fatalf("%d records were written with another key", after-before)
			}
		}
	}
	goOn(keyed(t, first, nil))
	n += w.more(5)
	for _, key := range []decode.Key{other, second, renamed} {
		halts(key, nil)
	}
	halts(second, &other)
	goOn(keyed(t, first, nil))
	goOn(keyed(t, second, &first)) // nothing is decided, so nothing has changed
	halts(second, nil)
	n += w.more(5)
	goOn(keyed(t, second, &first))
	halts(first, nil)
	n += w.more(5)
	goOn(keyed(t, second, nil))

	for _, current := range []*decode.Key{nil, &second} { // without a key, and with the ledger's
		var tokens *decode.Tokens
		if current != nil {
			tokens = tokensOf(t, *current, nil)
		}
		if v := w.auditWith(tokens); !v.Report.OK() {
			t.Fatalf("%+v", v.Report)
		}
	}
	_, err := VerifyLog(t.Context(), Audit{Log: w.log, Topics: w.topics, Spec: w.spec, Tokens: tokensOf(t, first, nil),
		Bundles: func(_, _ [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			return w.bundle, w32(t, w.bundle.Model), nil
		}})
	if !errors.Is(err, ErrOtherKey) {
		t.Errorf("verified with the key before: %v", err)
	}
	var keys []uint64
	for _, b := range w.batches() {
		if b.facts.Key != 0 {
			keys = append(keys, b.facts.Key)
		}
	}
	if len(keys) != 2 || keys[0] == keys[1] {
		t.Errorf("the ledger names the keys %x, want two", keys)
	}
}

// TestAStandbyHearsOfAnotherTokenKey has the owner change the key while a standby
// that knows only the old one follows.
func TestAStandbyHearsOfAnotherTokenKey(t *testing.T) {
	first := decode.Key{ID: "k1", Secret: bytes.Repeat([]byte{1}, 32)}
	second := decode.Key{ID: "k2", Secret: bytes.Repeat([]byte{2}, 32)}
	w := newWorldOn(t, "payments", 1, broker.Options{Session: session})
	n := w.payments(60, 32, 1)
	r := w.start(keyed(t, first, nil))
	r.decided(n)
	r.stop()
	owner := w.start(keyed(t, second, &first))
	owner.until("owns", func(s Status) bool { return s.Owner })
	standby := w.join(nil, keyed(t, first, nil))
	standby.until("stands by", func(s Status) bool { return s.Ready && s.Counts.Decisions() == n })
	n += w.more(5)
	owner.decided(n)
	standby.halted("ledger_key")
	standby.stop()
	owner.stop()
}

// TestALedgerWithoutATokenKeyGoesOn has a ledger of an earlier version, which does
// not say what its key is: the first node that goes on says it.
func TestALedgerWithoutATokenKeyGoesOn(t *testing.T) {
	first := decode.Key{ID: "k1", Secret: bytes.Repeat([]byte{1}, 32)}
	other := decode.Key{ID: "k1", Secret: bytes.Repeat([]byte{2}, 32)}
	w := newWorld(t, "payments", 1)
	n := w.payments(60, 33, 1)
	old := w.node(keyed(t, first, nil))
	old.tokenKey = 0
	r := w.run(old)
	r.decided(n)
	r.stop()
	for _, b := range w.batches() {
		if b.facts.Key != 0 {
			t.Fatal("the ledger says what its key is")
		}
	}
	n += w.more(5)
	r = w.start(keyed(t, first, nil))
	r.decided(n)
	r.stop()
	r = w.start(keyed(t, other, nil))
	r.halted("ledger_key")
	r.stop()
}
