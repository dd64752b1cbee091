package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

var verifyCommand = &command{
	name: "verify", summary: "prove the ledger: one decision a record, every bit recomputed", json: true,
	about: `Reads the ledger from its beginning, checks that every source record has exactly
one decision and that the batches form one chain, recomputes every feature and
score from the ledger alone, and compares bits. It prints the counts and the
first things that are wrong, with partition and offset; the exit code is 1 if
anything is.`,
	examples: []string{
		"weir verify --kafka 127.0.0.1:9092",
		"weir verify --kafka 127.0.0.1:9092 --spec bank.spec --trust keys.pem --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		v := &verify{kafka: addKafka(fs), spec: addSpec(fs, "payments")}
		fs.StringVar(&v.trust, "trust", "", "PEM `FILE` of the public keys that bundles are signed with\n(that of the data folder if not given)")
		fs.StringVar(&v.data, "data", "weir-data", "the scorer's data `FOLDER`")
		return v.run
	},
}

type verify struct {
	kafka       *kafkaFlags
	spec        *string
	trust, data string
}

func (v *verify) run(ctx context.Context, e *env, _ []string) error {
	sp, err := loadSpec(*v.spec)
	if err != nil {
		return err
	}
	if v.trust == "" {
		v.trust = filepath.Join(v.data, "signing.key.pub")
	}
	trust, err := trainer.LoadPublicKeys(v.trust)
	if err != nil {
		return fmt.Errorf("keys that bundles are signed with: %w; --trust FILE names them", err)
	}
	log, err := v.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	topics := v.kafka.topics()
	models := ingest.NewModels(log, topics, trust)
	if err := models.Read(ctx); err != nil {
		return err
	}
	b := newBar(e, "verify")
	defer b.end()
	done, err := ingest.VerifyLog(ctx, ingest.Audit{Log: log, Topics: topics, Spec: sp, Progress: b.set,
		Bundles: func(hash [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			return models.Open(ctx, hash, sp.Hash)
		}})
	if err != nil {
		return err
	}
	b.end()
	return printVerified(e, &done.Report)
}

func printVerified(e *env, r *ingest.Report) error {
	if !e.json {
		e.printf("%s source records, %s decisions: %s scored, %s degraded, %s unscored, %s duplicate, %s rejected, %s approximate\n",
			thousands(r.SourceRecords), thousands(r.Decisions), thousands(r.Scored), thousands(r.Degraded), thousands(r.Unscored),
			thousands(r.Duplicate), thousands(r.Rejected), thousands(r.Approximate))
		e.printf("%s batches in one chain, %s dropped by it; %s labels; %s records given up by hand\n",
			thousands(r.Batches), thousands(r.Dropped), thousands(r.Labels), thousands(r.Gaps))
		e.printf("lost %s, doubled %s, different %s\n", thousands(r.Lost), thousands(r.Doubled), thousands(r.Different))
	}
	for _, f := range r.First {
		fmt.Fprintln(e.stderr, f)
	}
	if err := e.report(r); err != nil {
		return err
	}
	if !r.OK() {
		return errFound
	}
	if !e.json {
		e.printf("verified: every record has one decision, and every bit is what it should be\n")
	}
	return nil
}
