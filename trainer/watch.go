package trainer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// The quantities of a day's figures. Those that come of labels are at an age, written
// behind a slash: precision/7d is by what was known seven days after the day.
const (
	QuantityDecisions = "decisions"  // with a vector
	QuantityAlertRate = "alert_rate" // share of decisions alerted on, exploration aside
	QuantityScorePSI  = "score_psi"  // against the bundle's held-out days
	QuantityPSI       = "psi/"       // and a feature: against the days that the bundle was learnt from
	QuantityMissing   = "missing/"   // and a feature: share of vectors without it

	QuantityLabelled    = "labelled"    // decisions whose label was known
	QuantityAlerts      = "alerts"      // of which it was known what they were
	QuantityPrecision   = "precision"   // of these, the share of fraud
	QuantityRecall      = "recall"      // of all frauds, the share alerted on, by what exploration drew
	QuantityCalibration = "calibration" // sum of probabilities over frauds, from the maturity age on
	// Behind the name of an estimate, the ends of its 95 % interval.
	LowEnd, HighEnd = "_low", "_high"
)

// watchAges are the ages of labels at which days are looked at, beside the age from
// which no label means genuine.
var watchAges = []time.Duration{1 * day24, 3 * day24, 7 * day24, 14 * day24, 28 * day24}

const day24 = 24 * time.Hour

// A Watch looks at what became of the days of a history: whether they were like those
// that their bundles were learnt from, and what the labels say as they come. All of it
// follows from decisions and labels, so that it comes out the same whenever it is made
// and in whatever store.
type Watch struct {
	Reader  history.Reader
	Bundles []*scoring.Bundle // whose decisions are held to their profiles
	Spec    *spec.Spec        // says which labels count, and how late a stream may be
	Ripe    time.Duration     // the age from which no label means genuine

	empty map[int64]bool // days that were looked at and had nothing
}

// NewWatch returns a watch of decisions by bundles; the spec says what labels mean.
func NewWatch(r history.Reader, s *spec.Spec, bundles []*scoring.Bundle) *Watch {
	return &Watch{Reader: r, Bundles: bundles, Spec: s, Ripe: time.Duration(s.Maturity) * time.Millisecond, empty: make(map[int64]bool)}
}

// A dayTally is what is counted of a bundle's day.
type dayTally struct {
	bundle       *scoring.Bundle // nil where it is not known
	rows, alerts int
	vectors      int // of the spec, whoever decided
	features     [][]float64
	score        []float64
}

func (w *Watch) tally(prefix uint64) *dayTally {
	t := &dayTally{}
	for _, b := range w.Bundles {
		if b.Prefix() != prefix {
			continue
		}
		if t.bundle = b; b.Profile != nil {
			t.score = make([]float64, b.Profile.Score.Bins())
			for i := range b.Profile.Features {
				t.features = append(t.features, make([]float64, b.Profile.Features[i].Bins()))
			}
		}
	}
	return t
}

// Day returns what a day, which begins at a time, was like; nothing where it has no
// decision.
func (w *Watch) Day(ctx context.Context, day int64) ([]history.Figure, error) {
	tallies, order := make(map[uint64]*dayTally), []uint64(nil)
	q := history.RowQuery{From: day, To: day + dayMs, Bare: true}
	all := 0
	err := w.Reader.Rows(ctx, q, func(c *history.Chunk) error {
		all += c.Len()
		for i, b := range c.Bundle {
			if b == 0 {
				continue // the rules decided
			}
			t := tallies[b]
			if t == nil {
				t = w.tally(b)
				tallies[b], order = t, append(order, b)
			}
			t.decision(c, i)
		}
		return nil
	})
	if err == nil {
		err = w.vectors(ctx, q, tallies)
	}
	if err != nil || all == 0 {
		return nil, err
	}
	f := dayFigures{day: day}
	f.add(0, QuantityDecisions, float64(all))
	for _, b := range order {
		tallies[b].figures(&f, b)
	}
	return f.sorted(), nil
}

// decision takes in what was decided by the bundle.
func (t *dayTally) decision(c *history.Chunk, i int) {
	t.rows++
	if c.ReviewProb[i] >= 1 {
		t.alerts++
	}
	if t.score != nil {
		t.score[t.bundle.Profile.Score.Bin(c.Score[i])]++
	}
}

