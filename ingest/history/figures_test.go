package history_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// TestFiguresAreKept writes figures, some twice, and reads days of them.
func TestFiguresAreKept(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		const dayMs = 86_400_000
		day := func(n int64) int64 { return (20_000 + n) * dayMs }
		f := func(n int64, bundle uint64, quantity string, value float64) history.Figure {
			return history.Figure{Day: day(n), Bundle: bundle, Quantity: quantity, Value: value}
		}
		if newest, err := s.Newest(t.Context()); newest != 0 || err != nil {
			t.Fatalf("newest of nothing is %d, %v", newest, err)
		}
		if oldest, err := s.Oldest(t.Context()); oldest != 0 || err != nil {
			t.Fatalf("oldest of nothing is %d, %v", oldest, err)
		}
		note := func(list ...history.Figure) {
			t.Helper()
			if err := s.Note(t.Context(), list); err != nil {
				t.Fatal(err)
			}
		}
		note(f(0, 0, "decisions", 7), f(1, math.MaxUint64, "psi/amount", .1), f(1, 3, "psi/b 'é'", 1e-300))
		note(f(1, 3, "alert_rate", 2), f(2, 3, "alert_rate", 5), f(1, math.MaxUint64, "psi/amount", 1./3))
		note()
		got, err := s.Figures(t.Context(), day(1), day(2))
		want := []history.Figure{f(1, 3, "alert_rate", 2), f(1, 3, "psi/b 'é'", 1e-300), f(1, math.MaxUint64, "psi/amount", 1./3)}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("figures are %+v, %v", got, err)
		}
		l := newLedger(t, 5)
		for i, x := range []struct {
			tenant string
			time   int64
		}{{"a", day(3) + 5}, {"b", day(1) + 7}, {"c", day(2)}} {
			d := l.decision(fmt.Sprint("tx-", i), 2)
			d.Tenant, d.Tx.Time = []byte(x.tenant), x.time
			l.batch(schemas.AppendDecision(nil, d))
		}
		for _, late := range []int64{1, dayMs / 10, 400 * dayMs} { // no record says that the stream has come to its time
			l.now = day(3) + late
			l.batch(schemas.AppendDecision(nil, &schemas.Decision{Place: l.place(), Verdict: schemas.Verdict{Outcome: schemas.Rejected}}))
		}
		write(t, s, l.block(0, 6))
		if newest, err := s.Newest(t.Context()); newest != day(3)+5 || err != nil {
			t.Errorf("newest is %d, %v", newest, err)
		}
		if oldest, err := s.Oldest(t.Context()); oldest != day(1)+7 || err != nil {
			t.Errorf("oldest is %d, %v", oldest, err)
		}
	})
}
