package history_test

import (
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
		d := l.decision("tx-1", 2)
		d.Tx.Time = day(3) + 5
		l.batch(schemas.AppendDecision(nil, d))
		write(t, s, l.block(0, 1))
		if newest, err := s.Newest(t.Context()); newest != day(3)+5 || err != nil {
			t.Errorf("newest is %d, %v", newest, err)
		}
	})
}
