package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

var backtestCommand = &command{
	name: "backtest", summary: "what would this model have flagged: a bundle over the decisions of a history", json: true,
	about: `Scores the vectors of a history, as they were logged with the decisions, by a bundle that
did not take them, and says week by week what it would have flagged, with the labels known
today, beside the decisions that were taken: alerts, precision, recall, money.

A BUNDLE is a file; or with --kafka champion, challenger, or a hash of the topic of models.
No label means genuine from the age --ripe on; what is younger counts as not known. At the
same volume is the model at the rank from which it flags at most as many as were flagged:
what it would have found with the same review capacity. Who alerts finds out more of what they alert on, so that
frauds which nobody looked for, and no customer missed, count for neither of the two.

With --arithmetic float16 a GPU scores on its tensor cores: faster where the ensemble is
large, and near the scores of float32, not to the bit. The report says in which arithmetic
how many rows were scored, and how far the first 10,000 of float16 are from float32 at most.`,
	examples: []string{
		"weir backtest --bundle model.weir --since 2026-03-01",
		"weir backtest --bundle challenger --kafka 127.0.0.1:9092 --history clickhouse://127.0.0.1:9000/weir",
		"weir backtest --bundle model.weir --since 2026-03-01 --until 2026-05-01 --as-of 2026-07-01 --json",
		"weir backtest --bundle model.weir --device cuda --arithmetic float16",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &backtestRun{device: addDevice(fs), logger: addLog(fs), model: &modelRun{topic: addTopicModels(fs), compare: &comparison{history: addHistory(fs)}}}
		b.device.addArithmetic(fs, "arithmetic", "`ARITHMETIC` of the scores: float32 has the same bits on any device; float16 needs a GPU\nand is near them")
		fs.StringVar(&b.bundle, "bundle", "", "the `BUNDLE` that is asked")
		fs.StringVar(&b.model.compare.data, "data", "weir-data", "`FOLDER` of the SQLite file, where --history names none")
		fs.StringVar(&b.model.trust, "trust", filepath.Join("weir-data", "signing.key.pub"), "PEM `FILE` of the public keys whose slots of models are taken")
		fs.Var(&b.since, "since", "score decisions from `WHEN` on: 2026-05-01, or a time of RFC 3339 (all if not given)")
		fs.Var(&b.until, "until", "score decisions before `WHEN`")
		fs.Var(&b.asOf, "as-of", "labels that were known by `WHEN` (now if not given)")
		fs.Var(&b.ripe, "ripe", "`AGE` from which no label means genuine (the spec's maturity if not given)")
		return func(ctx context.Context, e *env, args []string) error {
			defer b.model.close()
			if len(args) > 0 || b.bundle == "" {
				return usagef("weir backtest --bundle BUNDLE, and no more words")
			}
			return b.run(ctx, e)
		}
	},
}

// backtestRun is one run of the command.
type backtestRun struct {
	device             *deviceFlags
	logger             func(*env) (*slog.Logger, error)
	model              *modelRun
	bundle             string
	since, until, asOf moment
	ripe               span
}

// backtestFlags is a line's part of one of the two.
type backtestFlags struct {
	Flagged   int              `json:"flagged"`
	Known     int              `json:"known"`
	Fraud     int              `json:"fraud"`
	Caught    int64            `json:"caught_minor"`
	Precision *watchedEstimate `json:"precision,omitempty"`
	Recall    *watchedEstimate `json:"recall,omitempty"`
}

// backtestWeek is a week: a line of --json.
type backtestWeek struct {
	Week      string        `json:"week"` // its Monday
	Decisions int           `json:"decisions"`
	Other     int           `json:"without_vector"`
	Known     int           `json:"known"`
	Fraud     int           `json:"fraud"`
	Lost      int64         `json:"fraud_minor"`
	Taken     backtestFlags `json:"taken"`
	Model     backtestFlags `json:"model"`
	Level     backtestFlags `json:"model_at_same_volume"`
	OnlyTaken backtestFlags `json:"only_taken"`
	OnlyModel backtestFlags `json:"only_model"`
}

