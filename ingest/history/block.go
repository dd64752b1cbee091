package history

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// The size of a full block. Where it is cut follows from the log alone: at the
// first batch or record boundary at which one of these is reached. Smaller
// blocks would cost ClickHouse a part each; larger ones are held in memory twice.
const (
	BlockRecords = 50_000
	BlockBytes   = 64 << 20
)

// A Block is a stretch of one partition of one stream, as it is written. It
// copies what it is given, and is reused from block to block.
type Block struct {
	Stream     Stream
	Partition  int32
	From, Next int64 // the first offset, and the one after the last
	// Head is the last batch taken at Next; of the ledger.
	Head schemas.BatchID
	// Source is the name of the topic that the ledger's decisions are of.
	Source string

	batches []blockBatch
	records []blockRecord
	arena   []byte
	scratch []byte
	headers []schemas.Header
	entry   schemas.Entry
}

type blockBatch struct {
	base, timestamp      int64
	records              int
	id, extends          schemas.BatchID
	bundle, spec, engine [32]byte
	packed               schemas.Span // all of the facts
}

type blockRecord struct {
	offset, timestamp int64
	key, value        schemas.Span
}

// Reset empties b and makes it begin at a position.
func (b *Block) Reset(s Stream, partition int32, source string, at Position) {
	b.Stream, b.Partition, b.Source = s, partition, source
	b.From, b.Next, b.Head = at.Offset, at.Offset, at.Head
	b.batches, b.records, b.arena = b.batches[:0], b.records[:0], b.arena[:0]
}

// Records returns the number of records.
func (b *Block) Records() int { return len(b.records) }

// Empty reports whether the block covers no offset.
func (b *Block) Empty() bool { return b.Next == b.From }

// Decisions calls fn with each decision of a block of the ledger, by the time of its
// record, ms since the Unix epoch. fn must not keep it.
func (b *Block) Decisions(fn func(d *schemas.Decision, timestamp int64)) {
	for i := range b.records {
		rec := &b.records[i]
		if schemas.ParseEntry(b.bytes(rec.value), &b.entry) == nil && b.entry.Kind == schemas.EntryDecision {
			fn(&b.entry.Decision, rec.timestamp)
		}
	}
}

// Full reports whether the block is to be written before anything is added.
func (b *Block) Full() bool { return len(b.records) >= BlockRecords || len(b.arena) >= BlockBytes }

// AddBatch appends a batch of the ledger that was taken.
func (b *Block) AddBatch(base, timestamp int64, f *schemas.Facts, values [][]byte) {
	in := blockBatch{base: base, timestamp: timestamp, records: len(values), id: f.ID, extends: f.Extends,
		bundle: f.Bundle, spec: f.Spec, engine: f.Engine}
	b.scratch = b.packFacts(b.scratch[:0], f)
	in.packed = b.keep(b.scratch)
	for i, v := range values {
		b.records = append(b.records, blockRecord{offset: base + int64(i), timestamp: timestamp, value: b.keep(v)})
	}
	b.batches = append(b.batches, in)
	b.Head = f.ID
	b.Next = base + int64(len(values))
}

// AddRecord appends a record of a topic.
func (b *Block) AddRecord(offset, timestamp int64, key, value []byte) {
	b.records = append(b.records, blockRecord{offset: offset, timestamp: timestamp, key: b.keep(key), value: b.keep(value)})
	b.Next = offset + 1
}

func (b *Block) keep(p []byte) schemas.Span {
	s := schemas.Span{Off: uint32(len(b.arena)), Len: uint32(len(p))}
	b.arena = append(b.arena, p...)
	return s
}

func (b *Block) bytes(s schemas.Span) []byte { return b.arena[s.Off : s.Off+s.Len : s.Off+s.Len] }

// The facts of a batch are kept as their headers: key, length, value.

// packFacts appends f to dst.
func (b *Block) packFacts(dst []byte, f *schemas.Facts) []byte {
	b.headers, _ = schemas.AppendFacts(b.headers[:0], nil, f)
	for _, h := range b.headers {
		dst = binary.AppendUvarint(append(dst, h.Key[0]), uint64(len(h.Value)))
		dst = append(dst, h.Value...)
	}
	return dst
}

// unpackFacts reads what packFacts made.
func unpackFacts(src []byte, f *schemas.Facts) error {
	var headers []schemas.Header
	for len(src) > 0 {
		n, k := binary.Uvarint(src[1:])
		if k <= 0 || n > uint64(len(src)-1-k) {
			return fmt.Errorf("%w: packed facts are cut short", schemas.ErrWire)
		}
		end := 1 + k + int(n)
		headers = append(headers, schemas.Header{Key: src[:1], Value: src[1+k : end : end]})
		src = src[end:]
	}
	return schemas.ParseFacts(headers, f)
}

// A row is one record of the ledger on its way into tables.
type row struct {
	offset int64
	value  []byte
	entry  *schemas.Entry // Kind 0 where this weir cannot read it
	// raw is value where the columns of a decision do not give its bytes.
	raw []byte
}

// each calls fn with every record of a block of the ledger. What this weir
// cannot read, which a newer one may have written, is kept as it is.
func (b *Block) each(fn func(r *row) error) error {
	r := row{entry: &b.entry}
	for i := range b.records {
		rec := &b.records[i]
		r.offset, r.value, r.raw = rec.offset, b.bytes(rec.value), nil
		if schemas.ParseEntry(r.value, r.entry) != nil {
			r.entry.Kind = 0
		}
		if r.entry.Kind == schemas.EntryDecision {
			b.scratch = schemas.AppendDecision(b.scratch[:0], &r.entry.Decision)
			if !bytes.Equal(b.scratch, r.value) {
				r.raw = r.value
			}
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
}

// The times that a month can be told of: 1970 to 2200.
const eventMsMax = 7_258_118_400_000

// eventMs is the time that a decision is kept under: the event's, or that of
// its Kafka record where it has none.
func eventMs(d *schemas.Decision) int64 {
	ms := d.Tx.Time
	if ms == 0 {
		ms = d.Timestamp
	}
	return min(max(ms, 0), eventMsMax-1)
}
