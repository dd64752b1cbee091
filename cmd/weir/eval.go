package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

var evalCommand = &command{
	name: "eval", args: "handbook", summary: "measure what the learner makes of a published stream", json: true,
	about: `The protocol is that of the book "Reproducible Machine Learning for Credit Card Fraud
Detection" (Le Borgne and others, 2022): seven days of training, seven in which
labels arrive, seven of test, without the cards that are known by then, on four test
folds and four of validation. More days of training end on the same day.

The transactions go through the engine as live, and labels as they arrive, seven
days late. Features that never vary there, such as those over fields that the stream
lacks, are left out and named. The file is the book's: transactions in the order of
time, with the columns TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID, TERMINAL_ID,
TX_AMOUNT, and TX_FRAUD as the eighth.

With --online the whole stream is lived through as it would have happened, in one
process: broker, scorer, ledger, labels after seven days, and each night a training
on 28 days of the ledger's vectors, the gate, and the swap. Until two weeks have
their labels the spec's rules decide. The mean is over the weeks of the test folds.`,
	examples: []string{
		"weir eval handbook --input transactions.csv.gz",
		"weir eval handbook --input transactions.csv.gz --train-days 28 --json",
		"weir eval handbook --input transactions.csv.gz --spec handbook    # the book's 15 features",
		"weir eval handbook --online --input transactions.csv.gz --analysts 100 --explore 100 --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		v := &evaluation{network: trainer.DefaultNetwork()}
		fs.StringVar(&v.input, "input", "", "CSV `FILE` of the stream (transactions.csv.gz in the folder of WEIR_HANDBOOK)")
		fs.StringVar(&v.spec, "spec", "payments", "built-in spec or `FILE` with the features")
		fs.IntVar(&v.days, "train-days", 7, "`DAYS` of training, 7 to 60")
		v.online = addOnline(fs)
		fs.Uint64Var(&v.network.Seed, "seed", v.network.Seed, "`NUMBER` that the network's chances are drawn from")
		fs.IntVar(&v.network.Epochs, "epochs", v.network.Epochs, "`NUMBER` of times that the network sees the frauds")
		return v.run
	},
}

// evaluation is one run of the command.
type evaluation struct {
	input, spec string
	days        int
	network     trainer.NetworkOptions
	online      *onlineFlags

	stream *handbookStream
	rows   *trainer.Dataset // of the days that folds need, in the order of time
}

// evalFold is what came of one fold.
type evalFold struct {
	Start       string  `json:"start"` // its first day of training
	TrainRows   int     `json:"train_rows"`
	TrainFrauds int     `json:"train_frauds"`
	TestRows    int     `json:"test_rows"`
	TestFrauds  int     `json:"test_frauds"`
	Seconds     float64 `json:"train_seconds"`
	evalMetrics
}

type evalMetrics struct {
	AUC              float64 `json:"auc"`
	AveragePrecision float64 `json:"average_precision"`
	CardPrecision100 float64 `json:"card_precision_100"`
}

// evalFolds is one set of folds.
type evalFolds struct {
	Mean  evalMetrics `json:"mean"`
	Std   evalMetrics `json:"std"` // of the population of folds
	Folds []evalFold  `json:"folds"`
}

type evalReport struct {
	TrainDays  int       `json:"train_days"`
	Spec       string    `json:"spec"`
	Features   int       `json:"features"`
	LeftOut    []string  `json:"left_out"`
	Test       evalFolds `json:"test"`
	Validation evalFolds `json:"validation"`
}

// The first training days of the book's folds.
var (
	testFolds       = []string{"2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25"}
	validationFolds = []string{"2018-07-11", "2018-07-04", "2018-06-27", "2018-06-20"}
)

const dayMs = 24 * 3600 * 1000

