package wireformat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weir-risk/weir/schemas"
)

// protoGen makes random .proto files, and messages of them.
type protoGen struct {
	avroGen
	maps bool // values may have maps
}

var protoScalars = []string{"double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
	"sfixed32", "sfixed64", "bool", "string", "bytes", "Kind"}

// file makes a file of several messages, one inside another; each may hold those
// before it and itself.
func (g *protoGen) file(syntax string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "syntax = %q;\npackage bank;\nimport \"google/protobuf/timestamp.proto\";\nimport \"google/protobuf/wrappers.proto\";\n", syntax)
	b.WriteString("enum Kind { NONE = 0; CARD = 1; TRANSFER = 7; BACK = -1; }\n")
	names := []string{"google.protobuf.Timestamp", "google.protobuf.StringValue", "google.protobuf.Int64Value", "google.protobuf.DoubleValue", "google.protobuf.BoolValue"}
	for i := range 3 {
		name := fmt.Sprintf("M%d", i)
		names = append(names, name)
		fmt.Fprintf(&b, "message %s {\n message Inner { optional int32 a = 1; repeated Inner more = 2; }\n", name)
		number := 0
		for f := range 2 + g.IntN(9) {
			number += 1 + g.IntN(3)*g.IntN(40)
			fmt.Fprintf(&b, " %s = %d;\n", g.field(fmt.Sprintf("some_field%d", f), syntax, append(names, name+".Inner")), number)
		}
		number++
		fmt.Fprintf(&b, " oneof choice { int32 c1 = %d; %s c2 = %d; string c3 = %d; }\n", number, names[g.IntN(len(names))], number+1, number+2)
		if syntax == "proto2" {
			fmt.Fprintf(&b, " optional group Grp = %d { optional int32 x = 1; }\n", number+3)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (g *protoGen) field(name, syntax string, messages []string) string {
	scalar := protoScalars[g.IntN(len(protoScalars))]
	if g.IntN(3) == 0 {
		scalar = messages[g.IntN(len(messages))]
	}
	key := []string{"string", "int32", "sint64", "bool", "fixed32"}[g.IntN(5)]
	label := ""
	if syntax == "proto2" {
		label = "optional "
	}
	switch g.IntN(8) {
	case 0, 1:
		label = "repeated "
	case 2:
		return fmt.Sprintf("map<%s, %s> %s", key, scalar, name)
	case 3:
		label = "optional "
	}
	return label + scalar + " " + name
}

// fill gives a message random values.
func (g *protoGen) fill(m protoreflect.Message, depth int) {
	if m.Descriptor().FullName() == "google.protobuf.Timestamp" {
		m.Set(m.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfInt64(secondsMin+g.Int64N(secondsMax-secondsMin)))
		m.Set(m.Descriptor().Fields().ByNumber(2), protoreflect.ValueOfInt32([]int32{0, g.Int32N(1e9), 5e8}[g.IntN(3)]))
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		isMessage := fd.Message() != nil && !fd.IsMap() || fd.IsMap() && fd.MapValue().Message() != nil
		if g.IntN(3) == 0 || isMessage && depth == 0 || fd.IsMap() && !g.maps {
			continue
		}
		switch {
		case fd.IsMap():
			for range g.IntN(3) {
				v := m.Mutable(fd).Map().NewValue()
				if fd.MapValue().Message() != nil {
					g.fill(v.Message(), depth-1)
				} else {
					v = g.scalarOf(fd.MapValue())
				}
				m.Mutable(fd).Map().Set(g.scalarOf(fd.MapKey()).MapKey(), v)
			}
		case fd.IsList():
			for range g.IntN(4) {
				if fd.Message() != nil {
					g.fill(m.Mutable(fd).List().AppendMutable().Message(), depth-1)
				} else {
					m.Mutable(fd).List().Append(g.scalarOf(fd))
				}
			}
		case fd.Message() != nil:
			g.fill(m.Mutable(fd).Message(), depth-1)
		default:
			m.Set(fd, g.scalarOf(fd))
		}
	}
}

func (g *protoGen) scalarOf(fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := g.long()
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n&1 == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum([]protoreflect.EnumNumber{0, 1, 7, -1}[g.IntN(4)])
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(math.Float32frombits(g.Uint32()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{math.Float64frombits(g.Uint64()), 12.34, math.Inf(-1)}[g.IntN(3)])
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(g.text())
	}
	return protoreflect.ValueOfBytes(g.bytes(g.IntN(9)))
}

// descriptor returns the message of an index in the schema of an id.
func (r *registry) descriptor(t testing.TB, id uint32, index ...int) protoreflect.MessageDescriptor {
	t.Helper()
	s, err := r.schemas.get(t.Context(), id)
	if err != nil || s == nil || s.file == nil {
		t.Fatal(err, r.log.String())
	}
	d := s.file.Messages().Get(index[0])
	for _, i := range index[1:] {
		d = d.Messages().Get(i)
	}
	return d
}

// sameProto sees that what the library reads of our JSON is what it reads of the
// bytes.
func sameProto(t *testing.T, text string, d protoreflect.MessageDescriptor, data []byte) {
	t.Helper()
	want, got := dynamicpb.NewMessage(d), dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(data, want); err != nil {
		t.Fatal(err)
	}
	forget(want)
	if err := protojson.Unmarshal([]byte(text), got); err != nil {
		t.Fatalf("%v: %s\nof %v", err, text, want)
	}
	if !proto.Equal(got, want) {
		t.Fatalf("%s\n%v\nwant\n%v", text, got, want)
	}
}

// forget drops what JSON does not hold.
func forget(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { forget(v.Message()); return true })
		case fd.IsMap():
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		case fd.Message() != nil && !fd.IsList():
			forget(v.Message())
		}
		return true
	})
}

