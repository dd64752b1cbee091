package alerts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// alertsOf is how many alerts a benchmark's view has: WEIR_ALERTS, or few enough to be
// made in passing.
func alertsOf(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("WEIR_ALERTS"))
	if err != nil {
		return 20_000
	}
	return n
}

// fill folds alerts into a view, and closes a share of them; only the folding is timed.
func fill(b *testing.B, v *View, alerts int, closed float64) (folding time.Duration) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	timed := func(do func() error) {
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		folding += time.Since(start)
	}
	place := int64(0)
	for from := 0; from < alerts; from += foldRecords {
		var rs, ds []Record
		for i := int64(from); i < int64(min(alerts, from+foldRecords)); i++ {
			d := decide(r, 0, i, max(1, alerts/4))
			rs = append(rs, Record{Offset: i, Timestamp: 1_700_000_000_000 + i*50, Value: d.json()})
			if r.Float64() < closed {
				x := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", i), AlertID: []byte(d.id()), TxID: d.Text[schemas.ID], Kind: schemas.ClosedGenuine, By: []byte("ann"), At: rs[len(rs)-1].Timestamp}
				ds = append(ds, Record{Offset: place, Value: schemas.AppendDispositionJSON(nil, &x)})
				place++
			}
		}
		timed(func() error { _, err := v.FoldAlerts(b.Context(), 0, rs); return err })
		timed(func() error { _, err := v.FoldDispositions(b.Context(), ds); return err })
	}
	timed(func() error { return v.Index(b.Context()) })
	return folding
}

// BenchmarkFold folds alerts, and the dispositions that close a share of them, into an
// empty view, and makes its indexes.
func BenchmarkFold(b *testing.B) {
	n := alertsOf(b)
	for _, closed := range []float64{0, 1} {
		b.Run(fmt.Sprintf("alerts=%d/closed=%v", n, closed), func(b *testing.B) {
			b.ReportAllocs()
			var folding time.Duration
			rounds := 0
			for b.Loop() {
				v := fresh(b)
				v.Measure(Goals{time.Hour, 0.05})
				folding += fill(b, v, n, closed)
				rounds++
			}
			b.ReportMetric(float64(n*rounds)/folding.Seconds(), "alerts/s")
			b.ReportMetric(folding.Seconds()/float64(rounds), "s/fold")
		})
	}
}

