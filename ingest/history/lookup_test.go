package history_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// TestOneRecordIsFound looks every record of a ledger up by its place, and what is
// none.
func TestOneRecordIsFound(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s := open(t, url)
		l := newLedger(t, 21)
		l.everyKind()
		l.decisions(3)
		write(t, s, l.block(0, 3))
		write(t, s, l.block(3, len(l.batches)))
		for _, b := range l.batches {
			for i, want := range b.Values {
				r, err := s.Record(t.Context(), 0, b.Base+int64(i))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(r.Value, want) || r.Offset != b.Base+int64(i) || r.Base != b.Base || r.Timestamp != b.Timestamp ||
					fmt.Sprintf("%+v", r.Facts) != fmt.Sprintf("%+v", b.Facts) {
					t.Fatalf("record %d of the batch at %d is %+v", i, b.Base, r)
				}
			}
		}
		for _, place := range [][2]int64{{0, l.next}, {0, -1}, {1, 0}, {0, 1 << 40}} {
			if _, err := s.Record(t.Context(), int32(place[0]), place[1]); !errors.Is(err, history.ErrNoRecord) || history.Classify(err) != history.Stop {
				t.Errorf("offset %d of shard %d gives %v", place[1], place[0], err)
			}
		}
	})
}

// known is a label of a ledger that a test made, with its place.
type known struct {
	offset int64
	schemas.Label
}

// A town is a ledger of few entities, and what it holds.
type town struct {
	*ledger
	decisions []schemas.Decision
	offsets   []int64
	labels    map[string][]known
	rate      int64 // the ledger offset of an exchange rate
}

// newTown draws payments, reversals and labels, some of them with a card's previous
// token or at a time out of order.
func newTown(t *testing.T, seed uint64) *town {
	w := &town{ledger: newLedger(t, seed), labels: make(map[string][]known)}
	for k := range briefly(60, 30) {
		if k == 7 {
			w.rate = w.next
			w.batch(schemas.AppendRateEntry(nil, &schemas.Rate{Currency: []byte("USD"), Num: 9, Den: 10}))
		}
		var values [][]byte
		for range 20 {
			d := w.decision(fmt.Sprintf("tx-%d", w.source), 4)
			w.now += 3_600_000
			w.vary(d)
			for f := range d.Text {
				if w.r.IntN(12) == 0 && schemas.TextField(f) != schemas.ID {
					d.Text[f] = nil
				}
			}
			d.Text[schemas.Card] = fmt.Appendf(nil, "it's \\ card %d", w.r.IntN(5))
			d.Text[schemas.OriginalID] = nil
			if w.r.IntN(10) == 0 {
				d.PrevCard = fmt.Appendf(nil, "it's \\ card %d", w.r.IntN(5))
			}
			if len(w.decisions) > 0 && w.r.IntN(15) == 0 {
				d.Tx.Type, d.Outcome, d.Reason, d.Flags = schemas.Reversal, schemas.Unscored, schemas.NotScoredType, schemas.FoldOnly
				d.Text[schemas.OriginalID] = w.decisions[w.r.IntN(len(w.decisions))].Text[schemas.ID]
			}
			w.decisions, w.offsets = append(w.decisions, *d), append(w.offsets, w.next+int64(len(values)))
			values = append(values, schemas.AppendDecision(nil, d))
		}
		w.batch(values...)
		for range 6 {
			l := schemas.Label{TxID: w.decisions[w.r.IntN(len(w.decisions))].Text[schemas.ID], Verdict: schemas.LabelVerdict(w.r.IntN(3)), Source: schemas.LabelSource(w.r.IntN(3)),
				Version: uint32(1 + w.r.IntN(3)), KnownAt: w.now, FraudType: []byte("stolen"), Selected: []byte("alert"), SelectedProb: .5}
			w.labels[string(l.TxID)] = append(w.labels[string(l.TxID)], known{w.next, l})
			w.batch(schemas.AppendLabelEntry(nil, &l))
		}
	}
	return w
}

// field draws a field that payments are looked up by and a value of it.
func (w *town) field() (schemas.TextField, string) {
	f := history.PaymentFields[w.r.IntN(len(history.PaymentFields))]
	return f, string(w.decisions[w.r.IntN(len(w.decisions))].Text[f])
}

// winner is what counts of a transaction's labels, straight from its definition.
func (w *town) winner(id string, sources []schemas.LabelSource) schemas.LabelVerdict {
	for _, s := range sources {
		best := known{}
		for _, l := range w.labels[id] {
			if l.Source == s && (l.Version > best.Version) {
				best = l
			}
		}
		if best.Verdict != schemas.LabelNone {
			return best.Verdict
		}
	}
	return schemas.LabelNone
}

// eachLookup runs a test over whatever payments are looked up in: every store, and memory.
func eachLookup(t *testing.T, fn func(t *testing.T, s lookup)) {
	eachStore(t, func(t *testing.T, url string) { fn(t, open(t, url)) })
	t.Run("memory", func(t *testing.T) { fn(t, history.NewMemory(1<<20)) })
}

type lookup interface {
	history.Writer
	history.Lookup
}

