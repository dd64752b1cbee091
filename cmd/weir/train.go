package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

var trainCommand = &command{
	name: "train", args: "[FILE...]", summary: "learn a model from the history or from files, and publish it if it is better", json: true,
	about: `From the history, --history URL, come the vectors that decisions were made with and the
labels that were known --as-of a date; what is of later is not looked at. Frauds are
taken all, and of the rest as many as there is room for, by a hash of the
transaction's id; each counts as many as it stands for.

Transactions of files go through the engine as live, in the order of time; what became
of them is told by --labels or --label-column.

The first rows in time give the weights, the next calibration and operating point, the
last are held out and measured on. The same rows and flags give the same bytes.

With --kafka the model is then held against the champion of the topic of models on what
was held out: it becomes champion if it is surely better, and else the challenger,
which scores beside it and decides nothing. --champion FILE compares only. The last
line says what came of it; --exit-code makes it the exit code too.

With --every it is a role that does so again and again, from the newest decision of the
history, until Ctrl-C or SIGTERM. A run that fails, or finds too few labels, is said in
the log and in /metrics, and the next one comes in its time. Of two that train with one
key the second waits for the first.

A transaction without a label counts as genuine once it is --ripe: labels take that
long to come, and younger rows are left out. With --weigh on those count that an
analyst judged because weir sent them to review, each for as many as were as likely to
be. All rows are held in memory, four bytes a feature and 29 more; --memory says how
much that may be.`,
	examples: []string{
		"weir train --spec handbook --out handbook.weir transactions.csv.gz",
		"weir train --family network --spec payments --labels labels.jsonl --out network.weir transactions.jsonl.gz",
		"weir train --labels labels.jsonl --rates rates.jsonl --ripe 30d --review-per-day 200 --out model.weir transactions.jsonl.gz",
		"weir train --history clickhouse://127.0.0.1:9000/weir --days 90 --review-per-day 200 --kafka 127.0.0.1:9092 --json",
		"weir train --history weir-data/history.db --family network --trials 20 --report model.html --out model.weir",
		"weir train --every 24h --history clickhouse://ch:9000/weir --days 90 --family network --kafka k1:9092",
		"weir train --history weir-data/history.db --as-of 2026-05-01 --sample 0.1 --family network --out model.weir",
		"weir train --spec bank.spec --label-column is_fraud --label-delay 7d --from 2026-01-01 --out model.weir day*.csv",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		t, role := addTraining(fs), addTrainRole(fs)
		return func(ctx context.Context, e *env, args []string) error { return t.run(ctx, e, args, role) }
	},
}

