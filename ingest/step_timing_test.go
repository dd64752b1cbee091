package ingest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// stepRows is what the benchmark's steps hold: what a node takes that catches up.
const stepRows = 4096

// A source makes the records of a stream that never ends, as a broker would
// answer them.
type source interface {
	// append adds one record to b.
	append(b *kafka.BatchWriter)
}

// customersSource is payments of customers at terminals, at an even pace.
type customersSource struct {
	r                    *rand.Rand
	customers, terminals int
	gap                  time.Duration
	form                 string // of a record: its number, time, customer, terminal and amount
	layout               string // of the time
	key                  func(r *rand.Rand) []byte
	id                   int
	now                  time.Time
	text                 []byte
}

// The forms of the specs' records.
const (
	handbookForm = `{"TRANSACTION_ID":%d,"TX_DATETIME":"%s","CUSTOMER_ID":%d,"TERMINAL_ID":%d,"TX_AMOUNT":%d.50}`
	paymentsForm = `{"id":"t%d","time":"%s","customer":"C%d","terminal":"T%[4]d","merchant":"M%[4]d","device":"D%[3]d","card":"400000%010[3]d",` +
		`"country":"BE","ip":"10.0.0.1","currency":"EUR","amount":%[5]d.50}`
)

func (s *customersSource) append(b *kafka.BatchWriter) {
	s.id++
	s.now = s.now.Add(s.gap)
	s.text = fmt.Appendf(s.text[:0], s.form, s.id, s.now.Format(s.layout), s.r.IntN(s.customers), s.r.IntN(s.terminals), s.r.IntN(200))
	b.Append(s.key(s.r), s.text, s.now.UnixMilli(), nil)
}

// newSource returns a stream for a spec of so many customers.
func newSource(name string, customers int, gap time.Duration) *customersSource {
	s := &customersSource{r: rand.New(rand.NewPCG(1, 1)), customers: customers, terminals: 2 * customers, gap: gap,
		form: paymentsForm, layout: time.RFC3339, key: func(*rand.Rand) []byte { return nil }, now: time.Date(2018, 4, 1, 0, 0, 0, 0, time.UTC)}
	if name == "handbook" {
		s.form, s.layout = handbookForm, time.DateTime
	}
	return s
}

// bankSource is the simulated bank, whose records the payments spec reads.
type bankSource struct {
	bank *simulate.Bank
	tx   simulate.Transaction
	text []byte
}

func newBankSource(t testing.TB) *bankSource {
	cfg := simulate.DefaultConfig()
	cfg.Days, cfg.Labels = 0, simulate.Labels{}
	bank, err := simulate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bankSource{bank: bank}
}

func (s *bankSource) append(b *kafka.BatchWriter) {
	s.bank.Next(&s.tx)
	s.text = s.tx.AppendJSON(s.text[:0])
	b.Append(nil, s.text, s.tx.Sent, nil)
}

// A line is the whole path of a record between the answer to a fetch and the
// request that appends its decision, without a broker.
type line struct {
	source  source
	batch   kafka.BatchWriter
	answer  kafka.FetchAnswer
	owner   *owner
	fetcher *fetcher
	chunk   *chunk
	flight  flight
	next    int64
}

