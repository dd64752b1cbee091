package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring/cuda"
)

var benchLatency = &command{
	name: "bench latency", summary: "how long a payment waits for its durable decision, at a rate", json: true,
	about: `Open loop: when each payment is due is fixed beforehand, at random with the rate
as its mean, and a payment's latency runs from then, not from when it was sent,
to the acknowledgement of its decision by all replicas. Load and scorer are in
this process, under one clock; the broker is in its own. With --kafka it is a
real one, and topics of a prefix of their own are left behind there.`,
	examples: []string{
		"weir bench latency --rate 20000 --json               # with the embedded broker",
		"weir bench latency --rate 65000 --seconds 60",
		"weir bench latency --kafka 127.0.0.1:9092 --topic-prefix bench1.",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &latencyBench{kafka: addKafka(fs), device: addDevice(fs)}
		fs.Float64Var(&b.rate, "rate", 20_000, "`NUMBER` of payments a second")
		fs.Float64Var(&b.seconds, "seconds", 30, "`SECONDS` to measure")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of equal parts of that, whose median and extremes are told")
		fs.Float64Var(&b.warm, "warm", 5, "`SECONDS` before that, at the same rate")
		fs.IntVar(&b.customers, "customers", 50_000, "`NUMBER` of the bank's customers")
		fs.IntVar(&b.partitions, "partitions", 2, "`NUMBER` of partitions of transactions")
		fs.StringVar(&b.codec, "compression", "snappy", "`CODEC` of the ledger: none, lz4, zstd, snappy or gzip")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of this process")
		return b.run
	},
}

// latencyBench is one run of the measurement.
type latencyBench struct {
	kafka          *kafkaFlags
	device         *deviceFlags
	rate           float64
	seconds, warm  float64
	runs           int
	customers      int
	partitions     int
	codec, profile string

	started time.Time
	due     []time.Duration // of each payment since started
	first   int             // the first that is measured

	mu    sync.Mutex
	sent  int
	at    [][]int32 // by partition and offset: which payment it is
	took  []time.Duration
	left  int           // payments that are not decided
	ended chan struct{} // closed when none is
}

type latencyReport struct {
	Machine benchMachine `json:"machine"`
	Rate    float64      `json:"rate"`
	P50     float64      `json:"p50_ms"`
	P99     float64      `json:"p99_ms"`
	P999    float64      `json:"p999_ms"`
	Max     float64      `json:"max_ms"`
	Sent    int          `json:"sent"`
	Decided int          `json:"decided"`
	CPU     float64      `json:"cpu_us_per_tx"`       // of load and scorer together
	OnGPU   float64      `json:"gpu_share,omitempty"` // of the batches
	// Of each of the equal parts of the measured time, in ms.
	RunsP50  runSpread `json:"runs_p50_ms"`
	RunsP99  runSpread `json:"runs_p99_ms"`
	RunsP999 runSpread `json:"runs_p999_ms"`
}

func (b *latencyBench) run(ctx context.Context, e *env, _ []string) error {
	if b.rate <= 0 || b.seconds <= 0 || b.runs < 1 || b.warm < 0 || b.partitions < 1 || b.rate*(b.seconds+b.warm) > 1<<30 {
		return usagef("--rate, --seconds, --runs and --partitions are above 0, and 1 billion payments are enough")
	}
	machine, err := machineOf(b.kafka.brokerName())
	if err != nil {
		return err
	}
	machine.print(e)
	stop, err := b.kafka.orEmbedded(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	log, err := b.kafka.client(e)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := log.Ensure(ctx, benchLayouts(b.kafka.topics(), b.partitions, false)); err != nil {
		return err
	}
	cfg := benchBank(b.customers, b.rate)
	bundle, err := bankBundle(cfg, int(b.rate*b.warm), 256, 256)
	if err != nil {
		return err
	}
	scorer, device, err := benchScorer(ctx, e, b.device, bundle)
	if err != nil {
		return err
	}
	if device != nil {
		defer device.Close()
	}
	node, err := benchNode(e, log, b.kafka.topics(), "payments", b.codec, bundle, scorer, b.published)
	if err != nil {
		return err
	}
	b.schedule()
	m := newMeter(1, 0, 0, b.profile)
	err = together(ctx, role{"score", node.Run}, role{"load", func(ctx context.Context) error {
		m.add(1)
		err := b.load(ctx, &cfg, log, func() bool { return node.Status().Owner })
		m.end()
		return err
	}})
	if err != nil {
		return err
	}
	r := b.report()
	r.Machine = machine
	r.CPU = 1e6 * m.result.CPUSeconds / float64(r.Sent)
	if device != nil {
		n := device.Stats().Batches
		r.OnGPU = float64(n[cuda.GPU]) / float64(max(1, n[cuda.GPU]+n[cuda.CPU]))
	}
	e.printf("%s payments at %s a second: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms; %s decided; %.1f us of CPU each\n",
		thousands(int64(r.Sent)), thousands(int64(r.Rate)), r.P50, r.P99, r.P999, r.Max, thousands(int64(r.Decided)), r.CPU)
	e.printf("in %d parts: p50 %s ms, p99 %s ms, p99.9 %s ms\n", b.runs, r.RunsP50, r.RunsP99, r.RunsP999)
	return e.report(r)
}

// schedule fixes when each payment is due.
func (b *latencyBench) schedule() {
	r := rand.New(rand.NewPCG(1, 1))
	end := time.Duration((b.warm + b.seconds) * float64(time.Second))
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() / b.rate * float64(time.Second))
		if at >= end {
			break
		}
		if at < time.Duration(b.warm*float64(time.Second)) {
			b.first++
		}
		b.due = append(b.due, at)
	}
	b.took, b.left, b.ended = make([]time.Duration, len(b.due)), len(b.due), make(chan struct{})
	b.at = make([][]int32, b.partitions)
	for p := range b.at {
		b.at[p] = make([]int32, 0, len(b.due))
	}
}

