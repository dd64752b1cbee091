package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// A past is decisions with vectors, and labels that came of them, as a test makes
// them: every number is the seed's.
type past struct {
	t         testing.TB
	spec      *spec.Spec
	decisions []schemas.Decision
	labels    []schemas.Label
	tells     int // the first of three columns that tell frauds
}

const pastStart = int64(1_750_000_000_000)

// newPast draws n decisions over days; frauds are known after three days, and what
// an analyst saw is genuine after one.
func newPast(t testing.TB, seed uint64, n, days int) *past { return newPastBy(t, seed, n, days, 0) }

func newPastBy(t testing.TB, seed uint64, n, days, tells int) *past {
	s, _ := spec.Builtin("handbook")
	p := &past{t: t, spec: s, tells: tells}
	r := rand.New(rand.NewPCG(seed, 0))
	step := int64(days) * dayMs / int64(n)
	for i := range n {
		// Several are of the same time, so that their order has to be said.
		p.add(r, pastStart+int64(i)*step/1000*1000-int64(r.IntN(2))*step, fmt.Sprintf("t%d", i))
	}
	return p
}

// add draws a decision and its labels.
func (p *past) add(r *rand.Rand, at int64, id string) {
	fraud := r.IntN(12) == 0
	x := make([]float32, len(p.spec.Features))
	for k := range x {
		x[k] = float32(r.NormFloat64())
		if fraud && k >= p.tells && k < p.tells+3 {
			x[k] += 1.5
		}
	}
	n := int64(len(p.decisions))
	d := schemas.Decision{Place: schemas.Place{Offset: n, Prev: n - 1, Timestamp: at},
		Tx: schemas.Transaction{Time: at, Amount: 100 + r.Int64N(100_000), AmountBase: 100 + r.Int64N(100_000)}, Features: x,
		Spec: schemas.HashPrefix(p.spec.Hash), Bundle: 5, Score: 0.5, Prob: 0.5}
	d.Text[schemas.ID], d.Text[schemas.Customer] = []byte(id), fmt.Appendf(nil, "c%d", r.IntN(200))
	if r.IntN(3) == 0 {
		d.Tenant = []byte("another")
	}
	if n%3 == 0 {
		d.Action, d.ReviewProb = schemas.Review, 1
	}
	p.decisions = append(p.decisions, d)
	l := schemas.Label{TxID: []byte(id), Source: schemas.Analyst, Version: 1, Verdict: schemas.LabelGenuine, KnownAt: at + dayMs}
	if fraud {
		l.Verdict, l.KnownAt = schemas.LabelFraud, at+3*dayMs
	}
	if fraud || r.IntN(10) == 0 {
		p.labels = append(p.labels, l)
	}
}

// write writes all into a new history.
func (p *past) write(where string) {
	p.t.Helper()
	store, err := history.Open(p.t.Context(), where, history.Options{})
	if err == nil {
		_, err = store.Migrate(p.t.Context())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	w := pastWriter{store: store}
	for i := range p.decisions {
		w.add(p.t, schemas.AppendDecision(nil, &p.decisions[i]))
	}
	for i := range p.labels {
		l := &p.labels[i]
		l.Place = schemas.Place{Offset: int64(i), Prev: int64(i) - 1}
		w.add(p.t, schemas.AppendLabelEntry(nil, l))
	}
	w.flush(p.t)
	if err := store.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// A pastWriter writes records of a ledger into a history, block by block.
type pastWriter struct {
	store  history.Store
	at     history.Position
	values [][]byte
}

func (w *pastWriter) add(t testing.TB, value []byte) {
	if w.values = append(w.values, value); len(w.values) == 20_000 {
		w.flush(t)
	}
}

func (w *pastWriter) flush(t testing.TB) {
	t.Helper()
	f := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: w.at.Head.Sequence + 1}, Extends: w.at.Head, Records: uint32(len(w.values)), AlertsMark: -1, DeadMark: -1}
	var b history.Block
	b.Reset(history.Ledger, 0, "transactions", w.at)
	b.AddBatch(w.at.Offset, pastStart, &f, w.values)
	if err := w.store.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	w.at.Offset, w.at.Head = w.at.Offset+int64(len(w.values)), f.ID
	w.values = w.values[:0]
}

