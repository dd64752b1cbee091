package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring/cuda"
	"github.com/weir-risk/weir/trainer"
)

// serviceFlags are what every long-running role takes.
type serviceFlags struct {
	kafka  *kafkaFlags
	trace  *traceFlags
	logger func(*env) (*slog.Logger, error)
	data   string
	*monitorFlags
}

func addService(fs *flag.FlagSet) *serviceFlags {
	s := &serviceFlags{kafka: addKafka(fs), trace: addTrace(fs), logger: addLog(fs), monitorFlags: addMonitor(fs, "")}
	fs.StringVar(&s.data, "data", "weir-data", "`FOLDER` for snapshots, keys and what else is kept here")
	fs.StringVar(&s.pprof, "pprof", "", "`HOST:PORT` of the profiles, for loopback only; none if not given")
	return s
}

// scoreFlags are what a scorer takes beside them.
type scoreFlags struct {
	spec                 *string
	format               *formatFlags
	tokens               *tokenFlags
	trust, group, tenant string
	codec                string
	rowsMax, shards      int
	strict               bool
	snapshotEvery        int64
	session              time.Duration
	stateMax             size
	gaps                 gapList
	before               specList
	watch                time.Duration
	rollbackKey          string
	device               *deviceFlags
}

// stateShare is the share of the memory that the state must stay below where
// nothing is said: what snapshots, batches and the broker of weir up take lies
// beside it, and so does what the collector of garbage has not collected.
const stateShare = 0.5

func addScore(fs *flag.FlagSet) *scoreFlags {
	s := &scoreFlags{spec: addSpec(fs, "payments"), format: addFormat(fs), tokens: addTokens(fs), device: addDevice(fs), stateMax: size(stateShare * float64(memoryLimit()))}
	s.device.addArithmetic(fs, "device-arithmetic", "`ARITHMETIC` of the GPU: float32 has the CPU's bits; float16 is faster for large ensembles, and\nnear them: a decision says so, and is verified within a bound. The CPU has float32")
	fs.StringVar(&s.trust, "trust", "", "PEM `FILE` of the public keys whose bundles and slots are taken\n(the one of this data folder if not given)")
	fs.StringVar(&s.group, "group", "weir-score", "consumer `GROUP` whose members share the shards out; how far the source is\ndecided is committed to GROUP.progress, for lag dashboards")
	fs.StringVar(&s.tenant, "tenant", "", "`NAME` of the bank or unit, in every decision")
	fs.StringVar(&s.codec, "compression", "snappy", "`CODEC` of the ledger's batches: none, lz4, zstd, snappy or gzip")
	fs.IntVar(&s.rowsMax, "rows-max", 4096, "most `RECORDS` in one step")
	fs.Int64Var(&s.snapshotEvery, "snapshot-every", 0, "ledger `RECORDS` between two snapshots\n(400,000, or two for five entities where that is more, if not given)")
	fs.DurationVar(&s.session, "session", 6*time.Second, "silence after which a dead scorer's standby takes over")
	fs.Var(&s.stateMax, "state-max", "`SIZE` of memory that the rolling state must stay below, such as 8GiB; 0 is no bound.\nThe log warns at nine tenths. Beyond it the scorer halts as state_full and decides nothing\nuntil it gets more: nothing is dropped (half of the memory if not given)")
	fs.IntVar(&s.shards, "shards", 0, "`NUMBER` of partitions of the ledger, where it has to be made: the members of the group share\nthem out, and each decides its part of the source (what the ledger has if not given, or 1)")
	fs.BoolVar(&s.strict, "strict", false, "have a shard that catches up stay exactly behind the others, and not within a second of\nthem: slower, and then the features are those that one shard would compute")
	fs.Var(&s.before, "spec-before", "spec `FILE` that the ledger was decided by until now: it goes on by --spec from here\n(may be repeated)")
	fs.Var(&s.gaps, "accept-gap", "source records `P:FROM-TO` that are gone for good, or cannot be read: written into the\nledger as given up (may be repeated; labels/P:FROM-TO and rates/P:FROM-TO for those topics)")
	return s
}

