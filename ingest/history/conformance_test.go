package history_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// TestEveryRecordComesBackAsItsBytes writes every kind of record and every
// outcome and reads the ledger's own bytes again.
func TestEveryRecordComesBackAsItsBytes(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 1)
		l.everyKind()
		write(t, s, l.block(0, len(l.batches)))
		l.same(s, 0, len(l.batches))
		l.same(s, 1, len(l.batches))
		l.at(s, l.next)
		c, err := s.Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := history.Counts{Decisions: 12, Final: 12, Outcomes: [schemas.NumOutcomes]int64{4, 2, 2, 2, 2}, Batches: 5, Entries: 7, Labels: 1}
		if c != want {
			t.Fatalf("counts are %+v, want %+v", c, want)
		}
	})
}

// TestARandomLedgerComesBackAsItsBytes does so with records drawn at random, in
// blocks cut anywhere.
func TestARandomLedgerComesBackAsItsBytes(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 2)
		for len(l.batches) < 100 {
			var values [][]byte
			for range 1 + l.r.IntN(briefly(200, 50)) {
				values = append(values, schemas.AppendDecision(nil, l.anyDecision()))
			}
			l.batch(values...)
		}
		for from := 0; from < len(l.batches); {
			to := min(from+1+l.r.IntN(30), len(l.batches))
			write(t, s, l.block(from, to))
			l.at(s, l.batches[to-1].Base+int64(len(l.batches[to-1].Values)))
			from = to
		}
		l.same(s, 0, len(l.batches))
		l.same(s, l.batches[50].Base, len(l.batches))
		l.once(s)
	})
}

// TestABlockIsWrittenOnce writes blocks again: those that were written, and
// those that are out of place.
func TestABlockIsWrittenOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 3)
		for range 6 {
			l.decisions(10)
		}
		for range 3 {
			write(t, s, l.block(0, 2))
		}
		write(t, s, l.block(2, 3))
		write(t, s, l.block(0, 2))
		for _, b := range []*history.Block{l.block(4, 5), l.block(1, 5), l.block(0, 6)} {
			if err := s.Write(t.Context(), b); !errors.Is(err, history.ErrMoved) || history.Classify(err) != history.Stop {
				t.Fatalf("block from %d to %d gives %v, want one that wraps ErrMoved", b.From, b.Next, err)
			}
		}
		l.at(s, 30)
		write(t, s, l.block(3, 6))
		l.same(s, 0, 6)
		l.once(s)
	})
}

// TestManyMonthsInABlock writes one block whose decisions are of more months
// than one insert may touch, twice.
func TestManyMonthsInABlock(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 4)
		var values [][]byte
		for i := range 450 {
			d := l.decision(fmt.Sprintf("tx-%d", i), 2)
			d.Tx.Time = int64(i*7919%450) * 31 * 86_400_000
			if i == 17 {
				d.Tx.Time, d.Timestamp = 0, -1 // neither the record nor Kafka has a time
			}
			values = append(values, schemas.AppendDecision(nil, d))
		}
		l.batch(values...)
		write(t, s, l.block(0, 1))
		write(t, s, l.block(0, 1))
		l.same(s, 0, 1)
		l.once(s)
	})
}

// TestTopicsAreRecorded writes alerts and dispositions beside the ledger, each
// from its own position.
func TestTopicsAreRecorded(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		for _, stream := range []history.Stream{history.Alerts, history.Dispositions} {
			for range 2 { // a recorder that begins again
				at := history.Position{}
				for i := range int64(3) {
					var b history.Block
					b.Reset(stream, 1, "", at)
					b.AddRecord(10+3*i, 1000, []byte("0-17"), []byte(`{"id":"0-17"}`))
					b.AddRecord(12+3*i, 1001, nil, nil)
					write(t, s, &b)
					at.Offset = b.Next
				}
			}
			if at, err := s.Position(t.Context(), stream, 1); err != nil || at.Offset != 19 {
				t.Fatalf("position of %s is %+v, %v; want 19", stream, at, err)
			}
			if at, err := s.Position(t.Context(), stream, 0); err != nil || at != (history.Position{}) {
				t.Fatalf("position of another partition is %+v, %v", at, err)
			}
		}
		c, err := s.Counts(t.Context())
		if err != nil || c.Alerts != 6 || c.Dispositions != 6 || c.Decisions != 0 {
			t.Fatalf("counts are %+v, %v", c, err)
		}
	})
}

