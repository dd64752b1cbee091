package alerts

import (
	"crypto/sha256"
	"encoding/binary"
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
	// InSecondLook is what a view says in place of a verdict to whoever is to look at the
	// alert without knowing it, see [ReadBy]. No alert has it.
	InSecondLook = NumStatuses
)

var statusNames = [NumStatuses + 1]string{"open", "claimed", "snoozed", "proposed_fraud", "proposed_genuine", "fraud", "genuine", "second_look"}

// String is the status's name, as pages, the API and exports have it.
func (s Status) String() string {
	if s <= InSecondLook {
		return statusNames[s]
	}
	return fmt.Sprint(uint8(s))
}

// Closed reports whether nothing is left to decide.
func (s Status) Closed() bool { return s == Fraud || s == Genuine || s == InSecondLook }

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
	// Since is when Owner took it up, ms since the Unix epoch; 0 where nobody has, or
	// where a supervisor gave it to Owner, who has not said yet that they are at it.
	Since int64 `json:",omitzero"`
	// Closing is how it was closed, Review what a second person said who had not seen
	// that; Settled says that a supervisor had the last word. They are zero of an alert
	// that is not closed.
	Closing Closing `json:",omitzero"`
	Review  Review  `json:",omitzero"`
	Settled bool    `json:",omitzero"`
	// Labels is how many labels the actions made: the version of the last one.
	Labels uint32
	// Before is what Last was done to, while it can be undone.
	Before *State
}

// Closing is the verdict by which an alert was closed. What a supervisor settles later
// is in the state's Status and leaves it.
type Closing struct {
	By    string
	At    int64
	Took  int64 // ms since By had taken it up, 0 where they had not said so
	Fraud bool
	// Draw is a number that the alert drew when it was closed: second looks are given to
	// those with the lowest. It follows from the closing action's id, so that nobody
	// knows it while they decide.
	Draw uint32
}

// Review is a second look at a closed alert.
type Review struct {
	By    string
	At    int64
	Fraud bool
}

// Disputed reports whether the second look came to another verdict than the first, and
// no supervisor has said yet which of them holds.
func (s *State) Disputed() bool {
	return s.Review.By != "" && s.Review.Fraud != s.Closing.Fraud && !s.Settled
}

// UndoMs is for how long an action can be undone, by the times that its author's
// desk gave both: long enough to see that a key was the wrong one.
const UndoMs = 10_000

// Why an action does not count. Whoever sent it is told.
var (
	ErrStale    = errors.New("somebody else acted on the alert first")
	ErrOwned    = errors.New("somebody else works on the alert")
	ErrClosed   = errors.New("the alert is closed")
	ErrNothing  = errors.New("there is nothing of it to do in this state")
	ErrSameEyes = errors.New("another person has to say so than who gave a verdict before")
	ErrNoUndo   = errors.New("only its author can undo the last action, and within ten seconds")
)

// Apply returns the state after an action, and what it makes known of the
// transaction: a label, if label is true, of that verdict (none takes the one
// before it back) and of version State.Labels. An action that does not count changes
// nothing, and the error says why: it wraps one of those above.
//
// Who may do what is asked of an action that says as what its author acts: where
// somebody works on the alert, an analyst else may note something and take that back,
// and no more; a supervisor may act, and only one assigns and settles. So it is the
// order of the log that decides, whatever the author's page knew. An action that does
// not say it is of before this rule, and comes to what it came to then: its label is
// out, and must not be unsaid by folding the log again.
func (s State) Apply(d *schemas.Disposition) (next State, verdict schemas.LabelVerdict, label bool, err error) {
	if err := s.may(d); err != nil {
		return s, 0, false, err
	}
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
	if d.Kind == schemas.ReviewedFraud || d.Kind == schemas.ReviewedGenuine {
		next.Before = nil // whoever has given a second verdict is shown the first one
	}
	switch closed := next.Status.Closed(); {
	case closed && !s.Status.Closed():
		next.Closing = closingOf(&s, d, next.Status == Fraud)
	case !closed:
		next.Closing, next.Review, next.Settled = Closing{}, Review{}, false
	}
	return next.known(&s)
}

// may says whether the author of an action may do it.
func (s *State) may(d *schemas.Disposition) error {
	if d.As != schemas.AsAnalyst {
		return nil
	}
	switch d.Kind {
	case schemas.Noted, schemas.Undone: // what was one's own to do is one's own to take back
		return nil
	case schemas.Assigned, schemas.SettledFraud, schemas.SettledGenuine:
		return fmt.Errorf("%w: only a supervisor does that", ErrNothing)
	}
	if s.Status == Claimed && s.Owner != string(d.By) {
		return ErrOwned
	}
	return nil
}

