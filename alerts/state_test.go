package alerts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// play plays a script: a line is at which second, who, what, and what comes of it;
// behind ! stands whose action is named as the last one, where it is not the last, and
// behind the / of a name as what they act.
func play(t *testing.T, script string) {
	t.Helper()
	var s State
	ids := make(map[string]string) // of the last action of each analyst
	for i, line := range strings.Split(strings.TrimSpace(script), "\n") {
		does, want, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		var who, what string
		var at int64
		if _, err := fmt.Sscan(does, &at, &who, &what); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		who, as, _ := strings.Cut(who, "/")
		standing, sound := schemas.ParseStanding(as)
		kind, ok := schemas.ParseDispositionKind(what)
		if !ok || !sound {
			t.Fatalf("%q: no such action", line)
		}
		previous := s.Last
		if _, of, ok := strings.Cut(does, "!"); ok {
			previous = ids[of]
		}
		d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte(who), Kind: kind, At: at * 1000, Previous: []byte(previous), Until: 99_000, To: []byte("bob"), As: standing}
		next, verdict, label, err := s.Apply(&d)
		if got := told(next, verdict, label, err); !strings.HasPrefix(got, want) || want == "" {
			t.Errorf("%q: got %q", line, got)
		}
		if err == nil {
			ids[who] = string(d.ID)
		}
		s = next
	}
}

// told is what comes of an action, in words.
func told(s State, verdict schemas.LabelVerdict, label bool, err error) string {
	for _, e := range []error{ErrStale, ErrOwned, ErrClosed, ErrNothing, ErrSameEyes, ErrNoUndo} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	text := s.Status.String()
	for _, part := range []struct {
		is   bool
		text string
	}{{s.Escalated, "escalated"}, {s.Owner != "", s.Owner}, {s.By != "", "by " + s.By}, {s.Review.By != "", "seen by " + s.Review.By},
		{s.Disputed(), "disputed"}, {s.Settled, "settled"}, {label, fmt.Sprintf("label %v %d", verdict, s.Labels)}} {
		if part.is {
			text += ", " + part.text
		}
	}
	return text
}

func TestStates(t *testing.T) {
	f := func(script string) {
		t.Helper()
		play(t, script)
	}
	f(`1 ann claimed      -> claimed, ann
	   2 ann noted        -> claimed, ann
	   3 ann closed_fraud -> fraud, by ann, label fraud 1
	   4 bob claimed      -> the alert is closed
	   5 bob noted        -> fraud, by ann
	   6 ann undone       -> only its author`)
	f(`1 ann closed_fraud   -> fraud, by ann, label fraud 1
	   11 ann undone        -> open, label none 2
	   12 ann undone        -> only its author
	   13 ann closed_genuine -> genuine, by ann, label genuine 3`)
	f(`1 ann closed_fraud -> fraud, by ann, label fraud 1
	   12 ann undone      -> only its author`)
	f(`1 ann claimed -> claimed, ann
	   2 bob undone  -> only its author
	   3 ann undone  -> open`)
	// Two claim at once, and neither saw the other.
	f(`1 ann claimed       -> claimed, ann
	   1 bob claimed !bob  -> somebody else
	   2 bob closed_genuine !bob -> somebody else
	   3 bob claimed       -> claimed, bob`)
	// Four eyes.
	f(`1 ann escalated      -> open, escalated
	   2 ann escalated      -> there is nothing
	   3 ann closed_fraud   -> proposed_fraud, escalated, by ann
	   4 ann closed_fraud   -> another person
	   5 sue closed_genuine -> proposed_genuine, escalated, by sue
	   6 ann closed_genuine -> genuine, escalated, by ann, label genuine 1
	   7 ann undone         -> proposed_genuine, escalated, by sue, label none 2`)
	f(`1 ann escalated      -> open, escalated
	   2 ann closed_fraud   -> proposed_fraud, escalated, by ann
	   3 sue claimed        -> claimed, escalated, sue
	   4 sue closed_fraud   -> proposed_fraud, escalated, by sue`)
	f(`1 ann released -> there is nothing
	   2 ann snoozed  -> snoozed, ann
	   3 ann released -> open`)
}

