package ingest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// TestDecisionsAreKeyed has source records with keys of every kind. A decision
// has its record's key, in whose place is a token where it is the card's number or
// may be one; nothing else of a ledger goes by it.
func TestDecisionsAreKeyed(t *testing.T) {
	const pan = "4000001234567899"
	w := newWorld(t, "payments", 1)
	good := func(i int) string {
		return fmt.Sprintf(`{"id":"t%d","time":"2026-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1","card":"%s"}`, i, pan)
	}
	card, ok := w.tokens().AppendCard(nil, []byte(pan), false)
	if !ok {
		t.Fatal("no card number")
	}
	cases := []struct{ key, value, want string }{
		{pan, good(0), "the card"},
		{"4000 0012 3456 7899", good(1), "the card"},
		{"c1", good(2), "c1"},
		{"", good(3), ""},
		{pan, "{", string(card)},
		{pan, `{"id":"t5"}`, string(card)},
		{"x", good(6), "a token"},
	}
	var f feed
	for _, c := range cases {
		f.add([]byte(c.value), arrival)
		f.keys = append(f.keys, []byte(c.key))
	}
	f.send(w, w.topics.Transactions, 0)
	r := w.start(nil)
	r.decided(int64(len(cases)))
	r.stop()
	var e schemas.Entry
	seen := 0
	for _, rec := range w.records(w.topics.Decisions, 0) {
		w.must(schemas.ParseEntry(rec.Value, &e))
		d := &e.Decision
		if e.Kind != schemas.EntryDecision {
			if len(rec.Key) > 0 {
				t.Errorf("a record of kind %v has the key %q", e.Kind, rec.Key)
			}
			continue
		}
		c, got := cases[d.Offset], string(rec.Key)
		switch seen++; c.want {
		case "the card":
			c.want = string(d.Text[schemas.Card])
		case "a token":
			if strings.HasPrefix(got, "k1.") && len(got) == len(card) {
				c.want = got
			}
		}
		if got != c.want {
			t.Errorf("key %q of source record %d, want %q", got, d.Offset, c.want)
		}
	}
	if seen != len(cases) || len(e.Decision.Text[schemas.Card]) == 0 {
		t.Fatalf("%d decisions, want %d", seen, len(cases))
	}
	if n := w.cards(w.topics.Decisions); n > 0 {
		t.Errorf("%d records hold the card's number", n)
	}
	w.verify()
}

// TestKeysCountInTheBound has keys as long as they may be: a step is bounded with
// them, so that it fits the ledger.
func TestKeysCountInTheBound(t *testing.T) {
	s := newSource("handbook", 20, time.Hour)
	s.key = func(*rand.Rand) []byte { return bytes.Repeat([]byte("k"), decode.TextMax) }
	l := newLine(t, "handbook", s, 16)
	for range 3 {
		l.prepare(t, 256)
		l.step(t)
		if got, most := l.flight.batch.Len(), l.owner.work.bytes+1024; got > most || got < 256*decode.TextMax {
			t.Fatalf("a step of %d bytes, bounded to %d", got, most)
		}
	}
}
