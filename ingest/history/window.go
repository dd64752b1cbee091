package history

import (
	"context"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// A Batch is one batch of the ledger, as it was taken. It is good until the
// function that it was given to returns.
type Batch struct {
	Base      int64 // ledger offset of its first record
	Timestamp int64 // of its first record, ms
	Facts     schemas.Facts
	Values    [][]byte // the records, each an Entry of decision.proto
}

// A window is what is read of the ledger at a time: whole batches and their
// records, which come from two tables in whatever order.
type window struct {
	shard      int32
	from, next int64 // ledger offsets
	batches    []windowBatch
	spans      []schemas.Span // by offset - from; Len 0 where no record came
	arena      []byte
	batch      Batch
}

type windowBatch struct {
	base, timestamp int64
	records         int64
	packed          []byte
}

// A window ends at the first batch at which it holds so many.
const (
	windowRecords = 16_384
	windowBatches = 4_096
)

// A ledgerTable is what the walk over the ledger needs of a store.
type ledgerTable interface {
	Position(ctx context.Context, s Stream, partition int32) (Position, error)
	// readBatches appends to w.batches the batches of w.shard that begin at or
	// after from and before upto, ascending, at most windowBatches.
	readBatches(ctx context.Context, w *window, from, upto int64) error
	// readRecords puts the records of w.
	readRecords(ctx context.Context, w *window) error
}

// walk calls fn with the batches of a shard from an offset up to where the
// history holds the ledger: what lies beyond may be written in part.
func walk(ctx context.Context, t ledgerTable, shard int32, from int64, fn func(*Batch) error) error {
	p, err := t.Position(ctx, Ledger, shard)
	if err != nil {
		return err
	}
	w := window{shard: shard}
	for {
		w.batches = w.batches[:0]
		if err := t.readBatches(ctx, &w, from, p.Offset); err != nil {
			return fmt.Errorf("read batches of the ledger from %d: %w", from, err)
		}
		if len(w.batches) == 0 {
			return nil
		}
		for len(w.batches) > 0 {
			rest := w.cut()
			if err := t.readRecords(ctx, &w); err != nil {
				return fmt.Errorf("read the ledger's records from %d to %d: %w", w.from, w.next-1, err)
			}
			if err := w.emit(fn); err != nil {
				return err
			}
			from, w.batches = w.next, rest
		}
	}
}

// cut shortens w to its size and returns the batches that are left over.
func (w *window) cut() (rest []windowBatch) {
	w.from = w.batches[0].base
	n := 0
	for n < len(w.batches) && (n == 0 || w.next-w.from < windowRecords) {
		w.next = w.batches[n].base + w.batches[n].records
		n++
	}
	w.batches, rest = w.batches[:n], w.batches[n:]
	w.arena = w.arena[:0]
	w.spans = append(w.spans[:0], make([]schemas.Span, w.next-w.from)...)
	return rest
}

// put takes the record at an offset; a second copy of one is passed over.
func (w *window) put(offset int64, value []byte) {
	if s := &w.spans[offset-w.from]; s.Len == 0 {
		*s = schemas.Span{Off: uint32(len(w.arena)), Len: uint32(len(value))}
		w.arena = append(w.arena, value...)
	}
}

// putDecision takes the decision at an offset: raw where it is kept whole.
func (w *window) putDecision(offset int64, raw []byte, d *schemas.Decision) {
	if len(raw) > 0 {
		w.put(offset, raw)
		return
	}
	if s := &w.spans[offset-w.from]; s.Len == 0 {
		s.Off = uint32(len(w.arena))
		w.arena = schemas.AppendDecision(w.arena, d)
		s.Len = uint32(len(w.arena)) - s.Off
	}
}

func (w *window) emit(fn func(*Batch) error) error {
	for i := range w.batches {
		in, b := &w.batches[i], &w.batch
		b.Base, b.Timestamp, b.Values = in.base, in.timestamp, b.Values[:0]
		if err := unpackFacts(in.packed, &b.Facts); err != nil {
			return fmt.Errorf("ledger batch at %d: %w", in.base, err)
		}
		for k := range in.records {
			s := w.spans[in.base-w.from+k]
			if s.Len == 0 {
				return fmt.Errorf("%w: offset %d of shard %d", ErrIncomplete, in.base+k, w.shard)
			}
			b.Values = append(b.Values, w.arena[s.Off:s.Off+s.Len:s.Off+s.Len])
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}
