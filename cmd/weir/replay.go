package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// replayFlags say which files of transactions and labels go through the engine.
type replayFlags struct {
	spec     *string
	tokens   *tokenFlags
	inputs   fileList
	labels   fileList
	rates    fileList
	column   string
	delay    span
	from, to moment
	skipBad  bool
}

func addReplay(fs *flag.FlagSet, specName string) *replayFlags {
	f := &replayFlags{spec: addSpec(fs, specName), tokens: addTokens(fs)}
	fs.Var(&f.inputs, "input", "`FILE` of transactions in the order of time: CSV with a header, or JSON lines,\nplain, gzip or zstd; - is stdin; may be repeated")
	fs.Var(&f.labels, "labels", "`FILE` of labels, JSON lines as in the topic; may be repeated")
	fs.StringVar(&f.column, "label-column", "", "`NAME` of the input's column that is 1 for fraud and 0 for genuine\n(TX_FRAUD for the handbook specs)")
	fs.Var(&f.delay, "label-delay", "`TIME` after its transaction at which the column's label is known\n(the shortest delay of the spec's fraud aggregates if not given)")
	fs.Var(&f.rates, "rates", "`FILE` of exchange rates, JSON lines as in the topic; may be repeated")
	fs.Var(&f.from, "from", "first `TIME` of the rows wanted; what comes before is folded all the same")
	fs.Var(&f.to, "to", "`TIME` before which rows are wanted")
	fs.BoolVar(&f.skipBad, "skip-bad", false, "exit with 0 where rows are refused")
	return f
}

// A replay folds files through an engine in the order in which they would have
// come live: the same decoder, the same engine, the same vectors.
type replay struct {
	env     *env
	flags   *replayFlags
	spec    *spec.Spec // what the engine computes
	decoded *spec.Spec // and what is read: a label too
	dec     *decode.Decoder
	engine  *features.Engine
	rates   decode.Rates
	label   int // column of batch.Number that holds the label, -1 none
	delay   int64
	known   known

	batch   schemas.Batch
	view    schemas.Batch
	x       []float32
	stepped int   // rows of batch that the engine has taken
	clock   int64 // the largest event time so far
	refused refused
	counts  replayCounts
}

// replayCounts say what became of the rows.
type replayCounts struct {
	Rows      int64            `json:"rows"`
	Scored    int64            `json:"scored"`
	Refused   map[string]int64 `json:"refused,omitempty"`
	NotScored map[string]int64 `json:"not_scored,omitempty"` // by reason
	Labels    int64            `json:"labels"`
	Unknown   int64            `json:"labels_of_unknown,omitempty"`
	Entities  int              `json:"entities"`
	StateMB   float64          `json:"state_mb"`
	Seconds   float64          `json:"seconds"`
}

// batchRows is how many rows the engine takes at a time: enough for its memory
// accesses to overlap, and few enough to stay in the cache.
const batchRows = 256

