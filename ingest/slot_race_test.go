package ingest

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// shelf is what the tests of races know of models: the keys that are trusted, and
// bundles that the topic holds.
type shelf struct {
	w       *world
	key     ed25519.PrivateKey
	bundles []*scoring.Bundle
}

func newShelf(t *testing.T, n int) *shelf {
	t.Helper()
	s := &shelf{w: newWorld(t, "payments", 1), key: testKey(t, 1)}
	for i := range n {
		data, b := s.w.sealed(uint64(i+1), s.key)
		s.w.must(WriteBundle(t.Context(), s.w.log, s.w.topics, data, b.Hash, time.UnixMilli(1)))
		s.bundles = append(s.bundles, b)
	}
	return s
}

// reads returns what a reader of the whole topic knows.
func (s *shelf) reads() *Models {
	s.w.t.Helper()
	m := NewModels(s.w.log, s.w.topics, []ed25519.PublicKey{s.key.Public().(ed25519.PublicKey)})
	s.w.must(m.Read(s.w.t.Context()))
	return m
}

// points has somebody point a slot at a bundle in place of what they have read.
func (s *shelf) points(m *Models, slot, by string, bundle int, clock int64) error {
	x := m.After(slot)
	x.Bundle, x.By, x.Reason = hex32(s.bundles[bundle].Hash), by, "because "+by
	return m.Point(s.w.t.Context(), slot, x, s.key, time.UnixMilli(clock))
}

// TestTheFirstToReplaceASlotHasIt has several write at once, none of whom saw the
// others: one is taken, the others are told who that is, and every reader says the same.
func TestTheFirstToReplaceASlotHasIt(t *testing.T) {
	const writers = 4
	s := newShelf(t, writers)
	for round := range 12 {
		slot := championSlotOf(round)
		var models [writers]*Models
		for k := range models {
			models[k] = s.reads()
		}
		var errs [writers]error
		var all sync.WaitGroup
		for k := range writers {
			all.Go(func() { errs[k] = s.points(models[k], slot, fmt.Sprintf("ann%d", k), k, int64(1000*round+k)) })
		}
		all.Wait()
		now := s.reads()
		for k, err := range errs {
			won := now.Slots[slot].By == fmt.Sprintf("ann%d", k)
			if won != (err == nil) || err != nil && (!errors.Is(err, ErrSlotOvertaken) || !strings.Contains(err.Error(), now.Slots[slot].By+`" has made it`)) {
				t.Errorf("round %d: writer %d is told %v, and %s has the slot", round, k, err, now.Slots[slot].By)
			}
			if models[k].Slots[slot] != now.Slots[slot] {
				t.Errorf("round %d: writer %d reads %+v, others %+v", round, k, models[k].Slots[slot], now.Slots[slot])
			}
		}
	}
}

// championSlotOf is another slot every other round: all are held to the rule.
func championSlotOf(round int) string { return [numSlots]string{"champion", "challenger"}[round%2] }

// TestACompactedTopicHasTheSlotInForce keeps the last record of each key, as compaction
// does, and looks for the one that won.
func TestACompactedTopicHasTheSlotInForce(t *testing.T) {
	s := newShelf(t, 3)
	s.w.must(s.points(s.reads(), "champion", "ann", 0, 5))
	late := s.reads()
	s.w.must(s.points(s.reads(), "champion", "bob", 1, 6))
	if err := s.points(late, "champion", "cid", 2, 9); !errors.Is(err, ErrSlotOvertaken) {
		t.Fatal(err)
	}
	last := make(map[string][]byte)
	for _, r := range s.w.records(s.w.topics.Models, 0) {
		last[string(r.Key)] = r.Value
	}
	compacted := *s.w
	compacted.topics = schemas.DefaultTopics("compacted")
	s.w.must(s.w.log.Ensure(t.Context(), compacted.topics.Layouts(1)))
	for key, value := range last {
		compacted.model(key, value)
	}
	whole := s.reads()
	few := &shelf{w: &compacted, key: s.key, bundles: s.bundles}
	if a, b := whole.Slots["champion"], few.reads().Slots["champion"]; a != b || a.By != "bob" {
		t.Errorf("read whole %q has it, read of what is left %q", a.By, b.By)
	}
	// It is a slot like any other to whoever reads what is left, and to the next.
	s.w.must(few.points(few.reads(), "champion", "dan", 0, 10))
	// Behind a loser of whom it was said once nothing is written again: two that do not
	// agree would go on for ever.
	before := len(s.w.records(s.w.topics.Models, 0))
	var loser Slot
	for _, r := range s.w.records(s.w.topics.Models, 0) {
		var x Slot
		if json.Unmarshal(r.Value, &x) == nil && x.By == "cid" {
			loser = x
		}
	}
	for range 3 {
		s.w.must(writeSlot(t.Context(), s.w.log, s.w.topics.Models, "champion", &loser, time.UnixMilli(11)))
		s.w.must(late.Read(t.Context()))
		s.w.must(late.Restate(t.Context(), time.UnixMilli(11)))
	}
	if n := len(s.w.records(s.w.topics.Models, 0)) - before; n != 3 || late.Slots["champion"].By != "bob" {
		t.Errorf("%d records are written, and %s is in force", n, late.Slots["champion"].By)
	}
}

