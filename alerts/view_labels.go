package alerts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// labelRow is a label as the view keeps it: what it says of its alert. What it says
// of the transaction is in the alert, which may come after.
type labelRow struct {
	key     int64
	version uint32 // among those of its alert
	place   int64  // offset of the disposition
	id      string // and its id
	others  uint32 // see above
	verdict schemas.LabelVerdict
	known   int64
}

// of makes the label with its alert.
func (r *labelRow) of(a *schemas.Alert) schemas.Label {
	l := schemas.Label{TxID: a.Text[schemas.ID], Verdict: r.verdict, Source: schemas.Analyst, KnownAt: r.known, Version: r.others + r.version, DispositionID: []byte(r.id),
		Selected: []byte("alert"), SelectedProb: 1, Time: a.Tx.Time}
	if a.ReviewProb > 0 && a.Score < a.Threshold {
		l.Selected, l.SelectedProb = []byte("exploration"), a.ReviewProb
	}
	for i, f := range schemas.LabelEntities {
		l.Entity[i] = a.Text[f]
	}
	return l
}

// addLabel keeps a label, which is due where its alert is known. A label of a
// version beyond the highest there is cannot be sent; it takes some five hundred
// undone verdicts of one alert to make one.
func addLabel(ctx context.Context, tx *statements, r labelRow, f *Folded) error {
	if r.version > schemas.LabelVersionMax {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO labels (key, version, place, id, verdict, known, sent) VALUES (?, ?, ?, ?, ?, ?, 0)`, r.key, r.version, r.place, r.id, r.verdict, r.known)
	if err != nil {
		return err
	}
	n := 0
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM alerts WHERE key = ?`, r.key).Scan(&n)
	f.Labels += n
	return err
}

// alertOf reads an alert.
func alertOf(ctx context.Context, q querier, key int64) (a schemas.Alert, err error) {
	var value []byte
	err = q.QueryRowContext(ctx, `SELECT value FROM records WHERE key = ?`, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return a, ErrNoAlert
	}
	if err == nil {
		err = schemas.ParseAlert(value, &a)
	}
	if err != nil {
		return a, fmt.Errorf("read alert %s: %w", idOf(key), err)
	}
	return a, nil
}

// ownLabel says in SQL that what the topic holds, p, is a label of l's: by the id of its
// action, which a label of before there was one does not have. Such a one bears the
// version that it has among those of its alert.
const ownLabel = `(p.id = l.id OR p.id = '' AND p.version = l.version AND p.verdict = l.verdict AND p.known = l.known)`

// above finds the version above which a label goes out: the highest that the topic holds
// of somebody else. That is another alert of the transaction, or who labels without a
// desk: the bank's own people, or those that a simulated bank has. Labels of one alert
// keep their order whatever came between them.
func (r *labelRow) above(ctx context.Context, tx *sql.Tx, txID string) error {
	rows, err := tx.QueryContext(ctx, `SELECT p.version, coalesce(l.version, 0) FROM published p LEFT JOIN labels l ON l.key = ? AND `+ownLabel+` WHERE p.tx_id = ?`, r.key, txID)
	if err != nil {
		return err
	}
	defer rows.Close()
	later := uint32(schemas.LabelVersionMax)
	for rows.Next() {
		var version, own uint32
		switch err := rows.Scan(&version, &own); {
		case err != nil:
			return err
		case own > r.version:
			later = min(later, version-own)
		default:
			r.others = max(r.others, version-own)
		}
	}
	r.others = min(r.others, later)
	return rows.Err()
}

// Unpublished returns labels that are due, oldest action first: their alert is known
// and no topic was seen to hold them. One whose version would be beyond the highest that
// there is cannot be sent. Those that it was seen to hold are marked on the
// way, so that they are not looked at again.
func (v *View) Unpublished(ctx context.Context, limit int) (due []schemas.Label, err error) {
	v.fold.Lock()
	defer v.fold.Unlock()
	err = v.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE labels AS l SET sent = 1 WHERE sent = 0 AND EXISTS
			(SELECT 1 FROM alerts a JOIN published p ON p.tx_id = a.tx_id WHERE a.key = l.key AND `+ownLabel+`)`)
		if err != nil {
			return err
		}
		list, err := dueLabels(ctx, tx, limit)
		if err != nil {
			return err
		}
		for i := range list {
			a, err := alertOf(ctx, tx, list[i].key)
			if err != nil {
				return err
			}
			if err := list[i].above(ctx, tx, string(a.Text[schemas.ID])); err != nil {
				return err
			}
			if l := list[i].of(&a); l.Version <= schemas.LabelVersionMax {
				due = append(due, l)
			} else if _, err := tx.ExecContext(ctx, `UPDATE labels SET sent = 1 WHERE key = ? AND version = ?`, list[i].key, list[i].version); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up the labels that are due: %w", err)
	}
	return due, nil
}

func dueLabels(ctx context.Context, tx *sql.Tx, limit int) (list []labelRow, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT key, version, place, id, verdict, known FROM labels
		WHERE sent = 0 AND EXISTS (SELECT 1 FROM alerts a WHERE a.key = labels.key) ORDER BY place LIMIT ?`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r labelRow
		if err := rows.Scan(&r.key, &r.version, &r.place, &r.id, &r.verdict, &r.known); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// MarkLabelled takes note of what a partition of labels holds: those of analysts are
// published, whoever wrote them, and are not to be published again. Records before the
// position are passed over, as are those that cannot be read: the scorer says so.
func (v *View) MarkLabelled(ctx context.Context, partition int32, rs []Record) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	place := Place{PlaceLabels, partition}
	next, mark, err := position(ctx, v.writer, place)
	if rs = from(rs, next); len(rs) == 0 || err != nil {
		return err
	}
	err = v.write(ctx, func(tx *sql.Tx) error {
		add, err := tx.PrepareContext(ctx, `INSERT OR IGNORE INTO published (tx_id, version, id, verdict, known) VALUES (?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer add.Close()
		for i := range rs {
			var l schemas.Label
			if schemas.ParseLabel(rs[i].Value, &l) != nil || l.Source != schemas.Analyst {
				continue
			}
			if _, err := add.ExecContext(ctx, string(l.TxID), l.Version, string(l.DispositionID), l.Verdict, l.KnownAt); err != nil {
				return err
			}
		}
		return setPosition(ctx, tx, place, rs[len(rs)-1].Offset+1, mark)
	})
	if err != nil {
		return fmt.Errorf("mark what labels partition %d holds: %w", partition, err)
	}
	return nil
}

// forgetLabels forgets what the topic labels holds: it was made anew.
func (v *View) forgetLabels(ctx context.Context) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	return v.write(ctx, func(tx *sql.Tx) error {
		return execAll(ctx, tx, []string{`DELETE FROM published`, `UPDATE labels SET sent = 0`,
			`DELETE FROM positions WHERE topic = '` + PlaceLabels + `'`, `DELETE FROM topics WHERE topic = '` + PlaceLabels + `'`})
	})
}
