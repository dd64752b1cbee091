package ingest

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

const lookSpec = `spec look
base EUR
field id = $.id
field time = $.time as ms
field amount = $.amount decimal
field customer = $.customer
amount
count() by customer over 1d
mean(amount) by customer over 1d
weekday(time) >= 5 as weekend
fallback review when amount > 100
`

// A lookTown draws decisions whose vectors lie as they do in training, save for what a
// test moves.
type lookTown struct {
	r        *rand.Rand
	now      int64 // hours
	offset   int64
	decision schemas.Decision
	change   func(x []float32)
}

// draw makes the next decision, somewhere in the hour.
func (w *lookTown) draw() *schemas.Decision {
	d := &w.decision
	x := []float32{float32(math.Exp(w.r.NormFloat64())), float32(w.r.IntN(4)), float32(w.r.NormFloat64()), 0}
	if w.r.IntN(10) == 0 {
		x[2] = float32(math.NaN())
	}
	if w.now/24%7 >= 5 {
		x[3] = 1
	}
	if w.change != nil {
		w.change(x)
	}
	*d = schemas.Decision{Features: x, Place: schemas.Place{Partition: int32(w.offset % 3), Offset: w.offset / 3}}
	d.Tx.Time, d.ReviewProb = w.now*hourMs+w.r.Int64N(hourMs), .01
	if w.r.IntN(50) == 0 {
		d.ReviewProb = 1
	}
	w.offset++
	return d
}

// hours draws some hours, by night a tenth of what comes by day, and a step a hundred
// decisions.
func (w *lookTown) hours(n int, fn func(d *schemas.Decision)) {
	for range n {
		rows := 500
		if w.now%24 < 8 {
			rows = 50
		}
		for range rows {
			fn(w.draw())
		}
		w.now++
	}
}

// A lookScorer scores by the third column alone, and low where that is missing.
type lookScorer struct{ scoring.Scorer }

func (lookScorer) Score(x scoring.Matrix, out []float32) error {
	for i := range x.Rows {
		out[i] = lookScore(x.Data[i*x.Cols : (i+1)*x.Cols])
	}
	return nil
}

func lookScore(x []float32) float32 {
	if x[2] != x[2] {
		return 0
	}
	return float32(1 / (1 + math.Exp(-float64(x[2]))))
}

// newLook returns a node that looks out under a bundle whose profile is the town's, and
// what it logs.
func newLook(t *testing.T) (*Node, *serving, *lookTown, *bytes.Buffer) {
	if testing.Short() {
		t.Skip("one goroutine alone")
	}
	s, err := spec.Parse("look", []byte(lookSpec))
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	n := NewNode(nil, Config{Spec: s, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: NewMetrics(prometheus.NewRegistry())})
	const seed = 3
	t.Logf("seed %d", seed)
	w := &lookTown{r: rand.New(rand.NewPCG(seed, 0)), now: 24 * 7 * 2600}
	columns := make([][]float32, 5)
	w.hours(24*7, func(d *schemas.Decision) {
		if d.Place.Offset%3 != 0 {
			return
		}
		for c, v := range append(d.Features, lookScore(d.Features)) {
			columns[c] = append(columns[c], v)
		}
	})
	ones := slices.Repeat([]float32{1}, len(columns[0]))
	p := &scoring.Profile{Score: scoring.NewMargin(columns[4], ones)}
	for _, c := range columns[:4] {
		p.Features = append(p.Features, scoring.NewMargin(c, ones))
	}
	return n, &serving{bundle: &scoring.Bundle{Profile: p, Hash: [32]byte{1}}, scorer: lookScorer{}}, w, log
}

// wholeLook takes all turns of a look that is due, as an owner does that has nothing to
// decide.
func (n *Node) wholeLook(s *serving) {
	for more := true; more; more = n.lookout.looking() {
		n.lookOut(s, 0)
	}
}

