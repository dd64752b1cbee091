package wireformat

import (
	"context"
	"embed"
	"strconv"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mainFile stands for the file of the schema itself, which has no name.
const mainFile = "\x00"

// known are files that registries do not name as references of those that import
// them.
//
//go:embed known
var known embed.FS

// parseProto parses a .proto file, given those that it imports by their names.
func parseProto(ctx context.Context, text string, imports map[string]string) (protoreflect.FileDescriptor, error) {
	files := map[string]string{mainFile: text}
	for name, text := range imports {
		files[name] = text
	}
	own := &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(files)}
	builtin := protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
		f, err := known.Open("known/" + name)
		return protocompile.SearchResult{Source: f}, err
	})
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{own, builtin})}
	list, err := c.Compile(ctx, mainFile)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// nest is a message with those that it contains, as indexes name them; the file
// itself where it has no desc.
type nest struct {
	desc     protoreflect.MessageDescriptor
	inside   protoreflect.MessageDescriptors
	children []*nest
	program  *message // once it was needed
}

func newNest(desc protoreflect.MessageDescriptor, inside protoreflect.MessageDescriptors) *nest {
	return &nest{desc: desc, inside: inside, children: make([]*nest, inside.Len())}
}

// at returns the i-th message inside, nil where there is none.
func (n *nest) at(i int64) *nest {
	if i < 0 || i >= int64(len(n.children)) {
		return nil
	}
	if n.children[i] == nil {
		d := n.inside.Get(int(i))
		n.children[i] = newNest(d, d.Messages())
	}
	return n.children[i]
}

// form is how a message is written.
type form uint8

const (
	asObject  form = iota
	asValue        // its only field alone
	asTime         // of seconds and nanos
	asDecimal      // of value and scale
)

// forms are messages that stand for values. Their fields are those numbers, of
// those kinds.
var forms = map[protoreflect.FullName]struct {
	form    form
	numbers [2]protoreflect.FieldNumber
	kinds   [2]protoreflect.Kind
}{
	"google.protobuf.Timestamp":   {asTime, [2]protoreflect.FieldNumber{1, 2}, [2]protoreflect.Kind{protoreflect.Int64Kind, protoreflect.Int32Kind}},
	"confluent.type.Decimal":      {asDecimal, [2]protoreflect.FieldNumber{1, 3}, [2]protoreflect.Kind{protoreflect.BytesKind, protoreflect.Int32Kind}},
	"google.protobuf.DoubleValue": wrapper(protoreflect.DoubleKind),
	"google.protobuf.FloatValue":  wrapper(protoreflect.FloatKind),
	"google.protobuf.Int64Value":  wrapper(protoreflect.Int64Kind),
	"google.protobuf.UInt64Value": wrapper(protoreflect.Uint64Kind),
	"google.protobuf.Int32Value":  wrapper(protoreflect.Int32Kind),
	"google.protobuf.UInt32Value": wrapper(protoreflect.Uint32Kind),
	"google.protobuf.BoolValue":   wrapper(protoreflect.BoolKind),
	"google.protobuf.StringValue": wrapper(protoreflect.StringKind),
	"google.protobuf.BytesValue":  wrapper(protoreflect.BytesKind),
}

func wrapper(k protoreflect.Kind) (f struct {
	form    form
	numbers [2]protoreflect.FieldNumber
	kinds   [2]protoreflect.Kind
}) {
	f.form, f.numbers[0], f.kinds[0] = asValue, 1, k
	return f
}

// message is a message compiled for what is wanted of it.
type message struct {
	form     form
	quiet    bool // only checked
	fields   []protoField
	byNumber map[protowire.Number]int
	oneofs   [][]int // the fields of each
	values   [2]int  // the fields that a form is of
}

// protoField is a field of a message.
type protoField struct {
	key     []byte // with quotes and colon
	kind    protoreflect.Kind
	wire    protowire.Type
	list    bool // repeated; of a map it is its entries
	isMap   bool
	oneof   int      // in message.oneofs; -1 is none
	message *message // nil of a scalar
	names   map[protoreflect.EnumNumber][]byte
	without []byte // what is written where the record lacks it; nil is nothing
	quiet   bool
}

