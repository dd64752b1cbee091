package wireformat

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// Format is how the values of a topic are written.
type Format uint8

// The formats.
const (
	JSON     Format = iota // plain, without a registry
	Avro                   // binary, in the registry's wire format
	Protobuf               // likewise
)

var formatNames = [...]string{"json", "avro", "protobuf"}

func (f Format) String() string { return formatNames[f] }

// ParseFormat returns the format of a name.
func ParseFormat(name string) (Format, error) {
	for f, n := range formatNames {
		if n == name {
			return Format(f), nil
		}
	}
	return JSON, fmt.Errorf("%q: json, avro or protobuf", name)
}

// headBytes are the magic byte and the schema's id.
const headBytes = 5

// Reader turns records into JSON for a decoder of one spec. It belongs to one
// goroutine.
type Reader struct {
	schemas            *Schemas
	want               *want
	form               spec.TimeForm
	bytesMax, depthMax int
	programs           map[uint32]*program

	// Of the record that is being read:
	in     []byte // what is left of it, of Avro
	out    []byte
	depth  int
	budget int    // values, and bytes that are copied, which it may still have
	slots  []slot // of Protobuf's messages that are being read
	joined []byte // messages that came in pieces
}

// program is a schema compiled for a reader; empty where no record of it can be
// read.
type program struct {
	avro  *avroType
	proto *nest
}

// NewReader returns a reader of a checked spec's records.
func NewReader(s *Schemas, sp *spec.Spec) *Reader {
	in := &sp.Input
	return &Reader{schemas: s, want: wanted(in), form: in.Time.Form, bytesMax: in.MaxBytes, depthMax: in.MaxDepth,
		programs: make(map[uint32]*program)}
}

// JSON returns a record's JSON, or the reason for which the record is refused. The
// text is good until the next call. An error says that the registry gave no answer,
// and nothing of the record.
func (r *Reader) JSON(ctx context.Context, value []byte) ([]byte, schemas.Reason, error) {
	switch {
	case value == nil:
		return nil, schemas.NullValue, nil
	case len(value) > r.bytesMax:
		return nil, schemas.Oversize, nil
	case len(value) > 0 && value[0] != 0:
		return nil, schemas.WireMagic, nil
	case len(value) < headBytes:
		return nil, schemas.WireTruncated, nil
	}
	p, err := r.program(ctx, binary.BigEndian.Uint32(value[1:]))
	if err != nil {
		return nil, schemas.NoReason, err
	}
	r.out, r.joined, r.slots = r.out[:0], r.joined[:0], r.slots[:0]
	r.depth, r.budget = 0, r.bytesMax
	reason := schemas.BadSchema
	switch value = value[headBytes:]; {
	case p.avro != nil:
		r.in = value
		if reason = r.value(p.avro); reason == schemas.NoReason && len(r.in) > 0 {
			reason = schemas.TrailingBytes
		}
		r.in = nil
	case p.proto != nil:
		reason = r.indexed(p.proto, value)
	}
	if reason == schemas.NoReason && len(r.out) > r.bytesMax {
		reason = schemas.Oversize
	}
	return r.out, reason, nil
}

// unusable is the program of a schema that cannot be used.
var unusable = &program{}

// program returns the program of a schema's id. What the registry does not know is
// asked again with the next record; it keeps an answer for a while.
func (r *Reader) program(ctx context.Context, id uint32) (*program, error) {
	if p := r.programs[id]; p != nil {
		return p, nil
	}
	s, err := r.schemas.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return unusable, nil
	}
	p := unusable
	switch {
	case s.avro != nil:
		p = &program{avro: s.avro.compile(r.want)}
	case s.file != nil:
		p = &program{proto: newNest(nil, s.file.Messages())}
	}
	r.programs[id] = p
	return p, nil
}

// indexed reads the indexes of a message of Protobuf, and the message behind them.
func (r *Reader) indexed(n *nest, data []byte) schemas.Reason {
	count, data, reason := index(data)
	if reason != schemas.NoReason {
		return reason
	}
	if count == 0 { // stands for the first message of the file
		if n = n.at(0); n == nil {
			return schemas.BadSchema
		}
	}
	for range count {
		var i int64
		if i, data, reason = index(data); reason != schemas.NoReason {
			return reason
		}
		if n = n.at(i); n == nil {
			return schemas.BadSchema
		}
	}
	if n.desc == nil { // a count below zero
		return schemas.WireValue
	}
	if n.program == nil {
		n.program = compileMessage(n.desc, r.want)
	}
	return r.message(n.program, data)
}

func index(data []byte) (int64, []byte, schemas.Reason) {
	v, n := protowire.ConsumeVarint(data)
	if n < 0 {
		return 0, nil, wireReason(n)
	}
	return protowire.DecodeZigZag(v), data[n:], schemas.NoReason
}

// step accounts for a value.
func (r *Reader) step() schemas.Reason {
	if r.budget--; r.budget < 0 || len(r.out) > r.bytesMax {
		return schemas.Oversize
	}
	return schemas.NoReason
}

// enter goes into a record, a message, an array or a map; leave, out of it.
func (r *Reader) enter() schemas.Reason {
	if r.depth++; r.depth > r.depthMax {
		return schemas.TooDeep
	}
	return schemas.NoReason
}

func (r *Reader) leave() { r.depth-- }
