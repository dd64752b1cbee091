package history

import (
	"math"

	"github.com/weir-risk/weir/schemas"
)

// RowQuery says which vectors to read. They are those of transactions that were
// scored or degraded; of a transaction decided twice under one id (a
// `duplicate` has no vector) there is one row.
type RowQuery struct {
	// From and To bound the event time, ms: From <= time < To. To 0 is no bound.
	From, To int64
	// AsOf is the date of the labels: those known by then, ms.
	AsOf int64
	// Sources are the sources of labels that count, the strongest first: the
	// first whose latest version by then has a verdict gives the label.
	Sources []schemas.LabelSource
	// Spec, if not 0, keeps rows of one feature spec: [schemas.HashPrefix].
	Spec uint64
	// Tenant, if not empty, keeps the rows of one.
	Tenant string
	// Bare leaves the vectors out, which are most of what there is to read: every
	// row has an empty one.
	Bare bool
}

// until returns To as an exclusive bound.
func (q *RowQuery) until() int64 {
	if q.To == 0 {
		return math.MaxInt64
	}
	return q.To
}

// A Chunk is rows as columns: element i of each is row i's.
type Chunk struct {
	Tenant     []string
	Time       []int64 // event time, ms
	AmountBase []int64 // minor units of the base currency
	// ID is a hash of the transaction's id, the same in every store.
	ID []uint64
	// Payer tells who paid apart: a hash of the card, or where there is none of
	// the customer; 0 where there is neither.
	Payer      []uint64
	Action     []schemas.Action
	Bundle     []uint64 // that decided; 0 where none did
	Score      []float32
	Prob       []float32
	ReviewProb []float32
	// Challenger is the bundle that scored beside it, 0 where none did, and
	// ChallengerScore what it gave.
	Challenger      []uint64
	ChallengerScore []float32
	// Label is LabelNone where nothing was known; LabelSource and LabelKnownAt
	// (ms) are then 0.
	Label        []schemas.LabelVerdict
	LabelSource  []schemas.LabelSource
	LabelKnownAt []int64
	// LabelProb is the probability with which the transaction was chosen to be looked
	// at, where the label came of that: for an alert, or to explore; otherwise, or
	// where it is not said, 0. LabelOwn is whether a source has a verdict that nobody
	// looked for.
	LabelProb []float32
	LabelOwn  []bool

	x    []float32
	ends []int // the end in x of each row
}

// chunkRows is the size of a chunk, about: 4 MB of 100 features.
const chunkRows = 8192

// Len returns the number of rows.
func (c *Chunk) Len() int { return len(c.ends) }

// Row returns the feature vector of row i.
func (c *Chunk) Row(i int) []float32 {
	from := 0
	if i > 0 {
		from = c.ends[i-1]
	}
	return c.x[from:c.ends[i]:c.ends[i]]
}

func (c *Chunk) reset() {
	*c = Chunk{
		Tenant: c.Tenant[:0], Time: c.Time[:0], AmountBase: c.AmountBase[:0], ID: c.ID[:0], Payer: c.Payer[:0],
		Action: c.Action[:0], Bundle: c.Bundle[:0], Score: c.Score[:0], Prob: c.Prob[:0], ReviewProb: c.ReviewProb[:0],
		Challenger: c.Challenger[:0], ChallengerScore: c.ChallengerScore[:0], Label: c.Label[:0],
		LabelSource: c.LabelSource[:0], LabelKnownAt: c.LabelKnownAt[:0], LabelProb: c.LabelProb[:0], LabelOwn: c.LabelOwn[:0], x: c.x[:0], ends: c.ends[:0],
	}
}

// addLabel appends what is known of a row.
func (c *Chunk) addLabel(l *rowLabel) {
	c.Label, c.LabelSource = append(c.Label, l.verdict), append(c.LabelSource, l.source)
	c.LabelKnownAt = append(c.LabelKnownAt, l.knownAt)
	c.LabelProb, c.LabelOwn = append(c.LabelProb, l.prob), append(c.LabelOwn, l.own)
}

// rowLabel is what a store says is known of a row.
type rowLabel struct {
	verdict schemas.LabelVerdict
	source  schemas.LabelSource
	knownAt int64
	prob    float32
	own     bool
}

// lookedFor is, in SQL, whether a label came because its transaction was chosen to be
// looked at.
const lookedFor = `selected IN ('alert', 'exploration')`

// chosenWith is, in SQL, the probability that it was chosen with, 0 where that is not
// said: what is alerted on is looked at.
const chosenWith = `CASE WHEN selected = 'alert' AND selected_probability = 0 THEN 1 WHEN ` + lookedFor + ` THEN selected_probability ELSE 0 END`

// payer hashes who paid.
func payer(card, customer []byte) uint64 {
	if len(card) == 0 {
		card = customer
	}
	if len(card) == 0 {
		return 0
	}
	return fnv1a(card)
}

func fnv1a(text []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range text {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
