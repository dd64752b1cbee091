package alerts

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// looked is an overview as a plain look at every alert gives it, but for medians.
func looked(all []Item, now int64, days int, within time.Duration) (o Overview) {
	for n := dayOf(now) - int64(days) + 1; n <= dayOf(now); n++ {
		o.Days = append(o.Days, Day{Begins: n * dayMs})
	}
	load, today, week := make(map[string]Load), make(map[string]Work), make(map[string]Work)
	for i := range all {
		x := &all[i]
		o.Newest = max(o.Newest, x.Raised)
		if !x.Status.Closed() {
			o.lookAtOpen(x, now, within, load)
			continue
		}
		o.Closed++
		ago := dayOf(now) - dayOf(x.Closing.At)
		fraud := int64(bit(x.Status == Fraud))
		if ago >= 0 && ago < int64(days) {
			d := &o.Days[int64(days)-1-ago]
			d.Closed++
			d.Fraud += fraud
			d.Caught += fraud * x.Tx.AmountBase
			d.Late += int64(bit(x.Closing.At-x.Raised > within.Milliseconds()))
		}
		for reach, to := range map[int64]map[string]Work{1: today, 7: week} {
			if w := to[x.Closing.By]; ago >= 0 && ago < reach {
				to[x.Closing.By] = Work{Closed: w.Closed + 1, Fraud: w.Fraud + int64(bit(x.Closing.Fraud)), Timed: w.Timed + int64(bit(x.Closing.Took > 0))}
			}
		}
		if x.Review.By != "" {
			a := &o.Agreement
			*[2][2]*int64{{&a.BothGenuine, &a.FirstGenuine}, {&a.FirstFraud, &a.BothFraud}}[bit(x.Closing.Fraud)][bit(x.Review.Fraud)]++
		}
		if x.Disputed() {
			o.Disputed = append(o.Disputed, *x)
		}
	}
	for _, l := range load {
		o.Load = append(o.Load, l)
	}
	for name := range week {
		for to, w := range map[*Work]Work{&o.All.Today: today[name], &o.All.Week: week[name]} {
			to.Closed, to.Fraud, to.Timed = to.Closed+w.Closed, to.Fraud+w.Fraud, to.Timed+w.Timed
		}
		o.Analysts = append(o.Analysts, Analyst{name, today[name], week[name]})
	}
	slices.SortFunc(o.Load, func(a, b Load) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(o.Analysts, func(a, b Analyst) int { return cmp.Compare(a.Name, b.Name) })
	byAge := func(at func(*Item) int64) func(a, b Item) int {
		return func(a, b Item) int {
			return cmp.Or(cmp.Compare(at(&a), at(&b)), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Offset, b.Offset))
		}
	}
	slices.SortFunc(o.Proposed, byAge(func(x *Item) int64 { return x.Raised }))
	slices.SortFunc(o.Disputed, byAge(func(x *Item) int64 { return x.Closing.At }))
	o.NumProposed, o.NumDisputed = len(o.Proposed), len(o.Disputed)
	o.Proposed, o.Disputed = o.Proposed[:min(listMax, o.NumProposed)], o.Disputed[:min(listMax, o.NumDisputed)]
	return o
}

func (o *Overview) lookAtOpen(x *Item, now int64, within time.Duration, load map[string]Load) {
	status, age := x.At(now), now-x.Raised
	if status == ProposedFraud || status == ProposedGenuine {
		o.Proposed = append(o.Proposed, *x)
	}
	if status == Claimed {
		l, ok := load[x.Owner]
		if !ok {
			l = Load{Name: x.Owner, Oldest: x.Raised}
		}
		load[x.Owner] = Load{x.Owner, l.Claimed + 1, l.Given + int64(bit(x.Since == 0)), min(l.Oldest, x.Raised)}
	}
	band := 0
	for _, bound := range Ages {
		band += bit(age >= bound.Milliseconds())
	}
	b := &o.Backlog[band]
	o.Escalated += int64(bit(x.Escalated))
	counts := map[Status]*int64{Open: &o.Open, ProposedFraud: &o.Open, ProposedGenuine: &o.Open, Claimed: &o.Claimed, Snoozed: &o.Snoozed}
	*counts[status]++
	if x.Escalated {
		b.Escalated++
	} else {
		*map[Status]*int64{Open: &b.Open, Claimed: &b.Claimed, Snoozed: &b.Snoozed}[status]++
	}
	late := int64(bit(age > within.Milliseconds()))
	o.Late += late
	o.LateSnoozed += late * int64(bit(status == Snoozed))
	if status != Snoozed && (o.OldestOpen == 0 || x.Raised < o.OldestOpen) {
		o.OldestOpen = x.Raised
	}
}

