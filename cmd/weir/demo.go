package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/simulate"
)

var demoCommand = &command{
	name: "demo", summary: "see weir work: a simulated bank pays, weir learns, scores and alerts", json: true,
	about: `A simulated bank's past goes through the stream; weir learns a first model from
what it recorded, swaps it in, and scores the bank's present, faster than life.
The table shows each second: transactions decided, the time from record to
durable decision, outcomes, alerts, and by the simulator's truth how many alerts of
the last ten seconds were right and how many frauds found. On the second day the fraud
changes: most attackers now talk customers into transfers. Every few days weir learns
anew from what became known, holds the new model against the old one on days that
neither knows, and swaps it in if it is better, or says why not: within two minutes at
the default rate. Nothing is kept unless --data names a folder. It runs until Ctrl-C.

The alerts of the present come to the desk with what was paid around them; its address,
names and password are told at the start. You are the bank's analysts: what you close as
fraud or as genuine is a label at once, and a lesson tells how many of these it had and
what they changed. A payment is learnt from once it is 7 days old, half a minute at the
default rate.
The demo brings its own broker; weir simulate and weir up work on yours.`,
	examples: []string{
		"weir demo                     # until Ctrl-C",
		"weir demo --seconds 30 --rate 5000",
		"weir demo --seconds 20 --json # the last line is one JSON object",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		// The demo brings its own broker and keys: of what a service takes only
		// this is of use.
		all := flag.NewFlagSet("", flag.ContinueOnError)
		d := &demo{service: addService(all), score: addScore(all), webFlags: addDesk(all, true)}
		for _, name := range []string{"data", "listen", "metrics-tls-cert", "metrics-tls-key", "pprof", "web", "spec", "compression", "rows-max"} {
			f := all.Lookup(name)
			fs.Var(f.Value, f.Name, f.Usage)
		}
		fs.IntVar(&d.customers, "customers", 4000, "`NUMBER` of customers of the simulated bank")
		fs.IntVar(&d.past, "past", 42, "`DAYS` of the past to learn from")
		fs.IntVar(&d.rate, "rate", 2000, "`NUMBER` of transactions a second, live")
		fs.IntVar(&d.seconds, "seconds", 0, "stop after so many `SECONDS` of live stream; 0 runs until Ctrl-C")
		fs.Uint64Var(&d.seed, "seed", 1, "`SEED` of the simulated bank")
		set := fs.Lookup("data")
		set.DefValue, set.Usage = "", "`FOLDER` to keep everything in; a temporary one if not given"
		_ = set.Value.Set("")
		return d.run
	},
}

// demo is one run of the command.
type demo struct {
	service               *serviceFlags
	score                 *scoreFlags
	webFlags              *deskFlags
	customers, past, rate int
	seconds               int
	seed                  uint64

	started time.Time

	env    *env
	s      *service
	node   *ingest.Node
	spec   *spec.Spec
	feed   *feed
	live   *live
	web    *openDesk     // nil for none
	memory *demoPast     // of web
	paid   chan struct{} // closed when the past is decided
	desk   *deskReport   // of web
	pupil
}

func (d *demo) run(ctx context.Context, e *env, _ []string) error {
	if d.rate < 1 || d.rate > 100_000 {
		return usagef("--rate %d: 1 to 100000 transactions a second", d.rate)
	}
	if d.past < 21 {
		return usagef("--past %d: the model needs 21 days or more, of which labels take the last 7", d.past)
	}
	if d.customers < 200 || d.customers > 1_000_000 {
		return usagef("--customers %d: 200 to 1000000", d.customers)
	}
	if d.seconds < 0 {
		return usagef("--seconds %d: 0 or more", d.seconds)
	}
	if err := d.webFlags.check(); err != nil {
		return err
	}
	d.env, d.started = e, time.Now()
	dir := d.service.data
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		defer os.RemoveAll(dir)
		d.service.data = dir
	}
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	d.service.kafka.brokers = b.Addr()
	if d.s, err = d.service.open(ctx, e, 4, allRights); err != nil {
		return err
	}
	defer d.s.close()
	return d.serve(ctx)
}

