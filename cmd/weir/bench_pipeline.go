package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

var benchPipeline = &command{
	name: "bench pipeline", summary: "the whole path, sustained: transactions a second, CPU and allocations of each", json: true,
	about: `A simulated bank's payments, the payments spec, and a network of its features,
256, 256, 1. Weir runs in a process of its own on one core; the broker, and the
process that feeds it and stays a backlog ahead, on another. Steps form by
themselves. Allocations are those of the whole process. Counting begins after
--warm records, when windows and buffers are filled.`,
	examples: []string{
		"weir bench pipeline --json                      # a minute at full speed",
		"weir bench pipeline --rate 100000               # fed at a steady rate",
		"weir bench pipeline --seconds 10 --profile cpu.pprof",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &pipelineBench{device: addDevice(fs)}
		fs.Float64Var(&b.seconds, "seconds", 60, "`SECONDS` to measure")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of equal parts of that, whose median and extremes are told")
		fs.IntVar(&b.warm, "warm", 1_000_000, "`NUMBER` of transactions before that")
		fs.Float64Var(&b.rate, "rate", 0, "transactions a second to feed; 0 is as many as weir takes")
		fs.IntVar(&b.customers, "customers", 5_000, "`NUMBER` of the bank's customers")
		fs.IntVar(&b.partitions, "partitions", 2, "`NUMBER` of partitions of transactions")
		fs.StringVar(&b.codec, "compression", "snappy", "`CODEC` of the ledger: none, lz4, zstd, snappy or gzip")
		fs.BoolVar(&b.free, "free", false, "let weir use every core, not one of its own")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of weir")
		return b.run
	},
}

// pipelineBench is one run of the measurement.
type pipelineBench struct {
	device         *deviceFlags
	seconds        float64
	runs, warm     int
	rate           float64
	customers      int
	partitions     int
	codec, profile string
	free           bool
}

type pipelineReport struct {
	Machine benchMachine `json:"machine"`
	Rate    float64      `json:"tx_per_s"`
	CPU     float64      `json:"cpu_us_per_tx"`
	Allocs  float64      `json:"allocs_per_tx"`
	RSS     int64        `json:"rss_bytes"`
	Alerts  float64      `json:"alert_share"`
	Seconds float64      `json:"seconds"`
	Records int64        `json:"records"`
	Runs    runSpread    `json:"runs_tx_per_s"`
}

func (b *pipelineBench) run(ctx context.Context, e *env, _ []string) error {
	if b.seconds <= 0 || b.runs < 1 || b.warm < 1 || b.partitions < 1 {
		return usagef("--seconds, --runs, --warm and --partitions are above 0")
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
	bundle, err := bankBundle(benchBank(b.customers, 0), b.warm, 256, 256)
	if err != nil {
		return err
	}
	file, trust, err := sealBundle(folder, bundle)
	if err != nil {
		return err
	}
	server, addr, err := startBroker(ctx, e)
	if err != nil {
		return err
	}
	defer server.stop()
	log := kafka.New(kafka.Options{Brokers: []string{addr}})
	defer log.Close()
	if err := log.Ensure(ctx, benchLayouts(schemas.DefaultTopics(""), b.partitions, true)); err != nil {
		return err
	}
	feeder, err := startChild(e, brokerCore, "feed", "--kafka", addr, "--rate", fmt.Sprint(b.rate), "--customers", strconv.Itoa(b.customers))
	if err != nil {
		return err
	}
	defer feeder.stop()
	flags := []string{"--kafka", addr, "--spec", "payments", "--bundle", file, "--trust", trust, "--compression", b.codec,
		"--warm", strconv.Itoa(b.warm), "--for", secondsOf(b.seconds).String(), "--runs", strconv.Itoa(b.runs),
		"--device", b.device.device.String(), "--device-deadline", b.device.deadline.String()}
	if b.profile != "" {
		flags = append(flags, "--profile", b.profile)
	}
	core := measuredCore
	if b.free {
		core = anyCore
	}
	c, err := startChild(e, core, "score", flags...)
	if err != nil {
		return err
	}
	defer c.stop()
	u, err := c.measured(ctx)
	if err != nil {
		return err
	}
	r := pipelineReport{Machine: machine, Rate: u.perSecond(), CPU: u.cpuPerRecord(), Allocs: u.mallocsPerOne(), RSS: u.RSS, Alerts: float64(u.Alerts) / float64(u.Records), Seconds: u.Seconds, Records: u.Records, Runs: spreadOf(u.Rates)}
	e.printf("%s transactions in %.1f s: %s a second (%s to %s in parts), %.2f us of CPU each, %.4f allocations each, %.2f %% alerts, %d MiB\n",
		thousands(r.Records), r.Seconds, thousands(int64(r.Rate)), thousands(int64(r.Runs.Min)), thousands(int64(r.Runs.Max)), r.CPU, r.Allocs, 100*r.Alerts, r.RSS>>20)
	return e.report(r)
}

// benchLayouts are the topics of a measurement. Times of records are those of
// their stream, so none is deleted for its age; where the source is bounded, its
// newest records are kept, so that the broker's memory has a bound.
func benchLayouts(t schemas.Topics, partitions int, bounded bool) []schemas.Layout {
	list := t.Layouts(partitions)
	for i := range list {
		if list[i].Topic != t.Transactions {
			continue
		}
		list[i].Config = map[string]string{"retention.ms": "-1"}
		if bounded {
			list[i].Config["retention.bytes"] = "268435456"
		}
	}
	return list
}

// benchBank is the bank of the measurements: at a rate, one whose time is that of
// the clock; otherwise a usual one.
func benchBank(customers int, rate float64) simulate.Config {
	cfg := simulate.DefaultConfig()
	cfg.Customers, cfg.Days = customers, 0
	cfg.Merchants, cfg.Terminals, cfg.Devices = max(2, customers*2/5), max(2, customers*4/5), max(1, customers*11/10)
	// Fifteen years at full speed: an event beyond the clock would be refused.
	cfg.Start = time.Now().AddDate(-15, 0, 0).Truncate(24 * time.Hour)
	if rate > 0 {
		cfg.TxPerDay = rate * 86400 / float64(customers)
		// Behind the clock, so that no event of the bank's busy hours is in the
		// future.
		cfg.Start = time.Now().AddDate(0, 0, -1).Truncate(time.Millisecond)
	}
	return cfg
}

// alertShare is the share of payments that raise an alert: what a desk can look
// at.
const alertShare = 0.003

// The payments that a bundle's scales and thresholds are from: bundleRows of
// them, behind as many as the measurement's own warm-up where that is less than
// bundleWarm, so that windows are as full as they will be.
const (
	bundleRows = 16_384
	bundleWarm = 500_000
)

// bankBundle makes a bundle for the payments spec, for a bank that is measured
// after so many payments.
func bankBundle(cfg simulate.Config, warm int, hidden ...int) (*scoring.Bundle, error) {
	s, ok := spec.Builtin("payments")
	if !ok {
		panic("BUG: the payments spec is not built in")
	}
	bank, err := simulate.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("make bank: %w", err)
	}
	tokens, err := benchTokens()
	if err != nil {
		return nil, err
	}
	f := &bankFold{bank: bank, decoder: decode.New(s, decode.Options{Tokens: tokens}), engine: features.New(s, features.Options{})}
	x := make([]float32, bundleRows*f.engine.Width())
	for done := 0; done <= min(warm, bundleWarm); done += bundleRows {
		f.rows.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
		if err := f.step(x); err != nil {
			return nil, fmt.Errorf("fold bank: %w", err)
		}
	}
	return benchBundle(s, x, alertShare, hidden...)
}

