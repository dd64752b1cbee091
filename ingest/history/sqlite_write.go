package history

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/weir-risk/weir/schemas"
)

// decisionNames are the columns of a decision, in the order in which both
// stores write and read them; the canonical texts stand between.
var decisionNames = func() []string {
	names := strings.Fields(`tenant event_ms source source_partition source_offset source_prev source_ms shard ledger_offset
		time_ms amount amount_base type status outcome reason flags action`)
	for f := range schemas.NumText {
		names = append(names, f.String())
	}
	return append(names, strings.Fields(`previous_card own_text own_number features score probability threshold rank
		review_probability arithmetic bundle spec engine challenger challenger_score raw`)...)
}()

// sqliteBatch is what one Write uses: the prepared statements of its
// transaction and the arguments of a row.
type sqliteBatch struct {
	block                          *Block
	tx                             *sql.Tx
	decision, entry, label, record *sql.Stmt
	args                           []any
	exact                          bool // the columns of the row hold its numbers and texts exactly
}

// Write implements [Writer].
func (s *sqliteStore) Write(ctx context.Context, b *Block) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := s.transaction(ctx, func(tx *sql.Tx) error {
		// Entities come in no order, and their indexes are larger than what SQLite
		// holds in memory by itself: 64 MB, of the connections that write.
		if _, err := tx.ExecContext(ctx, `PRAGMA cache_size = -65536`); err != nil {
			return err
		}
		at, err := sqlitePosition(ctx, tx, b.Stream, b.Partition)
		if err != nil {
			return err
		}
		if done, err := at.admits(b); done || err != nil {
			return err
		}
		s.batch.block = b
		if err := s.batch.write(ctx, tx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO progress (stream, part, next, head_writer, head_sequence) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET next = excluded.next, head_writer = excluded.head_writer, head_sequence = excluded.head_sequence`,
			string(b.Stream), b.Partition, b.Next, int64(b.Head.Writer), int64(b.Head.Sequence))
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s %d from %d to %d: %w", b.Stream, b.Partition, b.From, b.Next-1, err)
	}
	return nil
}

// admits says whether a block may be written at a position; done where it was
// written already.
func (p Position) admits(b *Block) (done bool, err error) {
	switch {
	case p.Offset >= b.Next:
		return true, nil
	case p.Offset != b.From:
		return false, fmt.Errorf("position is %d, the block begins at %d: %w", p.Offset, b.From, ErrMoved)
	case p.Begun != 0 && p.Begun != b.Next:
		return false, fmt.Errorf("a block to %d was begun, this one ends at %d: %w", p.Begun, b.Next, ErrMoved)
	}
	return false, nil
}

// places are those of a row's n values in a statement.
func places(n int) string { return "(" + strings.Repeat("?,", n-1) + "?)" }

func (w *sqliteBatch) write(ctx context.Context, tx *sql.Tx) error {
	if w.block.Stream != Ledger {
		return w.topic(ctx, tx)
	}
	w.tx, w.label = tx, nil // no statement for labels before there is one
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.decision, "INSERT INTO decisions (" + strings.Join(decisionNames, ",") + ") VALUES " + places(len(decisionNames))},
		{&w.entry, "INSERT INTO entries (shard, ledger_offset, kind, value) VALUES " + places(4)},
		{&w.record, `INSERT INTO batches (shard, base, records, written_ms, writer, sequence, extends_writer, extends_sequence, bundle, spec, engine, facts)
			VALUES ` + places(12)},
	} {
		stmt, err := tx.PrepareContext(ctx, p.text)
		if err != nil {
			return err
		}
		defer stmt.Close()
		*p.stmt = stmt
	}
	if err := w.block.each(func(r *row) error { return w.row(ctx, r) }); err != nil {
		return err
	}
	for i := range w.block.batches {
		in := &w.block.batches[i]
		if _, err := w.record.ExecContext(ctx, w.block.Partition, in.base, in.records, in.timestamp, int64(in.id.Writer), int64(in.id.Sequence),
			int64(in.extends.Writer), int64(in.extends.Sequence), in.bundle[:], in.spec[:], in.engine[:], w.block.bytes(in.packed)); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqliteBatch) row(ctx context.Context, r *row) error {
	if r.entry.Kind == schemas.EntryDecision {
		_, err := w.decision.ExecContext(ctx, w.decided(r)...)
		return err
	}
	if l := &r.entry.Label; r.entry.Kind == schemas.EntryLabel {
		if err := w.known(ctx, l, r.offset); err != nil {
			return err
		}
	}
	_, err := w.entry.ExecContext(ctx, w.block.Partition, r.offset, r.entry.Kind, r.value)
	return err
}

// known writes a label.
func (w *sqliteBatch) known(ctx context.Context, l *schemas.Label, offset int64) (err error) {
	if w.label == nil { // it ends with the transaction
		w.label, err = w.tx.PrepareContext(ctx, "INSERT INTO labels ("+strings.Join(labelNames, ",")+") VALUES "+places(len(labelNames)))
		if err != nil {
			return err
		}
	}
	w.args = append(w.args[:0], string(l.TxID), l.Source, l.Version, w.block.Partition, offset,
		l.KnownAt, l.Verdict, string(l.FraudType), string(l.Selected), l.SelectedProb, l.Time)
	for _, text := range l.Entity {
		w.args = append(w.args, string(text))
	}
	_, err = w.label.ExecContext(ctx, w.args...)
	return err
}

// labelNames are the columns of labels, in the order in which they are given.
var labelNames = func() []string {
	list := []string{"tx_id", "source", "version", "shard", "ledger_offset", "known_ms", "verdict", "fraud_type", "selected", "selected_probability", "time_ms"}
	for _, f := range schemas.LabelEntities {
		list = append(list, f.String())
	}
	return list
}()

// decided returns the arguments of a decision, in the order of decisionNames.
func (w *sqliteBatch) decided(r *row) []any {
	d := &r.entry.Decision
	w.exact = r.raw == nil
	w.args = append(w.args[:0], w.text(d.Tenant), eventMs(d), w.block.Source, d.Partition, d.Offset, d.Prev, d.Timestamp,
		w.block.Partition, r.offset, d.Tx.Time, d.Tx.Amount, d.Tx.AmountBase, d.Tx.Type, d.Tx.Status, d.Outcome, d.Reason, d.Flags, d.Action)
	for _, t := range d.Text {
		w.args = append(w.args, w.text(t))
	}
	w.args = append(w.args, w.text(d.PrevCard), packTexts(d.OwnText), packDoubles(d.Own), packFloats(d.Features),
		w.number(d.Score), w.number(d.Prob), w.number(d.Threshold), w.number(d.Rank), w.number(d.ReviewProb), d.Arithmetic,
		int64(d.Bundle), int64(d.Spec), int64(d.Engine), int64(d.Challenger), w.number(d.ChallengerScore))
	if w.exact {
		return append(w.args, nil)
	}
	return append(w.args, r.value)
}

// number returns a number as SQLite keeps it. It turns NaN into NULL and may
// turn -0 into 0: such a row is kept whole.
func (w *sqliteBatch) number(x float32) float64 {
	if x != x || x == 0 && math.Signbit(float64(x)) {
		w.exact = false
	}
	return float64(x)
}

// text returns a text as SQLite keeps it. Its functions stop at a zero byte and
// take UTF-8 for granted: other rows are kept whole.
func (w *sqliteBatch) text(t []byte) string {
	if !utf8.Valid(t) || strings.IndexByte(string(t), 0) >= 0 {
		w.exact = false
	}
	return string(t)
}

// topic writes records of alerts or dispositions.
func (w *sqliteBatch) topic(ctx context.Context, tx *sql.Tx) error {
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO "+string(w.block.Stream)+" (id, part, topic_offset, written_ms, value) VALUES (?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for i := range w.block.records {
		r := &w.block.records[i]
		if _, err := stmt.ExecContext(ctx, string(w.block.bytes(r.key)), w.block.Partition, r.offset, r.timestamp, string(w.block.bytes(r.value))); err != nil {
			return err
		}
	}
	return nil
}

// Lists are blobs: numbers little-endian, texts each behind its length.

func packFloats(list []float32) []byte {
	if len(list) == 0 {
		return nil
	}
	b := make([]byte, 0, 4*len(list))
	for _, x := range list {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func packDoubles(list []float64) []byte {
	if len(list) == 0 {
		return nil
	}
	b := make([]byte, 0, 8*len(list))
	for _, x := range list {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

func packTexts(list [][]byte) []byte {
	var b []byte
	for _, t := range list {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	return b
}