// addWatch declares how a new champion is watched.
func (f *scoreFlags) addWatch(fs *flag.FlagSet) {
	fs.DurationVar(&f.watch, "watch", 24*time.Hour, "`TIME` after a swap for which the champion before it scores on where nobody challenges,\nand alerts by both are compared; 0 is none")
	fs.StringVar(&f.rollbackKey, "rollback-key", "", "PEM `FILE` of the private key that signs the roll-back of a champion that alerts on far\nmore or less than its held-out days promised, where the one before it does not\n(an alarm only if not given)")
}

// rollback loads the key that roll-backs are signed with: nil where none is named.
// One that the scorers do not trust would be found out when it is needed.
func (f *scoreFlags) rollback(trust []ed25519.PublicKey) (ed25519.PrivateKey, error) {
	if f.watch < 0 {
		return nil, usagef("--watch %v: 0 or longer", f.watch)
	}
	if f.rollbackKey == "" {
		return nil, nil
	}
	key, err := trainer.LoadKey(f.rollbackKey)
	if err != nil {
		return nil, fmt.Errorf("--rollback-key: %w", err)
	}
	public := key.Public().(ed25519.PublicKey)
	if !slices.ContainsFunc(trust, func(k ed25519.PublicKey) bool { return k.Equal(public) }) {
		return nil, fmt.Errorf("--rollback-key %s: its public key is not among those that are trusted: every scorer would refuse the roll-back; --trust FILE names them", f.rollbackKey)
	}
	return key, nil
}

// gapList is the value of --accept-gap.
type gapList []schemas.Gap

func (g *gapList) String() string { return "" }

// Set takes one gap. FROM may be one more than TO: an empty gap takes a new
// partition in.
func (g *gapList) Set(text string) error {
	gap := schemas.Gap{By: []byte("--accept-gap")}
	place := text
	if topic, rest, ok := strings.Cut(text, "/"); ok {
		gap.Topic, place = []byte(topic), rest
	}
	n, err := fmt.Sscanf(place, "%d:%d-%d", &gap.Partition, &gap.From, &gap.To)
	known := len(gap.Topic) == 0 || string(gap.Topic) == "labels" || string(gap.Topic) == "rates"
	if n != 3 || err != nil || !known || gap.From > gap.To+1 || gap.From < 0 {
		return fmt.Errorf("%q is not PARTITION:FROM-TO, such as 0:1200-1350 or labels/0:7-9", text)
	}
	*g = append(*g, gap)
	return nil
}

// A service is a role that is running: its connections, its metrics, and what
// they say of it.
type service struct {
	flags    *serviceFlags
	env      *env
	log      *slog.Logger
	client   *kafka.Client
	topics   schemas.Topics
	registry *prometheus.Registry
	roles    []string     // of the process
	device   *cuda.Device // nil where the CPU alone scores
	trace    *trace.Tracer
	reloads  *reloads // nil where there is no file of settings
	held     *os.File // the lock of the scorer's folder, nil where there is none
}

// open connects a service to Kafka at brokers, which it waits for, sees that it has the
// rights that its roles need there, and makes the topics among them that are missing.
func (f *serviceFlags) open(ctx context.Context, e *env, partitions int, needs func(schemas.Topics) []kafka.Right, roles ...string) (*service, error) {
	log, err := f.logger(e)
	if err != nil {
		return nil, err
	}
	e.config.say(e, log)
	s := &service{flags: f, env: e, log: log, reloads: newReloads(e, log), topics: f.kafka.topics(), registry: newRegistry(f.data), roles: roles}
	if s.trace, err = f.trace.open(e, s.topics.Transactions, s.registry, log); err != nil {
		s.reloads.stop()
		return nil, err
	}
	if s.client, err = f.kafka.client(e); err != nil {
		s.trace.Close()
		s.reloads.stop()
		return nil, err
	}
	err = s.untilKafka(ctx, func() error { return f.kafka.prepare(ctx, s.client, partitions, needs(s.topics)) })
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *service) close() {
	if s.device != nil {
		s.device.Close() // it never fails
	}
	s.client.Close()
	s.trace.Close() // with the last spans of what has ended
	s.reloads.stop()
	if s.held != nil {
		_ = s.held.Close() // it holds nothing but the lock
	}
}

