package wireformat

import (
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// avroSchema is a parsed schema and the named types that it may refer to.
type avroSchema struct {
	root  *avro.SchemaNode
	names map[string]*avro.SchemaNode
}

// parseAvro parses a schema and, before it, those that it refers to.
func parseAvro(text string, references []string) (*avroSchema, error) {
	s := &avroSchema{names: make(map[string]*avro.SchemaNode)}
	var cache avro.SchemaCache
	for _, t := range append(references, text) {
		// Names are whatever the bank's own tools let pass.
		parsed, err := cache.Parse(t, avro.WithLaxNames(nil))
		if err != nil {
			return nil, err
		}
		s.root = parsed.Root()
		s.define(s.root, "")
		if err := s.check(s.root, ""); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// define enters the named types in and below n.
func (s *avroSchema) define(n *avro.SchemaNode, space string) {
	switch n.Type {
	case "record", "error", "enum", "fixed":
		var full string
		full, space = fullName(n)
		s.names[full] = n
	}
	each(n, space, s.define)
}

// check sees that every name is that of a type, so that compiling cannot fail.
func (s *avroSchema) check(n *avro.SchemaNode, space string) (err error) {
	switch n.Type {
	case "record", "error":
		_, space = fullName(n)
	}
	if !builtin[n.Type] && s.find(n.Type, space) == nil {
		return fmt.Errorf("there is no type %q", n.Type)
	}
	each(n, space, func(n *avro.SchemaNode, space string) {
		if err == nil {
			err = s.check(n, space)
		}
	})
	return err
}

// find resolves a name from within a namespace.
func (s *avroSchema) find(name, space string) *avro.SchemaNode {
	if !strings.Contains(name, ".") && space != "" {
		if n := s.names[space+"."+name]; n != nil {
			return n
		}
	}
	return s.names[name]
}

// each calls do for the types directly below n, with the namespace they are in.
func each(n *avro.SchemaNode, space string, do func(n *avro.SchemaNode, space string)) {
	switch n.Type {
	case "record", "error":
		for i := range n.Fields {
			do(&n.Fields[i].Type, space)
		}
	case "array":
		do(n.Items, space)
	case "map":
		do(n.Values, space)
	case "union":
		for i := range n.Branches {
			do(&n.Branches[i], space)
		}
	}
}

// fullName returns a named type's full name and its namespace.
func fullName(n *avro.SchemaNode) (full, space string) {
	if dot := strings.LastIndexByte(n.Name, '.'); dot >= 0 {
		return n.Name, n.Name[:dot]
	}
	if n.Namespace == "" {
		return n.Name, ""
	}
	return n.Namespace + "." + n.Name, n.Namespace
}

var builtin = map[string]bool{"null": true, "boolean": true, "int": true, "long": true, "float": true, "double": true, "bytes": true,
	"string": true, "record": true, "error": true, "enum": true, "array": true, "map": true, "fixed": true, "union": true}

// op is what a value of Avro is.
type op uint8

const (
	opNull op = iota
	opBoolean
	opInt
	opLong
	opFloat
	opDouble
	opBytes
	opString
	opFixed
	opEnum
	opRecord
	opArray
	opMap
	opUnion
	opDecimal // of bytes, or of size bytes
	opUUID    // of 16 bytes
	opDate
	opTimeMillis
	opTimeMicros
	opTimestamp // in units of 10^-digits seconds
)

var ops = map[string]op{"null": opNull, "boolean": opBoolean, "int": opInt, "long": opLong, "float": opFloat, "double": opDouble,
	"bytes": opBytes, "string": opString, "fixed": opFixed, "enum": opEnum, "record": opRecord, "error": opRecord,
	"array": opArray, "map": opMap, "union": opUnion}

// logical are the logical types that change what is written, by the type below
// them and their name. Others are what is below them.
var logical = map[string]struct {
	op     op
	digits int
}{
	"bytes decimal": {opDecimal, 0}, "fixed decimal": {opDecimal, 0}, "fixed uuid": {opUUID, 0}, "int date": {opDate, 0},
	"int time-millis": {opTimeMillis, 0}, "long time-micros": {opTimeMicros, 0},
	"long timestamp-millis": {opTimestamp, 3}, "long timestamp-micros": {opTimestamp, 6}, "long timestamp-nanos": {opTimestamp, 9},
	"long local-timestamp-millis": {opTimestamp, 3}, "long local-timestamp-micros": {opTimestamp, 6}, "long local-timestamp-nanos": {opTimestamp, 9},
}

// avroType is a type compiled for what is wanted of it.
type avroType struct {
	op      op
	quiet   bool        // only checked
	size    int         // of fixed
	scale   int64       // of a decimal
	unit    int64       // of a timestamp: how many are a second
	keys    [][]byte    // of a record's fields, with quotes and colon
	types   []*avroType // of fields, branches, or the one of elements
	symbols [][]byte    // of an enum, with quotes
}

// compile compiles the schema for what is wanted of a record.
func (s *avroSchema) compile(w *want) *avroType {
	c := &avroCompiler{avroSchema: s, done: make(map[avroPart]*avroType)}
	return c.compile(s.root, "", w)
}

// avroPart is a named type and what is wanted of it: recursive types come to an
// end where both were met before.
type avroPart struct {
	node *avro.SchemaNode
	want *want
}

type avroCompiler struct {
	*avroSchema
	done map[avroPart]*avroType
}

func (c *avroCompiler) compile(n *avro.SchemaNode, space string, w *want) *avroType {
	if !builtin[n.Type] {
		n = c.find(n.Type, space)
	}
	if t := c.done[avroPart{n, w}]; t != nil {
		return t
	}
	t := &avroType{op: ops[n.Type], quiet: w == nil, size: n.Size, scale: int64(n.Scale)}
	if l, ok := logical[n.Type+" "+n.LogicalType]; ok && (l.op != opUUID || n.Size == 16) {
		t.op, t.unit = l.op, 1
		for range l.digits {
			t.unit *= 10
		}
	}
	for _, symbol := range n.Symbols {
		t.symbols = append(t.symbols, appendString(nil, []byte(symbol)))
	}
	switch n.Type {
	case "record", "error":
		c.done[avroPart{n, w}] = t
		_, space = fullName(n)
		for i := range n.Fields {
			f := &n.Fields[i]
			t.keys = append(t.keys, append(appendString(nil, []byte(f.Name)), ':'))
			t.types = append(t.types, c.compile(&f.Type, space, w.child(f.Name)))
		}
	case "array", "map":
		each(n, space, func(n *avro.SchemaNode, space string) { t.types = append(t.types, c.compile(n, space, w.inside())) })
	case "union":
		each(n, space, func(n *avro.SchemaNode, space string) { t.types = append(t.types, c.compile(n, space, w)) })
	}
	return t
}
