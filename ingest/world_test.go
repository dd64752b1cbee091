package ingest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// A world is a whole weir in a test: the embedded broker, its topics, a spec, a
// bundle, and nodes over them.
type world struct {
	t      testing.TB
	broker *broker.Broker // nil on a real Kafka
	addr   string
	prefix string // of topics and group
	log    *kafka.Client
	topics schemas.Topics
	spec   *spec.Spec
	bundle *scoring.Bundle
	shadow *scoring.Bundle // the challenger; nil: there is none
	older  []*scoring.Bundle
	dir    string // snapshots
	data   string // of the broker; empty keeps it in memory
	logTo  io.Writer
	limit  time.Duration // of every wait; zero is patience
	saved  *feed         // what payments sent to partition 0 of the source
	traces *trace.Tracer // of recorders
	shards int32         // of the ledger
}

func newWorld(t testing.TB, specName string, partitions int) *world {
	t.Helper()
	return newWorldOn(t, specName, partitions, broker.Options{})
}

// embedded is called by tests that inject faults, which only the embedded broker
// lets them.
func embedded(t testing.TB) {
	t.Helper()
	if os.Getenv("WEIR_KAFKA") != "" {
		t.Skip("needs the embedded broker: it injects faults")
	}
}

// causes fails the test where a node halts and does not say why: that its own work was
// broken off is what follows from the cause.
type causes struct {
	t testing.TB
	w io.Writer
}

func (c causes) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`msg=halted reason=error cause="context canceled"`)) {
		c.t.Errorf("a node does not say why it halted: %s", line)
	}
	return c.w.Write(line)
}

func newWorldOn(t testing.TB, specName string, partitions int, o broker.Options) *world {
	t.Helper()
	return newShardedWorld(t, specName, partitions, 1, o)
}

// newShardedWorld makes a world whose ledger has so many shards.
func newShardedWorld(t testing.TB, specName string, partitions, shards int, o broker.Options) *world {
	t.Helper()
	w := &world{t: t, shards: int32(shards), prefix: "w.", addr: os.Getenv("WEIR_KAFKA"), dir: t.TempDir(), data: o.Dir, logTo: t.Output()}
	if w.addr != "" {
		w.prefix = fmt.Sprintf("w%x.", rand.Uint64()) // others' topics are there too
	} else {
		b, err := broker.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w.broker, w.addr = b, b.Addr()
	}
	w.open(specName, partitions)
	return w
}

// open makes the world's topics, where its brokers are, and has nodes decide by a spec.
func (w *world) open(specName string, partitions int) {
	t := w.t
	t.Helper()
	w.topics = schemas.DefaultTopics(w.prefix)
	w.log = kafka.New(kafka.Options{Brokers: []string{w.addr}})
	t.Cleanup(w.log.Close)
	layouts := w.topics.Sharded(partitions, int(w.shards))
	for i := range layouts {
		if layouts[i].Config == nil {
			// The bank's records are older than Kafka keeps any by default.
			layouts[i].Config = map[string]string{"retention.ms": "-1"}
		}
	}
	if err := w.log.Ensure(t.Context(), layouts); err != nil {
		t.Fatal(err)
	}
	s, ok := spec.Builtin(specName)
	if !ok {
		t.Fatalf("no built-in spec %s", specName)
	}
	w.use(s)
}

// use makes the world's nodes decide by a spec.
func (w *world) use(s *spec.Spec) { w.spec, w.bundle = s, randomBundle(w.t, s) }