// tick is how often payments that are due are sent: as often as the system's
// timers allow.
const tick = 200 * time.Microsecond

// load sends every payment when it is due, waits until all are decided, and
// ends the measurement.
func (b *latencyBench) load(ctx context.Context, cfg *simulate.Config, log *kafka.Client, ready func() bool) error {
	bank, err := simulate.New(*cfg)
	if err != nil {
		return fmt.Errorf("make bank: %w", err)
	}
	f, err := newFeed(ctx, bank, log, b.kafka.topics())
	if err != nil {
		return err
	}
	if slices.Max(f.sent) > 0 || len(f.sent) != b.partitions {
		return fmt.Errorf("%s is not new: another --topic-prefix makes topics for this measurement", b.kafka.topics().Transactions)
	}
	f.stamp = func(p int, _ int64) { // offsets count up from 0, as b.at does
		b.at[p] = append(b.at[p], int32(b.sent))
		b.sent++
	}
	if err := f.rates(ctx, cfg); err != nil {
		return err
	}
	for !ready() {
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.started = time.Now()
	b.mu.Unlock()
	for b.sent < len(b.due) {
		now, n := time.Since(b.started), 0
		for b.sent+n < len(b.due) && b.due[b.sent+n] <= now {
			n++
		}
		if n == 0 {
			if err := wait(ctx, tick); err != nil {
				return err
			}
			continue
		}
		b.mu.Lock()
		f.draw(n)
		b.mu.Unlock()
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	select {
	case <-b.ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(decidedWithin):
	}
	return nil
}

// decidedWithin is how long the last payments are waited for.
const decidedWithin = 30 * time.Second

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// published notes which payments have their durable decisions.
func (b *latencyBench) published(places []schemas.Place, _ []schemas.Verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Since(b.started)
	for _, p := range places {
		i := b.at[p.Partition][p.Offset]
		b.took[i] = now - b.due[i]
	}
	if b.left -= len(places); b.left == 0 && len(places) > 0 {
		close(b.ended)
	}
}

func (b *latencyBench) report() latencyReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := latencyReport{Rate: b.rate, Sent: b.sent, Decided: len(b.due) - b.left}
	var p50, p99, p999 []float64
	part := secondsOf(b.seconds) / time.Duration(b.runs)
	for i, from := 0, b.first; i < b.runs; i++ {
		to := from + sort.Search(len(b.due)-from, func(j int) bool { return b.due[from+j] >= secondsOf(b.warm)+part*time.Duration(i+1) })
		if took := inOrder(b.took[from:to]); len(took) > 0 {
			p50, p99, p999 = append(p50, percentile(took, .5)), append(p99, percentile(took, .99)), append(p999, percentile(took, .999))
		}
		from = to
	}
	r.RunsP50, r.RunsP99, r.RunsP999 = spreadOf(p50), spreadOf(p99), spreadOf(p999)
	if took := inOrder(b.took[b.first:]); len(took) > 0 {
		r.P50, r.P99, r.P999, r.Max = percentile(took, .5), percentile(took, .99), percentile(took, .999), percentile(took, 1)
	}
	return r
}

// inOrder returns latencies in order, without those of payments that were not decided.
func inOrder(took []time.Duration) []time.Duration {
	took = slices.DeleteFunc(slices.Clone(took), func(d time.Duration) bool { return d == 0 })
	slices.Sort(took)
	return took
}

// percentile returns the latency, in ms, that a share of those in order do not exceed.
func percentile(took []time.Duration, share float64) float64 {
	return float64(took[min(int(share*float64(len(took))), len(took)-1)].Microseconds()) / 1000
}
