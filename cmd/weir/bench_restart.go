package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

var benchRestart = &command{
	name: "bench restart", summary: "from the start of a process to its first correct decision, with a large state", json: true,
	about: `The handbook spec's state of --customers and --terminals, 30 payments of each customer
within 30 days, is made in memory and written as a snapshot; a node decides --tail
payments more, so that the ledger goes on behind the snapshot, and is killed. Then, run
after run, a payment waits while a new process starts, reads the snapshot, folds the
ledger, joins its group and decides. The clock runs from before the process is started
until that decision is durable. It counts only where its features and its score have the
bits of a node that was never disturbed: the engine that made the state, to which the
payments were given one after another. The snapshot lies in the system's page cache.
With --kafka the broker is a real one, and topics of a prefix of their own are left there.`,
	examples: []string{
		"weir bench restart --json                                   # a million entities, 30 M kept events",
		"weir bench restart --customers 1000000 --terminals 100000   # 30 M payments, 60 M kept events",
		"weir bench restart --customers 10000 --terminals 10000 --tail 1000 --runs 1",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &restartBench{kafka: addKafka(fs)}
		fs.IntVar(&b.customers, "customers", 500_000, "`NUMBER` of customers, 30 payments each")
		fs.IntVar(&b.terminals, "terminals", 500_000, "`NUMBER` of terminals that they pay at, each as often")
		fs.IntVar(&b.tail, "tail", 100_000, "`NUMBER` of decisions behind the snapshot")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of starts")
		fs.StringVar(&b.folder, "data", "", "`FOLDER` for the snapshot; a temporary one if not given")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of the last start")
		return b.run
	},
}

// restartBench is one run of the measurement.
type restartBench struct {
	kafka                            *kafkaFlags
	customers, terminals, tail, runs int
	folder, profile                  string

	log    *kafka.Client
	spec   *spec.Spec
	engine *features.Engine // undisturbed
	stream *bookStream
	scorer scoring.Scorer
	bundle *scoring.Bundle
	file   string // of the bundle
	trust  string
	n      int // source records written
	value  []byte
	rows   schemas.Batch
	x      []float32
}

// startTimes is when a start had come how far, in seconds since before its process
// was.
type startTimes struct {
	Process  float64 `json:"process_s"`  // its program runs
	Snapshot float64 `json:"snapshot_s"` // the snapshot is read
	Folded   float64 `json:"folded_s"`   // and the ledger behind it
	Owner    float64 `json:"owner_s"`    // the group has given it the shard
	Decision float64 `json:"decision_s"` // the payment's decision is durable
	CPU      float64 `json:"cpu_s"`
	RSS      int64   `json:"rss_bytes"`
}

type restartReport struct {
	Machine  benchMachine `json:"machine"`
	Entities int          `json:"entities"`
	Payments int          `json:"payments"`
	Kept     int          `json:"kept"` // events, in each ring that keeps them
	Tail     int          `json:"tail"`
	Snapshot int64        `json:"snapshot_bytes"`
	Process  runSpread    `json:"process_s"`
	Read     runSpread    `json:"read_s"`
	Fold     runSpread    `json:"fold_s"`
	Join     runSpread    `json:"join_s"`
	Decide   runSpread    `json:"decide_s"`
	Total    runSpread    `json:"total_s"`
	CPU      runSpread    `json:"cpu_s"`
	RSS      int64        `json:"rss_bytes"`
	Right    int          `json:"right"` // decisions that were an undisturbed node's
	Runs     int          `json:"runs"`
}

func (b *restartBench) run(ctx context.Context, e *env, _ []string) error {
	if b.customers < 1 || b.terminals < 1 || b.tail < 1 || b.runs < 1 {
		return usagef("--customers, --terminals, --tail and --runs are above 0")
	}
	r := restartReport{Tail: b.tail, Runs: b.runs}
	var err error
	if r.Machine, err = machineOf(b.kafka.brokerName()); err != nil {
		return err
	}
	r.Machine.print(e)
	folder, err := os.MkdirTemp(b.folder, "weir-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	stop, err := b.kafka.orEmbedded(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	if b.log, err = b.kafka.client(e); err != nil {
		return err
	}
	defer b.log.Close()
	if r.Snapshot, err = b.prepare(ctx, e, folder); err != nil {
		return err
	}
	r.Entities, r.Payments = b.engine.Entities(), b.stream.n
	r.Kept = 2 * r.Payments
	e.printf("%s entities, %s payments, each kept twice; a snapshot of %d MiB and %s decisions behind it\n",
		thousands(int64(r.Entities)), thousands(int64(r.Payments)), r.Snapshot>>20, thousands(int64(b.tail)))
	var runs []startTimes
	for i := range b.runs {
		t, err := b.start(ctx, e, folder, i)
		if err != nil {
			return err
		}
		e.printf("run %d  %.2f s: process %.2f, snapshot %.2f, ledger %.2f, group %.2f, decision %.3f; %.2f s of CPU, %d MiB\n", i+1, t.Decision, t.Process,
			t.Snapshot-t.Process, t.Folded-t.Snapshot, t.Owner-t.Folded, t.Decision-t.Owner, t.CPU, t.RSS>>20)
		runs, r.Right = append(runs, t), r.Right+1
	}
	r.sum(runs)
	e.printf("first correct decision after %s s; %d of %d had an undisturbed node's bits\n", r.Total, r.Right, r.Runs)
	return e.report(r)
}

