package trainer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A Backtest has a bundle score the decisions of a history, most of which it did not
// take, by the vectors that they were taken by, and tells week by week what it would
// have flagged, beside what was. It holds a block of rows at a time, and a table a week.
type Backtest struct {
	Reader history.Reader
	Bundle *scoring.Bundle
	Scorer scoring.Scorer // of the bundle's model; it is used in one goroutine
	Spec   *spec.Spec     // the bundle's; it says which sources of labels count
	// From and To bound the event time, ms: From <= time < To; To 0 is no bound.
	From, To int64
	AsOf     int64         // labels are those known by then, ms
	Ripe     time.Duration // the age, as of that date, from which no label means genuine
	// Progress, if it is not nil, is told the time of the rows that were read last, ms.
	Progress func(ms int64)
}

// A BacktestWeek is what became of a week's decisions.
type BacktestWeek struct {
	Begins    int64 // ms, a Monday, 0:00 UTC
	Decisions int   // with a vector of the bundle's spec
	Other     int   // without: of another spec, or with no vector
	Known     int   // of Decisions: with a label, or so old that none means genuine
	Fraud     int   // of Known
	// Lost is the sum of the frauds' amounts, in minor units of the base currency.
	Lost int64
	// Taken is what the decisions flagged, by whatever decided; Model is what the bundle
	// would have, at its operating point; and Level what it would have at the rank that
	// flags at most as many as Taken: the two at the same review capacity. What was
	// drawn for review at random is in none of them.
	Taken, Model, Level BacktestFlags
	// OnlyTaken and OnlyModel are what one of the two flagged alone.
	OnlyTaken, OnlyModel BacktestFlags
}

// BacktestFlags are transactions that were flagged, for review or to be blocked.
type BacktestFlags struct {
	Flagged int
	Known   int   // of which it is known what they were
	Fraud   int   // of Known
	Caught  int64 // sum of the frauds' amounts, in minor units of the base currency
}

func (f *BacktestFlags) add(o BacktestFlags) {
	f.Flagged, f.Known, f.Fraud, f.Caught = f.Flagged+o.Flagged, f.Known+o.Known, f.Fraud+o.Fraud, f.Caught+o.Caught
}

// Precision is the share of fraud in what was flagged and is known, with Wilson's
// interval; false where nothing is known.
func (f *BacktestFlags) Precision() (Estimate, bool) {
	return shareOf(float64(f.Fraud), float64(f.Known))
}

// Recall is the share of the week's known frauds that were flagged, likewise. Frauds
// that nobody found out count for neither.
func (w *BacktestWeek) Recall(f *BacktestFlags) (Estimate, bool) {
	return shareOf(float64(f.Fraud), float64(w.Fraud))
}

// Add adds another week, for sums over weeks.
func (w *BacktestWeek) Add(o *BacktestWeek) {
	w.Decisions, w.Other, w.Known, w.Fraud, w.Lost = w.Decisions+o.Decisions, w.Other+o.Other, w.Known+o.Known, w.Fraud+o.Fraud, w.Lost+o.Lost
	w.Taken.add(o.Taken)
	w.Model.add(o.Model)
	w.Level.add(o.Level)
	w.OnlyTaken.add(o.OnlyTaken)
	w.OnlyModel.add(o.OnlyModel)
}

// backtestRun is a backtest as it goes.
type backtestRun struct {
	*Backtest
	weeks  map[int64]*backtestTally
	x      []float32
	scores []float32
	ripe   int64
}

// backtestTally is a week, with what is flagged from each rank on.
type backtestTally struct {
	BacktestWeek
	ranks []BacktestFlags // by rankBin
}

// rankBits is how many of a rank's bits tell its bin: ranks of one bin are less than one
// in a hundred apart.
const rankBits = 16

// rankBin numbers ranks in their order.
func rankBin(rank float32) int {
	bits := math.Float32bits(rank)
	if bits>>31 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 31
	}
	return int(bits >> (32 - rankBits))
}

