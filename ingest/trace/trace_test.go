package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weir-risk/weir/schemas"
)

// collector is the far end of a tracer's requests.
type collector struct {
	mu     sync.Mutex
	status int    // 0: it does not answer at all; -1: it never does
	answer []byte // the body
	asked  int
	header http.Header
	url    string
	spans  []*otlp.Span
	of     *otlp.ResourceSpans
}

func (c *collector) says(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// RoundTrip implements http.RoundTripper.
func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.header, c.url = r.Header, r.URL.String()
	switch c.status {
	case 0:
		return nil, errors.New("connection refused")
	case -1:
		c.mu.Unlock()
		<-r.Context().Done()
		c.mu.Lock()
		return nil, r.Context().Err()
	case http.StatusOK:
		var data otlp.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			return nil, err
		}
		c.of = data.ResourceSpans[0]
		c.spans = append(c.spans, c.of.ScopeSpans[0].Spans...)
	}
	return &http.Response{StatusCode: c.status, Status: http.StatusText(c.status), Body: io.NopCloser(bytes.NewReader(c.answer))}, nil
}

func start(t testing.TB, c *collector, share float64) (*Tracer, *Metrics, *bytes.Buffer) {
	t.Helper()
	m, log := NewMetrics(prometheus.NewRegistry()), &bytes.Buffer{}
	tracer, err := New(Config{URL: "http://collector:4318", Share: share, Topic: "transactions", Service: "weir-score", Version: "1", Node: "n1",
		Header: http.Header{"Authorization": {"Bearer s3cret"}}, Client: &http.Client{Transport: c}, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	return tracer, m, log
}

func at(offset int64) *schemas.Place { return &schemas.Place{Partition: 3, Offset: offset} }

func spanAt(offset int64, k Kind) Span {
	return Span{Kind: k, Place: *at(offset), Start: time.Unix(100, 5), End: time.Unix(101, 7)}
}

// counts are the spans sent, and those dropped by reason.
func (m *Metrics) counts() [4]int {
	n := func(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }
	return [4]int{n(m.Sent), n(m.full), n(m.refused), n(m.stopped)}
}

func wants(t *testing.T, m *Metrics, want [4]int) {
	t.Helper()
	if got := m.counts(); got != want {
		t.Errorf("spans sent, dropped because the queue was full, refused, dropped at the stop: %v, want %v", got, want)
	}
}

func TestSpansSayWhatTheyAreOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{status: http.StatusOK}
		tracer, m, _ := start(t, c, 1)
		root := spanAt(77, Transaction)
		root.Shard, root.Ledger = 0, 90
		root.Decision = Decision{Verdict: schemas.Verdict{Outcome: schemas.Scored}, Action: schemas.Review, Score: .5, Probability: .25, Bundle: 0xab}
		root.Link = Link{Trace: [16]byte{1}, Span: [8]byte{2}, Flags: 1}
		tracer.Add(root)
		child := spanAt(77, History)
		child.End = child.Start.Add(-time.Second) // another machine's clock is behind
		child.Records = 5
		tracer.Add(child)
		tracer.Close()
		wants(t, m, [4]int{2, 0, 0, 0})
		if c.url != "http://collector:4318/v1/traces" || c.header.Get("Content-Type") != "application/x-protobuf" || c.header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("asked %s with %v", c.url, c.header)
		}
		a, b := c.spans[0], c.spans[1]
		id := tracer.ID(at(77))
		if !bytes.Equal(a.TraceId, id[:]) || !bytes.Equal(b.TraceId, id[:]) || !bytes.Equal(b.ParentSpanId, a.SpanId) || len(a.ParentSpanId) != 0 || bytes.Equal(a.SpanId, b.SpanId) {
			t.Errorf("not a trace of a root and a child: %v, %v", a, b)
		}
		if a.Name != "transaction" || a.Kind != otlp.Span_SPAN_KIND_CONSUMER || b.Name != "history" || b.Kind != otlp.Span_SPAN_KIND_INTERNAL {
			t.Errorf("%s is %s, %s is %s", a.Name, a.Kind, b.Name, b.Kind)
		}
		if a.StartTimeUnixNano != 100e9+5 || a.EndTimeUnixNano != 101e9+7 || b.EndTimeUnixNano != b.StartTimeUnixNano {
			t.Errorf("times %d to %d, and %d to %d", a.StartTimeUnixNano, a.EndTimeUnixNano, b.StartTimeUnixNano, b.EndTimeUnixNano)
		}
		if l := a.Links; len(l) != 1 || l[0].TraceId[0] != 1 || l[0].SpanId[0] != 2 || len(b.Links) != 0 {
			t.Errorf("links %v, %v", l, b.Links)
		}
		got := attributes(a)
		for key, want := range map[string]string{
			"messaging.system": "kafka", "messaging.destination.name": "transactions", "messaging.destination.partition.id": "3", "messaging.kafka.offset": "77",
			"weir.ledger.partition": "0", "weir.ledger.offset": "90", "weir.outcome": "scored", "weir.reason": "none", "weir.action": "review",
			"weir.score": "0.5", "weir.probability": "0.25", "weir.bundle": "00000000000000ab",
		} {
			if got[key] != want {
				t.Errorf("%s is %q, not %q", key, got[key], want)
			}
			delete(got, key)
		}
		if len(got) > 0 || attributes(b)["weir.records"] != "5" || len(attributes(b)) != 1 {
			t.Errorf("attributes besides: %v; of the child: %v", got, attributes(b))
		}
		about := make(map[string]string)
		for _, kv := range c.of.Resource.Attributes {
			about[kv.Key] = kv.Value.GetStringValue()
		}
		if about["service.name"] != "weir-score" || about["service.version"] != "1" || about["service.instance.id"] != "n1" {
			t.Errorf("of %v", about)
		}
	})
}

