package history

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-risk/weir/schemas"
)

// Record implements [Lookup].
func (s *clickhouseStore) Record(ctx context.Context, shard int32, offset int64) (Record, error) {
	return lookUpRecord(ctx, s, shard, offset)
}

// Payments implements [Lookup].
func (s *clickhouseStore) Payments(ctx context.Context, q PaymentQuery) ([]Payment, error) {
	return lookUpPayments(ctx, s, &q)
}

// Days implements [Lookup].
func (s *clickhouseStore) Days(ctx context.Context, q DayQuery) ([]Day, error) {
	return lookUpDays(ctx, s, &q)
}

// Around implements [Neighbourhood].
func (s *clickhouseStore) Around(ctx context.Context, q AroundQuery) ([]Record, error) {
	return lookAround(ctx, s, &q)
}

// each calls fn for every row of a small answer, into which it was scanned. Once a row
// came it is not tried again: fn would see it twice.
func (s *clickhouseStore) each(ctx context.Context, fn func(), into []any, text string, args ...any) error {
	var broken error
	return s.ask(ctx, func() error {
		if broken != nil {
			return broken
		}
		rows, err := s.pool.Query(ctx, s.sql(text), args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // its error is Err's
		for rows.Next() {
			if broken = rows.Scan(into...); broken != nil {
				return broken
			}
			fn()
			broken = errBrokenOff
		}
		if err := rows.Err(); err != nil {
			return err
		}
		broken = nil
		return nil
	})
}

// errBrokenOff is of an answer of which not all rows came.
var errBrokenOff = errors.New("the answer broke off")

func (s *clickhouseStore) readBatchAt(ctx context.Context, w *window, offset int64) error {
	var b windowBatch
	var facts string
	return s.each(ctx, func() {
		b.packed = []byte(facts)
		w.batches = append(w.batches[:0], b)
	}, []any{&b.base, &b.records, &b.timestamp, &facts}, `SELECT base, records, written_ms, facts FROM {db}.batches
		WHERE shard = ? AND base <= ? ORDER BY base DESC LIMIT 1`, w.shard, offset)
}

func (s *clickhouseStore) readPayments(ctx context.Context, q *PaymentQuery, fn func(*Payment)) error {
	var p Payment
	into := []any{&p.Shard, &p.Offset, &p.Tx.Time, &p.Tx.Amount, &p.Tx.AmountBase, (*uint8)(&p.Tx.Type), (*uint8)(&p.Tx.Status),
		(*uint8)(&p.Verdict.Outcome), (*uint16)(&p.Verdict.Reason), (*uint8)(&p.Verdict.Flags), &p.Prob}
	for _, f := range PaymentTexts {
		into = append(into, &p.Text[f])
	}
	return s.each(ctx, func() { fn(&p) }, into, paymentsQuery(q.Field), q.Value, q.From, q.To, q.Limit)
}

// paymentsQuery asks for no column that the field's projection lacks, or the server
// would not take it.
func paymentsQuery(f schemas.TextField) string {
	return "SELECT " + paymentNames + " FROM {db}.decisions WHERE " + f.String() +
		" = ? AND event_ms >= ? AND event_ms < ? ORDER BY event_ms DESC, shard DESC, ledger_offset DESC LIMIT ?"
}

// daysQuery does as paymentsQuery.
func daysQuery(f schemas.TextField) string {
	return "SELECT intDiv(event_ms, 86400000) AS day, uniqExact(shard, ledger_offset), " +
		"groupUniqArrayIf(id, id IN (SELECT tx_id FROM {db}.labels WHERE verdict = 2 AND known_ms >= ?)) FROM {db}.decisions WHERE " + f.String() +
		" = ? AND event_ms >= ? AND event_ms < ? AND outcome IN (0, 1) GROUP BY day"
}

// readDays takes a label for one of a transaction in these days where it was known
// after they began.
func (s *clickhouseStore) readDays(ctx context.Context, q *DayQuery, day func(Day), suspect func(int64, string)) error {
	var d int64
	var n uint64
	var ids []string
	return s.each(ctx, func() {
		day(Day{Day: d * dayMs, Payments: int64(n)})
		for _, id := range ids {
			suspect(d*dayMs, id)
		}
	}, []any{&d, &n, &ids}, daysQuery(q.Field), q.From, q.Value, q.From, q.To)
}

func (s *clickhouseStore) readLegs(ctx context.Context, q *AroundQuery, fn func(int64, []byte, *schemas.Decision)) error {
	for k := range q.Legs {
		l := &q.Legs[k]
		for _, card := range legCards(l) {
			where := fmt.Sprintf(" WHERE shard = %d AND ledger_offset < %d AND event_ms >= %d", q.Shard, q.Before, l.From)
			for i, f := range l.Fields {
				name := f.String()
				if f == schemas.Card {
					name = card
				}
				where += " AND " + name + " = " + quote(l.Values[i])
			}
			if err := s.readDecisions(ctx, where+fmt.Sprintf(" LIMIT %d", q.Limit+1), fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *clickhouseStore) readReversals(ctx context.Context, q *AroundQuery, ids []string, fn func(int64, []byte, *schemas.Decision)) error {
	return s.readDecisions(ctx, fmt.Sprintf(" WHERE type = 2 AND shard = %d AND ledger_offset < %d AND original_id IN %s", q.Shard, q.Before, quoteAll(ids)), fn)
}

func (s *clickhouseStore) readRates(ctx context.Context, q *AroundQuery, fn func(int64, []byte)) error {
	var offset int64
	var value string
	return s.each(ctx, func() { fn(offset, []byte(value)) }, []any{&offset, &value},
		"SELECT ledger_offset, value FROM {db}.entries WHERE kind = 3 AND shard = ? AND ledger_offset < ?", q.Shard, q.Before)
}

// quoteAll writes texts as a list of SQL.
func quoteAll(texts []string) string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = quote(text)
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// readDecisions calls fn with decisions.
func (s *clickhouseStore) readDecisions(ctx context.Context, where string, fn func(offset int64, raw []byte, d *schemas.Decision)) error {
	// Texts of few kinds come plain: their dictionaries would be unpacked one
	// string a row.
	c := newDecisionColumns(func() textColumn { return new(proto.ColStr) })
	names := make([]string, len(decisionNames))
	for i, name := range decisionNames {
		names[i] = name
		if lowNames[name] {
			names[i] = "CAST(" + name + ", 'String') AS " + name
		}
	}
	var d schemas.Decision
	return s.read(ctx, "SELECT "+strings.Join(names, ", ")+" FROM {db}.decisions"+where, c.results, func(rows int) error {
		for i := range rows {
			c.decision(i, &d)
			fn(c.ledger[i], c.raw.RowBytes(i), &d)
		}
		return nil
	})
}

func (s *clickhouseStore) readLabels(ctx context.Context, ids []string, fn func(*labelRow)) error {
	var l labelRow
	var fraudType, selected string
	into := []any{&l.id, &l.shard, &l.offset, (*uint8)(&l.label.Source), &l.label.Version, &l.label.KnownAt, (*uint8)(&l.label.Verdict),
		&fraudType, &selected, &l.label.SelectedProb}
	return s.each(ctx, func() {
		l.label.TxID, l.label.FraudType, l.label.Selected = []byte(l.id), []byte(fraudType), []byte(selected)
		fn(&l)
	}, into, "SELECT "+labelLookup+" FROM {db}.labels WHERE tx_id IN "+quoteAll(ids))
}
