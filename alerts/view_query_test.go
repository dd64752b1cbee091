package alerts

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// asks reports whether a filter asks for an alert, by what its comments say.
func asks(f *Filter, x *Item, now int64) bool {
	status, prob := x.At(now), float64(x.Prob)
	statuses := f.Statuses
	if len(statuses) == 0 {
		statuses = []Status{Open, Claimed, Snoozed, ProposedFraud, ProposedGenuine}
	}
	prefixed := strings.HasPrefix(string(x.ID), f.Text)
	for _, t := range textFields {
		prefixed = prefixed || strings.HasPrefix(string(x.Text[t]), f.Text)
	}
	for _, no := range []bool{
		!slices.Contains(statuses, status), f.Escalated != nil && x.Escalated != *f.Escalated, f.Owner != "" && x.Owner != f.Owner,
		f.ProbMin != 0 && !(prob >= f.ProbMin), f.ProbMax != 0 && !(prob <= f.ProbMax),
		f.AmountMin != 0 && x.Tx.AmountBase < f.AmountMin, f.AmountMax != 0 && x.Tx.AmountBase > f.AmountMax,
		f.RaisedFrom != 0 && x.Raised < f.RaisedFrom, f.RaisedTo != 0 && x.Raised >= f.RaisedTo,
		f.Reason != "" && !slices.ContainsFunc(x.Reasons, func(r schemas.AlertReason) bool { return string(r.Group) == f.Reason }),
		f.EntityValue != "" && string(x.Text[f.Entity]) != f.EntityValue, f.Channel != "" && string(x.Text[schemas.Channel]) != f.Channel,
		f.Text != "" && !prefixed,
	} {
		if no {
			return false
		}
	}
	return true
}

