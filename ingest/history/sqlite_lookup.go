package history

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// Record implements [Lookup].
func (s *sqliteStore) Record(ctx context.Context, shard int32, offset int64) (Record, error) {
	return lookUpRecord(ctx, s, shard, offset)
}

// Payments implements [Lookup].
func (s *sqliteStore) Payments(ctx context.Context, q PaymentQuery) ([]Payment, error) {
	return lookUpPayments(ctx, s, &q)
}

// Days implements [Lookup].
func (s *sqliteStore) Days(ctx context.Context, q DayQuery) ([]Day, error) {
	return lookUpDays(ctx, s, &q)
}

// Around implements [Neighbourhood].
func (s *sqliteStore) Around(ctx context.Context, q AroundQuery) ([]Record, error) {
	return lookAround(ctx, s, &q)
}

func (s *sqliteStore) readBatchAt(ctx context.Context, w *window, offset int64) error {
	return s.query(ctx, func(scan func(...any) error) error {
		var b windowBatch
		err := scan(&b.base, &b.records, &b.timestamp, &b.packed)
		w.batches = append(w.batches, b)
		return err
	}, `SELECT base, records, written_ms, facts FROM batches WHERE shard = ? AND base <= ? ORDER BY base DESC LIMIT 1`, w.shard, offset)
}

// sqliteHas is a condition that the index of a field serves: it leaves out what lacks
// the field.
func sqliteHas(f schemas.TextField) string { return fmt.Sprintf("%v = ? AND %v != ''", f, f) }

func (s *sqliteStore) readPayments(ctx context.Context, q *PaymentQuery, fn func(*Payment)) error {
	return s.query(ctx, func(scan func(...any) error) error {
		var p Payment
		var kind, status, outcome uint8
		var prob sql.NullFloat64
		into := []any{&p.Shard, &p.Offset, &p.Tx.Time, &p.Tx.Amount, &p.Tx.AmountBase, &kind, &status, &outcome, (*uint16)(&p.Verdict.Reason),
			(*uint8)(&p.Verdict.Flags), &prob}
		for _, f := range PaymentTexts {
			into = append(into, &p.Text[f])
		}
		if err := scan(into...); err != nil {
			return err
		}
		p.Tx.Type, p.Tx.Status, p.Verdict.Outcome = schemas.TxType(kind), schemas.Status(status), schemas.Outcome(outcome)
		p.Prob = float32(prob.Float64)
		fn(&p)
		return nil
	}, "SELECT "+paymentNames+" FROM decisions WHERE "+sqliteHas(q.Field)+` AND event_ms >= ? AND event_ms < ?
		ORDER BY event_ms DESC, shard DESC, ledger_offset DESC LIMIT ?`, q.Value, q.From, q.To, q.Limit)
}

// paymentNames are the columns of a [Payment].
var paymentNames = func() string {
	names := "shard, ledger_offset, time_ms, amount, amount_base, type, status, outcome, reason, flags, probability"
	for _, f := range PaymentTexts {
		names += ", " + f.String()
	}
	return names
}()

const dayMs = 86_400_000

func (s *sqliteStore) readDays(ctx context.Context, q *DayQuery, day func(Day), suspect func(int64, string)) error {
	in := " FROM decisions d WHERE " + sqliteHas(q.Field) + " AND event_ms >= ? AND event_ms < ? AND outcome IN (0, 1)"
	err := s.query(ctx, func(scan func(...any) error) error {
		var d Day
		err := scan(&d.Day, &d.Payments)
		d.Day *= dayMs
		day(d)
		return err
	}, "SELECT event_ms / 86400000 AS day, count(*)"+in+" GROUP BY day", q.Value, q.From, q.To)
	if err != nil {
		return err
	}
	return s.query(ctx, func(scan func(...any) error) error {
		var n int64
		var id string
		err := scan(&n, &id)
		suspect(n*dayMs, id)
		return err
	}, "SELECT event_ms / 86400000, id"+in+" AND EXISTS (SELECT 1 FROM labels l WHERE l.tx_id = d.id AND l.verdict = 2)", q.Value, q.From, q.To)
}