// randomBundle makes a sealed bundle whose network is random.
func randomBundle(t testing.TB, s *spec.Spec) *scoring.Bundle {
	t.Helper()
	names := s.FeatureNames()
	b := &scoring.Bundle{Name: "random", Spec: scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}, Features: names,
		Model: trainer.RandomModel(1, len(names), 32, 16, 1), Policy: scoring.Policy{Review: 0.5, Block: 0.9, Explore: 0.01, ExploreKey: [16]byte{1}}, Calibration: scoring.Calibration{A: 1, B: 1}}
	r := rand.New(rand.NewPCG(1, 1))
	rows := make([]float32, 16*len(names))
	for i := range rows {
		rows[i] = float32(r.NormFloat64() * 10)
	}
	if err := b.SetSelfTest(w32(t, b.Model), scoring.Matrix{Data: rows, Rows: 16, Cols: len(names)}); err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, read, err := trainer.Seal(b, key)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func w32(t testing.TB, m *scoring.Model) scoring.Scorer {
	t.Helper()
	s, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) tokens() *decode.Tokens {
	k, err := decode.NewTokens(decode.Key{ID: "k1", Secret: make([]byte, 32)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// node returns a node over the world's topics; change may alter its config.
func (w *world) node(change func(*Config)) *Node {
	c := Config{
		Spec: w.spec, Topics: w.topics, Tokens: w.tokens(), Group: w.prefix + "g", Tenant: "bank",
		SnapshotDir: w.dir, SnapshotEvery: 1 << 40, Now: time.Now, After: time.After,
		Log: slog.New(slog.NewTextHandler(causes{w.t, w.logTo}, nil)), Metrics: NewMetrics(prometheus.NewRegistry()),
	}
	if change != nil {
		change(&c)
	}
	n := NewNode(w.log, c)
	n.Use(w.bundle, w32(w.t, w.bundle.Model))
	if w.shadow != nil {
		n.Shadow(w.shadow, w32(w.t, w.shadow.Model))
	}
	return n
}

// challenge has the world's nodes run with a challenger.
func (w *world) challenge() {
	w.t.Helper()
	_, w.shadow = w.sealed(99, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
}

// runUntil runs a node until so many source records are decided, then stops it
// and waits for it.
func (w *world) runUntil(want int64, change func(*Config)) {
	w.t.Helper()
	w.runNode(want, change, func(context.Context, *Node) {})
}

// runNode does as runUntil; before is called with the node before it runs.
func (w *world) runNode(want int64, change func(*Config), before func(context.Context, *Node)) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	var n *Node
	n = w.node(func(c *Config) {
		if change != nil {
			change(c)
		}
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
			if s := n.Status(); s.Counts.Decisions() >= want {
				cancel()
			}
		}
	})
	before(ctx, n)
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	slow, look := time.After(20*time.Second), time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				w.t.Fatal(err)
			}
			return
		case <-look.C:
			// A run before this one may have gone further, so that nothing is published.
			if n.Status().Counts.Decisions() >= want {
				cancel()
			}
		case <-slow:
			cancel()
			<-done
			w.t.Fatalf("after 20 s %d of %d records are decided; the node says %q", n.Status().Counts.Decisions(), want, n.Status().Reason)
		}
	}
}

// payments puts n simulated transactions and their labels into the topics and
// returns how many source records there are.
func (w *world) payments(n int, seed uint64, partitions int) int64 {
	w.t.Helper()
	sources, labels := w.bank(n, seed, partitions)
	var wg sync.WaitGroup
	for p := range sources {
		wg.Go(func() { sources[p].send(w, w.topics.Transactions, int32(p)) })
	}
	labels.send(w, w.topics.Labels, 0)
	wg.Wait()
	return int64(n)
}

// bank puts a simulated bank's rates into their topic and returns n transactions, by
// partition, with the labels that are known by the last.
func (w *world) bank(n int, seed uint64, partitions int) (sources []feed, labels feed) {
	w.t.Helper()
	cfg := simulate.DefaultConfig()
	cfg.Seed, cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.Devices, cfg.Days = seed, 200, 60, 90, 300, 0
	cfg.FraudShare = 0.02
	bank, err := simulate.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	sources = make([]feed, partitions)
	var tx simulate.Transaction
	var l simulate.Label
	for _, r := range cfg.Rates() {
		w.rate(&r)
	}
	for range n {
		if !bank.Next(&tx) {
			break
		}
		for bank.NextLabel(&l) {
			labels.add(l.AppendJSON(nil), l.KnownAt)
		}
		h := fnv.New32a()
		fmt.Fprint(h, tx.Customer)
		sources[int(h.Sum32())%partitions].add(tx.AppendJSON(nil), tx.Sent)
	}
	w.saved = &sources[0]
	return sources, labels
}