// TestLookoutSeesWhatMoved watches days that are as in training, and then one in which
// a feature is doubled and another is often missing.
func TestLookoutSeesWhatMoved(t *testing.T) {
	n, b, w, log := newLook(t)
	live := func(d *schemas.Decision) {
		n.lookout.add(d)
		if w.offset%10 == 0 {
			n.wholeLook(b)
		}
	}
	psi := func(feature int) float64 {
		return testutil.ToFloat64(n.Metrics.PSI.WithLabelValues(n.lookout.names[feature]))
	}
	w.hours(24, live)
	if got := testutil.CollectAndCount(n.Metrics.PSI) + testutil.CollectAndCount(n.Metrics.AlertRate); got != 0 {
		t.Errorf("%d series before there was a day", got)
	}
	w.hours(24*2, live)
	for c := range 3 {
		if psi(c) > .01 {
			t.Errorf("column %d did not move: %.4f", c, psi(c))
		}
	}
	score := func() float64 { return testutil.ToFloat64(n.Metrics.ScorePSI.WithLabelValues()) }
	rate := testutil.ToFloat64(n.Metrics.AlertRate.WithLabelValues())
	if score() > .01 || math.Abs(rate-.02) > .003 || strings.Contains(log.String(), "unlike") {
		t.Errorf("score %.4f, alerts %.4f, log:\n%s", score(), rate, log)
	}
	w.change = func(x []float32) {
		x[0] *= 4
		if x[1] == 0 && w.r.IntN(2) == 0 {
			x[1] = float32(math.NaN())
		}
	}
	w.hours(24*2, live)
	missing := testutil.ToFloat64(n.Metrics.Missing.WithLabelValues(n.lookout.names[1]))
	if psi(0) < 1 || psi(1) < .5 || psi(2) > .01 || score() > .01 || math.Abs(missing-.125) > .02 {
		t.Errorf("psi %.3f %.3f %.3f, score %.3f, missing %.3f", psi(0), psi(1), psi(2), score(), missing)
	}
	// Both days of it are said, the day of the week is not: it moves each day.
	for what, want := range map[string]int{"amount ": 2, "weekend": 0, "score": 0} {
		if got := strings.Count(log.String(), what); got < want || got > 2*want {
			t.Errorf("%d lines of %s:\n%s", got, what, log)
		}
	}
	w.change = func(x []float32) { x[2] += 3 }
	w.hours(25, live)
	if score() < 1 || psi(0) > .01 {
		t.Errorf("score %.3f, psi of what moved before %.3f", score(), psi(0))
	}
	n.blind()
	if got := testutil.CollectAndCount(n.Metrics.PSI); got != 0 {
		t.Errorf("%d series of a node that no longer decides", got)
	}
}

// TestLookoutSampleIsOfTheStream holds the index of the sample to that of all rows
// of the day, whose nights differ from its days, in any order of coming.
func TestLookoutSampleIsOfTheStream(t *testing.T) {
	n, b, w, _ := newLook(t)
	w.change = func(x []float32) {
		if w.now%24 < 8 {
			x[0] *= 20
		}
	}
	other := newLookout(n.Spec)
	var all []*schemas.Decision
	w.hours(25, func(d *schemas.Decision) {
		c := *d
		all = append(all, &c)
	})
	m := &b.bundle.Profile.Features[0]
	want := make([]float64, m.Bins())
	for _, d := range all {
		n.lookout.add(d)
		if d.Tx.Time/hourMs < w.now-1 {
			want[m.Bin(d.Features[0])]++
		}
	}
	w.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, d := range all {
		other.add(d)
	}
	counts := n.lookout.count(m, 0)
	sum, _ := n.lookout.day()
	got := m.Index(counts)
	again := other.count(m, 0)
	if index := m.Index(want); math.Abs(got-index) > .03 || sum.kept < 4000 {
		t.Errorf("index %.4f of %d rows, %.4f of all", got, sum.kept, index)
	}
	if math.Abs(m.Index(again)-got) > 1e-9 {
		t.Errorf("index %.6f in one order, %.6f in another", got, m.Index(again))
	}
}

// TestLookoutFoldsOnce has a part of the ledger folded a second time, as after a
// correction.
func TestLookoutFoldsOnce(t *testing.T) {
	n, _, w, _ := newLook(t)
	w.offset = 0
	for i := range 500 {
		n.lookout.fold(w.draw(), int64(i))
	}
	for i := range 600 {
		n.lookout.fold(w.draw(), int64(i))
	}
	if h := n.lookout.hours[w.now%int64(len(n.lookout.hours))]; h.rows != 600 {
		t.Errorf("%d rows of 600", h.rows)
	}
	var nobody *lookout
	nobody.fold(w.draw(), 0)
}