// items are all alerts of logs.
func items(t *testing.T, v *View, l *logs) (list []Item) {
	t.Helper()
	for _, id := range l.ids {
		x, err := v.Item(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	return list
}

// ranked are the alerts that a filter asks for, in their order.
func ranked(all []Item, f Filter, now int64) (list []Item) {
	for i := range all {
		if asks(&f, &all[i], now) {
			list = append(list, all[i])
		}
	}
	rank := func(x *Item) float64 {
		if x.Rank != x.Rank {
			return math.Inf(-1)
		}
		return float64(x.Rank)
	}
	slices.SortFunc(list, func(a, b Item) int {
		return cmp.Or(cmp.Compare(rank(&b), rank(&a)), cmp.Compare(a.Raised, b.Raised), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Offset, b.Offset))
	})
	return list
}

// cased are the cases of ranked alerts.
func cased(list []Item) (out []string) {
	var cases []Case
	for _, x := range list {
		entity, value := caseOf(func(f schemas.TextField) string { return string(x.Text[f]) })
		i := slices.IndexFunc(cases, func(c Case) bool { return c.Entity == entity && c.Value == value })
		if i < 0 {
			i, cases = len(cases), append(cases, Case{Entity: entity, Value: value, Best: x, Oldest: x.Raised})
		}
		cases[i].Alerts++
		cases[i].Amount += x.Tx.AmountBase
		cases[i].Oldest = min(cases[i].Oldest, x.Raised)
	}
	for _, c := range cases {
		out = append(out, describe(c))
	}
	return out
}

func describe(c Case) string {
	return fmt.Sprintf("%v %s: %d alerts, best %s, %d since %d", c.Entity, c.Value, c.Alerts, c.Best.ID, c.Amount, c.Oldest)
}

// paged are all pages of a filter.
func paged(t *testing.T, v *View, f Filter, now int64, limit int) (items, cases []string) {
	t.Helper()
	for after, i := Cursor(""), 0; i == 0 || after != ""; i++ {
		list, next, err := v.Items(t.Context(), f, now, after, limit)
		if err != nil || len(list) > limit {
			t.Fatal(len(list), err)
		}
		for _, x := range list {
			items = append(items, string(x.ID))
		}
		after = next
	}
	for after, i := Cursor(""), 0; i == 0 || after != ""; i++ {
		list, next, err := v.Queue(t.Context(), f, now, after, limit)
		if err != nil || len(list) > limit {
			t.Fatal(len(list), err)
		}
		for _, c := range list {
			cases = append(cases, describe(c))
		}
		after = next
	}
	return items, cases
}

// TestFilters asks for one thing after another, then for several at random, and holds
// the answers to what a plain look at every alert gives.
func TestFilters(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	l := randomLogs(r, 2200, 1500) // more rows than a block has
	v := fresh(t)
	for k, log := range l.alerts {
		if _, err := v.FoldAlerts(t.Context(), int32(k), log); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.FoldDispositions(t.Context(), l.dispositions); err != nil {
		t.Fatal(err)
	}
	if err := v.Index(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := int64(1_700_000_100_000) + 1500*2500/2 // the middle of the actions: some snoozes ended
	all := items(t, v, l)
	some := all[slices.IndexFunc(all, func(x Item) bool { return x.At(now) == Open })]
	yes, no := true, false
	parts := []Filter{
		{}, {Statuses: []Status{Open}}, {Statuses: []Status{Claimed}}, {Statuses: []Status{Snoozed}}, {Statuses: []Status{ProposedFraud, ProposedGenuine}},
		{Statuses: []Status{Fraud}}, {Statuses: []Status{Genuine, Open}}, {Escalated: &yes}, {Escalated: &no}, {Owner: "ann"},
		{ProbMin: 0.8}, {ProbMax: 0.1}, {ProbMin: 0.4, ProbMax: 0.5}, {AmountMin: 90_000}, {AmountMax: 5_000}, {AmountMin: 50_000, AmountMax: 51_000},
		{RaisedFrom: 1_700_000_700_000}, {RaisedTo: 1_700_000_070_000}, {RaisedFrom: 1_700_000_070_000, RaisedTo: 1_700_000_070_001},
		{Reason: "velocity"}, {Channel: "atm"}, {Entity: schemas.Card, EntityValue: "card000003"},
		{Entity: schemas.IP, EntityValue: string(some.Text[schemas.IP])}, {Entity: schemas.ID, EntityValue: string(some.Text[schemas.ID])}, {Text: "card000001"}, {Text: "dev"}, {Text: "0-12"}, {Text: "1-0"},
		{Text: "tx-1-3"}, {Text: "cust\x00"}, {Entity: schemas.Customer, EntityValue: "cust\x00'"}, {Entity: schemas.Customer, EntityValue: "cust"},
	}
	check := func(f Filter) int {
		t.Helper()
		want := ranked(all, f, now)
		var ids []string
		for _, x := range want {
			ids = append(ids, string(x.ID))
		}
		v.memory.walk = 1 + r.IntN(4000) // some give up, and walk as memory has them
		found, cases := paged(t, v, f, now, 20+r.IntN(1000))
		if !slices.Equal(found, ids) {
			t.Errorf("%+v: %d alerts, want %d: %v\n%v", f, len(found), len(ids), found, ids)
		}
		if w := cased(want); !slices.Equal(cases, w) {
			t.Errorf("%+v: cases\n%s\nwant\n%s", f, strings.Join(cases, "\n"), strings.Join(w, "\n"))
		}
		if x, err := v.Best(t.Context(), f, now, ""); err == nil && x.At(now) != Open || err != nil && !errors.Is(err, ErrNoAlert) {
			t.Errorf("%+v: the best is %v, %v", f, x.At(now), err)
		}
		return len(ids)
	}
	nothing := []Filter{{Owner: "nobody"}, {Reason: "velo"}, {Channel: "none"}, {Text: "'; DROP TABLE alerts; --"}, {Text: "%"}, {Text: "\xff\xff"}}
	for _, f := range parts {
		if check(f) == 0 {
			t.Errorf("%+v finds nothing: the test says nothing of it", f)
		}
	}
	for _, f := range nothing {
		if n := check(f); n > 0 {
			t.Errorf("%+v finds %d alerts", f, n)
		}
	}
	found := 0
	for range 20 {
		a, b := parts[r.IntN(len(parts))], parts[r.IntN(len(parts))]
		found += min(1, check(merge(a, b)))
	}
	if found < 10 {
		t.Errorf("%d of the filters found something", found)
	}
}

// merge asks for what both filters do, as far as they name different things.
func merge(a, b Filter) Filter {
	a.Statuses = append(slices.Clone(a.Statuses), b.Statuses...)
	a.Escalated = cmp.Or(a.Escalated, b.Escalated)
	a.Owner, a.Reason, a.Channel, a.Text = cmp.Or(a.Owner, b.Owner), cmp.Or(a.Reason, b.Reason), cmp.Or(a.Channel, b.Channel), cmp.Or(a.Text, b.Text)
	a.ProbMin, a.ProbMax = cmp.Or(a.ProbMin, b.ProbMin), cmp.Or(a.ProbMax, b.ProbMax)
	a.AmountMin, a.AmountMax = cmp.Or(a.AmountMin, b.AmountMin), cmp.Or(a.AmountMax, b.AmountMax)
	a.RaisedFrom, a.RaisedTo = cmp.Or(a.RaisedFrom, b.RaisedFrom), cmp.Or(a.RaisedTo, b.RaisedTo)
	if a.EntityValue == "" {
		a.Entity, a.EntityValue = b.Entity, b.EntityValue
	}
	return a
}

// TestBlocksOfClosedAlerts closes alerts one by one and takes the last one back: what is
// open is found all along.
func TestBlocksOfClosedAlerts(t *testing.T) {
	v, r := fresh(t), rand.New(rand.NewPCG(1, 9))
	const n = 5
	for i := range int64(n) {
		if _, err := v.FoldAlerts(t.Context(), 0, []Record{{Offset: i, Value: decide(r, 0, i, 1000).json()}}); err != nil {
			t.Fatal(err)
		}
	}
	place := int64(0)
	act := func(kind schemas.DispositionKind, id, previous string, want int) {
		t.Helper()
		d := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", place), AlertID: []byte(id), TxID: []byte("t"), Kind: kind, By: []byte("ann"), Previous: []byte(previous)}
		f, err := v.FoldDispositions(t.Context(), []Record{{Offset: place, Value: schemas.AppendDispositionJSON(nil, &d)}})
		if err != nil || f.Settled[0].Err != nil {
			t.Fatal(f, err)
		}
		place++
		list, _, err := v.Items(t.Context(), Filter{}, 0, "", 10)
		figures, _ := v.Figures(t.Context(), 0)
		if err != nil || len(list) != want || figures.Open != int64(want) || figures.Closed != int64(n-want) {
			t.Fatalf("%d alerts, %+v, want %d, %v", len(list), figures, want, err)
		}
	}
	for i := range n {
		act(schemas.ClosedFraud, fmt.Sprintf("0-%d", i), "", n-1-i)
	}
	act(schemas.Undone, "0-4", "a4", 1)
}

// TestCursorsAreStable lists alerts page by page while others arrive at both ends of
// the order: each that was there is listed once.
func TestCursorsAreStable(t *testing.T) {
	v, r := fresh(t), rand.New(rand.NewPCG(1, 9))
	next := int64(0)
	arrive := func(n int, rank float32) {
		var rs []Record
		for range n {
			d := decide(r, 0, next, 1000)
			if d.Rank += rank; rank < 0 {
				d.Rank = float32(math.NaN())
			}
			rs = append(rs, Record{Offset: next, Timestamp: next, Value: d.json()})
			next++
		}
		if _, err := v.FoldAlerts(t.Context(), 0, rs); err != nil {
			t.Fatal(err)
		}
	}
	arrive(95, 0)
	seen := make(map[string]int)
	for after, page := Cursor(""), 0; ; page++ {
		list, cursor, err := v.Items(t.Context(), Filter{}, 0, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			seen[string(x.ID)]++
		}
		if after = cursor; after == "" {
			break
		}
		if page < 20 {
			arrive(3, 1000)
			arrive(1, -1)
		}
	}
	for i := range int64(95) {
		if id := string(schemas.AppendAlertID(nil, 0, i)); seen[id] != 1 {
			t.Errorf("alert %s was listed %d times", id, seen[id])
		}
	}
	if len(seen) <= 95 {
		t.Error("nothing that arrived behind the cursor was listed")
	}
	for _, c := range []Cursor{"x", "7fc00000-0-0", "3f800000-1", "3f800000-1-1-1"} {
		if _, _, err := v.Items(t.Context(), Filter{}, 0, c, 1); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v", c, err)
		}
	}
}

// TestFiguresCountEachAlertOnce holds the figures to the alerts.
func TestFiguresCountEachAlertOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 5))
	l := randomLogs(r, 1200, 900)
	v, _ := l.play(t, r, t.TempDir()+"/view.db")
	for _, now := range []int64{0, 1_700_001_000_000, 1_800_000_000_000} {
		var want Figures
		for _, x := range items(t, v, l) {
			s := x.At(now)
			want.Newest = max(want.Newest, x.Raised)
			for to, is := range map[*int64]bool{&want.Closed: s.Closed(), &want.Snoozed: s == Snoozed, &want.Claimed: s == Claimed,
				&want.Open: s == Open || s == ProposedFraud || s == ProposedGenuine, &want.Escalated: x.Escalated && !s.Closed()} {
				if is {
					*to++
				}
			}
			if !s.Closed() && s != Snoozed && (want.OldestOpen == 0 || x.Raised < want.OldestOpen) {
				want.OldestOpen = x.Raised
			}
		}
		got, err := v.Figures(t.Context(), now)
		if err != nil || got != want || now == 0 && (got.Snoozed == 0 || got.Escalated == 0 || got.Closed == 0) {
			t.Errorf("at %d: %+v, want %+v, %v", now, got, want, err)
		}
	}
}

