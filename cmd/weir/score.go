package main

import (
	"context"
	"flag"

	"github.com/weir-risk/weir/ingest"
)

var scoreCommand = &command{
	name: "score", summary: "score the stream: one durable decision for every transaction", json: true,
	about: `Restores the rolling state from the newest snapshot and the ledger, stands by while
another member of the group decides, and takes over when that one ends. Topics
that are missing are made. Where no broker answers at the start it waits for one, alive
and not ready, and says so once in its log; an unknown name of a host may become known.
A wrong password, certificate or right ends it at once. It runs until Ctrl-C or SIGTERM and then prints what
was decided, in all, by the ledger that it owns.

The first scorer of a ledger makes the keys that are missing in its data folder. A
standby has a folder of its own, and is given the same token key and the public keys
that the first one trusts.

Records of Avro and Protobuf are read by the schemas of --schema-registry. Where it
gives no answer nothing is rejected: the partition waits, the scorer is not ready and
says weir_halted{reason="schema_registry"}, and weir_retries_total counts. A record
with an id that the registry does not know, or that is not what its schema says, is
rejected by name (bad_schema, wire_magic, wire_truncated, wire_value, ...) and is a dead
letter: a schema is to be there, in one registry of the list, before its records. Where
it was not, send the records to the source again once it is: a rejected one is not folded,
so that each is decided as a new one (as too_late where it lies further back than the
spec's late by then). A dead letter's headers weir-partition and weir-offset say where its
bytes are.

With --shards N the ledger has N partitions, and the scorers of a group share them out:
each process decides some, and stands by for the others. Shard K takes the partitions of
transactions whose number modulo N is K, and folds what the others decide. The number
stays what it was when the ledger was made. One shard decides what the largest card
network sends; several divide the scoring, not the memory.

A ledger is decided by one spec until --spec-before names that one, and --spec another:
what was decided is then folded once more, from the ledger's beginning, into the state
that the new spec would have left. Train a model for it first, weir model promote it
(scorers of the old spec refuse it), and start the new scorer as a standby, which takes
over when the old one is stopped; without a model the fallback rules decide. Scorers of
the old spec then halt as ledger_spec: take --spec-before out again once it has decided.`,
	examples: []string{
		"weir score --kafka 127.0.0.1:9092                              # one scorer",
		"weir score --kafka 127.0.0.1:9092 --data standby --listen 127.0.0.1:9465 \\\n      --token-key-file weir-data/token.key --trust weir-data/signing.key.pub   # its warm standby",
		"weir score --kafka k1:9093 --kafka-tls --kafka-sasl SCRAM-SHA-512 --kafka-user weir --kafka-password-file pw",
		"weir score --kafka 127.0.0.1:9092 --source-format avro --schema-registry http://127.0.0.1:8081",
		"weir score --kafka k1:9092 --source-format protobuf --schema-registry https://sr1:8081,https://sr2:8081 \\\n      --schema-registry-ca ca.pem --schema-registry-user weir --schema-registry-password-file pw",
		"weir score --kafka 127.0.0.1:9092 --rollback-key weir-data/signing.key   # a bad champion is rolled back",
		"weir score --kafka 127.0.0.1:9092 --accept-gap 3:1200-1350      # these records are gone for good",
		"weir score --kafka 127.0.0.1:9092 --shards 4                    # a ledger of four shards",
		"weir score --kafka 127.0.0.1:9092 --spec new.spec --spec-before bank.spec   # the ledger goes on by another spec",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		service, score := addService(fs), addScore(fs)
		score.addWatch(fs)
		partitions := fs.Int("partitions", 8, "`NUMBER` of partitions of transactions, where the topic has to be made")
		return func(ctx context.Context, e *env, _ []string) error {
			service.kafka.shards = score.shards
			s, err := service.open(ctx, e, *partitions, score.rights, roleScore)
			if err != nil {
				return err
			}
			defer s.close()
			return s.score(ctx, score)
		}
	},
}

// score runs a scorer, and what else the process does beside it, until the
// context ends.
func (s *service) score(ctx context.Context, f *scoreFlags, beside ...role) error {
	all, err := s.scorers(ctx, f)
	if err != nil {
		return err
	}
	at, stop, err := s.flags.serveMetrics(s.log, s.registry, readiness(all.status))
	if err != nil {
		return err
	}
	defer stop()
	s.log.Info("serves metrics", "address", at)
	if all.nodes[0].Champion() == [32]byte{} {
		if models := all.models[0]; len(models.Refused) > 0 {
			s.log.Error("models were refused", "records", len(models.Refused), "remedy", "--trust FILE names the keys whose models are taken; weir model ls says why")
		}
		s.log.Warn("there is no champion: the spec's fallback rules decide", "remedy", "weir train makes a bundle, weir model promote or --bundle of weir up brings it in")
	}
	err = together(ctx, append(append(all.roles(), role{"", s.reloads.run}), beside...)...)
	r := reportOf(all.status())
	if !s.env.json {
		s.env.printf("%s\n", r)
	}
	if err != nil {
		return err
	}
	return s.env.report(r)
}

// readiness is what /readyz says of a scorer.
func readiness(status func() ingest.Status) func() (bool, any) {
	return func() (bool, any) {
		s := status()
		return s.Ready, map[string]any{"ready": s.Ready, "owner": s.Owner, "reason": s.Reason, "ledger_offset": s.Ledger, "decisions": s.Counts.Decisions()}
	}
}