// addTraining declares what a training takes, once or as a role.
func addTraining(fs *flag.FlagSet) *training {
	o := trainer.DefaultOptions()
	t := &training{replay: addReplay(fs, "payments"), past: addPast(fs), gate: addGate(fs), options: o, gap: span{Duration: o.Gap}, network: trainer.DefaultNetwork()}
	fs.StringVar(&t.out, "out", "", "`FILE` for the bundle; may be left out with --kafka")
	fs.StringVar(&t.name, "name", "", "`NAME` of the bundle, for people (that of its file, or the spec's,\nif not given)")
	fs.StringVar(&t.key, "key", filepath.Join("weir-data", "signing.key"), "PEM `FILE` of the key that signs; made where there is none")
	fs.Var(&t.ripe, "ripe", "`AGE` from which no label means genuine (0 with a label column,\nthe spec's maturity otherwise)")
	fs.Int64Var(&t.memory, "memory", 2048, "`MB` that the rows may take; of a history's, half: learning takes as much")
	fs.Var(&t.gap, "gap", "`TIME` left out between the three parts, in life what labels take to come")
	fs.Float64Var(&t.options.FitShare, "fit-share", o.FitShare, "`SHARE` of rows for the weights")
	fs.Float64Var(&t.options.CalibrateShare, "calibrate-share", o.CalibrateShare, "`SHARE` of rows for calibration and operating point")
	fs.StringVar(&t.family, "family", "logistic", "`FAMILY` of the model: logistic, a regression, or network, an ensemble of networks")
	fs.IntVar(&t.trials, "trials", 0, "try so many `OPTIONS` of the network at random, the flags' own first, and take the best by\nthe rows that calibrate; those held out it does not see (none if not given)")
	fs.StringVar(&t.journal, "journal", filepath.Join("weir-data", "trials.jsonl"), "`FILE` with a line of JSON for each trial; what it holds of the same rows and flags\nis not tried again")
	fs.Uint64Var(&t.network.Seed, "seed", t.network.Seed, "`NUMBER` that a network's chances are drawn from")
	fs.IntVar(&t.network.Epochs, "epochs", 0, fmt.Sprintf("`NUMBER` of times that a network sees the frauds (%d, or %d with --warm, if not given)", trainer.DefaultNetwork().Epochs, warmEpochs))
	fs.BoolVar(&t.warm, "warm", false, "go on from the champion's network with small steps, in place of learning from scratch;\nafter some weeks of that, scratch is better again: the encoding stays the champion's")
	fs.Float64Var(&t.options.FraudWeight, "fraud-weight", o.FraudWeight, "by how much more a fraud counts, a `FACTOR`")
	fs.Float64Var(&t.options.L2, "l2", o.L2, "`PENALTY` on squared weights")
	fs.IntVar(&t.options.Iterations, "iterations", o.Iterations, "`NUMBER` of iterations at most")
	fs.IntVar(&t.options.RowsMax, "rows-max", o.RowsMax, "`ROWS` for the weights; beyond it genuine ones are thinned")
	fs.StringVar(&t.rank, "rank", "p", "what the desk ranks by: p, p*sqrt(amount), p*amount, or auto, the one of these with which\nits capacity catches most money of the rows that calibrate, a `KEY`")
	fs.Float64Var(&t.options.ReviewCardsPerDay, "review-cards-per-day", 0, "`NUMBER` of cards a day that the desk can review")
	fs.Float64Var(&t.options.ReviewPerDay, "review-per-day", 0, "or the `NUMBER` of transactions a day")
	fs.Float64Var(&t.options.ReviewShare, "review-share", o.ReviewShare, "or the `SHARE` of all transactions")
	fs.Float64Var(&t.options.Explore, "explore", 0, "`SHARE` of what would be allowed that goes to review all the same")
	return t
}

// training is one run of the command.
type training struct {
	replay    *replayFlags
	past      *pastFlags
	gate      *gateFlags
	options   trainer.Options
	network   trainer.NetworkOptions
	family    string
	warm      bool
	trials    int
	journal   string
	searched  *searchReport
	out, name string
	key, rank string
	ripe, gap span
	memory    int64

	report trainer.Report // what a run gathers for it
}

// timed notes how long a part took, for the report.
func (t *training) timed(part string, began time.Time) {
	t.report.Timings = append(t.report.Timings, trainer.Timing{Part: part, Seconds: time.Since(began).Seconds()})
}

// trainReport is the command's --json line.
type trainReport struct {
	gateReport
	Bundle  string          `json:"bundle"` // its hash
	File    string          `json:"file,omitempty"`
	Bytes   int             `json:"bytes"`
	Spec    string          `json:"spec"`
	Rows    int             `json:"rows"`
	Unripe  int             `json:"unripe"`
	Replay  *replayCounts   `json:"replay,omitempty"`
	History *pastReport     `json:"history,omitempty"`
	Policy  trainPolicy     `json:"policy"`
	Held    trainer.Metrics `json:"held_out"`
	Search  *searchReport   `json:"search,omitempty"`
	Seconds float64         `json:"seconds"`
	from    *trainFrom
}

type trainPolicy struct {
	Review  float32 `json:"review"`
	Explore float32 `json:"explore"`
}

func (t *training) run(ctx context.Context, e *env, args []string, role *trainRoleFlags) error {
	if err := t.check(); err != nil {
		return err
	}
	if role.every != 0 || role.given() {
		return t.serve(ctx, e, args, role)
	}
	rep, err := t.once(ctx, e, args)
	if err != nil {
		return err
	}
	if !e.json {
		rep.gateReport.print(e)
	}
	if err := e.report(rep); err != nil {
		return err
	}
	if err := rep.from.ended(); err != nil {
		return err
	}
	return rep.end(t.gate.exitCode)
}

