// Package wiretest writes the simulated bank's payments in the wire format of a
// schema registry, for tests: the JSON of a payment goes in, the same payment as
// Avro or Protobuf comes out. Other implementations than weir's write it.
package wiretest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema is a schema as a registry keeps it, and what it refers to.
type Schema struct {
	Text    string
	Refers  []Schema
	Name    string // by which another one refers to it
	Subject string // of one that is referred to
}

// Encoding writes payments by a schema.
type Encoding struct {
	Type   sr.SchemaType
	Schema Schema
	index  []int // of the message in its file, of Protobuf
	value  func(record []byte) ([]byte, error)
}

// Encode returns the payment of a JSON record in the wire format, under the id
// that a registry gave to the schema.
func (e Encoding) Encode(id int, record []byte) ([]byte, error) {
	value, err := e.value(record)
	if err != nil {
		return nil, fmt.Errorf("write %s as %v: %w", record, e.Type, err)
	}
	return Frame(id, e.index, value), nil
}

// Frame puts a value behind the head of the wire format; the index is that of a
// message of Protobuf, nil for Avro.
func Frame(id int, index []int, value []byte) []byte {
	var h sr.ConfluentHeader
	head, _ := h.AppendEncode(nil, id, index)
	return append(head, value...)
}

// texts are the fields of the bank's records that are plain text.
var texts = []string{"id", "original_id", "currency", "card", "customer", "account", "counterparty", "merchant", "mcc", "terminal",
	"country", "channel", "entry_mode", "device", "ip"}

// avroType is what the schema of Avro refers to.
const avroType = `{"type":"enum","name":"Type","namespace":"org.bank","symbols":["authorisation","capture","reversal","refund","transfer","payout"]}`

// avroSchema is the schema of a payment, whose type has another schema, or its name.
func avroSchema(kind string) string {
	var b strings.Builder
	for _, f := range texts {
		fmt.Fprintf(&b, `{"name":%q,"type":["null","string"],"default":null},`, f)
	}
	return `{"type":"record","name":"Payment","namespace":"org.bank","fields":[` + b.String() + `{"name":"type","type":` + kind + `},
		{"name":"status","type":{"type":"enum","name":"Status","symbols":["approved","declined","unknown"]}},
		{"name":"unread","type":{"type":"map","values":["null","double"]}},
		{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":3}},
		{"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
}

// Avro returns an encoding as Avro: its schema refers to another one.
func Avro() (Encoding, error) {
	s, err := avro.Parse(avroSchema(avroType))
	if err != nil {
		return Encoding{}, fmt.Errorf("parse the schema of payments: %w", err)
	}
	return Encoding{Type: sr.TypeAvro,
		Schema: Schema{Text: avroSchema(`"org.bank.Type"`), Refers: []Schema{{Text: avroType, Name: "org.bank.Type", Subject: "payment-type"}}},
		value: func(record []byte) ([]byte, error) {
			var in map[string]any
			if err := json.Unmarshal(record, &in); err != nil {
				return nil, err
			}
			amount, ok := new(big.Rat).SetString(fmt.Sprint(in["amount"]))
			at, err := time.Parse(time.RFC3339, fmt.Sprint(in["time"]))
			if !ok || err != nil {
				return nil, fmt.Errorf("amount %v, time %v", in["amount"], in["time"])
			}
			in["amount"], in["time"], in["unread"] = amount, at, map[string]any{"x": 1.5, "y": nil}
			return s.Encode(in)
		}}, nil
}

// Protobuf returns an encoding as Protobuf, whose message is not the first of its
// file.
func Protobuf(ctx context.Context) (Encoding, error) {
	var b strings.Builder
	b.WriteString("syntax = \"proto3\";\npackage bank;\nimport \"google/protobuf/timestamp.proto\";\nmessage Other { int32 x = 1; }\nmessage Payment {\n")
	for i, f := range texts {
		fmt.Fprintf(&b, "  optional string %s = %d;\n", f, i+20)
	}
	b.WriteString("  enum Type { authorisation = 0; capture = 1; reversal = 2; refund = 3; transfer = 4; payout = 5; }\n" +
		"  enum Status { unknown = 0; approved = 1; declined = 2; }\n" +
		"  Type type = 1; Status status = 2; string amount = 3; google.protobuf.Timestamp time = 4;\n}\n")
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"bank.proto": b.String()})})}
	files, err := c.Compile(ctx, "bank.proto")
	if err != nil {
		return Encoding{}, fmt.Errorf("compile the schema of payments: %w", err)
	}
	d := files[0].Messages().ByName("Payment")
	return Encoding{Type: sr.TypeProtobuf, Schema: Schema{Text: b.String()}, index: []int{1}, value: func(record []byte) ([]byte, error) {
		m := dynamicpb.NewMessage(d)
		if err := protojson.Unmarshal(record, m); err != nil {
			return nil, err
		}
		return proto.Marshal(m)
	}}, nil
}
