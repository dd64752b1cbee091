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
that are missing are made. It runs until Ctrl-C or SIGTERM and then prints what
was decided, in all, by the ledger that it owns.

The first scorer of a ledger makes the keys that are missing in its data folder. A
standby has a folder of its own, and is given the same token key and the public keys
that the first one trusts.`,
	examples: []string{
		"weir score --kafka 127.0.0.1:9092                              # one scorer",
		"weir score --kafka 127.0.0.1:9092 --data standby --listen 127.0.0.1:9465 \\\n      --token-key-file weir-data/token.key --trust weir-data/signing.key.pub   # its warm standby",
		"weir score --kafka k1:9093 --kafka-tls --kafka-sasl SCRAM-SHA-512 --kafka-user weir --kafka-password-file pw",
		"weir score --kafka 127.0.0.1:9092 --accept-gap 3:1200-1350      # these records are gone for good",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		service, score := addService(fs), addScore(fs)
		partitions := fs.Int("partitions", 8, "`NUMBER` of partitions of transactions, where the topic has to be made")
		return func(ctx context.Context, e *env, _ []string) error {
			s, err := service.open(ctx, e, *partitions)
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
	node, models, err := s.scorer(ctx, f)
	if err != nil {
		return err
	}
	at, stop, err := serveMetrics(s.flags.listen, s.flags.pprof, s.registry, readiness(node))
	if err != nil {
		return err
	}
	defer stop()
	s.log.Info("serves metrics", "address", at)
	if node.Champion() == [32]byte{} {
		for _, err := range models.Refused {
			s.log.Error("model refused", "cause", err, "remedy", "--trust FILE names the keys whose models are taken")
		}
		s.log.Warn("there is no champion: the spec's fallback rules decide", "remedy", "weir train makes a bundle, weir model promote or --bundle of weir up brings it in")
	}
	roles := append([]role{
		{"score", node.Run},
		{"models", func(ctx context.Context) error { return node.Watch(ctx, models) }},
	}, beside...)
	err = together(ctx, roles...)
	r := reportOf(node.Status())
	if !s.env.json {
		s.env.printf("%s\n", r)
	}
	if err != nil {
		return err
	}
	return s.env.report(r)
}

// readiness is what /readyz says of a scorer.
func readiness(node *ingest.Node) func() (bool, any) {
	return func() (bool, any) {
		s := node.Status()
		return s.Ready, map[string]any{"ready": s.Ready, "owner": s.Owner, "reason": s.Reason, "ledger_offset": s.Ledger, "decisions": s.Counts.Decisions()}
	}
}
