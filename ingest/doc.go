// Package ingest turns a stream of transactions into a ledger: one durable
// decision for every record, the same decisions whenever the same log is read
// again.
//
// Records of the topics transactions, labels and rates go in; batches of the
// topic decisions come out, and once these are durable the alerts and dead letters
// that they call for. A [Node] does it for one shard: it restores its state, folds
// the ledger as a standby while another member of the group decides, and takes
// over when that one ends. [VerifyLog] proves a ledger, and a [Recorder] copies it
// into a history.
//
// An owner goes on like this:
//
//	fetch    one source partition each: read, decode            fetcher
//	merge    all partitions in one order                        merger
//	step     fold, score, decide, write: a pure function        Decider
//	publish  one batch a step, acknowledged by all replicas     publisher
//	follow   alerts and dead letters of what is durable         follower
//
// # What stays true
//
//   - [State] is the fold of the ledger to an offset and of nothing else. Whoever
//     folds the same ledger, live, from a snapshot or to verify it, holds the same
//     bytes ([StateHash]).
//   - The step reads no clock, no network and no random source. The same records
//     in the same order give the same decisions however they are cut into steps.
//   - The order of the merge is (largest event time so far in the partition, class,
//     partition, offset); labels and rates come before transactions of their time.
//     A node that is live waits for nobody; one that catches up takes the smallest
//     key of all partitions that have records waiting.
//   - Decided is what the one reader of the chain would take (ingest/kafka). A
//     batch is sent again with the same bytes only; where another writer's was
//     taken first, all that was built on the lost version is thrown away.
//   - Nothing follows from a decision before it is durable. Alerts are published
//     in order, one request in flight, and again from the mark in the ledger's
//     facts after a crash; their readers drop what comes twice.
//   - Nothing is dropped to keep up: each queue is bounded, and a full one blocks
//     what fills it.
//
// # Who owns what
//
// The decider's goroutine owns the State. Fetchers, publisher, follower and the
// watch over the topics have goroutines of their own, which the owner starts and
// waits for; what passes between them changes hands whole. Clocks come in by
// [Config]. What a person has to mend halts a node: it stays up and says why.
//
// The package does not compute features or scores, and keeps no history.
//
// # What halts a node
//
// A node that halts decides nothing, says weir_halted{reason} and is not ready; it
// looks again every few seconds and goes on once it can. It leaves the group, and
// joins again only then. The reasons:
//
//	ledger_truncated   decisions ends before what was taken, or is a new topic with old alerts
//	ledger_recreated   decisions is another topic than it was
//	ledger_trimmed     what a start has to fold is deleted already
//	ledger_partitions  decisions has another number of partitions
//	ledger_corrupt     a record batch of decisions is damaged
//	ledger_unreadable  a taken record is not of this version
//	ledger_spec        the ledger was decided with another spec: --spec-before
//	ledger_key         the ledger's tokens are of another token key
//	source_recreated   transactions is another topic than the ledger began with
//	source_partitions  transactions has another number of partitions than the ledger knows
//	source_truncated   a source topic ends before what was decided
//	source_gone        source records were deleted before they were decided: --accept-gap
//	source_corrupt     a record batch of a source is damaged: --accept-gap
//	source_old_format  a record batch of a source is of message format 0 or 1: --accept-gap
//	gap_refused        --accept-gap names other records than those that are missing
//	offset_gone        records were deleted while they were read
//	topic_gone         a topic does not exist
//	too_large          the ledger's max.message.bytes does not hold a decision
//	clock_ahead        this host's clock is ahead of the broker's, which refuses its time
//	state_full         the state takes more memory than --state-max
//	schema_registry    a partition waits for a schema that the registry does not give
//	error              anything else, in words in the log and in /readyz
//
// A node for which Kafka does not answer, or not yet, halts not: it is not ready, says so
// at /readyz and once in its log, and asks again until it is answered. Nobody has to mend
// the node.
//
// # Another spec
//
// A ledger goes on by another spec where Config.Before names the one that decided it
// until then: a record of the ledger says so, with the spec's text, before the first
// decision that it concerns. The state of a spec is a function of the ledger whoever
// decided: what another spec decided is decided once more, of the recorded transactions
// in their order, as the spec would have done, had it decided from the beginning. So
// nodes, standbys and [VerifyLog] need nothing but the ledger, which a node that starts
// has to fold from its beginning, once: as a standby of the node that decides by the
// spec before, it takes over when that one stops. What the spec before did not read of
// a record is absent in the past, what it could not decode stays so, and a base
// currency or what is secret cannot change. Models are of one spec: without one of the
// new spec in the slot the fallback rules decide.
//
// # Shards
//
// Each partition of decisions is a shard, a ledger of its own with its own chain, owner
// and snapshots; a process has a node for each, and the members of the group share the
// shards out. Shard k of L takes the source partitions p with p mod L = k, and all
// labels, rates and models. What the others decide it folds from their ledgers, between
// two steps, and the facts of its batches say up to where: so its state is a function of
// the ledgers, whoever folds them, and [VerifyLog] and [VerifyHistory] prove shard by
// shard. What was gathered for one step is folded in merge order. A shard that has
// nothing to decide says from time to time that it has folded the others, so that nobody
// has to gather much.
//
// Live, a shard waits for none. One that catches up looks at what the others have ahead
// in the source, and stays within Config.SkewMax of the first record that another has
// waiting, or with Config.Strict exactly behind it: then four shards decide what one
// would have. A label waits until the transactions that were written before it have been
// decided, by whichever shard, and holds up nothing else while it does.
//
// # Models
//
// The topic models holds bundles, and slots that point at them. A node loads what
// the slots champion and challenger point at beside its work: the slot's and the
// bundle's signatures, the spec and its columns, every table, and the bits of the
// self-test rows on the back end that is to serve. It swaps between two steps, and
// the ledger says so before the first decision that it concerns. The challenger
// scores the same vectors in the same step and does nothing else, unless its slot
// gives it a share of the cards, by hash, for which it decides; both scores are in
// the decision. A challenger that fails while it serves is taken out.
//
// A slot's record names the one that it is to replace. Of two people, or a person and a
// node that rolls back, who replace the same one at once the first in the log has it:
// every reader passes the other over, and whoever wrote that is told by whom they were
// overtaken ([Models.Point]). A record without such a name is of before there was one,
// and replaces what is there. Since compaction keeps the last record of a slot, the one
// in force is written again behind one that was overtaken, by its writer or the owner.
//
// For a day after a swap (Config.WatchFor) the champion before it scores on where no
// challenger is set. Where the new one alerts on more than twice or less than half
// of what its held-out days promised, and the one before it does not on the same
// transactions, the owner rolls the swap back: by one record of models, signed with
// Config.RollbackKey, that all nodes follow. Where both do, it is drift or an attack,
// and an alarm only; so it is where there is no key. An attack that the new one alone
// sees cannot be told from a bad champion without labels, and is rolled back.
//
// What is not sound is refused by its name, in the log, in
// weir_models_refused_total{slot,reason} and by weir model ls, and what served
// before goes on. A node that starts where the champion's slot points at such a
// bundle goes on with the champion that the ledger names. The reasons:
//
//	too_large, truncated, not_a_bundle, unknown_version,   the file
//	trailing_bytes, wrong_hash, misfiled
//	unsigned, unknown_signer, wrong_signature              whose it is
//	manifest, sections, no_spec, features, calibration,    what it holds
//	rank_key, threshold, exploration, facts, background,
//	no_self_test, profile, shape, not_finite, encoding,
//	unbounded
//	foreign_spec, spec_text, columns, self_test, device    whether it can serve here
//	no_bundle, slot_signature, slot_empty, slot_form,      the topic's records
//	slot_stale, slot_overtaken, key
//	error                                                  anything else
//
// # Files
//
//	node                          a node's life, and why it halts
//	restore, silence              where its state comes from; standing by
//	snapshot, save                snapshots: the file; made beside the stream
//	others, abroad, seat          what other shards decided; the same while this one
//	                              decides; a process's place in the group
//	own, source, phase,           ownership of a shard, and the topics beneath it
//	unreadable
//	topics                        whether the topics' settings keep what is promised
//	fetch, format, merge, work    from partitions to the input of a step
//	step, output, state, fold,    the step; the state and what moves it; what another
//	past                          spec decided
//	publish, follow, deadletter   into the ledger, and what follows from it
//	why                           the reasons in alerts
//	models, models_publish,       bundles and slots; what is refused; the swap between
//	watch, refuse, serving        two steps
//	probation                     a new champion against the one before it; the roll-back
//	lookout                       the last day of vectors against the champion's training
//	verify, audit, audit_origin,  proof of a ledger, from the log or a history
//	audit_history
//	recompute                     proof of one decision, from the history
//	record, record_metrics        from the log into a history
//	effects, metrics, spans       retries, the room of the state; counters; traces
package ingest
