package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Record is one record. Its slices alias the buffers of the [Records] that gave
// it and are good until the next call of Next or Reset.
type Record struct {
	Offset    int64
	Timestamp int64  // ms since the Unix epoch
	Key       []byte // nil is a null
	Value     []byte // nil is a null
	Headers   []Header
}

// Aborted is a transaction that was aborted: what the producer wrote from First
// on, up to its control record, does not count.
type Aborted struct {
	ProducerID int64
	First      int64
}

// Records walks the records of a fetched record set. It checks each batch's
// checksum, decompresses into a buffer of its own, and leaves out what a reader
// of committed data must not see: control records, records of aborted
// transactions, and what lies before the offset asked for. Its zero value is
// ready for Reset; walking does not allocate once its buffers have grown.
type Records struct {
	raw     []byte
	fresh   bool // nothing of raw was walked yet
	from    int64
	high    int64 // the partition's end, 0 where it is not known
	next    int64
	aborted []Aborted
	open    []int64 // producers inside an aborted transaction
	err     error
	unpack  decompressor
	plain   []byte // the records of the batch, decompressed
	body    []byte // what is left of them
	base    int64  // of the batch
	first   int64  // timestamp
	append  int64  // log append time, -1 where records have their own
	left    int
	offset  int64 // the batch ends before this
	record  Record
	// The batch that the record is in.
	batch Batch
}

// Batch says what record batch a record was in.
type Batch struct {
	Base  int64 // offset of its first record
	Next  int64 // the offset after its last record, compacted or not
	Count int
}

// Reset begins with an answer; offsets below from are left out.
func (r *Records) Reset(a *FetchAnswer, from int64) {
	r.raw, r.from, r.next, r.aborted, r.err = a.Records, from, from, append(r.aborted[:0], a.Aborted...), nil
	r.open, r.left, r.body, r.high, r.fresh = r.open[:0], 0, nil, a.HighWatermark, true
}

// Skip passes over the batch that Next ended before because it is [Unreadable].
func (r *Records) Skip() {
	if u, ok := errors.AsType[*Unreadable](r.err); ok {
		r.err, r.left, r.next = nil, 0, max(r.next, u.Last+1)
	}
}

// unreadable ends Next before a batch, behind which r.raw begins.
func (r *Records) unreadable(first, last int64, cause error) bool {
	if r.high > first {
		last = min(last, r.high-1)
	}
	if len(r.raw) >= 8 {
		if next := int64(binary.BigEndian.Uint64(r.raw)); next > first && (last < first || last >= next) {
			last = next - 1
		}
	}
	r.err = &Unreadable{First: first, Last: max(first, last), cause: cause}
	return false
}

// Err returns why Next ended before the end of the set.
func (r *Records) Err() error { return r.err }

// NextOffset returns the offset after the last batch that was walked to its
// end: where to fetch next.
func (r *Records) NextOffset() int64 { return r.next }

// Record returns the record that Next stands on.
func (r *Records) Record() *Record { return &r.record }

// Batch returns the batch that the record is in.
func (r *Records) Batch() Batch { return r.batch }

// Next moves to the next record and reports whether there is one.
func (r *Records) Next() bool {
	for r.err == nil {
		if r.left == 0 {
			if r.offset > r.next {
				r.next = r.offset
			}
			if !r.nextBatch() {
				return false
			}
			continue
		}
		r.left--
		if err := r.parse(); err != nil {
			return r.unreadable(r.base, r.offset-1, err)
		}
		if r.record.Offset >= r.from {
			return true
		}
	}
	return false
}

// nextBatch opens the next batch that holds records for the reader. It returns
// false at the end of the set: brokers may cut the last batch short, though not
// the first one (KIP-74), so there it is the length that is wrong.
func (r *Records) nextBatch() bool {
	for len(r.raw) > batchMagicAt {
		first := r.fresh
		r.fresh = false
		be := binary.BigEndian
		base, format := int64(be.Uint64(r.raw)), r.raw[batchMagicAt]
		size := int(int32(be.Uint32(r.raw[batchLengthAt:]))) + batchLengthAt + 4
		if format != 2 {
			r.raw = r.raw[min(max(size, batchMagicAt+1), len(r.raw)):]
			return r.unreadable(base, base, fmt.Errorf("%w (format %d)", ErrOldFormat, format))
		}
		if len(r.raw) < batchHeader {
			return false
		}
		last := base + int64(int32(be.Uint32(r.raw[batchDeltaAt:])))
		if size < batchHeader {
			r.raw = nil
			return r.unreadable(base, last, fmt.Errorf("%w: length %d", ErrCorrupt, size))
		}
		if size > len(r.raw) {
			if !first {
				return false
			}
			err := fmt.Errorf("%w: length %d, of which %d came", ErrCorrupt, size, len(r.raw))
			r.raw = nil
			return r.unreadable(base, last, err)
		}
		b := r.raw[:size]
		r.raw = r.raw[size:]
		if crc32.Checksum(b[batchAttrsAt:], castagnoli) != be.Uint32(b[batchCRCAt:]) {
			return r.unreadable(base, last, fmt.Errorf("%w: checksum does not match", ErrCorrupt))
		}
		if last < base {
			return r.unreadable(base, last, fmt.Errorf("%w: it ends before it begins", ErrCorrupt))
		}
		if last < r.from || r.skip(b) {
			r.next = max(r.next, last+1)
			continue
		}
		return r.openBatch(b, base, last)
	}
	return false
}

