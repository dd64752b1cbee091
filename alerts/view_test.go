package alerts

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// logs are the records of two partitions of alerts and of dispositions.
type logs struct {
	alerts       [2][]Record
	dispositions []Record
	ids          []string // of the alerts
	malformed    int
}

// add appends a record to a log.
func add(log *[]Record, value []byte) {
	*log = append(*log, Record{Offset: int64(len(*log)) * 2, Timestamp: 1_700_000_000_000 + int64(len(*log))*700, Value: value})
}

// randomLogs makes logs with what may be in them: alerts that were published again,
// records that are none, actions of alerts that never come, and some sent twice.
func randomLogs(r *rand.Rand, alerts, actions int) *logs {
	l := &logs{}
	for shard := range int32(2) {
		var last []byte
		for offset := range int64(alerts / 2) {
			d := decide(r, shard, offset*3, 6)
			if r.IntN(10) == 0 {
				d.Rank, d.Prob = float32(math.NaN()), float32(math.NaN())
			}
			if r.IntN(5) == 0 {
				d.ReviewProb, d.Threshold = 0.25, 2
			}
			if r.IntN(6) == 0 {
				d.Text[schemas.Card] = nil
				d.Text[schemas.Customer] = []byte([]string{"cust\x00'", "cust\x00\"", "cust"}[r.IntN(3)])
			}
			last = d.json()
			add(&l.alerts[shard], last)
			l.ids = append(l.ids, d.id())
			switch r.IntN(12) {
			case 0:
				add(&l.alerts[shard], last)
			case 1:
				add(&l.alerts[shard], []byte(`{"id":`))
				l.malformed++
			case 2:
				add(&l.alerts[shard], decide(r, 7, offset, 6).json()) // of another shard
				l.malformed++
			}
		}
	}
	states, at := make(map[string]State), int64(1_700_000_100_000)
	for i := range actions {
		at += r.Int64N(5000)
		id := l.ids[r.IntN(len(l.ids))]
		if r.IntN(20) == 0 {
			id = "0-1" // which never comes
		}
		d := schemas.Disposition{ID: fmt.Appendf(nil, "a%d", i), AlertID: []byte(id), TxID: []byte("t"), By: []byte([]string{"ann", "bob", "sue"}[r.IntN(3)]),
			Kind: schemas.DispositionKind(r.IntN(int(schemas.NumDispositionKinds))), At: at, Previous: []byte(states[id].Last)}
		if after := []schemas.DispositionKind{schemas.ReviewedFraud, schemas.ReviewedGenuine, schemas.SettledFraud, schemas.SettledGenuine}; states[id].Status.Closed() && r.IntN(2) == 0 {
			d.Kind = after[r.IntN(len(after))]
		}
		if r.IntN(8) == 0 {
			d.Previous = []byte("stale")
		}
		if d.Kind == schemas.Undone && len(d.Previous) == 0 {
			d.Kind = schemas.Noted
		}
		switch d.Kind {
		case schemas.Snoozed:
			d.Until = at + 60_000
		case schemas.Assigned:
			d.To = []byte([]string{"ann", "bob"}[r.IntN(2)])
		case schemas.Noted:
			d.Note = fmt.Appendf(nil, "Called about \"Übung\" %d", i%10)
		}
		states[id], _, _, _ = states[id].Apply(&d)
		value := schemas.AppendDispositionJSON(nil, &d)
		add(&l.dispositions, value)
		switch r.IntN(15) {
		case 0:
			add(&l.dispositions, value)
		case 1:
			add(&l.dispositions, []byte(`{"id":"x","alert_id":"0-01","tx_id":"t","kind":"noted","by":"ann","at":"2026-01-01T00:00:00Z"}`))
			l.malformed++
		}
	}
	return l
}

// folded is what the folds of a view said, apart from the order among logs.
type folded struct {
	arrived, settled  []string
	labels, malformed int
}

