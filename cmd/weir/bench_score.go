package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

var benchScore = &command{
	name: "bench score", summary: "the scorer alone on one core: rows a second, GFLOP/s and ns a row by batch", json: true,
	about: `A plain network that nobody trained, of the widths given: its inputs, the layers, the
output. Rows are others in each batch, so that no branch is learnt by heart. It is CPU
of one goroutine, by the kernel's account, of the assembly that this processor has, or
of the twin in Go where it has none; the first batches warm up and do not count. weir
bench device measures networks of several members, on a GPU too.`,
	examples: []string{
		"weir bench score --json                              # 64-256-256-1 and 15-64-64-1",
		"weir bench score --networks 68,256,256,1 --rows 1,64,4096",
		"weir bench score --seconds 0.1 --runs 1              # a quick look",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &scoreBench{}
		fs.StringVar(&b.networkNames, "networks", "64,256,256,1 15,64,64,1", "`WIDTHS` of networks, a blank between two of them")
		fs.StringVar(&b.rowNames, "rows", "1,32,256,1024", "`LIST` of sizes of batches")
		fs.Float64Var(&b.seconds, "seconds", 0.5, "`SECONDS` of a run")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of runs of each, in turn")
		return b.run
	},
}

// scoreBench is one run of the measurement.
type scoreBench struct {
	networkNames, rowNames string
	seconds                float64
	runs                   int
}

type scoreReport struct {
	Machine benchMachine   `json:"machine"`
	Batches []scoreFigures `json:"batches"`
}

// scoreFigures are of batches of one size.
type scoreFigures struct {
	Network string    `json:"network"`
	Rows    int       `json:"rows"`
	PerRow  runSpread `json:"cpu_ns_per_row"`
	Rate    float64   `json:"rows_per_s"`
	GFLOP   float64   `json:"gflop_per_s"`
	Mallocs float64   `json:"allocs_per_batch"`
}

func (b *scoreBench) run(ctx context.Context, e *env, _ []string) error {
	if b.seconds <= 0 || b.runs < 1 {
		return usagef("--seconds and --runs are above 0")
	}
	sizes, err := sizesOf("rows", b.rowNames)
	if err != nil {
		return err
	}
	r := scoreReport{}
	if r.Machine, err = machineOf(""); err != nil {
		return err
	}
	r.Machine.print(e)
	e.printf("%-16s %6s %28s %14s %9s\n", "network", "rows", "ns of CPU a row", "rows/s", "GFLOP/s")
	for _, name := range strings.Fields(b.networkNames) {
		widths, err := sizesOf("networks", name)
		if err != nil {
			return err
		}
		if len(widths) < 2 || widths[len(widths)-1] != 1 {
			return usagef("--networks: %s does not end with an output of 1", name)
		}
		scorer, err := cpu.New(trainer.RandomModel(1, widths...))
		if err != nil {
			return err
		}
		for _, rows := range sizes {
			f, err := b.batches(ctx, scorer, widths, rows)
			if err != nil {
				return err
			}
			f.Network = strings.ReplaceAll(name, ",", "-")
			e.printf("%-16s %6d %28s %14s %9.1f\n", f.Network, f.Rows, f.PerRow, thousands(int64(f.Rate)), f.GFLOP)
			r.Batches = append(r.Batches, f)
		}
	}
	return e.report(r)
}

// sizesOf reads a list of numbers above 0.
func sizesOf(flag, list string) (out []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > scoring.WidthMax*16 {
			return nil, usagef("--%s: %q is not from 1 to %d", flag, text, scoring.WidthMax*16)
		}
		out = append(out, n)
	}
	return out, nil
}

// batches scores batches of one size.
func (b *scoreBench) batches(ctx context.Context, scorer scoring.Scorer, widths []int, rows int) (scoreFigures, error) {
	columns, flop := widths[0], 0.
	for i, w := range widths[1:] {
		flop += 2 * float64(widths[i]*w)
	}
	r := rand.New(rand.NewPCG(2, 2))
	all := make([]float32, max(rows, 4096)*columns)
	for i := range all {
		all[i] = float32(r.NormFloat64())
	}
	out, at := make([]float32, rows), 0
	once := func() error {
		x := scoring.Matrix{Data: all[at*columns : (at+rows)*columns], Rows: rows, Cols: columns}
		if at += rows; (at+rows)*columns > len(all) {
			at = 0
		}
		return scorer.Score(x, out)
	}
	f := scoreFigures{Rows: rows}
	var runs []float64
	perLook := max(1, 4096/rows) // batches between two looks at the clock
	for run := range b.runs + 1 {
		runtime.GC()
		mallocs, before, done := usageNow().Mallocs, processorTime(), 0
		for processorTime()-before < secondsOf(b.seconds) {
			for range perLook {
				if err := once(); err != nil {
					return f, fmt.Errorf("score %d rows: %w", rows, err)
				}
				done++
			}
			if ctx.Err() != nil {
				return f, ctx.Err()
			}
		}
		took := processorTime() - before
		if run == 0 {
			continue // warms up
		}
		runs = append(runs, float64(took.Nanoseconds())/float64(done*rows))
		f.Mallocs += float64(usageNow().Mallocs-mallocs) / float64(done*b.runs)
	}
	f.PerRow = spreadOf(runs)
	f.Rate, f.GFLOP = 1e9/f.PerRow.Median, flop/f.PerRow.Median
	return f, nil
}
