package alerts

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWhatWaitsForASecondLookIsHidden asks everything of a view for somebody who gives
// second looks, at times of all kinds, and holds the answers to what is left when what is
// hidden from them is taken away by hand.
func TestWhatWaitsForASecondLookIsHidden(t *testing.T) {
	const share = .6
	l := randomLogs(rand.New(rand.NewPCG(11, 3)), 200, 2000)
	v := fresh(t)
	v.Measure(Goals{Looks: share})
	for k, log := range l.alerts {
		if _, err := v.FoldAlerts(t.Context(), int32(k), log); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.FoldDispositions(t.Context(), l.dispositions); err != nil {
		t.Fatal(err)
	}
	all := items(t, v, l)
	last := int64(0)
	for i := range all {
		last = max(last, all[i].Closing.At)
	}
	seen := 0
	for _, now := range []int64{last, last + UndoMs + 1, last + LooksWithin.Milliseconds() - 3_600_000, last + LooksWithin.Milliseconds() + 1} {
		for _, who := range []string{"ann", "bob", "eve"} {
			hidden := func(x Item) bool {
				return x.Status.Closed() && x.Review.By == "" && !x.Escalated && !x.Settled && x.Closing.By != who &&
					now-x.Closing.At <= LooksWithin.Milliseconds() && float64(x.Closing.Draw) < share*(1<<32)
			}
			seen += hiddenFrom(t, v, all, who, now, hidden)
		}
	}
	if seen < 20 {
		t.Errorf("only %d were hidden from anybody", seen)
	}
}

func hiddenFrom(t *testing.T, v *View, all []Item, who string, now int64, hidden func(Item) bool) (n int) {
	t.Helper()
	ctx := ReadBy(t.Context(), who, now)
	for i := range all {
		id, want := string(all[i].ID), all[i].State
		h := hidden(all[i])
		if h {
			n++
			want = State{Status: InSecondLook}
		}
		if x, err := v.Item(ctx, id); err != nil || x.Status != want.Status || x.Last != want.Last || x.By != want.By || x.Labels != want.Labels || x.Closing != want.Closing {
			t.Fatalf("%s is told of alert %s: %+v, want %+v, %v", who, id, x.State, want, err)
		}
		if x, err := v.Item(Unblinded(ctx), id); err != nil || x.Status != all[i].Status || v.Hides(ctx, id) != h || v.Hides(Unblinded(ctx), id) {
			t.Fatalf("alert %s: %+v, hidden from %s: %v, want %v, %v", id, x.State, who, v.Hides(ctx, id), h, err)
		}
		actions, err := v.Actions(t.Context(), id)
		if h {
			actions = slices.DeleteFunc(actions, func(a Action) bool { return string(a.By) != who })
		}
		if got, err2 := v.Actions(ctx, id); err != nil || err2 != nil || len(got) != len(actions) {
			t.Fatalf("%s is told of %d actions of alert %s, want %d, %v, %v", who, len(got), id, len(actions), err, err2)
		}
		entity, value := all[i].Case()
		related, err := v.Related(ctx, entity, value, 100)
		if k := slices.IndexFunc(related, func(x Item) bool { return string(x.ID) == id }); err != nil || k < 0 || (related[k].Status == InSecondLook) != h {
			t.Fatalf("what is related to alert %s: %+v, %v", id, related, err)
		}
	}
	shown := slices.DeleteFunc(slices.Clone(all), hidden)
	for s := range NumStatuses {
		f := Filter{Statuses: []Status{s}}
		want := ids(ranked(shown, f, now))
		got, _, err := v.Items(ctx, f, now, "", 1000)
		if err != nil || !slices.Equal(ids(got), want) {
			t.Fatalf("%s is listed %v as %v, want %v, %v", who, ids(got), s, want, err)
		}
		cases, _, err := v.Queue(ctx, f, now, "", 1000)
		total := 0
		for _, c := range cases {
			total += c.Alerts
		}
		if err != nil || total != len(want) {
			t.Fatalf("the queue of %s counts %d as %v, want %d, %v", who, total, s, len(want), err)
		}
	}
	return n
}