// TestOverviewIsWhatALookAtEveryAlertGives stops a fold again and again, and holds what
// was counted on the way to what stands in the alerts then.
func TestOverviewIsWhatALookAtEveryAlertGives(t *testing.T) {
	const within, share = 20 * time.Minute, .6
	l := randomLogs(rand.New(rand.NewPCG(7, 7)), 300, 2400)
	v := fresh(t)
	v.Measure(Goals{within, share})
	for k, log := range l.alerts {
		if _, err := v.FoldAlerts(t.Context(), int32(k), log); err != nil {
			t.Fatal(err)
		}
	}
	var seen Overview
	putOff := int64(0)
	const cuts = 8
	for cut := range cuts {
		part := l.dispositions[len(l.dispositions)*cut/cuts : len(l.dispositions)*(cut+1)/cuts]
		if _, err := v.FoldDispositions(t.Context(), part); err != nil {
			t.Fatal(err)
		}
		all := items(t, v, l)
		for _, hours := range []int64{1, 2, 30, 24 * 7, 24 * 20} {
			now := 1_700_000_100_000 + hours*3_600_000
			got, err := v.Overview(t.Context(), now, 10)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Analysts {
				got.Analysts[i].Today.Median, got.Analysts[i].Week.Median = 0, 0
			}
			got.All.Today.Median, got.All.Week.Median = 0, 0
			// The log's times are within the days that agreement is counted over.
			if got, want := in(got), in(looked(all, now, 10, within)); got != want {
				t.Fatalf("cut %d, after %d h:\n%s\nwant\n%s", cut, hours, got, want)
			}
			if figures, _ := v.Figures(t.Context(), now); figures != got.Figures {
				t.Fatalf("cut %d, after %d h: figures %+v, %+v", cut, hours, figures, got.Figures)
			}
			if putOff += got.LateSnoozed; len(got.Analysts) > 0 {
				seen = got
			}
			lookedAt(t, v, all, now, share)
		}
	}
	if a := seen.Agreement; min(a.BothFraud, a.BothGenuine, a.FirstFraud, a.FirstGenuine, int64(seen.NumDisputed), int64(seen.NumProposed), seen.Late, putOff) == 0 || len(seen.Load) < 2 {
		t.Errorf("%s: too little to tell", in(seen))
	}
	other := Goals{time.Hour, 1}
	v.Measure(other)
	now := int64(1_700_000_100_000 + 30*3_600_000)
	got, err := v.Overview(t.Context(), now, 3)
	if want := looked(items(t, v, l), now, 3, other.Within); err != nil || !slices.Equal(got.Days, want.Days) || got.Late != want.Late {
		t.Errorf("by other goals %+v, want %+v, %v", got.Days, want.Days, err)
	}
}

// in writes an overview down, with the ids alone of what it lists.
func in(o Overview) string {
	proposed, disputed := ids(o.Proposed), ids(o.Disputed)
	o.Proposed, o.Disputed = nil, nil
	return fmt.Sprintf("%+v %v %v", o, proposed, disputed)
}