// TestPaymentsOfAnEntity asks for the payments of entities drawn at random, and holds
// the answer to a look at all decisions.
func TestPaymentsOfAnEntity(t *testing.T) {
	eachLookup(t, func(t *testing.T, s lookup) {
		w := newTown(t, 22)
		write(t, s, w.block(0, len(w.batches)/2))
		write(t, s, w.block(len(w.batches)/2, len(w.batches)))
		order := []schemas.LabelSource{schemas.IssuerReport, schemas.Chargeback}
		labelled := 0
		for range 60 {
			f, value := w.field()
			if value == "" {
				continue
			}
			from := w.decisions[w.r.IntN(len(w.decisions))].Tx.Time
			q := history.PaymentQuery{Field: f, Value: value, From: from, To: from + w.r.Int64N(40*86_400_000), Limit: 1 + w.r.IntN(20)}
			var want []int
			for i, d := range w.decisions {
				if string(d.Text[f]) == value && d.Tx.Time >= q.From && d.Tx.Time < q.To {
					want = append(want, i)
				}
			}
			slices.SortFunc(want, func(a, b int) int {
				return cmp.Or(cmp.Compare(w.decisions[b].Tx.Time, w.decisions[a].Tx.Time), cmp.Compare(b, a))
			})
			want = want[:min(len(want), q.Limit)]
			got, err := s.Payments(t.Context(), q)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%+v gives %d payments, want %d; %v", q, len(got), len(want), err)
			}
			for k, i := range want {
				d, p := &w.decisions[i], &got[k]
				if p.Offset != w.offsets[i] || p.Shard != 0 || p.Tx != d.Tx || p.Verdict != d.Verdict || p.Prob != d.Prob {
					t.Fatalf("%+v: payment %d is %+v, want that at %d: %+v", q, k, p, w.offsets[i], d)
				}
				for _, f := range history.PaymentTexts {
					if p.Text[f] != string(d.Text[f]) {
						t.Fatalf("%+v: %v is %q, want %q", q, f, p.Text[f], d.Text[f])
					}
				}
				id := string(d.Text[schemas.ID])
				if len(p.Labels) != len(w.labels[id]) || history.Winner(p.Labels, order).Verdict != w.winner(id, order) {
					t.Fatalf("%s is known as %+v, want %+v", id, p.Labels, w.labels[id])
				}
				labelled += len(p.Labels)
			}
		}
		if labelled == 0 {
			t.Error("no payment had a label")
		}
		if _, err := s.Payments(t.Context(), history.PaymentQuery{Field: schemas.Terminal, Value: "EUR", To: 1 << 60, Limit: 1}); !errors.Is(err, history.ErrField) {
			t.Errorf("payments of a terminal give %v", err)
		}
	})
}

// TestDaysOfAMerchant counts days of merchants and of others.
func TestDaysOfAMerchant(t *testing.T) {
	eachLookup(t, func(t *testing.T, s lookup) {
		w := newTown(t, 23)
		write(t, s, w.block(0, len(w.batches)))
		frauds := int64(0)
		for range 60 {
			f, value := w.field()
			if value == "" {
				continue
			}
			const day = 86_400_000
			from := w.decisions[w.r.IntN(len(w.decisions))].Tx.Time / day * day
			q := history.DayQuery{Field: f, Value: value, From: from, To: from + w.r.Int64N(30)*day, Sources: []schemas.LabelSource{schemas.Chargeback, schemas.IssuerReport, schemas.CustomerReport}}
			days := make(map[int64]history.Day)
			for _, d := range w.decisions {
				if string(d.Text[f]) == value && d.Tx.Time >= q.From && d.Tx.Time < q.To && d.Outcome <= schemas.Degraded {
					at := days[d.Tx.Time/day*day]
					at.Day = d.Tx.Time / day * day
					at.Payments++
					if w.winner(string(d.Text[schemas.ID]), q.Sources) == schemas.LabelFraud {
						at.Frauds++
						frauds++
					}
					days[at.Day] = at
				}
			}
			var want []history.Day
			for _, at := range slices.Sorted(maps.Keys(days)) {
				want = append(want, days[at])
			}
			got, err := s.Days(t.Context(), q)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%+v gives %+v, want %+v; %v", q, got, want, err)
			}
		}
		if frauds == 0 {
			t.Error("no day had a fraud")
		}
	})
}

