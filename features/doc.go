// Package features keeps what every card, account, merchant and device has
// done, and turns each transaction into the vector of numbers that a feature
// spec asks for.
//
// Batches of decoded transactions go in ([Engine.Step]); vectors, verdicts and
// the actions of the fallback rules come out. A ledger's records go in by
// [Engine.Fold] and [Engine.Label], and leave the same state, byte for byte.
//
// A row is taken like this:
//
//	look     hash the texts that name its entities; ask for what they lead to, rows ahead
//	check    repeated id, too late
//	seek     move each entity's windows to the row's own time
//	compute  aggregates, features, predicates, fallback rules
//	place    put the row into each entity's ring, in event-time order
//	rest     move the windows back to the newest event; evict
//
// # What a feature sees
//
// A window of n with a delay of d, computed for an event at t, holds exactly
// the entity's events in (t-d-n, t-d]: of those at the same time, those before
// it in the ledger, and itself unless `before` or a delay leaves it out. A
// where clause is true of the current event as of any other: by the clause's
// own features, which are therefore computed first.
//
//   - An entity whose key text the record lacks has no behaviour: all its
//     aggregates, counts too, are NaN, and nothing is folded there. A pair needs
//     both texts.
//   - A row is too late if it lies more than LateMax behind the newest event of
//     its home entity, or, where it has none, of any of its entities. Another
//     entity may be further ahead: the row is then folded and scored, and
//     carries Approximate, since what it should see may be evicted there.
//   - A repeated id is looked for before lateness is: a record that comes again
//     a day later is a duplicate, not late.
//   - A ring keeps the events with time > newest - keep, keep being the longest
//     window and delay plus LateMax; the home entity's ring keeps the dedup
//     window plus LateMax at least, and as long as any ring that labels or
//     reversals must find from there. What leaves a ring goes into the base of
//     `over all`, unless it is reversed.
//   - A reversal hides its original from queries at or after the reversal's own
//     time, also where it came before its original in event time. It is no event
//     itself, is not looked for among repeated ids, and counts as unmatched
//     where the original is not kept, or is reversed already.
//   - A label counts from its place in the ledger on, for every query. It reaches
//     every kept event of its id. One that has left the ring stays in the base
//     as what it was known to be then.
//   - While a record has the card's token under the previous key, that is what
//     counts, as key and as value. Behaviour kept so ends with the previous key.
//   - Texts count as their 64-bit keyed hash; own numbers as multiples of a
//     millionth, within about 1.15e12 either way; NaN numbers are left out.
//     last() is the newest event's value, NaN where that event lacks it.
//   - `and` and `or` know the unknown: true or NaN is true, false and NaN is
//     false; what is NaN in the end is false for a predicate or rule.
//
// # Ownership and limits
//
// One goroutine uses an Engine. It keeps no reference to a batch. State lies
// in flat slabs of words, split into [Parts] parts by the entity's hash; there
// is no pointer per entity. An entity that holds more rows than its budget has
// its oldest merged into buckets (coarse.go) and its rows flagged Approximate.
// Times are ms since the Unix epoch, from 0 to 2^43; amounts minor units below
// 2^60 either way. It has no clock and does no I/O.
//
// # Files
//
//	engine, row        the API and the way of a row
//	check, plan, order what a spec compiles to
//	compile, program   expressions
//	key                hashes
//	part, ring, seek   memory, events in order (stamps before columns), windows that move
//	plain              windows of a count and a sum, moved fast
//	prefetch           memory that is asked for ahead, in assembly
//	state, tally       the running sums of a window, and of what left the ring
//	amount, extreme,   one family of aggregates each
//	distinct, recent,
//	fraud
//	index, label, reverse  from a transaction's id to its events
//	coarse             entities over their budget
//	snapshot, load     canonical bytes
//	image              the bytes of one moment, while rows go on
//	wide, fixed        exact integers, logarithms
package features
