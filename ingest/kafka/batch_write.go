package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/weir-risk/weir/schemas"
)

// Header is a record header.
type Header = schemas.Header

// The layout of a record batch, format 2
// (kafka.apache.org/documentation/#recordbatch).
const (
	batchHeader    = 61 // bytes before the records
	batchLengthAt  = 8
	batchMagicAt   = 16
	batchCRCAt     = 17
	batchAttrsAt   = 21 // the checksum covers everything from here on
	batchDeltaAt   = 23
	batchFirstAt   = 27
	batchMaxAt     = 35
	batchPIDAt     = 43
	batchEpochAt   = 51
	batchSeqAt     = 53
	batchCountAt   = 57
	attrCodec      = 7
	attrAppendTime = 8
	attrTxn        = 16
	attrControl    = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BatchWriter encodes records into one record batch. It is reused from batch to
// batch and then does not allocate. Its zero value is ready.
type BatchWriter struct {
	buf    []byte // header and records
	packed []byte // header and compressed records
	count  int
	first  int64
	max    int64
	codec  compressor
	body   []byte // of one record
}

// Reset begins a new batch.
func (w *BatchWriter) Reset() {
	if cap(w.buf) < batchHeader {
		w.buf = make([]byte, batchHeader, 64<<10)
	}
	w.buf = w.buf[:batchHeader]
	w.count, w.first, w.max = 0, 0, 0
}

// Len returns the number of bytes so far, before compression.
func (w *BatchWriter) Len() int { return len(w.buf) }

// Append adds one record; timestamp is in ms since the Unix epoch. A nil key or
// value is a null. Nothing is retained.
func (w *BatchWriter) Append(key, value []byte, timestamp int64, headers []Header) {
	if len(w.buf) < batchHeader {
		w.Reset()
	}
	if w.count == 0 {
		w.first, w.max = timestamp, timestamp
	}
	w.max = max(w.max, timestamp)
	b := append(w.body[:0], 0) // attributes
	b = binary.AppendVarint(b, timestamp-w.first)
	b = binary.AppendVarint(b, int64(w.count))
	b = appendNullable(b, key)
	if value == nil {
		b = binary.AppendVarint(b, -1)
	} else {
		b = binary.AppendVarint(b, int64(len(value)))
	}
	var tail [binary.MaxVarintLen64]byte
	counted := binary.PutVarint(tail[:], int64(len(headers)))
	n := len(b) + len(value) + counted
	for _, h := range headers {
		n += headerSize(h)
	}
	w.body = b
	w.buf = binary.AppendVarint(w.buf, int64(n))
	w.buf = append(append(append(w.buf, b...), value...), tail[:counted]...)
	for _, h := range headers {
		// Kafka refuses a header whose key is null; an empty one it takes.
		w.buf = append(binary.AppendVarint(w.buf, int64(len(h.Key))), h.Key...)
		w.buf = appendNullable(w.buf, h.Value)
	}
	w.count++
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func headerSize(h Header) int {
	size := func(b []byte) int {
		var v [binary.MaxVarintLen64]byte
		if b == nil {
			return 1
		}
		return binary.PutVarint(v[:], int64(len(b))) + len(b)
	}
	return size(h.Key) + size(h.Value)
}

// Finish returns the batch, ready to be produced; it is good until the next
// Reset. An empty batch is an error: no broker takes one.
func (w *BatchWriter) Finish(c Codec) ([]byte, error) {
	if w.count == 0 {
		return nil, fmt.Errorf("encode a record batch: it is empty")
	}
	out := w.buf
	if c != None {
		packed, err := w.codec.compress(append(w.packed[:0], w.buf[:batchHeader]...), w.buf[batchHeader:], c)
		if err != nil {
			return nil, fmt.Errorf("compress a record batch of %d bytes: %w", len(w.buf), err)
		}
		w.packed, out = packed, packed
	}
	be := binary.BigEndian
	be.PutUint64(out, 0)
	be.PutUint32(out[batchLengthAt:], uint32(len(out)-batchLengthAt-4))
	be.PutUint32(out[batchLengthAt+4:], 0xffffffff) // leader epoch, unknown
	out[batchMagicAt] = 2
	be.PutUint16(out[batchAttrsAt:], uint16(c))
	be.PutUint32(out[batchDeltaAt:], uint32(w.count-1))
	be.PutUint64(out[batchFirstAt:], uint64(w.first))
	be.PutUint64(out[batchMaxAt:], uint64(w.max))
	be.PutUint64(out[batchPIDAt:], 1<<64-1)
	be.PutUint16(out[batchEpochAt:], 1<<16-1)
	be.PutUint32(out[batchSeqAt:], 1<<32-1)
	be.PutUint32(out[batchCountAt:], uint32(w.count))
	be.PutUint32(out[batchCRCAt:], crc32.Checksum(out[batchAttrsAt:], castagnoli))
	return out, nil
}