// probe is set where a test runs this program as a process of its own, to know
// what it interrupts when it kills it.
var probe func(p ingest.Phase, in bool)

// scorer makes the node of a ledger of one shard, with its models read.
func (s *service) scorer(ctx context.Context, f *scoreFlags) (*ingest.Node, *ingest.Models, error) {
	all, err := s.scorers(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	if n := len(all.nodes); n > 1 {
		return nil, nil, fmt.Errorf("%s has %d shards, and this reads one", s.topics.Decisions, n)
	}
	return all.nodes[0], all.models[0], nil
}

// scorers makes the nodes of the flags, with their models read.
func (s *service) scorers(ctx context.Context, f *scoreFlags) (*scorers, error) {
	c, trust, err := s.scoring(ctx, f)
	if err != nil {
		return nil, err
	}
	var shards int32
	err = s.untilKafka(ctx, func() (err error) {
		shards, err = s.shardsOf(ctx, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.SnapshotDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of snapshots: %w", err)
	}
	if err := s.holdFolder(); err != nil {
		return nil, err
	}
	boundMemory()
	list, err := s.byShard(c, shards)
	if err != nil {
		return nil, err
	}
	all := &scorers{}
	for _, c := range list {
		n, m := ingest.NewNode(s.client, c), ingest.NewModels(s.client, s.topics, trust)
		if err := s.untilKafka(ctx, func() error { return n.Load(ctx, m) }); err != nil {
			return nil, err
		}
		all.nodes, all.models = append(all.nodes, n), append(all.models, m)
	}
	tellReady(s.registry, roleScore, func() bool { return all.status().Ready })
	return all, nil
}

// scoring is what the flags say of a node, and whose bundles it takes.
func (s *service) scoring(ctx context.Context, f *scoreFlags) (c ingest.Config, trust []ed25519.PublicKey, err error) {
	sp, err := loadSpec(*f.spec)
	if err != nil {
		return c, nil, err
	}
	if len(sp.Fallback) == 0 {
		return c, nil, fmt.Errorf("spec %s has no fallback line: what is done where no model can score? Write, for example: fallback review when amount > 1000", sp.Name)
	}
	keys, err := s.keys(ctx, f)
	if err != nil {
		return c, nil, err
	}
	trust, err = s.trusted(f.trust)
	if err != nil {
		return c, nil, err
	}
	rollback, err := f.rollback(trust)
	if err != nil {
		return c, nil, err
	}
	codec, err := kafka.ParseCodec(f.codec)
	if err != nil {
		return c, nil, usagef("--compression: %v", err)
	}
	wire, err := f.format.schemas(s.env, s.log)
	if err != nil {
		return c, nil, err
	}
	if err := s.openDevice(f.device); err != nil {
		return c, nil, err
	}
	return ingest.Config{
		Spec: sp, Before: f.before, Features: keys.engine, StateMax: int64(f.stateMax), Tokens: keys.tokens, KeyCheck: keys.check, Wire: wire, Topics: s.topics,
		Group: f.group, Tenant: f.tenant, SnapshotDir: filepath.Join(s.flags.data, "snapshots"), SnapshotEvery: f.snapshotEvery, RowsMax: f.rowsMax, Codec: codec,
		Membership: kafka.GroupOptions{Session: f.session}, AcceptGaps: f.gaps, Strict: f.strict, HugePages: true,
		WatchFor: f.watch, RollbackKey: rollback, NewScorer: s.newScorer(),
		Now: time.Now, After: time.After, Log: s.log, Probe: probe, Trace: s.trace,
	}, trust, nil
}

// boundMemory has garbage collected before the process meets the end of its
// memory: beside a large state, the collector would let as much again pile up.
func boundMemory() {
	if most := memoryLimit(); most > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(most / 10 * 9)
	}
}

// keys loads the token key. A spec without secrets needs it too: the engine's
// hashes are keyed by what follows from it.
// It is made for a ledger that is empty only: a second key would give the cards
// of the first decisions other tokens, and none of their past.
func (s *service) keys(ctx context.Context, f *scoreFlags) (*deployment, error) {
	made := filepath.Join(s.flags.data, "token.key")
	if _, set := s.env.lookup("WEIR_TOKEN_KEY"); f.tokens.key == "" && !set {
		if _, err := os.Stat(made); errors.Is(err, fs.ErrNotExist) {
			var end int64
			err := s.untilKafka(ctx, func() (err error) {
				_, end, err = s.client.Offsets(ctx, s.topics.Decisions, 0)
				return err
			})
			if err != nil {
				return nil, err
			}
			if end > 0 {
				return nil, fmt.Errorf("the ledger %s is begun and %s is not there: --token-key-file names the key that it was begun with", s.topics.Decisions, made)
			}
		}
	}
	return f.tokens.load(s.env, made)
}

// trusted returns the keys whose bundles are taken: those of a file, or the
// data folder's own, which is made where there is none.
func (s *service) trusted(file string) ([]ed25519.PublicKey, error) {
	if file != "" {
		return trainer.LoadPublicKeys(file)
	}
	key, err := signingKey(s.flags.data)
	if err != nil {
		return nil, err
	}
	return []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, nil
}

// signingKey returns the key of a data folder, made where there is none.
func signingKey(data string) (ed25519.PrivateKey, error) {
	key, _, err := loadOrMakeKey(filepath.Join(data, "signing.key"))
	return key, err
}

// loadOrMakeKey reads a signing key, or makes it, and its folder.
func loadOrMakeKey(name string) (key ed25519.PrivateKey, made bool, err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, false, fmt.Errorf("make the folder of the signing key: %w", err)
	}
	return trainer.LoadOrMakeKey(name)
}

// A role is one of the things that a process does until it is told to stop.
type role struct {
	name string // before its errors; "" where the command's own says enough
	run  func(context.Context) error
}

// together runs roles until the context ends or one of them fails, which stops
// the others; it returns when all have ended.
func together(ctx context.Context, roles ...role) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(roles))
	for _, r := range roles {
		go func() { // ends with ctx; waited for below
			err := r.run(ctx)
			if err != nil && r.name != "" {
				err = fmt.Errorf("%s: %w", r.name, err)
			}
			ended <- err
		}()
	}
	var errs []error
	for range roles {
		err := <-ended
		cancel()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stopReport is the last line of up, score and demo.
type stopReport struct {
	SourceRecords int64 `json:"source_records"`
	Scored        int64 `json:"scored"`
	Degraded      int64 `json:"degraded"`
	Unscored      int64 `json:"unscored"`
	Duplicate     int64 `json:"duplicate"`
	Rejected      int64 `json:"rejected"`
	Alerts        int64 `json:"alerts"`
	LedgerOffset  int64 `json:"ledger_offset"`
}

func reportOf(st ingest.Status) stopReport {
	o := st.Counts.Outcomes
	return stopReport{SourceRecords: st.Counts.Decisions(), Scored: o[schemas.Scored], Degraded: o[schemas.Degraded], Unscored: o[schemas.Unscored],
		Duplicate: o[schemas.Duplicate], Rejected: o[schemas.Rejected], Alerts: st.Counts.Alerts, LedgerOffset: st.Ledger}
}

func (r stopReport) String() string {
	return fmt.Sprintf("%s source records decided: %s scored, %s degraded,\n%s unscored, %s duplicate, %s rejected; %s alerts",
		thousands(r.SourceRecords), thousands(r.Scored), thousands(r.Degraded),
		thousands(r.Unscored), thousands(r.Duplicate), thousands(r.Rejected), thousands(r.Alerts))
}
