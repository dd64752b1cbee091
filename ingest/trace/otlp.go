package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// errLater is of a collector that may take the same spans later.
var errLater = errors.New("the collector does not take spans now")

// send sends spans in one request, and reports whether nothing more is to be done for
// them: they were taken, or refused for good.
func (t *Tracer) send(ctx context.Context, batch []Span) (done bool) {
	if len(batch) == 0 {
		return true
	}
	refused, err := t.post(ctx, batch)
	m := t.config.Metrics
	if err == nil {
		m.Sent.Add(float64(len(batch) - refused))
		m.refused.Add(float64(refused))
	}
	switch {
	case err == nil && t.away:
		t.config.Log.Info("the collector takes spans again")
	case err != nil && !t.away:
		t.config.Log.Warn("the collector does not take spans; decisions do not wait for it", "cause", err)
	}
	t.away = err != nil
	if err != nil && !errors.Is(err, errLater) {
		m.refused.Add(float64(len(batch)))
		return true
	}
	return err == nil
}

// answerMax is how much of a collector's answer is read.
const answerMax = 64 << 10

// post makes the request, and returns how many of the spans a collector that took it
// refused.
func (t *Tracer) post(ctx context.Context, batch []Span) (refused int, err error) {
	body, err := proto.Marshal(t.request(batch))
	if err != nil {
		return 0, fmt.Errorf("encode %d spans: %w", len(batch), err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, values := range t.config.Header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := t.config.Client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errLater, err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, answerMax)) // whole, so that the connection is used again
	switch answer.StatusCode {
	case http.StatusOK:
		return min(len(batch), refusedOf(text)), nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, fmt.Errorf("%w: it answers %s", errLater, answer.Status)
	}
	return 0, fmt.Errorf("the collector refuses spans: it answers %s", answer.Status)
}

// refusedOf reads from an ExportTraceServiceResponse how many spans were refused: its
// partial_success is field 1, and rejected_spans field 1 in that. The package with its
// type would bring gRPC in.
func refusedOf(answer []byte) (n int) {
	part, _ := field(answer, 1, protowire.BytesType)
	body, _ := protowire.ConsumeBytes(part)
	part, ok := field(body, 1, protowire.VarintType)
	if !ok {
		return 0
	}
	count, _ := protowire.ConsumeVarint(part)
	return int(min(count, math.MaxInt32))
}

// field returns what stands behind the tag of a message's first field of a number.
func field(message []byte, number protowire.Number, kind protowire.Type) (rest []byte, ok bool) {
	for len(message) > 0 {
		at, of, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		if message = message[n:]; at == number && of == kind {
			return message, true
		}
		if n = protowire.ConsumeFieldValue(at, of, message); n < 0 {
			return nil, false
		}
		message = message[n:]
	}
	return nil, false
}

// request makes an ExportTraceServiceRequest, which on the wire is the same as TracesData.
func (t *Tracer) request(batch []Span) *otlp.TracesData {
	spans := make([]*otlp.Span, len(batch))
	for i := range batch {
		spans[i] = t.span(&batch[i])
	}
	about := []*common.KeyValue{text("service.name", t.config.Service)}
	if t.config.Version != "" {
		about = append(about, text("service.version", t.config.Version))
	}
	if t.config.Node != "" {
		about = append(about, text("service.instance.id", t.config.Node))
	}
	return &otlp.TracesData{ResourceSpans: []*otlp.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: about},
		ScopeSpans: []*otlp.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "weir"}, Spans: spans}},
	}}}
}

// flags are those of every span: sampled, with an id whose rightmost bits are random.
const flags = 0x3

func (t *Tracer) span(s *Span) *otlp.Span {
	trace := t.ID(&s.Place)
	id := t.spanID(trace, s.Kind)
	out := &otlp.Span{
		TraceId: trace[:], SpanId: id[:], Name: s.Kind.String(), TraceState: t.state, Flags: flags,
		Kind: otlp.Span_SPAN_KIND_INTERNAL, StartTimeUnixNano: nanoseconds(s.Start), EndTimeUnixNano: nanoseconds(s.End),
	}
	if s.Records > 0 {
		out.Attributes = append(out.Attributes, number("weir.records", int64(s.Records)))
	}
	if s.Kind != Transaction {
		parent := t.spanID(trace, Transaction)
		out.ParentSpanId = parent[:]
		return out
	}
	out.Kind = otlp.Span_SPAN_KIND_CONSUMER
	d := &s.Decision
	out.Attributes = append(out.Attributes,
		text("messaging.system", "kafka"), text("messaging.destination.name", t.config.Topic),
		text("messaging.destination.partition.id", fmt.Sprint(s.Place.Partition)), number("messaging.kafka.offset", s.Place.Offset),
		number("weir.ledger.partition", int64(s.Shard)), number("weir.ledger.offset", s.Ledger),
		text("weir.outcome", d.Verdict.Outcome.String()), text("weir.reason", d.Verdict.Reason.String()), text("weir.action", d.Action.String()))
	if d.Bundle != 0 {
		out.Attributes = append(out.Attributes,
			fraction("weir.score", d.Score), fraction("weir.probability", d.Probability), text("weir.bundle", fmt.Sprintf("%016x", d.Bundle)))
	}
	if l := &s.Link; l.Trace != [16]byte{} {
		out.Links = []*otlp.Span_Link{{TraceId: l.Trace[:], SpanId: l.Span[:], Flags: uint32(l.Flags)}}
	}
	return out
}

// nanoseconds since the Unix epoch; records of Kafka may have no time.
func nanoseconds(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

func fraction(key string, value float32) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: float64(value)}}}
}
