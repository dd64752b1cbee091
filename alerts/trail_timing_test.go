package alerts

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// fillTrail folds as many entries as a desk with 50 people makes.
func fillTrail(b *testing.B, t *Trail, entries int) {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	for from := 0; from < entries; from += foldRecords {
		var rs []Record
		for i := from; i < min(entries, from+foldRecords); i++ {
			e := schemas.AuditEntry{ID: fmt.Appendf(nil, "%032x", i), At: 1_700_000_000_000 + int64(i)*900, Who: fmt.Appendf(nil, "ann%d", r.IntN(50)),
				What: schemas.AuditViewed, Of: fmt.Appendf(nil, "/alerts/0-%d", r.IntN(entries/4+1)), Address: fmt.Appendf(nil, "10.0.0.%d", r.IntN(60))}
			switch r.IntN(20) {
			case 0:
				e.What, e.Of = schemas.AuditLoggedIn, nil
			case 1:
				e.What, e.Of = schemas.AuditDenied, []byte("GET /audit")
			case 2, 3, 4, 5:
				e.Of = []byte("/queue?status=open")
			}
			rs = append(rs, Record{Offset: int64(i), Value: schemas.AppendAuditJSON(nil, &e)})
		}
		if _, err := t.Fold(b.Context(), PlaceAudit, rs); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrail reads pages of a trail of WEIR_ALERTS entries, by each kind of filter
// and from anywhere in it, and says what the slowest in a hundred took.
func BenchmarkTrail(b *testing.B) {
	n := alertsOf(b)
	t, err := OpenTrail(b.Context(), filepath.Join(b.TempDir(), "audit.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	start := time.Now()
	fillTrail(b, t, n)
	folding := time.Since(start)
	for _, c := range []struct {
		name   string
		filter TrailFilter
	}{{"all", TrailFilter{}}, {"who", TrailFilter{Who: "ann7"}}, {"who+what", TrailFilter{Who: "ann7", What: "denied"}}, {"who+address", TrailFilter{Who: "ann7", Address: "10.0.0.3"}},
		{"of", TrailFilter{Of: "0-17"}}, {"of+who", TrailFilter{Of: "/queue?status=open", Who: "ann7"}}, {"never", TrailFilter{Of: "queue", What: "denied"}}, {"nobody", TrailFilter{Who: "eve"}}} {
		b.Run(fmt.Sprintf("entries=%d/by=%s", n, c.name), func(b *testing.B) {
			r := rand.New(rand.NewPCG(2, 2))
			var took []time.Duration
			for b.Loop() {
				c.filter.To = 1_700_000_000_000 + r.Int64N(int64(n)*900)
				start := time.Now()
				if _, err := t.Page(b.Context(), c.filter, "", 100); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(n)/folding.Seconds(), "folded/s")
		})
	}
}
