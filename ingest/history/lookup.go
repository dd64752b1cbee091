package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// The errors of a [Lookup]; compare with errors.Is.
var (
	// ErrNoRecord is of a place of the ledger of which the history holds no record.
	ErrNoRecord = errors.New("the history holds no record of the ledger there")
	// ErrField is of a field that what was asked for is not looked up by.
	ErrField = errors.New("the history looks nothing up by this field")
	// ErrMany is of more than whoever asks would take.
	ErrMany = errors.New("the history holds more than was asked for")
)

// A Lookup finds single things in the history. It may be used by many goroutines and
// while the history is written.
type Lookup interface {
	// Record returns the record at a place of the ledger with the facts of its batch.
	// ErrNoRecord is wrapped where there is none.
	Record(ctx context.Context, shard int32, offset int64) (Record, error)
	// Payments returns the transactions of an entity, the newest first and of equal
	// times the later in the ledger, with what is known of each.
	Payments(ctx context.Context, q PaymentQuery) ([]Payment, error)
	// Days counts an entity's transactions by day of event time, ascending, days
	// without one left out.
	Days(ctx context.Context, q DayQuery) ([]Day, error)
}

// A Neighbourhood gives out the part of the ledger that a decision's features can
// depend on.
type Neighbourhood interface {
	// Around returns the decisions that q asks for, with the labels and reversals of
	// their transactions, in the ledger's order. ErrMany is wrapped where there are
	// more than q.Limit decisions.
	Around(ctx context.Context, q AroundQuery) ([]Record, error)
}

// A Record is one record of the ledger.
type Record struct {
	Offset int64
	Value  []byte // an Entry of decision.proto
	// Base, Timestamp and Facts are those of its batch; of Lookup.Record only.
	Base, Timestamp int64
	Facts           schemas.Facts
}

// A PaymentQuery says whose transactions to look up.
type PaymentQuery struct {
	Field schemas.TextField // one of PaymentFields
	Value string
	// From and To bound the event time, ms: From <= time < To.
	From, To int64
	Limit    int
}

// Payment is one transaction as it was decided, without its vector.
type Payment struct {
	Shard   int32
	Offset  int64 // in the ledger
	Tx      schemas.Transaction
	Verdict schemas.Verdict
	Prob    float32
	Text    [schemas.NumText]string // those of PaymentTexts
	Labels  []schemas.Label         // all versions, by source and version; texts and places aside
}

// A DayQuery says whose days to count.
type DayQuery struct {
	Field    schemas.TextField // one of PaymentFields
	Value    string
	From, To int64 // whole days, ms: From <= day < To
	// Sources are the sources of labels that count, the strongest first.
	Sources []schemas.LabelSource
}

// A Day is what an entity's day came to.
type Day struct {
	Day      int64 // its begin, ms
	Payments int64 // scored or degraded
	Frauds   int64 // of those
}

// An AroundQuery asks for the decisions of which one leg is true.
type AroundQuery struct {
	Shard  int32
	Before int64 // ledger offset
	Legs   []Leg
	Limit  int  // of decisions
	Rates  bool // the exchange rates too
}

// A Leg is of the decisions whose fields have these values, all of them, from an event
// time on, ms. A card is looked for among previous cards too.
type Leg struct {
	Fields []schemas.TextField // of EntityFields
	Values []string
	From   int64
}

// EntityFields are the fields that decisions are looked up by in a [Leg].
var EntityFields = []schemas.TextField{schemas.Card, schemas.Customer, schemas.Account, schemas.Counterparty, schemas.Merchant,
	schemas.Terminal, schemas.Device, schemas.IP}

// PaymentFields say who pays and who is paid: the fields that payments and days are
// looked up by.
var PaymentFields = []schemas.TextField{schemas.Card, schemas.Customer, schemas.Account, schemas.Counterparty, schemas.Merchant}

// PaymentTexts are the texts that a [Payment] has.
var PaymentTexts = []schemas.TextField{schemas.ID, schemas.Currency, schemas.Counterparty, schemas.Merchant}