// sqliteIndexed are the fields that have an index. What is asked for by others goes
// through all decisions, once.
var sqliteIndexed = PaymentFields

func (s *sqliteStore) readLegs(ctx context.Context, q *AroundQuery, fn func(int64, []byte, *schemas.Decision)) error {
	var slow []string
	var slowArgs []any
	for i := range q.Legs {
		l := &q.Legs[i]
		for _, card := range legCards(l) {
			where, args := sqliteLeg(l, card)
			if !slices.ContainsFunc(l.Fields, func(f schemas.TextField) bool { return slices.Contains(sqliteIndexed, f) }) {
				slow, slowArgs = append(slow, where), append(slowArgs, args...)
			} else if err := s.readDecisions(ctx, q, where, args, fn); err != nil {
				return err
			}
		}
	}
	if len(slow) == 0 {
		return nil
	}
	return s.readDecisions(ctx, q, "("+strings.Join(slow, " OR ")+")", slowArgs, fn)
}

// sqliteLeg returns the condition of a leg; card is the column where cards are.
func sqliteLeg(l *Leg, card string) (where string, args []any) {
	where, args = "(event_ms >= ?", []any{l.From}
	for i, f := range l.Fields {
		if f == schemas.Card && card == "previous_card" {
			where += " AND previous_card = ? AND previous_card != ''"
		} else {
			where += " AND " + sqliteHas(f)
		}
		args = append(args, l.Values[i])
	}
	return where + ")", args
}

// readDecisions calls fn with decisions, one more than the limit at most.
func (s *sqliteStore) readDecisions(ctx context.Context, q *AroundQuery, where string, args []any, fn func(int64, []byte, *schemas.Decision)) error {
	r := newSQLiteRow()
	args = append(args, q.Shard, q.Before, q.Limit+1)
	return s.query(ctx, func(scan func(...any) error) error {
		if err := scan(r.into...); err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return fmt.Errorf("decision at ledger offset %d: %w", r.offset, err)
		}
		fn(r.offset, r.raw, &r.decision)
		return nil
	}, "SELECT "+strings.Join(decisionNames, ",")+" FROM decisions WHERE "+where+" AND shard = ? AND ledger_offset < ? LIMIT ?", args...)
}

func (s *sqliteStore) readReversals(ctx context.Context, q *AroundQuery, ids []string, fn func(int64, []byte, *schemas.Decision)) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return s.readDecisions(ctx, q, "type = 2 AND original_id IN "+places(len(ids)), args, fn)
}

func (s *sqliteStore) readRates(ctx context.Context, q *AroundQuery, fn func(int64, []byte)) error {
	return s.query(ctx, func(scan func(...any) error) error {
		var offset int64
		var value sql.RawBytes
		err := scan(&offset, &value)
		fn(offset, value)
		return err
	}, "SELECT ledger_offset, value FROM entries WHERE kind = 3 AND shard = ? AND ledger_offset < ?", q.Shard, q.Before)
}

// legCards are the columns that a leg finds cards in.
func legCards(l *Leg) []string {
	if slices.Contains(l.Fields, schemas.Card) {
		return []string{"card", "previous_card"}
	}
	return []string{""}
}

func (s *sqliteStore) readLabels(ctx context.Context, ids []string, fn func(*labelRow)) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return s.query(ctx, func(scan func(...any) error) error {
		var l labelRow
		var fraudType, selected string
		var prob sql.NullFloat64
		if err := scan(&l.id, &l.shard, &l.offset, (*uint8)(&l.label.Source), &l.label.Version, &l.label.KnownAt, (*uint8)(&l.label.Verdict), &fraudType, &selected, &prob); err != nil {
			return err
		}
		l.label.TxID, l.label.FraudType, l.label.Selected, l.label.SelectedProb = []byte(l.id), []byte(fraudType), []byte(selected), float32(prob.Float64)
		fn(&l)
		return nil
	}, "SELECT "+labelLookup+" FROM labels WHERE tx_id IN "+places(len(ids)), args...)
}

// labelLookup are the columns of a labelRow.
const labelLookup = "tx_id, shard, ledger_offset, source, version, known_ms, verdict, fraud_type, selected, selected_probability"