// open reads spec, keys, rates and labels, and makes the engine. Each is told of
// every label read from a file. Args are more inputs.
func (f *replayFlags) open(ctx context.Context, e *env, args []string, each func(*spec.Spec, *schemas.Label)) (*replay, error) {
	f.inputs = append(f.inputs, args...)
	if len(f.inputs) == 0 {
		return nil, usagef("--input FILE says what to read")
	}
	s, err := loadSpec(*f.spec)
	if err != nil {
		return nil, err
	}
	r := &replay{env: e, flags: f, spec: s, decoded: s, label: -1, clock: math.MinInt64, refused: refused{env: e}}
	r.counts.NotScored = make(map[string]int64)
	if err := r.openLabels(ctx, each); err != nil {
		return nil, err
	}
	keys, err := f.tokens.load(e, "")
	if err != nil {
		return nil, err
	}
	r.dec = decode.New(r.decoded, decode.Options{Tokens: keys.tokens})
	r.engine = features.New(s, keys.engine)
	r.x = make([]float32, batchRows*r.engine.Width())
	for _, name := range f.rates {
		if err := r.readRates(ctx, name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// openLabels says where labels come from: files, a column, or nowhere.
func (r *replay) openLabels(ctx context.Context, each func(*spec.Spec, *schemas.Label)) error {
	f := r.flags
	column := f.column
	if column == "" && len(f.labels) == 0 && strings.HasPrefix(r.spec.Name, "handbook") {
		column = "TX_FRAUD"
	}
	if column != "" && len(f.labels) > 0 {
		return usagef("--labels and --label-column both say where labels are; give one of them")
	}
	for _, name := range f.labels {
		err := r.known.read(ctx, r.env, name, func(l *schemas.Label) {
			if each != nil {
				each(r.spec, l)
			}
		})
		if err != nil {
			return err
		}
	}
	if column == "" {
		if f.delay.set {
			return usagef("--label-delay is of --label-column; a file of labels says when each is known")
		}
		return nil
	}
	decoded, err := withLabel(r.spec, column)
	if err != nil {
		return err
	}
	r.decoded, r.label, r.known.queue = decoded, len(decoded.Input.OwnNumber)-1, true
	shortest, wanted := fraudDelay(r.spec)
	r.delay = shortest
	if f.delay.set {
		r.delay = f.delay.Milliseconds()
	} else if wanted && shortest == 0 {
		fmt.Fprintln(r.env.stderr, "note: some fraud aggregates of the spec have no delay, so they see each label at once; --label-delay 7d says how long labels take")
	}
	return nil
}

// readRates enters the exchange rates of a file. All are in force from the
// moments that they name, so that it does not matter when they are read.
func (r *replay) readRates(ctx context.Context, name string) error {
	in, err := openInput(ctx, r.env, name)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := newLines(in, 1<<16)
	lines.first()
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rates: %s:%d: %w", in.name, lines.number, err)
		}
		if len(line) == 0 {
			continue
		}
		rate, err := decode.ParseRate(line, r.spec.Base)
		if err != nil {
			return fmt.Errorf("read rates: %s:%d: %w", in.name, lines.number, err)
		}
		r.rates.Set(&rate)
	}
}

// run folds all inputs. See gets the rows of each step with their vectors, which
// it must not keep.
func (r *replay) run(ctx context.Context, see func(b *schemas.Batch, x []float32) error) error {
	began := time.Now()
	r.reset()
	for _, name := range r.flags.inputs {
		done, err := r.file(ctx, name, see)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	r.step()
	if err := see(&r.batch, r.x); err != nil {
		return err
	}
	c := r.engine.Counters()
	r.counts.Refused, r.counts.Entities, r.counts.StateMB = r.refused.counts, r.engine.Entities(), float64(r.engine.Bytes())/1e6
	r.counts.Labels, r.counts.Unknown = c.Labels+c.Superseded, c.UnknownLabels
	r.counts.Seconds = time.Since(began).Seconds()
	return nil
}

// file folds one input, and reports whether no further row is wanted.
func (r *replay) file(ctx context.Context, name string, see func(b *schemas.Batch, x []float32) error) (done bool, err error) {
	in, err := openRecords(ctx, r.env, name, r.decoded, r.dec, r.flags.column, &r.refused)
	if err != nil {
		return false, err
	}
	defer in.close()
	bar := newBar(r.env, filepath.Base(name))
	defer bar.end()
	for {
		if r.batch.Len() == batchRows {
			r.step()
			if err := see(&r.batch, r.x); err != nil {
				return false, err
			}
			r.reset()
			bar.set(in.in.taken.Load(), in.in.size)
		}
		err := in.next(&r.batch)
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil && ctx.Err() == nil {
			return false, err
		}
		if ctx.Err() != nil {
			return false, stopped(in)
		}
		r.counts.Rows++
		r.arrive(in, r.batch.Len()-1)
		if r.flags.to.set && r.clock >= r.flags.to.ms+r.spec.LateMax {
			return true, nil
		}
	}
}

// stopped is the error of a file that was not read to its end.
func stopped(in *records) error {
	return fmt.Errorf("stopped behind row %s of %s", thousands(in.seen), in.in.name)
}

func (r *replay) reset() {
	r.batch.Reset(len(r.decoded.Input.OwnText), len(r.decoded.Input.OwnNumber))
	r.stepped = 0
}

// arrive takes in row i, the last of the batch: what is known by its time is
// folded before it.
func (r *replay) arrive(in *records, i int) {
	tx, v := &r.batch.Tx[i], &r.batch.Verdict[i]
	if v.Outcome != schemas.Scored {
		return
	}
	fraud := math.NaN()
	if r.label >= 0 {
		fraud = r.batch.Number[i*r.batch.NumberWidth+r.label]
		if fraud != 0 && fraud != 1 && fraud == fraud {
			in.refuse(&r.batch, i, schemas.BadLabel, "a label other than 0 and 1")
			return
		}
	}
	if currency := r.batch.Bytes(i, schemas.Currency); string(currency) != r.spec.Base {
		base, ok := r.rates.Convert(currency, tx.Amount, tx.Time)
		if !ok {
			*v = schemas.Verdict{Outcome: schemas.Unscored, Reason: schemas.NoRate}
		}
		tx.AmountBase = base
	}
	r.clock = max(r.clock, tx.Time)
	if r.known.due(r.clock) {
		r.stepTo(i)
		for r.known.due(r.clock) {
			r.engine.Label(r.known.take())
		}
	}
	if fraud == fraud {
		l := schemas.Label{TxID: r.batch.Bytes(i, schemas.ID), KnownAt: r.clock + r.delay, Verdict: schemas.LabelGenuine, Source: schemas.DefaultLabel, Version: 1}
		if fraud == 1 {
			l.Verdict = schemas.LabelFraud
		}
		r.known.add(&l)
	}
}

// step lets the engine take the rest of the batch, and counts what became of it.
func (r *replay) step() {
	r.stepTo(r.batch.Len())
	for i := range r.batch.Len() {
		switch v := r.batch.Verdict[i]; v.Outcome {
		case schemas.Scored:
			r.counts.Scored++
		case schemas.Rejected: // counted where it was named
		default:
			r.counts.NotScored[v.Reason.String()]++
		}
	}
}

func (r *replay) stepTo(i int) {
	if i == r.stepped {
		return
	}
	w := r.engine.Width()
	r.batch.Slice(&r.view, r.stepped, i)
	r.engine.Step(&r.view, r.x[r.stepped*w:i*w], nil)
	r.stepped = i
}

// wanted reports whether row i of a step has a vector and lies in the time asked
// for.
func (r *replay) wanted(b *schemas.Batch, i int) bool {
	t := b.Tx[i].Time
	return b.Verdict[i].Outcome == schemas.Scored && !(r.flags.from.set && t < r.flags.from.ms) && !(r.flags.to.set && t >= r.flags.to.ms)
}

// ended says what is wrong after all rows were read: nothing, or that some were
// refused.
func (r *replay) ended() error {
	if r.refused.total == 0 || r.flags.skipBad {
		return nil
	}
	return fmt.Errorf("%s of %s rows were refused: %s; --skip-bad makes that no error", thousands(r.refused.total), thousands(r.counts.Rows), breakdown(r.refused.counts))
}

// print says what became of the rows.
func (c *replayCounts) print(w io.Writer) {
	fmt.Fprintf(w, "read        %s transactions in %.1f s (%s a second)\n", thousands(c.Rows), c.Seconds, thousands(int64(float64(c.Rows)/max(c.Seconds, 1e-3))))
	if len(c.Refused) > 0 {
		fmt.Fprintf(w, "refused     %s\n", breakdown(c.Refused))
	}
	if len(c.NotScored) > 0 {
		fmt.Fprintf(w, "no vector   %s\n", breakdown(c.NotScored))
		if c.NotScored[schemas.NoRate.String()] > 0 {
			fmt.Fprintf(w, "            %s: --rates FILE says what a currency is worth\n", schemas.NoRate)
		}
	}
	if c.Labels > 0 || c.Unknown > 0 {
		fmt.Fprintf(w, "labels      %s", thousands(c.Labels))
		if c.Unknown > 0 {
			fmt.Fprintf(w, ", and %s of transactions that are not kept", thousands(c.Unknown))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "state       %s entities, %.0f MB\n", thousands(int64(c.Entities)), c.StateMB)
}