// TestMemoryIsBounded has a memory forget the oldest payments and no others, and what is
// known of them.
func TestMemoryIsBounded(t *testing.T) {
	const limit = 100
	m, w := history.NewMemory(limit), newTown(t, 25)
	for i := range w.batches {
		write(t, m, w.block(i, i+1))
	}
	at, err := m.Position(t.Context(), history.Ledger, 0)
	if err != nil || at.Offset != w.next {
		t.Fatalf("%+v, %v", at, err)
	}
	if err := m.Write(t.Context(), w.block(3, 4)); err != nil { // again
		t.Fatal(err)
	}
	if err := m.Write(t.Context(), w.block(len(w.batches), len(w.batches))); err != nil {
		t.Fatal(err)
	}
	kept, labels := make(map[int64]bool), 0
	for k := range 5 {
		list, err := m.Payments(t.Context(), history.PaymentQuery{Field: schemas.Card, Value: fmt.Sprintf("it's \\ card %d", k), To: 1 << 60, Limit: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			kept[p.Offset] = true
			labels += len(p.Labels)
		}
	}
	if len(kept) < limit || len(kept) > limit+limit/8 || labels == 0 {
		t.Errorf("%d payments are kept, with %d labels", len(kept), labels)
	}
	for _, offset := range w.offsets[len(w.offsets)-len(kept):] {
		if !kept[offset] {
			t.Fatalf("%d is forgotten, and older ones are not", offset)
		}
	}
}

// TestWhatIsAround asks for neighbourhoods drawn at random.
func TestWhatIsAround(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		s, w := open(t, url), newTown(t, 24)
		write(t, s, w.block(0, len(w.batches)))
		bytesAt := make(map[int64][]byte)
		for _, b := range w.batches {
			for i, v := range b.Values {
				bytesAt[b.Base+int64(i)] = v
			}
		}
		previous, reversals := 0, 0
		for range 40 {
			q := history.AroundQuery{Before: w.r.Int64N(w.next), Limit: 10_000, Rates: w.r.IntN(2) == 0}
			for range 1 + w.r.IntN(3) {
				l := history.Leg{From: w.decisions[w.r.IntN(len(w.decisions))].Tx.Time}
				d := &w.decisions[w.r.IntN(len(w.decisions))]
				for _, f := range []schemas.TextField{history.EntityFields[w.r.IntN(8)], history.EntityFields[w.r.IntN(8)]}[w.r.IntN(2):] {
					l.Fields, l.Values = append(l.Fields, f), append(l.Values, string(d.Text[f]))
				}
				if !slices.Contains(l.Values, "") {
					q.Legs = append(q.Legs, l)
				}
			}
			want := w.around(&q, &previous, &reversals)
			order := slices.Sorted(maps.Keys(want))
			got, err := s.Around(t.Context(), q)
			if err != nil || len(got) != len(order) {
				t.Fatalf("%+v gives %d records, want %d; %v", q, len(got), len(order), err)
			}
			for k, offset := range order {
				if got[k].Offset != offset || !sameRecord(t, got[k].Value, bytesAt[offset]) {
					t.Fatalf("%+v: record %d is %d: %x, want %d: %x", q, k, got[k].Offset, got[k].Value, offset, bytesAt[offset])
				}
			}
		}
		if previous == 0 || reversals == 0 {
			t.Errorf("%d found by a previous card, %d reversals", previous, reversals)
		}
		all := history.AroundQuery{Before: w.next, Limit: 10, Legs: []history.Leg{{Fields: []schemas.TextField{schemas.Card}, Values: []string{"it's \\ card 1"}}}}
		if _, err := s.Around(t.Context(), all); !errors.Is(err, history.ErrMany) || history.Classify(err) != history.Stop {
			t.Errorf("more than the limit gives %v", err)
		}
	})
}

// around returns the places of what a query asks for, and counts those that are found by
// a card's previous token alone, and reversals that are found by their original alone.
func (w *town) around(q *history.AroundQuery, previous, reversals *int) map[int64]bool {
	want, ids := make(map[int64]bool), make(map[string]bool)
	for i, d := range w.decisions {
		if w.offsets[i] < q.Before && slices.ContainsFunc(q.Legs, func(l history.Leg) bool { return matches(&d, &l, previous) }) {
			want[w.offsets[i]], ids[string(d.Text[schemas.ID])] = true, true
		}
	}
	for i, d := range w.decisions {
		if w.offsets[i] < q.Before && d.Tx.Type == schemas.Reversal && ids[string(d.Text[schemas.OriginalID])] && !want[w.offsets[i]] {
			want[w.offsets[i]] = true
			*reversals++
		}
	}
	for id := range ids {
		for _, l := range w.labels[id] {
			if l.offset < q.Before {
				want[l.offset] = true
			}
		}
	}
	if q.Rates && w.rate < q.Before {
		want[w.rate] = true
	}
	return want
}

// sameRecord compares two records of the ledger; of labels the history forgets where
// their topic has them.
func sameRecord(t *testing.T, got, want []byte) bool {
	t.Helper()
	var a, b schemas.Entry
	if err := errors.Join(schemas.ParseEntry(got, &a), schemas.ParseEntry(want, &b)); err != nil {
		t.Fatal(err)
	}
	if b.Kind != schemas.EntryLabel {
		return bytes.Equal(got, want)
	}
	a.Label.Place = b.Label.Place
	return bytes.Equal(schemas.AppendLabelEntry(nil, &a.Label), want)
}

// matches reports whether a leg is of a decision, and counts those that are by their
// card's previous token alone.
func matches(d *schemas.Decision, l *history.Leg, previous *int) bool {
	if d.Tx.Time < l.From {
		return false
	}
	for i, f := range l.Fields {
		switch {
		case string(d.Text[f]) == l.Values[i]:
		case f == schemas.Card && string(d.PrevCard) == l.Values[i]:
			*previous++
		default:
			return false
		}
	}
	return true
}
