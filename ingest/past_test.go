package ingest

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// changedSpec is the built-in spec of payments with other lines.
func changedSpec(t testing.TB, name string, replace ...string) *spec.Spec {
	t.Helper()
	text := string(spec.BuiltinText("payments"))
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the spec has no %q", replace[i])
		}
		text = strings.Replace(text, replace[i], replace[i+1], 1)
	}
	s, err := spec.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// firstSpec and secondSpec differ in windows, where clauses, entities, own fields and
// their order, what is scored, and what is read.
func firstSpec(t testing.TB) *spec.Spec {
	return changedSpec(t, "first", "field mcc = $.mcc", "field number code = $.mcc",
		"field account = $.account", "field text place = $.account", "field entry_mode = $.entry_mode", "field text way = $.entry_mode",
		"\nhour(time) as hour", "\ncode\ncount() by place over 3h as at_place_3h in group \"card\"\nhour(time) as hour")
}

func secondSpec(t testing.TB, more ...string) *spec.Spec {
	return changedSpec(t, "second", append(more, "field mcc = $.mcc", "field number half = $.half\nfield number code = $.mcc",
		"field entry_mode = $.entry_mode", "field text way = $.entry_mode\nfield text other = $.other", "field account = $.account\n", "",
		"\nfield device", "\nfield number unread = $.unread\nfield text place = $.account\nfield device", "distinct(ip) by customer over 1d\n", "",
		"scored authorisation, transfer", "scored authorisation, refund, transfer", "home customer dedup 7d", "home customer dedup 2d", "late 24h", "late 12h",
		"\nhour(time) as hour", "\ncode\nhour(time) as hour\nsum(amount) by place × way over 2d where amount_ratio > 1.5 and code > 5000 as much_here in group \"card\"",
		"\ndistinct(country) by card", "\ncount() by card over 40d before where amount_vs_month > 2 in group \"card\"\ndistinct(country) by card",
		"count() by device over 1h in group", "count() by device over 3h in group")...)
}

// goOnBy makes the world's nodes decide by another spec from here on.
func (w *world) goOnBy(s *spec.Spec) func(*Config) {
	before := w.spec
	w.older = append(w.older, w.bundle)
	w.use(s)
	return func(c *Config) { c.Before = append(c.Before, before) }
}

// ruled returns every decision of the ledger, by its place in the source.
func (w *world) ruled() map[[2]int64]schemas.Decision {
	list := make(map[[2]int64]schemas.Decision)
	for _, value := range w.ledger() {
		var e schemas.Entry
		w.must(schemas.ParseEntry(value, &e))
		if e.Kind == schemas.EntryDecision {
			list[[2]int64{int64(e.Decision.Partition), e.Decision.Offset}] = e.Decision
		}
	}
	return list
}

// TestTheLedgerGoesOnByAnotherSpec changes the spec in the middle of a stream, and
// back: every decision is the one that the spec would have made had it decided from the
// beginning, and the ledger, its history and single decisions of it are proved.
func TestTheLedgerGoesOnByAnotherSpec(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.use(firstSpec(t))
	n := w.payments(briefly(6000, 2400), 3, 2)
	w.runUntil(n/3, func(c *Config) { c.RowsMax = 100 })
	first, third := w.spec, int64(len(w.ruled()))
	accept := w.goOnBy(secondSpec(t))
	w.runUntil(2*n/3, func(c *Config) { accept(c); c.RowsMax = 100 })
	thirds := int64(len(w.ruled()))
	if third == 0 || thirds == third || thirds == n {
		t.Fatalf("the spec changed after %d and %d of %d decisions", third, thirds, n)
	}
	midway := w.audit() // what is not decided yet is lost to it
	if r := midway.Report; r.Different != 0 || len(r.Specs) != 2 {
		t.Fatalf("%+v", r)
	}
	live := midway.State()
	sameState(t, "folded by the second spec", w.foldWhole(), live)
	back := w.goOnBy(first)
	w.runUntil(n, back)
	v := w.verify()
	if len(v.Report.Specs) != 3 || v.Report.Decisions != n {
		t.Fatalf("%+v", v.Report)
	}
	sameState(t, "folded by the first spec", w.foldWhole(), v.State())

	for _, s := range []*spec.Spec{first, secondSpec(t)} {
		alone := newWorld(t, "payments", 2)
		alone.use(s)
		alone.payments(int(n), 3, 2)
		alone.runUntil(n, nil)
		want := alone.ruled()
		var compared int
		for place, d := range w.ruled() {
			x := want[place]
			if d.Spec != schemas.HashPrefix(s.Hash) {
				continue
			}
			compared++
			d.Verdict.Flags, x.Verdict.Flags = d.Verdict.Flags&^schemas.Explored, x.Verdict.Flags&^schemas.Explored
			if d.Verdict != x.Verdict || len(d.Features) != len(x.Features) {
				t.Fatalf("%v: %v with %d features, by %s alone %v with %d", place, d.Verdict, len(d.Features), s.Name, x.Verdict, len(x.Features))
			}
			for i := range d.Features {
				if math.Float32bits(d.Features[i]) != math.Float32bits(x.Features[i]) {
					t.Fatalf("%v: %s is %v, by %s alone %v", place, s.Features[i].Name, d.Features[i], s.Name, x.Features[i])
				}
			}
		}
		if compared == 0 {
			t.Fatalf("%s decided nothing", s.Name)
		}
	}
	w.provedFromHistory(t, n)
}

