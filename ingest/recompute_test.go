package ingest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// past writes batches into a new history.
func (w *world) past(shards ...[]ledgerBatch) history.Store {
	w.t.Helper()
	s, err := history.Open(w.t.Context(), filepath.Join(w.t.TempDir(), "history.db"), history.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	for shard, batches := range shards {
		var b history.Block
		b.Reset(history.Ledger, int32(shard), w.topics.Transactions, history.Position{})
		for i := range batches {
			b.AddBatch(batches[i].base, batches[i].timestamp, &batches[i].facts, batches[i].values)
		}
		if err := s.Write(w.t.Context(), &b); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

// recomputer recomputes what the world decided.
func (w *world) recomputer(s Past) *Recomputer {
	return &Recomputer{Past: s, Spec: w.spec, Bundle: func(_ context.Context, prefix uint64, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
		for _, b := range append(w.older, w.bundle, w.shadow) {
			if b != nil && b.Prefix() == prefix && b.Spec.Hash == spec {
				return b, w32(w.t, b.Model), nil
			}
		}
		return nil, nil, ErrNoBundle
	}}
}

// scoredAt returns the places of the decisions of some outcomes.
func scoredAt(t *testing.T, batches []ledgerBatch, outcomes ...schemas.Outcome) (list []int64) {
	t.Helper()
	var e schemas.Entry
	for _, b := range batches {
		for i, v := range b.values {
			if err := schemas.ParseEntry(v, &e); err != nil {
				t.Fatal(err)
			}
			if e.Kind == schemas.EntryDecision && slices.Contains(outcomes, e.Decision.Outcome) {
				list = append(list, b.base+int64(i))
			}
		}
	}
	return list
}

// equal wants each check to have found no difference, and returns what they say.
func equal(t *testing.T, offset int64, checks []Check, err error) (words string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.Result != Equal && !(c.Result == NotCompared && strings.Contains(c.Words, "no model scored it")) {
			t.Errorf("ledger offset %d, %s: %v, %s", offset, c.What, c.Result, c.Words)
		}
		words += c.Words + "\n"
	}
	return words
}

// TestDecisionsAreRecomputedFromWhatIsAroundThem recomputes decisions drawn at random,
// of every outcome, from the events around them alone: the whole ledger is out of reach.
func TestDecisionsAreRecomputedFromWhatIsAroundThem(t *testing.T) {
	for _, home := range []string{"customer", "card"} {
		w := newWorld(t, "payments", 2)
		own, err := spec.Parse("payments", bytes.Replace(spec.BuiltinText("payments"), []byte("home customer"), []byte("home "+home), 1))
		if err != nil {
			t.Fatal(err)
		}
		w.use(own)
		w.challenge()
		w.runUntil(w.payments(briefly(2000, 800), 5, 2), nil)
		batches := w.batches()
		r := w.recomputer(w.past(batches))
		r.WholeMax = -1
		list := scoredAt(t, batches, schemas.Scored, schemas.Degraded, schemas.Unscored, schemas.Duplicate)
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(list))[:briefly(80, 30)] {
			checks, err := r.Decision(t.Context(), 0, list[i])
			if words := equal(t, list[i], checks, err); !strings.Contains(words, "that concern the same ") {
				t.Fatal(words)
			}
		}
	}
}

// TestDecisionsAreRecomputedFromTheWholeLedger does so where what is around them is
// too much.
func TestDecisionsAreRecomputedFromTheWholeLedger(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.runUntil(w.payments(400, 6, 2), nil)
	batches := w.batches()
	r := w.recomputer(w.past(batches))
	list := scoredAt(t, batches, schemas.Scored)
	last := list[len(list)-1]
	r.AroundMax = 1
	checks, err := r.Decision(t.Context(), 0, last)
	if words := equal(t, last, checks, err); !strings.Contains(words, "from the whole ledger before it") {
		t.Error(words)
	}
	r.WholeMax = last - 1
	f := func(want string) {
		t.Helper()
		checks, err := r.Decision(t.Context(), 0, last)
		if err != nil {
			t.Fatal(err)
		}
		if c := checks[len(checks)-1]; c.Result != NotCompared || !strings.Contains(c.Words, want) {
			t.Errorf("%+v, want %q", c, want)
		}
	}
	f("over 1 decisions have to do with it")
	r.WholeMax = last
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := r.Decision(ctx, 0, last); err == nil {
		t.Error("recomputed in no time")
	}
	r.AroundMax, r.Bundle = 0, func(context.Context, uint64, [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
		return nil, nil, ErrNoBundle
	}
	if checks, err = r.Decision(t.Context(), 0, last); err != nil || checks[1].Result != NotCompared || checks[2].Result != Equal || !strings.Contains(checks[2].Words, "for want of a bundle") {
		t.Errorf("without its bundle: %+v, %v", checks, err)
	}
}

// TestATamperedRecordIsFound changes one thing of a recorded decision, and sees that
// the receipt names it.
func TestATamperedRecordIsFound(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.challenge()
	w.runUntil(w.payments(500, 7, 2), nil)
	good := w.batches()
	past := w.past(good)
	re := w.recomputer(past)
	const score, features, ledger, facts = "the score", "the features", "the history's record", "what the record says"
	for _, c := range []struct {
		name  string
		forge func(d *schemas.Decision)
		want  map[string]string // of a check, what it says
	}{
		{"a bit of the vector", func(d *schemas.Decision) { d.Features[20] = flip(d.Features[20]) },
			map[string]string{features: "feature " + w.spec.Features[20].Name + ": ", ledger: "feature " + w.spec.Features[20].Name}},
		{"a bit of the score", func(d *schemas.Decision) { d.Score = flip(d.Score) },
			map[string]string{score: "score: recorded ", features: "score: recorded ", ledger: "score: the history has "}},
		{"the amount, in euros", func(d *schemas.Decision) { d.Tx.Amount++ }, map[string]string{facts: "amount: ", ledger: "transaction: "}},
		{"the amount, in another currency", func(d *schemas.Decision) { d.Tx.Amount++ }, map[string]string{features: "feature amount: ", ledger: "transaction: "}},
		{"the amount everywhere", func(d *schemas.Decision) { d.Tx.Amount, d.Tx.AmountBase = d.Tx.Amount+1000, d.Tx.AmountBase+1000 }, map[string]string{features: "feature amount"}},
		{"the action", func(d *schemas.Decision) { d.Action = (d.Action + 1) % schemas.NumActions }, map[string]string{score: "action: ", features: "action: "}},
		{"the threshold", func(d *schemas.Decision) { d.Threshold = flip(d.Threshold) }, map[string]string{score: "threshold: "}},
		{"the bundle", func(d *schemas.Decision) { d.Bundle, d.Challenger = d.Challenger, d.Bundle }, map[string]string{score: "score: "}},
		{"the spec", func(d *schemas.Decision) { d.Spec ^= 1 }, map[string]string{facts: "spec: "}},
		{"the challenger's score", func(d *schemas.Decision) { d.ChallengerScore = flip(d.ChallengerScore) }, map[string]string{features: "challenger's score: "}},
		{"the outcome", func(d *schemas.Decision) {
			d.Verdict = schemas.Verdict{Outcome: schemas.Degraded, Reason: schemas.NoModel}
		}, map[string]string{features: "outcome: "}},
		{"the time", func(d *schemas.Decision) { d.Tx.Time -= 5 * 3_600_000 }, map[string]string{features: "feature hour: ", ledger: "transaction: "}},
		{"an address", func(d *schemas.Decision) { d.Text[schemas.EntryMode] = []byte("moon") }, map[string]string{ledger: "entry_mode: the history has another than the ledger"}},
	} {
		f := &forger{t: t, batches: slices.Clone(good)}
		f.aimAt(func(d *schemas.Decision) bool {
			return (string(d.Text[schemas.Currency]) == w.spec.Base) != strings.Contains(c.name, "another currency")
		})
		f.batches[f.k].values = slices.Clone(f.batches[f.k].values)
		offset := f.middle().base + int64(f.i)
		re.Past, re.Ledger = past, func(context.Context, int32, int64) ([]byte, error) { return f.middle().values[f.i], nil }
		checks, err := re.Decision(t.Context(), 0, offset)
		equal(t, offset, checks, err)
		sound := f.middle().values[f.i]
		f.decision(c.forge)
		re.Past = forgedPast{past, f.middle().values[f.i]}
		re.Ledger = func(context.Context, int32, int64) ([]byte, error) { return sound, nil }
		if checks, err = re.Decision(t.Context(), 0, offset); err != nil || len(checks) != 4 {
			t.Fatalf("%s: %+v, %v", c.name, checks, err)
		}
		for what, words := range c.want {
			if !slices.ContainsFunc(checks, func(x Check) bool {
				return strings.HasPrefix(x.What, what) && x.Result == Different && strings.Contains(x.Words, words)
			}) {
				t.Errorf("%s is not found by %s: %+v", c.name, what, checks)
			}
		}
	}
}

// forgedPast is a history that has one record otherwise.
type forgedPast struct {
	Past
	value []byte
}

// Record implements [history.Lookup].
func (p forgedPast) Record(ctx context.Context, shard int32, offset int64) (history.Record, error) {
	r, err := p.Past.Record(ctx, shard, offset)
	r.Value = p.value
	return r, err
}

// aimAt finds a scored decision behind the middle.
func (f *forger) aimAt(wanted func(d *schemas.Decision) bool) {
	for f.k = len(f.batches) / 2; f.k < len(f.batches); f.k++ {
		for f.i = range f.batches[f.k].values {
			if err := schemas.ParseEntry(f.batches[f.k].values[f.i], &f.entry); err != nil {
				f.t.Fatal(err)
			}
			if d := &f.entry.Decision; f.entry.Kind == schemas.EntryDecision && d.Outcome == schemas.Scored && wanted(d) {
				return
			}
		}
	}
	f.t.Fatal("no such decision")
}

// TestReach: how far a vector looks back.
func TestReach(t *testing.T) {
	s, err := spec.Parse("x", []byte("spec x\nbase EUR\nfield id = $.id\nfield time = $.t as rfc3339\nfield amount = $.a decimal\nfield card = $.c\nfield merchant = $.m\nfield device = $.d\n"+
		"home card dedup 7d\namount\ncount() by card over 1d\nfraud_count() by merchant over 3d delay 2d\nfirst_seen() by device\nfallback review when amount > 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	const day = 86_400_000
	for k, want := range map[string]int64{"card": 7*day + 1, "merchant": 5 * day, "device": 1 << 50} {
		i := slices.IndexFunc(s.Entities, func(e spec.Entity) bool { return e.Name == k })
		if got := reach(s, i); got != want {
			t.Errorf("%s: %d, want %d", k, got, want)
		}
	}
}
