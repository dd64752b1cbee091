package schemas

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// The names are the ones that people, specs and metrics use; they are stable.
var (
	outcomeNames     = [NumOutcomes]string{"scored", "degraded", "unscored", "duplicate", "rejected"}
	actionNames      = [NumActions]string{"allow", "review", "block"}
	typeNames        = [NumTxTypes]string{"authorisation", "capture", "reversal", "refund", "transfer", "payout"}
	statusNames      = [NumStatuses]string{"unknown", "approved", "declined"}
	verdictNames     = [NumLabelVerdicts]string{"none", "genuine", "fraud"}
	sourceNames      = [NumLabelSources]string{"chargeback", "issuer_report", "customer_report", "analyst", "default"}
	selectedNames    = [...]string{"alert", "exploration", "none"}
	dispositionNames = [NumDispositionKinds]string{"claimed", "released", "noted", "escalated", "snoozed",
		"closed_fraud", "closed_genuine", "undone", "assigned", "reviewed_fraud", "reviewed_genuine", "settled_fraud",
		"settled_genuine"}
	standingNames = [NumStandings]string{"", "analyst", "supervisor"}
	auditNames    = [NumAuditActs]string{"logged_in", "login_failed", "logged_out", "viewed", "exported", "approved",
		"changed", "denied"}
	textNames = [NumText]string{"id", "original_id", "currency", "card", "customer", "account", "counterparty",
		"merchant", "mcc", "terminal", "country", "channel", "entry_mode", "device", "ip"}
	reasonNames = [NumReasons]string{"none",
		"null_value", "oversize", "bad_utf8", "bad_json", "trailing_bytes", "too_deep", "not_object", "duplicate_key",
		"missing_id", "bad_id", "missing_time", "bad_time", "absurd_time", "future_time", "missing_amount", "bad_amount",
		"amount_range", "amount_precision", "negative_amount", "bad_currency", "bad_type", "bad_status", "bad_text",
		"text_too_long", "bad_number", "number_range", "bad_secret", "bad_schema", "bad_label", "bad_compression",
		"too_late", "no_rate", "missing_entity", "not_scored_type", "repeat", "conflict", "no_model", "model_failed",
		"wire_magic", "wire_truncated", "wire_value"}
)

// nameOf returns the i-th name, or the number where there is none.
func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

func (o Outcome) String() string         { return nameOf(outcomeNames[:], int(o)) }
func (a Action) String() string          { return nameOf(actionNames[:], int(a)) }
func (t TxType) String() string          { return nameOf(typeNames[:], int(t)) }
func (s Status) String() string          { return nameOf(statusNames[:], int(s)) }
func (v LabelVerdict) String() string    { return nameOf(verdictNames[:], int(v)) }
func (s LabelSource) String() string     { return nameOf(sourceNames[:], int(s)) }
func (k DispositionKind) String() string { return nameOf(dispositionNames[:], int(k)) }
func (s Standing) String() string        { return nameOf(standingNames[:], int(s)) }
func (a AuditAct) String() string        { return nameOf(auditNames[:], int(a)) }
func (f TextField) String() string       { return nameOf(textNames[:], int(f)) }
func (r Reason) String() string          { return nameOf(reasonNames[:], int(r)) }

// Outcome returns the outcome that a reason is given with.
func (r Reason) Outcome() Outcome {
	switch {
	case r == NoReason:
		return Scored
	case r >= TooLate && r <= NotScoredType:
		return Unscored
	case r == Repeat || r == Conflict:
		return Duplicate
	case r == NoModel || r == ModelFailed:
		return Degraded
	}
	return Rejected
}

// ParseTxType returns the transaction type of a name.
func ParseTxType(name string) (TxType, bool) { return parseName[TxType](typeNames[:], name) }

// ParseStatus returns the status of a name.
func ParseStatus(name string) (Status, bool) { return parseName[Status](statusNames[:], name) }

// ParseLabelVerdict returns the label verdict of a name.
func ParseLabelVerdict(name string) (LabelVerdict, bool) {
	return parseName[LabelVerdict](verdictNames[:], name)
}

// ParseLabelSource returns the source of labels of a name.
func ParseLabelSource(name string) (LabelSource, bool) {
	return parseName[LabelSource](sourceNames[:], name)
}

// ParseDispositionKind returns the kind of disposition of a name.
func ParseDispositionKind(name string) (DispositionKind, bool) {
	return parseName[DispositionKind](dispositionNames[:], name)
}

// ParseStanding returns the standing of a name; the empty one is of a record that does
// not say.
func ParseStanding(name string) (Standing, bool) { return parseName[Standing](standingNames[:], name) }

// ParseAuditAct returns the audited act of a name.
func ParseAuditAct(name string) (AuditAct, bool) { return parseName[AuditAct](auditNames[:], name) }

// ParseTextField returns the canonical text field of a name.
func ParseTextField(name string) (TextField, bool) { return parseName[TextField](textNames[:], name) }

// ParseReason returns the reason of a name.
func ParseReason(name string) (Reason, bool) { return parseName[Reason](reasonNames[:], name) }

func parseName[T ~uint8 | ~uint16](names []string, name string) (T, bool) {
	i := slices.Index(names, name)
	return T(max(i, 0)), i >= 0
}

// HashPrefix returns the first eight bytes of a SHA-256, big-endian: how a
// decision names its bundle, spec and engine.
func HashPrefix(h [32]byte) uint64 { return binary.BigEndian.Uint64(h[:8]) }