// pieces are the fields of a message as they stand.
func pieces(data []byte) (list [][]byte) {
	for len(data) > 0 {
		_, _, n := protowire.ConsumeField(data)
		if n < 0 {
			panic(protowire.ParseError(n))
		}
		list, data = append(list, data[:n]), data[n:]
	}
	return list
}

// TestProtobufEqualsLibrary encodes random messages of random files by another
// implementation, cuts them in pieces whose order does not matter, appends a second
// message that is merged, and compares what the library makes of our JSON with what
// it makes of the bytes.
func TestProtobufEqualsLibrary(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &protoGen{avroGen: avroGen{Rand: rand.New(rand.NewPCG(seed, 0))}}
	r := newRegistry(t, Protobuf, `syntax = "proto3";`)
	records, sizes := 0, 0
	for id := 2; id < 120; id++ {
		r.seed(fmt.Sprint(id), id, g.file([]string{"proto2", "proto3"}[id%2]))
		reader := r.whole(t)
		reader.depthMax = 40
		for k := range 20 {
			index := []int{g.IntN(3)}
			if k%7 == 0 {
				index = append(index, 0)
			}
			d := r.descriptor(t, uint32(id), index...)
			var data []byte
			for g.maps = true; data == nil || g.IntN(3) == 0; g.maps = false {
				m := dynamicpb.NewMessage(d)
				g.fill(m, 4)
				more, err := proto.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				data = append(slices.Clip(data), more...)
				if data == nil {
					data = []byte{}
				}
			}
			data = protowire.AppendVarint(protowire.AppendTag(data, 100_000, protowire.VarintType), 5) // a field that is unknown
			text := reader.must(t, framed(id, index, data))
			sameProto(t, text, d, data)
			records, sizes = records+1, sizes+len(data)
			list := pieces(data)
			slices.Reverse(list)
			back := slices.Concat(list...)
			sameProto(t, reader.must(t, framed(id, index, back)), d, back)
			if err := proto.Unmarshal(data[:len(data)-1], dynamicpb.NewMessage(d)); err != nil {
				reader.refuses(t, "cut short", framed(id, index, data[:len(data)-1]), schemas.WireTruncated)
			}
		}
	}
	t.Logf("%d records, %d bytes in the mean", records, sizes/records)
}
