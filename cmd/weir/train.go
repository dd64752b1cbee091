package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

var trainCommand = &command{
	name: "train", args: "[FILE...]", summary: "learn a model from files, and seal it in a bundle", json: true,
	about: `Transactions go through the engine as live, in the order of time; what became of them
is told by --labels or --label-column. The first rows in time give the weights, the
next calibration and operating point, the last are held out and measured on. The
same files and flags give the same bytes.

A transaction without a label counts as genuine once it is --ripe: labels take that
long to come, and younger rows are left out. All rows are held in memory, four bytes
a feature and 29 more; --memory says how much that may be.`,
	examples: []string{
		"weir train --spec handbook --out handbook.weir transactions.csv.gz",
		"weir train --labels labels.jsonl --rates rates.jsonl --ripe 30d --review-per-day 200 --out model.weir transactions.jsonl.gz",
		"weir train --spec bank.spec --label-column is_fraud --label-delay 7d --from 2026-01-01 --out model.weir day*.csv",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		o := trainer.DefaultOptions()
		t := &training{replay: addReplay(fs, "payments"), options: o, gap: span{Duration: o.Gap}}
		fs.StringVar(&t.out, "out", "", "`FILE` for the bundle")
		fs.StringVar(&t.name, "name", "", "`NAME` of the bundle, for people (that of its file if not given)")
		fs.StringVar(&t.key, "key", filepath.Join("weir-data", "signing.key"), "PEM `FILE` of the key that signs; made where there is none")
		fs.Var(&t.ripe, "ripe", "`AGE` from which no label means genuine (the spec's maturity with --labels,\n0 with a label column)")
		fs.Int64Var(&t.memory, "memory", 2048, "`MB` that the rows may take")
		fs.Var(&t.gap, "gap", "`TIME` left out between the three parts, in life what labels take to come")
		fs.Float64Var(&t.options.FitShare, "fit-share", o.FitShare, "`SHARE` of rows for the weights")
		fs.Float64Var(&t.options.CalibrateShare, "calibrate-share", o.CalibrateShare, "`SHARE` of rows for calibration and operating point")
		fs.Float64Var(&t.options.FraudWeight, "fraud-weight", o.FraudWeight, "by how much more a fraud counts, a `FACTOR`")
		fs.Float64Var(&t.options.L2, "l2", o.L2, "`PENALTY` on squared weights")
		fs.IntVar(&t.options.Iterations, "iterations", o.Iterations, "`NUMBER` of iterations at most")
		fs.IntVar(&t.options.RowsMax, "rows-max", o.RowsMax, "`ROWS` for the weights; beyond it genuine ones are thinned")
		fs.StringVar(&t.rank, "rank", "p", "what the desk ranks by: p, p*sqrt(amount) or p*amount, a `KEY`")
		fs.Float64Var(&t.options.ReviewPerDay, "review-per-day", 0, "`NUMBER` of transactions a day that the desk can review")
		fs.Float64Var(&t.options.ReviewShare, "review-share", o.ReviewShare, "or the `SHARE` of all that it can")
		fs.Float64Var(&t.options.Explore, "explore", 0, "`SHARE` of what would be allowed that goes to review all the same")
		return t.run
	},
}

// training is one run of the command.
type training struct {
	replay    *replayFlags
	options   trainer.Options
	out, name string
	key, rank string
	ripe, gap span
	memory    int64
}

// trainReport is the command's --json line.
type trainReport struct {
	Bundle  string          `json:"bundle"`
	Hash    string          `json:"hash"`
	Bytes   int             `json:"bytes"`
	Spec    string          `json:"spec"`
	Rows    int             `json:"rows"`
	Unripe  int             `json:"unripe"`
	Replay  replayCounts    `json:"replay"`
	Policy  trainPolicy     `json:"policy"`
	Held    trainer.Metrics `json:"held_out"`
	Seconds float64         `json:"seconds"`
}

type trainPolicy struct {
	Review  float32 `json:"review"`
	Explore float32 `json:"explore"`
}

