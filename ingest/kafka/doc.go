// Package kafka is weir's log client: what the rest needs of Apache Kafka, and
// nothing else.
//
// Fetch and Produce move record batches as bytes; [Records] walks them and
// [BatchWriter] makes them, both without allocating in steady state. A reader
// sees committed data only: control records and records of aborted transactions
// are left out here, because kafka-go hands both out. [LedgerReader] is the one
// reader of the ledger and [Chain] its rule. [Join] makes a member of the group
// that shares the shards out; a rebalance leaves a shard with its holder.
//
// kafka-go administers, keeps the membership and has the SASL mechanisms. The
// requests of the hot path are framed here: kafka-go's own codec costs 0.63 us
// a record to read and 1.8 us to write, and its answers hide the batches'
// attributes. [Security] says how client and brokers prove who they are.
//
// What was learnt the hard way: Kafka refuses a header whose key is null. A new
// topic's leader may answer for some moments that it is not. A time-out at the
// broker, and replicas lost after the append, leave open whether a batch is in
// the log, as a broken connection does; a connection that waited is looked at
// before it carries a request. A group with members takes offsets from nobody
// else, so progress is committed under another name ([Client.CommitOffsets]).
// A topic that was deleted and made again is another, though offsets and ends may
// fit: only its id tells, so fetches ask by the id. Brokers take that from Kafka 3.1
// on.
//
// A [Client] may be used by many goroutines. Readers, writers and Records are
// for one. [Classify] says which errors are worth another try.
package kafka
