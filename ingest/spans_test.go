package ingest

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// A sink is a collector that keeps what it is sent.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	bodies [][]byte
}

func newSink(t testing.TB) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bodies = append(s.bodies, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// tracer returns one that sends to s, and is closed by the test.
func (s *sink) tracer(t testing.TB, topic string, share float64) (*trace.Tracer, *trace.Metrics) {
	t.Helper()
	m := trace.NewMetrics(prometheus.NewRegistry())
	tracer, err := trace.New(trace.Config{URL: s.URL, Share: share, Topic: topic, Service: "test", Client: s.Client(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	return tracer, m
}

// traces returns the spans that came, by trace and name.
func (s *sink) traces(t testing.TB) map[string]map[string]*otlp.Span {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]*otlp.Span)
	for _, body := range s.bodies {
		var data otlp.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Fatal(err)
		}
		for _, span := range data.ResourceSpans[0].ScopeSpans[0].Spans {
			id := hex.EncodeToString(span.TraceId)
			if all[id] == nil {
				all[id] = make(map[string]*otlp.Span)
			}
			if all[id][span.Name] != nil {
				t.Errorf("trace %s has two spans of %s", id, span.Name)
			}
			all[id][span.Name] = span
		}
	}
	return all
}

// TestSpansFollowTransactions has a scorer and a recorder, which know nothing of one
// another, trace a third of the payments, and wants all of those in whole traces, no
// others, and nothing of whom they are about.
func TestSpansFollowTransactions(t *testing.T) {
	w := newWorld(t, "payments", 3)
	n := w.payments(600, 7, 3)
	var b kafka.BatchWriter
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for range 30 { // what the producer traces too, and cannot be decoded here
		b.Append(nil, []byte("{"), 1, []schemas.Header{{Key: []byte("traceparent"), Value: []byte(parent)}})
	}
	set, err := b.Finish(kafka.LZ4)
	w.must(err)
	_, err = w.log.Produce(t.Context(), w.topics.Transactions, 1, set)
	w.must(err)

	s := newSink(t)
	scorers, scored := s.tracer(t, w.topics.Transactions, 1./3)
	w.runUntil(n+30, func(c *Config) { c.Trace = scorers })
	scorers.Close()
	recorders, recorded := s.tracer(t, w.topics.Transactions, 1./3)
	store, err := history.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"), history.Options{})
	w.must(err)
	defer store.Close()
	_, err = store.Migrate(t.Context())
	w.must(err)
	w.traces = recorders
	w.record(t, store, func(_ context.CancelFunc, write func() error) error { return write() })
	recorders.Close()

	of, _ := s.tracer(t, w.topics.Transactions, 1./3)
	defer of.Close()
	got, spans, links := s.traces(t), 0, 0
	var e schemas.Entry
	for _, batch := range w.batches() {
		for _, v := range batch.values {
			w.must(schemas.ParseEntry(v, &e))
			d := &e.Decision
			if e.Kind != schemas.EntryDecision || !of.Sampled(&d.Place) {
				continue
			}
			want := []string{"history", "publish", "step", "transaction", "wait"}
			if d.Action != schemas.Allow {
				want = append([]string{"alert"}, want...)
			}
			id := of.ID(&d.Place)
			one := got[hex.EncodeToString(id[:])]
			delete(got, hex.EncodeToString(id[:]))
			if names := slices.Sorted(maps.Keys(one)); !slices.Equal(names, want) {
				t.Fatalf("partition %d offset %d, %v, has spans %q, not %q", d.Partition, d.Offset, d.Action, names, want)
			}
			isWhole(t, d, one)
			root := one["transaction"]
			if sent := d.Outcome == schemas.Rejected; sent != (len(root.Links) == 1 && hex.EncodeToString(root.Links[0].TraceId) == parent[3:35]) {
				t.Errorf("%v has links %v", d.Outcome, root.Links)
			}
			links += len(root.Links)
			spans += len(one)
			w.nothingOf(s, d)
		}
	}
	if len(got) > 0 || spans < 500 || links < 2 {
		t.Errorf("%d spans with %d links; and %d traces of what is not sampled", spans, links, len(got))
	}
	if sent := testutil.ToFloat64(scored.Sent) + testutil.ToFloat64(recorded.Sent); int(sent) != spans {
		t.Errorf("%v spans are counted as sent, %d came", sent, spans)
	}
}

// isWhole sees that the spans of a trace follow one another below one root.
func isWhole(t *testing.T, d *schemas.Decision, one map[string]*otlp.Span) {
	t.Helper()
	root := one["transaction"]
	for name, span := range one {
		if name != "transaction" && !bytes.Equal(span.ParentSpanId, root.SpanId) {
			t.Errorf("%s is of %x, not of %x", name, span.ParentSpanId, root.SpanId)
		}
	}
	if root.StartTimeUnixNano != uint64(d.Timestamp*1e6) || one["wait"].EndTimeUnixNano != one["step"].StartTimeUnixNano || one["publish"].StartTimeUnixNano != one["step"].EndTimeUnixNano ||
		root.EndTimeUnixNano < one["publish"].StartTimeUnixNano || one["history"].EndTimeUnixNano < root.EndTimeUnixNano {
		t.Errorf("partition %d offset %d: spans do not follow one another: %v", d.Partition, d.Offset, one)
	}
}

// nothingOf sees that no text of a transaction was sent to a collector: ids and tokens are
// longer than seven letters.
func (w *world) nothingOf(s *sink, d *schemas.Decision) {
	w.t.Helper()
	for f, text := range d.Text {
		for _, body := range s.bodies {
			if len(text) > 7 && bytes.Contains(body, text) {
				w.t.Fatalf("%v %q is told to the collector", schemas.TextField(f), text)
			}
		}
	}
}
