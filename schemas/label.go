package schemas

// Verdict of a label: what is known about a transaction.
type LabelVerdict uint8

// The label verdicts, with the numbers they have in the ledger. LabelNone
// withdraws what its source said before.
const (
	LabelNone LabelVerdict = iota
	LabelGenuine
	LabelFraud
	NumLabelVerdicts
)

// LabelSource is who says it.
type LabelSource uint8

// The sources of labels, with the numbers they have in the ledger. Which of
// them wins is the spec's order of sources.
const (
	Chargeback LabelSource = iota
	IssuerReport
	CustomerReport
	Analyst
	DefaultLabel
	NumLabelSources
)

// LabelVersionMax is the highest version of a label.
const LabelVersionMax = 1023

// NumLabelEntities is how many entities a label may name.
const NumLabelEntities = 8

// LabelEntities are the fields of the entities that a label may name.
var LabelEntities = [NumLabelEntities]TextField{Card, Customer, Account, Counterparty, Merchant, Terminal, Device, IP}

// Label is what is known about a transaction, versioned. The latest version of
// each source counts; among sources the spec's order decides.
type Label struct {
	TxID      []byte
	Verdict   LabelVerdict
	FraudType []byte
	Source    LabelSource
	KnownAt   int64  // ms since the Unix epoch
	Version   uint32 // from 1; a higher one supersedes
	// Selected says how the transaction came to be looked at: one of "alert",
	// "exploration" and "none", or empty where that is not known; SelectedProb with
	// what probability.
	Selected     []byte
	SelectedProb float32
	// What is known of the transaction besides: its time, ms since the Unix epoch, 0
	// where it is not known, and its entities, by the order of LabelEntities. They say
	// whom a label is about whose transaction weir never saw, or keeps no more. Of a
	// secret field it is the token in the ledger; in the topic it may be the secret.
	Time   int64
	Entity [NumLabelEntities][]byte
	// DispositionID is the action at a desk that made it; empty of other labels. It is of
	// the topic alone: the ledger does without.
	DispositionID []byte
	// Place of the record in the labels topic.
	Place
}

// Texts returns how many bytes the texts of l take.
func (l *Label) Texts() int {
	n := len(l.TxID) + len(l.FraudType) + len(l.Selected)
	for _, text := range l.Entity {
		n += len(text)
	}
	return n
}
