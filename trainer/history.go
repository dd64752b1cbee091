package trainer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// ErrTooMany is of rows that there is no room for; test with errors.Is.
var ErrTooMany = errors.New("more rows than there is room for")

// HistoryQuery says which decisions of a history to learn from, and how many.
type HistoryQuery struct {
	// Spec is whose vectors they are, and says which sources of labels count.
	Spec *spec.Spec
	// From and To bound the event time, ms: From <= time < To; To 0 is no bound.
	From, To int64
	// AsOf is the date to learn as of, ms: no later decision counts, and no label
	// that was not known by then.
	AsOf int64
	// Ripe is the age, as of that date, up to which no label means nothing yet. Younger
	// rows do not count, not even with a label: a fraud may be known early, and the
	// genuine rows beside it are not known to be genuine, so that the share of frauds
	// would come out wrong; and alerts that were judged are those of one model, which
	// says nothing of another. Where rows are weighed, those count that an analyst
	// judged because a decision sent them to review, for they stand for the others.
	Ripe time.Duration
	// Share is how many of the genuine decisions are taken; 0 is as many as there
	// is room for. RowsMax is the room: frauds are taken all.
	Share   float64
	RowsMax int
	// Weigh says whether rows count by how their labels came.
	Weigh Weighing
}

// HistoryRows are rows of a history, in the order of time and, of the same time,
// of their transactions' hashes: the same whatever the store.
type HistoryRows struct {
	*Dataset
	Seen   int // decisions of the time that was asked for
	Unripe int // of them, too young to tell, and left out
	// Genuine and Frauds are the others, of which the frauds and Taken of the
	// genuine ones are in the data set.
	Genuine, Frauds, Taken int
	// LabelAges are how long after their transactions the labels of the rows came, in
	// days; a row that is genuine because nobody said otherwise has none.
	LabelAges []float64
	// Weighed is whether rows count by how their labels came; Unseen of the others
	// nobody looked at then, and they are left out.
	Weighed bool
	Unseen  int
}

// NewestDecision returns the event time, ms, of the newest decision with a vector
// of a spec, and whether there is one. It is the date to learn as of where nobody
// says another: what is learnt must not hang on the clock of who learns.
func NewestDecision(ctx context.Context, r history.Reader, s *spec.Spec) (ms int64, found bool, err error) {
	ms = math.MinInt64
	q := history.RowQuery{From: math.MinInt64, Spec: schemas.HashPrefix(s.Hash), Bare: true}
	err = r.Rows(ctx, q, func(c *history.Chunk) error {
		for _, t := range c.Time {
			ms, found = max(ms, t), true
		}
		return nil
	})
	return ms, found, err
}