// known makes the label that says what is known now, where that is another thing than
// it was before. One that was sent is never unsaid: the next version withdraws it.
func (s State) known(before *State) (State, schemas.LabelVerdict, bool, error) {
	verdict := verdictOf(s.Status)
	if verdict == verdictOf(before.Status) {
		return s, 0, false, nil
	}
	s.Labels++
	return s, verdict, true, nil
}

// verdictOf is what a status makes known.
func verdictOf(s Status) schemas.LabelVerdict {
	switch s {
	case Fraud:
		return schemas.LabelFraud
	case Genuine:
		return schemas.LabelGenuine
	}
	return schemas.LabelNone
}

// closingOf is the closing of an alert that was in a state before.
func closingOf(before *State, d *schemas.Disposition, fraud bool) Closing {
	sum := sha256.Sum256(d.ID)
	c := Closing{By: string(d.By), At: d.At, Fraud: fraud, Draw: binary.BigEndian.Uint32(sum[:])}
	if before.Status == Claimed && before.Owner == c.By && before.Since != 0 {
		c.Took = max(c.At-before.Since, 1)
	}
	return c
}

// undo takes the last action back, and what was made known by it.
func (s State) undo(d *schemas.Disposition) (State, schemas.LabelVerdict, bool, error) {
	if s.Before == nil || string(d.By) != s.LastBy || d.At < s.LastAt || d.At-s.LastAt > UndoMs {
		return s, 0, false, ErrNoUndo
	}
	next := *s.Before
	next.Last, next.LastBy, next.LastAt, next.Labels = string(d.ID), string(d.By), d.At, s.Labels
	return next.known(&s)
}

// act does what the action is, but for what is the same of all.
func (s *State) act(d *schemas.Disposition) error {
	if d.Kind == schemas.Noted {
		return nil // on a closed alert as well
	}
	by := string(d.By)
	switch d.Kind {
	case schemas.ReviewedFraud, schemas.ReviewedGenuine:
		return s.review(d.Kind == schemas.ReviewedFraud, by, d.At)
	case schemas.SettledFraud, schemas.SettledGenuine:
		return s.settle(d.Kind == schemas.SettledFraud, by)
	}
	if s.Status.Closed() {
		return ErrClosed
	}
	since := int64(0)
	switch d.Kind {
	case schemas.Claimed:
		if since = d.At; s.Status == Claimed && s.Owner == by && s.Since != 0 {
			since = s.Since // to say so again is not to begin again
		}
		s.Status, s.Owner, s.Until = Claimed, by, 0
	case schemas.Assigned:
		if s.Status == Claimed && s.Owner == string(d.To) {
			return ErrNothing
		}
		s.Status, s.Owner, s.Until = Claimed, string(d.To), 0
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
	s.By, s.Since = "", since
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
	s.Owner, s.By, s.Until, s.Since = "", by, 0, 0
	return nil
}

// review keeps the verdict of a second look, which changes nothing that is known.
func (s *State) review(fraud bool, by string, at int64) error {
	switch {
	case !s.Status.Closed() || s.Review.By != "":
		return ErrNothing
	case s.Closing.By == by || s.By == by:
		return ErrSameEyes
	}
	s.Review = Review{By: by, At: at, Fraud: fraud}
	return nil
}

// settle has the last word on a closed alert: of two who disagree it upholds one, and
// neither of them may; without a second look it changes the verdict. An escalated alert
// is closed anew with four eyes, so that another has to say the same.
func (s *State) settle(fraud bool, by string) error {
	same := s.Status.Closed() && fraud == (s.Status == Fraud)
	switch {
	case !s.Status.Closed() || same && !s.Disputed():
		return ErrNothing
	case s.Disputed() && (by == s.Closing.By || by == s.Review.By):
		return ErrSameEyes
	}
	s.Settled = true
	if same {
		return nil
	}
	s.Status = Open
	return s.shut(fraud, by)
}

// At is the status at a time: a snooze ends by itself.
func (s State) At(now int64) Status { return s.Status.at(s.Until, now) }

func (s Status) at(until, now int64) Status {
	if s == Snoozed && now >= until {
		return Open
	}
	return s
}