// learn trains of a history as of a day, and returns the bundle's bytes.
func (p *past) learn(where string, day int, extra ...string) (data string, rep trainReport) {
	p.t.Helper()
	t := p.t.(*testing.T)
	out := filepath.Join(t.TempDir(), "model.weir")
	args := []string{"train", "--history", where, "--spec", "handbook", "--ripe", "5d", "--iterations", "8", "--key", "sign.key", "--out", out, "--json"}
	if day > 0 {
		args = append(args, "--as-of", rfc3339(pastStart+int64(day)*dayMs))
	}
	lastLine(t, call(t, append(args, extra...)...).succeeds(t).stdout, &rep)
	return content(t, out), rep
}

// clickhouseDatabase returns the URL of a new database where WEIR_CLICKHOUSE names
// a server, and empty otherwise.
func clickhouseDatabase(t testing.TB) string {
	t.Helper()
	server := os.Getenv("WEIR_CLICKHOUSE")
	if server == "" {
		return ""
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("WEIR_CLICKHOUSE is no URL")
	}
	u.Path = fmt.Sprintf("/weir_test_%08x", rand.Uint32())
	o, err := clickhouse.ParseDSN(server)
	if err != nil {
		t.Fatal("WEIR_CLICKHOUSE is no URL")
	}
	t.Cleanup(func() {
		conn, err := clickhouse.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS `"+u.Path[1:]+"`"); err != nil {
			t.Error(err)
		}
	})
	return u.String()
}

// TestAHistoryGivesTheSameBundle learns twice of each store there is, all rows and
// a sample, and wants the same bytes.
func TestAHistoryGivesTheSameBundle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	t.Chdir(t.TempDir())
	n, ways := 4000, [][]string{nil, {"--sample", "0.3"}, {"--days", "30", "--sample", "0.9"}}
	if testing.Short() { // SQLite is slow under the race detector
		n, ways = 1200, ways[:1]
	}
	p := newPast(t, seed, n, 40)
	stores := []string{"history.db"}
	if u := clickhouseDatabase(t); u != "" {
		stores = append(stores, u)
	}
	for _, flags := range ways {
		want := ""
		for i, where := range stores {
			if flags == nil {
				p.write(where)
			}
			for range 2 {
				got, _ := p.learn(where, 0, flags...)
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("store %d with %q gives other bytes", i, flags)
				}
			}
		}
	}
}

// TestTrainingOfAHistorySaysWhatItTook checks the counts by a second way, and that
// what was thinned weighs as much.
func TestTrainingOfAHistorySaysWhatItTook(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p := newPast(t, 1, 4000, 40)
	p.write("history.db")
	asOf := pastStart + 35*dayMs
	known := make(map[string]schemas.LabelVerdict)
	for _, l := range p.labels {
		if l.KnownAt <= asOf {
			known[string(l.TxID)] = l.Verdict
		}
	}
	want := pastReport{AsOf: rfc3339(asOf)}
	for i := range p.decisions {
		d := &p.decisions[i]
		v, at := known[string(d.Text[schemas.ID])], d.Tx.Time
		if at > asOf {
			continue
		}
		want.Seen++
		switch {
		case at > asOf-5*dayMs:
			want.Unripe++
		case v == schemas.LabelFraud:
			want.Frauds++
		default:
			want.Genuine++
		}
	}
	want.Taken = want.Genuine
	_, rep := p.learn("history.db", 35)
	if *rep.History != want || want.Unripe == 0 || rep.Rows != want.Genuine+want.Frauds {
		t.Errorf("%+v, want %+v", *rep.History, want)
	}
	_, thin := p.learn("history.db", 35, "--sample", "0.25")
	if n := thin.History.Taken; math.Abs(float64(n)-0.25*float64(want.Genuine)) > 4*math.Sqrt(0.2*float64(want.Genuine)) || thin.Rows != n+want.Frauds {
		t.Errorf("of %d genuine rows %d were taken, want about a quarter; %d rows in all", want.Genuine, n, thin.Rows)
	}
	// The probabilities are those of the whole, whatever was thinned.
	if all, few := rep.Held.LogLoss, thin.Held.LogLoss; math.Abs(all-few) > 0.06 {
		t.Errorf("the loss is %.3f with all rows, %.3f with the sample", all, few)
	}
	if _, rep := p.learn("history.db", 0); !rep.History.Default || rep.History.AsOf <= rfc3339(asOf) {
		t.Errorf("without a date it was learnt as of %+v", *rep.History)
	}
}

