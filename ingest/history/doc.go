// Package history keeps what the ledger said for as long as people and the
// trainer want to ask: every decision in typed columns, the other entries of
// the ledger, the facts of its batches, labels version by version, alerts and
// dispositions.
//
// What goes in are blocks: a stretch of one partition of one topic, cut where
// a [Block] says it is full, or earlier where the stream is idle. What comes out
// are the ledger's batches with the very bytes of their records
// ([Store].Batches), vectors with the labels known by a date ([Store].Rows), counts,
// and single things for whoever looks at one decision ([Lookup], [Neighbourhood]).
// Everything here is a fold of the log and can be thrown away and written again.
//
// # Exactly once
//
// The store keeps its own position. A block begins there, and Write moves it:
//
//	position at From ── intent: From..Next ── the rows, table by table ── position at Next
//
// In SQLite that is one transaction. ClickHouse has none, so the intent says
// beforehand where the block ends: whoever goes on after a crash must cut the
// block at the same offset and so sends the same rows under the same tokens, of
// which the server keeps one. A partial block is final; the next begins after
// it. A block that lies before the position was written already, and writing it
// again does nothing. The tables' engine, which replaces rows of equal keys, is
// the second line: Counts tells both numbers.
//
// # Bytes
//
// A decision is kept as columns and its record is made again from them. Where
// that would not give the same bytes (fields that a newer weir wrote, numbers
// that a column cannot hold), the record is kept beside its columns. What is no
// decision is kept as it is, and so is a record that this weir cannot read, under
// kind 0.
//
// # Limits
//
// A block is full at [BlockRecords] records or [BlockBytes] bytes. One writer a
// database. In ClickHouse the tables are those of one server, not replicated.
// Times are ms since the Unix epoch, in UTC.
//
// What it does not do: read the log, retry a write (the recorder does; [Classify]
// says whether to), delete old rows.
//
// Files: history.go (the store, opening), block.go, window.go and rows.go (what
// comes out), lookup.go (single things), memory.go (payments without a store),
// figures.go (what days came to), classify.go, migrate.go with migrations/, sqlite*.go, clickhouse*.go.
package history