func (r *restartReport) sum(runs []startTimes) {
	of := func(f func(startTimes) float64) runSpread {
		var list []float64
		for _, t := range runs {
			list = append(list, f(t))
		}
		return spreadOf(list)
	}
	r.Process = of(func(t startTimes) float64 { return t.Process })
	r.Read = of(func(t startTimes) float64 { return t.Snapshot - t.Process })
	r.Fold = of(func(t startTimes) float64 { return t.Folded - t.Snapshot })
	r.Join = of(func(t startTimes) float64 { return t.Owner - t.Folded })
	r.Decide = of(func(t startTimes) float64 { return t.Decision - t.Owner })
	r.Total = of(func(t startTimes) float64 { return t.Decision })
	r.CPU = of(func(t startTimes) float64 { return t.CPU })
	for _, t := range runs {
		r.RSS = max(r.RSS, t.RSS)
	}
}

// prepare makes the state, its snapshot and the ledger behind it, and returns how large
// the snapshot is.
func (b *restartBench) prepare(ctx context.Context, e *env, folder string) (size int64, err error) {
	if b.spec, err = loadSpec("handbook"); err != nil {
		return 0, err
	}
	if err := b.log.Ensure(ctx, benchLayouts(b.kafka.topics(), 1, false)); err != nil {
		return 0, err
	}
	if err := b.fill(ctx, e); err != nil {
		return 0, err
	}
	if b.bundle, err = benchBundle(b.spec, b.x, 0, 64, 64); err != nil {
		return 0, err
	}
	if b.scorer, err = cpu.New(b.bundle.Model); err != nil {
		return 0, err
	}
	if b.file, b.trust, err = sealBundle(folder, b.bundle); err != nil {
		return 0, err
	}
	state, err := b.begin(ctx, e, filepath.Join(folder, "first"))
	if err != nil {
		return 0, err
	}
	state.Engine = b.engine
	name, err := ingest.WriteSnapshot(filepath.Join(folder, "state"), state, 0)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, fmt.Errorf("look at the snapshot: %w", err)
	}
	for n := b.tail; n > 0; n -= keyRows {
		if err := b.pay(ctx, min(n, keyRows)); err != nil {
			return 0, err
		}
	}
	_, err = b.starts(ctx, e, folder, "tail")
	return info.Size(), err
}

// fill makes the state.
func (b *restartBench) fill(ctx context.Context, e *env) error {
	b.engine = features.New(b.spec, features.Options{})
	b.stream = newBookStream(b.customers, b.terminals)
	b.stream.begin = time.Now().Add(-keySpan - 24*time.Hour).UnixMilli()
	b.x = make([]float32, keyRows*b.engine.Width())
	progress := newBar(e, "state")
	defer progress.end()
	for b.stream.fill(&b.rows, keyRows) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.engine.Step(&b.rows, b.x, nil)
		progress.set(int64(b.stream.n), int64(b.stream.total()))
	}
	return nil
}

// begin has a node begin the ledger with one payment, and returns its state: a position
// for that of the large one.
func (b *restartBench) begin(ctx context.Context, e *env, dir string) (*ingest.State, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(dir), "state"), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n, err := benchNode(e, b.log, b.kafka.topics(), "handbook", "snappy", b.bundle, b.scorer, func([]schemas.Place, []schemas.Verdict) { cancel() })
	if err != nil {
		return nil, err
	}
	n.SnapshotDir = dir
	if err := b.pay(ctx, 1); err != nil {
		return nil, err
	}
	if err := n.Run(ctx); err != nil {
		return nil, err
	}
	names, err := ingest.Snapshots(dir)
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("%d snapshots of the first node", len(names))
	}
	if err != nil {
		return nil, err
	}
	return ingest.ReadSnapshot(names[0], b.spec, n.Features, 0)
}

