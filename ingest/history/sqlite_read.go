package history

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// Batches implements [Reader].
func (s *sqliteStore) Batches(ctx context.Context, shard int32, from int64, fn func(*Batch) error) error {
	return walk(ctx, s, shard, from, fn)
}

func (s *sqliteStore) readBatches(ctx context.Context, w *window, from, upto int64) error {
	return s.query(ctx, func(scan func(...any) error) error {
		var b windowBatch
		err := scan(&b.base, &b.records, &b.timestamp, &b.packed)
		w.batches = append(w.batches, b)
		return err
	}, `SELECT base, records, written_ms, facts FROM batches WHERE shard = ? AND base >= ? AND base < ? ORDER BY base LIMIT ?`,
		w.shard, from, upto, windowBatches)
}

func (s *sqliteStore) readRecords(ctx context.Context, w *window) error {
	err := s.query(ctx, func(scan func(...any) error) error {
		var offset int64
		var value sql.RawBytes
		if err := scan(&offset, &value); err != nil {
			return err
		}
		w.put(offset, value)
		return nil
	}, `SELECT ledger_offset, value FROM entries WHERE shard = ? AND ledger_offset >= ? AND ledger_offset < ?`, w.shard, w.from, w.next)
	if err != nil {
		return err
	}
	r := newSQLiteRow()
	return s.query(ctx, func(scan func(...any) error) error {
		if err := scan(r.into...); err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return fmt.Errorf("decision at ledger offset %d: %w", r.offset, err)
		}
		w.putDecision(r.offset, r.raw, &r.decision)
		return nil
	}, "SELECT "+strings.Join(decisionNames, ",")+" FROM decisions WHERE shard = ? AND ledger_offset >= ? AND ledger_offset < ?", w.shard, w.from, w.next)
}

// A sqliteRow is a row of decisions as it is scanned.
type sqliteRow struct {
	decision                                schemas.Decision
	event, offset                           int64
	source                                  string
	shard                                   int32
	hashes                                  [4]int64
	numbers                                 [6]sql.NullFloat64
	texts                                   [schemas.NumText + 2]sql.RawBytes // the tenant last, the previous card before it
	ownText, ownNumber, features, raw       sql.RawBytes
	outcome, action, kind, status, numbered uint8
	into                                    []any // in the order of decisionNames
}

func newSQLiteRow() *sqliteRow {
	r := &sqliteRow{}
	d := &r.decision
	r.into = []any{&r.texts[schemas.NumText+1], &r.event, &r.source, &d.Partition, &d.Offset, &d.Prev, &d.Timestamp, &r.shard, &r.offset,
		&d.Tx.Time, &d.Tx.Amount, &d.Tx.AmountBase, &r.kind, &r.status, &r.outcome, (*uint16)(&d.Reason), (*uint8)(&d.Flags), &r.action}
	for i := range schemas.NumText + 1 {
		r.into = append(r.into, &r.texts[i])
	}
	r.into = append(r.into, &r.ownText, &r.ownNumber, &r.features)
	for i := range 5 {
		r.into = append(r.into, &r.numbers[i])
	}
	r.into = append(r.into, &r.numbered)
	for i := range r.hashes {
		r.into = append(r.into, &r.hashes[i])
	}
	r.into = append(r.into, &r.numbers[5], &r.raw)
	return r
}

