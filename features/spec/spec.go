package spec

import "github.com/weir-risk/weir/schemas"

// Spec is a checked feature spec: what the input looks like, what is kept, and
// what the model sees. Parse makes one; nothing changes it afterwards.
type Spec struct {
	Name string
	Text []byte   // as read
	Hash [32]byte // SHA-256 of the canonical text: comments and spacing do not count

	Base       string // ISO 4217 code of the base currency
	BaseDigits int    // its decimals
	Input      Input
	Entities   []Entity
	// Scored says which transaction types get a vector and a score; the others
	// are only folded. Reversals are never scored.
	Scored [schemas.NumTxTypes]bool
	// Home is the entity (an index into Entities, -1 none) whose events are
	// searched for repeated ids, and through which labels and reversals find
	// their transaction.
	Home        int
	DedupWindow int64 // ms
	LateMax     int64 // ms
	Maturity    int64 // ms: the age from which no label means genuine
	FutureMax   int64 // ms that an event time may lie beyond the Kafka timestamp
	// Sources is the order of precedence of label sources, strongest first;
	// every source once.
	Sources [schemas.NumLabelSources]schemas.LabelSource

	Aggregates []Aggregate // each distinct one once
	Predicates []Predicate // each distinct one once, at most MaxPredicates
	Features   []Feature
	Fallback   []Rule

	canonical   []byte
	zones       map[string]*Zone // those named, and all where zoneByField
	zoneByField bool
}

// MaxPredicates bounds the where clauses of a spec: one bit each in a ring.
const MaxPredicates = 32

// Input says where the fields of a transaction are.
type Input struct {
	// Text[f] is the JSON path of a canonical text field; empty means the
	// record has none.
	Text      [schemas.NumText]TextInput
	Time      TimeInput
	Amount    AmountInput
	Type      EnumInput // values map to schemas.TxType
	Status    EnumInput // values map to schemas.Status
	OwnText   []OwnField
	OwnNumber []OwnField
	MaxBytes  int  // of a record
	MaxDepth  int  // of nesting
	DLQ       bool // true: a rejected record's bytes go to the dead-letter topic; false: a reference
}

// TextInput is a canonical text field.
type TextInput struct {
	Path     []string // object keys from the root; nil means absent
	Secret   bool     // replaced by a keyed token
	KeepBIN  bool     // the first six and last four digits stay readable beside the token
	Constant string   // used where the path is nil or the record lacks it (currency, say)
}

// TimeForm is how a time is written.
type TimeForm uint8

// The forms of time.
const (
	RFC3339  TimeForm = iota // also with a space for the T, and without a zone: UTC
	EpochSec                 // a number or digits, fraction allowed
	EpochMilli
	EpochMicro
)

// TimeInput is the event time.
type TimeInput struct {
	Path []string
	Form TimeForm
}

// AmountInput is the amount.
type AmountInput struct {
	Path  []string
	Minor bool // an integer of minor units; otherwise a decimal in major units
}

// EnumInput maps texts to numbers; a record without the field has Default.
type EnumInput struct {
	Path    []string
	Values  map[string]uint8
	Default uint8
}

// OwnField is a field of the bank's that has no canonical name.
type OwnField struct {
	Name string
	Path []string
	Line int
}

// Entity is a thing behaviour is kept for: one field, or several that are
// keyed together.
type Entity struct {
	Name string // "customer", "customer × terminal"
	Keys []FieldRef
}

// FieldKind says what a [FieldRef] refers to.
type FieldKind uint8

// The kinds of fields.
const (
	TextRef      FieldKind = iota // Text: a canonical text field
	OwnTextRef                    // Index in Input.OwnText
	OwnNumberRef                  // Index in Input.OwnNumber
	AmountRef                     // amount_base, in major units where it becomes a feature
	TimeRef
	TypeRef
	StatusRef
)

// FieldRef names a field of a transaction.
type FieldRef struct {
	Kind  FieldKind
	Text  schemas.TextField
	Index int
}

// AggFn is an aggregate function.
type AggFn uint8