// ReadHistory reads rows to learn from. It reads twice: the first time it counts,
// and no vector is read; then it takes the sample that the counts have room for, so
// that its memory does not grow with the history. Genuine decisions are taken by a
// hash of the transaction's id, and weigh as many as they stand for; [Weighing] says
// what more a row may stand for. The errors are the history's and ErrTooMany.
func ReadHistory(ctx context.Context, r history.Reader, q HistoryQuery) (*HistoryRows, error) {
	rows, all, weighed, hidden := &HistoryRows{}, &census{}, &census{}, secrecy{}
	young, unripe, unseen := 0, 0, 0
	err := q.each(ctx, r, true, func(p *pastRow) {
		rows.Seen++
		id, fraud := p.k.ID[p.i], p.is == isFraud
		if p.ripe {
			hidden.add(p)
			all.add(id, fraud)
		} else {
			young++
		}
		switch {
		case p.is == isUnripe:
			unripe++
		case p.stands() == 0:
			unseen++
		default:
			weighed.add(id, fraud)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("count rows of the history: %w", err)
	}
	c := all
	if rows.Unripe = young; hidden.weighs(q.Weigh) {
		c, rows.Weighed, rows.Unripe, rows.Unseen = weighed, true, unripe, unseen
	}
	s, err := c.choose(&q)
	if err != nil {
		return nil, err
	}
	rows.Genuine, rows.Frauds = c.genuine, c.frauds
	if err = rows.take(ctx, r, &q, s, s.taken+c.frauds); err != nil {
		return nil, fmt.Errorf("read rows of the history: %w", err)
	}
	rows.Taken = rows.Rows() - rows.Dataset.Frauds()
	return rows, nil
}

// take reads the rows of a sample, about n.
func (rows *HistoryRows) take(ctx context.Context, r history.Reader, q *HistoryQuery, s thinning, n int) error {
	names := q.Spec.FeatureNames()
	d := NewDataset(names)
	d.grow(n)
	ids := make([]uint64, 0, n)
	wrong := 0
	err := q.each(ctx, r, false, func(p *pastRow) {
		k, i, weight := p.k, p.i, float32(1)
		switch {
		case rows.Weighed:
			weight = p.stands()
		case !p.ripe:
			return
		}
		switch x := k.Row(i); {
		case p.is == isUnripe || weight == 0 || p.is == isGenuine && !s.takes(k.ID[i]):
		case len(x) != len(names):
			wrong++
		default:
			d.AddCard(x, p.is == isFraud, k.Time[i], k.AmountBase[i], k.Payer[i])
			ids = append(ids, k.ID[i])
			if k.Label[i] != schemas.LabelNone {
				rows.LabelAges = append(rows.LabelAges, float64(k.LabelKnownAt[i]-k.Time[i])/dayMs)
			}
			if p.is == isGenuine {
				weight *= s.weight
			}
			d.Weight[d.Rows()-1] = weight
		}
	})
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%d vectors are not of the %d features that their spec %s has", wrong, len(names), q.Spec.Name)
	}
	if err != nil {
		return err
	}
	d.sort(func(a, b int) int { return cmp.Or(cmp.Compare(d.Time[a], d.Time[b]), cmp.Compare(ids[a], ids[b])) })
	rows.Dataset = d
	return nil
}

// truth is what is known of a row as of the date.
type truth uint8

const (
	isUnripe truth = iota
	isGenuine
	isFraud
)

// each calls fn with the decisions of the time that was asked for.
func (q *HistoryQuery) each(ctx context.Context, r history.Reader, bare bool, fn func(*pastRow)) error {
	until := q.AsOf + 1 // which is exclusive
	if q.To != 0 {
		until = min(until, q.To)
	}
	ripe := q.AsOf - q.Ripe.Milliseconds()
	of := history.RowQuery{From: q.From, To: until, AsOf: q.AsOf, Sources: q.Spec.Sources[:], Spec: schemas.HashPrefix(q.Spec.Hash), Bare: bare}
	return r.Rows(ctx, of, func(k *history.Chunk) error {
		for i := range k.Len() {
			p := pastRow{k: k, i: i, ripe: k.Time[i] <= ripe, is: isGenuine}
			switch {
			case !p.ripe && !reviewed(k, i):
				p.is = isUnripe
			case k.Label[i] == schemas.LabelFraud:
				p.is = isFraud
			}
			fn(&p)
		}
		return nil
	})
}

// reviewed reports whether an analyst judged a row that its decision sent to review.
func reviewed(k *history.Chunk, i int) bool {
	return k.Label[i] != schemas.LabelNone && k.LabelSource[i] == schemas.Analyst && k.Action[i] != schemas.Allow
}

// placeBits is how finely a census tells genuine rows by their hashes.
const placeBits = 16

// A census counts rows, so that a sample can be chosen before any vector is read.
type census struct {
	frauds, genuine int
	places          [1 << placeBits]int // the genuine ones, by the first bits of their hash
}

func place(id uint64) int { return int(mix(id) >> (64 - placeBits)) }

func (c *census) add(id uint64, fraud bool) {
	if fraud {
		c.frauds++
		return
	}
	c.genuine++
	c.places[place(id)]++
}

// A thinning is the genuine rows whose place is below one.
type thinning struct {
	below, taken int
	weight       float32 // of each: how many it stands for
}

func (s *thinning) takes(id uint64) bool { return place(id) < s.below }

// choose returns the sample that q asks for, or the largest that there is room for.
func (c *census) choose(q *HistoryQuery) (s thinning, err error) {
	most := len(c.places)
	if q.Share > 0 {
		most = min(most, max(1, int(math.Round(q.Share*float64(most)))))
	}
	for s.below < most {
		n := s.taken + c.places[s.below]
		if c.frauds+n > q.RowsMax {
			break
		}
		s.below, s.taken = s.below+1, n
	}
	if s.below == 0 && c.genuine > 0 || c.frauds > q.RowsMax || s.below < most && q.Share > 0 {
		return s, fmt.Errorf("%d rows with %d frauds, room for %d: %w", c.genuine+c.frauds, c.frauds, q.RowsMax, ErrTooMany)
	}
	s.weight = float32(c.genuine) / float32(max(s.taken, 1))
	return s, nil
}
