package schemas

// Reason names why a transaction was not scored as usual. Numbers are never
// reused; the ledger holds the number, people and metrics see the name.
type Reason uint16

// The reasons. Those of rejected come first, then unscored, then the rest.
const (
	NoReason Reason = iota

	// Rejected: the record cannot be decoded.
	NullValue       // a record without a value
	Oversize        // larger than the spec allows
	BadUTF8         // broken UTF-8, or a lone surrogate in an escape
	BadJSON         // not JSON: a syntax error
	TrailingBytes   // something after the JSON value
	TooDeep         // nested deeper than the limit
	NotObject       // the JSON value is not an object
	DuplicateKey    // a named field twice
	MissingID       // no transaction id
	BadID           // the id is of a wrong type, empty or too long
	MissingTime     // no event time
	BadTime         // event time of a wrong type or form
	AbsurdTime      // before 1970 or after 2200
	FutureTime      // beyond the record's Kafka timestamp and the tolerance
	MissingAmount   // no amount
	BadAmount       // amount of a wrong type or form
	AmountRange     // amount beyond what minor units of 18 digits hold
	AmountPrecision // more decimals than the currency has
	NegativeAmount  // below zero where the type allows none
	BadCurrency     // not a code of ISO 4217
	BadType         // a transaction type that the spec does not map
	BadStatus       // a status that the spec does not map
	BadText         // a text field of a wrong type
	TextTooLong     // a text field beyond the limit
	BadNumber       // a numeric field of a wrong type or form
	NumberRange     // a number that no float64 holds, such as 1e400
	BadSecret       // a card number that is none
	BadSchema       // not the schema that the registry's wire format names
	BadLabel        // a label that cannot be decoded
	BadCompression  // a record batch that cannot be decompressed; not given: such a log halts a node

	// Unscored: decodable, but barred from scoring.
	TooLate       // further behind its entity's newest event than late_max
	NoRate        // no exchange rate to the base currency
	MissingEntity // the spec requires an entity that the record lacks; not given: no spec can
	NotScoredType // a type that the spec folds only

	// Duplicate.
	Repeat   // the same id with the same content
	Conflict // the same id with other content

	// Degraded.
	NoModel     // no bundle is loaded
	ModelFailed // no back end could score

	// Rejected too: a record in a registry's wire format.
	WireMagic     // another first byte than the wire format's
	WireTruncated // the record ends within a value
	WireValue     // bytes that no value of the schema has

	NumReasons
)