// TestLabelsSayHowTheyCame has labels that somebody looked for, and others.
func TestLabelsSayHowTheyCame(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		type label struct {
			source   schemas.LabelSource
			version  uint32
			verdict  schemas.LabelVerdict
			selected string
			prob     float32
		}
		const none, genuine, fraud = schemas.LabelNone, schemas.LabelGenuine, schemas.LabelFraud
		cases := []struct {
			labels []label
			prob   float32
			own    bool
		}{
			{nil, 0, false},
			{[]label{{schemas.Chargeback, 1, fraud, "", 0}}, 0, true},
			{[]label{{schemas.Chargeback, 1, fraud, "none", 0.5}}, 0, true},
			{[]label{{schemas.Analyst, 1, genuine, "alert", 1}}, 1, false},
			{[]label{{schemas.Analyst, 1, genuine, "alert", 0}}, 1, false},
			{[]label{{schemas.Analyst, 1, genuine, "exploration", 0}}, 0, false},
			{[]label{{schemas.Analyst, 1, fraud, "exploration", 0.25}}, 0.25, false},
			{[]label{{schemas.Analyst, 1, fraud, "exploration", 0.25}, {schemas.Chargeback, 1, fraud, "", 0}}, 0.25, true},
			// What was withdrawn came of nothing, and the latest version counts.
			{[]label{{schemas.Analyst, 1, fraud, "exploration", 0.25}, {schemas.Chargeback, 1, fraud, "", 0}, {schemas.Chargeback, 2, none, "", 0}}, 0.25, false},
			{[]label{{schemas.Analyst, 2, fraud, "exploration", 0.125}, {schemas.Analyst, 1, fraud, "", 0}}, 0.125, false},
			// A source that does not count says nothing.
			{[]label{{schemas.Analyst, 1, fraud, "alert", 1}, {schemas.DefaultLabel, 1, genuine, "", 0}}, 1, false},
		}
		s := open(t, url)
		l := newLedger(t, 5)
		for i, c := range cases {
			id := fmt.Sprintf("t%d", i)
			l.batch(schemas.AppendDecision(nil, l.decision(id, 3)))
			for _, v := range c.labels {
				l.batch(schemas.AppendLabelEntry(nil, &schemas.Label{TxID: []byte(id), Verdict: v.verdict, Source: v.source, Version: v.version,
					KnownAt: 100, Selected: []byte(v.selected), SelectedProb: v.prob, Place: l.place()}))
			}
		}
		write(t, s, l.block(0, len(l.batches)))
		rows := l.rows(s, history.RowQuery{AsOf: 100, Sources: []schemas.LabelSource{schemas.Analyst, schemas.Chargeback}})
		if rows.Len() != len(cases) {
			t.Fatalf("%d rows", rows.Len())
		}
		for i, c := range cases {
			if rows.LabelProb[i] != c.prob || rows.LabelOwn[i] != c.own {
				t.Errorf("%+v: chosen with %g, by itself %v; want %g, %v", c.labels, rows.LabelProb[i], rows.LabelOwn[i], c.prob, c.own)
			}
		}
	})
}

// TestLabelsAreThoseKnownByADate asks for the label of one transaction as of
// dates between its versions.
func TestLabelsAreThoseKnownByADate(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 5)
		l.batch(schemas.AppendDecision(nil, l.decision("a", 3)), schemas.AppendDecision(nil, l.decision("b", 3)))
		const none, genuine, fraud = schemas.LabelNone, schemas.LabelGenuine, schemas.LabelFraud
		l.label("a", schemas.Analyst, genuine, 1, 100)
		l.label("a", schemas.Analyst, fraud, 3, 200)
		l.label("a", schemas.Analyst, genuine, 2, 300) // superseded before it came
		l.label("a", schemas.Analyst, genuine, 3, 150) // a second record of version 3: the first stands once both are known
		l.label("a", schemas.Chargeback, genuine, 1, 400)
		l.label("a", schemas.Chargeback, none, 2, 500) // withdrawn
		l.label("a", schemas.CustomerReport, fraud, 1, 50)
		l.label("elsewhere", schemas.Analyst, fraud, 1, 10)
		write(t, s, l.block(0, len(l.batches)))

		usual := []schemas.LabelSource{schemas.Chargeback, schemas.Analyst}
		f := func(asOf int64, order []schemas.LabelSource, want schemas.LabelVerdict, source schemas.LabelSource, known int64) {
			t.Helper()
			rows := l.rows(s, history.RowQuery{AsOf: asOf, Sources: order})
			if rows.Len() != 2 {
				t.Fatalf("%d rows, want 2", rows.Len())
			}
			if rows.Label[0] != want || rows.LabelSource[0] != source || rows.LabelKnownAt[0] != known {
				t.Errorf("as of %d with %v: %v of %v known at %d, want %v of %v known at %d", asOf, order,
					rows.Label[0], rows.LabelSource[0], rows.LabelKnownAt[0], want, source, known)
			}
			if rows.Label[1] != none || rows.LabelKnownAt[1] != 0 {
				t.Errorf("a transaction without a label has %v", rows.Label[1])
			}
		}
		f(99, usual, none, 0, 0)
		f(100, usual, genuine, schemas.Analyst, 100)
		f(149, usual, genuine, schemas.Analyst, 100)
		f(150, usual, genuine, schemas.Analyst, 150)
		f(200, usual, fraud, schemas.Analyst, 200)
		f(399, usual, fraud, schemas.Analyst, 200)
		f(400, usual, genuine, schemas.Chargeback, 400)
		f(499, []schemas.LabelSource{schemas.Analyst, schemas.Chargeback}, fraud, schemas.Analyst, 200)
		f(500, usual, fraud, schemas.Analyst, 200)
		f(500, []schemas.LabelSource{schemas.Chargeback}, none, 0, 0)
		f(60, []schemas.LabelSource{schemas.Analyst, schemas.CustomerReport}, fraud, schemas.CustomerReport, 50)
		f(500, nil, none, 0, 0)
	})
}

