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

// Label is what is known about a transaction, versioned. The latest version of
// each source counts; among sources the spec's order decides.
type Label struct {
	TxID      []byte
	Verdict   LabelVerdict
	FraudType []byte
	Source    LabelSource
	KnownAt   int64  // ms since the Unix epoch
	Version   uint32 // from 1; a higher one supersedes
	// Selected says how the transaction came to be looked at: "alert",
	// "exploration" or empty; SelectedProb with what probability.
	Selected     []byte
	SelectedProb float32
	// Place of the record in the labels topic.
	Place
}
