package ingest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/scoring"
)

// Why a bundle or a slot is refused that is none of the errors of scoring; test
// with errors.Is.
var (
	ErrNoBundle      = errors.New("models does not hold this bundle")
	ErrMisfiled      = errors.New("models has the bundle under another's hash")
	ErrSpecText      = errors.New("the spec in the bundle does not have the hash that the bundle names")
	ErrColumns       = errors.New("the model's columns are not the features of its spec")
	ErrSlotRefused   = errors.New("the slot is not signed by a trusted key")
	ErrSlotEmpty     = errors.New("the slot's record is empty; a challenger is ended by a signed slot without a bundle")
	ErrSlotForm      = errors.New("the slot's record is no slot")
	ErrSlotStale     = errors.New("the slot is older than the one in force")
	ErrSlotOvertaken = errors.New("somebody else replaced the slot first")
	ErrModelKey      = errors.New("the record's key is neither a bundle's nor a slot's")
)

// ErrModelsAway is no refusal: it is tried again.
var ErrModelsAway = errors.New("the topic could not be read")

// refusals are the names of what makes a bundle or a slot refused: the reasons of
// weir_models_refused_total, beside "error". The first that fits counts.
var refusals = []struct {
	name   string
	target error
}{
	{"too_large", scoring.ErrTooLarge},
	{"truncated", scoring.ErrTruncated},
	{"not_a_bundle", scoring.ErrMagic},
	{"unknown_version", scoring.ErrVersion},
	{"trailing_bytes", scoring.ErrTrailing},
	{"wrong_hash", scoring.ErrHash},
	{"misfiled", ErrMisfiled},
	{"unsigned", scoring.ErrUnsigned},
	{"unknown_signer", scoring.ErrUnknownSigner},
	{"wrong_signature", scoring.ErrSignature},
	{"manifest", scoring.ErrManifest},
	{"sections", scoring.ErrSections},
	{"no_spec", scoring.ErrSpec},
	{"features", scoring.ErrFeatures},
	{"calibration", scoring.ErrCalibration},
	{"rank_key", scoring.ErrRankKey},
	{"threshold", scoring.ErrThreshold},
	{"exploration", scoring.ErrExploration},
	{"facts", scoring.ErrFacts},
	{"background", scoring.ErrBackground},
	{"no_self_test", scoring.ErrNoSelfTest},
	{"profile", scoring.ErrProfile},
	{"shape", scoring.ErrShape},
	{"not_finite", scoring.ErrNotFinite},
	{"encoding", scoring.ErrEncoding},
	{"unbounded", scoring.ErrUnbounded},
	{"foreign_spec", scoring.ErrForeignSpec},
	{"spec_text", ErrSpecText},
	{"columns", ErrColumns},
	{"self_test", scoring.ErrSelfTest},
	{"device", scoring.ErrMatrix},
	{"no_bundle", ErrNoBundle},
	{"slot_signature", ErrSlotRefused},
	{"slot_empty", ErrSlotEmpty},
	{"slot_form", ErrSlotForm},
	{"slot_stale", ErrSlotStale},
	{"slot_overtaken", ErrSlotOvertaken},
	{"key", ErrModelKey},
}

// RefusalName returns the name of what made a bundle or a slot refused, as metrics
// and `weir model ls` call it.
func RefusalName(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.target) {
			return r.name
		}
	}
	return "error"
}

// A Refusal is a record of models that was not taken.
type Refusal struct {
	Slot string // whose record it is; empty where it is no slot's
	Err  error

	signature string // of a slot's
}

// bundleRef is a record of a bundle: the same hash may be written again, better.
type bundleRef struct {
	hash   [32]byte
	offset int64
}

// slotless stands in metrics for a record of models that is none of a slot.
const slotless = "none"

// refusal says that a slot did not take a bundle.
func (n *Node) refusal(k slot, hash [32]byte, cause error) {
	name := RefusalName(cause)
	n.Metrics.Refused.WithLabelValues(k.String(), name).Inc()
	n.Log.Error(k.String()+" refused", "bundle", hex32(hash), "reason", name, "cause", cause)
}

// sayRefused tells of the records of models that were not taken since it was asked
// last.
func (n *Node) sayRefused(m *Models) {
	for _, r := range m.unsaid {
		k := r.Slot
		if k != champion.String() && k != challenger.String() {
			k = slotless // a label takes no value from outside
		}
		name := RefusalName(r.Err)
		n.Metrics.Refused.WithLabelValues(k, name).Inc()
		n.Log.Error("record of models refused", "slot", k, "reason", name, "cause", r.Err)
	}
	m.unsaid = m.unsaid[:0]
}

// checkColumns holds the names of a bundle's columns, and their order, to the spec
// that it was trained with. Where parsed is not nil it holds the spec that was
// parsed last, which spares the work where the text is the same.
func checkColumns(b *scoring.Bundle, parsed **spec.Spec) error {
	var s *spec.Spec
	if parsed != nil {
		s = *parsed
	}
	if s == nil || s.Name != b.Spec.Name || !bytes.Equal(s.Text, b.Spec.Text) {
		var err error
		if s, err = spec.Parse(b.Spec.Name, b.Spec.Text); err != nil {
			return fmt.Errorf("%w: %w", ErrSpecText, err)
		}
		if parsed != nil {
			*parsed = s
		}
	}
	if s.Hash != b.Spec.Hash {
		return fmt.Errorf("text %.8x, named %.8x: %w", s.Hash, b.Spec.Hash, ErrSpecText)
	}
	if len(s.Features) != len(b.Features) {
		return fmt.Errorf("%d columns, %d features: %w", len(b.Features), len(s.Features), ErrColumns)
	}
	for i, name := range b.Features {
		if s.Features[i].Name != name {
			return fmt.Errorf("column %d is %.80q, feature %.80q: %w", i, name, s.Features[i].Name, ErrColumns)
		}
	}
	return nil
}
