package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Result is what came of comparing something recorded with what it is recomputed as.
type Result uint8

// The results.
const (
	Equal Result = iota
	Different
	NotCompared
)

// Check is one comparison of a recorded decision. What names it, Words say what was
// compared with what, where it differs, or why it was not compared.
type Check struct {
	What   string
	Result Result
	Words  string
}

// Past is the part of a history that recomputing needs.
type Past interface {
	history.Reader
	history.Lookup
	history.Neighbourhood
}

// Recomputer recomputes single decisions from the history.
//
// A vector is a function of the events that share an entity with its transaction and
// lie in the windows of that entity, and of the labels and reversals of these, in the
// ledger's order; what the others were decided as is recorded with them. So it is
// computed anew by the engine from those alone, and events more than these change
// nothing. There is one exception: a label reaches an event by way of its home entity,
// and does not where that one keeps it no more, because of later events of its own.
// Hence a vector that comes out otherwise counts as different only where the fold of
// the whole ledger says so too.
type Recomputer struct {
	Past     Past
	Spec     *spec.Spec // the one that decides now; of a decision by another that of its bundle is taken
	Features features.Options
	// Bundle finds a bundle for a spec, and a scorer that holds its model, by what
	// decisions call it.
	Bundle func(ctx context.Context, prefix uint64, spec [32]byte) (*scoring.Bundle, scoring.Scorer, error)
	// Ledger, if set, reads a record where it was written, in the topic.
	Ledger func(ctx context.Context, shard int32, offset int64) ([]byte, error)
	// AroundMax is the most decisions that a vector is computed from, 200,000 if it is
	// 0; WholeMax up to which ledger offset the whole ledger is folded, 2,000,000 if it
	// is 0. Beyond them nothing is compared, and the check says so.
	AroundMax int
	WholeMax  int64
}

// A retrial is one decision that is recomputed.
type retrial struct {
	*Recomputer
	shard    int32
	record   history.Record
	entry    schemas.Entry
	spec     *spec.Spec
	serves   [numSlots]serving
	noBundle error // why a bundle that scored it is not at hand
	checks   []Check
}

// Decision recomputes the decision at a place of the ledger. An error means that there
// is nothing to compare with: it wraps [history.ErrNoRecord], or the history is away.
func (r *Recomputer) Decision(ctx context.Context, shard int32, offset int64) ([]Check, error) {
	t := retrial{Recomputer: r, shard: shard, spec: r.Spec}
	var err error
	if t.record, err = r.Past.Record(ctx, shard, offset); err != nil {
		return nil, err
	}
	if err := schemas.ParseEntry(t.record.Value, &t.entry); err != nil || t.entry.Kind != schemas.EntryDecision {
		return nil, fmt.Errorf("ledger offset %d: %w: it is no decision", offset, history.ErrNoRecord)
	}
	if err := t.ledger(ctx); err != nil {
		return nil, err
	}
	t.facts()
	if err := t.bundles(ctx); err != nil {
		return nil, err
	}
	t.score()
	return t.checks, t.features(ctx)
}

func (t *retrial) note(what string, r Result, format string, a ...any) {
	t.checks = append(t.checks, Check{what, r, fmt.Sprintf(format, a...)})
}

// ledger holds the history's record against the topic's.
func (t *retrial) ledger(ctx context.Context) error {
	if t.Ledger == nil {
		return nil
	}
	const what = "the history's record, against the ledger's"
	value, err := t.Ledger(ctx, t.shard, t.record.Offset)
	var e schemas.Entry
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		t.note(what, NotCompared, "the topic does not hold it any more, or could not be read: %v", err)
	case bytes.Equal(value, t.record.Value):
		t.note(what, Equal, "the same %d bytes", len(value))
	case schemas.ParseEntry(value, &e) != nil || e.Kind != schemas.EntryDecision:
		t.note(what, Different, "the topic has no decision there")
	default:
		t.note(what, Different, "%s", unlike(t.spec, &t.entry.Decision, &e.Decision))
	}
	return nil
}

