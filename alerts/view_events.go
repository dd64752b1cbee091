package alerts

import (
	"context"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// Happening is one thing that happened to an alert: it was raised, or somebody acted on
// it and that counted.
type Happening struct {
	AlertID string
	Action  *schemas.Disposition // nil: it was raised
	Decided bool                 // the action closed the alert, or took that back
}

// Ends returns how far the view is in each place: the ledger offset of the last alert,
// the offset of the last disposition. They are the positions of [View.Since].
func (v *View) Ends(ctx context.Context) (map[Place]int64, error) {
	rows, err := v.reader.QueryContext(ctx, `SELECT topic, part, CASE topic WHEN ? THEN mark ELSE next - 1 END FROM positions WHERE topic IN (?, ?)`,
		PlaceAlerts, PlaceAlerts, PlaceDispositions)
	if err != nil {
		return nil, fmt.Errorf("read how far the view is: %w", err)
	}
	defer rows.Close()
	ends := make(map[Place]int64)
	for rows.Next() {
		var p Place
		var end int64
		if err := rows.Scan(&p.Topic, &p.Partition, &end); err != nil {
			return nil, fmt.Errorf("read how far the view is: %w", err)
		}
		ends[p] = end
	}
	return ends, rows.Err()
}

// Since returns what happened in a place behind a position, -1 for its beginning, in
// order, and the position of the last one looked at. It follows from the topics alone:
// a view that was folded anew says the same.
func (v *View) Since(ctx context.Context, p Place, after int64, limit int) (list []Happening, last int64, err error) {
	if p.Topic == PlaceAlerts {
		list, last, err = v.raisedSince(ctx, p.Partition, after, limit)
	} else {
		list, last, err = v.doneSince(ctx, after, limit)
	}
	if err != nil {
		return nil, after, fmt.Errorf("read what happened in %s %d: %w", p.Topic, p.Partition, err)
	}
	return list, last, nil
}

func (v *View) raisedSince(ctx context.Context, shard int32, after int64, limit int) ([]Happening, int64, error) {
	first, err := keyOf(shard, after+1)
	if err != nil {
		return nil, after, err
	}
	keys, err := v.keys(ctx, nil, `SELECT key FROM alerts WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`, first, int64(shard+1)<<offsetBits, limit)
	list := make([]Happening, 0, len(keys))
	for _, key := range keys {
		list, after = append(list, Happening{AlertID: idOf(key)}), key&(1<<offsetBits-1)
	}
	return list, after, err
}

func (v *View) doneSince(ctx context.Context, after int64, limit int) ([]Happening, int64, error) {
	stmt, err := v.prepared(ctx, `SELECT a.place, a.value, a.void, EXISTS (SELECT 1 FROM labels l WHERE l.key = a.key AND l.place = a.place)
		FROM actions a WHERE a.place > ? ORDER BY a.place LIMIT ?`)
	if err != nil {
		return nil, after, err
	}
	rows, err := stmt.QueryContext(ctx, after, limit)
	if err != nil {
		return nil, after, err
	}
	defer rows.Close()
	var list []Happening
	for rows.Next() {
		var value []byte
		var void string
		h := Happening{Action: new(schemas.Disposition)}
		if err := rows.Scan(&after, &value, &void, &h.Decided); err != nil {
			return nil, after, err
		}
		if err := schemas.ParseDisposition(value, h.Action); err != nil {
			return nil, after, fmt.Errorf("offset %d: %w", after, err)
		}
		if h.AlertID = string(h.Action.AlertID); void == "" {
			list = append(list, h)
		}
	}
	return list, after, rows.Err()
}