// foldWhole folds the ledger by the world's spec.
func (w *world) foldWhole() *State {
	_, end := w.ends(w.topics.Decisions, 0)
	return w.foldAll(end)
}

// provedFromHistory verifies the ledger from a history, and recomputes decisions on
// both sides of each change.
func (w *world) provedFromHistory(t *testing.T, n int64) {
	t.Helper()
	batches := w.batches()
	past := w.past(batches)
	v, err := w.verifyPast(past)
	w.must(err)
	if !v.Report.OK() || v.Report.Decisions != n || len(v.Report.Specs) != 3 {
		t.Fatalf("%+v", v.Report)
	}
	r := w.recomputer(past)
	list := scoredAt(t, batches, schemas.Scored)
	for i := 1; i < len(list); i += len(list) / 12 {
		checks, err := r.Decision(w.t.Context(), 0, list[i])
		equal(t, list[i], checks, err)
	}
}

// verifyPast verifies the ledger from a history.
func (w *world) verifyPast(past history.Store) (*Verifier, error) {
	return VerifyHistory(w.t.Context(), past, func(shard int32) *Verifier {
		return NewVerifier(w.spec, features.Options{}, shard, func(hash, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			for _, b := range append(w.older, w.bundle) {
				if b.Hash == hash && b.Spec.Hash == spec {
					return b, w32(w.t, b.Model), nil
				}
			}
			return nil, nil, ErrNoBundle
		})
	}, nil)
}

// TestAnotherSpecIsNotTakenUnasked starts nodes of another spec: they halt at once and
// say what to do; so does one of the spec that was, once the ledger has gone on.
func TestAnotherSpecIsNotTakenUnasked(t *testing.T) {
	w := newWorld(t, "payments", 1)
	n := w.payments(600, 3, 1)
	w.runUntil(n, nil)
	first := w.spec
	halts := func(s *spec.Spec, words string, before ...*spec.Spec) {
		t.Helper()
		w.use(s)
		r := w.start(func(c *Config) { hasty(c); c.Before = before })
		r.until("halts", func(s Status) bool {
			return testutil.ToFloat64(r.node.Metrics.Halted.WithLabelValues("ledger_spec")) == 1 && strings.Contains(s.Reason, words)
		})
		r.stop()
	}
	halts(secondSpec(t), "--spec-before")
	halts(secondSpec(t), "--spec-before", firstSpec(t))
	halts(changedSpec(t, "usd", "base EUR", "base USD"), "the base currency is USD and was EUR", first)
	halts(changedSpec(t, "clear", "field card = $.card secret keep bin", "field card = $.card"), "field card is no secret and was secret keep bin", first)
	w.use(first)
	accept := w.goOnBy(secondSpec(t))
	w.runUntil(n+w.payments(300, 4, 1), accept)
	w.verify()
	// The change is in the ledger: nobody needs to be asked again.
	w.dir = t.TempDir()
	w.runUntil(n+300+w.payments(300, 5, 1), nil)
	halts(first, "--spec-before")
}

