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
	// Payer tells who paid apart: a hash of the card, or where there is none of
	// the customer; 0 where there is neither.
	Payer      []uint64
	Action     []schemas.Action
	Bundle     []uint64 // that decided; 0 where none did
	Score      []float32
	Prob       []float32
	ReviewProb []float32
	// Label is LabelNone where nothing was known; LabelSource and LabelKnownAt
	// (ms) are then 0.
	Label        []schemas.LabelVerdict
	LabelSource  []schemas.LabelSource
	LabelKnownAt []int64

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
		Tenant: c.Tenant[:0], Time: c.Time[:0], AmountBase: c.AmountBase[:0], Payer: c.Payer[:0], Action: c.Action[:0],
		Bundle: c.Bundle[:0], Score: c.Score[:0], Prob: c.Prob[:0], ReviewProb: c.ReviewProb[:0], Label: c.Label[:0],
		LabelSource: c.LabelSource[:0], LabelKnownAt: c.LabelKnownAt[:0], x: c.x[:0], ends: c.ends[:0],
	}
}

// payer hashes (FNV-1a) who paid.
func payer(card, customer []byte) uint64 {
	if len(card) == 0 {
		card = customer
	}
	if len(card) == 0 {
		return 0
	}
	h := uint64(14695981039346656037)
	for _, c := range card {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
