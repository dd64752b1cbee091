package features

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// one returns a spec with a customer as its home and the given aggregates as
// features.
func one(aggregates ...spec.Aggregate) *spec.Spec {
	s := &spec.Spec{BaseDigits: 2, LateMax: 1000, DedupWindow: 5000, Sources: [...]schemas.LabelSource{0, 1, 2, 3, 4},
		Scored:   [schemas.NumTxTypes]bool{schemas.Authorisation: true},
		Entities: []spec.Entity{{Name: "customer", Keys: []spec.FieldRef{customerRef}}}, Aggregates: aggregates}
	for i := range aggregates {
		s.Features = append(s.Features, spec.Feature{Name: fmt.Sprint(i), Expr: aggregateOf(i)})
	}
	return s
}

func agg(fn spec.AggFn, window int64) spec.Aggregate {
	a := spec.Aggregate{Fn: fn, Window: window, Where: -1}
	switch {
	case takesNumber(fn):
		a.Arg = amountRef
	case fn == spec.Distinct:
		a.Arg = countryRef
	}
	return a
}

// everything is one aggregate of each function, over a window and over all.
func everything(window int64) *spec.Spec {
	var all []spec.Aggregate
	for fn := range spec.NumAggFns {
		all = append(all, agg(fn, window))
		if fn != spec.Distinct {
			all = append(all, agg(fn, 0))
		}
	}
	s := one(all...)
	s.Input.Text[schemas.OriginalID].Path = []string{"o"}
	return s
}

// coarseRows steps n events of one customer through an engine of 256 rows.
func coarseRows(s *spec.Spec, n int) (e *Engine, b schemas.Batch, x []float32) {
	e = New(s, Options{EntityRows: 256})
	g := &stream{r: rand.New(rand.NewPCG(5, 5)), s: s}
	b.Reset(1, 1)
	for i := range n {
		y := g.fresh()
		y.time, y.amount, y.typ = 100+int64(i)*10, 100, schemas.Authorisation
		if i%7 == 3 {
			y.time -= 35
		}
		y.texts[schemas.Customer] = "c"
		y.addTo(&b)
	}
	x = make([]float32, n*e.Width())
	e.Step(&b, x, nil)
	return e, b, x
}

func TestEntityOverBudgetStaysBoundedAndNearlyRight(t *testing.T) {
	if testing.Short() {
		t.Skip("it is of one goroutine, in which there are no races")
	}
	const n, window = 20_000, 50_000 // 5000 events in a window of 256 rows
	s := everything(window)
	e, b, x := coarseRows(s, n)
	if c := e.Counters(); c.Merges == 0 || c.Approximate < n*9/10 {
		t.Fatalf("nothing was merged: %+v", c)
	}
	if e.Bytes() > 1<<20 {
		t.Errorf("one entity of 256 rows takes %d bytes", e.Bytes())
	}
	f := func(fn spec.AggFn, window int64, want, tolerance float64) {
		t.Helper()
		for i, a := range s.Aggregates {
			if a.Fn != fn || a.Window != window {
				continue
			}
			if got := float64(x[(n-1)*e.Width()+i]); math.Abs(got-want) > tolerance*math.Abs(want) {
				t.Errorf("aggregate %d over %d: got %v, want %v within %v", fn, window, got, want, tolerance)
			}
		}
	}
	f(spec.Count, window, 5000, 16./256)
	f(spec.Sum, window, 5000, 16./256)
	f(spec.Mean, window, 1, 0)
	f(spec.GeoMean, window, 1, 1e-6)
	f(spec.Std, window, 0, 0)
	f(spec.Min, window, 1, 0)
	f(spec.Max, window, 1, 0)
	f(spec.FirstSeen, window, window/1000, 16./256)
	f(spec.Count, 0, n, 0)
	f(spec.Sum, 0, n, 0)
	f(spec.Last, 0, 1, 0)
	folded := New(s, Options{EntityRows: 256})
	folded.Fold(&b, x)
	if !bytes.Equal(e.state(), folded.state()) {
		t.Error("folding the ledger gives another state than stepping")
	}
	loaded := New(s, Options{EntityRows: 256})
	for p := range Parts {
		if err := loaded.LoadPart(p, e.AppendPart(nil, p)); err != nil {
			t.Fatal(err)
		}
	}
	again := func(e *Engine) []byte {
		var b schemas.Batch
		b.Reset(1, 1)
		for i := range 3000 {
			y := &txn{time: n*10 + int64(i)*10, id: fmt.Sprint(i), amount: 5, texts: map[schemas.TextField]string{schemas.Customer: "c"}}
			y.addTo(&b)
		}
		x := make([]float32, 3000*e.Width())
		e.Step(&b, x, nil)
		return append(e.state(), fmt.Sprint(x)...)
	}
	if !bytes.Equal(again(e), again(loaded)) {
		t.Error("a snapshot of buckets goes on otherwise than what it was made of")
	}
	if e.Counters().Merges == 0 {
		t.Error("no merges")
	}
}