// pay makes so many payments more, gives them to the undisturbed engine and writes them
// to the source.
func (b *restartBench) pay(ctx context.Context, n int) error {
	p := preloader{log: b.log, topic: b.kafka.topics().Transactions}
	b.rows.Reset(0, 0)
	for i := range n {
		b.rows.Add(schemas.Place{})
		b.stream.next(&b.rows, i)
		// The handbook's times are of seconds, and what a node reads is what counts.
		b.rows.Tx[i].Time = b.rows.Tx[i].Time / 1000 * 1000
		row := handbookRow{time: b.rows.Tx[i].Time, amount: b.rows.Tx[i].Amount,
			id: b.rows.Bytes(i, schemas.ID), customer: b.rows.Bytes(i, schemas.Customer), term: b.rows.Bytes(i, schemas.Terminal)}
		b.value = row.appendJSON(b.value[:0])
		if err := p.add(ctx, row.customer, b.value, row.time); err != nil {
			return err
		}
	}
	b.engine.Step(&b.rows, b.x[:n*b.engine.Width()], nil)
	b.n += n
	return p.flush(ctx)
}

// start has a payment wait, starts a node, and checks what it decides.
func (b *restartBench) start(ctx context.Context, e *env, folder string, run int) (startTimes, error) {
	if err := b.pay(ctx, 1); err != nil {
		return startTimes{}, err
	}
	score := make([]float32, 1)
	x := b.x[:b.engine.Width()]
	if err := b.scorer.Score(scoring.Matrix{Data: x, Rows: 1, Cols: len(x)}, score); err != nil {
		return startTimes{}, err
	}
	t, err := b.starts(ctx, e, folder, fmt.Sprint("run", run))
	if err != nil {
		return t, err
	}
	return t, b.check(ctx, x, score[0])
}

// starts starts a node, waits until it has decided all that there is, and kills it.
func (b *restartBench) starts(ctx context.Context, e *env, folder, group string) (t startTimes, err error) {
	flags := append(b.kafka.again(), "--spec", "handbook", "--bundle", b.file, "--trust", b.trust, "--data", filepath.Join(folder, "state"), "--group", group,
		"--until", strconv.Itoa(b.n), "--since", strconv.FormatInt(time.Now().UnixNano(), 10))
	if b.profile != "" && group != "tail" {
		flags = append(flags, "--profile", b.profile)
	}
	c, err := startChild(e, anyCore, "restart", flags...)
	if err != nil {
		return t, err
	}
	defer c.kill() // what it stopped well would write a snapshot
	text, err := c.line(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(text), &t)
	}
	if err != nil {
		return t, fmt.Errorf("start a node: %w", err)
	}
	return t, nil
}

// errDisturbed says that a start did not decide as an undisturbed node.
var errDisturbed = errors.New("the first decision is not that of an undisturbed node")

// check compares the last decision of the ledger with what is right.
func (b *restartBench) check(ctx context.Context, x []float32, score float32) error {
	topic := b.kafka.topics().Decisions
	_, end, err := b.log.Offsets(ctx, topic, 0)
	if err != nil {
		return err
	}
	last, err := kafka.NewReader(b.log, topic, 0, end-1).Get(ctx, end-1)
	if err != nil {
		return fmt.Errorf("read the first decision: %w", err)
	}
	var entry schemas.Entry
	if err := schemas.ParseEntry(last.Value, &entry); err != nil {
		return fmt.Errorf("read the first decision: %w", err)
	}
	d := &entry.Decision
	if entry.Kind != schemas.EntryDecision || d.Place.Offset != int64(b.n-1) || d.Outcome != schemas.Scored || len(d.Features) != len(x) {
		return fmt.Errorf("%w: it is %v of offset %d, not of %d", errDisturbed, d.Outcome, d.Place.Offset, b.n-1)
	}
	for i := range x {
		if math.Float32bits(d.Features[i]) != math.Float32bits(x[i]) {
			return fmt.Errorf("%w: %s is %v, not %v", errDisturbed, b.spec.Features[i].Name, d.Features[i], x[i])
		}
	}
	if math.Float32bits(d.Score) != math.Float32bits(score) {
		return fmt.Errorf("%w: the score is %v, not %v", errDisturbed, d.Score, score)
	}
	return nil
}
