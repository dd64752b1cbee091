package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrWire is wrapped by every error of a record that is not in its wire form.
var ErrWire = errors.New("not in the wire form of decision.proto")

// Protobuf wire types (protobuf.dev/programming-guides/encoding).
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

func appendTag(dst []byte, field, wire int) []byte {
	return binary.AppendUvarint(dst, uint64(field<<3|wire))
}

// The append functions leave out what is zero, as proto3 does.

func appendUint(dst []byte, field int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(appendTag(dst, field, wireVarint), v)
}

func appendSint(dst []byte, field int, v int64) []byte {
	return appendUint(dst, field, uint64(v<<1)^uint64(v>>63))
}

func appendFloat(dst []byte, field int, v float32) []byte {
	bits := math.Float32bits(v)
	if bits == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(appendTag(dst, field, wireFixed32), bits)
}

func appendFixed64(dst []byte, field int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(appendTag(dst, field, wireFixed64), v)
}

func appendBytes(dst []byte, field int, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(binary.AppendUvarint(appendTag(dst, field, wireBytes), uint64(len(v))), v...)
}

// open begins a nested message; two bytes are left for its length, which
// nearly every decision takes.
func open(dst []byte, field int) ([]byte, int) {
	dst = append(appendTag(dst, field, wireBytes), 0, 0)
	return dst, len(dst)
}

// shut writes the length of the message that was opened at from.
func shut(dst []byte, from int) []byte {
	n := len(dst) - from
	var length [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(length[:], uint64(n))
	switch {
	case k < 2:
		copy(dst[from-1:], dst[from:])
		dst = dst[:len(dst)-1]
	case k > 2:
		dst = append(dst, length[:k-2]...) // room; the bytes are moved over it
		copy(dst[from+k-2:], dst[from:from+n])
	}
	copy(dst[from-2:], length[:k])
	return dst
}

// A wireField is one field as parsed: number in n where it is a varint or fixed,
// the bytes in b where it has a length.
type wireField struct {
	number int
	wire   int
	n      uint64
	b      []byte
}

// nextField parses one field and returns what follows it.
func nextField(src []byte) (f wireField, rest []byte, err error) {
	tag, k := binary.Uvarint(src)
	if k <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, nil, fmt.Errorf("%w: a tag is broken", ErrWire)
	}
	src = src[k:]
	f.number, f.wire = int(tag>>3), int(tag&7)
	switch f.wire {
	case wireVarint:
		f.n, k = binary.Uvarint(src)
		if k <= 0 {
			return f, nil, fmt.Errorf("%w: field %d is cut short", ErrWire, f.number)
		}
		return f, src[k:], nil
	case wireFixed64:
		if len(src) < 8 {
			return f, nil, fmt.Errorf("%w: field %d is cut short", ErrWire, f.number)
		}
		f.n = binary.LittleEndian.Uint64(src)
		return f, src[8:], nil
	case wireFixed32:
		if len(src) < 4 {
			return f, nil, fmt.Errorf("%w: field %d is cut short", ErrWire, f.number)
		}
		f.n = uint64(binary.LittleEndian.Uint32(src))
		return f, src[4:], nil
	case wireBytes:
		n, k := binary.Uvarint(src)
		if k <= 0 || n > uint64(len(src)-k) {
			return f, nil, fmt.Errorf("%w: field %d is cut short", ErrWire, f.number)
		}
		end := k + int(n)
		f.b = src[k:end:end]
		return f, src[end:], nil
	}
	return f, nil, fmt.Errorf("%w: field %d has wire type %d", ErrWire, f.number, f.wire)
}

func (f *wireField) sint() int64    { return int64(f.n>>1) ^ -int64(f.n&1) }
func (f *wireField) float() float32 { return math.Float32frombits(uint32(f.n)) }