// TestOldSlotsReplaceWhatIsThere: records of before one said what it replaces are read
// as they were, and stand in no one's way.
func TestOldSlotsReplaceWhatIsThere(t *testing.T) {
	s := newShelf(t, 3)
	old := func(bundle int, by string) {
		t.Helper()
		s.w.must(PublishSlot(t.Context(), s.w.log, s.w.topics, "champion", Slot{Bundle: hex32(s.bundles[bundle].Hash), By: by, Reason: "old"}, s.key, time.UnixMilli(5)))
	}
	holds := func(by string, past int) {
		t.Helper()
		if m := s.reads(); m.Slots["champion"].By != by || len(m.Past) != past || len(m.Refused) > 0 {
			t.Errorf("%q has it after %d, refused %v; want %q after %d", m.Slots["champion"].By, len(m.Past), m.Refused, by, past)
		}
	}
	old(0, "ann")
	old(1, "bob") // of the same ms, without a word of ann's
	holds("bob", 2)
	s.w.must(s.points(s.reads(), "champion", "cid", 2, 1))
	holds("cid", 3)
	s.w.must(PublishSlot(t.Context(), s.w.log, s.w.topics, "champion", Slot{Bundle: hex32(s.bundles[0].Hash), By: "dan", Reason: "old"}, s.key, time.UnixMilli(9)))
	holds("dan", 4)
}

// TestANodeRollsBackNobodyElsesChampion has a roll-back come due while somebody promotes
// another bundle: theirs stays. Where the node does not hear of a loser from its writer,
// who died, it writes the slot in force again.
func TestANodeRollsBackNobodyElsesChampion(t *testing.T) {
	s := newShelf(t, 3)
	n := s.w.node(func(c *Config) { c.RollbackKey = s.key })
	n.Use(nil, nil)
	n.set(func(st *Status) { st.Owner = true })
	s.w.must(s.points(s.reads(), "champion", "ann", 0, 5))
	s.w.must(s.points(s.reads(), "champion", "ann", 1, 6))
	m := s.reads()
	s.w.must(s.points(s.reads(), "champion", "bob", 2, 7))
	n.due = &sentence{s.bundles[1].Hash, s.bundles[0].Hash, "too many alerts"}
	n.rollBack(t.Context(), m)
	if now := s.reads(); now.Champion() != s.bundles[2].Hash || testutil.ToFloat64(n.Metrics.Rollbacks) != 0 || n.due != nil {
		t.Errorf("%q made %x champion", now.Slots["champion"].By, now.Champion())
	}
	if n.Champion() != s.bundles[2].Hash {
		t.Errorf("the node goes on with %x", n.Champion())
	}
	// The same of what is in force.
	n.due = &sentence{s.bundles[2].Hash, s.bundles[0].Hash, "too many alerts"}
	n.rollBack(t.Context(), m)
	if now := s.reads(); now.Champion() != s.bundles[0].Hash || now.Slots["champion"].Previous != "" || testutil.ToFloat64(n.Metrics.Rollbacks) != 1 {
		t.Errorf("%q made %x champion", now.Slots["champion"].By, now.Champion())
	}
}

// TestAnOwnerWritesTheSlotInForceAgain behind a record that was overtaken, and whose
// writer is gone.
func TestAnOwnerWritesTheSlotInForceAgain(t *testing.T) {
	w, l, key, trust, _, first := reigning(t)
	m := NewModels(w.log, w.topics, trust)
	w.must(m.Read(t.Context()))
	data, second := w.sealed(2, key)
	w.must(PublishBundle(t.Context(), w.log, w.topics, data, second.Hash, "champion", Slot{By: "gone", Replaces: noSlot}, key, time.UnixMilli(9)))
	l.refuses("champion", "slot_overtaken")
	last := func() (s Slot) {
		var r kafka.Record
		for _, x := range w.records(w.topics.Models, 0) {
			if string(x.Key) == "slot/champion" {
				r = x
			}
		}
		w.must(json.Unmarshal(r.Value, &s))
		return s
	}
	w.until(func() string { return "the record in force is not the last one: " + last().By }, func() bool { return last() == m.Slots["champion"] })
	l.shows(first, nil)
	l.stop()
}