func TestLookoutDoesNotAllocate(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	n, b, w, _ := newLook(t)
	var list []schemas.Decision
	w.hours(24, func(d *schemas.Decision) { list = append(list, *d) })
	days := int64(0)
	live := func() {
		for i := range list {
			d := &list[i]
			d.Tx.Time += 24 * hourMs
			n.lookout.add(d)
			if i%10 == 0 {
				n.wholeLook(b)
			}
		}
		days++
	}
	live()
	live()
	// What another test left running may allocate as well, though not every time.
	least := math.Inf(1)
	for range 4 {
		least = min(least, testing.AllocsPerRun(1, live))
	}
	if least > 0 {
		t.Errorf("%v allocations a day", least)
	}
}

// BenchmarkLookout is what one decision costs.
func BenchmarkLookout(b *testing.B) {
	s, _ := spec.Builtin("payments")
	l := newLookout(s)
	d := &schemas.Decision{Features: make([]float32, len(s.Features))}
	d.Tx.Time = 1e12
	b.ReportAllocs()
	for i := range b.N {
		d.Tx.Time += 10 // 100 a second
		d.Place.Offset = int64(i)
		l.add(d)
	}
}

// TestChampionWithoutProfileIsSaidOnce has a bundle from before there were profiles.
func TestChampionWithoutProfileIsSaidOnce(t *testing.T) {
	n, b, w, log := newLook(t)
	old := &serving{bundle: &scoring.Bundle{Hash: [32]byte{7}}, scorer: lookScorer{}}
	for range 3 {
		w.hours(25, func(d *schemas.Decision) { n.lookout.add(d) })
		n.wholeLook(old)
	}
	if got := strings.Count(log.String(), "nothing is watched"); got != 1 || testutil.CollectAndCount(n.Metrics.PSI) > 0 {
		t.Errorf("said %d times:\n%s", got, log)
	}
	// One with a profile that comes after it sees the day before it came.
	n.wholeLook(b)
	if got := testutil.CollectAndCount(n.Metrics.PSI) + testutil.CollectAndCount(n.Metrics.ScorePSI); got != 4 { // the day of the week, which moves by its nature, has none
		t.Errorf("%d series", got)
	}
}

// TestStandbyKeepsTheOwnersSample takes a day and more through the owner's steps, and
// what they wrote through a standby's fold: both have the same rows, so that a take-over
// loses none of the day.
func TestStandbyKeepsTheOwnersSample(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine alone")
	}
	l := newLine(t, "handbook", newSource("handbook", 50, 40*time.Second), 16)
	n := l.owner.node
	p := &scoring.Profile{Score: scoring.NewMargin([]float32{.1, .2}, []float32{1, 1})}
	for range n.lookout.names {
		p.Features = append(p.Features, p.Score)
	}
	n.served[champion].bundle.Profile = p
	folder, state := Folder{lookout: new(lookout)}, NewState(n.Spec, n.Features)
	*folder.lookout = newLookout(n.Spec)
	base := int64(0)
	for range 150 { // 41.7 hours
		l.prepare(t, 25)
		l.step(t)
		var values [][]byte
		for i := range l.flight.out.records() {
			values = append(values, l.flight.out.record(i))
		}
		for range 2 { // as after a correction
			if base > 0 {
				state = NewState(n.Spec, n.Features)
			}
			if err := folder.Fold(state, &l.flight.facts, base, values); err != nil {
				t.Fatal(err)
			}
		}
		base += int64(len(values))
	}
	if w := len(n.lookout.names) - 1; testutil.CollectAndCount(n.Metrics.PSI) != w || testutil.CollectAndCount(n.Metrics.ScorePSI) != 1 {
		t.Errorf("the owner has %d series of %d features", testutil.CollectAndCount(n.Metrics.PSI), w)
	}
	for i := range n.lookout.hours {
		own, fold := &n.lookout.hours[i], &folder.lookout.hours[i]
		if own.hour != fold.hour || own.rows != fold.rows || own.alerts != fold.alerts || own.rows == 0 ||
			!slices.Equal(own.kept, fold.kept) || !slices.EqualFunc(own.x, fold.x, func(a, b float32) bool { return a == b || a != a && b != b }) {
			t.Errorf("hour %d: %d rows, %d kept by the owner, %d and %d by the standby", own.hour, own.rows, len(own.kept), fold.rows, len(fold.kept))
		}
	}
}