// TestSupervisorsAndSecondLooks: assigning, looking again and settling.
func TestSupervisorsAndSecondLooks(t *testing.T) {
	f := func(script string) {
		t.Helper()
		play(t, script)
	}
	// A supervisor gives an alert to bob, takes it back, and may undo that.
	f(`1 sue assigned -> claimed, bob
	   2 sue assigned -> there is nothing
	   3 bob claimed  -> claimed, bob
	   4 sue released -> open
	   5 sue undone   -> claimed, bob
	   6 ann claimed  -> claimed, ann
	   7 sue assigned -> claimed, bob
	   8 bob closed_genuine -> genuine, by bob, label genuine 1
	   9 sue assigned -> the alert is closed`)
	// A second look says nothing of the transaction, and is for good.
	f(`1 ann reviewed_fraud -> there is nothing
	   2 ann closed_fraud   -> fraud, by ann, label fraud 1
	   3 ann reviewed_fraud -> another person
	   4 bob reviewed_fraud -> fraud, by ann, seen by bob
	   5 bob undone         -> only its author
	   6 ann undone         -> only its author
	   7 cid reviewed_genuine -> there is nothing
	   8 sue settled_fraud  -> there is nothing`)
	f(`1 ann closed_fraud     -> fraud, by ann, label fraud 1
	   2 bob reviewed_genuine -> fraud, by ann, seen by bob, disputed
	   3 bob settled_genuine  -> another person
	   4 ann settled_fraud    -> another person
	   5 sue settled_genuine  -> genuine, by sue, seen by bob, settled, label genuine 2
	   6 sue undone           -> fraud, by ann, seen by bob, disputed, label fraud 3
	   7 sue settled_fraud    -> fraud, by ann, seen by bob, settled
	   8 sue settled_fraud    -> there is nothing`)
	// What was escalated is closed anew by two, and what is in doubt says nothing.
	f(`1 ann escalated       -> open, escalated
	   2 ann settled_fraud   -> there is nothing
	   3 ann closed_genuine  -> proposed_genuine, escalated, by ann
	   4 sue closed_genuine  -> genuine, escalated, by sue, label genuine 1
	   5 bob reviewed_genuine -> genuine, escalated, by sue, seen by bob
	   6 sue settled_fraud   -> proposed_fraud, escalated, by sue, label none 2
	   7 sue closed_fraud    -> another person
	   8 ann closed_fraud    -> fraud, escalated, by ann, label fraud 3`)
	f(`1 ann escalated       -> open, escalated
	   2 ann closed_genuine  -> proposed_genuine, escalated, by ann
	   3 sue closed_genuine  -> genuine, escalated, by sue, label genuine 1
	   4 sue settled_fraud   -> proposed_fraud, escalated, by sue, label none 2
	   5 sue undone          -> genuine, escalated, by sue, label genuine 3`)
}

func TestASnoozeEnds(t *testing.T) {
	s := State{Status: Snoozed, Until: 5}
	if s.At(4) != Snoozed || s.At(5) != Open || (State{Status: Claimed}).At(9) != Claimed {
		t.Error(s.At(4), s.At(5))
	}
}

// TestClosingsAreTimed: from when their author took the alert up, not from when it was
// given to them.
func TestClosingsAreTimed(t *testing.T) {
	f := func(want int64, kinds ...schemas.DispositionKind) {
		t.Helper()
		var s State
		for i, kind := range kinds {
			d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte("ann"), To: []byte("ann"), Kind: kind, At: 1000 << i, Previous: []byte(s.Last)}
			if kind == schemas.Assigned {
				d.By = []byte("sue")
			}
			var err error
			if s, _, _, err = s.Apply(&d); err != nil {
				t.Fatal(kinds, err)
			}
		}
		if s.Closing.Took != want || s.Closing.By != "ann" || s.Closing.At != 1000<<(len(kinds)-1) || s.Closing.Draw == 0 {
			t.Errorf("%v: %+v, want %d", kinds, s.Closing, want)
		}
	}
	f(0, schemas.ClosedFraud)
	f(1000, schemas.Claimed, schemas.ClosedFraud)
	f(7000, schemas.Claimed, schemas.Claimed, schemas.Noted, schemas.ClosedFraud)
	f(0, schemas.Assigned, schemas.ClosedFraud)
	f(2000, schemas.Assigned, schemas.Claimed, schemas.ClosedFraud)
	f(0, schemas.Claimed, schemas.Snoozed, schemas.ClosedFraud)
	f(0, schemas.Claimed, schemas.Released, schemas.ClosedFraud)
}