// Run returns the weeks in their order. The errors are the history's and the scorer's.
func (b *Backtest) Run(ctx context.Context) ([]BacktestWeek, error) {
	r := &backtestRun{Backtest: b, weeks: make(map[int64]*backtestTally), ripe: b.AsOf - b.Ripe.Milliseconds()}
	q := history.RowQuery{From: b.From, To: b.To, AsOf: b.AsOf, Sources: b.Spec.Sources[:], Bare: true}
	err := b.Reader.Rows(ctx, q, func(c *history.Chunk) error {
		for _, at := range c.Time {
			r.week(at).Other++
		}
		return nil
	})
	if err == nil {
		q.Bare, q.Spec = false, schemas.HashPrefix(b.Bundle.Spec.Hash)
		err = b.Reader.Rows(ctx, q, r.chunk)
	}
	if err != nil {
		return nil, fmt.Errorf("backtest of %s: %w", b.Bundle.Name, err)
	}
	list := make([]BacktestWeek, 0, len(r.weeks))
	for _, w := range slices.SortedFunc(maps.Values(r.weeks), func(a, b *backtestTally) int { return cmp.Compare(a.Begins, b.Begins) }) {
		w.level()
		list = append(list, w.BacktestWeek)
	}
	return list, nil
}

// weekMs is a week; the epoch began on a Thursday.
const weekMs, monday = 7 * dayMs, 4 * dayMs

func (r *backtestRun) week(ms int64) *backtestTally {
	begins := ms - ((ms-monday)%weekMs+weekMs)%weekMs
	w := r.weeks[begins]
	if w == nil {
		w = &backtestTally{BacktestWeek: BacktestWeek{Begins: begins}, ranks: make([]BacktestFlags, 1<<rankBits)}
		r.weeks[begins] = w
	}
	return w
}

// chunk scores rows and counts them.
func (r *backtestRun) chunk(c *history.Chunk) error {
	n, columns := c.Len(), r.Bundle.Model.Columns
	r.x, r.scores = r.x[:0], slices.Grow(r.scores[:0], n)[:n]
	for i := range n {
		x := c.Row(i)
		if len(x) != columns {
			return fmt.Errorf("a vector has %d features, the bundle of its spec has %d", len(x), columns)
		}
		r.x = append(r.x, x...)
	}
	if err := r.Scorer.Score(scoring.Matrix{Data: r.x, Rows: n, Cols: columns}, r.scores); err != nil {
		return err
	}
	for i := range n {
		r.row(c, i, r.scores[i])
	}
	if r.Progress != nil && n > 0 {
		r.Progress(c.Time[n-1])
	}
	return nil
}

// row takes a decision in.
func (r *backtestRun) row(c *history.Chunk, i int, score float32) {
	w := r.week(c.Time[i])
	w.Other--
	w.Decisions++
	one := BacktestFlags{Flagged: 1}
	if c.Label[i] != schemas.LabelNone || c.Time[i] <= r.ripe {
		one.Known = 1
		w.Known++
	}
	if c.Label[i] == schemas.LabelFraud {
		one.Fraud, one.Caught = 1, c.AmountBase[i]
		w.Fraud++
		w.Lost += c.AmountBase[i]
	}
	rule := r.Bundle.Decide(score, c.AmountBase[i], nil)
	w.ranks[rankBin(rule.Rank)].add(one)
	model := rule.ReviewProb >= 1
	taken := c.Action[i] != schemas.Allow && (c.ReviewProb[i] >= 1 || c.Bundle[i] == 0)
	if model {
		w.Model.add(one)
	}
	if taken {
		w.Taken.add(one)
	}
	switch {
	case model && !taken:
		w.OnlyModel.add(one)
	case taken && !model:
		w.OnlyTaken.add(one)
	}
}

// level finds the lowest rank at which no more are flagged than were.
func (w *backtestTally) level() {
	for _, from := range slices.Backward(w.ranks) {
		if w.Level.Flagged+from.Flagged > w.Taken.Flagged {
			return
		}
		w.Level.add(from)
	}
}
