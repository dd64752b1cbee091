// Package wireformat turns records in the wire format of a schema registry, Avro or
// Protobuf, into JSON text for the decoder.
//
// A [Schemas] gets schemas from a registry by their id; a [Reader] compiles each
// for one spec and turns records into JSON. The JSON goes to the one decoder of
// JSON records, so that paths, checks and reasons are the same whatever a topic is
// written in, and a bank's spec serves all of its topics.
//
// Reader.JSON goes like this:
//
//	frame     magic byte 0, the schema's id in four bytes; for Protobuf the list of
//	          indexes of the message in its file
//	program   the id's schema, compiled for the paths that the spec reads
//	value     the record, field by field: what the spec reads is written as JSON,
//	          anything else is only checked
//
// # What becomes of values
//
//	integers, booleans, text   themselves; a number stays a number where the JSON
//	                           mapping of Protobuf writes a string of one
//	float, double              the shortest decimal that reads back as the same;
//	                           "NaN", "Infinity" and "-Infinity" as strings
//	decimal                    exactly, as an integer with an exponent: 1250e-2
//	                           (Avro's decimal, confluent.type.Decimal)
//	timestamps                 the instant, written in the form that the spec's time
//	                           has, whatever their unit; local ones are UTC
//	                           (Avro's, google.protobuf.Timestamp)
//	date, time of day, uuid    2026-01-02, 03:04:05.678, and five groups of hex
//	bytes, fixed               Avro: a character a byte; Protobuf: base64
//	enum                       its name; of Protobuf also its number where it has none
//	union, wrappers            the value that is there, or null
//	map, array, repeated       objects and arrays
//
// A field of Protobuf has the name that the .proto gives it; the spec may also name
// it by its JSON name. A field without presence, as of proto3 without optional,
// always has a value: its default where the record lacks it. Only the spec's time
// is then missing: a payment of 1970 is none. Of a singular message that comes in
// pieces the pieces are merged, as Protobuf asks.
//
// # What is refused
//
//	wire_magic       not the wire format: another first byte
//	bad_schema       an id that the registry does not know, a schema of another kind
//	                 or one that cannot be read, an index of no message
//	wire_truncated   the record ends within a value
//	wire_value       bytes that no value of the schema has
//	trailing_bytes   bytes behind the record
//	bad_utf8         text that is no UTF-8
//	absurd_time      a timestamp before year 1 or after 9999, that the spec reads
//	too_deep         nested beyond the spec's max_depth
//	oversize         beyond its max_bytes, as it came or as JSON; or more values, or
//	                 pieces of messages, than that many
//
// A registry that does not answer is no fault of the record: JSON returns an error,
// and the caller tries again. What a registry said of an id it knows holds for
// ever; of one that it does not know, for some seconds, since a registry's copies
// lag. Records that come meanwhile are refused all the same: what is to be waited for
// cannot be told from what never comes.
//
// # Ownership
//
// A Schemas may be used by any number of goroutines, a Reader by one. The JSON is
// good until the Reader's next record. In steady state a record costs no
// allocation, whether it is taken or refused.
//
// Aliases, defaults of a reader's schema and required fields of proto2 do not
// matter here: a record is read with the schema that it was written with, and what
// must be there the spec says. Struct, Any and Duration of Protobuf are messages
// like others. Schemas that Kafka headers name (magic byte 1) are refused.
//
// # Files
//
//	reader                 framing, limits, programs
//	schemas                the registry, and what it said
//	want                   which fields the spec reads
//	avro, avro_schema      records of Avro; their schemas compiled
//	message, proto_schema  likewise of Protobuf
//	text                   JSON text
package wireformat