func (w *world) rate(r *schemas.Rate) {
	// One minor unit of the currency is Num/Den of the base's: as a decimal of
	// major units for the topic.
	digits, _ := schemas.CurrencyDigits(r.Currency)
	rate := float64(r.Num) / float64(r.Den) * math.Pow10(digits-2)
	var f feed
	f.add(fmt.Appendf(nil, `{"currency":%q,"since":"1970-01-01T00:00:00Z","rate":"%.8f"}`, r.Currency, rate), 0)
	f.send(w, w.topics.Rates, 0)
}

// A feed is records on their way into one partition.
type feed struct {
	values [][]byte
	times  []int64
	keys   [][]byte // nil: see key
}

func (f *feed) add(value []byte, at int64) {
	f.values, f.times = append(f.values, value), append(f.times, at)
}

// key is nil, save where the topic is compacted: Kafka takes no record without a
// key there.
func (f *feed) key(compacted bool, i int) []byte {
	switch {
	case f.keys != nil:
		return f.keys[i]
	case !compacted:
		return nil
	}
	return fmt.Appendf(nil, "%d %x", i, f.values[i])
}

func (f *feed) send(w *world, topic string, partition int32) {
	var b kafka.BatchWriter
	for from := 0; from < len(f.values); from += 500 {
		b.Reset()
		for i := from; i < min(from+500, len(f.values)); i++ {
			b.Append(f.key(topic == w.topics.Rates, i), f.values[i], f.times[i], nil)
		}
		batch, err := b.Finish(kafka.LZ4)
		if err == nil {
			_, err = w.log.Produce(w.t.Context(), topic, partition, batch)
		}
		if err != nil {
			w.t.Error(err)
			return
		}
	}
}

// verify verifies the ledger and fails the test at the first finding.
func (w *world) verify() *Verifier {
	w.t.Helper()
	v := w.audit()
	if !v.Report.OK() {
		w.t.Fatalf("%+v", v.Report)
	}
	return v
}

func (w *world) audit() *Verifier {
	w.t.Helper()
	return w.auditWith(w.tokens())
}

// auditWith verifies with these tokens; nil takes the ledger's.
func (w *world) auditWith(tokens *decode.Tokens) *Verifier {
	w.t.Helper()
	v, err := VerifyLog(w.t.Context(), Audit{Log: w.log, Topics: w.topics, Spec: w.spec, Tokens: tokens,
		Bundles: func(hash, _ [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			for _, b := range append(w.older, w.bundle, w.shadow) {
				if b != nil && b.Hash == hash {
					return b, w32(w.t, b.Model), nil
				}
			}
			return nil, nil, fmt.Errorf("no bundle %x", hash)
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// ledger returns the bytes of every record of the ledger that was taken.
func (w *world) ledger() (records [][]byte) {
	w.t.Helper()
	_, end, err := w.log.Offsets(w.t.Context(), w.topics.Decisions, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	r := kafka.NewLedgerReader(w.log, w.topics.Decisions, 0, schemas.Anchor{})
	for {
		b, err := r.Next(w.t.Context(), end)
		if err != nil {
			w.t.Fatal(err)
		}
		if b == nil {
			return records
		}
		if b.Taken {
			for _, v := range b.Values {
				records = append(records, append([]byte(nil), v...))
			}
		}
	}
}

// foldAll folds the ledger from its start.
func (w *world) foldAll(upto int64) *State {
	w.t.Helper()
	s := NewState(w.spec, features.Options{})
	w.foldOn(s, upto)
	return s
}

// foldOn folds the ledger on from where a state is.
func (w *world) foldOn(s *State, upto int64) {
	w.t.Helper()
	var f Folder
	r := kafka.NewLedgerReader(w.log, w.topics.Decisions, 0, s.Chain)
	for r.Position() < upto {
		b, err := r.Next(w.t.Context(), upto)
		if err != nil {
			w.t.Fatal(err)
		}
		if b == nil {
			return
		}
		if b.Taken {
			if err := f.Fold(s, &b.Facts, b.Base, b.Values); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}
