// Package spec reads feature specs: the one place where a bank says what its
// records look like, what behaviour is kept, and what the model sees.
//
// A text goes in and a checked [Spec] comes out of [Parse], or every mistake at
// once as [Problems], each with its place, what was found, what was expected and
// what to do. [Builtin] gives the specs that come with weir. Nothing changes a
// Spec afterwards, so that any number of goroutines may read one.
//
// Parse goes like this:
//
//	lexLine    a line into words, numbers, durations, texts, paths and signs
//	parseFile  lines into declarations and expressions, names unresolved
//	check      names into fields, entities and features; every rule of the language
//	canonical  the one form of what was said, and its SHA-256
//
// # The language
//
// One declaration a line; # begins a comment. A small spec:
//
//	spec payments
//	base EUR                                      # currency of all sums
//	field id = $.id                               # id, time and amount are required
//	field time = $.ts as rfc3339                  # rfc3339, s, ms or us
//	field amount = $.amount decimal               # decimal, or minor for minor units
//	field currency = $.currency default "EUR"
//	field card = $.card.pan secret keep bin       # a keyed token; first six and last four kept
//	field customer = $["customer id"]
//	field channel = "ecom"                        # the same for every record
//	field text risk_band = $.x.band               # fields of the bank's own
//	field number device_age = $.device.age
//	field type = $.kind default authorisation
//	type authorisation = "auth", "AUTH"           # the bank's values; without such lines weir's names
//	status approved = "A"
//	scored authorisation, transfer, payout        # other types are only folded
//	home customer dedup 7d                        # where repeated ids, labels and reversals are looked for
//	late 24h                                      # how far an event may lie behind its entity's newest
//	future 5m                                     # and beyond the record's Kafka timestamp
//	maturity 90d                                  # age from which no label means genuine
//	labels analyst, chargeback, issuer_report, customer_report, default   # strongest first
//	dlq reference                                 # or bytes: what a dead letter holds
//	max_bytes 65536
//	max_depth 16
//	amount / mean(amount) by customer over 30d as amount_vs_month
//	count() by customer over 7d where amount_vs_month > 2.5 in group "customer amount"
//	fallback review when amount > 1000 and count() by customer over 1h > 5
//
// The canonical text fields are id, original_id, currency, card, customer,
// account, counterparty, merchant, mcc, terminal, country, channel, entry_mode,
// device and ip. Types are authorisation, capture, reversal, refund, transfer
// and payout; statuses unknown, approved and declined.
//
// Every other line is a feature: an expression, then perhaps as NAME and in
// group "GROUP". Expressions have or, and, not, the comparisons == != < <= > >=,
// + - * /, parentheses, log(x), min(x, y), max(x, y), hour(time), weekday(time)
// (0 is Monday), day(time) and weekend(time), each with a zone if wanted, as in
// hour(time, Europe/Brussels) or hour(time, zone_field); the names of numeric
// fields and of features further up; and texts, as in channel == "ecom".
//
// Aggregates are count(), sum(x), mean(x), geo_mean(amount), std(x), min(x),
// max(x), distinct(field), last(x), first_seen(), since_last(), fraud_count(),
// fraud_rate(), fraud_run() and fraud_run_age(). Behind them, in any order, stand
// by FIELD (or by FIELD × FIELD, with x or * for ×), over DURATION or over all,
// delay DURATION, before, and where CONDITION; these belong to the aggregate
// directly before them, and where reaches as far to the right as it can.
// first_seen, since_last and last are over all where nothing else is said,
// fraud_run and fraud_run_age over 90d. distinct and the fraud aggregates need a
// window. A where clause asks for the past event's own fields and for any feature
// as it was decided on then.
//
// Durations are whole numbers of ms, s, m, h, d and w. A feature without a name
// is given one: mean_amount_by_customer_30d.
//
// # Limits
//
// They stand in limits.go, each with its message. Windows are at most 400 days.
// Time zones come from rules built into the program ([ZoneRelease]), never from
// the machine, and serve times from 1970 to 2200.
//
// The package does not read records, keep state or compute features: decoder and
// engine are built from a Spec elsewhere. It has no clock and does no I/O.
//
// # Files
//
//	spec, limits                the checked form, and its bounds
//	lexer, ast                  a line's tokens, and what it declares
//	parser, parser_decl,        lines, declarations, expressions
//	parser_expr
//	check, fields, check_expr,  the rules of the language: settings, fields,
//	aggregates, names, circles  expressions, aggregates, names and groups, order
//	format                      canonical text
//	follow                      one spec after another
//	zones                       local time
//	problem, parse, builtin     mistakes; the way in; specs that come with weir
package spec