// serve runs a scorer beside the demo's own story.
func (d *demo) serve(ctx context.Context) error {
	// What happens is told by the table; the log would tear it apart.
	d.s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	node, models, err := d.s.scorer(ctx, d.score)
	if err != nil {
		return err
	}
	// The bank lives thousands of times faster than the clock: ten minutes of its
	// time are a blink, and no backlog.
	node.SkewMax = 10 * time.Minute
	d.node = node
	if d.spec, err = loadSpec(*d.score.spec); err != nil {
		return err
	}
	at, stop, err := d.service.serveMetrics(d.s.log, d.s.registry, readiness(node.Status))
	if errors.Is(err, syscall.EADDRINUSE) && d.service.listen == listenDefault {
		// Another weir is here; where nobody asked for a port, any will do.
		d.service.listen = "127.0.0.1:0"
		at, stop, err = d.service.serveMetrics(d.s.log, d.s.registry, readiness(node.Status))
	}
	if err != nil {
		return err
	}
	defer stop()
	d.env.printf("metrics       http://%s/metrics\n", at)
	d.live, d.paid = newLive(d), make(chan struct{})
	if err := d.openDesk(ctx); err != nil {
		return err
	}
	defer d.web.close()
	node.OnPublished = d.live.published
	d.learner = newLearner(d.s.client, d.s.topics, d.spec)
	defer d.learner.close()
	d.asks, d.lessons = make(chan int64, 1), make(chan lesson, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = together(ctx,
		role{"score", node.Run},
		role{"models", func(ctx context.Context) error { return node.Watch(ctx, models) }},
		role{"alerts", d.live.watch},
		role{"desk", d.runDesk},
		role{"learn", d.relearn},
		role{"", func(ctx context.Context) error { defer cancel(); return d.story(ctx) }},
	)
	r := d.report()
	if !d.env.json {
		d.env.printf("%s\n", r.stopReport)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return d.env.report(r)
}

// demoReport is the demo's --json line.
type demoReport struct {
	stopReport
	FirstScored float64     `json:"first_live_scored_s"` // after the start
	Lessons     []lesson    `json:"lessons"`
	Desk        *deskReport `json:"desk,omitempty"`
}

func (d *demo) report() demoReport {
	r := demoReport{stopReport: reportOf(d.node.Status()), Lessons: append([]lesson{}, d.live.lessons...), Desk: d.desk}
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	if !d.live.first.IsZero() {
		r.FirstScored = d.live.first.Sub(d.started).Seconds()
	}
	return r
}

// demoShift is what kinds of fraud there are from the second day on: most of it is one
// that the first model has never seen.
var demoShift = [simulate.NumFraudKinds]float64{
	simulate.HighAmount: 0.05, simulate.CompromisedTerminal: 0.15, simulate.StolenCard: 0.10,
	simulate.CardTesting: 0.05, simulate.AccountTakeover: 0.05, simulate.PushPayment: 0.60,
}

// story is what the demo shows: the past, the lesson, the present.
func (d *demo) story(ctx context.Context) error {
	if err := d.pay(ctx); err != nil {
		return err
	}
	close(d.paid)
	if err := d.learn(ctx); err != nil {
		return err
	}
	return d.live.run(ctx)
}

// config is the simulated bank, whose past ends three years ago.
func (d *demo) config(now time.Time) simulate.Config {
	cfg := simulate.DefaultConfig()
	cfg.Seed, cfg.Customers, cfg.Days = d.seed, d.customers, 0
	cfg.Merchants, cfg.Terminals, cfg.Devices = max(cfg.Merchants*d.customers/5000, 16), max(cfg.Terminals*d.customers/5000, 24), max(cfg.Devices*d.customers/5000, 8)
	// Three years back there is room for an hour of present at thousands of
	// times the speed of life.
	// It begins with a week, so that it is the same bank on any day.
	cfg.Start = now.UTC().AddDate(-3, 0, 0).Truncate(7 * 24 * time.Hour)
	// Its analysts are whoever works at the desk. What others of them would have said,
	// customers do, so that as much becomes known.
	all := &cfg.Labels
	all.Customer, all.Analyst, all.AnalystGenuine = 1-(1-all.Customer)*(1-all.Analyst), 0, 0
	cfg.Drift.PushPaymentDay, cfg.Drift.ShiftDay, cfg.Drift.Shift = -1, d.past+1, demoShift
	return cfg
}

// pay sends the bank's past and waits until it is decided, by the fallback
// rules: there is no model yet.
func (d *demo) pay(ctx context.Context) error {
	cfg := d.config(time.Now())
	bank, err := simulate.New(cfg)
	if err != nil {
		return err
	}
	if d.feed, err = newFeed(ctx, bank, d.s.client, d.s.topics); err != nil {
		return err
	}
	if err := d.feed.rates(ctx, &cfg); err != nil {
		return err
	}
	began, end := time.Now(), cfg.Start.AddDate(0, 0, d.past).UnixMilli()
	b := newBar(d.env, "the past")
	defer b.end()
	expected := int64(cfg.Rate() * 86400 * float64(d.past) * 1.05)
	decided := func() int64 { return d.node.Status().Counts.Decisions() }
	for bank.Now() < end {
		d.feed.drawHour(1000)
		if err := d.feed.flush(ctx); err != nil {
			return err
		}
		b.set(decided(), expected)
	}
	// The labels too: on a slow machine they come behind, and there is nothing to
	// learn from without them.
	for decided() < d.feed.total || d.node.Status().Counts.Labels < d.feed.told {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		b.set(decided(), d.feed.total)
	}
	b.end()
	took := time.Since(began)
	d.env.printf("the past      %s transactions of %d days,\n              decided by rules in %.1f s (%s a second)\n", thousands(d.feed.total), d.past,
		took.Seconds(), thousands(int64(float64(d.feed.total)/took.Seconds())))
	return nil
}

// sleep waits, or ends with the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
