package wireformat

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/weir-risk/weir/schemas"
)

// value reads a value of a type, and writes it where it is wanted.
func (r *Reader) value(t *avroType) schemas.Reason {
	if reason := r.step(); reason != schemas.NoReason {
		return reason
	}
	switch t.op {
	case opNull:
		if !t.quiet {
			r.out = append(r.out, "null"...)
		}
		return schemas.NoReason
	case opRecord:
		return r.record(t)
	case opArray, opMap:
		return r.blocks(t)
	case opUnion:
		i, reason := r.long()
		if reason != schemas.NoReason {
			return reason
		}
		if i < 0 || i >= int64(len(t.types)) {
			return schemas.WireValue
		}
		return r.value(t.types[i])
	case opInt, opLong, opEnum, opDate, opTimeMillis, opTimeMicros, opTimestamp:
		return r.integer(t)
	case opBytes, opString, opDecimal, opFixed, opUUID:
		return r.bytes(t)
	}
	return r.plain(t)
}

// plain reads a boolean, a float or a double.
func (r *Reader) plain(t *avroType) schemas.Reason {
	size := 1
	switch t.op {
	case opFloat:
		size = 4
	case opDouble:
		size = 8
	}
	s, reason := r.take(int64(size))
	switch {
	case reason != schemas.NoReason:
		return reason
	case size == 1 && s[0] > 1:
		return schemas.WireValue
	case t.quiet:
	case size == 4:
		r.out = appendFloat(r.out, float64(math.Float32frombits(binary.LittleEndian.Uint32(s))), 32)
	case size == 8:
		r.out = appendFloat(r.out, math.Float64frombits(binary.LittleEndian.Uint64(s)), 64)
	default:
		r.out = strconv.AppendBool(r.out, s[0] == 1)
	}
	return schemas.NoReason
}

// integer reads an integer and what is made of one.
func (r *Reader) integer(t *avroType) schemas.Reason {
	x, reason := r.long()
	if reason != schemas.NoReason {
		return reason
	}
	if t.op != opLong && t.op != opTimeMicros && t.op != opTimestamp && x != int64(int32(x)) {
		return schemas.WireValue
	}
	if t.op == opEnum && (x < 0 || x >= int64(len(t.symbols))) {
		return schemas.WireValue
	}
	if t.quiet {
		return schemas.NoReason
	}
	ok := true
	switch t.op {
	case opEnum:
		r.out = append(r.out, t.symbols[x]...)
	case opTimestamp:
		seconds, rest := x/t.unit, x%t.unit
		if rest < 0 {
			seconds, rest = seconds-1, rest+t.unit
		}
		r.out, ok = appendTime(r.out, r.form, seconds, rest*(1e9/t.unit))
	case opDate:
		if ok = x >= secondsMin/86400 && x <= secondsMax/86400; ok {
			r.out = appendLayout(r.out, `"2006-01-02"`, x*86400, 0)
		}
	case opTimeMillis:
		return r.clock(x, 1000)
	case opTimeMicros:
		return r.clock(x, 1e6)
	default:
		r.out = strconv.AppendInt(r.out, x, 10)
	}
	if !ok {
		return schemas.AbsurdTime
	}
	return schemas.NoReason
}

// clock writes a time of day, in units of which so many are a second.
func (r *Reader) clock(x, unit int64) schemas.Reason {
	if x < 0 || x >= 86400*unit {
		return schemas.WireValue
	}
	r.out = appendLayout(r.out, `"15:04:05.999999"`, x/unit, x%unit*(1e9/unit))
	return schemas.NoReason
}

// bytes reads bytes and what is made of them.
func (r *Reader) bytes(t *avroType) schemas.Reason {
	n, reason := int64(t.size), schemas.NoReason
	if t.size == 0 && t.op != opFixed {
		n, reason = r.long()
	}
	if reason != schemas.NoReason {
		return reason
	}
	s, reason := r.take(n)
	if reason != schemas.NoReason {
		return reason
	}
	if t.op == opString && !utf8.Valid(s) {
		return schemas.BadUTF8
	}
	ok := true
	switch {
	case t.quiet:
	case t.op == opString:
		r.out = appendString(r.out, s)
	case t.op == opDecimal:
		r.out, ok = appendDecimal(r.out, s, t.scale)
	case t.op == opUUID:
		r.out = appendUUID(r.out, s)
	default:
		r.out = appendBytes(r.out, s)
	}
	if !ok {
		return schemas.WireValue
	}
	return schemas.NoReason
}

func (r *Reader) record(t *avroType) schemas.Reason {
	if reason := r.enter(); reason != schemas.NoReason {
		return reason
	}
	defer r.leave()
	if !t.quiet {
		r.out = append(r.out, '{')
	}
	first := true
	for i, f := range t.types {
		if !f.quiet {
			r.comma(&first)
			r.out = append(r.out, t.keys[i]...)
		}
		if reason := r.value(f); reason != schemas.NoReason {
			return reason
		}
	}
	if !t.quiet {
		r.out = append(r.out, '}')
	}
	return schemas.NoReason
}

// comma writes what stands between two members or elements.
func (r *Reader) comma(first *bool) {
	if !*first {
		r.out = append(r.out, ',')
	}
	*first = false
}

// blocks reads the blocks of an array or a map. A block's count below zero is
// followed by its size, which nobody needs who reads every element.
func (r *Reader) blocks(t *avroType) schemas.Reason {
	if reason := r.enter(); reason != schemas.NoReason {
		return reason
	}
	defer r.leave()
	first := true
	if !t.quiet {
		r.out = append(r.out, "[{"[t.op-opArray])
	}
	for {
		n, reason := r.long()
		if n < 0 && reason == schemas.NoReason {
			n = -n
			_, reason = r.long()
		}
		switch {
		case reason != schemas.NoReason:
			return reason
		case n < 0: // the least integer has no opposite
			return schemas.WireValue
		case n == 0:
			if !t.quiet {
				r.out = append(r.out, "]}"[t.op-opArray])
			}
			return schemas.NoReason
		}
		for range n {
			if reason := r.element(t, &first); reason != schemas.NoReason {
				return reason
			}
		}
	}
}

// element reads an element of an array, or a map's key and value.
func (r *Reader) element(t *avroType, first *bool) schemas.Reason {
	if !t.quiet {
		r.comma(first)
	}
	if t.op == opMap {
		key := &avroType{op: opString, quiet: t.quiet}
		if reason := r.bytes(key); reason != schemas.NoReason {
			return reason
		}
		if !t.quiet {
			r.out = append(r.out, ':')
		}
	}
	return r.value(t.types[0])
}

// long reads an integer: seven bits a byte, the least first, with the sign in the
// lowest bit.
func (r *Reader) long() (int64, schemas.Reason) {
	u, n := binary.Uvarint(r.in)
	if n <= 0 {
		if n == 0 {
			return 0, schemas.WireTruncated
		}
		return 0, schemas.WireValue
	}
	r.in = r.in[n:]
	return int64(u>>1) ^ -int64(u&1), schemas.NoReason
}

// take reads n bytes.
func (r *Reader) take(n int64) ([]byte, schemas.Reason) {
	switch {
	case n < 0:
		return nil, schemas.WireValue
	case n > int64(len(r.in)):
		return nil, schemas.WireTruncated
	}
	s := r.in[:n]
	r.in = r.in[n:]
	return s, schemas.NoReason
}