// once trains, and publishes what is better. It leaves t as it is, but for the age
// that a spec gives.
func (t *training) once(ctx context.Context, e *env, args []string) (*trainReport, error) {
	own := *t
	t = &own
	began := time.Now()
	from, err := t.open(ctx, e, args)
	if err != nil {
		return nil, err
	}
	key, made, err := loadOrMakeKey(t.key)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	if made {
		fmt.Fprintf(e.stderr, "made %s and %s.pub; scorers take the bundle with --trust %s.pub\n", t.key, t.key, t.key)
	}
	if t.options.Explore > 0 {
		copy(t.options.ExploreKey[:], derive(key.Seed(), "weir explore"))
	}
	against, err := t.gate.open(ctx, e, from.spec, key, t.key)
	if err != nil {
		return nil, err
	}
	defer against.close()
	t.report = trainer.Report{}
	reading := time.Now()
	rows, err := from.read(ctx)
	if errors.Is(err, trainer.ErrTooFew) && t.gate.exitCode {
		return &trainReport{gateReport: gateReport{Reason: err.Error(), code: exitTooFew}, Spec: from.spec.Name, History: from.past, from: from}, nil
	}
	if err != nil {
		return nil, err
	}
	t.timed("read", reading)
	if t.warm {
		if err := t.warmUp(e, rows, against.bundle); err != nil {
			return nil, err
		}
	}
	if t.trials > 0 {
		t.searched, err = t.search(ctx, e, rows)
		if err != nil && !errors.Is(err, trainer.ErrTooFew) { // which learning says with the counts
			return nil, err
		}
	}
	rep, err := t.learn(ctx, e, from, rows, against, key)
	if err != nil {
		return nil, err
	}
	rep.from, rep.Search, rep.Seconds = from, t.searched, time.Since(began).Seconds()
	return rep, nil
}

// learn fits, seals, and has the gate settle what becomes of it.
func (t *training) learn(ctx context.Context, e *env, from *trainFrom, rows *trainer.Dataset, against *rival, key ed25519.PrivateKey) (*trainReport, error) {
	bar, fitting := newBar(e, "fit"), time.Now()
	defer bar.end()
	fitted, err := fit(ctx, rows, t.options, bar)
	if err != nil {
		err = fmt.Errorf("%w (%s rows; %s younger than %s are left out, see --ripe)", err, thousands(int64(rows.Rows())), thousands(int64(from.unripe)), spanText(t.ripe.Duration))
		if errors.Is(err, trainer.ErrTooFew) && t.gate.exitCode {
			return &trainReport{gateReport: gateReport{Reason: err.Error(), code: exitTooFew}, Rows: rows.Rows(), Unripe: from.unripe, Spec: from.spec.Name, History: from.past}, nil
		}
		return nil, err
	}
	bar.end()
	t.timed("fit", fitting)
	from.sign(&fitted.Facts)
	data, sealed, err := t.seal(fitted, from.spec, key)
	if err != nil {
		return nil, err
	}
	rep := &trainReport{File: t.out, Bundle: hex.EncodeToString(sealed.Hash[:]), Bytes: len(data), Spec: from.spec.Name,
		Rows: rows.Rows(), Unripe: from.unripe, History: from.past, Held: fitted.Held,
		Policy: trainPolicy{sealed.Policy.Review, sealed.Policy.Explore}}
	if from.files != nil {
		rep.Replay = &from.files.counts
	}
	if !e.json {
		t.print(e, from, fitted, rep)
	}
	rep.gateReport, err = t.settle(ctx, e, against, rows, fitted, from.spec, data, sealed)
	return rep, err
}

// fit fits, or ends with the context.
func fit(ctx context.Context, rows *trainer.Dataset, o trainer.Options, bar *bar) (*trainer.Result, error) {
	return aside(ctx, bar, func(ctx context.Context, progress func(done, total int)) (*trainer.Result, error) {
		return trainer.Fit(ctx, rows, o, progress)
	})
}

