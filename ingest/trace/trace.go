package trace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dchest/siphash"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/schemas"
)

// Metrics are the tracer's Prometheus metrics. Their names are stable:
//
//	weir_trace_spans_total                  spans that a collector took
//	weir_trace_spans_dropped_total{reason}  spans dropped: full, the queue was; refused, by the collector;
//	                                        stopped, the collector did not answer at the end
type Metrics struct {
	Sent    prometheus.Counter
	Dropped *prometheus.CounterVec

	full, refused, stopped prometheus.Counter
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_trace_spans_total", Help: "Spans that a collector took."}),
		Dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_trace_spans_dropped_total", Help: "Spans that no collector took."}, []string{"reason"}),
	}
	r.MustRegister(m.Sent, m.Dropped)
	m.full, m.refused, m.stopped = m.Dropped.WithLabelValues("full"), m.Dropped.WithLabelValues("refused"), m.Dropped.WithLabelValues("stopped")
	return m
}

// Config is what a [Tracer] is made with. Zero times take defaults.
type Config struct {
	URL     string      // of the collector; without a path it is /v1/traces there
	Header  http.Header // of each request: where a collector asks who sends
	Share   float64     // of the transactions that is traced
	Topic   string      // of the transactions
	Service string      // the name under which the spans of this process are shown
	Version string      // of it
	Node    string      // which of several it is
	Client  *http.Client
	Timeout time.Duration // of a request, and of the last ones at the stop; the default is 3 s
	Pause   time.Duration // after a failure; the default is 5 s
	Every   time.Duration // for which spans are gathered; the default is 1 s
	Log     *slog.Logger
	Metrics *Metrics
}

// queueSpans is how many spans may wait; more are dropped. At 200 bytes each they take
// less than 2 MB.
const queueSpans = 8192

// batchSpans is how many spans one request has at most.
const batchSpans = 512

// A Tracer sends spans until it is closed. The nil Tracer samples nothing.
type Tracer struct {
	config Config
	url    string
	key    [2]uint64 // of the hashes; it follows from the topic
	least  uint64    // random numbers that are sampled
	state  string    // what the spans' tracestate says of that
	links  links
	queue  chan Span
	stop   chan struct{}
	ended  chan struct{}
	away   bool // the collector did not take the last request
}

// randomBits is how much of an id is its random number, for samplers.
const randomBits = 56

// ErrURL is of a URL that no collector can have.
var ErrURL = errors.New("not http://HOST:PORT or https://HOST:PORT, of a collector that takes OTLP over HTTP")

// New starts a tracer, whose one goroutine ends with [Tracer.Close].
func New(c Config) (*Tracer, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, ErrURL // which may hold a password, and so is not in it
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	if !(c.Share >= 0 && c.Share <= 1) {
		return nil, fmt.Errorf("a share of %v: from 0 to 1", c.Share)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Timeout, 3*time.Second)
	def(&c.Pause, 5*time.Second)
	def(&c.Every, time.Second)
	t := &Tracer{config: c, url: u.String(), queue: make(chan Span, queueSpans), stop: make(chan struct{}), ended: make(chan struct{})}
	t.key[0], t.key[1] = siphash.Hash128(0x77656972_74726163, 0x65732d73_616d706c, []byte(c.Topic))
	t.least = uint64(math.Round((1 - c.Share) * (1 << randomBits)))
	if t.least < 1<<randomBits {
		digits := strings.TrimRight(fmt.Sprintf("%014x", t.least), "0")
		t.state = "ot=th:" + max(digits, "0")
	}
	go t.run() // ends with Close
	return t, nil
}

// Sampled reports whether the transaction at a place is traced.
func (t *Tracer) Sampled(p *schemas.Place) bool { return t != nil && t.sampled(p) }

func (t *Tracer) sampled(p *schemas.Place) bool {
	_, random := t.hash(p)
	return random&(1<<randomBits-1) >= t.least
}

func (t *Tracer) hash(p *schemas.Place) (hi, lo uint64) {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(p.Partition))
	binary.BigEndian.PutUint64(b[4:], uint64(p.Offset))
	return siphash.Hash128(t.key[0], t.key[1], b[:])
}