// TestHotEntityStaysBounded sends two million events to one entity, all within
// its windows; in short a fifth of that.
func TestHotEntityStaysBounded(t *testing.T) {
	const rows = 1024
	millions := int64(2_000_000)
	if testing.Short() {
		millions = 150_000
	}
	s := fiveWindows(10 * millions)
	e := New(s, Options{EntityRows: rows})
	g := &traffic{r: rand.New(rand.NewPCG(8, 8)), entities: 1}
	x := make([]float32, batchRows*e.Width())
	var b schemas.Batch
	early, n := int64(0), int64(0)
	for ; n < millions; n += batchRows {
		g.fill(&b)
		e.Step(&b, x, nil)
		if n < 100*rows {
			early = e.Bytes()
		}
	}
	if e.Bytes() != early {
		t.Errorf("%d bytes after %d events, %d after %d", e.Bytes(), n, early, 100*rows)
	}
	if e.Bytes() > 200*rows {
		t.Errorf("an entity of %d rows takes %d bytes", rows, e.Bytes())
	}
	if b.Verdict[batchRows-1].Flags&schemas.Approximate == 0 {
		t.Error("an entity over its budget is not flagged")
	}
	// Its widest window holds all of them; a bucket may be missing at its end.
	if got := float64(x[len(x)-2]); math.Abs(got-float64(n)) > float64(n)*16/rows {
		t.Errorf("count is %v, want %d", got, n)
	}
}

func TestBucketsDieWithTheirWindow(t *testing.T) {
	s := everything(5000)
	e, _, _ := coarseRows(s, 3000)
	var b schemas.Batch
	b.Reset(1, 1)
	(&txn{time: 1e6, id: "x", amount: 700, texts: map[schemas.TextField]string{schemas.Customer: "c"}}).addTo(&b)
	(&txn{time: 1e6, id: "y", amount: 700, texts: map[schemas.TextField]string{schemas.Customer: "c"}}).addTo(&b)
	x := make([]float32, 2*e.Width())
	e.Step(&b, x, nil)
	if b.Verdict[1].Flags&schemas.Approximate != 0 {
		t.Error("an entity without buckets is approximate")
	}
	if x[e.Width()] != 2 {
		t.Errorf("count is %v, want 2", x[e.Width()])
	}
}

func TestBatchMayBeCutAnywhere(t *testing.T) {
	s, events, _ := script(77, 3000)
	var want []byte
	for cut := range uint64(4) {
		e := New(s, testOptions)
		feed(t, e, rand.New(rand.NewPCG(77, cut)), events)
		if got := e.state(); want == nil {
			want = got
		} else if !bytes.Equal(got, want) {
			t.Fatalf("cut %d gives another state", cut)
		}
	}
}