// unlike says in what a decision of the history differs from the ledger's. What texts
// hold may be anybody's business: their names are enough.
func unlike(s *spec.Spec, history, ledger *schemas.Decision) string {
	for f := range schemas.NumText {
		if !bytes.Equal(history.Text[f], ledger.Text[f]) {
			return fmt.Sprintf("%v: the history has another than the ledger", f)
		}
	}
	return strings.NewReplacer("recorded ", "the history has ", "recomputed ", "the ledger ").Replace(difference(s, history, ledger))
}

// facts holds the record against the facts of its batch, and against itself.
func (t *retrial) facts() {
	d, f := &t.entry.Decision, &t.record.Facts
	champion := schemas.HashPrefix(f.Bundle)
	const what = "what the record says of itself"
	switch {
	case d.Spec != schemas.HashPrefix(f.Spec):
		t.note(what, Different, "spec: the record says %016x, its batch %016x", d.Spec, schemas.HashPrefix(f.Spec))
	case d.Engine != schemas.HashPrefix(f.Engine):
		t.note(what, Different, "engine: the record says %016x, its batch %016x", d.Engine, schemas.HashPrefix(f.Engine))
	case d.Bundle != 0 && champion != d.Bundle && champion != d.Challenger:
		t.note(what, Different, "bundle: the record says %016x, its batch %016x", d.Bundle, champion)
	case d.Outcome != schemas.Rejected && string(d.Text[schemas.Currency]) == t.spec.Base && d.Tx.Amount != d.Tx.AmountBase:
		t.note(what, Different, "amount: the record says %d, and %d in the base currency, which is its own", d.Tx.Amount, d.Tx.AmountBase)
	default:
		t.note(what, Equal, "spec, engine and bundle are those of its batch; the amount is the one in its currency")
	}
}

// bundles opens the bundles that scored the decision, and takes the spec that decided
// it from there where it is another than the one of now.
func (t *retrial) bundles(ctx context.Context) error {
	d := &t.entry.Decision
	for k, prefix := range map[slot]uint64{champion: d.Bundle, challenger: d.Challenger} {
		if prefix == 0 {
			continue
		}
		b, s, err := t.Bundle(ctx, prefix, t.record.Facts.Spec)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.noBundle = fmt.Errorf("bundle %016x: %w", prefix, err)
			continue
		}
		t.serves[k] = serving{bundle: b, scorer: s}
		if t.spec.Hash != t.record.Facts.Spec && b.Spec.Hash == t.record.Facts.Spec {
			if own, err := spec.Parse(b.Spec.Name, b.Spec.Text); err == nil && own.Hash == b.Spec.Hash {
				t.spec = own
			}
		}
	}
	return nil
}

// score computes the score anew from the recorded vector.
func (t *retrial) score() {
	d := &t.entry.Decision
	const what = "the score, from the recorded vector"
	by := &t.serves[champion]
	switch {
	case d.Bundle == 0:
		t.note(what, NotCompared, "no model scored it: %s", d.Outcome)
		return
	case by.bundle == nil:
		t.note(what, NotCompared, "%v", t.noBundle)
		return
	case len(d.Features) != len(by.bundle.Features):
		t.note(what, Different, "number of features: the record has %d, the bundle %d", len(d.Features), len(by.bundle.Features))
		return
	}
	again := *d
	x, out := scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, make([]float32, 1)
	if err := by.scorer.Score(x, out); err != nil {
		t.note(what, NotCompared, "it could not be scored: %v", err)
		return
	}
	var c claims
	c.add(d)
	score, arithmetic := c.of(by.bundle, 0, d.Features, schemas.Float16, out[0])
	r := by.bundle.Decide(score, d.Tx.AmountBase, d.Text[schemas.ID])
	again.Score, again.Prob, again.Rank, again.Threshold, again.Action, again.ReviewProb = score, r.Prob, r.Rank, r.Threshold, r.Action, r.ReviewProb
	again.Arithmetic = d.Arithmetic&^schemas.Float16 | arithmetic
	if equal := bytes.Equal(schemas.AppendDecision(nil, d), schemas.AppendDecision(nil, &again)); equal && arithmetic != schemas.Float32 {
		t.note(what, Equal, "bundle %x gives %g in float32; the recorded %g is of float16 arithmetic, which allows %.1g here, and probability, rank and action follow from it to the bit",
			by.bundle.Hash, out[0], score, c.bounds[by.bundle].Of(d.Features))
		return
	} else if equal {
		t.note(what, Equal, "bundle %x gives the recorded bits of score, probability and rank, and the same action", by.bundle.Hash)
		return
	}
	t.note(what, Different, "%s", difference(t.spec, d, &again))
}

