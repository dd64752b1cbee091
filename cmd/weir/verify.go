package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

var verifyCommand = &command{
	name: "verify", summary: "prove the ledger: one decision a record, every bit recomputed", json: true,
	about: `Reads the ledger from its beginning, checks that every source record has exactly
one decision, of what it says, and that the batches form one chain, recomputes
every feature and score from the ledger alone, and compares bits. It prints the
counts and the first things that are wrong, with partition and offset. The exit
code is 0 if nothing is wrong, 1 if anything is or it could not be proved, and 2
where the command line is wrong.

A decision that says that a score of it is of float16 arithmetic (--device-arithmetic of
weir score) has no bits to compare that score with: it is held to what that arithmetic
can be off by for its row, and all that follows from it to the bit. Such scores are
counted, with the largest difference; where none were asked for there should be none.

Where the ledger went on by another spec, what follows is proved by that one, from
the state that it would have left of all that was decided before. The ledger holds
the texts of its specs; that of the first one may be missing in one begun by an older
version of weir. A spec that is named must be one of those that decided.

With --kafka it reads the topics; without, the history, where it cannot look at
the source records themselves. Those of Avro and Protobuf are read by the registry's
schemas, with the flags of weir score: a record that was rejected because its schema
was unknown is different from what is known now, where the schema came later.`,
	examples: []string{
		"weir verify --kafka 127.0.0.1:9092",
		"weir verify --kafka 127.0.0.1:9092 --spec bank.spec --trust keys.pem --json",
		"weir verify --kafka 127.0.0.1:9092 --source-format avro --schema-registry http://127.0.0.1:8081",
		"weir verify --history clickhouse://127.0.0.1:9000/weir --bundle model.weir",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		v := &verify{fs: fs, kafka: addKafka(fs), spec: addSpec(fs, "payments"), format: addFormat(fs), tokens: addTokens(fs), history: addHistory(fs), files: make(map[[32]byte][]byte)}
		fs.Var(&v.before, "spec-before", "spec `FILE` that older decisions were made by, where the ledger does not hold its text\n(may be repeated)")
		fs.StringVar(&v.trust, "trust", "", "PEM `FILE` of the public keys that bundles are signed with\n(that of the data folder if not given)")
		fs.StringVar(&v.data, "data", "weir-data", "the scorer's data `FOLDER`")
		fs.Func("bundle", "bundle `FILE` that decisions were made with, if not in the topic of models\n(may be repeated)", func(name string) error {
			v.bundles = append(v.bundles, name)
			return nil
		})
		return v.run
	},
}