// skip reports whether a batch is not for a reader of committed data, keeping
// account of which producers are inside an aborted transaction.
func (r *Records) skip(b []byte) bool {
	be := binary.BigEndian
	attrs := be.Uint16(b[batchAttrsAt:])
	pid := int64(be.Uint64(b[batchPIDAt:]))
	if attrs&attrTxn == 0 {
		return attrs&attrControl != 0
	}
	keep := r.aborted[:0]
	last := int64(be.Uint64(b)) + int64(int32(be.Uint32(b[batchDeltaAt:])))
	for _, a := range r.aborted {
		if a.First <= last {
			r.open = append(r.open, a.ProducerID)
		} else {
			keep = append(keep, a)
		}
	}
	r.aborted = keep
	at := -1
	for i, id := range r.open {
		if id == pid {
			at = i
		}
	}
	if attrs&attrControl == 0 {
		return at >= 0
	}
	// A control record ends its producer's transaction, whichever way it went.
	if at >= 0 {
		r.open[at] = r.open[len(r.open)-1]
		r.open = r.open[:len(r.open)-1]
	}
	return true
}

func (r *Records) openBatch(b []byte, base, last int64) bool {
	be := binary.BigEndian
	attrs := be.Uint16(b[batchAttrsAt:])
	r.base, r.first, r.append = base, int64(be.Uint64(b[batchFirstAt:])), -1
	if attrs&attrAppendTime != 0 {
		r.append = int64(be.Uint64(b[batchMaxAt:]))
	}
	r.left, r.offset = int(int32(be.Uint32(b[batchCountAt:]))), last+1
	r.body = b[batchHeader:]
	if codec := Codec(attrs & attrCodec); codec != None {
		var err error
		if r.plain, err = r.unpack.decompress(r.plain[:0], r.body, codec); err != nil {
			return r.unreadable(base, last, fmt.Errorf("%w: %s: %w", ErrCorrupt, codec, err))
		}
		r.body = r.plain
	}
	// The smallest record takes seven bytes: a count beyond that is a lie.
	if r.left < 0 || r.left > len(r.body)/7+1 {
		return r.unreadable(base, last, fmt.Errorf("%w: %d records in %d bytes", ErrCorrupt, r.left, len(r.body)))
	}
	r.batch = Batch{Base: base, Next: last + 1, Count: r.left}
	return true
}

// parse reads one record.
func (r *Records) parse() error {
	n, k := binary.Varint(r.body)
	if k <= 0 || n < 1 || n > int64(len(r.body)-k) {
		return fmt.Errorf("%w: a record is cut short", ErrCorrupt)
	}
	p := recordParser{b: r.body[k+1 : k+int(n)]} // the first byte, attributes, is unused
	r.body = r.body[k+int(n):]
	rec := &r.record
	rec.Timestamp = r.first + p.varint()
	if r.append >= 0 {
		rec.Timestamp = r.append
	}
	rec.Offset = r.base + p.varint()
	rec.Key = p.bytes()
	rec.Value = p.bytes()
	count := p.varint()
	if count < 0 || count > int64(len(p.b)) {
		return fmt.Errorf("%w: %d headers in %d bytes", ErrCorrupt, count, len(p.b))
	}
	rec.Headers = rec.Headers[:0]
	for range count {
		key := p.bytes()
		rec.Headers = append(rec.Headers, Header{Key: key, Value: p.bytes()})
	}
	if p.bad || rec.Offset < r.base || rec.Offset >= r.offset {
		return fmt.Errorf("%w: a record is malformed", ErrCorrupt)
	}
	return nil
}

// recordParser reads the fields of a record; bad is set at the first that is
// not there.
type recordParser struct {
	b   []byte
	bad bool
}

func (p *recordParser) varint() int64 {
	v, k := binary.Varint(p.b)
	if k <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[k:]
	return v
}

func (p *recordParser) bytes() []byte {
	n := p.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	b := p.b[:n:n]
	p.b = p.b[n:]
	return b
}