// features computes the vector and all that follows anew.
func (t *retrial) features(ctx context.Context) error {
	d := &t.entry.Decision
	const what = "the features, replayed"
	switch {
	case d.Outcome == schemas.Rejected:
		t.note(what, NotCompared, "the record could not be read, so nothing was computed")
	case d.Engine != schemas.HashPrefix(EngineHash):
		t.note(what, NotCompared, "another version of the engine decided it (%016x): weir verify of that version recomputes it", d.Engine)
	case t.spec.Hash != t.record.Facts.Spec:
		t.note(what, NotCompared, "it was decided by the spec %.8x, which is not at hand", t.record.Facts.Spec)
	case d.Flags&schemas.Approximate != 0:
		t.note(what, NotCompared, "one of its entities had more events than are kept apart, so its features are approximate")
	default:
		return t.replay(ctx, what)
	}
	return nil
}

// replay folds what is around the decision, and where that does not give the recorded
// bits, the whole ledger before it.
func (t *retrial) replay(ctx context.Context, what string) error {
	q, names, ok := t.around()
	why := "its spec keeps behaviour by fields that the history is not searched by"
	if len(t.record.Facts.Shards) > 0 {
		ok, why = false, "what it was computed from is in the ledgers of all shards"
	}
	if ok {
		list, err := t.Past.Around(ctx, q)
		if err != nil && !errors.Is(err, history.ErrMany) {
			return t.late(what, err)
		}
		if why = fmt.Sprintf("over %d decisions have to do with it", q.Limit); err == nil {
			s := NewState(t.spec, t.Features)
			// What another spec decided has to be decided once more, which takes the past
			// of each.
			err := foldSome(s, list)
			if why = "another spec decided some that have to do with it"; err == nil {
				why = t.differs(s)
			} else if !errors.Is(err, ErrOtherSpec) {
				return err
			}
			if why == "" {
				t.note(what, Equal, "%d features and the decision have the recorded bits, from the %d records of the ledger before it that concern the same %s%s",
					len(t.entry.Decision.Features), len(list), strings.Join(names, ", "), t.without())
				return nil
			}
		}
	}
	whole := t.WholeMax
	if whole == 0 {
		whole = 2_000_000
	}
	if t.record.Offset > whole {
		t.note(what, NotCompared, "%s, and the %d records of the ledger before it are too many to fold here: weir verify does", why, t.record.Offset)
		return nil
	}
	s, f := NewState(t.spec, t.Features), Folder{}
	s.Others = beside(t.shard, int32(len(t.record.Facts.Shards)+1))
	f.past.add(t.Spec)
	if err := foldHistory(ctx, t.Past, t.shard, t.record.Offset, &f, s); err != nil {
		return t.late(what, err)
	}
	if diff := t.differs(s); diff != "" {
		t.note(what, Different, "%s; folded was the whole ledger before it", diff)
		return nil
	}
	t.note(what, Equal, "%d features and the decision have the recorded bits, from the whole ledger before it, %d records%s", len(t.entry.Decision.Features), t.record.Offset, t.without())
	return nil
}

