package alerts

import (
	"errors"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// Status is where an alert stands.
type Status uint8

// The statuses of an alert, with the numbers they have in the view.
const (
	Open            Status = iota // nobody works on it
	Claimed                       // Owner does
	Snoozed                       // nobody is to until Until
	ProposedFraud                 // By would close it, and it was escalated: another has to agree
	ProposedGenuine               // the same
	Fraud                         // closed
	Genuine                       // closed
	NumStatuses
)

var statusNames = [NumStatuses]string{"open", "claimed", "snoozed", "proposed_fraud", "proposed_genuine", "fraud", "genuine"}

// String is the status's name, as pages, the API and exports have it.
func (s Status) String() string {
	if s < NumStatuses {
		return statusNames[s]
	}
	return fmt.Sprint(uint8(s))
}

// Closed reports whether nothing is left to decide.
func (s Status) Closed() bool { return s == Fraud || s == Genuine }

// State is what an alert's actions have made of it: the fold of its dispositions in
// the order of the log. The zero value is an alert that nobody has touched.
type State struct {
	Status    Status
	Escalated bool   // to those who decide with four eyes; stays
	Owner     string // who works on it, empty for nobody
	By        string // who proposed or closed
	Until     int64  // of a snooze, ms since the Unix epoch
	// Last is the id of the last action that counted, LastBy and LastAt whose it is and
	// when: the next one has to name it, and only its author may undo it.
	Last   string
	LastBy string
	LastAt int64
	// Labels is how many labels the actions made: the version of the last one.
	Labels uint32
	// Before is what Last was done to, while it can be undone.
	Before *State
}

// UndoMs is for how long an action can be undone, by the times that its author's
// desk gave both: long enough to see that a key was the wrong one.
const UndoMs = 10_000

// Why an action does not count. Whoever sent it is told.
var (
	ErrStale    = errors.New("somebody else acted on the alert first")
	ErrClosed   = errors.New("the alert is closed")
	ErrNothing  = errors.New("there is nothing of it to do in this state")
	ErrSameEyes = errors.New("who proposed to close an escalated alert cannot be the one who agrees")
	ErrNoUndo   = errors.New("only its author can undo the last action, and within ten seconds")
)

// Apply returns the state after an action, and what it makes known of the
// transaction: a label, if label is true, of that verdict (none takes the one
// before it back) and of version State.Labels. An action that does not count
// changes nothing, and the error says why: it wraps one of those above.
func (s State) Apply(d *schemas.Disposition) (next State, verdict schemas.LabelVerdict, label bool, err error) {
	if string(d.Previous) != s.Last {
		return s, 0, false, ErrStale
	}
	if d.Kind == schemas.Undone {
		return s.undo(d)
	}
	before := s
	before.Before = nil
	next = s
	if err := next.act(d); err != nil {
		return s, 0, false, err
	}
	next.Last, next.LastBy, next.LastAt, next.Before = string(d.ID), string(d.By), d.At, &before
	if next.Status.Closed() && !s.Status.Closed() {
		next.Labels++
		return next, verdictOf(next.Status), true, nil
	}
	return next, 0, false, nil
}

// verdictOf is the verdict of a closed alert.
func verdictOf(s Status) schemas.LabelVerdict {
	if s == Fraud {
		return schemas.LabelFraud
	}
	return schemas.LabelGenuine
}

// undo takes the last action back. What was made known by it is withdrawn, by a
// label of its own: one that was sent is never unsaid.
func (s State) undo(d *schemas.Disposition) (State, schemas.LabelVerdict, bool, error) {
	if s.Before == nil || string(d.By) != s.LastBy || d.At < s.LastAt || d.At-s.LastAt > UndoMs {
		return s, 0, false, ErrNoUndo
	}
	next := *s.Before
	next.Last, next.LastBy, next.LastAt, next.Labels = string(d.ID), string(d.By), d.At, s.Labels
	if s.Labels == s.Before.Labels {
		return next, 0, false, nil
	}
	next.Labels++
	return next, schemas.LabelNone, true, nil
}

// act does what the action is, but for what is the same of all.
func (s *State) act(d *schemas.Disposition) error {
	if d.Kind == schemas.Noted {
		return nil // on a closed alert as well
	}
	if s.Status.Closed() {
		return ErrClosed
	}
	by := string(d.By)
	switch d.Kind {
	case schemas.Claimed:
		s.Status, s.Owner, s.Until = Claimed, by, 0
	case schemas.Released:
		if s.Status == Open {
			return ErrNothing
		}
		s.Status, s.Owner, s.Until = Open, "", 0
	case schemas.Escalated:
		if s.Escalated {
			return ErrNothing
		}
		s.Status, s.Owner, s.Until, s.Escalated = Open, "", 0, true
	case schemas.Snoozed:
		s.Status, s.Owner, s.Until = Snoozed, by, d.Until
	case schemas.ClosedFraud, schemas.ClosedGenuine:
		return s.shut(d.Kind == schemas.ClosedFraud, by)
	default:
		return fmt.Errorf("%w: %v", ErrNothing, d.Kind)
	}
	s.By = ""
	return nil
}

// shut closes the alert, or where it was escalated proposes to: two people have
// to say the same of it, one after the other.
func (s *State) shut(fraud bool, by string) error {
	closed, proposed := Genuine, ProposedGenuine
	if fraud {
		closed, proposed = Fraud, ProposedFraud
	}
	switch {
	case s.Escalated && s.Status == proposed && s.By == by:
		return ErrSameEyes
	case s.Escalated && s.Status != proposed:
		s.Status = proposed
	default:
		s.Status = closed
	}
	s.Owner, s.By, s.Until = "", by, 0
	return nil
}

// At is the status at a time: a snooze ends by itself.
func (s State) At(now int64) Status {
	if s.Status == Snoozed && now >= s.Until {
		return Open
	}
	return s.Status
}
