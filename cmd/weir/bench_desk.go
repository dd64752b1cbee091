package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

var benchDesk = &command{
	name: "bench desk", summary: "the desk under load: how long each page takes, at the server and at the browser", json: true,
	about: `Alerts, most of them closed, are published to the broker; a desk in a process of its
own folds them from an empty view, which is timed to the moment when it is ready. Then
analysts log in, each with a stream of events open, and work: queues with and without
filters, cases, claims, notes, verdicts, the next best; and their leads, who look at the
supervisor's pages, the models and the audit log. First each at a pace, then all as fast
as they get answers. Every page is a request over HTTP by a session of its own, and
is audited, acks=all, before it is sent. Measured are the time in the desk's handler and
the time at the browser until the last byte. Alerts arrive meanwhile.`,
	examples: []string{
		"weir bench desk                                     # a million alerts, 200 analysts",
		"weir bench desk --alerts 100000 --analysts 20 --seconds 10 --json",
		"weir bench desk --closed 0 --profile desk.pprof     # every alert is open",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &deskBench{kafka: addKafka(fs)}
		fs.IntVar(&b.alerts, "alerts", 1_000_000, "`NUMBER` of alerts in the view")
		fs.Float64Var(&b.closed, "closed", 0.9, "`SHARE` of them that is closed")
		fs.IntVar(&b.analysts, "analysts", 200, "`NUMBER` of analysts at work at once")
		fs.IntVar(&b.leads, "leads", 10, "`NUMBER` of supervisors, model owners and auditors beside them")
		fs.DurationVar(&b.pace, "pace", 2*time.Second, "`TIME` between two pages of one analyst, on average")
		fs.Float64Var(&b.seconds, "seconds", 60, "`SECONDS` at that pace")
		fs.Float64Var(&b.flat, "flat-out", 15, "`SECONDS` without a pause")
		fs.Float64Var(&b.arrivals, "arrivals", 5, "`NUMBER` of alerts a second that arrive meanwhile")
		fs.IntVar(&b.payments, "payments", 300_000, "`NUMBER` of payments in its history, of 60 days; 0 is no history")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of the desk")
		return b.run
	},
}

// deskBench is one run of the measurement.
type deskBench struct {
	kafka    *kafkaFlags
	alerts   int
	closed   float64
	analysts int
	leads    int
	payments int
	pace     time.Duration
	seconds  float64
	flat     float64
	arrivals float64
	profile  string

	r       *rand.Rand
	log     *kafka.Client
	topics  schemas.Topics
	next    int64 // the next alert's offset
	address string
}

type deskBenchReport struct {
	Alerts      int         `json:"alerts"`
	Closed      int         `json:"closed"`
	Payments    int         `json:"payments"`
	FoldSeconds float64     `json:"fold_seconds"`
	FoldCPU     float64     `json:"fold_cpu_seconds"`
	RSS         int64       `json:"rss_bytes"`
	LogIns      deskTimes   `json:"log_ins"`
	Paced       []deskTimes `json:"paced"`
	FlatOut     []deskTimes `json:"flat_out"`
	Errors      int         `json:"errors"`
}

func (b *deskBench) run(ctx context.Context, e *env, _ []string) error {
	if b.alerts < 1 || b.analysts < 1 || b.seconds <= 0 || b.flat < 0 || b.leads < 0 || b.payments < 0 || b.pace <= 0 || b.closed < 0 || b.closed > 1 || b.arrivals < 0 {
		return usagef("--alerts, --analysts, --seconds and --pace are above 0, --closed is from 0 to 1")
	}
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	if b.kafka.brokers == "" {
		server, addr, err := startBroker(ctx, e)
		if err != nil {
			return err
		}
		defer server.stop()
		b.kafka.brokers = addr
	} else if b.kafka.prefix == "" {
		b.kafka.prefix = fmt.Sprintf("weir-bench-%d.", time.Now().Unix())
		e.printf("topics begin with %s\n", b.kafka.prefix)
	}
	if b.log, err = b.kafka.client(e); err != nil {
		return err
	}
	defer b.log.Close()
	b.r, b.topics = rand.New(rand.NewPCG(1, 1)), b.kafka.topics()
	if err := b.log.Ensure(ctx, b.topics.Layouts(1)); err != nil {
		return err
	}
	report := deskBenchReport{Alerts: b.alerts, Payments: b.payments}
	if report.Closed, err = b.fill(ctx); err != nil {
		return err
	}
	people, err := b.accounts(ctx, folder)
	if err != nil {
		return err
	}
	if err := errors.Join(b.models(ctx, folder), b.past(ctx, folder)); err != nil {
		return err
	}
	if err := b.measure(ctx, e, folder, people, &report); err != nil {
		return err
	}
	report.print(e, b)
	return e.report(report)
}