// attributes are a span's, as text.
func attributes(s *otlp.Span) map[string]string {
	all := make(map[string]string)
	for _, kv := range s.Attributes {
		_, text, _ := strings.Cut(strings.ReplaceAll(kv.Value.String(), `"`, ""), ":")
		all[kv.Key] = strings.TrimSpace(text)
	}
	return all
}

// TestSampledFollowsFromTheID holds sampling to the rule of collectors' samplers: the
// rightmost 56 bits of the id against what the spans' tracestate says.
func TestSampledFollowsFromTheID(t *testing.T) {
	const n = 20_000
	least := map[string]uint64{"": 1 << 56, "ot=th:0": 0, "ot=th:8": 1 << 55, "ot=th:fd70a3d70a3d7": 0xfd70a3d70a3d70}
	var fewer [n]bool
	for _, x := range []struct {
		share float64
		state string
	}{{0, ""}, {.01, "ot=th:fd70a3d70a3d7"}, {.5, "ot=th:8"}, {1, "ot=th:0"}} {
		tracer, _, _ := start(t, &collector{status: http.StatusOK}, x.share)
		defer tracer.Close()
		if tracer.state != x.state {
			t.Errorf("a share of %v is %q, not %q", x.share, tracer.state, x.state)
		}
		taken := 0
		for i := range fewer {
			id := tracer.ID(at(int64(i)))
			sampled := tracer.Sampled(at(int64(i)))
			if want := binary.BigEndian.Uint64(id[8:])&(1<<56-1) >= least[x.state]; sampled != want {
				t.Fatalf("offset %d, id %x: sampled is %v by a share of %v", i, id, sampled, x.share)
			}
			if fewer[i] && !sampled {
				t.Fatalf("offset %d is not sampled by a share of %v, and is by a smaller one", i, x.share)
			}
			if fewer[i] = sampled; sampled {
				taken++
			}
		}
		if sigma := math.Sqrt(n * x.share * (1 - x.share)); math.Abs(float64(taken)-n*x.share) > 5*sigma {
			t.Errorf("%d of %d are sampled by a share of %v", taken, n, x.share)
		}
	}
	a, _, _ := start(t, &collector{status: http.StatusOK}, 1)
	defer a.Close()
	if a.ID(at(1)) == a.ID(at(2)) || a.ID(at(1)) == a.ID(&schemas.Place{Partition: 4, Offset: 1}) {
		t.Error("two transactions have one id")
	}
}

// TestCollectorAwayKeepsNobody has the collector go away: whoever adds does not wait, what
// the queue does not hold is counted, and what it holds is sent once the collector is back.
func TestCollectorAwayKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{}
		tracer, m, log := start(t, c, 1)
		tracer.Add(spanAt(0, Transaction))
		time.Sleep(time.Minute) // that one is sent again and again
		synctest.Wait()
		if c.asked < 5 || c.asked > 15 {
			t.Errorf("%d requests within a minute to a collector that is away", c.asked)
		}
		began := time.Now()
		for i := range int64(queueSpans + 100) {
			tracer.Add(spanAt(1+i, Transaction))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("whoever adds has waited for %v", took)
		}
		wants(t, m, [4]int{0, 100, 0, 0})
		c.says(http.StatusServiceUnavailable)
		time.Sleep(time.Minute)
		wants(t, m, [4]int{0, 100, 0, 0})
		c.says(http.StatusOK)
		time.Sleep(time.Minute)
		synctest.Wait()
		wants(t, m, [4]int{queueSpans + 1, 100, 0, 0})
		if len(c.spans) != queueSpans+1 {
			t.Errorf("%d spans are there", len(c.spans))
		}
		tracer.Close()
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "takes spans again") != 1 || strings.Contains(text, "s3cret") {
			t.Errorf("the log:\n%s", text)
		}
	})
}