// The aggregate functions. Money results are in major units of the base
// currency, durations in seconds.
const (
	Count AggFn = iota
	Sum
	Mean
	GeoMean // exp of the mean of ln(max(x, 1 minor unit)), by fixed-point logarithms
	Std     // population standard deviation
	Min
	Max
	Distinct  // of a text field
	Last      // the value of the newest event before this one, numeric fields only
	FirstSeen // seconds since the entity's first event, the current one included; 0 for the first
	SinceLast // seconds since the event before this one; NaN for the first
	FraudCount
	FraudRate // share of events whose winning label is fraud; 0 where there are no events
	FraudRun  // consecutive fraud labels at the end of the labelled events of the window
	// FraudRunAge is the seconds since the first event of that run; NaN where there
	// is none.
	FraudRunAge
	NumAggFns
)

// Aggregate is one aggregate over one entity's events. Empty windows give NaN
// for mean, geo_mean, std, min, max, last, since_last and fraud_run_age, and 0 for
// the rest.
type Aggregate struct {
	Fn     AggFn
	Arg    FieldRef // for those that take one
	HasArg bool
	Entity int   // index into Entities
	Window int64 // ms; 0 is over all
	Delay  int64 // ms: the window is (t-Delay-Window, t-Delay]
	Before bool  // without the current event
	Where  int   // index into Predicates, -1 none
	Line   int
}

// Predicate is a where clause: a condition over a past event's own fields and
// its own features as its decision recorded them. Its expression holds no
// aggregate.
type Predicate struct {
	Cond *Expr
	Text string // canonical
}

// Feature is one number of the model's input.
type Feature struct {
	Name  string // unique; from "as", or made from the expression
	Expr  *Expr
	Group string // entity × kind, for reasons: "customer amount", "terminal labels"
	Text  string // canonical
	Line  int
}

// MovesByNature reports whether a feature's values on a day are other than those of the
// days before whatever happens: it tells the days of a week or month apart, or is an age
// or a running count, which grows.
func (s *Spec) MovesByNature(feature int) (moves bool) {
	s.Features[feature].Expr.walk(func(e *Expr) {
		switch e.Op {
		case OpWeekday, OpDay:
			moves = true
		case OpAgg:
			a := &s.Aggregates[e.Index]
			grows := a.Fn == Count || a.Fn == Sum || a.Fn == Distinct || a.Fn == FraudCount
			moves = moves || a.Fn == FirstSeen || a.Window == 0 && grows
		}
	})
	return moves
}

// Rule is a fallback line: an action when a condition holds. The first that
// holds decides; none is allow. Its aggregates are in Spec.Aggregates, so the
// engine computes them beside the features.
type Rule struct {
	Action schemas.Action
	Cond   *Expr
	Text   string
	Line   int
}

// Op is what an [Expr] does. Every value is a float64; a comparison gives 1 or
// 0, and NaN where an operand is NaN, save that a predicate or a rule takes NaN
// for false. x/0 is NaN. Results become float32 where they are written.
type Op uint8

// The operations.
const (
	OpConst   Op = iota // Num
	OpField             // Field, a numeric one: amount (major units), own number, time (seconds)
	OpTextEq            // 1 where the text of Field is Str; 0 where not or absent; for Type and Status Num is the number of Str
	OpTextNe            // 1 - OpTextEq
	OpAgg               // Spec.Aggregates[Index]
	OpFeature           // Spec.Features[Index], an earlier one; in predicates and rules any
	OpHour              // hour of day 0..23 of the event time in the zone
	OpWeekday           // 0 Monday .. 6 Sunday
	OpDay               // of the month, 1..31
	OpAdd               // Args[0], Args[1] for these
	OpSub
	OpMul
	OpDiv
	OpLT
	OpLE
	OpGT
	OpGE
	OpEQ
	OpNE
	OpAnd
	OpOr
	OpNot // Args[0]
	OpLog // ln(max(Args[0], 0) + 1), own arithmetic
	OpMin
	OpMax
)

// Expr is a node of an expression.
type Expr struct {
	Op    Op
	Num   float64
	Str   string
	Field FieldRef
	Index int
	// Zone is an IANA name; where ZoneField.Kind is a text field and Zone is
	// empty, the field holds the name (unknown names are UTC).
	Zone      string
	ZoneField FieldRef
	Rules     *Zone // compiled rules of Zone; nil where a field names the zone
	Args      []*Expr
	Line, Col int
}
