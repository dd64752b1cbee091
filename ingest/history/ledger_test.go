package history_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// A ledger is batches as a test makes them, in the order of the log.
type ledger struct {
	t       testing.TB
	r       *rand.Rand
	batches []history.Batch
	next    int64
	head    schemas.BatchID
	source  int64 // the next source offset
	now     int64 // the event time of the next decision
}

func newLedger(t testing.TB, seed uint64) *ledger {
	t.Logf("seed %d", seed)
	return &ledger{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: 1_750_000_000_000}
}

// briefly is a number, and a smaller one where tests are to be short: SQLite is slow
// under the race detector.
func briefly(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// batch appends a batch of records.
func (l *ledger) batch(values ...[]byte) {
	f := schemas.Facts{ID: schemas.BatchID{Writer: 1 << 63, Sequence: l.head.Sequence + 1}, Extends: l.head, Records: uint32(len(values)),
		Sources: []schemas.Position{{Partition: 0, Offset: l.source - 1}}, AlertsMark: -1, DeadMark: -1,
		Bundle: [32]byte{1}, Spec: [32]byte{2, 255}, Engine: [32]byte{3}, Anchor: schemas.Anchor{Offset: l.next, Head: l.head}}
	l.batches = append(l.batches, history.Batch{Base: l.next, Timestamp: l.now, Facts: f, Values: values})
	l.next += int64(len(values))
	l.head = f.ID
}

// place takes the next source offset.
func (l *ledger) place() schemas.Place {
	l.source++
	return schemas.Place{Partition: 0, Offset: l.source - 1, Prev: l.source - 2, Timestamp: l.now}
}

// decision returns a decision that was scored, with a vector of width numbers.
func (l *ledger) decision(id string, width int) *schemas.Decision {
	l.now += 1000
	d := &schemas.Decision{Place: l.place(), Tenant: []byte("bank"),
		Tx:       schemas.Transaction{Time: l.now, Amount: l.r.Int64N(1e6), AmountBase: l.r.Int64N(1e6), Type: schemas.Capture, Status: schemas.Approved},
		Features: make([]float32, width), Score: 0.25, Prob: 0.125, Threshold: 0.5, Rank: 0.75, ReviewProb: 0.01, Bundle: 1<<63 | 5, Spec: 7, Engine: 9,
		Action: schemas.Review, Challenger: 11, ChallengerScore: 0.5}
	for i := range d.Features {
		d.Features[i] = l.r.Float32()
	}
	for f := range d.Text {
		d.Text[f] = fmt.Appendf(nil, "%s-%d", schemas.TextField(f), l.r.IntN(50))
	}
	d.Text[schemas.ID] = []byte(id)
	return d
}

// label appends a batch with one label.
func (l *ledger) label(id string, s schemas.LabelSource, v schemas.LabelVerdict, version uint32, known int64) {
	l.batch(schemas.AppendLabelEntry(nil, &schemas.Label{TxID: []byte(id), Verdict: v, Source: s, Version: version, KnownAt: known,
		FraudType: []byte("card not present"), Selected: []byte("alert"), SelectedProb: 1, Place: l.place()}))
}

// block returns the batches from one on as a block.
func (l *ledger) block(from, to int) *history.Block {
	at := history.Position{}
	if from > 0 {
		b := l.batches[from-1]
		at.Offset, at.Head = b.Base+int64(len(b.Values)), b.Facts.ID
	}
	var b history.Block
	b.Reset(history.Ledger, 0, "transactions", at)
	for i := range l.batches[from:to] {
		in := &l.batches[from+i]
		b.AddBatch(in.Base, in.Timestamp, &in.Facts, in.Values)
	}
	return &b
}

// same fails the test unless the store holds the first n batches, byte for byte.
func (l *ledger) same(s history.Store, from int64, n int) {
	l.t.Helper()
	want := l.batches[:n]
	for len(want) > 0 && want[0].Base < from {
		want = want[1:]
	}
	err := s.Batches(l.t.Context(), 0, from, func(b *history.Batch) error {
		if len(want) == 0 {
			return fmt.Errorf("a batch at %d that was not written", b.Base)
		}
		w := &want[0]
		want = want[1:]
		if b.Base != w.Base || b.Timestamp != w.Timestamp || len(b.Values) != len(w.Values) {
			return fmt.Errorf("batch at %d, ms %d, of %d records; want %d, %d, %d", b.Base, b.Timestamp, len(b.Values), w.Base, w.Timestamp, len(w.Values))
		}
		if got, want := fmt.Sprintf("%+v", b.Facts), fmt.Sprintf("%+v", w.Facts); got != want {
			return fmt.Errorf("facts of the batch at %d are %s, want %s", b.Base, got, want)
		}
		for i := range b.Values {
			if !bytes.Equal(b.Values[i], w.Values[i]) {
				return fmt.Errorf("record %d is %x, want %x", b.Base+int64(i), b.Values[i], w.Values[i])
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if len(want) > 0 {
		l.t.Fatalf("%d batches are missing, the first at %d", len(want), want[0].Base)
	}
}

// everyKind appends batches with every kind of record and every outcome, whole
// and bare, with what columns hold badly.
func (l *ledger) everyKind() {
	l.batch(schemas.AppendGenesisEntry(nil, &schemas.Genesis{TopicID: [16]byte{1}, Topic: []byte("transactions"), Start: []schemas.Position{{Partition: 0, Offset: 0}}}))
	l.batch(schemas.AppendBundleEntry(nil, &schemas.BundleTaken{Slot: []byte("champion"), Hash: [32]byte{5}, Offset: -1}),
		schemas.AppendRateEntry(nil, &schemas.Rate{Currency: []byte("USD"), Num: 9, Den: 10}),
		schemas.AppendGapEntry(nil, &schemas.Gap{Partition: 0, From: 3, To: 4, By: []byte("op")}))
	var values [][]byte
	for o := range schemas.NumOutcomes {
		d := l.decision(fmt.Sprintf("tx-%s", o), 20)
		d.Outcome, d.Reason, d.Flags = o, schemas.Reason(o), schemas.Late
		values = append(values, schemas.AppendDecision(nil, d))
		values = append(values, schemas.AppendDecision(nil, &schemas.Decision{Place: l.place(), Verdict: schemas.Verdict{Outcome: o}}))
	}
	l.batch(values...)
	odd := l.decision("tx-odd", 3)
	nan, minus := math.Float32frombits(0x7fc12345), float32(math.Copysign(0, -1))
	odd.Features[0], odd.Features[1], odd.Score, odd.Rank, odd.ChallengerScore = nan, minus, nan, minus, float32(math.Inf(1))
	odd.Own = []float64{math.NaN(), math.Copysign(0, -1), 1e300, math.Float64frombits(0x7ff8000000001234)}
	odd.OwnText = [][]byte{nil, []byte("zwei"), {}, []byte("d\x00rei")}
	odd.PrevCard = []byte("tok")
	odd.Tenant, odd.Text[schemas.Merchant] = []byte("b\x00nk"), []byte{0xff, 0xfe}
	odd.Text[schemas.Country] = []byte("\xc3\x28")
	odd.Tx.Time, odd.Tx.Amount = -5, math.MinInt64
	unknown := schemas.AppendDecision(nil, l.decision("tx-newer", 2))
	unknown = append(unknown, 0x7a, 3, 'n', 'e', 'w') // field 15 of the entry
	l.batch(schemas.AppendDecision(nil, odd), unknown, []byte{0x52, 1, 0}, []byte("no entry at all"))
	l.label("tx-scored", schemas.Analyst, schemas.LabelFraud, 1, l.now)
}

// decisions appends a batch of n decisions.
func (l *ledger) decisions(n int) {
	var values [][]byte
	for range n {
		values = append(values, schemas.AppendDecision(nil, l.decision(fmt.Sprintf("tx-%d", l.source), 4)))
	}
	l.batch(values...)
}

// anyDecision returns a decision whose fields are drawn from all they may hold,
// the ends of their ranges above all.
func (l *ledger) anyDecision() *schemas.Decision {
	bits32 := []uint32{0, 1 << 31, 0x7fc00000, 0x7f800001, 0x7f800000, 0x3f000000}
	f32 := func() float32 {
		if l.r.IntN(8) == 0 {
			return math.Float32frombits(bits32[l.r.IntN(len(bits32))])
		}
		return l.r.Float32()
	}
	text := func() []byte {
		b := make([]byte, l.r.IntN(6))
		for i := range b {
			b[i] = byte('a' + l.r.IntN(4))
			if l.r.IntN(200) == 0 {
				b[i] = byte(l.r.Uint32())
			}
		}
		return b
	}
	whole := func() int64 { return int64(l.r.Uint64()) >> l.r.IntN(64) }
	d := &schemas.Decision{Place: l.place(), Tenant: []byte("bank"), PrevCard: text(),
		Verdict: schemas.Verdict{Outcome: schemas.Outcome(l.r.IntN(int(schemas.NumOutcomes))), Reason: schemas.Reason(l.r.IntN(int(schemas.NumReasons))), Flags: schemas.Flags(l.r.IntN(256))},
		Tx: schemas.Transaction{Time: 1_750_000_000_000 + whole()%10_000_000_000, Amount: whole(), AmountBase: whole(),
			Type: schemas.TxType(l.r.IntN(int(schemas.NumTxTypes))), Status: schemas.Status(l.r.IntN(int(schemas.NumStatuses)))},
		Features: make([]float32, l.r.IntN(5)), Score: f32(), Prob: f32(), Threshold: f32(), Rank: f32(), ReviewProb: f32(), ChallengerScore: f32(),
		Action: schemas.Action(l.r.IntN(int(schemas.NumActions))), Arithmetic: schemas.Arithmetic(l.r.IntN(2)),
		Bundle: l.r.Uint64(), Spec: l.r.Uint64(), Engine: l.r.Uint64(), Challenger: l.r.Uint64()}
	for f := range d.Text {
		d.Text[f] = text()
	}
	for i := range d.Features {
		d.Features[i] = f32()
	}
	for range l.r.IntN(3) {
		d.OwnText = append(d.OwnText, text())
		d.Own = append(d.Own, math.Float64frombits(l.r.Uint64()))
	}
	return d
}

// at fails the test unless the store's position is an offset of the ledger, at
// the end of a batch that it names.
func (l *ledger) at(s history.Store, offset int64) {
	l.t.Helper()
	at, err := s.Position(l.t.Context(), history.Ledger, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, b := range l.batches {
		if b.Base+int64(len(b.Values)) == offset && at == (history.Position{Anchor: schemas.Anchor{Offset: offset, Head: b.Facts.ID}}) {
			return
		}
	}
	l.t.Fatalf("position is %+v, want %d", at, offset)
}

// once fails the test unless the store holds each decision of the ledger once,
// before any copy is merged away.
func (l *ledger) once(s history.Store) {
	l.t.Helper()
	want := int64(0)
	for _, b := range l.batches {
		for _, v := range b.Values {
			if v[0] == byte(schemas.EntryDecision)<<3|2 {
				want++
			}
		}
	}
	c, err := s.Counts(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if c.Decisions != want || c.Final != want || c.Batches != int64(len(l.batches)) {
		l.t.Fatalf("counts are %+v, want %d decisions, as many different ones, and %d batches", c, want, len(l.batches))
	}
}

// rows reads all rows that q asks for as one chunk.
func (l *ledger) rows(s history.Store, q history.RowQuery) *rowsRead {
	l.t.Helper()
	all := &rowsRead{}
	err := s.Rows(l.t.Context(), q, func(c *history.Chunk) error {
		all.Tenant, all.Time, all.Payer = append(all.Tenant, c.Tenant...), append(all.Time, c.Time...), append(all.Payer, c.Payer...)
		all.ID = append(all.ID, c.ID...)
		all.Action, all.Bundle, all.ReviewProb = append(all.Action, c.Action...), append(all.Bundle, c.Bundle...), append(all.ReviewProb, c.ReviewProb...)
		all.Challenger, all.ChallengerScore = append(all.Challenger, c.Challenger...), append(all.ChallengerScore, c.ChallengerScore...)
		all.Label, all.LabelSource = append(all.Label, c.Label...), append(all.LabelSource, c.LabelSource...)
		all.LabelKnownAt = append(all.LabelKnownAt, c.LabelKnownAt...)
		all.LabelProb, all.LabelOwn = append(all.LabelProb, c.LabelProb...), append(all.LabelOwn, c.LabelOwn...)
		for i := range c.Len() {
			all.x = append(all.x, append([]float32(nil), c.Row(i)...))
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// rowsRead are the rows of many chunks.
type rowsRead struct {
	history.Chunk
	x [][]float32
}

func (r *rowsRead) Len() int            { return len(r.x) }
func (r *rowsRead) Row(i int) []float32 { return r.x[i] }

func write(t testing.TB, s history.Writer, b *history.Block) {
	t.Helper()
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}