// Winner returns what is known of a transaction by all versions of its labels: the
// verdict of the strongest source whose latest version has one, and that label. Of two
// labels of one version the one that came first stands.
func Winner(labels []schemas.Label, sources []schemas.LabelSource) (winner schemas.Label) {
	for _, s := range sources {
		var latest schemas.Label
		for _, l := range labels {
			if l.Source == s && l.Version > latest.Version {
				latest = l
			}
		}
		if latest.Verdict != schemas.LabelNone {
			return latest
		}
	}
	return schemas.Label{}
}

// A labelRow is a label with its transaction and its place in the ledger.
type labelRow struct {
	id     string
	shard  int32
	offset int64
	label  schemas.Label
}

// A lookupTable is what looking up needs of a store.
type lookupTable interface {
	ledgerTable
	check(ctx context.Context) error
	// readBatchAt appends the last batch of w.shard that begins at or before an offset.
	readBatchAt(ctx context.Context, w *window, offset int64) error
	readPayments(ctx context.Context, q *PaymentQuery, fn func(p *Payment)) error
	// readDays calls fn with days, and with the transactions of them that a label ever
	// called fraud.
	readDays(ctx context.Context, q *DayQuery, day func(d Day), suspect func(day int64, id string)) error
	// readLegs calls fn with the decisions that q asks for, in any order, perhaps twice,
	// and not with all of them where there are more than its limit; raw is as
	// window.putDecision has it.
	readLegs(ctx context.Context, q *AroundQuery, fn func(offset int64, raw []byte, d *schemas.Decision)) error
	// readReversals calls fn, as readLegs does, with the reversals of transactions.
	readReversals(ctx context.Context, q *AroundQuery, ids []string, fn func(offset int64, raw []byte, d *schemas.Decision)) error
	// readRates calls fn with the exchange rates that took effect before q.Before.
	readRates(ctx context.Context, q *AroundQuery, fn func(offset int64, value []byte)) error
	// readLabels calls fn with the labels of transactions, in any order.
	readLabels(ctx context.Context, ids []string, fn func(l *labelRow)) error
}

func lookUpRecord(ctx context.Context, t lookupTable, shard int32, offset int64) (r Record, err error) {
	if err := t.check(ctx); err != nil {
		return r, err
	}
	w := window{shard: shard, from: offset, next: offset + 1, spans: make([]schemas.Span, 1)}
	if err := t.readBatchAt(ctx, &w, offset); err != nil {
		return r, fmt.Errorf("read the batch of ledger offset %d: %w", offset, err)
	}
	if err := t.readRecords(ctx, &w); err != nil {
		return r, fmt.Errorf("read ledger offset %d: %w", offset, err)
	}
	if len(w.batches) == 0 || w.spans[0].Len == 0 || offset >= w.batches[0].base+w.batches[0].records {
		return r, fmt.Errorf("%w: offset %d of shard %d", ErrNoRecord, offset, shard)
	}
	b := &w.batches[0]
	r = Record{Offset: offset, Value: w.arena, Base: b.base, Timestamp: b.timestamp}
	if err := unpackFacts(b.packed, &r.Facts); err != nil {
		return r, fmt.Errorf("ledger batch at %d: %w", b.base, err)
	}
	return r, nil
}

func lookUpPayments(ctx context.Context, t lookupTable, q *PaymentQuery) (list []Payment, err error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if !slices.Contains(PaymentFields, q.Field) {
		return nil, fmt.Errorf("payments by %v: %w", q.Field, ErrField)
	}
	err = t.readPayments(ctx, q, func(p *Payment) {
		if n := len(list); n > 0 && list[n-1].Shard == p.Shard && list[n-1].Offset == p.Offset {
			return // a second copy
		}
		list = append(list, *p)
	})
	if err != nil {
		return nil, fmt.Errorf("read the payments of one %v: %w", q.Field, err)
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].Text[schemas.ID]
	}
	known, err := labelsOf(ctx, t, ids)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Labels = known[list[i].Text[schemas.ID]]
	}
	return list, nil
}