// TestStatesAtRandom holds random actions to what must be true whatever they are: an
// action that does not count changes nothing, a closed alert has said its verdict
// last, versions count up by one, no one pair of eyes closes what was escalated, a
// second look is another's, changes no verdict and is never taken back, and of two who
// disagree neither settles it. Undoing restores what was, to the letter.
func TestStatesAtRandom(t *testing.T) {
	var n struct{ closed, undone, voids, looks, settled, doubted int }
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s, last State // last is what the last action was done to
		said, labels, at := schemas.LabelNone, uint32(0), int64(0)
		who := []string{"ann", "bob", "sue"}
		for i := range 30 {
			at += r.Int64N(8000)
			d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte(who[r.IntN(3)]), Kind: schemas.DispositionKind(r.IntN(int(schemas.NumDispositionKinds))),
				At: at, Previous: []byte(s.Last), Until: at + 1, To: []byte(who[r.IntN(3)])}
			if r.IntN(5) == 0 {
				d.Previous = []byte("stale")
			}
			next, verdict, label, err := s.Apply(&d)
			if err != nil {
				if n.voids++; next != s || label {
					t.Fatalf("seed %d: %v changed %+v to %+v", seed, d.Kind, s, next)
				}
				continue
			}
			if label {
				said, labels = verdict, labels+1
			}
			if next.Labels != labels || said != verdictOf(next.Status) {
				t.Fatalf("seed %d: %+v, said %v in %d labels", seed, next, said, labels)
			}
			if text := broken(&s, &next, &last, &d); text != "" {
				t.Fatalf("seed %d: %s: %v by %s made of\n%+v\n%+v", seed, text, d.Kind, d.By, s, next)
			}
			switch {
			case label && verdict != schemas.LabelNone && !s.Status.Closed():
				n.closed++
			case next.Review.By != s.Review.By:
				n.looks++
			case d.Kind == schemas.Undone:
				n.undone++
			case next.Settled && !s.Settled:
				n.settled++
			case s.Status.Closed() && !next.Status.Closed():
				n.doubted++
			}
			s, last = next, s
		}
	}
	if min(n.closed, n.undone, n.voids, n.looks, n.settled, n.doubted) < 50 {
		t.Errorf("%+v: too few to tell", n)
	}
}

// broken says which rule an action that counted has broken.
func broken(s, next, last *State, d *schemas.Disposition) string {
	by := string(d.By)
	if d.Kind == schemas.Undone {
		want := *last
		want.Last, want.LastBy, want.LastAt, want.Labels, want.Before = next.Last, next.LastBy, next.LastAt, next.Labels, nil
		got := *next
		if got.Before = nil; got != want {
			return "undone is not as it was"
		}
		if s.LastBy != by || s.Review != next.Review {
			return "undone what may not be"
		}
		return ""
	}
	switch closed := next.Status.Closed(); {
	case closed && !s.Status.Closed() && s.Escalated && s.By == by:
		return "closed alone"
	case closed != (next.Closing != Closing{}), !closed && (next.Review != Review{} || next.Settled):
		return "the closing is not of one that is closed"
	case next.Since != 0 && (next.Status != Claimed || next.Owner == ""):
		return "taken up, and by nobody"
	case closed && s.Status.Closed() && next.Closing != s.Closing:
		return "the first verdict is changed"
	case next.Review != s.Review && closed && (next.Status != s.Status || next.Review.By != by || by == s.Closing.By || s.Review.By != ""):
		return "not a second look"
	case s.Disputed() && !next.Disputed() && (by == s.Closing.By || by == s.Review.By):
		return "settled by one of the two"
	case s.Status.Closed() && closed && next.Status != s.Status && (s.Escalated || !next.Settled):
		return "a verdict is changed, and not by a supervisor"
	}
	return ""
}
