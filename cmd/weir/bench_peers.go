package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/peer"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

var benchPeers = &command{
	name: "bench peers", summary: "weir beside a usual Go service on the same work: CPU a transaction, and right scores", json: true,
	about: `Both replay the same preloaded transactions of 2 partitions, keep the Handbook's
15 features, score with the same 15-64-64-1 network and write every decision. The
other service is what a good engineer writes in a day with kafka-go,
encoding/json and gonum: batches of 1,000 or 5 ms, a commit a second. Each runs
in a process of its own on one core, the broker on another. CPU is counted from
two fifths of the stream on, when the windows are full. A score is right where it
is that of the stream folded in the order of time.`,
	examples: []string{
		"weir bench peers --json                              # a million transactions, three runs of each",
		"weir bench peers --records 100000 --runs 1           # a quick look",
		"weir bench peers --input transactions.csv.gz         # from a file of the Handbook's",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &peersBench{}
		fs.IntVar(&b.records, "records", 1_000_000, "`NUMBER` of transactions")
		fs.IntVar(&b.runs, "runs", 3, "`NUMBER` of runs of each, in turn")
		fs.StringVar(&b.input, "input", "", "`FILE` of the Handbook's transactions (.csv.gz); if not given that of\n$WEIR_HANDBOOK, or a simulated bank's where there is none")
		fs.StringVar(&b.codec, "compression", "snappy", "`CODEC` of weir's ledger: none, lz4, zstd, snappy or gzip")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of weir's last run")
		return b.run
	},
}

// peersBench is one run of the measurement.
type peersBench struct {
	records, runs int
	input, codec  string
	profile       string
	stream        *handbookStream
	spec          *spec.Spec
	right         []float32      // the score of each row
	rows          map[string]int // by transaction id
	bundle        string         // file
	trust         string
}

// peerFigures is the report of one service: the median of its runs, and the
// extremes.
type peerFigures struct {
	CPU    float64 `json:"cpu_us_per_tx"`
	CPUMin float64 `json:"cpu_us_per_tx_min"`
	CPUMax float64 `json:"cpu_us_per_tx_max"`
	Rate   float64 `json:"tx_per_s"`
	Right  float64 `json:"right_share"` // of the run that was least right
	RSS    int64   `json:"rss_bytes"`
}

type peersReport struct {
	Machine benchMachine `json:"machine"`
	Weir    peerFigures  `json:"weir"`
	Go      peerFigures  `json:"go_batched"`
	Records int          `json:"records"`
	Runs    int          `json:"runs"`
	Input   string       `json:"input"`
}

const peersPartitions = 2

func (b *peersBench) run(ctx context.Context, e *env, _ []string) error {
	if b.records < 1000 || b.runs < 1 {
		return usagef("at least 1,000 records and one run")
	}
	machine, err := machineOf((&kafkaFlags{}).brokerName())
	if err != nil {
		return err
	}
	machine.print(e)
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	if err := b.prepare(e, folder); err != nil {
		return err
	}
	e.printf("%s transactions of %s; %d runs of each\n", thousands(int64(len(b.stream.rows))), b.stream.from, b.runs)
	runs := map[string][]usage{}
	right := map[string]float64{"score": 1, "peer": 1}
	for i := range b.runs {
		for _, role := range []string{"score", "peer"} {
			u, share, err := b.once(ctx, e, role)
			if err != nil {
				return err
			}
			e.printf("run %d  %-12s %s, %.2f %% right\n", i+1, peerNames[role], u, 100*share)
			runs[role], right[role] = append(runs[role], u), min(right[role], share)
		}
	}
	r := peersReport{Machine: machine, Weir: figuresOf(runs["score"], right["score"]), Go: figuresOf(runs["peer"], right["peer"]),
		Records: len(b.stream.rows), Runs: b.runs, Input: b.stream.from}
	for _, x := range []struct {
		name string
		f    *peerFigures
	}{{"weir", &r.Weir}, {"Go, batched", &r.Go}} {
		e.printf("%-12s CPU a transaction: median %.2f us, min %.2f, max %.2f; %s a second; %.2f %% right\n",
			x.name, x.f.CPU, x.f.CPUMin, x.f.CPUMax, thousands(int64(x.f.Rate)), 100*x.f.Right)
	}
	return e.report(r)
}

var peerNames = map[string]string{"score": "weir", "peer": "Go, batched"}

func figuresOf(runs []usage, right float64) peerFigures {
	var cpu, rate []float64
	f := peerFigures{Right: right}
	for _, u := range runs {
		cpu, rate = append(cpu, u.cpuPerRecord()), append(rate, u.perSecond())
		f.RSS = max(f.RSS, u.RSS)
	}
	f.CPU, f.CPUMin, f.CPUMax, f.Rate = median(cpu), slices.Min(cpu), slices.Max(cpu), median(rate)
	return f
}