// compileMessage compiles a message for what is wanted of it.
func compileMessage(d protoreflect.MessageDescriptor, w *want) *message {
	c := &protoCompiler{done: make(map[protoPart]*message)}
	return c.message(d, w)
}

// protoPart is a message and what is wanted of it: recursive messages come to an
// end where both were met before.
type protoPart struct {
	name protoreflect.FullName
	want *want
}

type protoCompiler struct{ done map[protoPart]*message }

func (c *protoCompiler) message(d protoreflect.MessageDescriptor, w *want) *message {
	part := protoPart{d.FullName(), w}
	if m := c.done[part]; m != nil {
		return m
	}
	m := &message{quiet: w == nil, byNumber: make(map[protowire.Number]int)}
	c.done[part] = m
	if m.form = formOf(d); m.form != asObject {
		w = w.inside() // the fields of a form are written whatever they are called
	}
	m.oneofs = make([][]int, d.Oneofs().Len())
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		m.byNumber[fd.Number()] = i
		f := c.field(fd, w)
		if o := fd.ContainingOneof(); o != nil {
			f.oneof = o.Index()
			m.oneofs[f.oneof] = append(m.oneofs[f.oneof], i)
		}
		m.fields = append(m.fields, f)
	}
	for i, number := range forms[d.FullName()].numbers {
		m.values[i] = m.byNumber[number]
	}
	return m
}

// formOf returns how a message is written: a file of the bank's may have its own
// message of a name.
func formOf(d protoreflect.MessageDescriptor) form {
	f := forms[d.FullName()]
	for i, number := range f.numbers {
		if number == 0 {
			continue
		}
		if fd := d.Fields().ByNumber(number); fd == nil || fd.Kind() != f.kinds[i] || fd.IsList() || fd.HasPresence() {
			return asObject
		}
	}
	return f.form
}

func (c *protoCompiler) field(fd protoreflect.FieldDescriptor, w *want) protoField {
	name := string(fd.Name())
	wanted := w.child(name)
	if wanted == nil {
		if wanted = w.child(fd.JSONName()); wanted != nil {
			name = fd.JSONName()
		}
	}
	f := protoField{key: append(appendString(nil, []byte(name)), ':'), kind: fd.Kind(), wire: wireTypes[fd.Kind()],
		list: fd.Cardinality() == protoreflect.Repeated, isMap: fd.IsMap(), oneof: -1, quiet: wanted == nil}
	if f.list {
		wanted = wanted.inside()
	}
	if fd.Enum() != nil {
		f.names = make(map[protoreflect.EnumNumber][]byte)
		for values, i := fd.Enum().Values(), 0; i < values.Len(); i++ {
			if v := values.Get(i); f.names[v.Number()] == nil { // of aliases the first
				f.names[v.Number()] = appendString(nil, []byte(v.Name()))
			}
		}
	}
	switch {
	case fd.Message() != nil:
		f.message = c.message(fd.Message(), wanted)
	case f.quiet || f.list || wanted.time || fd.HasPresence() && !fd.ContainingMessage().IsMapEntry():
	default:
		f.without = f.zero()
	}
	return f
}

// zero is what is written of a scalar that has its type's default.
func (f *protoField) zero() []byte {
	switch f.kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return []byte(`""`)
	case protoreflect.BoolKind:
		return []byte("false")
	case protoreflect.EnumKind:
		return f.enum(nil, 0)
	}
	return []byte("0")
}

func (f *protoField) enum(dst []byte, v int32) []byte {
	if name := f.names[protoreflect.EnumNumber(v)]; name != nil {
		return append(dst, name...)
	}
	return strconv.AppendInt(dst, int64(v), 10)
}

var wireTypes = map[protoreflect.Kind]protowire.Type{
	protoreflect.BoolKind: protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType, protoreflect.Uint32Kind: protowire.VarintType,
	protoreflect.Int64Kind: protowire.VarintType, protoreflect.Sint64Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType,
	protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType, protoreflect.MessageKind: protowire.BytesType,
	protoreflect.GroupKind: protowire.StartGroupType,
}
