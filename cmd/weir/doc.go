// Command weir scores a stream of payments: every payment in, one durable
// decision out.
//
// This page is the tour of the architecture. Begin a change by reading the part
// that it is about, and the doc.go of that package.
//
//	transactions ─┐                                       ┌─> alerts ──> desk ──> dispositions ─┐
//	labels ───────┼─> step: decode fold score decide ──> decisions (the ledger)                 │
//	models ───────┘        ^                              ├─> history (ClickHouse) ──> trainer ─┼─> models
//	                       └──────── recovery ────────────┘                       labels <──────┘
//
// # One idea
//
// The ledger is the state. The topic decisions holds, in one total order, all
// that changes what the next decision depends on: a decision for every source
// record, and a short record where a label, a rate, a bundle or a gap took effect.
// Memory, snapshots, SQLite and ClickHouse are folds of it and can be thrown away.
// The step that makes decisions is a pure function, so whoever holds the ledger can
// prove every bit of it.
//
// # From the bottom up
//
// schemas are the nouns: [schemas.Batch] holds decoded transactions as columns,
// [schemas.Decision] is the ledger's record of one, [schemas.Facts] what is true of
// a batch. It imports nothing of weir's.
//
// features/spec reads a feature spec, and features keeps exact rolling behaviour
// in flat memory: [features.Engine.Step] turns rows into vectors,
// [features.Engine.Fold] moves the same state from recorded rows. Aggregates are
// integers, so that any path to the same set of events gives the same bits.
//
// scoring says operation by operation what a score is; scoring/cpu does that in
// AVX2 assembly and in plain Go, to the same bits, and scoring/cuda on a GPU: a
// [cuda.Device] keeps the driver in a process of its own, weir gpu-worker, and the CPU
// stands in for it. A [scoring.Bundle] is a model with all that is needed to serve it
// and to prove that it is served right.
//
// ingest/kafka is the log client. kafka-go dials, authenticates and keeps the
// membership; record batches are read and written here without allocating. Its
// [kafka.LedgerReader] is the one reader of the ledger, and [kafka.Chain] the rule
// that makes exactly-once without Kafka transactions. ingest/broker is kfake with a
// data folder, for a weir with nothing else installed.
//
// ingest/decode turns JSON into columns, strictly, and ingest/decode/wireformat turns
// Avro and Protobuf, by the schemas of a registry, into that JSON. ingest is the node:
// restore, stand by, own. ingest/history keeps what the ledger said in ClickHouse or SQLite.
// ingest/pages has the system gather a large state's memory into huge pages.
// ingest/simulate is a bank to try weir on, and ingest/peer the service that a good
// engineer writes in a day, to be measured against.
//
// trainer learns a model from rows and what became of them, holds it against the one in
// service, and reports.
//
// alerts folds what analysts do by one rule, [alerts.State.Apply], into a view that can
// be thrown away; alerts/desk are the pages where they do it, behind accounts, sessions
// and an audit log, the same for programs, and webhooks that tell other systems. weir
// desk serves them, and so do weir up and weir demo.
//
// ingest/trace tells an OpenTelemetry collector of sampled transactions, from record to
// decision, history and desk, where somebody asks for it.
//
// This package wires these: main.go, command.go and commands.go are the frame, and
// each command has a file of its name. service.go is what the long-running ones
// share.
//
// # How it is told what to do
//
// A setting has one name: the flag --kafka-sasl is the variable WEIR_KAFKA_SASL and the
// key kafka.sasl of the file that --config or WEIR_CONFIG names, weir.yaml; some have a
// shorter flag beside, --web for desk.web. A flag goes before a variable, that before the
// file, and the file before what holds otherwise; no file is read that nobody named.
// [config.Settings] lists them all, and settings.go puts them into the flags. On SIGHUP
// reload.go makes good what is safe of a file that has changed, and names the rest.
//
// # What happens to a payment
//
// A fetcher reads it with others of its partition and decodes it into a chunk. The
// merger takes records of all partitions in the order of event time, as many as
// are there, into one step. The decider moves the engine over them, scores all
// vectors at once and appends one ledger record each. The publisher sends the step
// as one record batch, acks=all, while the next step is decided; it counts as
// decided when the answer's offset is the one that was expected. Then the follower
// publishes the alert, if the decision calls for one, with its reasons.
//
// # What happens when a scorer dies
//
// The group gives the shard to a standby, which has folded the ledger all along.
// It reads to the ledger's end, draws a new writer id, publishes again the alerts
// above the mark that the ledger carries, and goes on after the last source offsets
// that were decided. A batch of the dead one that arrives late extends a batch that
// is no longer the last, and every reader drops it.
//
// # When one scorer is not enough
//
// Each partition of decisions is a shard, decided by one process of the group; the others
// stand by for it. A process has a node for each shard, with a state of its own: several
// shards divide the work and multiply the memory. Between two steps a shard folds what
// the others decided, and its batch says up to where, so that its state is a function of
// the ledgers all the same. A scorer that has lost a shard and does not know it yet does
// no harm: its batches extend nothing.
//
// What a folder of data holds that is nowhere else, keys and accounts, weir backup puts
// into one sealed file and weir restore brings back; all else is a fold of the ledger. Age
// seals it, by its own format: who has the passphrase opens it without weir.
//
// # How to look into it
//
//	weir status              nodes, lag, decisions, models, history and desk on one screen
//	weir tail decisions      the ledger as JSON
//	weir verify              every bit recomputed
//	weir model watch         whether days are as in training, and what the labels say
//	/metrics, /readyz        what a node says of itself; weir_halted names what a person has to mend;
//	                         weir metrics lists them all
//	--otlp-endpoint URL      where time goes, of sampled transactions: traces of OpenTelemetry
//	go test ./ingest -run X  the whole program on the embedded broker, in one process
//	make integration         the same on Apache Kafka, ClickHouse and a schema registry
//	make browser             a day at the desk, in Chromium; make screenshots shows its pages
//
// # Non-obvious
//
// An answer without the expected offset is no failure: the batch may be in the
// log. The publisher reads the log from the last batch taken before it sends the
// same bytes again, and never sends others.
//
// The embedded broker forgets to time out a member that dies between its join and
// the answer; nobody decides any more, and every heartbeat is answered well. A
// standby that sees records wait while the ledger stands still joins again.
//
// Kafka deletes by the records' own timestamps: a replay whose records carry the
// event time of last year is deleted while it is written. weir then halts with the
// offsets that are gone, and goes on only when told to accept the gap.
//
// What a schema registry does not answer is waited for, and what it does not know is
// rejected, for good: a decision is durable. Once the schema is there, the records are
// sent again, and each is decided as a new one. A ledger with such a record cannot be
// proved then, since what was unknown is not in the ledger.
//
// A state is a function of the ledger and one spec, also where others decided: a ledger
// goes on by another spec as if that one had decided from the beginning ([ingest]).
//
// A label is merged by when it was known, and one of the future comes behind all that
// happens until then, with the labels behind it. What an analyst says of a stream that
// lives at another time, as the demo's does, is known at the stream's time:
// [alerts.Config.KnownAt].
//
// Ranges of a group are given out by member id, so that a standby which joins can
// take the shard from a healthy owner. The group's balancer is weir's own: whoever
// holds the shard keeps it.
//
// A group answers nobody who joins until all its members have, and waits for a
// dead one until it is sure. The holder joins like the rest: it keeps the shard
// for longer than that takes, or the death of a standby takes it from the living.
// A group that is formed anew answers after group.initial.rebalance.delay.ms at the
// earliest: a join is waited for as long as the broker answers others, or who gave up
// would be one more that is dead. A node that halts begins anew every few seconds, and so
// it joins only once it could take over: a holder that is busy is else made to join again
// and again, until it once is late.
//
// Two partitions that are read side by side drift apart, and features shared
// between them come out wrong on a replay: the merge is what makes a catch-up equal
// to live, and a test fails where it is switched off.
package main
