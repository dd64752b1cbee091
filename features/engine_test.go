package features

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

var (
	oneSeed      = flag.Uint64("seed", 0, "run the oracle test with this seed only")
	oracleEvents = flag.Int("oracle.events", 0, "events of the oracle test; 0 is 200,000, or 10,000,000 under WEIR_PROVE")
)

var testOptions = Options{Key: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}}

// event is a transaction or a label, and what the oracle says of it.
type event struct {
	x       *txn
	l       *schemas.Label
	verdict schemas.Verdict
	vector  []float32
	action  schemas.Action
	result  LabelResult
}

// record is what a ledger would hold of a transaction.
func record(b *schemas.Batch, xs *[]float32, ev *event, w int) {
	ev.x.addTo(b)
	b.Verdict[b.Len()-1] = ev.verdict
	if ev.vector != nil {
		*xs = append(*xs, ev.vector...)
	} else {
		*xs = append(*xs, make([]float32, w)...)
	}
}

func (e *Engine) state() []byte {
	var b []byte
	for p := range Parts {
		b = e.AppendPart(b, p)
	}
	return b
}

// feed steps events through an engine, in batches of random size, and compares.
func feed(t *testing.T, e *Engine, r *rand.Rand, events []event) {
	var b schemas.Batch
	b.Reset(1, 1)
	var pending []*event
	flush := func() {
		x := make([]float32, len(pending)*e.Width())
		fallback := make([]schemas.Action, len(pending))
		e.Step(&b, x, fallback)
		for i, ev := range pending {
			compareRow(t, e, ev, b.Verdict[i], x[i*e.Width():(i+1)*e.Width()], fallback[i])
		}
		b.Reset(1, 1)
		pending = pending[:0]
	}
	for i := range events {
		ev := &events[i]
		if ev.l != nil {
			flush()
			if got := e.Label(ev.l); got != ev.result {
				t.Fatalf("label %d: got %d, want %d", i, got, ev.result)
			}
			continue
		}
		ev.x.addTo(&b)
		pending = append(pending, ev)
		if r.IntN(10) == 0 {
			flush()
		}
	}
	flush()
}

func compareRow(t *testing.T, e *Engine, ev *event, v schemas.Verdict, x []float32, action schemas.Action) {
	t.Helper()
	if v != ev.verdict {
		t.Fatalf("transaction %+v: got verdict %+v, want %+v", *ev.x, v, ev.verdict)
	}
	if v.Outcome != schemas.Scored {
		return
	}
	if action != ev.action {
		t.Fatalf("transaction %+v: got action %d, want %d", *ev.x, action, ev.action)
	}
	for f := range x {
		if math.Float32bits(x[f]) != math.Float32bits(ev.vector[f]) && !(x[f] != x[f] && ev.vector[f] != ev.vector[f]) {
			what := any(e.spec.Features[f].Name)
			if e.spec.Features[f].Expr.Op == spec.OpAgg {
				what = e.spec.Aggregates[e.spec.Features[f].Expr.Index]
			}
			t.Fatalf("transaction %+v: feature %d %+v: got %v, want %v", *ev.x, f, what, x[f], ev.vector[f])
		}
	}
}

// foldAll folds events as a ledger records them.
func foldAll(e *Engine, r *rand.Rand, events []event) {
	var b schemas.Batch
	var x []float32
	b.Reset(1, 1)
	flush := func() { e.Fold(&b, x); b.Reset(1, 1); x = x[:0] }
	for i := range events {
		if events[i].l != nil {
			flush()
			e.Label(events[i].l)
			continue
		}
		record(&b, &x, &events[i], e.Width())
		if r.IntN(20) == 0 {
			flush()
		}
	}
	flush()
}

// reload returns an engine that holds e's state as its snapshot has it.
func reload(t *testing.T, e *Engine) *Engine {
	t.Helper()
	next := New(e.spec, testOptions)
	for p := range Parts {
		part := e.AppendPart(nil, p)
		if err := next.LoadPart(p, part); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(part, next.AppendPart(nil, p)) {
			t.Fatalf("part %d is not the same after loading", p)
		}
	}
	return next
}

