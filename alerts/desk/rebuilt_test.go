package desk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// workedOn are the records of alerts of two weeks, and of what was done with them.
func workedOn(r *rand.Rand, now int64) (as, ds []alerts.Record) {
	for n := range int64(60) {
		raised := now - (60-n)*6*3_600_000
		d := schemas.Decision{Tx: schemas.Transaction{Time: raised, Amount: 100 * (n + 1), AmountBase: 100 * (n + 1)}, Action: schemas.Review, Prob: .5, Bundle: 7, Rank: r.Float32()}
		d.Text[schemas.ID], d.Text[schemas.Card], d.Text[schemas.Currency] = fmt.Appendf(nil, "tx-%d", n), fmt.Appendf(nil, "card-%d", n%20), []byte("EUR")
		as = append(as, alerts.Record{Offset: n, Timestamp: raised, Value: schemas.AppendAlertJSON(nil, &d, 0, n, nil, false)})
		var s alerts.State
		for k := range r.Int64N(9) {
			x := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", len(ds)), AlertID: schemas.AppendAlertID(nil, 0, n), TxID: d.Text[schemas.ID], At: raised + k*900_000,
				By: []byte([]string{"ann", "bob", "sue"}[r.IntN(3)]), Kind: schemas.DispositionKind(r.IntN(int(schemas.NumDispositionKinds))), Previous: []byte(s.Last)}
			switch x.Kind {
			case schemas.Snoozed:
				x.Until = now + 1
			case schemas.Assigned:
				x.To = []byte("bob")
			case schemas.Undone:
				x.Kind = schemas.ClosedGenuine
			}
			s, _, _, _ = s.Apply(&x)
			ds = append(ds, alerts.Record{Offset: int64(len(ds)), Value: schemas.AppendDispositionJSON(nil, &x)})
		}
	}
	return as, ds
}

// TestARebuiltViewShowsTheSamePages, to the byte, in whatever order its topics were
// folded. What is late and who looks again is as the options have it.
func TestARebuiltViewShowsTheSamePages(t *testing.T) {
	var want map[string]string
	for way := range 3 {
		w := newWorld(t, func(o *Options) { o.SecondLooks = 1 })
		w.add("ann", Analyst)
		w.add("sue", Supervisor)
		v := w.server.options.View
		as, ds := workedOn(rand.New(rand.NewPCG(4, 4)), w.clock().UnixMilli())
		fold := func(from, to int, what string) {
			t.Helper()
			var err error
			if what == "alerts" {
				_, err = v.FoldAlerts(t.Context(), 0, as[from:to])
			} else {
				_, err = v.FoldDispositions(t.Context(), ds[from:to])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		switch way {
		case 0:
			fold(0, len(as), "alerts")
			fold(0, len(ds), "dispositions")
		case 1:
			fold(0, len(ds), "dispositions")
			fold(0, len(as), "alerts")
		default:
			fold(0, len(ds)/2, "dispositions")
			fold(0, len(as), "alerts")
			fold(len(ds)/2, len(ds), "dispositions")
		}
		sue, ann := w.browser().enters("sue"), w.browser().enters("ann")
		look, waiting := v.SecondLook("ann", w.clock().UnixMilli())
		if waiting == 0 {
			t.Fatal("no second look waits: the test says nothing of it")
		}
		got := map[string]string{"supervisor": sue.get("/supervisor").is(t, 200, "late</b>, over 1 h").lacks(t, "<b>0 late", "Nothing waits").body, "person": sue.get("/supervisor/people/bob").body,
			"look": ann.get("/second-looks/"+look).is(t, 200, "A second look").body, "queue": sue.get("/queue").body}
		if way == 0 {
			want = got
		}
		for name, page := range got {
			if page != want[name] {
				t.Errorf("way %d: the page %s differs:\n%s\nwant\n%s", way, name, page, want[name])
			}
		}
	}
}