func (b *backtestRun) run(ctx context.Context, e *env) error {
	file, err := b.model.find(ctx, e, b.bundle)
	if err != nil {
		return err
	}
	bundle, _, err := readAnyBundle(file)
	if err != nil {
		return err
	}
	s, err := spec.Parse(bundle.Spec.Name, bundle.Spec.Text)
	if err != nil {
		return err
	}
	scorer, closeScorer, err := b.scorer(ctx, e, bundle)
	if err != nil {
		return err
	}
	defer closeScorer()
	sample, err := sampleOf(scorer, bundle.Model)
	if err != nil {
		return err
	}
	store, err := b.model.compare.open(ctx, e)
	if err != nil {
		return err
	}
	defer store.Close()
	test := trainer.Backtest{Reader: store, Bundle: bundle, Scorer: sample, Spec: s, From: math.MinInt64, To: b.until.ms, AsOf: b.asOf.ms, Ripe: b.ripe.Duration}
	if b.since.set {
		test.From = b.since.ms
	}
	if !b.asOf.set {
		test.AsOf = time.Now().UnixMilli()
	}
	if !b.ripe.set {
		test.Ripe = time.Duration(s.Maturity) * time.Millisecond
	}
	newest, err := store.Newest(ctx)
	if err != nil {
		return err
	}
	bar, first := newBar(e, "scored"), int64(0)
	test.Progress = func(ms int64) {
		if first == 0 {
			first = ms
		}
		bar.set(ms-first, max(newest-first, 1))
	}
	weeks, err := test.Run(ctx)
	bar.end()
	if err != nil {
		return err
	}
	var all trainer.BacktestWeek
	lines := []backtestWeek{}
	for i := range weeks {
		lines = append(lines, lineOf(&weeks[i]))
		all.Add(&weeks[i])
	}
	if !e.json {
		printBacktest(e, weeks, &all, bundle, string(s.Base))
		sample.print(e, b.device.arithmetic.half)
	}
	return e.report(map[string]any{"bundle": fmt.Sprintf("%x", bundle.Hash), "name": bundle.Name, "as_of": rfc3339(test.AsOf), "ripe": spanText(test.Ripe),
		"currency": string(s.Base), "arithmetic": sample.report(b.device.arithmetic.String()), "weeks": lines, "all": lineOf(&all)})
}

func lineOf(w *trainer.BacktestWeek) backtestWeek {
	flags := func(f *trainer.BacktestFlags) backtestFlags {
		l := backtestFlags{Flagged: f.Flagged, Known: f.Known, Fraud: f.Fraud, Caught: f.Caught}
		if p, known := f.Precision(); known {
			l.Precision = &watchedEstimate{p.Value, p.Low, p.High}
		}
		if r, known := w.Recall(f); known {
			l.Recall = &watchedEstimate{r.Value, r.Low, r.High}
		}
		return l
	}
	return backtestWeek{rfc3339(w.Begins)[:len(time.DateOnly)], w.Decisions, w.Other, w.Known, w.Fraud, w.Lost,
		flags(&w.Taken), flags(&w.Model), flags(&w.Level), flags(&w.OnlyTaken), flags(&w.OnlyModel)}
}

func printBacktest(e *env, weeks []trainer.BacktestWeek, all *trainer.BacktestWeek, b *scoring.Bundle, currency string) {
	if all.Decisions == 0 {
		e.printf("no decision of this time has a vector of the spec %s (%.8x): %s of other specs, or without a vector\n",
			b.Spec.Name, b.Spec.Hash, thousands(int64(all.Other)))
		return
	}
	part := func(title string) string { return fmt.Sprintf("| %-36s", title) }
	e.printf("bundle %.8x  %s, over decisions that were taken by others too\n\n", b.Hash, b.Name)
	e.printf("%-10s %10s %7s %s%s%s\n", "", "", "", part("as it was decided"), part("this model, at its threshold"), part("this model, at the same volume"))
	e.printf("%-10s %10s %7s %s\n", "week", "decisions", "frauds", strings.Repeat(fmt.Sprintf("| %7s %7s %7s %11s ", "flagged", "right", "found", "caught"), 3))
	line := func(name string, w *trainer.BacktestWeek) {
		e.printf("%-10s %10s %7s ", name, thousands(int64(w.Decisions)), thousands(int64(w.Fraud)))
		for _, f := range []*trainer.BacktestFlags{&w.Taken, &w.Model, &w.Level} {
			precision, knownP := f.Precision()
			recall, knownR := w.Recall(f)
			e.printf("| %7s %7s %7s %11s ", thousands(int64(f.Flagged)), shareText(precision.Value, knownP), shareText(recall.Value, knownR), majorText(f.Caught, currency))
		}
		e.printf("\n")
	}
	for i := range weeks {
		line(rfc3339(weeks[i].Begins)[:len(time.DateOnly)], &weeks[i])
	}
	if len(weeks) > 1 {
		line("all", all)
	}
	e.printf("\nIt would have flagged %s that were not: %s of them fraud (%s %s), %s genuine, %s not known yet.\n", thousands(int64(all.OnlyModel.Flagged)),
		thousands(int64(all.OnlyModel.Fraud)), majorText(all.OnlyModel.Caught, currency), currency, thousands(int64(all.OnlyModel.Known-all.OnlyModel.Fraud)), thousands(int64(all.OnlyModel.Flagged-all.OnlyModel.Known)))
	e.printf("It would have let %s pass that were flagged: %s of them fraud (%s %s).\n", thousands(int64(all.OnlyTaken.Flagged)),
		thousands(int64(all.OnlyTaken.Fraud)), majorText(all.OnlyTaken.Caught, currency), currency)
	e.printf("Right: share of fraud in what was flagged and is known. Found: share of known frauds. Caught: their amounts, %s.\n", currency)
	if all.Other > 0 {
		e.printf("%s decisions have no vector of the bundle's spec and were left out.\n", thousands(int64(all.Other)))
	}
}

func shareText(share float64, known bool) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// majorText writes minor units in whole ones of their currency.
func majorText(minor int64, currency string) string {
	digits, _ := schemas.CurrencyDigits([]byte(currency))
	return thousands(int64(math.Round(float64(minor) / math.Pow10(digits))))
}