// measure has a desk fold what is there, and people work at it.
func (b *deskBench) measure(ctx context.Context, e *env, folder string, people []*benchAnalyst, report *deskBenchReport) error {
	c, err := startChild(e, anyCore, "desk", "--kafka", b.kafka.brokers, "--topic-prefix", b.kafka.prefix, "--data", folder, "--profile", b.profile)
	if err != nil {
		return err
	}
	defer c.stop()
	var begun deskBegun
	if err := c.says(ctx, &begun); err != nil {
		return err
	}
	report.FoldSeconds, report.FoldCPU, b.address = begun.FoldSeconds, begun.FoldCPU, begun.Address
	work, stop := context.WithCancel(ctx)
	defer stop()
	streams, err := b.enter(work, people)
	if err != nil {
		return err
	}
	paced := time.Duration(b.seconds * float64(time.Second))
	if err := b.phase(work, "paced", people, paced, b.pace); err != nil {
		return err
	}
	if err := b.phase(work, "flat-out", people, time.Duration(b.flat*float64(time.Second)), 0); err != nil {
		return err
	}
	stop()
	streams()
	_ = c.stdin.Close() // it says what it measured, and ends
	var server deskMeasured
	if err := c.says(ctx, &server); err != nil {
		return err
	}
	report.RSS = server.RSS
	report.LogIns = timesOf("log in", server.Took, people, b.seconds)
	for _, page := range benchPages {
		report.Paced = append(report.Paced, timesOf("paced "+page, server.Took, people, b.seconds))
		if b.flat > 0 {
			report.FlatOut = append(report.FlatOut, timesOf("flat-out "+page, server.Took, people, b.flat))
		}
	}
	for _, p := range people {
		report.Errors += p.errors
	}
	return nil
}

// says reads a line of JSON from a child.
func (c *child) says(ctx context.Context, to any) error {
	text, err := c.line(ctx)
	if err == nil {
		err = json.Unmarshal([]byte(text), to)
	}
	if err != nil {
		return fmt.Errorf("measure %s: %w", c.role, err)
	}
	return nil
}

// accounts makes an account for each analyst. Its password is cheap to try until the
// first log-in, which makes it as dear as those that people choose.
func (b *deskBench) accounts(ctx context.Context, folder string) (people []*benchAnalyst, err error) {
	a, err := desk.OpenAccounts(ctx, filepath.Join(folder, "desk.db"), desk.AccountsConfig{Cost: desk.Cost{MemoryKiB: 8, Passes: 1, Lanes: 1}})
	if err != nil {
		return nil, err
	}
	for i := range b.analysts + b.leads {
		p, roles := newBenchAnalyst(b, i, i >= b.analysts), desk.Roles(desk.Analyst)
		if p.lead {
			roles = desk.Roles(desk.Supervisor, desk.ModelOwner, desk.Auditor)
		}
		if err := a.Add(ctx, desk.User{Name: p.name, Roles: roles}, benchPassword); err != nil {
			return nil, err
		}
		people = append(people, p)
	}
	return people, a.Close()
}