func (a *folded) add(f Folded) {
	a.arrived = append(a.arrived, f.Arrived...)
	for _, s := range f.Settled {
		a.settled = append(a.settled, fmt.Sprintf("%s %s %v", s.ID, s.AlertID, s.Err))
	}
	a.labels += f.Labels
	a.malformed += f.Malformed
}

func (a *folded) String() string {
	slices.Sort(a.arrived)
	return fmt.Sprintf("%v\n%v\n%d\n%d", a.arrived, a.settled, a.labels, a.malformed)
}

// dump is all that the tables hold.
func dump(t *testing.T, v *View) string {
	t.Helper()
	var b strings.Builder
	for _, table := range tableNames {
		fmt.Fprintln(&b, table)
		rows, err := v.reader.QueryContext(t.Context(), `SELECT * FROM `+table+` ORDER BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, to := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				to[i] = &values[i]
			}
			if err := rows.Scan(to...); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%q\n", values)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// answers is what the view says to all that it can be asked.
func answers(t *testing.T, v *View, l *logs) string {
	t.Helper()
	ctx, now := t.Context(), int64(1_700_000_150_000)
	var b strings.Builder
	say := func(what ...any) { fmt.Fprintf(&b, "%+v\n", what) }
	yes := true
	for _, f := range []Filter{{}, {Escalated: &yes}, {Owner: "ann"}, {Reason: "velocity"}, {Channel: "pos"}, {Text: "card"}, {Text: "0-1"}, {ProbMin: 0.5},
		{Statuses: []Status{Fraud, Genuine}}, {Statuses: []Status{Snoozed}}, {Entity: schemas.Merchant, EntityValue: "shop000000"}} {
		for after, i := Cursor(""), 0; i == 0 || after != ""; i++ {
			items, next, err := v.Items(ctx, f, now, after, 7)
			say(items, next, err)
			after = next
		}
		for after, i := Cursor(""), 0; i == 0 || after != ""; i++ {
			cases, next, err := v.Queue(ctx, f, now, after, 3)
			say(cases, next, err)
			after = next
		}
		say(v.Best(ctx, f, now, l.ids[0]))
	}
	for _, id := range append([]string{"0-1"}, l.ids...) {
		say(v.Item(ctx, id))
		say(v.Actions(ctx, id))
	}
	say(v.Related(ctx, schemas.Card, "card000001", 20))
	say(v.Beside(ctx, schemas.Merchant, "shop000000", schemas.Card, "card000001", 20))
	say(v.Figures(ctx, now))
	for _, g := range []Goals{{}, {time.Minute, 1}, {2 * time.Minute, .5}} {
		v.Measure(g)
		say(v.Overview(ctx, now, 7))
		say(v.SecondLook("ann", now))
	}
	say(v.Held(ctx, "ann", 1000))
	say(v.Given(ctx, "bob"))
	say(v.Unpublished(ctx, 1000))
	// What stands behind the pointers is in the tables.
	return regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(b.String(), "before")
}

// play folds the logs in any order, cut anywhere, with records given again, into a
// view that is opened again now and then, and deleted once.
func (l *logs) play(t *testing.T, r *rand.Rand, file string) (*View, *folded) {
	t.Helper()
	ctx := context.Background()
	v, said := open(t, file), &folded{}
	var at [3]int
	deleteAt := r.IntN(12)
	for round := 0; at != [3]int{len(l.alerts[0]), len(l.alerts[1]), len(l.dispositions)}; round++ {
		if deleted := round == deleteAt; deleted || r.IntN(8) == 0 {
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if deleted {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				at, said = [3]int{}, &folded{}
			}
			v = open(t, file)
		}
		if r.IntN(8) == 0 {
			if err := v.Index(ctx); err != nil {
				t.Fatal(err)
			}
		}
		k := r.IntN(3)
		log := [][]Record{l.alerts[0], l.alerts[1], l.dispositions}[k]
		begin, end := max(0, at[k]-r.IntN(4)), min(len(log), at[k]+r.IntN(20))
		var f Folded
		var err error
		if k == 2 {
			f, err = v.FoldDispositions(ctx, log[begin:end])
		} else {
			f, err = v.FoldAlerts(ctx, int32(k), log[begin:end])
		}
		if err != nil {
			t.Fatal(err)
		}
		said.add(f)
		at[k] = end
	}
	return v, said
}

// TestViewIsAFunctionOfItsTopics folds the same logs in other ways.
func TestViewIsAFunctionOfItsTopics(t *testing.T) {
	counted, labelled := 0, 0
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := randomLogs(r, 60, 150)
		v, want := fresh(t), &folded{}
		for k, log := range [][]Record{l.alerts[0], l.alerts[1], l.dispositions} {
			f, err := v.FoldAlerts(t.Context(), int32(k), nil)
			if k == 2 {
				f, err = v.FoldDispositions(t.Context(), log)
			} else if err == nil {
				f, err = v.FoldAlerts(t.Context(), int32(k), log)
			}
			if err != nil {
				t.Fatal(err)
			}
			want.add(f)
		}
		if len(want.arrived) != len(l.ids) || want.malformed != l.malformed {
			t.Fatalf("seed %d: %d alerts of %d, %d malformed of %d", seed, len(want.arrived), len(l.ids), want.malformed, l.malformed)
		}
		counted, labelled = counted+strings.Count(fmt.Sprint(want.settled), "<nil>"), labelled+want.labels
		tables, said := dump(t, v), answers(t, v, l)
		for i := range 2 {
			got, folds := l.play(t, r, filepath.Join(t.TempDir(), "view.db"))
			if folds.String() != want.String() {
				t.Fatalf("seed %d way %d: the folds said\n%s\nwant\n%s", seed, i, folds, want)
			}
			if d := dump(t, got); d != tables {
				t.Fatalf("seed %d way %d: %s", seed, i, firstDifference(d, tables))
			}
			if a := answers(t, got, l); a != said {
				t.Fatalf("seed %d way %d: %s", seed, i, firstDifference(a, said))
			}
		}
	}
	if counted < 200 || labelled < 40 {
		t.Errorf("%d actions counted and %d labels: too few to tell", counted, labelled)
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: got\n%s\nwant\n%s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func TestResetEmptiesTheView(t *testing.T) {
	l := randomLogs(rand.New(rand.NewPCG(1, 1)), 20, 50)
	v, _ := l.play(t, rand.New(rand.NewPCG(2, 1)), filepath.Join(t.TempDir(), "view.db"))
	if err := v.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, v), dump(t, fresh(t)); got != want {
		t.Error(firstDifference(got, want))
	}
	if got, want := answers(t, v, l), answers(t, fresh(t), l); got != want {
		t.Error(firstDifference(got, want))
	}
	// What figures are measured by outlives it.
	v.Measure(Goals{Within: time.Nanosecond})
	if err := v.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.FoldAlerts(t.Context(), 0, l.alerts[0]); err != nil {
		t.Fatal(err)
	}
	if o, err := v.Overview(t.Context(), 1_800_000_000_000, 1); err != nil || o.Late == 0 {
		t.Errorf("%d late, %v", o.Late, err)
	}
}

// TestOpenViewTakesViewsOnly deletes a view of another version, and nothing else.
func TestOpenViewTakesViewsOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "view.db")
	v := open(t, file)
	if _, err := v.FoldAlerts(t.Context(), 0, []Record{{Value: decide(rand.New(rand.NewPCG(1, 1)), 0, 1, 1).json()}}); err != nil {
		t.Fatal(err)
	}
	change := func(pragma string) {
		t.Helper()
		if _, err := v.writer.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	change(`PRAGMA user_version = 99`)
	v = open(t, file)
	if _, err := v.Item(t.Context(), "0-1"); !errors.Is(err, ErrNoAlert) {
		t.Errorf("the alert of the other version: %v", err)
	}
	change(`PRAGMA application_id = 5`)
	if _, err := OpenView(t.Context(), file); !errors.Is(err, ErrNotView) {
		t.Errorf("opened a file of somebody else: %v", err)
	}
}
