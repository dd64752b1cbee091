package ingest

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/ingest/decode/wiretest"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// paymentsAs returns the encodings of the bank's payments.
func paymentsAs(t *testing.T) (asAvro, asProtobuf wiretest.Encoding) {
	t.Helper()
	asAvro, err := wiretest.Avro()
	if err != nil {
		t.Fatal(err)
	}
	if asProtobuf, err = wiretest.Protobuf(t.Context()); err != nil {
		t.Fatal(err)
	}
	return asAvro, asProtobuf
}

// schemaID is what the payments' schema is registered under.
const schemaID = 1

// registry starts a schema registry that holds a schema, and what it refers to.
func (w *world) registry(e wiretest.Encoding) (*srfake.Registry, *wireformat.Schemas) {
	w.t.Helper()
	r := srfake.New()
	w.t.Cleanup(r.Close)
	format := wireformat.Avro
	if e.Type == sr.TypeProtobuf {
		format = wireformat.Protobuf
	}
	var refs []sr.SchemaReference
	for i, ref := range e.Schema.Refers {
		r.SeedSchema(ref.Subject, 1, schemaID+1+i, sr.Schema{Schema: ref.Text, Type: e.Type})
		refs = append(refs, sr.SchemaReference{Name: ref.Name, Subject: ref.Subject, Version: 1})
	}
	r.SeedSchema("transactions-value", 1, schemaID, sr.Schema{Schema: e.Schema.Text, Type: e.Type, References: refs})
	s, err := wireformat.NewSchemas(wireformat.Options{URLs: []string{r.URL()}, Format: format, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(w.logTo, nil))})
	w.must(err)
	return r, s
}

// encode writes a record of the bank's in an encoding.
func (w *world) encode(e wiretest.Encoding, record []byte) []byte {
	w.t.Helper()
	value, err := e.Encode(schemaID, record)
	w.must(err)
	return value
}

// encoded makes a world like another one, with the same records in another format.
func (w *world) encoded(t *testing.T, e wiretest.Encoding) *world {
	other := newWorld(t, "payments", 1)
	other.spec, other.bundle = w.spec, w.bundle
	for _, topic := range []struct{ from, to string }{{w.topics.Rates, other.topics.Rates}, {w.topics.Labels, other.topics.Labels}, {w.topics.Transactions, other.topics.Transactions}} {
		var f feed
		for _, r := range w.records(topic.from, 0) {
			if topic.from == w.topics.Transactions {
				r.Value = w.encode(e, r.Value)
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
		Bundles: func(_, _ [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
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
	asAvro, asProtobuf := paymentsAs(t)
	for _, e := range []wiretest.Encoding{asAvro, asProtobuf} {
		w := plain.encoded(t, e)
		_, s := w.registry(e)
		w.runUntil(n, func(c *Config) { c.Wire = s })
		got := w.taken()
		if len(got) != len(want) {
			t.Fatalf("%v: %d ledger records, want %d", e.Type, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("%v: ledger record %d is\n%x\nwant\n%x", e.Type, i, got[i], want[i])
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
	e, _ := paymentsAs(t)
	_, known := w.registry(e)
	good := w.encode(e, []byte(`{"id":"p1","type":"transfer","status":"approved","time":"2026-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1"}`))
	zero := bytes.Clone(good) // of length 1, and no UTF-8
	zero[7] = 0xff
	var f feed
	var list []bad
	for _, c := range []decodetest.Case{
		{Check: "null", Reason: schemas.NullValue},
		{Check: "empty", Reason: schemas.WireTruncated, Value: []byte{}},
		{Check: "json", Reason: schemas.WireMagic, Value: []byte(`{"id":"p2"}`)},
		{Check: "head only", Reason: schemas.WireTruncated, Value: good[:4]},
		{Check: "unknown id", Reason: schemas.BadSchema, Value: wiretest.Frame(77, nil, good[5:])},
		{Check: "cut short", Reason: schemas.WireTruncated, Value: good[:len(good)-1]},
		{Check: "trailing", Reason: schemas.TrailingBytes, Value: append(bytes.Clone(good), 0)},
		{Check: "branch", Reason: schemas.WireValue, Value: wiretest.Frame(1, nil, []byte{4})},
		{Check: "utf-8", Reason: schemas.BadUTF8, Value: zero},
		{Check: "oversize", Reason: schemas.Oversize, Value: append(bytes.Clone(good), make([]byte, 1<<16)...)},
		{Check: "future", Reason: schemas.FutureTime, Value: w.encode(e, []byte(`{"id":"p3","type":"transfer","status":"approved","time":"2027-01-02T03:04:05Z","amount":"1.50","currency":"EUR","customer":"c1"}`))},
		{Check: "precision", Reason: schemas.AmountPrecision, Value: w.encode(e, []byte(`{"id":"p4","type":"transfer","status":"approved","time":"2026-01-02T03:04:05Z","amount":"1.505","currency":"EUR","customer":"c1"}`))},
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
	e, _ := paymentsAs(t)
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
