package schemas

// Topics are the names of the topics.
type Topics struct {
	Transactions, Decisions, Alerts, Labels, Dispositions, Models, Rates, Audit, DLQ string
}

// DefaultTopics returns the usual names, each behind prefix.
func DefaultTopics(prefix string) Topics {
	return Topics{
		Transactions: prefix + "transactions", Decisions: prefix + "decisions", Alerts: prefix + "alerts",
		Labels: prefix + "labels", Dispositions: prefix + "dispositions", Models: prefix + "models",
		Rates: prefix + "rates", Audit: prefix + "audit", DLQ: prefix + "transactions.dlq",
	}
}

// Layout is how a topic is made where it is missing.
type Layout struct {
	Topic      string
	Partitions int
	Config     map[string]string
}

// Layouts returns the recommended layout of each topic for a ledger of one shard;
// sources is the number of partitions of transactions and their dead letters.
func (t Topics) Layouts(sources int) []Layout { return t.Sharded(sources, 1) }

// Sharded does as Layouts for a ledger of so many shards.
func (t Topics) Sharded(sources, shards int) []Layout {
	// The ledger is never compacted and never trimmed by itself: what is kept
	// of it is what can be proved. Its batches may be larger than the default.
	ledger := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "4194304"}
	kept := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
	compacted := map[string]string{"cleanup.policy": "compact", "max.message.bytes": "9437184"}
	return []Layout{
		{t.Transactions, sources, nil},
		{t.Decisions, shards, ledger},
		{t.Alerts, shards, kept},
		{t.Labels, 1, kept},
		{t.Dispositions, 1, kept},
		{t.Models, 1, compacted},
		{t.Rates, 1, map[string]string{"cleanup.policy": "compact"}},
		{t.Audit, 1, kept},
		{t.DLQ, sources, nil},
	}
}