func (t *training) run(ctx context.Context, e *env, args []string) error {
	began := time.Now()
	if err := t.check(); err != nil {
		return err
	}
	ledger := make(truth)
	r, err := t.replay.open(ctx, e, args, ledger.add)
	if err != nil {
		return err
	}
	if r.label < 0 && len(t.replay.labels) == 0 {
		return usagef("--labels FILE or --label-column NAME says which transactions were fraud")
	}
	key, made, err := loadOrMakeKey(t.key)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if made {
		fmt.Fprintf(e.stderr, "made %s and %s.pub; scorers take the bundle with --trust %s.pub\n", t.key, t.key, t.key)
	}
	if t.options.Explore > 0 {
		copy(t.options.ExploreKey[:], derive(key.Seed(), "weir explore"))
	}
	rows, err := t.gather(ctx, r, ledger)
	if err != nil {
		return err
	}
	all := rows.Rows()
	rows = t.leaveUnripe(r, rows)
	bar := newBar(e, "fit")
	defer bar.end()
	fitted, err := trainer.Fit(rows, t.options, func(done, total int) { bar.set(int64(done), int64(total)) })
	if err != nil {
		return fmt.Errorf("%w (%s of %s rows are %s or older, see --ripe)", err, thousands(int64(rows.Rows())), thousands(int64(all)), spanText(t.ripe.Duration))
	}
	bar.end()
	data, sealed, err := t.seal(fitted, r.spec, key)
	if err != nil {
		return err
	}
	rep := trainReport{Bundle: t.out, Hash: hex.EncodeToString(sealed.Hash[:]), Bytes: len(data), Spec: r.spec.Name,
		Rows: rows.Rows(), Unripe: all - rows.Rows(), Replay: r.counts, Held: fitted.Held, Seconds: time.Since(began).Seconds(),
		Policy: trainPolicy{sealed.Policy.Review, sealed.Policy.Explore}}
	if !e.json {
		t.print(e, r, fitted, &rep)
	}
	if err := e.report(rep); err != nil {
		return err
	}
	return r.ended()
}

// check settles what the flags say before anything is read.
func (t *training) check() error {
	if t.out == "" {
		return usagef("--out FILE says where the bundle goes")
	}
	ranks := map[string]scoring.RankKey{"p": scoring.ByProb, "p*sqrt(amount)": scoring.BySqrtAmount, "p*amount": scoring.ByAmount}
	rank, ok := ranks[strings.ReplaceAll(t.rank, " ", "")]
	if !ok {
		return usagef("--rank %q: p, p*sqrt(amount) or p*amount", t.rank)
	}
	t.options.Rank, t.options.Gap = rank, t.gap.Duration
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
	if t.name == "" {
		t.name = strings.TrimSuffix(filepath.Base(t.out), filepath.Ext(t.out))
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
	names := make([]string, len(r.spec.Features))
	for i := range names {
		names[i] = r.spec.Features[i].Name
	}
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
	b, err := fitted.Bundle(t.name, scoring.SpecText{Name: s.Name, Hash: s.Hash, Text: s.Text})
	if err != nil {
		return nil, nil, err
	}
	data, sealed, err := trainer.Seal(b, key)
	if err != nil {
		return nil, nil, err
	}
	// A reader sees the old file or the whole new one.
	part := t.out + ".part"
	if err := os.WriteFile(part, data, 0o644); err != nil {
		return nil, nil, fmt.Errorf("write bundle: %w", err)
	}
	if err := os.Rename(part, t.out); err != nil {
		return nil, nil, fmt.Errorf("write bundle: %w", err)
	}
	return data, sealed, nil
}

func (t *training) print(e *env, r *replay, fitted *trainer.Result, rep *trainReport) {
	r.counts.print(e.stdout)
	if rep.Unripe > 0 {
		e.printf("unripe      %s rows younger than %s, left out\n", thousands(int64(rep.Unripe)), spanText(t.ripe.Duration))
	}
	e.printf("\n%s\nbundle        %s, %s bytes, %s\nsigned by     %s\n", fitted.Summary(), t.out, thousands(int64(rep.Bytes)), rep.Hash, t.key)
}