// vectors counts the vectors of the day against each bundle's profile, whichever bundle
// of the spec decided: a bundle that decided for an hour is not held to that hour.
func (w *Watch) vectors(ctx context.Context, q history.RowQuery, tallies map[uint64]*dayTally) error {
	specs := make(map[[32]byte][]*dayTally)
	for _, t := range tallies {
		if t.features != nil {
			specs[t.bundle.Spec.Hash] = append(specs[t.bundle.Spec.Hash], t)
		}
	}
	q.Bare = false
	for hash, list := range specs {
		q.Spec = schemas.HashPrefix(hash)
		err := w.Reader.Rows(ctx, q, func(c *history.Chunk) error {
			for i := range c.Len() {
				for _, t := range list {
					if err := t.vector(c.Row(i)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *dayTally) vector(x []float32) error {
	if len(x) != len(t.features) {
		return fmt.Errorf("a vector has %d features, the bundle %s of its spec has %d", len(x), t.bundle.Name, len(t.features))
	}
	t.vectors++
	for c, v := range x {
		t.features[c][t.bundle.Profile.Features[c].Bin(v)]++
	}
	return nil
}

func (t *dayTally) figures(f *dayFigures, bundle uint64) {
	f.add(bundle, QuantityDecisions, float64(t.rows))
	f.add(bundle, QuantityAlertRate, float64(t.alerts)/float64(t.rows))
	if t.score == nil {
		return
	}
	p := t.bundle.Profile
	f.add(bundle, QuantityScorePSI, p.Score.Index(t.score))
	for c, counts := range t.features {
		f.add(bundle, QuantityPSI+t.bundle.Features[c], p.Features[c].Index(counts))
		f.add(bundle, QuantityMissing+t.bundle.Features[c], counts[len(counts)-1]/float64(t.vectors))
	}
}

// dayFigures gathers figures.
type dayFigures struct {
	day  int64
	list []history.Figure
}

func (f *dayFigures) add(bundle uint64, quantity string, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		f.list = append(f.list, history.Figure{Day: f.day, Bundle: bundle, Quantity: quantity, Value: v})
	}
}

// estimate adds an estimate that is known, at an age, with its interval.
func (f *dayFigures) estimate(bundle uint64, quantity, age string, e Estimate, known bool) {
	if known {
		f.add(bundle, quantity+age, e.Value)
		f.add(bundle, quantity+LowEnd+age, e.Low)
		f.add(bundle, quantity+HighEnd+age, e.High)
	}
}

// sorted returns the figures as a [history.Diary] does.
func (f *dayFigures) sorted() []history.Figure {
	slices.SortFunc(f.list, func(a, b history.Figure) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Bundle, b.Bundle), strings.Compare(a.Quantity, b.Quantity))
	})
	return f.list
}

// An agedTally is what labels say of a bundle's day.
type agedTally struct {
	labelled         int
	alerts, right    float64 // of which it is known what they were
	recall           recall
	expected, frauds float64 // of rows of which it is known
}

// Aged returns what was known of a day's decisions at an age of it.
func (w *Watch) Aged(ctx context.Context, day int64, age time.Duration) ([]history.Figure, error) {
	ripe := age >= w.Ripe
	tallies, order := make(map[uint64]*agedTally), []uint64(nil)
	labelled := 0
	q := history.RowQuery{From: day, To: day + dayMs, AsOf: day + dayMs + age.Milliseconds(), Sources: w.Spec.Sources[:], Bare: true}
	err := w.Reader.Rows(ctx, q, func(c *history.Chunk) error {
		for i, b := range c.Bundle {
			if c.Label[i] != schemas.LabelNone {
				labelled++
			}
			if b == 0 {
				continue
			}
			t := tallies[b]
			if t == nil {
				t = &agedTally{}
				tallies[b], order = t, append(order, b)
			}
			t.row(c, i, ripe)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f := dayFigures{day: day}
	at := "/" + AgeText(age)
	f.add(0, QuantityLabelled+at, float64(labelled))
	for _, b := range order {
		tallies[b].figures(&f, b, at, ripe)
	}
	return f.sorted(), nil
}

// row takes in a decision; where it is ripe, no label means genuine.
func (t *agedTally) row(c *history.Chunk, i int, ripe bool) {
	alert, fraud := c.ReviewProb[i] >= 1, c.Label[i] == schemas.LabelFraud
	if !alert {
		t.recall.missed.could(float64(c.ReviewProb[i]))
	}
	if c.Label[i] != schemas.LabelNone {
		t.labelled++
	} else if !ripe {
		return
	}
	t.expected += float64(c.Prob[i])
	if alert {
		t.alerts++
	}
	if !fraud {
		return
	}
	t.frauds++
	switch {
	case alert:
		t.right++
		t.recall.alerted++
	case c.Action[i] != schemas.Allow: // drawn for review
		t.recall.missed.add(float64(c.ReviewProb[i]))
	}
}

func (t *agedTally) figures(f *dayFigures, bundle uint64, at string, ripe bool) {
	f.add(bundle, QuantityLabelled+at, float64(t.labelled))
	f.add(bundle, QuantityAlerts+at, t.alerts)
	e, known := shareOf(t.right, t.alerts)
	f.estimate(bundle, QuantityPrecision, at, e, known)
	e, known = t.recall.estimate()
	f.estimate(bundle, QuantityRecall, at, e, known)
	if ripe {
		e, known = expectedOverSeen(t.expected, t.frauds)
		f.estimate(bundle, QuantityCalibration, at, e, known)
	}
}

// Ages returns the ages at which a day is looked at, ascending.
func (w *Watch) Ages() []time.Duration {
	list := slices.Clone(watchAges)
	if w.Ripe > 0 {
		list = append(list, w.Ripe)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// AgeText writes an age as quantities have it.
func AgeText(age time.Duration) string {
	if age%day24 == 0 {
		return fmt.Sprintf("%dd", age/day24)
	}
	return age.String()
}

// Over reports whether a stream that has come to newest brings nothing more of a day, nor
// labels that were known at an age of it.
func (w *Watch) Over(day int64, age time.Duration, newest int64) bool {
	return day+dayMs+age.Milliseconds()+w.Spec.LateMax <= newest
}

// Record notes in a diary what is over and not noted: days, and the ages of days. The
// stream has come to newest, ms. It returns how many days or ages it noted, of days as
// far back as the oldest age. After each day of which it noted anything it calls told with
// the day: of months that wait to be noted the first is not to wait for the last.
func (w *Watch) Record(ctx context.Context, d history.Diary, newest int64, told func(day int64) error) (noted int, err error) {
	ages := append([]time.Duration{0}, w.Ages()...)
	from := floorDiv(newest-ages[len(ages)-1].Milliseconds()-w.Spec.LateMax, dayMs)*dayMs - 7*dayMs
	// Months before the first decision are not looked at one by one.
	oldest, err := d.Oldest(ctx)
	if err != nil {
		return 0, err
	}
	from = max(from, floorDiv(oldest, dayMs)*dayMs)
	there, err := d.Figures(ctx, from, newest)
	if err != nil {
		return 0, err
	}
	have := Noted(there)
	for day := from; w.Over(day, 0, newest); day += dayMs {
		before := noted
		for _, age := range ages {
			if w.empty[day] || have(day, age) || !w.Over(day, age, newest) {
				continue
			}
			list, err := w.At(ctx, day, age)
			if err != nil {
				return noted, err
			}
			if w.empty[day] = len(list) == 0; w.empty[day] {
				continue
			}
			if err := d.Note(ctx, list); err != nil {
				return noted, err
			}
			noted++
		}
		if noted > before {
			if err := told(day); err != nil {
				return noted, err
			}
		}
	}
	return noted, nil
}

// At returns what a day was like, at age 0, or what was known of it at an age.
func (w *Watch) At(ctx context.Context, day int64, age time.Duration) ([]history.Figure, error) {
	if age == 0 {
		return w.Day(ctx, day)
	}
	return w.Aged(ctx, day, age)
}

// Noted returns what tells whether figures are of a day that was noted, or of an age of
// it: the quantity of bundle 0 that is written with the others then.
func Noted(figures []history.Figure) func(day int64, age time.Duration) bool {
	type mark struct {
		day      int64
		quantity string
	}
	have := make(map[mark]bool)
	for i := range figures {
		if f := &figures[i]; f.Bundle == 0 {
			have[mark{f.Day, f.Quantity}] = true
		}
	}
	return func(day int64, age time.Duration) bool {
		if age == 0 {
			return have[mark{day, QuantityDecisions}]
		}
		return have[mark{day, QuantityLabelled + "/" + AgeText(age)}]
	}
}
