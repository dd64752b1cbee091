package alerts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestOnlyTheOwnerDecides: what an analyst else may do with an alert that somebody works
// on, and what a supervisor.
func TestOnlyTheOwnerDecides(t *testing.T) {
	f := func(script string) {
		t.Helper()
		play(t, script)
	}
	for _, kind := range []string{"claimed", "released", "escalated", "snoozed", "closed_fraud", "closed_genuine"} {
		f("1 ann/analyst claimed -> claimed, ann\n 2 bob/analyst " + kind + " -> somebody else works on\n 3 bob/analyst " + kind + " !bob -> somebody else works on")
	}
	f(`1 ann/analyst claimed      -> claimed, ann
	   2 bob/analyst noted        -> claimed, ann
	   3 bob/analyst undone       -> claimed, ann
	   4 ann/analyst closed_fraud -> fraud, by ann, label fraud 1
	   5 ann/analyst undone       -> claimed, ann, label none 2
	   6 bob/analyst undone       -> only its author
	   7 ann/analyst released     -> open
	   8 bob/analyst closed_genuine -> genuine, by bob, label genuine 3`)
	// A supervisor may, and says whose it is.
	f(`1 ann/analyst claimed         -> claimed, ann
	   2 sue/supervisor closed_fraud -> fraud, by sue, label fraud 1
	   3 sue/supervisor undone       -> claimed, ann, label none 2
	   4 sue/supervisor assigned     -> claimed, bob
	   5 ann/analyst closed_genuine  -> somebody else works on
	   6 bob/analyst closed_genuine  -> genuine, by bob, label genuine 3`)
	f(`1 bob/analyst assigned       -> there is nothing
	   2 ann/analyst closed_fraud   -> fraud, by ann, label fraud 1
	   3 bob/analyst settled_genuine -> there is nothing
	   4 sue/supervisor settled_genuine -> genuine, by sue, settled, label genuine 2`)
	// What was handed on is nobody's.
	f(`1 ann/analyst claimed        -> claimed, ann
	   2 ann/analyst escalated      -> open, escalated
	   3 bob/analyst closed_fraud   -> proposed_fraud, escalated, by bob
	   4 ann/analyst closed_fraud   -> fraud, escalated, by ann, label fraud 1`)
	f(`1 ann/analyst snoozed -> snoozed, ann
	   2 bob/analyst claimed -> claimed, bob
	   3 ann/analyst claimed -> somebody else works on`)
}

// TestOldRecordsCountAsTheyDid: of before an action said as what its author acts. The
// label that was published then is what the fold says today.
func TestOldRecordsCountAsTheyDid(t *testing.T) {
	play(t, `1 ann claimed        -> claimed, ann
	   2 bob closed_fraud     -> fraud, by bob, label fraud 1
	   3 cid settled_genuine  -> genuine, by cid, settled, label genuine 2`)
	// Old records behind new ones: a desk that is not replaced yet.
	play(t, `1 ann/analyst claimed      -> claimed, ann
	   2 bob closed_genuine          -> genuine, by bob, label genuine 1`)
}

// holder is whose an alert is, kept apart from State: who has it now, and had it before
// the last action.
type holder struct{ now, before string }

// counts takes an action in that counted.
func (h *holder) counts(d *schemas.Disposition) {
	was := h.now
	switch d.Kind {
	case schemas.Noted, schemas.ReviewedFraud, schemas.ReviewedGenuine:
	case schemas.Undone:
		h.now = h.before
	case schemas.Claimed:
		h.now = string(d.By)
	case schemas.Assigned:
		h.now = string(d.To)
	default:
		h.now = ""
	}
	h.before = was
}

// TestOwnersAtRandom plays random actions of analysts, supervisors and old desks, some
// of which were sent before their author saw what others did, and holds each to who has
// the alert.
func TestOwnersAtRandom(t *testing.T) {
	var counted, owned, overruled int
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		var s State
		var h holder
		seen := map[string]string{} // by each, which action they saw last
		who := []string{"ann", "bob", "sue"}
		for i := range 40 {
			by := who[r.IntN(len(who))]
			if r.IntN(3) > 0 {
				seen[by] = s.Last
			}
			d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte(by), Kind: schemas.DispositionKind(r.IntN(int(schemas.NumDispositionKinds))),
				At: int64(i) * 2000, Previous: []byte(seen[by]), Until: 1, To: []byte(who[r.IntN(len(who))]), As: schemas.Standing(r.IntN(int(schemas.NumStandings)))}
			others := h.now != "" && h.now != by
			free := d.Kind == schemas.Noted || d.Kind == schemas.Undone || d.Kind == schemas.Assigned || d.Kind >= schemas.SettledFraud
			next, _, _, err := s.Apply(&d)
			if want := others && d.As == schemas.AsAnalyst && !free; errors.Is(err, ErrOwned) != want {
				t.Fatalf("seed %d, action %d: %v by %s as %q, where %q works: %v", seed, i, d.Kind, by, d.As, h.now, err)
			}
			switch {
			case errors.Is(err, ErrOwned):
				owned++
			case err == nil:
				if counted++; others && d.Kind >= schemas.ClosedFraud && d.Kind <= schemas.ClosedGenuine {
					overruled++
				}
				h.counts(&d)
			}
			if s = next; s.Status == Claimed && s.Owner != h.now || s.Status != Claimed && s.Status != Snoozed && h.now != "" {
				t.Fatalf("seed %d, action %d: %v by %s: %+v, and %q has it", seed, i, d.Kind, by, s, h.now)
			}
		}
	}
	if min(counted, owned, overruled) < 500 {
		t.Errorf("%d counted, %d owned, %d overruled: too few to tell", counted, owned, overruled)
	}
}
