package history

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/weir-risk/weir/schemas"
)

// Memory keeps the newest payments of a ledger for a process that keeps no history: who
// paid whom, and what became known. It is written as a store is, a hundred times cheaper,
// and answers [Lookup] from one pass over a column; it holds no records.
type Memory struct {
	limit int

	mu     sync.RWMutex // guards the others
	at     map[tapePlace]Position
	number map[string]uint32          // of every text in who and in rows
	texts  []string                   // by number
	who    [][]uint32                 // by PaymentFields: the numbers of the rows' texts, in their order
	rows   []memoryRow                // in the order in which they were written
	labels map[string][]schemas.Label // by transaction
	entry  schemas.Entry
}

type tapePlace struct {
	stream    Stream
	partition int32
}

// memoryRow is a payment without who paid whom.
type memoryRow struct {
	shard    int32
	currency uint32
	prob     float32
	verdict  schemas.Verdict
	offset   int64
	event    int64
	tx       schemas.Transaction
	id       string
}

var (
	_ Writer = (*Memory)(nil)
	_ Lookup = (*Memory)(nil)
)

// NewMemory returns a memory that keeps up to so many payments.
func NewMemory(limit int) *Memory {
	return &Memory{limit: limit, at: make(map[tapePlace]Position), number: make(map[string]uint32), who: make([][]uint32, len(PaymentFields)), labels: make(map[string][]schemas.Label)}
}

// Migrate implements [Writer]: there is nothing to do.
func (m *Memory) Migrate(context.Context) ([]string, error) { return nil, nil }

// Pending implements [Writer].
func (m *Memory) Pending(context.Context) ([]string, error) { return nil, nil }

// Position implements [Writer].
func (m *Memory) Position(_ context.Context, s Stream, partition int32) (Position, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.at[tapePlace{s, partition}], nil
}

// Write implements [Writer].
func (m *Memory) Write(_ context.Context, b *Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	place := tapePlace{b.Stream, b.Partition}
	if done, err := m.at[place].admits(b); done || err != nil {
		return err
	}
	if b.Stream == Ledger {
		for i := range b.records {
			r := &b.records[i]
			if schemas.ParseEntry(b.bytes(r.value), &m.entry) != nil {
				continue // a newer weir's
			}
			switch e := &m.entry; e.Kind {
			case schemas.EntryDecision:
				m.decided(&e.Decision, b.Partition, r.offset)
			case schemas.EntryLabel:
				l := &e.Label
				id := string(l.TxID)
				m.labels[id] = append(m.labels[id], schemas.Label{TxID: []byte(id), Verdict: l.Verdict, Source: l.Source, KnownAt: l.KnownAt, Version: l.Version,
					FraudType: []byte(string(l.FraudType)), Selected: []byte(string(l.Selected)), SelectedProb: l.SelectedProb})
			}
		}
		m.forget()
	}
	m.at[place] = Position{Anchor: schemas.Anchor{Offset: b.Next, Head: b.Head}}
	return nil
}

func (m *Memory) decided(d *schemas.Decision, shard int32, offset int64) {
	for i, f := range PaymentFields {
		m.who[i] = append(m.who[i], m.numberOf(d.Text[f]))
	}
	m.rows = append(m.rows, memoryRow{shard: shard, offset: offset, event: eventMs(d), tx: d.Tx, verdict: d.Verdict, prob: d.Prob,
		currency: m.numberOf(d.Text[schemas.Currency]), id: string(d.Text[schemas.ID])})
}

// numberOf is the number of a text, which it gets when it is first seen.
func (m *Memory) numberOf(text []byte) uint32 {
	n, ok := m.number[string(text)]
	if !ok {
		n = uint32(len(m.texts))
		m.texts = append(m.texts, string(text))
		m.number[m.texts[n]] = n
	}
	return n
}

// forget drops the oldest payments beyond the limit, some at a time.
func (m *Memory) forget() {
	n := len(m.rows) - m.limit
	if n < m.limit/8+1 {
		return
	}
	for i := range m.rows[:n] {
		delete(m.labels, m.rows[i].id)
	}
	m.rows = slices.Delete(m.rows, 0, n)
	for i := range m.who {
		m.who[i] = slices.Delete(m.who[i], 0, n)
	}
}

// Record implements [Lookup]: there are none.
func (m *Memory) Record(_ context.Context, shard int32, offset int64) (Record, error) {
	return Record{}, fmt.Errorf("%w: offset %d of shard %d", ErrNoRecord, offset, shard)
}

// each calls fn with an entity's payments within a time.
func (m *Memory) each(field schemas.TextField, value string, from, to int64, fn func(r *memoryRow, at int)) error {
	column := slices.Index(PaymentFields, field)
	if column < 0 {
		return fmt.Errorf("payments by %v: %w", field, ErrField)
	}
	number, ok := m.number[value]
	if !ok {
		return nil
	}
	for i, n := range m.who[column] {
		if n != number {
			continue
		}
		if r := &m.rows[i]; r.event >= from && r.event < to {
			fn(r, i)
		}
	}
	return nil
}

// Payments implements [Lookup].
func (m *Memory) Payments(_ context.Context, q PaymentQuery) (list []Payment, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []int
	if err := m.each(q.Field, q.Value, q.From, q.To, func(_ *memoryRow, i int) { found = append(found, i) }); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b int) int {
		x, y := &m.rows[a], &m.rows[b]
		return cmp.Or(cmp.Compare(y.event, x.event), cmp.Compare(y.shard, x.shard), cmp.Compare(y.offset, x.offset))
	})
	for _, i := range found[:min(len(found), q.Limit)] {
		r := &m.rows[i]
		p := Payment{Shard: r.shard, Offset: r.offset, Tx: r.tx, Verdict: r.verdict, Prob: r.prob, Labels: slices.Clone(m.labels[r.id])}
		p.Text[schemas.ID], p.Text[schemas.Currency] = r.id, m.texts[r.currency]
		for k, f := range PaymentFields {
			if slices.Contains(PaymentTexts, f) {
				p.Text[f] = m.texts[m.who[k][i]]
			}
		}
		slices.SortStableFunc(p.Labels, func(a, b schemas.Label) int {
			return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Version, b.Version))
		})
		list = append(list, p)
	}
	return list, nil
}

// Days implements [Lookup].
func (m *Memory) Days(_ context.Context, q DayQuery) (list []Day, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	days := make(map[int64]*Day)
	err = m.each(q.Field, q.Value, q.From, q.To, func(r *memoryRow, _ int) {
		if r.verdict.Outcome > schemas.Degraded {
			return
		}
		at := r.event / dayMs * dayMs
		d := days[at]
		if d == nil {
			d = &Day{Day: at}
			days[at] = d
		}
		d.Payments++
		if Winner(m.labels[r.id], q.Sources).Verdict == schemas.LabelFraud {
			d.Frauds++
		}
	})
	for _, d := range days {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	return list, err
}
