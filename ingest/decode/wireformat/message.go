package wireformat

import (
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weir-risk/weir/schemas"
)

// slot is the value of a singular field, as far as its message is read. Of a
// repeated field it says that there are values.
type slot struct {
	set    bool
	number uint64 // of a varint or of fixed bytes
	data   []byte // of anything else
}

// message reads a message: its fields come in any order, so that each is found
// first and then written in the order in which they are declared.
func (r *Reader) message(m *message, data []byte) schemas.Reason {
	if reason := r.step(); reason != schemas.NoReason {
		return reason
	}
	if reason := r.enter(); reason != schemas.NoReason {
		return reason
	}
	base := len(r.slots)
	for range m.fields {
		r.slots = append(r.slots, slot{})
	}
	reason := r.scan(m, data, base)
	if reason == schemas.NoReason {
		reason = r.write(m, data, base)
	}
	r.slots = r.slots[:base]
	r.leave()
	return reason
}

// scan finds the values of a message's fields.
func (r *Reader) scan(m *message, data []byte, base int) schemas.Reason {
	for len(data) > 0 {
		number, wire, raw, rest, reason := field(data)
		if reason != schemas.NoReason {
			return reason
		}
		data = rest
		i, known := m.byNumber[number]
		if !known || !m.fields[i].takes(wire) {
			continue
		}
		f := &m.fields[i]
		switch {
		case f.list && f.quiet:
			if reason := r.values(f, wire, raw, nil); reason != schemas.NoReason {
				return reason
			}
		case f.list:
			r.slots[base+i].set = true
		default:
			if reason := r.fill(m, f, base, i, raw); reason != schemas.NoReason {
				return reason
			}
		}
	}
	return schemas.NoReason
}

// fill gives a singular field a value; the last one counts, and of messages the
// sum of all.
func (r *Reader) fill(m *message, f *protoField, base, i int, raw []byte) schemas.Reason {
	if f.oneof >= 0 {
		for _, k := range m.oneofs[f.oneof] {
			if k != i {
				r.slots[base+k] = slot{}
			}
		}
	}
	s, before := &r.slots[base+i], r.slots[base+i]
	*s = read(f.wire, raw)
	if f.message == nil || !before.set {
		return schemas.NoReason
	}
	if r.budget -= len(before.data) + len(s.data); r.budget < 0 {
		return schemas.Oversize
	}
	from := len(r.joined)
	r.joined = append(append(r.joined, before.data...), s.data...)
	s.data = r.joined[from:len(r.joined):len(r.joined)]
	return schemas.NoReason
}

// write writes a message whose fields are found, in its form.
func (r *Reader) write(m *message, data []byte, base int) schemas.Reason {
	one, two := slot{}, slot{}
	if m.form != asObject {
		one, two = r.slots[base+m.values[0]], r.slots[base+m.values[1]]
	}
	switch m.form {
	case asValue:
		return r.single(&m.fields[m.values[0]], one)
	case asTime:
		nanos := int32(two.number)
		if nanos < 0 || nanos >= 1e9 {
			return schemas.WireValue
		}
		if m.quiet {
			return schemas.NoReason
		}
		var ok bool
		if r.out, ok = appendTime(r.out, r.form, int64(one.number), int64(nanos)); !ok {
			return schemas.AbsurdTime
		}
		return schemas.NoReason
	case asDecimal:
		if m.quiet {
			return schemas.NoReason
		}
		var ok bool
		if r.out, ok = appendDecimal(r.out, one.data, int64(int32(two.number))); !ok {
			return schemas.WireValue
		}
		return schemas.NoReason
	}
	return r.object(m, data, base)
}

// object writes a message as an object.
func (r *Reader) object(m *message, data []byte, base int) schemas.Reason {
	if !m.quiet {
		r.out = append(r.out, '{')
	}
	first := true
	for i := range m.fields {
		f, s := &m.fields[i], r.slots[base+i]
		if !s.set && f.without == nil {
			continue
		}
		if !f.quiet {
			r.comma(&first)
			r.out = append(r.out, f.key...)
		}
		reason := schemas.NoReason
		if f.list {
			reason = r.list(m, i, data)
		} else {
			reason = r.single(f, s)
		}
		if reason != schemas.NoReason {
			return reason
		}
	}
	if !m.quiet {
		r.out = append(r.out, '}')
	}
	return schemas.NoReason
}

// single writes the value of a singular field, or its default.
func (r *Reader) single(f *protoField, s slot) schemas.Reason {
	switch {
	case !s.set:
		r.out = append(r.out, f.without...)
		return schemas.NoReason
	case f.message != nil:
		return r.message(f.message, s.data)
	}
	return r.scalar(f, s)
}

// list writes the values of a repeated field or a map, which is read through once
// more for it.
func (r *Reader) list(m *message, i int, data []byte) schemas.Reason {
	if reason := r.enter(); reason != schemas.NoReason {
		return reason
	}
	f, first := &m.fields[i], true
	brackets := "[]"
	if f.isMap {
		brackets = "{}"
	}
	r.out = append(r.out, brackets[0])
	for len(data) > 0 {
		number, wire, raw, rest, reason := field(data)
		if reason != schemas.NoReason {
			return reason
		}
		data = rest
		if k, known := m.byNumber[number]; known && k == i && f.takes(wire) {
			if reason := r.values(f, wire, raw, &first); reason != schemas.NoReason {
				return reason
			}
		}
	}
	r.out = append(r.out, brackets[1])
	r.leave()
	return schemas.NoReason
}