func TestCheckFailure(t *testing.T) {
	f := func(what string, change func(s *spec.Spec)) {
		t.Helper()
		s := one(agg(spec.Count, 1000), agg(spec.Sum, 0))
		if err := Check(s); err != nil {
			t.Fatal(err)
		}
		change(s)
		if Check(s) == nil {
			t.Errorf("%s: no error", what)
		}
	}
	f("distinct over all", func(s *spec.Spec) { s.Aggregates[0] = agg(spec.Distinct, 0) })
	f("number of a text", func(s *spec.Spec) { s.Aggregates[1].Arg = countryRef })
	f("unknown entity", func(s *spec.Spec) { s.Aggregates[0].Entity = 1 })
	f("unknown where", func(s *spec.Spec) { s.Aggregates[0].Where = 0 })
	f("negative window", func(s *spec.Spec) { s.Aggregates[0].Window = -1 })
	f("home of nothing", func(s *spec.Spec) { s.Home = 4 })
	f("key that is a number", func(s *spec.Spec) { s.Entities[0].Keys[0] = amountRef })
	f("missing expression", func(s *spec.Spec) { s.Features[0].Expr = nil })
	f("circle", func(s *spec.Spec) {
		s.Predicates = []spec.Predicate{{Cond: binary2(spec.OpGT, featureOf(0), constant(1))}}
		s.Aggregates[0].Where = 0
	})
}

func TestCircleIsBrokenByBefore(t *testing.T) {
	s := one(agg(spec.Count, 1000))
	s.Predicates = []spec.Predicate{{Cond: binary2(spec.OpLE, featureOf(0), constant(0))}}
	s.Aggregates[0].Where, s.Aggregates[0].Before = 0, true
	if err := Check(s); err != nil {
		t.Fatal(err)
	}
}

func TestLogarithmsAndExponentialsAreNearTheTruth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		x := max(r.Int64()>>r.IntN(63), 1) & numberMax
		if got, want := float64(lnFixed(x))/lnUnit, math.Log(float64(max(x, 1))); math.Abs(got-want) > 2.0/lnUnit {
			t.Fatalf("ln %d: got %v, want %v", x, got, want)
		}
		y := r.Float64() * 45
		if got, want := expFloat(y), math.Exp(y); math.Abs(got-want) > 4e-15*want {
			t.Fatalf("exp %v: got %v, want %v", y, got, want)
		}
		z := 1 + math.Exp(r.Float64()*80-40)
		if got, want := logFloat(z), math.Log(z); math.Abs(got-want) > 4e-16+1e-15*want {
			t.Fatalf("log %v: got %v, want %v", z, got, want)
		}
	}
}

func TestWideRoundsAsBigNumbersDo(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		var w wide
		for i := range 1 + r.IntN(4) {
			w[i] = r.Uint64()
			if r.IntN(3) == 0 {
				w[i] &= r.Uint64() & r.Uint64() & r.Uint64() << r.IntN(64)
			}
		}
		b := new(big.Int)
		for i := range w {
			b.Or(b, new(big.Int).Lsh(new(big.Int).SetUint64(w[i]), uint(64*i)))
		}
		if got, want := w.float(), nearest(b); got != want {
			t.Fatalf("%x: got %v, want %v", w, got, want)
		}
	}
}

func TestNumbersCountInMillionths(t *testing.T) {
	f := func(own float64, want int64) {
		t.Helper()
		var b schemas.Batch
		b.Reset(0, 1)
		b.Number[b.Add(schemas.Place{})] = own
		if got := int64(number(&b, 0, ownRef)); got != want {
			t.Errorf("%v counts as %d, want %d", own, got, want)
		}
	}
	f(1.25, 1_250_000)
	f(0x1p-7, 7812) // 7812.5, half to even
	f(0x3p-7, 23438)
	f(-0x1p-7, -7812)
	f(1e300, numberMax)
	f(math.Inf(-1), -numberMax)
	none := uint64(absentNumber)
	f(math.NaN(), int64(none))
}