// aside does long work, which ends with the context, and shows how far it is.
func aside[T any](ctx context.Context, bar *bar, work func(ctx context.Context, progress func(done, total int)) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	steps, ended := make(chan [2]int64, 1), make(chan outcome, 1)
	go func() { // waited for below
		r, err := work(ctx, func(done, total int) {
			select {
			case steps <- [2]int64{int64(done), int64(total)}:
			default: // what is there was not drawn yet
			}
		})
		ended <- outcome{r, err}
	}()
	for {
		select {
		case s := <-steps:
			bar.set(s[0], s[1])
		case o := <-ended:
			return o.result, o.err
		}
	}
}

// trainFrom is where the rows to learn from come from, files or a history, and what
// is said of them.
type trainFrom struct {
	spec   *spec.Spec
	read   func(context.Context) (*trainer.Dataset, error) // once
	unripe int                                             // rows too young to tell, as of what was read
	files  *replay                                         // nil where it is a history
	past   *pastReport                                     // nil where it is files
}

// open says where rows come from, before any is read.
func (t *training) open(ctx context.Context, e *env, args []string) (*trainFrom, error) {
	if t.past.history.url != "" {
		return t.openPast(ctx, e, args)
	}
	if t.past.asOf.set || t.past.days != 0 || t.past.share != "auto" || t.past.weigh != "auto" {
		return nil, usagef("--as-of, --days, --sample and --weigh are of --history URL")
	}
	ledger := make(truth)
	r, err := t.replay.open(ctx, e, args, ledger.add)
	if err != nil {
		return nil, err
	}
	if r.label < 0 && len(t.replay.labels) == 0 {
		return nil, usagef("--labels FILE or --label-column NAME says which transactions were fraud")
	}
	from := &trainFrom{spec: r.spec, files: r}
	from.read = func(ctx context.Context) (*trainer.Dataset, error) {
		all, err := t.gather(ctx, r, ledger)
		if err != nil {
			return nil, err
		}
		rows := t.leaveUnripe(r, all)
		from.unripe = all.Rows() - rows.Rows()
		return rows, nil
	}
	return from, nil
}

// sign notes in a model's facts what it was learnt as of.
func (f *trainFrom) sign(facts *trainer.Facts) {
	if f.past != nil {
		facts.AsOf, facts.Genuine, facts.Taken, facts.Weighed = f.past.AsOf, f.past.Genuine, f.past.Taken, f.past.Weighed
	}
}

// ended says how the reading went, once its rows were used.
func (f *trainFrom) ended() error {
	if f.files == nil {
		return nil
	}
	return f.files.ended()
}

