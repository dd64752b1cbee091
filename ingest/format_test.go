package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// plainTexts are the fields of the simulated bank's records that are plain text.
var plainTexts = []string{"id", "original_id", "currency", "card", "customer", "account", "counterparty", "merchant", "mcc", "terminal",
	"country", "channel", "entry_mode", "device", "ip"}

// An encoding turns records of the simulated bank into one of the registry's
// formats, by another implementation than weir's.
type encoding struct {
	format wireformat.Format
	schema string
	encode func(t *testing.T, record []byte) []byte
}

func avroPayments() encoding {
	var fields strings.Builder
	for _, f := range plainTexts {
		fmt.Fprintf(&fields, `{"name":%q,"type":["null","string"],"default":null},`, f)
	}
	schema := `{"type":"record","name":"Payment","namespace":"org.bank","fields":[` + fields.String() +
		`{"name":"type","type":{"type":"enum","name":"Type","symbols":["authorisation","capture","reversal","refund","transfer","payout"]}},
		{"name":"status","type":{"type":"enum","name":"Status","symbols":["approved","declined","unknown"]}},
		{"name":"unread","type":{"type":"map","values":["null","double"]}},
		{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":3}},
		{"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
	s := avro.MustParse(schema)
	return encoding{wireformat.Avro, schema, func(t *testing.T, record []byte) []byte {
		var in map[string]any
		if err := json.Unmarshal(record, &in); err != nil {
			t.Fatal(err)
		}
		amount, ok := new(big.Rat).SetString(in["amount"].(string))
		at, err := time.Parse(time.RFC3339, in["time"].(string))
		if !ok || err != nil {
			t.Fatalf("%s", record)
		}
		in["amount"], in["time"], in["unread"] = amount, at, map[string]any{"x": 1.5, "y": nil}
		data, err := s.Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		return framed(1, nil, data)
	}}
}

func protobufPayments(t *testing.T) encoding {
	var b strings.Builder
	b.WriteString("syntax = \"proto3\";\npackage bank;\nimport \"google/protobuf/timestamp.proto\";\nmessage Other { int32 x = 1; }\nmessage Payment {\n")
	for i, f := range plainTexts {
		fmt.Fprintf(&b, "  optional string %s = %d;\n", f, i+20)
	}
	b.WriteString("  enum Type { authorisation = 0; capture = 1; reversal = 2; refund = 3; transfer = 4; payout = 5; }\n" +
		"  enum Status { unknown = 0; approved = 1; declined = 2; }\n" +
		"  Type type = 1; Status status = 2; string amount = 3; google.protobuf.Timestamp time = 4;\n}\n")
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"bank.proto": b.String()})})}
	files, err := c.Compile(t.Context(), "bank.proto")
	if err != nil {
		t.Fatal(err)
	}
	d := files[0].Messages().ByName("Payment")
	return encoding{wireformat.Protobuf, b.String(), func(t *testing.T, record []byte) []byte {
		m := dynamicpb.NewMessage(d)
		if err := protojson.Unmarshal(record, m); err != nil {
			t.Fatalf("%v: %s", err, record)
		}
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return framed(1, []int{1}, data)
	}}
}

// framed puts a value in the wire format, of a schema's id.
func framed(id int, index []int, value []byte) []byte {
	var h sr.ConfluentHeader
	head, _ := h.AppendEncode(nil, id, index)
	return append(head, value...)
}

// registry starts a schema registry that holds one schema under the id 1.
func (w *world) registry(e encoding) (*srfake.Registry, *wireformat.Schemas) {
	w.t.Helper()
	r := srfake.New()
	w.t.Cleanup(r.Close)
	kind := sr.TypeAvro
	if e.format == wireformat.Protobuf {
		kind = sr.TypeProtobuf
	}
	r.SeedSchema("transactions-value", 1, 1, sr.Schema{Schema: e.schema, Type: kind})
	s, err := wireformat.NewSchemas(wireformat.Options{URLs: []string{r.URL()}, Format: e.format, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(w.logTo, nil))})
	w.must(err)
	return r, s
}

// encoded makes a world like another one, with the same records in another format.
func (w *world) encoded(t *testing.T, e encoding) *world {
	other := newWorld(t, "payments", 1)
	other.spec, other.bundle = w.spec, w.bundle
	for _, topic := range []struct{ from, to string }{{w.topics.Rates, other.topics.Rates}, {w.topics.Labels, other.topics.Labels}, {w.topics.Transactions, other.topics.Transactions}} {
		var f feed
		for _, r := range w.records(topic.from, 0) {
			if topic.from == w.topics.Transactions {
				r.Value = e.encode(t, r.Value)
			}
			f.add(r.Value, r.Timestamp)
		}
		f.send(other, topic.to, 0)
	}
	return other
}

// proved verifies a ledger whose source is in the registry's wire format.
func (w *world) proved(s *wireformat.Schemas) *Verifier {
	w.t.Helper()
	v, err := VerifyLog(w.t.Context(), Audit{Log: w.log, Topics: w.topics, Spec: w.spec, Tokens: w.tokens(), Wire: s,
		Bundles: func([32]byte) (*scoring.Bundle, scoring.Scorer, error) {
			return w.bundle, w32(w.t, w.bundle.Model), nil
		}})
	w.must(err)
	if !v.Report.OK() {
		w.t.Fatalf("%+v", v.Report)
	}
	return v
}

// taken returns the ledger's decisions, labels and rates; what else it holds names
// the topics, whose ids differ.
func (w *world) taken() (list [][]byte) {
	w.t.Helper()
	var e schemas.Entry
	for _, v := range w.ledger() {
		w.must(schemas.ParseEntry(v, &e))
		switch e.Kind {
		case schemas.EntryDecision, schemas.EntryLabel, schemas.EntryRate:
			list = append(list, v)
		}
	}
	return list
}

// TestFormatsDecideTheSame has the same payments come as JSON, as Avro and as
// Protobuf: the ledgers are the same byte for byte, and each is proved from its own
// source.
func TestFormatsDecideTheSame(t *testing.T) {
	plain := newWorld(t, "payments", 1)
	n := plain.payments(3000, 27, 1)
	plain.runUntil(n, nil)
	want := plain.taken()
	if r := plain.verify().Report; r.Scored < n/2 || r.Rejected > 0 {
		t.Fatalf("%+v", r)
	}
	for _, e := range []encoding{avroPayments(), protobufPayments(t)} {
		w := plain.encoded(t, e)
		_, s := w.registry(e)
		w.runUntil(n, func(c *Config) { c.Wire = s })
		got := w.taken()
		if len(got) != len(want) {
			t.Fatalf("%v: %d ledger records, want %d", e.format, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("%v: ledger record %d is\n%x\nwant\n%x", e.format, i, got[i], want[i])
			}
		}
		w.proved(s)
	}
}

// TestBadWireRecords sends records that are not what the registry says among good
// ones. Each has its reason in the ledger and its bytes in the dead-letter topic.
func TestBadWireRecords(t *testing.T) {
	w := newWorld(t, "payments", 1)
	text := strings.Replace(string(w.spec.Text), "\nlate 24h\n", "\nlate 24h\ndlq bytes\n", 1)
	s, err := spec.Parse("payments", []byte(text))
	w.must(err)
	w.use(s)
	e := avroPayments()
	_, known := w.registry(e)
	good := e.encode(t, []byte(`{"id":"p1","type":"transfer","status":"approved","time":"2026-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1"}`))
	zero := bytes.Clone(good) // of length 1, and no UTF-8
	zero[7] = 0xff
	var f feed
	var list []bad
	for _, c := range []decodetest.Case{
		{Check: "null", Reason: schemas.NullValue},
		{Check: "empty", Reason: schemas.WireTruncated, Value: []byte{}},
		{Check: "json", Reason: schemas.WireMagic, Value: []byte(`{"id":"p2"}`)},
		{Check: "head only", Reason: schemas.WireTruncated, Value: good[:4]},
		{Check: "unknown id", Reason: schemas.BadSchema, Value: framed(77, nil, good[5:])},
		{Check: "cut short", Reason: schemas.WireTruncated, Value: good[:len(good)-1]},
		{Check: "trailing", Reason: schemas.TrailingBytes, Value: append(bytes.Clone(good), 0)},
		{Check: "branch", Reason: schemas.WireValue, Value: framed(1, nil, []byte{4})},
		{Check: "utf-8", Reason: schemas.BadUTF8, Value: zero},
		{Check: "oversize", Reason: schemas.Oversize, Value: append(bytes.Clone(good), make([]byte, 1<<16)...)},
		{Check: "future", Reason: schemas.FutureTime, Value: e.encode(t, []byte(`{"id":"p3","type":"transfer","status":"approved","time":"2027-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1"}`))},
		{Check: "precision", Reason: schemas.AmountPrecision, Value: e.encode(t, []byte(`{"id":"p4","type":"transfer","status":"approved","time":"2026-01-02T03:04:05Z","amount":"1.505","currency":"EUR","customer":"c1"}`))},
	} {
		list = append(list, bad{Case: c, offset: int64(len(f.values))})
		f.add(c.Value, arrival)
	}
	f.add(good, arrival)
	f.send(w, w.topics.Transactions, 0)
	n := int64(len(f.values))
	r := w.start(func(c *Config) { c.Wire = known })
	r.decided(n)
	r.until("publishes the dead letters", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Dead) >= float64(len(list)) })
	r.stop()
	w.checkReasons(list, n)
	w.checkLetters(list, true)
	if r := w.proved(known).Report; r.Rejected != int64(len(list)) || r.Scored != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRegistryAway has the registry fail while the first records wait for it: the
// node says so and is not ready, nothing is decided and nothing rejected; once the
// registry answers all is decided as if it always had.
func TestRegistryAway(t *testing.T) {
	plain := newWorld(t, "payments", 1)
	n := plain.payments(200, 28, 1)
	e := avroPayments()
	w := plain.encoded(t, e)
	reg, s := w.registry(e)
	var asked atomic.Int64
	reg.Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		asked.Add(1)
		http.Error(rw, "away", http.StatusServiceUnavailable)
		return true
	})
	r := w.start(func(c *Config) { c.Wire = s })
	halted := func() float64 { return testutil.ToFloat64(r.node.Metrics.Halted.WithLabelValues("schema_registry")) }
	r.until("is held", func(s Status) bool { return asked.Load() > 3 && !s.Ready && halted() == 1 })
	if c := r.node.Status().Counts.Decisions(); c != 0 {
		t.Errorf("%d records are decided without their schema", c)
	}
	reg.ClearInterceptors()
	r.decided(n)
	r.until("is ready again", func(s Status) bool { return s.Ready })
	if testutil.ToFloat64(r.node.Metrics.Retries) < 3 || halted() != 0 {
		t.Error("what was tried again is not counted, or the node still says that it is halted")
	}
	r.stop()
	if r := w.proved(s).Report; r.Rejected > 0 || r.SourceRecords != n {
		t.Errorf("%+v", r)
	}
}