// models makes one model the champion and another the challenger, signed by the key of
// the desk's folder.
func (b *deskBench) models(ctx context.Context, folder string) error {
	key, err := signingKey(folder)
	if err != nil {
		return err
	}
	for i, slot := range []string{championSlot, challengerSlot} {
		m, err := bankBundle(benchBank(1000, 0), 0, 64<<i)
		if err != nil {
			return err
		}
		data, sealed, err := trainer.Seal(m, key)
		if err != nil {
			return err
		}
		if err := ingest.PublishBundle(ctx, b.log, b.topics, data, sealed.Hash, slot, ingest.Slot{By: "weir bench", Reason: "to be measured"}, key, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// past makes the history that the desk looks into, which is the one of its folder.
func (b *deskBench) past(ctx context.Context, folder string) error {
	if b.payments == 0 {
		return nil
	}
	store, err := history.Open(ctx, filepath.Join(folder, "history.db"), history.Options{})
	if err != nil {
		return err
	}
	return errors.Join(benchHistory(ctx, store, max(1, b.alerts/4), b.payments, time.Now(), 60), store.Close())
}

// atOnce is how many records a request brings.
const atOnce = 1000

// fill publishes the alerts, the dispositions that close a share of them, and the labels
// that these made.
func (b *deskBench) fill(ctx context.Context) (closed int, err error) {
	begin := time.Now().Add(-30 * 24 * time.Hour).UnixMilli()
	every := 30 * 24 * time.Hour.Milliseconds() / int64(b.alerts)
	for b.next < int64(b.alerts) {
		var raised, actions, labels, looks kafka.BatchWriter
		before := closed
		for range min(atOnce, b.alerts-int(b.next)) {
			at := begin + b.next*every
			value, id := benchAlert(b.r, b.next, max(1, b.alerts/4), at)
			raised.Append([]byte(id), value, at, nil)
			if b.r.Float64() < b.closed {
				tx := fmt.Appendf(nil, "tx-%d", b.next)
				d := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", b.next), AlertID: []byte(id), TxID: tx, Kind: schemas.ClosedGenuine, By: []byte("before"), At: at + 60_000}
				l := schemas.Label{TxID: tx, Verdict: schemas.LabelGenuine, Source: schemas.Analyst, KnownAt: d.At, Version: 1, Selected: []byte("alert"), SelectedProb: 1, Time: at}
				actions.Append(d.AlertID, schemas.AppendDispositionJSON(nil, &d), d.At, nil)
				labels.Append(tx, schemas.AppendLabelJSON(nil, &l), d.At, nil)
				seen := schemas.AuditEntry{ID: fmt.Appendf(nil, "v%d", b.next), At: d.At - 30_000, Who: d.By, What: schemas.AuditViewed, Of: []byte("/alerts/" + id), Address: []byte("127.0.0.1")}
				looks.Append(d.By, schemas.AppendAuditJSON(nil, &seen), seen.At, nil)
				closed++
			}
			b.next++
		}
		err = b.send(ctx, b.topics.Alerts, &raised)
		if err == nil && closed > before {
			err = errors.Join(b.send(ctx, b.topics.Dispositions, &actions), b.send(ctx, b.topics.Labels, &labels), b.send(ctx, b.topics.Audit, &looks))
		}
		if err != nil {
			return closed, err
		}
	}
	return closed, nil
}

func (b *deskBench) send(ctx context.Context, topic string, w *kafka.BatchWriter) error {
	batch, err := w.Finish(kafka.LZ4)
	if err == nil {
		_, err = b.log.Produce(ctx, topic, 0, batch)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// arrive publishes alerts, at the rate that is asked for, until the context ends.
func (b *deskBench) arrive(ctx context.Context) error {
	if b.arrivals == 0 {
		return nil
	}
	for wait(ctx, time.Duration(float64(time.Second)/b.arrivals)) == nil {
		var batch kafka.BatchWriter
		now := time.Now().UnixMilli()
		value, id := benchAlert(b.r, b.next, max(1, b.alerts/4), now)
		b.next++
		batch.Append([]byte(id), value, now, nil)
		if err := b.send(ctx, b.topics.Alerts, &batch); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// deskTimes are the figures of one kind of page.
type deskTimes struct {
	Page      string  `json:"page"`
	Pages     int     `json:"pages"`
	PerSecond float64 `json:"per_s"`
	Server    took    `json:"server_ms"`
	Browser   took    `json:"browser_ms"`
	Bytes     int     `json:"bytes_mean"`
	BytesMax  int     `json:"bytes_max"`
}

// took are times in milliseconds.
type took struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func tookOf(us []int32) (t took) {
	if len(us) == 0 {
		return t
	}
	slices.Sort(us)
	at := func(share float64) float64 { return float64(us[min(int(share*float64(len(us))), len(us)-1)]) / 1000 }
	return took{at(.5), at(.99), at(1)}
}

// timesOf puts together what server and browsers measured of a kind of page.
func timesOf(what string, server map[string][]int32, people []*benchAnalyst, seconds float64) deskTimes {
	t := deskTimes{Page: what[strings.IndexByte(what, ' ')+1:], Server: tookOf(server[what])}
	var at []int32
	sum := 0
	for _, p := range people {
		at = append(at, p.took[what]...)
		for _, n := range p.bytes[what] {
			sum += int(n)
			t.BytesMax = max(t.BytesMax, int(n))
		}
	}
	t.Pages, t.PerSecond, t.Browser = len(at), float64(len(at))/seconds, tookOf(at)
	t.Bytes = sum / max(1, len(at))
	return t
}

func (r *deskBenchReport) print(e *env, b *deskBench) {
	e.printf("%s alerts, %s of them closed, folded from an empty view in %.1f s\n(%.1f s of CPU), %s MiB at most; a history of %s payments; %d analysts, %d errors\n",
		thousands(int64(r.Alerts)), thousands(int64(r.Closed)), r.FoldSeconds, r.FoldCPU, thousands(r.RSS>>20), thousands(int64(r.Payments)), b.analysts, r.Errors)
	table := func(title string, list []deskTimes) {
		total := 0.0
		for _, t := range list {
			total += t.PerSecond
		}
		e.printf("\n%s: %.0f pages a second\n", title, total)
		e.printf("%-14s %6s  %22s  %22s %9s\n", "", "", "ms at the server", "ms at the browser", "kB")
		e.printf("%-14s %6s  %6s %7s %7s  %6s %7s %7s %4s %4s\n", "page", "pages", "p50", "p99", "max", "p50", "p99", "max", "mean", "max")
		for _, t := range list {
			e.printf("%-14s %6d  %6.1f %7.1f %7.1f  %6.1f %7.1f %7.1f %4.0f %4.0f\n", t.Page, t.Pages,
				t.Server.P50, t.Server.P99, t.Server.Max, t.Browser.P50, t.Browser.P99, t.Browser.Max, float64(t.Bytes)/1000, float64(t.BytesMax)/1000)
		}
	}
	table("two at a time", []deskTimes{r.LogIns})
	table("a page each "+b.pace.String(), r.Paced)
	if len(r.FlatOut) > 0 {
		table("flat out", r.FlatOut)
	}
}
