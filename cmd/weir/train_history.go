package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/trainer"
)

// pastFlags say what of a history to learn from; --from, --to and --ripe are those
// of files too.
type pastFlags struct {
	history *historyFlags
	asOf    moment
	days    float64
	share   string
	weigh   string
}

func addPast(fs *flag.FlagSet) *pastFlags {
	p := &pastFlags{history: addHistory(fs)}
	fs.Lookup("history").Usage = "`URL` of the history to learn from: clickhouse://[USER@]HOST:PORT/DATABASE, or a file of\nSQLite; ?secure=true speaks TLS"
	fs.Var(&p.asOf, "as-of", "learn as of `WHEN`: 2026-05-01, or a time of RFC 3339 (the newest decision's\ntime if not given)")
	fs.Float64Var(&p.days, "days", 0, "learn from that `NUMBER` of days before --as-of")
	fs.StringVar(&p.share, "sample", "auto", "`SHARE` of the genuine decisions to take; auto is as many as there is room for")
	fs.StringVar(&p.weigh, "weigh", "auto", "count rows by how their labels came: `auto`, on or off. A verdict of a transaction that was\ndrawn to be reviewed stands for those not drawn, which count as unknown and not as\ngenuine; auto does so where most frauds below the threshold come to light no other way")
	return p
}

// weighings are the values of --weigh.
var weighings = map[string]trainer.Weighing{"auto": trainer.WeighAuto, "on": trainer.WeighAlways, "off": trainer.WeighNever}

// pastReport is what became of a history's rows: part of the --json line.
type pastReport struct {
	AsOf    string `json:"as_of"`
	Default bool   `json:"as_of_newest_decision"` // and not what was asked for
	Seen    int    `json:"decisions"`
	Unripe  int    `json:"unripe"`
	Frauds  int    `json:"frauds"`
	Genuine int    `json:"genuine"`
	Taken   int    `json:"genuine_taken"`
	Weighed bool   `json:"weighed"` // by how labels came
	Unseen  int    `json:"unseen"`  // of the genuine, unknown and left out
}

// openPast says that rows come from a history.
func (t *training) openPast(ctx context.Context, e *env, args []string) (*trainFrom, error) {
	p, r := t.past, t.replay
	if len(args)+len(r.inputs)+len(r.labels)+len(r.rates) > 0 || r.column != "" || r.delay.set {
		return nil, usagef("--history has vectors and labels itself: no files, --labels, --label-column or --rates beside it")
	}
	q := trainer.HistoryQuery{From: math.MinInt64, AsOf: p.asOf.ms, To: r.to.ms}
	if share, err := strconv.ParseFloat(p.share, 64); err == nil && share > 0 && share <= 1 {
		q.Share = share
	} else if p.share != "auto" {
		return nil, usagef("--sample %q: a share above 0 and up to 1, or auto", p.share)
	}
	if p.days < 0 || p.days > 100_000 || p.days > 0 && r.from.set {
		return nil, usagef("--days %g: a number of days, and not beside --from", p.days)
	}
	weigh, ok := weighings[p.weigh]
	if !ok {
		return nil, usagef("--weigh %q: auto, on or off", p.weigh)
	}
	q.Weigh = weigh
	s, err := loadSpec(*r.spec)
	if err != nil {
		return nil, err
	}
	if !t.ripe.set {
		t.ripe.Duration = time.Duration(s.Maturity) * time.Millisecond
	}
	q.Spec, q.Ripe = s, t.ripe.Duration
	// The rows, their hashes and their order; learning takes as much again.
	q.RowsMax = int(t.memory << 20 / 2 / int64(4*len(s.Features)+45))
	from := &trainFrom{spec: s, past: &pastReport{}}
	from.read = func(ctx context.Context) (*trainer.Dataset, error) { return t.readPast(ctx, e, q, from) }
	return from, nil
}

// readPast reads the rows.
func (t *training) readPast(ctx context.Context, e *env, q trainer.HistoryQuery, from *trainFrom) (*trainer.Dataset, error) {
	p := t.past
	// A file that is not there would be made.
	if file := strings.TrimPrefix(p.history.url, "sqlite:"); !strings.HasPrefix(file, "clickhouse:") {
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
	}
	store, err := p.history.open(ctx, e, "")
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if !p.asOf.set {
		newest, found, err := trainer.NewestDecision(ctx, store, q.Spec)
		if err == nil && !found {
			err = fmt.Errorf("the history has no decision with a vector of the spec %s (%.8x); --spec names the one that decides: %w", q.Spec.Name, q.Spec.Hash, trainer.ErrTooFew)
		}
		if err != nil {
			return nil, err
		}
		q.AsOf = newest
	}
	switch {
	case p.days > 0:
		q.From = q.AsOf - int64(p.days*24*float64(time.Hour.Milliseconds()))
	case t.replay.from.set:
		q.From = t.replay.from.ms
	}
	rows, err := trainer.ReadHistory(ctx, store, q)
	if errors.Is(err, trainer.ErrTooMany) {
		err = fmt.Errorf("%w: --sample or --days takes fewer, --memory %d more", err, t.memory)
	}
	if err != nil {
		return nil, err
	}
	from.unripe, t.report.LabelAges = rows.Unripe, rows.LabelAges
	*from.past = pastReport{AsOf: rfc3339(q.AsOf), Default: !p.asOf.set, Seen: rows.Seen, Unripe: rows.Unripe, Frauds: rows.Frauds, Genuine: rows.Genuine, Taken: rows.Taken, Weighed: rows.Weighed, Unseen: rows.Unseen}
	return rows.Dataset, nil
}

func (p *pastReport) print(e *env) {
	why := ""
	if p.Default {
		why = ", the newest decision's time"
	}
	e.printf("as of       %s%s\n", p.AsOf, why)
	e.printf("history     %s decisions, %s known fraud, %s genuine, of which %s are taken\n",
		thousands(int64(p.Seen)), thousands(int64(p.Frauds)), thousands(int64(p.Genuine)), thousands(int64(p.Taken)))
	if p.Weighed {
		e.printf("weighed     each verdict by the probability that it was looked for with; %s that nobody looked at are left out\n", thousands(int64(p.Unseen)))
	}
}