// vary makes a decision one of several kinds, at another time.
func (l *ledger) vary(d *schemas.Decision) {
	d.Tx.Time -= l.r.Int64N(5_000_000)
	if l.r.IntN(3) == 0 {
		d.Tenant = []byte("it's \\ another")
	}
	switch l.r.IntN(10) {
	case 0:
		d.Outcome, d.Features = schemas.Duplicate, nil
	case 1:
		d.Outcome = schemas.Degraded
	case 2:
		d.Outcome, d.Flags = schemas.Unscored, schemas.FoldOnly
	case 3:
		d.Spec = 8
	}
}

func fnv1a(text []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64()
}

// usual fails the test unless row i has what every decision of a ledger has.
func (r *rowsRead) usual(t *testing.T, i int) {
	t.Helper()
	if r.Action[i] != schemas.Review || r.Bundle[i] != 1<<63|5 || r.ReviewProb[i] != 0.01 || r.Payer[i] == 0 {
		t.Fatalf("row %d is of %v, %x, %v, payer %x", i, r.Action[i], r.Bundle[i], r.ReviewProb[i], r.Payer[i])
	}
	if r.Challenger[i] != 11 || r.ChallengerScore[i] != 0.5 {
		t.Fatalf("row %d has the challenger %x with %v", i, r.Challenger[i], r.ChallengerScore[i])
	}
}

// TestRowsAreThoseAskedFor reads vectors by time, spec and tenant, in order, and
// none of decisions without one.
func TestRowsAreThoseAskedFor(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 6)
		type key struct {
			tenant string
			time   int64
		}
		var all []key
		vectors, ids, count := map[key][]float32{}, map[key]uint64{}, map[key]int{}
		for range 40 {
			var values [][]byte
			for range briefly(500, 100) {
				d := l.decision(fmt.Sprintf("tx-%d", l.source), 4)
				l.vary(d)
				if d.Outcome <= schemas.Degraded && d.Spec == 7 {
					k := key{string(d.Tenant), d.Tx.Time}
					count[k]++
					all, vectors[k], ids[k] = append(all, k), d.Features, fnv1a(d.Text[schemas.ID])
				}
				values = append(values, schemas.AppendDecision(nil, d))
			}
			l.batch(values...)
		}
		write(t, s, l.block(0, 20))
		write(t, s, l.block(20, 40))
		f := func(q history.RowQuery, keep func(key) bool) {
			t.Helper()
			q.Spec = 7
			want := 0
			for _, k := range all {
				if keep(k) {
					want++
				}
			}
			got := l.rows(s, q)
			if got.Len() != want || want == 0 {
				t.Fatalf("%+v gives %d rows, want %d", q, got.Len(), want)
			}
			for i := range got.Len() {
				k := key{got.Tenant[i], got.Time[i]}
				// Of two at the same time either may come first.
				if q.Bare && len(got.Row(i)) > 0 || count[k] == 1 && got.ID[i] != ids[k] {
					t.Fatalf("%+v gives row %v with %v and the id %x, want %x", q, k, got.Row(i), got.ID[i], ids[k])
				}
				if !keep(k) || !q.Bare && count[k] == 1 && !slices.Equal(got.Row(i), vectors[k]) {
					t.Fatalf("%+v gives row %v with %v, want %v", q, k, got.Row(i), vectors[k])
				}
				if i > 0 && (k.tenant < got.Tenant[i-1] || k.tenant == got.Tenant[i-1] && k.time < got.Time[i-1]) {
					t.Fatalf("%+v: row %d is out of order", q, i)
				}
				got.usual(t, i)
			}
		}
		middle := all[len(all)/2].time
		f(history.RowQuery{}, func(key) bool { return true })
		f(history.RowQuery{Bare: true}, func(key) bool { return true })
		f(history.RowQuery{From: middle}, func(k key) bool { return k.time >= middle })
		f(history.RowQuery{To: middle}, func(k key) bool { return k.time < middle })
		f(history.RowQuery{Tenant: "it's \\ another"}, func(k key) bool { return k.tenant == "it's \\ another" })

		stop := errors.New("enough")
		if err := s.Rows(t.Context(), history.RowQuery{}, func(*history.Chunk) error { return stop }); !errors.Is(err, stop) {
			t.Fatalf("an error of the reader comes back as %v", err)
		}
		if err := s.Batches(t.Context(), 0, 0, func(*history.Batch) error { return stop }); !errors.Is(err, stop) {
			t.Fatalf("an error of the reader comes back as %v", err)
		}
	})
}
