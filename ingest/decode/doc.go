// Package decode turns the bank's records into the columns of a batch.
//
// A [Decoder] is compiled from a spec's field paths. [Decoder.Decode] takes one
// JSON record and fills one row of a [schemas.Batch], or refuses the record by a
// named [schemas.Reason]; [Decoder.DecodeFields] does the same for a flat record
// whose cells are already apart, a line of CSV say. [Tokens] make keyed tokens of
// card numbers and other secrets on the way in, so that nothing behind this
// package ever holds one. [Rates] hold dated exchange rates and convert amounts.
//
// Decode goes like this, in one pass over the bytes:
//
//	object   members one by one; a key is looked up among those wanted here
//	take     the value of a wanted key goes to its field, any other is only checked
//	text, time, amount, enum, number, secret   one field from its bytes
//	finish   what is missing; currency, then the amount in its decimals; sign
//
// # What is a record
//
// Strict JSON of RFC 8259 with an object at the top, in UTF-8, checked
// everywhere, in values that no field wants too. What encoding/json lets pass and
// this package does not: broken UTF-8 and lone surrogates in escapes; a wanted
// key, or a key on the way to one, that comes twice; nesting beyond the spec's
// max_depth (the record itself is depth 1); more bytes than its max_bytes. Keys
// are compared after their escapes are resolved, byte by byte. null is the same
// as no value, and so is an empty text save for the id.
//
// A syntax error stops the record where it is. Any other fault is noted, the
// first one counts, and the rest is read on, so that the id of a refused record
// is known whatever the order of its keys. A refused row keeps the fields that
// were good before and after the fault.
//
// Of Avro and Protobuf a record is the JSON that package wireformat makes of it.
//
// # Fields
//
//	text      a string of at most TextMax bytes; for ids (see wholeText) also an
//	          integer, taken as its literal digits; never true or false
//	secret    as text; a card number is 12 to 19 digits, spaces and dashes left out
//	type,     a string or integer that the spec maps
//	status
//	amount    a decimal in a string or a number, exponents too, or an integer of
//	          minor units; exact, at most 18 digits of minor units; below zero only
//	          for refunds and reversals
//	currency  ISO 4217, or the spec's constant where there is none
//	time      RFC 3339, with a space for the T and without a zone (UTC) too, or
//	          seconds, milliseconds or microseconds since 1970; cut to milliseconds;
//	          1970 to 2200, and not beyond the record's Kafka timestamp and the
//	          spec's tolerance where there is a timestamp
//	number    a float64, correctly rounded, from a number or a string of one
//
// A value where the path wants an object is a fault of the first field below it.
//
// Amounts of other currencies keep AmountBase 0 for the step to convert: rates
// change with the ledger, and decoding does not look at it.
//
// # The key
//
// A decision's Kafka key in the ledger is that of its source record. Where the
// spec has secret fields it may be one of them: the key that is a secret field's
// value gives way to that field's token, the value of another text field stays,
// and of any other key, also that of a record which could not be decoded far
// enough to tell, there is a token. Without secret fields a key of more than
// TextMax bytes is left out.
//
// # Ownership
//
// A Decoder and a Rates belong to one goroutine. Tokens may be shared. Nothing
// passed to Decode is kept: texts are copied to the batch's arena. In steady
// state a record costs no allocation, whether it is taken or refused.
//
// The package has no clock and does no I/O; reading files is for cmd/weir. It does
// not fold, convert or look at other records.
//
// # Files
//
//	decode, finish   the pass over a record, and what is settled behind it
//	scan, check      JSON's syntax; every test that can stop a record
//	path, table      the spec's paths as a tree; names to numbers
//	field            one field from its bytes
//	decimal, time    numbers exactly as written; times
//	flat             records whose cells are apart
//	token, key       keyed tokens; what a decision's key is to be
//	rate, rates      a rate record; dated rates and conversion
package decode