// late turns the end of the time, and the want of a spec, into a check; other errors
// are returned.
func (t *retrial) late(what string, err error) error {
	if errors.Is(err, ErrOtherSpec) {
		t.note(what, NotCompared, "%v", err)
		return nil
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	t.note(what, NotCompared, "there was not enough time to read the ledger before it: weir verify reads all of it")
	return nil
}

func (t *retrial) without() string {
	if t.noBundle == nil {
		return ""
	}
	return "; its score was not computed, for want of a bundle"
}

// around is the question for what a vector can depend on, and names of the entities;
// false where the history cannot be asked.
func (t *retrial) around() (q history.AroundQuery, names []string, ok bool) {
	d, s := &t.entry.Decision, t.spec
	q = history.AroundQuery{Shard: t.shard, Before: t.record.Offset, Limit: t.AroundMax, Rates: string(d.Text[schemas.Currency]) != s.Base}
	if q.Limit == 0 {
		q.Limit = 200_000
	}
	for k := range s.Entities {
		l, present := history.Leg{From: d.Tx.Time - reach(s, k) + 1}, true
		for _, f := range s.Entities[k].Keys {
			if f.Kind != spec.TextRef || !slices.Contains(history.EntityFields, f.Text) {
				continue // those that differ in it come too, and the engine tells them apart
			}
			value := d.Text[f.Text]
			if f.Text == schemas.Card && len(d.PrevCard) > 0 {
				value = d.PrevCard
			}
			present = present && len(value) > 0
			l.Fields, l.Values = append(l.Fields, f.Text), append(l.Values, string(value))
		}
		switch {
		case !present: // such an entity has no behaviour
		case len(l.Fields) == 0:
			return q, nil, false
		default:
			q.Legs, names = append(q.Legs, l), append(names, s.Entities[k].Name)
		}
	}
	return q, names, true
}

// reach is how far an entity's windows go back; all of time where one is over all.
func reach(s *spec.Spec, entity int) int64 {
	n := int64(0)
	if entity == s.Home {
		n = s.DedupWindow + 1
	}
	for i := range s.Aggregates {
		a := &s.Aggregates[i]
		if a.Entity == entity && a.Window == 0 {
			return 1 << 50
		}
		if a.Entity == entity {
			n = max(n, a.Window+a.Delay)
		}
	}
	return n
}

// foldSome folds records of a ledger of which others are left out.
func foldSome(s *State, records []history.Record) error {
	var f Folder
	f.begin(s)
	for i := range records {
		r := &records[i]
		if err := schemas.ParseEntry(r.Value, &f.entry); err != nil {
			return fmt.Errorf("parse ledger record %d: %w", r.Offset, err)
		}
		var err error
		if f.entry.Kind == schemas.EntryDecision {
			err = f.add(s, &f.entry.Decision)
		} else {
			f.flush(s)
			err = s.apply(&f.entry)
		}
		if err != nil {
			return fmt.Errorf("fold ledger record %d: %w", r.Offset, err)
		}
	}
	f.flush(s)
	return nil
}

// differs decides the transaction anew, in a state, and says in what the record
// differs from that; empty for in nothing. Where a bundle is not at hand it compares
// what was computed before it came in.
func (t *retrial) differs(s *State) string {
	d := &t.entry.Decision
	var w work
	w.reset(len(s.Spec.Input.OwnText), len(s.Spec.Input.OwnNumber))
	bare := *d
	bare.Verdict = schemas.Verdict{}
	w.rows.AddDecision(&bare)
	w.order = append(w.order, run{class: Transactions, from: 0, to: 1})
	by := Decider{serves: t.serves, tenant: d.Tenant, engine: schemas.HashPrefix(EngineHash), claims: &claims{}}
	by.claims.add(d)
	if d.Outcome == schemas.Degraded && d.Reason == schemas.ModelFailed {
		by.serves[champion].scorer = failed{}
	}
	var out output
	by.step(s, &w, &out)
	var e schemas.Entry
	if err := schemas.ParseEntry(out.record(0), &e); err != nil {
		panic("BUG: " + err.Error())
	}
	again := &e.Decision
	if t.noBundle != nil && again.Outcome <= schemas.Degraded {
		vector, base := again.Features, again.Tx.AmountBase
		*again = *d
		again.Features, again.Tx.AmountBase = vector, base
	}
	if bytes.Equal(schemas.AppendDecision(nil, again), t.record.Value) {
		return ""
	}
	return difference(t.spec, d, again)
}