// TestAStandbyOfAnotherSpecTakesOver has a node of the next spec follow the one that
// decides, and go on when that one ends; a standby of the spec before halts then.
func TestAStandbyOfAnotherSpecTakesOver(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1000, 3, 2)
	owner := w.start(nil)
	owner.decided(n)
	w.dir = t.TempDir()
	old := w.start(nil)
	old.until("stands by", func(s Status) bool { return s.Ready && s.Counts.Decisions() == n })
	accept := w.goOnBy(secondSpec(t))
	w.dir = t.TempDir()
	next := w.start(accept)
	next.until("stands by", func(s Status) bool { return s.Ready && s.Counts.Decisions() == n })
	n += w.payments(500, 4, 2)
	next.until("follows", func(s Status) bool { return s.Ready && s.Counts.Decisions() == n })
	old.stop()
	owner.stop()
	next.until("takes over", func(s Status) bool { return s.Owner })
	next.decided(n + w.payments(500, 5, 2))
	next.stop()
	if r := w.verify().Report; len(r.Specs) != 2 {
		t.Fatalf("%+v", r)
	}
}

// TestALedgerWithoutTheTextOfItsSpec has one begun by an earlier version.
func TestALedgerWithoutTheTextOfItsSpec(t *testing.T) {
	first, second := firstSpec(t), secondSpec(t, "\nfield ip = $.ip", "")
	d := schemas.Decision{Place: schemas.Place{Prev: -1}, Tx: schemas.Transaction{Time: 1e12, Amount: 100, AmountBase: 100}, Spec: schemas.HashPrefix(first.Hash),
		OwnText: [][]byte{[]byte("T1"), []byte("web")}, Own: []float64{5411}}
	d.Text[schemas.ID], d.Text[schemas.Currency], d.Text[schemas.Customer], d.Text[schemas.IP] = []byte("a"), []byte("EUR"), []byte("c"), []byte("1.1.1.1")
	value := schemas.AppendDecision(nil, &d)
	fold := func(f *Folder) error {
		return f.Fold(NewState(second, features.Options{}), &schemas.Facts{Spec: first.Hash, Records: 1}, 0, [][]byte{value})
	}
	var f Folder
	if err := fold(&f); !errors.Is(err, ErrOtherSpec) || !strings.Contains(err.Error(), "does not hold its text") {
		t.Fatalf("got %v", err)
	}
	f.past.add(first)
	if err := fold(&f); err != nil {
		t.Fatal(err)
	}
	// What has no rate has none by another spec either.
	foreign, s := d, NewState(second, features.Options{})
	foreign.Text[schemas.Currency] = []byte("USD")
	foreign.Outcome, foreign.Reason = schemas.Unscored, schemas.NoRate
	if err := f.Fold(s, &schemas.Facts{Spec: first.Hash, Records: 1}, 0, [][]byte{schemas.AppendDecision(nil, &foreign)}); err != nil || s.Engine.Entities() != 0 {
		t.Errorf("%d entities, %v", s.Engine.Entities(), err)
	}
	// What of the record is carried over is what both read, by its name.
	c, err := spec.NewSuccession(first, second)
	if err != nil {
		t.Fatal(err)
	}
	var rows schemas.Batch
	rows.Reset(len(second.Input.OwnText), len(second.Input.OwnNumber))
	c.Add(&rows, &d)
	var got schemas.Decision
	rows.Decision(0, &got)
	if own := bytes.Join(got.OwnText, []byte(",")); string(own) != "web,,T1" || len(got.Text[schemas.IP]) > 0 || string(got.Text[schemas.Customer]) != "c" {
		t.Errorf("texts are %q, ip %q, customer %q", own, got.Text[schemas.IP], got.Text[schemas.Customer])
	}
	if len(got.Own) != 3 || !math.IsNaN(got.Own[0]) || got.Own[1] != 5411 || !math.IsNaN(got.Own[2]) {
		t.Errorf("numbers are %v", got.Own)
	}
}