func TestClockFollowsTheZone(t *testing.T) {
	f := func(at, zone string, hour, weekday, day float32) {
		t.Helper()
		s, err := spec.Parse("zones", []byte("field id = $.i\nfield time = $.t\nfield amount = $.a\nfield text z = $.z\n"+
			"hour(time, z)\nhour(time, "+zone+")\nweekday(time, "+zone+")\nday(time, z)\nfallback review when amount > 1\n"))
		if err != nil {
			t.Fatal(err)
		}
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		var b schemas.Batch
		b.Reset(1, 0)
		b.Add(schemas.Place{})
		b.Tx[0].Time = when.UnixMilli()
		b.SetBytes(0, schemas.ID, []byte("1"))
		b.SetBytes(0, schemas.NumText, []byte(zone))
		x := make([]float32, 4)
		New(s, Options{}).Step(&b, x, nil)
		if want := []float32{hour, hour, weekday, day}; !slices.Equal(x, want) {
			t.Errorf("%s in %s: got %v, want %v", at, zone, x, want)
		}
	}
	f("2026-07-01T22:30:00Z", "Europe/Brussels", 0, 3, 2)
	f("2026-01-01T22:30:00Z", "Europe/Brussels", 23, 3, 1)
	f("2026-01-01T22:30:00Z", "UTC", 22, 3, 1)
	f("2026-03-29T01:00:00Z", "Europe/Brussels", 3, 6, 29)
	f("2026-06-07T23:59:59Z", "Asia/Tokyo", 8, 0, 8)
	f("2199-06-07T23:59:59Z", "Europe/Brussels", 1, 5, 8)
}

func TestCardKeepsItsBehaviourThroughAChangeOfKey(t *testing.T) {
	s := one(agg(spec.Count, 10_000))
	s.Entities[0].Keys[0] = spec.FieldRef{Kind: spec.TextRef, Text: schemas.Card}
	e := New(s, Options{})
	var b schemas.Batch
	b.Reset(0, 0)
	for i, card := range []string{"old", "new"} {
		b.Add(schemas.Place{})
		b.Tx[i].Time = int64(i)
		b.SetBytes(i, schemas.ID, []byte{byte('0' + i)})
		b.SetBytes(i, schemas.Card, []byte(card))
	}
	b.PrevCard[1] = b.Intern([]byte("old"))
	x := make([]float32, 2)
	e.Step(&b, x, nil)
	if x[1] != 2 {
		t.Errorf("count after the change is %v, want 2", x[1])
	}
}

func TestLoadPartFailure(t *testing.T) {
	s, events, _ := script(9, 600)
	e := New(s, testOptions)
	feed(t, e, rand.New(rand.NewPCG(9, 9)), events)
	for p := range Parts {
		good := e.AppendPart(nil, p)
		if len(good) < 20 {
			continue
		}
		for cut := range good {
			into := New(s, testOptions)
			if err := into.LoadPart(p, good[:cut]); !errors.Is(err, ErrPart) {
				t.Fatalf("part %d cut at %d of %d: got %v", p, cut, len(good), err)
			}
			if into.Entities() != 0 {
				t.Fatal("a part that failed to load is not empty")
			}
		}
		if err := New(s, testOptions).LoadPart((p+1)%Parts, good); !errors.Is(err, ErrPart) {
			t.Fatalf("part %d loads as another: %v", p, err)
		}
		return
	}
	t.Fatal("no part with anything in it")
}

// FuzzLoadPart loads foreign bytes and goes on with whatever came of them.
func FuzzLoadPart(f *testing.F) {
	s, events, _ := script(4, 800)
	e := New(s, testOptions)
	foldAll(e, rand.New(rand.NewPCG(4, 4)), events)
	small := New(s, Options{Key: testOptions.Key, EntityRows: 16})
	foldAll(small, rand.New(rand.NewPCG(4, 4)), events)
	for p := range Parts {
		f.Add(uint8(p), e.AppendPart(nil, p))
		f.Add(uint8(p), small.AppendPart(nil, p))
	}
	f.Fuzz(func(t *testing.T, part uint8, data []byte) {
		e := New(s, testOptions)
		if e.LoadPart(int(part), data) != nil {
			return
		}
		again := New(s, testOptions)
		if err := again.LoadPart(int(part), e.AppendPart(nil, int(part))); err != nil {
			t.Fatalf("what was loaded cannot be loaded again: %v", err)
		}
		foldAll(e, rand.New(rand.NewPCG(4, 4)), events[:200])
		foldAll(again, rand.New(rand.NewPCG(4, 4)), events[:200])
		if !bytes.Equal(e.state(), again.state()) {
			t.Fatal("a state and its copy go different ways")
		}
	})
}