// ID returns the id of the trace of the transaction at a place.
func (t *Tracer) ID(p *schemas.Place) (id [16]byte) {
	hi, lo := t.hash(p)
	binary.BigEndian.PutUint64(id[:], hi|1) // all zero is no id
	binary.BigEndian.PutUint64(id[8:], lo)
	return id
}

// spanID returns the id of a trace's span of a kind.
func (t *Tracer) spanID(trace [16]byte, k Kind) (id [8]byte) {
	var b [17]byte
	copy(b[:], trace[:])
	b[16] = byte(k)
	binary.BigEndian.PutUint64(id[:], siphash.Hash(t.key[0], t.key[1], b[:])|1)
	return id
}

// A Kind is what a span is of. There is one of each in a trace at most.
type Kind uint8

// The kinds of spans. All are children of Transaction, the root.
const (
	Transaction Kind = iota
	Wait
	Step
	Publish
	Alert
	History
	Desk
)

var kindNames = [...]string{"transaction", "wait", "step", "publish", "alert", "history", "desk"}

func (k Kind) String() string { return kindNames[k] }

// A Span is one span of a transaction's trace, and all that is ever told of it.
type Span struct {
	Kind       Kind
	Place      schemas.Place // of the transaction
	Start, End time.Time
	Shard      int32 // of the ledger, where the decision is
	Ledger     int64 // its offset there
	Records    int   // what was done at once: a step's, or a block's; 0 is not told

	Decision Decision // of the root
	Link     Link     // of the root: what sent the transaction
}

// A Decision is what became of the transaction.
type Decision struct {
	Verdict     schemas.Verdict
	Action      schemas.Action
	Score       float32
	Probability float32
	Bundle      uint64 // 0: no model decided
}

// Add queues a span, or drops it where the queue is full. It never waits.
func (t *Tracer) Add(s Span) {
	if s.End.Before(s.Start) { // clocks of two machines differ
		s.End = s.Start
	}
	select {
	case t.queue <- s:
	default:
		t.config.Metrics.full.Inc()
	}
}

// run sends what is queued until the stop. A collector that is away gets the same spans
// again, while the queue fills behind them.
func (t *Tracer) run() {
	defer close(t.ended)
	batch := make([]Span, 0, batchSpans)
	for {
		batch = t.gather(batch[:0])
		for len(batch) > 0 && !t.stopped() {
			ctx, cancel := context.WithTimeout(context.Background(), t.config.Timeout)
			done := t.send(ctx, batch)
			cancel()
			if done {
				batch = batch[:0]
				break
			}
			select {
			case <-time.After(t.config.Pause):
			case <-t.stop:
			}
		}
		if t.stopped() {
			t.flush(batch)
			return
		}
	}
}

func (t *Tracer) stopped() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// gather waits for spans, and then for more of them.
func (t *Tracer) gather(batch []Span) []Span {
	select {
	case s := <-t.queue:
		batch = append(batch, s)
	case <-t.stop:
		return batch
	}
	due := time.NewTimer(t.config.Every)
	defer due.Stop()
	for len(batch) < batchSpans {
		select {
		case s := <-t.queue:
			batch = append(batch, s)
		case <-due.C:
			return batch
		case <-t.stop:
			return batch
		}
	}
	return batch
}

// flush sends a batch and what is queued, within one request's time.
func (t *Tracer) flush(batch []Span) {
	ctx, cancel := context.WithTimeout(context.Background(), t.config.Timeout)
	defer cancel()
	for {
		for more := true; more && len(batch) < batchSpans; {
			select {
			case s := <-t.queue:
				batch = append(batch, s)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return
		}
		if !t.send(ctx, batch) {
			t.config.Metrics.stopped.Add(float64(len(batch) + len(t.queue)))
			return
		}
		batch = batch[:0]
	}
}

// Close sends what is queued, as far as the collector takes it in the time of a request
// behind the one that is on its way, and ends the tracer. Whoever adds has ended before.
func (t *Tracer) Close() {
	if t != nil {
		close(t.stop)
		<-t.ended
	}
}