// TestTheFutureIsNotLearnt draws what comes after the date anew, decisions and
// labels: not a byte of the bundle may change. One label of before it has to change
// some.
func TestTheFutureIsNotLearnt(t *testing.T) {
	seed, n, tries := rand.Uint64(), 3000, 8
	if testing.Short() {
		n, tries = 1200, 1
	}
	t.Logf("seed %d", seed)
	t.Chdir(t.TempDir())
	const day = 30
	asOf := pastStart + day*dayMs
	p := newPast(t, seed, n, 40)
	p.write("0.db")
	want, _ := p.learn("0.db", day)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range tries {
		other := p.before(asOf)
		for k := range n/10 + r.IntN(n/6) {
			other.add(r, asOf+1+r.Int64N(10*dayMs), fmt.Sprintf("u%d", k))
		}
		// A label that comes later may be of a decision of before.
		for range n / 10 {
			d := &p.decisions[r.IntN(len(p.decisions))]
			other.labels = append(other.labels, schemas.Label{TxID: d.Text[schemas.ID], Source: schemas.LabelSource(r.IntN(int(schemas.NumLabelSources))),
				Version: 2 + uint32(len(other.labels)), Verdict: schemas.LabelVerdict(1 + r.IntN(2)), KnownAt: asOf + 1 + r.Int64N(dayMs)})
		}
		where := fmt.Sprintf("future%d.db", i)
		other.write(where)
		if got, _ := other.learn(where, day); got != want {
			t.Fatalf("another future gives other bytes, seed %d, try %d", seed, i)
		}
	}
	for i := range tries {
		other := p.before(asOf)
		old := r.IntN(len(other.labels))
		for other.labels[old].KnownAt > asOf-12*dayMs { // among the rows of the weights
			old = r.IntN(len(other.labels))
		}
		l := &other.labels[old]
		l.Verdict = schemas.LabelFraud + schemas.LabelGenuine - l.Verdict
		where := fmt.Sprintf("past%d.db", i)
		other.write(where)
		if got, _ := other.learn(where, day); got == want {
			t.Errorf("another label of the past gives the same bytes, seed %d, try %d", seed, i)
		}
	}
}

