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
// behind ! stands whose action is named as the last one, where it is not the last.
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
		kind, ok := schemas.ParseDispositionKind(what)
		if !ok {
			t.Fatalf("%q: no such action", line)
		}
		previous := s.Last
		if _, of, ok := strings.Cut(does, "!"); ok {
			previous = ids[of]
		}
		d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte(who), Kind: kind, At: at * 1000, Previous: []byte(previous), Until: 99_000}
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
	for _, e := range []error{ErrStale, ErrClosed, ErrNothing, ErrSameEyes, ErrNoUndo} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	text := s.Status.String()
	for _, part := range []struct {
		is   bool
		text string
	}{{s.Escalated, "escalated"}, {s.Owner != "", s.Owner}, {s.By != "", "by " + s.By}, {label, fmt.Sprintf("label %v %d", verdict, s.Labels)}} {
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
	   4 ann closed_fraud   -> who proposed
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

func TestASnoozeEnds(t *testing.T) {
	s := State{Status: Snoozed, Until: 5}
	if s.At(4) != Snoozed || s.At(5) != Open || (State{Status: Claimed}).At(9) != Claimed {
		t.Error(s.At(4), s.At(5))
	}
}

// TestStatesAtRandom holds random actions to what must be true whatever they are: an
// action that does not count changes nothing, a closed alert has said its verdict
// last, versions count up by one, and no one pair of eyes closes what was escalated.
func TestStatesAtRandom(t *testing.T) {
	closed, undone, voids := 0, 0, 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s State
		said, labels, at := schemas.LabelNone, uint32(0), int64(0)
		who := []string{"ann", "bob", "sue"}
		for i := range 30 {
			at += r.Int64N(8000)
			d := schemas.Disposition{ID: fmt.Append(nil, i), By: []byte(who[r.IntN(3)]), Kind: schemas.DispositionKind(r.IntN(int(schemas.NumDispositionKinds))),
				At: at, Previous: []byte(s.Last), Until: at + 1}
			if r.IntN(5) == 0 {
				d.Previous = []byte("stale")
			}
			next, verdict, label, err := s.Apply(&d)
			switch {
			case err != nil:
				voids++
				if next != s || label {
					t.Fatalf("seed %d: %v changed %+v to %+v", seed, d.Kind, s, next)
				}
			case label:
				said, labels = verdict, labels+1
				if verdict == schemas.LabelNone {
					undone++
				} else {
					closed++
				}
				if next.Status.Closed() && s.Escalated && s.By == string(d.By) {
					t.Fatalf("seed %d: %s closed alone", seed, d.By)
				}
			}
			s = next
			if s.Labels != labels || s.Status.Closed() != (said != schemas.LabelNone) || s.Status.Closed() && verdictOf(s.Status) != said {
				t.Fatalf("seed %d: %+v, said %v in %d labels", seed, s, said, labels)
			}
		}
	}
	if min(closed, undone, voids) < 100 {
		t.Errorf("%d closed, %d undone, %d void: too few to tell", closed, undone, voids)
	}
}