func (v *evaluation) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 || args[0] != "handbook" {
		return usagef("say what to measure: weir eval handbook")
	}
	if v.days < 7 || v.days > 60 {
		return usagef("--train-days %d: 7 to 60", v.days)
	}
	if err := v.network.Validate(); err != nil {
		return usageError{strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	if err := v.online.validate(); err != nil {
		return err
	}
	s, err := loadSpec(v.spec)
	if err != nil {
		return err
	}
	if err := v.load(e); err != nil {
		return err
	}
	if v.online.on {
		return v.runOnline(ctx, e, s)
	}
	if err := v.compute(ctx, e, s); err != nil {
		return err
	}
	rep := evalReport{TrainDays: v.days, Spec: s.Name, Features: len(s.Features)}
	rep.LeftOut = v.leaveOut()
	if !e.json {
		e.printf("%s\n%s: %d of %d features", v.stream.from, s.Name, rep.Features-len(rep.LeftOut), rep.Features)
		if len(rep.LeftOut) > 0 {
			e.printf("; these never vary on this stream:\n%s", columns(rep.LeftOut, 78))
		}
		e.printf("\n\n%s", evalHead)
	}
	if rep.Validation, err = v.folds(ctx, e, "validation", validationFolds); err != nil {
		return err
	}
	if rep.Test, err = v.folds(ctx, e, "test", testFolds); err != nil {
		return err
	}
	return e.report(rep)
}

// load reads the stream. Nothing is simulated in its place: it has the days that
// the protocol names.
func (v *evaluation) load(e *env) (err error) {
	if v.input == "" {
		folder, ok := e.lookup("WEIR_HANDBOOK")
		if !ok {
			return usagef("--input FILE names the book's transactions, or WEIR_HANDBOOK the folder that holds transactions.csv.gz")
		}
		v.input = filepath.Join(folder, "transactions.csv.gz")
	}
	if v.stream, err = loadHandbook(e, v.input, math.MaxInt); err != nil {
		return err
	}
	if len(v.stream.rows) == 0 || v.stream.rows[0].time > dayTime(validationFolds[3]) || v.stream.rows[len(v.stream.rows)-1].time < dayTime(testFolds[0])+20*dayMs {
		return fmt.Errorf("%s does not hold the days of the protocol, 2018-06-20 to 2018-09-04: --input FILE names the book's transactions", v.stream.from)
	}
	return nil
}

// dayTime returns the first millisecond of a day.
func dayTime(day string) int64 {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return t.UnixMilli()
}

// compute takes the stream through the engine, labels seven days late, and keeps
// the vectors of the days that folds need.
func (v *evaluation) compute(ctx context.Context, e *env, s *spec.Spec) error {
	names := s.FeatureNames()
	v.rows = trainer.NewDataset(names)
	from, to := dayTime(validationFolds[3])+7*dayMs-int64(v.days)*dayMs, dayTime(testFolds[0])+21*dayMs
	past := func(r handbookRow, t int64) int { return cmp.Compare(r.time, t) }
	if end, _ := slices.BinarySearchFunc(v.stream.rows, to, past); end < len(v.stream.rows) {
		v.stream.rows = v.stream.rows[:end]
	}
	bar := newBar(e, "features")
	defer bar.end()
	return v.stream.fold(s, func(i int, x []float32) error {
		if i%10_000 == 0 {
			bar.set(int64(i), int64(len(v.stream.rows)))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if r := &v.stream.rows[i]; r.time >= from {
			v.rows.AddCard(x, r.fraud, r.time, r.amount, hashText(r.customer))
		}
		return nil
	})
}

// leaveOut names the features that never vary.
func (v *evaluation) leaveOut() []string {
	names := []string{}
	w := len(v.rows.Names)
	for c, name := range v.rows.Names {
		first, varies := v.rows.X[c], false
		for i := c; i < len(v.rows.X) && !varies; i += w {
			x := v.rows.X[i]
			varies = x != first && (x == x || first == first)
		}
		if !varies {
			names = append(names, name)
		}
	}
	return names
}

func (v *evaluation) folds(ctx context.Context, e *env, what string, starts []string) (f evalFolds, err error) {
	for k, start := range starts {
		bar := newBar(e, fmt.Sprintf("%s fold %d of %d", what, k+1, len(starts)))
		one, err := v.fold(ctx, dayTime(start), func(done, total int) { bar.set(int64(done), int64(total)) })
		bar.end()
		if err != nil {
			return f, fmt.Errorf("fold of %s: %w", start, err)
		}
		one.Start = start
		f.Folds = append(f.Folds, one)
		if !e.json {
			e.printf("%s", evalRow(what, start, thousands(int64(one.TestRows)), fmt.Sprint(one.TestFrauds), one.evalMetrics))
		}
	}
	f.sum()
	if !e.json {
		e.printf("%s", evalRow(what, "mean", "", "", f.Mean)+evalRow("", "std", "", "", f.Std))
	}
	return f, nil
}

// columns returns names one after another, in lines of at most width.
func columns(names []string, width int) string {
	var b strings.Builder
	at := 0
	for _, name := range names {
		if at > 0 && at+2+len(name) > width {
			b.WriteByte('\n')
			at = 0
		}
		b.WriteString("  " + name)
		at += 2 + len(name)
	}
	return b.String()
}

// evalHead names the columns of evalRow.
const evalHead = "folds       first day     rows  frauds  ROC AUC    average  card precision\n" +
	"            of training                        precision          at 100\n"

func evalRow(what, day, rows, frauds string, m evalMetrics) string {
	return fmt.Sprintf("%-10s  %-10s  %6s  %6s  %7.4f  %9.4f  %14.4f\n", what, day, rows, frauds, m.AUC, m.AveragePrecision, m.CardPrecision100)
}

// sum computes mean and deviation of the folds.
func (f *evalFolds) sum() {
	for _, at := range []func(m *evalMetrics) *float64{
		func(m *evalMetrics) *float64 { return &m.AUC },
		func(m *evalMetrics) *float64 { return &m.AveragePrecision },
		func(m *evalMetrics) *float64 { return &m.CardPrecision100 },
	} {
		n, sum, squares := float64(len(f.Folds)), 0.0, 0.0
		for i := range f.Folds {
			sum += *at(&f.Folds[i].evalMetrics)
		}
		for i := range f.Folds {
			d := *at(&f.Folds[i].evalMetrics) - sum/n
			squares += d * d
		}
		*at(&f.Mean), *at(&f.Std) = sum/n, math.Sqrt(squares/n)
	}
}

// fold learns from the days before start+7 and measures from start+14 on.
func (v *evaluation) fold(ctx context.Context, start int64, progress func(done, total int)) (f evalFold, err error) {
	before, _ := v.rows.Split(start + 7*dayMs)
	_, train := before.Split(start + 7*dayMs - int64(v.days)*dayMs)
	test := v.test(start)
	f.TrainRows, f.TrainFrauds, f.TestRows, f.TestFrauds = train.Rows(), train.Frauds(), test.Rows(), test.Frauds()
	if f.TestFrauds == 0 {
		return f, errors.New("there is no fraud in the test week")
	}
	began := time.Now()
	n, err := trainer.LearnNetwork(ctx, train, v.network, progress)
	if err != nil {
		return f, err
	}
	f.Seconds = time.Since(began).Seconds()
	s, err := cpu.New(n.Model())
	if err != nil {
		return f, err
	}
	scores := make([]float32, test.Rows())
	if err := s.Score(scoring.Matrix{Data: test.X, Rows: test.Rows(), Cols: len(test.Names)}, scores); err != nil {
		return f, err
	}
	f.evalMetrics = evalMetrics{trainer.AUC(scores, test.Y), trainer.AveragePrecision(scores, test.Y), trainer.CardPrecision(100, test, scores)}
	return f, nil
}

// test returns the test week's rows, without those of cards known by their day.
func (v *evaluation) test(start int64) *trainer.Dataset {
	known := make(map[uint64]bool)
	learn := func(from, to int64) {
		before, _ := v.rows.Split(to)
		_, days := before.Split(from)
		for i, y := range days.Y {
			if y != 0 {
				known[days.Card[i]] = true
			}
		}
	}
	learn(start, start+7*dayMs)
	out := trainer.NewDataset(v.rows.Names)
	for k := range int64(7) {
		learn(start+(6+k)*dayMs, start+(7+k)*dayMs)
		before, _ := v.rows.Split(start + (15+k)*dayMs)
		_, day := before.Split(start + (14+k)*dayMs)
		for i := range day.Rows() {
			if !known[day.Card[i]] {
				out.AddCard(day.Row(i), day.Y[i] != 0, day.Time[i], day.AmountBase[i], day.Card[i])
			}
		}
	}
	return out
}