// TestTextsOfTooManyAlerts counts tokens, and not the ids of alerts, which cost little.
func TestTextsOfTooManyAlerts(t *testing.T) {
	v, r := fresh(t), rand.New(rand.NewPCG(1, 9))
	var rs []Record
	for i := range int64(30) {
		rs = append(rs, Record{Offset: i, Value: decide(r, 0, i, 1000).json()})
	}
	if _, err := v.FoldAlerts(t.Context(), 0, rs); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"card": 30, "0-1": 11, "tx-0-1": 11} {
		for wide, wantErr := range map[int]error{want: nil, 9: ErrWide} {
			if text == "0-1" {
				wantErr = nil
			}
			v.wide = wide
			list, _, err := v.Items(t.Context(), Filter{Text: text}, 0, "", 100)
			if !errors.Is(err, wantErr) || err == nil && len(list) != want {
				t.Errorf("%s with room for %d: %d alerts, %v", text, wide, len(list), err)
			}
		}
	}
}

func TestRelatedAndItemFailure(t *testing.T) {
	v := fresh(t)
	if _, err := v.Related(t.Context(), schemas.Currency, "EUR", 5); !errors.Is(err, ErrFilter) {
		t.Error(err)
	}
	if _, _, err := v.Queue(t.Context(), Filter{Entity: schemas.MCC, EntityValue: "5411"}, 0, "", 5); !errors.Is(err, ErrFilter) {
		t.Error(err)
	}
	for _, id := range []string{"", "0", "0-1", "00-1", "0-01", "-1-1", "x-1", "0-" + strings.Repeat("9", 18)} {
		if _, err := v.Item(t.Context(), id); !errors.Is(err, ErrNoAlert) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestBeside: the alerts of a merchant without those of one card, also where an alert
// has no card.
func TestBeside(t *testing.T) {
	v, r := fresh(t), rand.New(rand.NewPCG(3, 3))
	var rs []Record
	want := []string{}
	for i := range int64(60) {
		d := decide(r, 0, i, 4)
		if i%7 == 0 {
			d.Text[schemas.Card] = nil
		}
		d.Text[schemas.Merchant] = []byte([]string{"here", "there"}[i%2])
		rs = append(rs, Record{Offset: i, Timestamp: 1_700_000_000_000 + i, Value: d.json()})
		if i%2 == 0 && string(d.Text[schemas.Card]) != "card000001" {
			want = append([]string{d.id()}, want...)
		}
	}
	if _, err := v.FoldAlerts(t.Context(), 0, rs); err != nil {
		t.Fatal(err)
	}
	list, err := v.Beside(t.Context(), schemas.Merchant, "here", schemas.Card, "card000001", 100)
	var got []string
	for i := range list {
		got = append(got, string(list[i].ID))
	}
	if err != nil || !slices.Equal(got, want) || len(want) == 30 {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := v.Beside(t.Context(), schemas.Merchant, "here", schemas.Country, "DE", 1); !errors.Is(err, ErrFilter) {
		t.Error(err)
	}
}