// BenchmarkOpen opens a view that was folded before.
func BenchmarkOpen(b *testing.B) {
	n := alertsOf(b)
	b.Run(fmt.Sprintf("alerts=%d", n), func(b *testing.B) {
		v := fresh(b)
		fill(b, v, n, 0.5)
		b.ReportAllocs()
		for b.Loop() {
			again, err := OpenView(b.Context(), v.file)
			if err == nil {
				err = again.Close()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkQuery asks a view what pages ask it, and reports the slowest in a hundred.
func BenchmarkQuery(b *testing.B) {
	n := alertsOf(b)
	for _, closed := range []float64{0, 0.95} {
		v := fresh(b)
		v.Measure(Goals{time.Hour, 0.05})
		fill(b, v, n, closed)
		for _, q := range queries(b, v) {
			b.Run(fmt.Sprintf("alerts=%d/closed=%v/query=%s", n, closed, q.name), func(b *testing.B) {
				b.ReportAllocs()
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					if err := q.ask(b); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

// question is something that a page asks.
type question struct {
	name string
	ask  func(b *testing.B) error
}

func queries(b *testing.B, v *View) []question {
	const now, limit = 1_800_000_000_000, 50
	queue := func(f Filter) func(b *testing.B) error {
		return func(b *testing.B) error { _, _, err := v.Queue(b.Context(), f, now, "", limit); return err }
	}
	list := []question{
		{"queue", queue(Filter{})},
		{"queue-claimed", queue(Filter{Statuses: []Status{Claimed}})},
		{"queue-unlikely", queue(Filter{ProbMax: 0.001})},
		{"queue-amount", queue(Filter{AmountMin: 50_000, AmountMax: 50_010})},
		{"queue-reason", queue(Filter{Reason: "velocity"})},
		{"queue-text", queue(Filter{Text: "card0000"})},
		{"queue-text-wide", func(b *testing.B) error {
			_, _, err := v.Queue(b.Context(), Filter{Text: "card"}, now, "", limit)
			if errors.Is(err, ErrWide) {
				return nil // as it should be where there are many
			}
			return err
		}},
		{"queue-merchant", queue(Filter{Entity: schemas.Merchant, EntityValue: "shop000001"})},
		{"figures", func(b *testing.B) error { _, err := v.Figures(b.Context(), now); return err }},
		{"related", func(b *testing.B) error {
			_, err := v.Related(b.Context(), schemas.Merchant, "shop000001", limit)
			return err
		}},
		{"case", func(b *testing.B) error {
			if _, err := v.Item(b.Context(), "0-777"); err != nil {
				return err
			}
			_, err := v.Actions(b.Context(), "0-777")
			return err
		}},
		{"best", func(b *testing.B) error { _, err := v.Best(b.Context(), Filter{}, now, ""); return err }},
	}
	// A page far down: the one behind the 19 first.
	_, deep, err := v.Queue(b.Context(), Filter{}, now, "", 19*limit)
	if err != nil {
		b.Fatal(err)
	}
	return append(list, question{"queue-page-20", func(b *testing.B) error {
		_, _, err := v.Queue(b.Context(), Filter{}, now, deep, limit)
		return err
	}})
}

// remember puts alerts into a view's memory alone, whose file does not slow this down:
// as after a month of 200 analysts, a share closed, the rest in all states.
func remember(v *View, alerts int, closed float64) (now int64) {
	const begin, month = 1_700_000_000_000, 30 * dayMs
	r := rand.New(rand.NewPCG(1, 1))
	v.Measure(Goals{time.Hour, 0.05})
	for i := range int64(alerts) {
		a := arrival{row: row{key: i, raised: begin + i*month/int64(alerts), amount: r.Int64N(100_000), rank: r.Float32(), prob: r.Float32()}, entity: fmt.Sprint(r.IntN(alerts/4 + 1)), channel: "pos"}
		v.memory.arrive(&a)
		who := fmt.Sprintf("analyst%d", r.IntN(200))
		s := State{Status: Status(r.IntN(int(Fraud))), Owner: who, Until: begin + month + r.Int64N(dayMs), By: who, Escalated: r.IntN(20) == 0}
		if r.Float64() < closed {
			at := a.row.raised + r.Int64N(3*3_600_000)
			s = State{Status: Fraud + Status(r.IntN(2)), Closing: Closing{By: who, At: at, Took: r.Int64N(600_000), Draw: r.Uint32(), Fraud: r.IntN(2) == 0}}
			if r.IntN(20) == 0 {
				s.Review = Review{By: "other", At: at, Fraud: r.IntN(2) == 0}
				s.Settled = r.IntN(100) > 0
			}
		}
		v.memory.change(i, s)
	}
	return begin + month
}

// BenchmarkCounts asks for what is counted along, and reports the slowest in a hundred.
func BenchmarkCounts(b *testing.B) {
	n := alertsOf(b)
	for _, closed := range []float64{0, 0.95} {
		v := fresh(b)
		now := remember(v, n, closed)
		for _, q := range []struct {
			name string
			ask  func()
		}{
			{"figures", func() { _, _ = v.Figures(b.Context(), now) }},
			{"overview", func() { v.overview(now, 30) }},
			{"second-look", func() { v.SecondLook("other", now) }},
			{"held", func() { v.held("analyst7", false, 100) }},
		} {
			b.Run(fmt.Sprintf("alerts=%d/closed=%v/of=%s", n, closed, q.name), func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					q.ask()
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}