func lookUpDays(ctx context.Context, t lookupTable, q *DayQuery) (list []Day, err error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if !slices.Contains(PaymentFields, q.Field) {
		return nil, fmt.Errorf("days by %v: %w", q.Field, ErrField)
	}
	suspects := make(map[string]int64)
	err = t.readDays(ctx, q, func(d Day) { list = append(list, d) }, func(day int64, id string) { suspects[id] = day })
	if err != nil {
		return nil, fmt.Errorf("count the days of one %v: %w", q.Field, err)
	}
	ids := make([]string, 0, len(suspects))
	for id := range suspects {
		ids = append(ids, id)
	}
	known, err := labelsOf(ctx, t, ids)
	if err != nil {
		return nil, err
	}
	frauds := make(map[int64]int64)
	for id, day := range suspects {
		if Winner(known[id], q.Sources).Verdict == schemas.LabelFraud {
			frauds[day]++
		}
	}
	for i := range list {
		list[i].Frauds = frauds[list[i].Day]
	}
	slices.SortFunc(list, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	return list, nil
}

// labelsMax is how many transactions are asked about at a time.
const labelsMax = 500

// labelRows reads the labels of transactions.
func labelRows(ctx context.Context, t lookupTable, ids []string) (list []labelRow, err error) {
	slices.Sort(ids)
	for some := range slices.Chunk(slices.Compact(ids), labelsMax) {
		if err := t.readLabels(ctx, some, func(l *labelRow) { list = append(list, *l) }); err != nil {
			return nil, fmt.Errorf("read labels: %w", err)
		}
	}
	return list, nil
}

// labelsOf returns the labels of transactions by id.
func labelsOf(ctx context.Context, t lookupTable, ids []string) (map[string][]schemas.Label, error) {
	rows, err := labelRows(ctx, t, ids)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b labelRow) int {
		return cmp.Or(cmp.Compare(a.label.Source, b.label.Source), cmp.Compare(a.label.Version, b.label.Version),
			cmp.Compare(a.shard, b.shard), cmp.Compare(a.offset, b.offset))
	})
	known := make(map[string][]schemas.Label)
	for i := range rows {
		if i > 0 && rows[i].id == rows[i-1].id && rows[i].shard == rows[i-1].shard && rows[i].offset == rows[i-1].offset {
			continue // a second copy
		}
		known[rows[i].id] = append(known[rows[i].id], rows[i].label)
	}
	return known, nil
}

// An around gathers what is around a decision.
type around struct {
	q    *AroundQuery
	seen map[int64]bool
	ids  []string
	list []Record
}

func (a *around) add(offset int64, value []byte) {
	if !a.seen[offset] {
		a.seen[offset] = true
		a.list = append(a.list, Record{Offset: offset, Value: append([]byte(nil), value...)})
	}
}

func (a *around) decision(offset int64, raw []byte, d *schemas.Decision) {
	if a.seen[offset] {
		return
	}
	if len(raw) == 0 {
		raw = schemas.AppendDecision(nil, d)
	}
	a.add(offset, raw)
	a.ids = append(a.ids, string(d.Text[schemas.ID]))
}

func lookAround(ctx context.Context, t lookupTable, q *AroundQuery) ([]Record, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	for i := range q.Legs {
		for _, f := range q.Legs[i].Fields {
			if !slices.Contains(EntityFields, f) {
				return nil, fmt.Errorf("decisions by %v: %w", f, ErrField)
			}
		}
	}
	a := around{q: q, seen: make(map[int64]bool)}
	if err := a.read(ctx, t); err != nil {
		return nil, fmt.Errorf("read what is around ledger offset %d: %w", q.Before, err)
	}
	slices.SortFunc(a.list, func(a, b Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return a.list, nil
}

func (a *around) read(ctx context.Context, t lookupTable) error {
	if err := t.readLegs(ctx, a.q, a.decision); err != nil {
		return err
	}
	if len(a.list) > a.q.Limit {
		return fmt.Errorf("%w: over %d decisions", ErrMany, a.q.Limit)
	}
	slices.Sort(a.ids)
	ids := slices.Compact(a.ids)
	for some := range slices.Chunk(ids, labelsMax) {
		if err := t.readReversals(ctx, a.q, some, a.decision); err != nil {
			return err
		}
	}
	rows, err := labelRows(ctx, t, slices.Clone(ids))
	if err != nil {
		return err
	}
	for i := range rows {
		if r := &rows[i]; r.shard == a.q.Shard && r.offset < a.q.Before {
			a.add(r.offset, schemas.AppendLabelEntry(nil, &r.label))
		}
	}
	if !a.q.Rates {
		return nil
	}
	return t.readRates(ctx, a.q, a.add)
}