// check settles what the flags say before anything is read.
func (t *training) check() error {
	if t.out == "" && t.gate.kafka.brokers == "" {
		return usagef("--out FILE says where the bundle goes, or --kafka HOST:PORT who takes it")
	}
	if t.gate.kafka.brokers != "" && t.gate.champion != "" {
		return usagef("--kafka and --champion both say what to compare with; give one of them")
	}
	if err := t.setRank(); err != nil {
		return err
	}
	t.options.Gap = t.gap.Duration
	if err := t.setFamily(); err != nil {
		return err
	}
	if t.memory < 1 {
		return usagef("--memory %d: 1 MB or more", t.memory)
	}
	// The key of exploration comes with the signing key; a stand-in lets the
	// rest be checked now.
	o := t.options
	o.ExploreKey[0] = 1
	if err := o.Validate(); err != nil {
		return usageError{strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	if t.name == "" && t.out != "" {
		t.name = strings.TrimSuffix(filepath.Base(t.out), filepath.Ext(t.out))
	}
	return nil
}

func (t *training) setRank() error {
	ranks := map[string]scoring.RankKey{"p": scoring.ByProb, "p*sqrt(amount)": scoring.BySqrtAmount, "p*amount": scoring.ByAmount}
	key := strings.ReplaceAll(t.rank, " ", "")
	rank, ok := ranks[key]
	if t.options.RankAuto = key == "auto"; !ok && !t.options.RankAuto {
		return usagef("--rank %q: p, p*sqrt(amount), p*amount or auto", t.rank)
	}
	t.options.Rank = rank
	return nil
}

func (t *training) setFamily() error {
	if t.warm && (t.family != "network" || t.gate.kafka.brokers == "" && t.gate.champion == "") {
		return usagef("--warm is of --family network, and goes on from the champion of --kafka or --champion")
	}
	if t.trials < 0 || t.trials > trialsMax || t.trials > 0 && (t.family != "network" || t.warm) {
		return usagef("--trials %d: up to %d, of --family network, and not with --warm, whose network is the champion's", t.trials, trialsMax)
	}
	switch t.family {
	case "logistic":
	case "network":
		network := t.network
		network.Epochs = cmp.Or(network.Epochs, trainer.DefaultNetwork().Epochs)
		t.options.Network = &network
	default:
		return usagef("--family %q: logistic or network", t.family)
	}
	return nil
}

// truth is what labels of files say of each transaction, by the hash of its id.
type truth map[uint64]*verdicts

func (tr truth) add(_ *spec.Spec, l *schemas.Label) {
	v := tr[hashText(l.TxID)]
	if v == nil {
		v = &verdicts{}
		tr[hashText(l.TxID)] = v
	}
	if l.Version > v.version[l.Source] {
		v.version[l.Source], v.verdict[l.Source] = l.Version, l.Verdict
	}
}

// gather replays the files into a data set.
func (t *training) gather(ctx context.Context, r *replay, known truth) (*trainer.Dataset, error) {
	names := r.spec.FeatureNames()
	rows, width := trainer.NewDataset(names), len(names)
	rowBytes := int64(4*width + 29)
	err := r.run(ctx, func(b *schemas.Batch, x []float32) error {
		for i := range b.Len() {
			if !r.wanted(b, i) {
				continue
			}
			fraud := r.label >= 0 && b.Number[i*b.NumberWidth+r.label] == 1
			if v := known[hashText(b.Bytes(i, schemas.ID))]; v != nil {
				fraud = v.winner(r.spec) == schemas.LabelFraud
			}
			rows.AddCard(x[i*width:(i+1)*width], fraud, b.Tx[i].Time, b.Tx[i].AmountBase, hashText(b.Bytes(i, schemas.Customer)))
		}
		if int64(rows.Rows())*rowBytes > t.memory<<20 {
			return fmt.Errorf("%s rows of %d features take more than %d MB: --from and --to take fewer, --memory more", thousands(int64(rows.Rows())), width, t.memory)
		}
		return nil
	})
	return rows, err
}

// leaveUnripe leaves out rows for which no label means nothing yet.
func (t *training) leaveUnripe(r *replay, rows *trainer.Dataset) *trainer.Dataset {
	if !t.ripe.set && r.label < 0 {
		t.ripe.Duration = time.Duration(r.spec.Maturity) * time.Millisecond
	}
	if t.ripe.Duration == 0 {
		return rows
	}
	rows.Sort()
	old, _ := rows.Split(r.clock - t.ripe.Milliseconds())
	return old
}

// seal writes the bundle's file.
func (t *training) seal(fitted *trainer.Result, s *spec.Spec, key ed25519.PrivateKey) ([]byte, *scoring.Bundle, error) {
	b, err := fitted.Bundle(cmp.Or(t.name, s.Name), scoring.SpecText{Name: s.Name, Hash: s.Hash, Text: s.Text})
	if err != nil {
		return nil, nil, err
	}
	data, sealed, err := trainer.Seal(b, key)
	if err != nil {
		return nil, nil, err
	}
	if t.out == "" {
		return data, sealed, nil
	}
	return data, sealed, writeWhole(t.out, data)
}

func (t *training) print(e *env, from *trainFrom, fitted *trainer.Result, rep *trainReport) {
	if from.files != nil {
		from.files.counts.print(e.stdout)
	} else {
		from.past.print(e)
	}
	if rep.Unripe > 0 {
		e.printf("unripe      %s rows younger than %s, left out\n", thousands(int64(rep.Unripe)), spanText(t.ripe.Duration))
	}
	e.printf("\n%s\nbundle        %s, %s bytes, %s\nsigned by     %s\n", fitted.Summary(), cmp.Or(t.out, "no file"), thousands(int64(rep.Bytes)), rep.Bundle, t.key)
}