func TestCloseTakesBoundedTime(t *testing.T) {
	for name, status := range map[string]int{"it takes nothing": 0, "it never answers": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracer, m, _ := start(t, &collector{status: status}, 1)
				for i := range int64(2000) {
					tracer.Add(spanAt(i, Step))
				}
				synctest.Wait()
				began := time.Now()
				tracer.Close()
				if took := time.Since(began); took > 2*tracer.config.Timeout {
					t.Errorf("it took %v", took)
				}
				wants(t, m, [4]int{0, 0, 0, 2000})
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		tracer, m, _ := start(t, &collector{status: http.StatusOK}, 1)
		for i := range int64(2000) {
			tracer.Add(spanAt(i, Step))
		}
		tracer.Close()
		wants(t, m, [4]int{2000, 0, 0, 0})
	})
}

func TestRefusedSpansAreNotSentAgain(t *testing.T) {
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 3)
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), "too old")
	partial = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	for _, x := range []struct {
		status int
		answer []byte
		want   [4]int
	}{
		{http.StatusBadRequest, nil, [4]int{0, 0, 10, 0}},
		{http.StatusTemporaryRedirect, nil, [4]int{0, 0, 10, 0}},
		{http.StatusOK, partial, [4]int{7, 0, 3, 0}},
		{http.StatusOK, []byte("<html>"), [4]int{10, 0, 0, 0}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &collector{status: x.status, answer: x.answer}
			tracer, m, _ := start(t, c, 1)
			for i := range int64(10) {
				tracer.Add(spanAt(i, Step))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if c.asked != 1 {
				t.Errorf("%d requests", c.asked)
			}
			tracer.Close()
			wants(t, m, x.want)
		})
	}
}

func TestParseTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	l, ok := parseTraceparent([]byte(good))
	if !ok || l.Trace[0] != 0x4b || l.Trace[15] != 0x36 || l.Span[7] != 0xb7 || l.Flags != 1 {
		t.Errorf("%s is read as %x, %v", good, l, ok)
	}
	for text, want := range map[string]bool{
		"cc" + good[2:] + "-what": true, "cc" + good[2:] + "what": false, good + "-what": false, "ff" + good[2:]: false, good[:54]: false, "": false,
		strings.ToUpper(good): false, strings.ReplaceAll(good, "-", "_"): false, "0x" + good[2:]: false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
	} {
		if _, ok := parseTraceparent([]byte(text)); ok != want {
			t.Errorf("%q is taken: %v", text, ok)
		}
	}
}

func TestSenderIsToldOnce(t *testing.T) {
	tracer, _, _ := start(t, &collector{status: http.StatusOK}, 1)
	defer tracer.Close()
	headers := []schemas.Header{{Key: []byte("other"), Value: nil}, {Key: []byte("traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}}
	for i := range int64(3*linksMax + 1) {
		tracer.Sent(at(i), headers)
	}
	if n := len(tracer.links.of); n > linksMax {
		t.Errorf("%d links are kept", n)
	}
	if l := tracer.Sender(at(3 * linksMax)); l.Trace[0] != 0x4b {
		t.Errorf("the link is %x", l)
	}
	if l := tracer.Sender(at(3 * linksMax)); l != (Link{}) {
		t.Errorf("a second time it is %x", l)
	}
	var none *Tracer
	none.Sent(at(1), headers)
	none.Close()
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{{URL: ""}, {URL: "collector:4318"}, {URL: "grpc://c:4317"}, {URL: "http://"}, {URL: "http://u:p4ss@c"}, {URL: "http://c", Share: -.1}, {URL: "http://c", Share: 1.1}, {URL: "http://c", Share: math.NaN()}} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "p4ss") {
			t.Errorf("%q with %v: %v", c.URL, c.Share, err)
		}
	}
}

func TestSampledDoesNotAllocate(t *testing.T) {
	tracer, _, _ := start(t, &collector{status: http.StatusOK}, 0)
	defer tracer.Close()
	headers := []schemas.Header{{Key: []byte("traceparent")}}
	var off *Tracer
	i, p := int64(0), *at(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		p.Offset = i
		off.Sent(&p, headers)
		tracer.Sent(&p, headers)
		if off.Sampled(&p) || tracer.Sampled(&p) {
			t.Fatal("sampled")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSampled(b *testing.B) {
	for name, share := range map[string]float64{"trace=off": -1, "trace=1%": .01} {
		b.Run(name, func(b *testing.B) {
			var tracer *Tracer
			if share >= 0 {
				tracer, _, _ = start(b, &collector{status: http.StatusOK}, share)
				defer tracer.Close()
			}
			p := *at(0)
			for b.Loop() {
				p.Offset++
				tracer.Sampled(&p)
			}
		})
	}
}
