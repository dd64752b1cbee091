package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

var benchHistoryCommand = &command{
	name: "bench history", summary: "the history in SQLite: payments written a second, and look-ups of a card's last 30 days", json: true,
	about: `Each run writes decisions of 60 features, and labels of one in a hundred, into a new
database, then looks up the payments of cards, one after another, as a case at the desk
does. CPU is this process's by the kernel's account; what makes the payments is in it.`,
	examples: []string{
		"weir bench history --json                          # 200,000 payments, three runs",
		"weir bench history --payments 20000 --runs 1       # a quick look",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &historyBench{}
		fs.IntVar(&b.payments, "payments", 200_000, "`NUMBER` of payments")
		fs.IntVar(&b.cards, "cards", 5_000, "`NUMBER` of cards that they are of")
		fs.IntVar(&b.lookups, "lookups", 2_000, "`NUMBER` of look-ups, each of one card")
		fs.IntVar(&b.runs, "runs", 3, "`NUMBER` of runs")
		return b.run
	},
}

// historyBench is one run of the measurement.
type historyBench struct{ payments, cards, lookups, runs int }

type historyReport struct {
	Machine  benchMachine   `json:"machine"`
	Payments int            `json:"payments"`
	Rate     runSpread      `json:"payments_per_s"`
	CPU      runSpread      `json:"cpu_us_per_payment"`
	Lookups  []batchLatency `json:"lookups"` // of each run
}

func (b *historyBench) run(ctx context.Context, e *env, _ []string) error {
	if b.payments < 1 || b.cards < 1 || b.lookups < 1 || b.runs < 1 {
		return usagef("--payments, --cards, --lookups and --runs are above 0")
	}
	r := historyReport{Payments: b.payments}
	var err error
	if r.Machine, err = machineOf(""); err != nil {
		return err
	}
	r.Machine.print(e)
	folder, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(folder)
	var rates, cpu []float64
	for i := range b.runs {
		rate, us, found, err := b.once(ctx, filepath.Join(folder, fmt.Sprint(i, ".db")))
		if err != nil {
			return err
		}
		e.printf("run %d  %s payments a second, %.1f us of CPU each; a card's payments p50 %.0f us, p99 %.0f, p99.9 %.0f, max %.0f\n",
			i+1, thousands(int64(rate)), us, found.P50, found.P99, found.P999, found.Max)
		rates, cpu, r.Lookups = append(rates, rate), append(cpu, us), append(r.Lookups, found)
	}
	r.Rate, r.CPU = spreadOf(rates), spreadOf(cpu)
	e.printf("%s payments a second, %s us of CPU each\n", r.Rate, r.CPU)
	return e.report(r)
}

// once writes one database and looks up its cards.
func (b *historyBench) once(ctx context.Context, file string) (rate, us float64, found batchLatency, err error) {
	store, err := history.Open(ctx, file, history.Options{})
	if err != nil {
		return 0, 0, found, err
	}
	defer store.Close()
	now := time.Now()
	before, began := processorTime(), time.Now()
	if err := benchHistory(ctx, store, b.cards, b.payments, now, 30); err != nil {
		return 0, 0, found, err
	}
	rate = float64(b.payments) / time.Since(began).Seconds()
	us = float64((processorTime() - before).Microseconds()) / float64(b.payments)
	q := history.PaymentQuery{Field: schemas.Card, From: now.AddDate(0, 0, -31).UnixMilli(), To: now.UnixMilli(), Limit: 200}
	var took []time.Duration
	paid := 0
	for i := range b.lookups {
		q.Value = benchCard(i % b.cards)
		began := time.Now()
		list, err := store.Payments(ctx, q)
		if err != nil {
			return 0, 0, found, fmt.Errorf("look up a card: %w", err)
		}
		took, paid = append(took, time.Since(began)), paid+len(list)
	}
	if paid == 0 {
		return 0, 0, found, fmt.Errorf("none of %d cards has a payment", b.cards)
	}
	return rate, us, latencyOf(took), nil
}