// values writes the values of one piece of a repeated field: several where they
// are packed. first is nil where they are only checked.
func (r *Reader) values(f *protoField, wire protowire.Type, raw []byte, first *bool) schemas.Reason {
	if wire == f.wire {
		return r.one(f, read(wire, raw), first)
	}
	packed, _ := protowire.ConsumeBytes(raw)
	for len(packed) > 0 {
		n := protowire.ConsumeFieldValue(1, f.wire, packed)
		if n < 0 {
			return wireReason(n)
		}
		if reason := r.one(f, read(f.wire, packed[:n]), first); reason != schemas.NoReason {
			return reason
		}
		packed = packed[n:]
	}
	return schemas.NoReason
}

// one writes one value of a repeated field.
func (r *Reader) one(f *protoField, s slot, first *bool) schemas.Reason {
	if !f.quiet {
		r.comma(first)
	}
	switch {
	case f.isMap && !f.quiet:
		return r.entry(f.message, s.data)
	case f.message != nil:
		return r.message(f.message, s.data)
	}
	return r.scalar(f, s)
}

// entry writes an entry of a map: a message of key and value.
func (r *Reader) entry(m *message, data []byte) schemas.Reason {
	if reason := r.step(); reason != schemas.NoReason {
		return reason
	}
	base := len(r.slots)
	for range m.fields {
		r.slots = append(r.slots, slot{})
	}
	if reason := r.scan(m, data, base); reason != schemas.NoReason {
		return reason
	}
	k, v := m.byNumber[1], m.byNumber[2]
	quoted := m.fields[k].kind == protoreflect.StringKind
	if !quoted {
		r.out = append(r.out, '"')
	}
	if reason := r.single(&m.fields[k], r.slots[base+k]); reason != schemas.NoReason {
		return reason
	}
	if !quoted {
		r.out = append(r.out, '"')
	}
	r.out = append(r.out, ':')
	f, s := &m.fields[v], r.slots[base+v]
	s.set = s.set || f.message != nil // an empty message is one too
	reason := r.single(f, s)
	r.slots = r.slots[:base]
	return reason
}

// scalar writes a value that is no message.
func (r *Reader) scalar(f *protoField, s slot) schemas.Reason {
	if reason := r.step(); reason != schemas.NoReason {
		return reason
	}
	if f.kind == protoreflect.StringKind && !utf8.Valid(s.data) {
		return schemas.BadUTF8
	}
	if f.quiet {
		return schemas.NoReason
	}
	switch v := s.number; f.kind {
	case protoreflect.StringKind:
		r.out = appendString(r.out, s.data)
	case protoreflect.BytesKind:
		r.out = appendBase64(r.out, s.data)
	case protoreflect.BoolKind:
		r.out = strconv.AppendBool(r.out, v != 0)
	case protoreflect.EnumKind:
		r.out = f.enum(r.out, int32(v))
	case protoreflect.FloatKind:
		r.out = appendFloat(r.out, float64(math.Float32frombits(uint32(v))), 32)
	case protoreflect.DoubleKind:
		r.out = appendFloat(r.out, math.Float64frombits(v), 64)
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		r.out = strconv.AppendInt(r.out, int64(int32(v)), 10)
	case protoreflect.Sint32Kind:
		r.out = strconv.AppendInt(r.out, int64(int32(protowire.DecodeZigZag(v&math.MaxUint32))), 10)
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		r.out = strconv.AppendInt(r.out, int64(v), 10)
	case protoreflect.Sint64Kind:
		r.out = strconv.AppendInt(r.out, protowire.DecodeZigZag(v), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		r.out = strconv.AppendUint(r.out, v&math.MaxUint32, 10)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		r.out = strconv.AppendUint(r.out, v, 10)
	}
	return schemas.NoReason
}

// takes reports whether a field's values come in a wire type; with another one it
// is none of the field's. Scalars that are repeated may be packed.
func (f *protoField) takes(wire protowire.Type) bool {
	return wire == f.wire || f.list && wire == protowire.BytesType && f.wire != protowire.StartGroupType
}

// field reads a field from the front of a message: raw is its value, of a group
// without its end.
func field(data []byte) (number protowire.Number, wire protowire.Type, raw, rest []byte, reason schemas.Reason) {
	number, wire, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0, 0, nil, nil, wireReason(n)
	}
	data = data[n:]
	if wire == protowire.StartGroupType {
		raw, n = protowire.ConsumeGroup(number, data)
	} else if n = protowire.ConsumeFieldValue(number, wire, data); n >= 0 {
		raw = data[:n]
	}
	if n < 0 {
		return 0, 0, nil, nil, wireReason(n)
	}
	return number, wire, raw, data[n:], schemas.NoReason
}

// read reads a value whose bytes are those of its wire type.
func read(wire protowire.Type, raw []byte) slot {
	s := slot{set: true}
	switch wire {
	case protowire.VarintType:
		s.number, _ = protowire.ConsumeVarint(raw)
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(raw)
		s.number = uint64(v)
	case protowire.Fixed64Type:
		s.number, _ = protowire.ConsumeFixed64(raw)
	case protowire.BytesType:
		s.data, _ = protowire.ConsumeBytes(raw)
	case protowire.StartGroupType:
		s.data = raw
	}
	return s
}

// wireReason is the reason of an error of protowire.
func wireReason(n int) schemas.Reason {
	if protowire.ParseError(n) == io.ErrUnexpectedEOF {
		return schemas.WireTruncated
	}
	return schemas.WireValue
}