func newLine(t testing.TB, name string, from source, hidden ...int) *line {
	t.Helper()
	s, ok := spec.Builtin(name)
	if !ok {
		t.Fatalf("no built-in spec %s", name)
	}
	k, err := decode.NewTokens(decode.Key{ID: "k1", Secret: make([]byte, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := NewNode(nil, Config{Spec: s, Topics: schemas.DefaultTopics(""), Tokens: k, Tenant: "bank", Codec: kafka.LZ4,
		Now: func() time.Time { return time.Unix(1.6e9, 0) }, After: time.After, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: NewMetrics(prometheus.NewRegistry())})
	widths := append(append([]int{len(s.Features)}, hidden...), 1)
	model := trainer.RandomModel(1, widths...)
	scorer, err := cpu.New(model)
	if err != nil {
		t.Fatal(err)
	}
	n.Use(&scoring.Bundle{Model: model, Policy: scoring.Policy{Review: 0.999, Block: 0.9999, Explore: 0.001, ExploreKey: [16]byte{1}}, Calibration: scoring.Calibration{Kind: scoring.Beta, A: 1, B: 1.5}}, scorer)
	state := NewState(s, n.Features)
	bank := simulate.DefaultConfig()
	for _, r := range bank.Rates() {
		state.Rates.Set(&r)
	}
	state.At(Transactions, 0)
	o, err := n.newOwner(0, state)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{source: from, owner: o}
	for _, f := range o.fetchers() {
		if f.cursor.class == Transactions {
			l.fetcher = f
		}
	}
	l.chunk = <-l.fetcher.free
	return l
}

// prepare makes the next answer of rows records.
func (l *line) prepare(t testing.TB, rows int) {
	l.batch.Reset()
	for range rows {
		l.source.append(&l.batch)
	}
	set, err := l.batch.Finish(kafka.None)
	if err != nil {
		t.Fatal(err)
	}
	setBase(set, l.next)
	l.answer = kafka.FetchAnswer{Records: set, LastStableOffset: l.next + int64(rows)}
	l.next += int64(rows)
}

// setBase gives a batch the offset that a broker would.
func setBase(set []byte, base int64) {
	for i := range 8 {
		set[i] = byte(base >> (56 - 8*i))
	}
}

// step takes the answer through and returns what would be appended to the ledger.
func (l *line) step(t testing.TB) []byte {
	f, c := l.fetcher, l.chunk
	c.reset(f.own[0], f.own[1])
	if err := f.decode(context.Background(), &l.answer, c); err != nil {
		t.Fatal(err)
	}
	l.owner.merge.arrived <- c
	if err := l.owner.fill(context.Background(), &l.flight); err != nil {
		t.Fatal(err)
	}
	l.owner.look()
	l.chunk = <-f.free
	l.owner.node.published(&l.flight)
	return l.flight.bytes
}

// trace has the line's node trace a share of the records, into a collector that takes all.
func (l *line) trace(t testing.TB, share float64) {
	tracer, _ := newSink(t).tracer(t, l.owner.node.Topics.Transactions, share)
	t.Cleanup(tracer.Close)
	l.owner.node.Trace = tracer
}

// BenchmarkLine reports what one record costs between fetch and append.
func BenchmarkLine(b *testing.B) {
	for _, x := range []struct {
		spec   string
		source source
		hidden []int
		share  float64 // traced
	}{
		{"handbook", newSource("handbook", 5000, 9*time.Second), []int{64, 64}, 0},
		{"handbook", newSource("handbook", 5000, 9*time.Second), []int{64, 64}, .01},
		{"payments", newBankSource(b), []int{256, 256}, 0},
		{"payments", newBankSource(b), []int{256, 256}, .01},
	} {
		b.Run(fmt.Sprintf("spec=%s/traced=%v", x.spec, x.share), func(b *testing.B) {
			l := newLine(b, x.spec, x.source, x.hidden...)
			if x.share > 0 {
				l.trace(b, x.share)
			}
			l.owner.work.bytesMax = 1 << 30
			for range 50 { // windows fill, buffers grow
				l.prepare(b, stepRows)
				l.step(b)
			}
			b.ReportAllocs()
			b.ResetTimer()
			bytes := 0
			for n := 0; n < b.N; n += stepRows {
				b.StopTimer()
				l.prepare(b, stepRows)
				b.StartTimer()
				bytes += len(l.step(b))
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "B/op")
		})
	}
}

// TestStepDoesNotAllocate holds the whole path of a step to it, once every
// entity has been met and the windows are full.
func TestStepDoesNotAllocate(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for _, x := range []struct {
		name   string
		traces bool // there is a tracer, which samples none of these
	}{{"handbook", false}, {"payments", false}, {"payments", true}} {
		name := x.name
		s := newSource(name, 20, time.Hour)
		keys := [][]byte{[]byte("C7"), []byte("4000000000000007"), []byte("another"), nil}
		s.key = func(r *rand.Rand) []byte { return keys[r.IntN(len(keys))] }
		l := newLine(t, name, s, 16)
		if x.traces {
			l.trace(t, 0)
		}
		rival := trainer.RandomModel(2, len(l.owner.state.Spec.Features), 24, 8, 1)
		b := &scoring.Bundle{Model: rival, Hash: [32]byte{1}, Policy: scoring.Policy{Review: 0.999}}
		l.owner.node.serve(challenger, serving{bundle: b, scorer: w32(t, rival), share: .5})
		const rows = 256
		for range 400 {
			l.prepare(t, rows)
			l.step(t)
		}
		const tries, runs = 3, 20
		sets := make([]kafka.FetchAnswer, tries*(runs+1))
		for i := range sets {
			l.prepare(t, rows)
			sets[i] = l.answer
			sets[i].Records = slices.Clone(l.answer.Records)
		}
		// The count is of the whole process: what another test left running may
		// allocate as well, though not every time.
		least := math.Inf(1)
		for range tries {
			least = min(least, testing.AllocsPerRun(runs, func() {
				l.answer, sets = sets[0], sets[1:]
				l.step(t)
			}))
		}
		if least != 0 {
			t.Errorf("%s: %v allocations a step", name, least)
		}
		if c := l.owner.state.Counts; c.Outcomes[schemas.Scored] != c.Decisions() {
			t.Errorf("%s: of %d records %d are scored", name, c.Decisions(), c.Outcomes[schemas.Scored])
		}
	}
}