// A bankFold folds a bank's records, labels too, without a broker.
type bankFold struct {
	bank    *simulate.Bank
	decoder *decode.Decoder
	engine  *features.Engine
	rows    schemas.Batch
	tx      simulate.Transaction
	label   simulate.Label
	text    []byte
}

// step takes bundleRows payments and writes their vectors to x.
func (f *bankFold) step(x []float32) error {
	for range bundleRows {
		if !f.bank.Next(&f.tx) {
			return errors.New("the bank's days are over")
		}
		f.text = f.tx.AppendJSON(f.text[:0])
		i := f.rows.Add(schemas.Place{Timestamp: f.tx.Sent})
		f.decoder.Decode(&f.rows, i, f.text)
		f.rows.Tx[i].AmountBase = f.rows.Tx[i].Amount // near enough, for scales
	}
	f.engine.Step(&f.rows, x, nil)
	var l schemas.Label
	for f.bank.NextLabel(&f.label) {
		f.text = f.label.AppendJSON(f.text[:0])
		if err := schemas.ParseLabel(f.text, &l); err != nil {
			return err
		}
		f.engine.Label(&l)
	}
	return nil
}

// The feeder's pace.
const (
	feedLead  = 200_000 // records ahead of the ledger, where no rate is asked for
	feedBatch = 2_000
	feedPause = 2 * time.Millisecond
)

// feed is the process that writes the bank's records, at a rate or a backlog
// ahead of what is decided.
func (r *benchWork) feed(ctx context.Context) error {
	cfg := benchBank(r.customers, 0)
	bank, err := simulate.New(cfg)
	if err != nil {
		return fmt.Errorf("make bank: %w", err)
	}
	t := r.kafka.topics()
	f, err := newFeed(ctx, bank, r.client, t)
	if err != nil {
		return err
	}
	if err := f.rates(ctx, &cfg); err != nil {
		return err
	}
	started := time.Now()
	for ctx.Err() == nil {
		due := int64(time.Since(started).Seconds() * r.rate)
		if r.rate == 0 {
			_, end, err := r.client.Offsets(ctx, t.Decisions, 0)
			if err != nil {
				return r.unlessEnded(ctx, err)
			}
			due = end + feedLead
		}
		n := min(int(due-f.total), feedBatch)
		if n <= 0 {
			time.Sleep(feedPause)
			continue
		}
		if !f.draw(n) {
			return fmt.Errorf("the bank's days are over")
		}
		if err := f.flush(ctx); err != nil {
			return r.unlessEnded(ctx, err)
		}
	}
	return nil
}

// unlessEnded is err, unless the process has been told to end.
func (r *benchWork) unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