// lookedAt holds who is given which second look, and who was given what, to the alerts.
func lookedAt(t *testing.T, v *View, all []Item, now int64, share float64) {
	t.Helper()
	for _, who := range []string{"ann", "bob", "sue", "eve"} {
		given, waiting := v.SecondLook(who, now)
		n, found := 0, given == ""
		for i := range all {
			x := &all[i]
			age := now - x.Closing.At
			want := x.Status.Closed() && x.Review.By == "" && !x.Escalated && !x.Settled && x.Closing.By != who && age > UndoMs && age <= LooksWithin.Milliseconds() &&
				float64(x.Closing.Draw) < share*math.Pow(2, 32)
			n += bit(want)
			found = found || want && given == string(x.ID)
			if v.Awaits(string(x.ID), who, now) != want {
				t.Fatalf("%s is asked for alert %s: %v", who, x.ID, !want)
			}
		}
		if n != waiting || !found || (given == "") != (n == 0) {
			t.Fatalf("%s is given %q of %d, want one of %d", who, given, waiting, n)
		}
		held := slices.DeleteFunc(ranked(all, Filter{Statuses: []Status{Claimed}, Owner: who}, now), func(x Item) bool { return x.Owner != who })
		const limit = 3
		list, n, err := v.Held(t.Context(), who, limit)
		if err != nil || n != len(held) || !slices.Equal(ids(list), ids(held[:min(limit, n)])) {
			t.Fatalf("%s has %v of %d, want %v, %v", who, ids(list), n, ids(held), err)
		}
		begun := slices.DeleteFunc(held, func(x Item) bool { return x.Since != 0 })
		x, err := v.Given(t.Context(), who)
		if len(begun) == 0 && err == nil || len(begun) > 0 && (err != nil || string(x.ID) != string(begun[0].ID)) {
			t.Fatalf("%s is given %s, want %v, %v", who, x.ID, ids(begun), err)
		}
	}
}

func ids(list []Item) (out []string) {
	for i := range list {
		out = append(out, string(list[i].ID))
	}
	return out
}

// TestTwoAreSeldomGivenTheSameLook: of many who ask at once.
func TestTwoAreSeldomGivenTheSameLook(t *testing.T) {
	v, r := fresh(t), rand.New(rand.NewPCG(1, 9))
	v.Measure(Goals{Looks: 1})
	var as, ds []Record
	for i := range int64(100) {
		d := decide(r, 0, i, 1000)
		as = append(as, Record{Offset: i, Value: d.json()})
		x := schemas.Disposition{ID: []byte(d.id()), AlertID: []byte(d.id()), TxID: []byte("t"), Kind: schemas.ClosedFraud, By: []byte("ann"), At: 1}
		ds = append(ds, Record{Offset: i, Value: schemas.AppendDispositionJSON(nil, &x)})
	}
	if _, err := v.FoldAlerts(t.Context(), 0, as); err != nil {
		t.Fatal(err)
	}
	if _, err := v.FoldDispositions(t.Context(), ds); err != nil {
		t.Fatal(err)
	}
	given := make(map[string]bool)
	for i := range 10 {
		id, waiting := v.SecondLook(string(rune('b'+i)), UndoMs+2)
		again, _ := v.SecondLook(string(rune('b'+i)), UndoMs+2)
		if waiting != 100 || id != again {
			t.Fatalf("%s, then %s of %d", id, again, waiting)
		}
		given[id] = true
	}
	if len(given) < 7 {
		t.Errorf("ten are given %d", len(given))
	}
}

func TestKappa(t *testing.T) {
	f := func(a Agreement, share, kappa float64) {
		t.Helper()
		if s, k := a.Share(), a.Kappa(); math.Abs(s-share) > 1e-9 || math.Abs(k-kappa) > 1e-9 || (k != k) != (kappa != kappa) {
			t.Errorf("%+v: share %v, kappa %v", a, s, k)
		}
	}
	// Cohen's own kind of example: 20 and 15 agree of 50.
	f(Agreement{BothFraud: 20, BothGenuine: 15, FirstFraud: 5, FirstGenuine: 10}, .7, .4)
	f(Agreement{BothFraud: 3, BothGenuine: 3}, 1, 1)
	f(Agreement{FirstFraud: 4, FirstGenuine: 4}, 0, -1)
	f(Agreement{BothFraud: 9}, 1, math.NaN())
}

// TestMedian holds what is read from bins to the values themselves.
func TestMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		var took [bins]uint32
		var values []float64
		top := math.Exp(r.Float64()*10 + 1)
		for range 1 + r.IntN(200) {
			s := 1 + r.Float64()*top
			values = append(values, s)
			took[binOf(int64(s*1000))]++
		}
		slices.Sort(values)
		got, want := median(&took).Seconds(), values[(len(values)-1)/2]
		if got < want/1.2 || got > want*1.2 {
			t.Fatalf("median of %d is %v, want %v", len(values), got, want)
		}
	}
	if median(&[bins]uint32{}) != 0 || binOf(0) != 0 || binOf(1) != 1 || binOf(math.MaxInt64) != bins-1 {
		t.Error("the ends")
	}
}