// TestYoungRowsCountAsTheyWereChosen reads a history of which all is young: the
// higher a score the likelier is fraud, what scores high is an alert, and of the rest
// one in ten is explored. Frauds are reported early as well, which must not count:
// the share of frauds among the rows, as they weigh, is that of all decisions. Where
// rows are not weighed none counts.
func TestYoungRowsCountAsTheyWereChosen(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	seed, n := rand.Uint64(), 20_000
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	p := newPast(t, seed, n, 4)
	p.labels = nil
	frauds := 0
	for i := range p.decisions {
		d := &p.decisions[i]
		score := r.Float64()
		d.Action, d.ReviewProb = schemas.Allow, .1
		if score > .95 {
			d.Action, d.ReviewProb = schemas.Review, float32(i%2) // 0 is a rule's
		} else if r.Float64() < .1 {
			d.Action = schemas.Review
		}
		l := schemas.Label{TxID: d.Text[schemas.ID], Source: schemas.Analyst, Version: 1, Verdict: schemas.LabelGenuine, KnownAt: d.Tx.Time + 1000}
		fraud := r.Float64() < .3*score*score*score
		if fraud {
			l.Verdict = schemas.LabelFraud
			frauds++
		}
		if d.Action == schemas.Review {
			p.labels = append(p.labels, l)
		} else if fraud && r.IntN(2) == 0 {
			l.Source = schemas.IssuerReport
			p.labels = append(p.labels, l)
		}
	}
	p.write("history.db")
	store, err := history.Open(t.Context(), "history.db", history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q := trainer.HistoryQuery{Spec: p.spec, From: math.MinInt64, AsOf: pastStart + 5*dayMs, Ripe: 90 * 24 * time.Hour, RowsMax: n}
	rows, err := trainer.ReadHistory(t.Context(), store, q)
	if err != nil {
		t.Fatal(err)
	}
	if rows.Rows() != 0 || rows.Unripe != n {
		t.Errorf("%d of %d young rows count, %d are unripe", rows.Rows(), n, rows.Unripe)
	}
	q.Weigh = trainer.WeighAlways
	if rows, err = trainer.ReadHistory(t.Context(), store, q); err != nil {
		t.Fatal(err)
	}
	if rows.Unripe+rows.Rows() != n || rows.Unseen != 0 {
		t.Errorf("of %d young rows %d count, %d are unripe, %d unseen", n, rows.Rows(), rows.Unripe, rows.Unseen)
	}
	weight := [2]float64{}
	for i, y := range rows.Y {
		weight[int(y)] += float64(rows.Weight[i])
	}
	// Four deviations of what chance does to 1,900 explored rows of ten each.
	want, got := float64(frauds)/float64(n), weight[1]/(weight[0]+weight[1])
	if sd := math.Sqrt(want * (1 - want) * 10 / float64(n)); math.Abs(got-want) > 4*sd {
		t.Errorf("%.4f of the rows are fraud, of all decisions %.4f (deviation %.4f)", got, want, sd)
	}
	if all := weight[0] + weight[1]; math.Abs(all/float64(n)-1) > .1 {
		t.Errorf("the rows stand for %.0f decisions of %d", all, n)
	}
}

// before returns a copy of what was known at a time.
func (p *past) before(asOf int64) *past {
	c := &past{t: p.t, spec: p.spec, tells: p.tells}
	for _, d := range p.decisions {
		if d.Tx.Time <= asOf {
			c.decisions = append(c.decisions, d)
		}
	}
	for _, l := range p.labels {
		if l.KnownAt <= asOf {
			c.labels = append(c.labels, l)
		}
	}
	return c
}

func TestTrainHistoryFailure(t *testing.T) {
	notForRace(t)
	t.Chdir(t.TempDir())
	p := newPast(t, 2, 3000, 40)
	p.write("history.db")
	f := func(code int, words string, args ...string) {
		t.Helper()
		call(t, append([]string{"train", "--spec", "handbook", "--key", "sign.key", "--out", "model.weir"}, args...)...).fails(t, code, words)
	}
	f(exitUsage, "--history", "--days", "3", "x.csv")
	f(exitUsage, "no files", "--history", "history.db", "x.csv")
	f(exitUsage, "--sample", "--history", "history.db", "--sample", "2")
	f(exitUsage, "--days", "--history", "history.db", "--days", "3", "--from", "2026-01-01")
	f(exitFailed, "no such file", "--history", "nothing.db")
	f(exitFailed, "no decision with a vector of the spec payments", "--history", "history.db", "--spec", "payments")
	f(exitFailed, "too little to learn from", "--history", "history.db", "--days", "1")
	if _, err := os.Stat("nothing.db"); err == nil {
		t.Error("a history was made")
	}
}