// fill completes the decision with what Scan cannot put in its place.
func (r *sqliteRow) fill() error {
	d := &r.decision
	d.Tx.Type, d.Tx.Status = schemas.TxType(r.kind), schemas.Status(r.status)
	d.Outcome, d.Action, d.Arithmetic = schemas.Outcome(r.outcome), schemas.Action(r.action), schemas.Arithmetic(r.numbered)
	for f := range d.Text {
		d.Text[f] = r.texts[f]
	}
	d.PrevCard, d.Tenant = r.texts[schemas.NumText], r.texts[schemas.NumText+1]
	for i, x := range []*float32{&d.Score, &d.Prob, &d.Threshold, &d.Rank, &d.ReviewProb, &d.ChallengerScore} {
		*x = float32(r.numbers[i].Float64)
	}
	for i, h := range []*uint64{&d.Bundle, &d.Spec, &d.Engine, &d.Challenger} {
		*h = uint64(r.hashes[i])
	}
	d.Features = unpackFloats(d.Features[:0], r.features)
	d.Own = d.Own[:0]
	for b := r.ownNumber; len(b) >= 8; b = b[8:] {
		d.Own = append(d.Own, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	d.OwnText = d.OwnText[:0]
	for b := []byte(r.ownText); len(b) > 0; {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return fmt.Errorf("%w: own texts are cut short", schemas.ErrWire)
		}
		d.OwnText = append(d.OwnText, b[k:k+int(n)])
		b = b[k+int(n):]
	}
	return nil
}

func unpackFloats(dst []float32, b []byte) []float32 {
	for ; len(b) >= 4; b = b[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return dst
}

// Rows implements [Reader].
func (s *sqliteStore) Rows(ctx context.Context, q RowQuery, fn func(*Chunk) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	text, args := sqliteRowsQuery(&q)
	var c Chunk
	var tenant string
	var at, amount, bundle, challenger int64
	var id, card, customer, features sql.RawBytes
	var action uint8
	var score, prob, review, rival sql.NullFloat64
	var verdict, source sql.NullInt16
	var known sql.NullInt64
	var chosen sql.NullFloat64
	var own sql.NullBool
	err := s.query(ctx, func(scan func(...any) error) error {
		if err := scan(&tenant, &at, &amount, &id, &card, &customer, &action, &bundle, &score, &prob, &review, &challenger, &rival, &features, &verdict, &source, &known, &chosen, &own); err != nil {
			return err
		}
		c.Tenant, c.Time, c.AmountBase = append(c.Tenant, tenant), append(c.Time, at), append(c.AmountBase, amount)
		c.ID, c.Payer = append(c.ID, fnv1a(id)), append(c.Payer, payer(card, customer))
		c.Action, c.Bundle = append(c.Action, schemas.Action(action)), append(c.Bundle, uint64(bundle))
		c.Score, c.Prob = append(c.Score, float32(score.Float64)), append(c.Prob, float32(prob.Float64))
		c.ReviewProb = append(c.ReviewProb, float32(review.Float64))
		c.Challenger, c.ChallengerScore = append(c.Challenger, uint64(challenger)), append(c.ChallengerScore, float32(rival.Float64))
		c.addLabel(&rowLabel{schemas.LabelVerdict(verdict.Int16), schemas.LabelSource(source.Int16), known.Int64, float32(chosen.Float64), own.Bool})
		c.x = unpackFloats(c.x, features)
		c.ends = append(c.ends, len(c.x))
		if c.Len() < chunkRows {
			return nil
		}
		defer c.reset()
		return fn(&c)
	}, text, args...)
	if err == nil && c.Len() > 0 {
		err = fn(&c)
	}
	if err != nil {
		return fmt.Errorf("read vectors: %w", err)
	}
	return nil
}

// sqliteRowsQuery returns the query of Rows. The inner selection has the latest
// version of each source known by then (of one version the first in the ledger,
// as the engine has it); the outer one the strongest source with a verdict.
func sqliteRowsQuery(q *RowQuery) (string, []any) {
	strength := "CASE source"
	for i, s := range q.Sources {
		strength += " WHEN " + strconv.Itoa(int(s)) + " THEN " + strconv.Itoa(i)
	}
	strength += " END"
	if len(q.Sources) == 0 {
		strength = "NULL"
	}
	features := "d.features"
	if q.Bare {
		features = "NULL"
	}
	text := `SELECT d.tenant, d.event_ms, d.amount_base, d.id, d.card, d.customer, d.action, d.bundle, d.score, d.probability, d.review_probability,
		d.challenger, d.challenger_score, ` + features + `, l.verdict, l.source, l.known_ms, l.chosen, l.own
		FROM decisions d LEFT JOIN (
			SELECT tx_id, verdict, source, known_ms, chosen, own FROM (
				SELECT *, row_number() OVER (PARTITION BY tx_id ORDER BY strength) AS place, max(NOT looked) OVER (PARTITION BY tx_id) AS own FROM (
					SELECT tx_id, source, verdict, known_ms, ` + lookedFor + ` AS looked, ` + chosenWith + ` AS chosen, ` + strength + ` AS strength,
						row_number() OVER (PARTITION BY tx_id, source ORDER BY version DESC, ledger_offset) AS newest
					FROM labels WHERE known_ms <= ? AND version > 0)
				WHERE newest = 1 AND verdict != 0 AND strength IS NOT NULL)
			WHERE place = 1) l ON l.tx_id = d.id
		WHERE d.event_ms >= ? AND d.event_ms < ? AND d.outcome IN (0, 1) AND d.features IS NOT NULL`
	args := []any{q.AsOf, q.From, q.until()}
	if q.Spec != 0 {
		text, args = text+" AND d.spec = ?", append(args, int64(q.Spec))
	}
	if q.Tenant != "" {
		text, args = text+" AND d.tenant = ?", append(args, q.Tenant)
	}
	return text + " ORDER BY d.tenant, d.event_ms, d.source_partition, d.source_offset", args
}