// pictured steps events as feed does while an image is taken, some parts between
// two batches: its bytes are those of the moment before the first event.
func pictured(t *testing.T, e *Engine, m *Image, r *rand.Rand, events []event) {
	t.Helper()
	want, got := e.state(), []byte(nil)
	e.Image(m)
	for len(events) > 0 || !m.Taken() {
		n := min(len(events), r.IntN(400))
		feed(t, e, r, events[:n])
		events = events[n:]
		for parts := r.IntN(Parts / 2); parts > 0 && !m.Taken(); parts-- {
			got = m.AppendPart(got)
		}
	}
	if !bytes.Equal(want, got) {
		t.Error("an image taken beside the stream is not the state of its moment")
	}
}

// script makes n random events with what the oracle says of them.
func script(seed uint64, n int) (*spec.Spec, []event, coverage) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := randomSpec(r)
	o := newOracle(s)
	g := &stream{r: r, s: s, now: 1e6, seen: map[string]uint32{}}
	events := make([]event, 0, n)
	for range n {
		x, l := g.next()
		ev := event{x: x, l: l}
		if l != nil {
			ev.result = o.label(l)
		} else {
			ev.verdict, ev.vector, ev.action = o.take(x)
		}
		events = append(events, ev)
	}
	return s, events, o.cover
}

// TestEngineIsTheOracle compares the engine with the definitions, bit for bit,
// and the ways to the same state with each other, byte for byte.
func TestEngineIsTheOracle(t *testing.T) {
	total, per := *oracleEvents, 2000
	if total == 0 && os.Getenv("WEIR_PROVE") != "" {
		total = 10_000_000
	} else if total == 0 {
		total = 200_000
	}
	if testing.Short() {
		total, per = min(total, 40_000), 400 // fewer specs leave some way to ask for a function out
	}
	var cover coverage
	var image Image // each engine's after the other
	done := 0
	for seed := uint64(1); done < total && !t.Failed(); seed++ {
		if *oneSeed != 0 {
			seed, total = *oneSeed, 1
		}
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			s, events, c := script(seed, per)
			cover.add(c)
			r := rand.New(rand.NewPCG(seed, 2))
			stepped, folded := New(s, testOptions), New(s, testOptions)
			cut := r.IntN(len(events))
			feed(t, stepped, r, events[:cut])
			loaded := reload(t, stepped)
			pictured(t, stepped, &image, r, events[cut:])
			feed(t, loaded, r, events[cut:])
			foldAll(folded, r, events)
			want := stepped.state()
			if !bytes.Equal(want, loaded.state()) {
				t.Error("a snapshot and the rest give another state than the whole")
			}
			if !bytes.Equal(want, folded.state()) {
				t.Error("folding the ledger gives another state than stepping")
			}
		})
		done += per
	}
	if *oneSeed == 0 && !t.Failed() {
		t.Logf("%d events, 0 differences", done)
		assertCoverage(t, cover, done)
	}
}

func assertCoverage(t *testing.T, c coverage, events int) {
	f := func(what string, n int) {
		t.Helper()
		t.Logf("%-10s %8d %6.2f %%", what, n, 100*float64(n)/float64(events))
		if n*100 < events {
			t.Errorf("%s: %d of %d events, want 1 %% at least", what, n, events)
		}
	}
	f("late", c.late)
	f("repeated", c.repeated)
	f("equal time", c.equal)
	f("edge", c.edge)
	f("evicted", c.evicted)
	f("relabelled", c.relabelled)
	if t.Logf("%-10s %8d", "outdated", c.outdated); c.outdated*1000 < events {
		t.Errorf("%d of %d events are labels that were overtaken, want 1 in 1,000 at least", c.outdated, events)
	}
	f("reversed", c.reversed)
	f("too late", c.tooLate)
	// Of each function by how it may be asked for, how often it was compared.
	for fn := range spec.NumAggFns {
		a := c.aggregates[fn]
		t.Logf("%-12s window %8d, over all %8d, delay %8d, before %8d, where %8d", aggNames[fn], a[0], a[1], a[2], a[3], a[4])
		for way, n := range a {
			if n == 0 && !(fn == spec.Distinct && way == 1) {
				t.Errorf("%s is not compared in way %d", aggNames[fn], way)
			}
		}
	}
}

var aggNames = [spec.NumAggFns]string{spec.Count: "count", spec.Sum: "sum", spec.Mean: "mean", spec.GeoMean: "geo_mean",
	spec.Std: "std", spec.Min: "min", spec.Max: "max", spec.Distinct: "distinct", spec.Last: "last", spec.FirstSeen: "first_seen",
	spec.SinceLast: "since_last", spec.FraudCount: "fraud_count", spec.FraudRate: "fraud_rate", spec.FraudRun: "fraud_run", spec.FraudRunAge: "fraud_run_age"}
