package desk

import (
	"context"
	"errors"
	"time"
)

// Models knows which models there are and how they do, and makes one the champion. The
// desk knows no bundle from within, nor what they are learnt from: weir desk implements
// it, and tests do. Many requests may use it at once.
type Models interface {
	// Look returns what there is now, of the topic models as it ends, and of the history
	// as it was not long ago.
	Look(ctx context.Context) (*ModelsNow, error)
	// Publish makes a bundle the champion by a signed record that is a function of what
	// it is given alone, so that it may be called again. ErrModelRefused is wrapped where
	// that will never do, and ErrModelOvertaken where the champion is another by now.
	Publish(ctx context.Context, p Publication) error
}

// The errors of [Models.Publish] after which it need not be tried again.
var (
	ErrModelRefused   = errors.New("no scorer would take it")
	ErrModelOvertaken = errors.New("somebody else was faster")
)

// Publication is the record by which a bundle becomes champion.
type Publication struct {
	Bundle, Previous, By, Reason string
	Time                         int64 // ms, behind PreviousMs
	PreviousMs                   int64 // when the slot's record was signed that it replaces
}

// ModelsNow is what is known of the models.
type ModelsNow struct {
	Champion, Challenger, Previous *Model // nil where there is none
	Since                          int64  // when the champion's slot was signed, ms
	Share                          float64
	Slots                          []SlotChange // newest first, as far as the topic holds them
	Refused                        []string     // records that are not taken, and why
	Changes                        []ModelChange
	ChangesOf                      string // which models Changes compares
	Pair                           *ModelPair
	// MaySign says that the desk has a key that scorers trust.
	MaySign bool
	// NoHistory says why nothing is known of how models do live; Newest is how far the
	// history has come, ms.
	NoHistory string
	Newest    int64
}

// Model is one bundle.
type Model struct {
	Hash, Name, Spec, Signer string
	Refused                  string // why a scorer does not take it; empty where it does
	Learnt, Held, Policy     []ModelFact
	Days                     []ModelDay // oldest first, of the days that it decided on
}

// ModelFact is one thing that a bundle says of itself.
type ModelFact struct{ Name, Value string }

// ModelDay is how a model did on a day.
type ModelDay struct {
	Day       int64 // its begin, ms
	Decisions int64
	AlertRate float64
	// ScorePSI is the population stability index of the score against the held-out days;
	// nil where the bundle has no profile.
	ScorePSI *float64
	// By the labels of an age, AtAge: nil where there is none yet.
	Precision, Recall, Calibration *ModelEstimate
	AtAge                          string
	Drift                          []FeatureDrift // worst first
}

// ModelEstimate is a figure with its 95 % interval.
type ModelEstimate struct{ Value, Low, High float64 }

// FeatureDrift is how far a feature has moved from the days of the training.
type FeatureDrift struct {
	Name         string
	PSI, Missing float64
	Nature       bool // it moves by its nature, as a day of the week does
}

// SlotChange is a record of a slot.
type SlotChange struct {
	Time                         int64
	Slot, Hash, Name, By, Reason string
	Share                        float64
}

// ModelChange is one thing in which two models differ.
type ModelChange struct {
	Group, What, A, B, By string // A and B are empty of what is said in words; By is by how much, of numbers
}

// ModelPair is how champion and challenger did on the same payments.
type ModelPair struct {
	From, To                           int64
	Decisions                          int
	Correlation                        float64
	Both, OnlyChampion, OnlyChallenger int // who would have alerted
	Known                              int // payments of which it is known what they were
	Champion, Challenger               PairFigures
}

// PairFigures are of one of a pair.
type PairFigures struct {
	Right, Alerted, Missed int // alerts that were fraud, all of which it is known, frauds not alerted on
	AveragePrecision       float64
}

// DriftSome and DriftMuch are the population stability indexes from which a column is
// customarily said to have moved, and to have moved much.
const (
	DriftSome = .1
	DriftMuch = .25
)

// modelsLookWithin bounds how long a page waits for the topic models.
const modelsLookWithin = 5 * time.Second
