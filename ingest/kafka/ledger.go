package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/weir-risk/weir/schemas"
)

// Chain is the rule that makes one ledger of what several writers append: a
// batch is taken whole where it extends the last batch taken, and dropped whole
// otherwise. So a batch that was built on a version that lost is never taken,
// and a batch that was sent twice is taken once.
type Chain struct{ Head schemas.BatchID }

// Take applies the rule to the next batch of the log.
func (c *Chain) Take(f *schemas.Facts) bool {
	if f.Extends != c.Head || f.ID == c.Head {
		return false
	}
	c.Head = f.ID
	return true
}

// LedgerBatch is one batch of the ledger. Its slices are good until the next
// call of the reader.
type LedgerBatch struct {
	Base      int64 // offset of its first record
	Timestamp int64 // of its first record, ms
	Facts     schemas.Facts
	Values    [][]byte // the records, each an Entry of decision.proto
	Taken     bool     // whether the chain takes it
}

// ErrLedgerCorrupt is an [Unreadable] batch of the ledger. Nothing gets past it:
// who decided on without what it holds would decide something else.
var ErrLedgerCorrupt = errors.New("the ledger has a record batch that cannot be read: bring the topic back from a replica or a backup")

// LedgerReader is the one reader of the ledger: every consumer of decisions
// goes through it. It is for one goroutine.
type LedgerReader struct {
	reader  *Reader
	chain   Chain
	next    int64 // the offset after the last batch that was returned
	records *Records
	pending bool // records stands on a record that is not yet in a batch
	batch   LedgerBatch
	arena   []byte
	spans   []span
}

type span struct{ from, to int }

// NewLedgerReader returns a reader that begins at an anchor: a position with
// the last batch taken before it, from a snapshot or from a batch's facts. The
// zero Anchor is the ledger's beginning.
func NewLedgerReader(c *Client, topic string, shard int32, at schemas.Anchor) *LedgerReader {
	return &LedgerReader{reader: NewReader(c, topic, shard, at.Offset), chain: Chain{Head: at.Head}, next: at.Offset}
}

// Close ends the reader.
func (r *LedgerReader) Close() { r.reader.Close() }

// Position returns the offset after the last batch that was returned.
func (r *LedgerReader) Position() int64 { return r.next }

// Next returns the next batch before end, nil where there is none. ErrTrimmed is
// wrapped where the log no longer holds the position.
func (r *LedgerReader) Next(ctx context.Context, end int64) (*LedgerBatch, error) {
	for !r.pending {
		if more, err := r.look(ctx, end); err != nil || !more {
			return nil, err
		}
	}
	return r.gather()
}

// Follow returns the next batch. It waits for it, and returns nil from time to
// time while none comes.
func (r *LedgerReader) Follow(ctx context.Context) (*LedgerBatch, error) {
	for looks := 0; !r.pending; looks++ {
		if looks == 2 { // behind what was in hand, and then in what was fetched
			return nil, ctx.Err()
		}
		if _, err := r.look(ctx, math.MaxInt64); err != nil {
			return nil, err
		}
	}
	return r.gather()
}

// look goes to the next record of those in hand, and where there is none, fetches
// more. It is false where nothing is left before end.
func (r *LedgerReader) look(ctx context.Context, end int64) (more bool, err error) {
	if r.records != nil {
		if r.pending = r.records.Next(); r.pending {
			return true, nil
		}
		if err := r.records.Err(); err != nil {
			return false, fmt.Errorf("%w: %w", ErrLedgerCorrupt, err)
		}
	}
	if r.records, err = r.reader.Next(ctx, end); err != nil {
		if errors.Is(err, ErrOffsetOutOfRange) {
			err = fmt.Errorf("%w: %w", ErrTrimmed, err)
		}
		return false, fmt.Errorf("read the ledger at %d: %w", r.reader.Position(), err)
	}
	return r.records != nil, nil
}

// gather collects the records of one batch: a record batch of the log is a
// batch of the ledger.
func (r *LedgerReader) gather() (*LedgerBatch, error) {
	rec, in := r.records.Record(), r.records.Batch()
	b := &r.batch
	b.Base, b.Timestamp, b.Values, b.Taken = rec.Offset, rec.Timestamp, b.Values[:0], false
	r.arena, r.spans = r.arena[:0], r.spans[:0]
	err := schemas.ParseFacts(rec.Headers, &b.Facts)
	for {
		from := len(r.arena)
		r.arena = append(r.arena, r.records.Record().Value...)
		r.spans = append(r.spans, span{from, len(r.arena)})
		if r.pending = r.records.Next(); !r.pending || r.records.Batch() != in {
			break
		}
	}
	if e := r.records.Err(); e != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedgerCorrupt, e)
	}
	r.next = in.Next
	if err != nil || int(b.Facts.Records) != len(r.spans) {
		// Something that is no weir wrote to the ledger, or a batch was damaged
		// in a way that its checksum hides: it extends nothing.
		b.Facts = schemas.Facts{}
		return b, nil
	}
	for _, s := range r.spans {
		b.Values = append(b.Values, r.arena[s.from:s.to:s.to])
	}
	b.Taken = r.chain.Take(&b.Facts)
	return b, nil
}

// BatchAt returns the batch that the record at an offset of the ledger is of, whether the
// chain takes it or not; nil where it is of none.
func BatchAt(ctx context.Context, c *Client, topic string, shard int32, offset int64) (*LedgerBatch, error) {
	r := NewLedgerReader(c, topic, shard, schemas.Anchor{Offset: offset})
	if err := r.reader.fetch(ctx, 0); err != nil {
		return nil, fmt.Errorf("read the ledger at %d: %w", offset, err)
	}
	// The facts are on the batch's first record, which lies before the offset:
	// the set is walked from its beginning.
	r.records = &r.reader.records
	r.records.Reset(&r.reader.answer, 0)
	for r.records.Next() {
		if r.records.Batch().Next > offset {
			return r.gather()
		}
	}
	return nil, r.records.Err()
}

// FactsAt returns the facts of the batch that the record at an offset of the ledger
// is of; zero ones where it is of none.
func FactsAt(ctx context.Context, c *Client, topic string, shard int32, offset int64) (schemas.Facts, error) {
	b, err := BatchAt(ctx, c, topic, shard, offset)
	if b == nil || err != nil {
		return schemas.Facts{}, err
	}
	return b.Facts, nil
}