// verify is one run of the command.
type verify struct {
	fs          *flag.FlagSet
	kafka       *kafkaFlags
	spec        *string
	before      specList
	format      *formatFlags
	tokens      *tokenFlags
	history     *historyFlags
	trust, data string
	bundles     []string

	files  map[[32]byte][]byte // those of --bundle
	models *ingest.Models
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
	for _, name := range v.bundles {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read bundle: %w", err)
		}
		b, err := scoring.ReadBundle(data, trust)
		if err != nil {
			return fmt.Errorf("bundle %s: %w", name, err)
		}
		v.files[b.Hash] = data
	}
	open := func(hash, of [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
		if data, ok := v.files[hash]; ok {
			return ingest.OpenBundle(data, of, trust)
		}
		if v.models == nil {
			return nil, nil, fmt.Errorf("bundle %x: %w; --bundle FILE gives it", hash, ingest.ErrNoBundle)
		}
		return v.models.Open(ctx, hash, of)
	}
	b := newBar(e, "verify")
	defer b.end()
	if v.kafka.brokers == "" {
		return v.fromHistory(ctx, e, b, sp, func(shard int32) *ingest.Verifier {
			return ingest.NewVerifier(sp, features.Options{}, shard, open, v.before...)
		})
	}
	log, err := v.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	topics := v.kafka.topics()
	v.models = ingest.NewModels(log, topics, trust)
	if err := v.models.Read(ctx); err != nil {
		return err
	}
	keys, err := v.keys(e)
	if err != nil {
		return err
	}
	wire, err := v.format.schemas(e, slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	done, err := ingest.VerifyLog(ctx, ingest.Audit{Log: log, Topics: topics, Spec: sp, Before: v.before, Features: keys.engine, Tokens: keys.tokens, Wire: wire, Progress: b.set, Bundles: open})
	if err != nil {
		return fmt.Errorf("%w%s", err, registryRemedy(err))
	}
	b.end()
	return v.print(e, sp, &done.Report)
}

// keys loads the token key where there is one. Without it everything is checked
// but that tokens are those of the source's secrets.
func (v *verify) keys(e *env) (*deployment, error) {
	if v.tokens.key == "" {
		name := filepath.Join(v.data, "token.key")
		if _, err := os.Stat(name); err == nil {
			v.tokens.key = name
		}
	}
	if _, set := e.lookup("WEIR_TOKEN_KEY"); v.tokens.key == "" && !set {
		return &deployment{}, nil
	}
	return v.tokens.load(e, "")
}

func (v *verify) fromHistory(ctx context.Context, e *env, b *bar, sp *spec.Spec, verifier func(shard int32) *ingest.Verifier) error {
	if file := filepath.Join(v.data, "history.db"); v.history.url == "" {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("read the history: %w; --kafka, --history or --data says where the ledger is", err)
		}
	}
	store, err := v.history.open(ctx, e, v.data)
	if err != nil {
		return err
	}
	defer store.Close()
	done, err := ingest.VerifyHistory(ctx, store, verifier, func(n int64) { b.set(n, 0) })
	if err != nil {
		return err
	}
	b.end()
	return v.print(e, sp, &done.Report)
}

// print prints a report. Who names a spec wants to know that it decided.
func (v *verify) print(e *env, sp *spec.Spec, r *ingest.Report) error {
	named, hash := false, hex.EncodeToString(sp.Hash[:])
	v.fs.Visit(func(f *flag.Flag) { named = named || f.Name == "spec" })
	if named && len(r.Specs) > 0 && !slices.ContainsFunc(r.Specs, func(s ingest.SpecRun) bool { return s.Hash == hash }) {
		return fmt.Errorf("the ledger was decided by the spec %s (%.16s), and never by %s (%.16s), which --spec names", r.Specs[0].Name, r.Specs[0].Hash, sp.Name, hash)
	}
	if !e.json {
		source := thousands(r.SourceRecords) + " source records"
		if r.SourceRecords == 0 {
			source = "source not read"
		}
		e.printf("%s, %s decisions: %s scored, %s degraded, %s unscored, %s duplicate, %s rejected, %s approximate\n",
			source, thousands(r.Decisions), thousands(r.Scored), thousands(r.Degraded), thousands(r.Unscored),
			thousands(r.Duplicate), thousands(r.Rejected), thousands(r.Approximate))
		e.printf("%s batches in one chain, %s dropped by it; %s labels; %s records given up by hand\n",
			thousands(r.Batches), thousands(r.Dropped), thousands(r.Labels), thousands(r.Gaps))
		if len(r.Specs) > 1 {
			for _, s := range r.Specs {
				e.printf("decided by the spec %s (%.16s) from ledger offset %s on\n", s.Name, s.Hash, thousands(s.Offset))
			}
		}
		if r.Float16 > 0 {
			e.printf("%s scores are of float16 arithmetic, within its bound: at most %.2g from float32\n", thousands(r.Float16), r.Difference)
		}
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
	switch {
	case e.json:
	case r.Float16 > 0:
		e.printf("verified: every record has one decision, and every bit but of those scores is what it should be\n")
	default:
		e.printf("verified: every record has one decision, and every bit is what it should be\n")
	}
	return nil
}
