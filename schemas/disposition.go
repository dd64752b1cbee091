package schemas

// DispositionKind is what an analyst did.
type DispositionKind uint8

// The kinds of dispositions.
const (
	Claimed DispositionKind = iota // works on it
	Released
	Noted
	Escalated
	Snoozed // until Until
	ClosedFraud
	ClosedGenuine
	Undone   // takes the action that Previous names back
	Assigned // a supervisor gives it to To
	// A second look at a closed alert, by somebody who has not seen the first verdict.
	ReviewedFraud
	ReviewedGenuine
	// A supervisor's last word on a closed alert, which may be another than the first.
	SettledFraud
	SettledGenuine
	NumDispositionKinds
)

// Standing is as what somebody acts on an alert.
type Standing uint8

// The standings.
const (
	UnknownStanding Standing = iota // of a record that does not say
	AsAnalyst
	AsSupervisor // who may decide what another works on
	NumStandings
)

// NoteBytesMax bounds the note of a disposition.
const NoteBytesMax = 4096

// Disposition is one action of an analyst on an alert. The order of the log
// decides between two of them: an action counts if Previous is the last one of
// its alert that counted, and is void otherwise. So of two who claim an alert
// at once the first in the log has it, and nobody closes over another's head.
type Disposition struct {
	ID      []byte // of this action, unique
	AlertID []byte
	TxID    []byte // of the alert's transaction, for whoever folds labels
	Kind    DispositionKind
	By      []byte // who, by the name of the account
	At      int64  // ms since the Unix epoch
	Reason  []byte // code from the desk's list; empty where none is asked for
	Note    []byte // NoteBytesMax bytes at most
	// Previous is the alert's last action that the analyst saw; empty where
	// there was none.
	Previous []byte
	Until    int64  // ms since the Unix epoch; of a snooze, 0 otherwise
	To       []byte // whom it is assigned to, by the name of the account; empty otherwise
	// As is what By was at the desk that let them act. Records of before there was one
	// do not say, and are held to no rule that asks for it: they count as they did then.
	As Standing
}