// median returns the middle of a list, which it sorts.
func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// prepare reads the stream, makes the bundle, and computes what is right.
func (b *peersBench) prepare(e *env, folder string) (err error) {
	if b.stream, err = loadHandbook(e, b.input, b.records); err != nil {
		return err
	}
	if len(b.stream.rows) < b.records {
		return fmt.Errorf("%s has only %d transactions", b.stream.from, len(b.stream.rows))
	}
	if b.spec, err = loadSpec("handbook"); err != nil {
		return err
	}
	var x []float32
	if err := b.stream.fold(b.spec, func(_ int, row []float32) error { x = append(x, row...); return nil }); err != nil {
		return err
	}
	bundle, err := benchBundle(b.spec, x, 0, 64, 64)
	if err != nil {
		return err
	}
	if b.bundle, b.trust, err = sealBundle(folder, bundle); err != nil {
		return err
	}
	scorer, err := cpu.New(bundle.Model)
	if err != nil {
		return err
	}
	b.right, b.rows = make([]float32, len(b.stream.rows)), make(map[string]int, len(b.stream.rows))
	for i := range b.stream.rows {
		b.rows[string(b.stream.rows[i].id)] = i
	}
	return scorer.Score(scoring.Matrix{Data: x, Rows: len(b.right), Cols: bundle.Model.Columns}, b.right)
}

// once runs one service over a new broker.
func (b *peersBench) once(ctx context.Context, e *env, role string) (usage, float64, error) {
	server, addr, err := startBroker(ctx, e)
	if err != nil {
		return usage{}, 0, err
	}
	defer server.stop()
	log := kafka.New(kafka.Options{Brokers: []string{addr}})
	defer log.Close()
	topics := schemas.DefaultTopics("")
	if err := b.stream.preload(ctx, log, topics, peersPartitions); err != nil {
		return usage{}, 0, err
	}
	n := len(b.stream.rows)
	flags := []string{"--kafka", addr, "--spec", b.spec.Name, "--bundle", b.bundle, "--trust", b.trust, "--compression", b.codec,
		"--warm", strconv.Itoa(n * 2 / 5), "--until", strconv.Itoa(n)}
	if b.profile != "" && role == "score" {
		flags = append(flags, "--profile", b.profile)
	}
	c, err := startChild(e, measuredCore, role, flags...)
	if err != nil {
		return usage{}, 0, err
	}
	defer c.stop()
	u, err := c.measured(ctx)
	if err != nil {
		return usage{}, 0, err
	}
	share, err := b.rightShare(ctx, log, topics, role)
	return u, share, err
}

// closeTo bounds the difference of scores that a peer's arithmetic may make:
// sums in another order.
const closeTo = 1e-4

// rightShare reads the decisions back and returns the share of right scores.
// Weir's must have the same bits.
func (b *peersBench) rightShare(ctx context.Context, log *kafka.Client, topics schemas.Topics, role string) (float64, error) {
	seen := make([]bool, len(b.right))
	right := 0
	check := func(id []byte, score float32) {
		i, ok := b.rows[string(id)]
		if !ok || seen[i] {
			return
		}
		seen[i] = true
		same := score == b.right[i]
		if role == "peer" {
			same = math.Abs(float64(score-b.right[i])) <= closeTo
		}
		if same {
			right++
		}
	}
	read := readLedger
	if role == "peer" {
		read = readPeer
	}
	if err := read(ctx, log, topics, check); err != nil {
		return 0, fmt.Errorf("read decisions back: %w", err)
	}
	return float64(right) / float64(len(b.right)), nil
}

// readLedger calls f with every scored decision of the ledger.
func readLedger(ctx context.Context, log *kafka.Client, topics schemas.Topics, f func(id []byte, score float32)) error {
	_, end, err := log.Offsets(ctx, topics.Decisions, 0)
	if err != nil {
		return err
	}
	r := kafka.NewLedgerReader(log, topics.Decisions, 0, schemas.Anchor{})
	defer r.Close()
	var entry schemas.Entry
	for {
		b, err := r.Next(ctx, end)
		if b == nil || err != nil {
			return err
		}
		for _, value := range b.Values {
			if err := schemas.ParseEntry(value, &entry); err != nil {
				return err
			}
			if b.Taken && entry.Kind == schemas.EntryDecision && entry.Decision.Outcome == schemas.Scored {
				f(entry.Decision.Text[schemas.ID], entry.Decision.Score)
			}
		}
	}
}

// readPeer calls f with every decision of the peer.
func readPeer(ctx context.Context, log *kafka.Client, topics schemas.Topics, f func(id []byte, score float32)) error {
	_, end, err := log.Offsets(ctx, topics.Decisions, 0)
	if err != nil {
		return err
	}
	r := kafka.NewReader(log, topics.Decisions, 0, kafka.Earliest)
	defer r.Close()
	for {
		set, err := r.Next(ctx, end)
		if set == nil || err != nil {
			return err
		}
		for set.Next() {
			var d peer.Decision
			if err := json.Unmarshal(set.Record().Value, &d); err != nil {
				return err
			}
			f([]byte(d.ID), d.Score)
		}
		if err := set.Err(); err != nil {
			return err
		}
	}
}
