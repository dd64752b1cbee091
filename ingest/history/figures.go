package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A Figure is one number of what a day came to. It is made again from the history's
// own decisions and labels, and so the same whoever makes it.
type Figure struct {
	Day      int64  // its begin, ms; a day is one of event time, in UTC
	Bundle   uint64 // whose decisions it is of, as decisions name it; 0 of all
	Quantity string
	Value    float64 // finite
}

// A Diary keeps what days came to. It may be used by many goroutines and while the
// history is written.
type Diary interface {
	// Note writes figures. Of the same day, bundle and quantity the later one counts.
	Note(ctx context.Context, list []Figure) error
	// Figures returns the figures of the days from <= day < to, ms, by day, bundle
	// and quantity.
	Figures(ctx context.Context, from, to int64) ([]Figure, error)
	// Newest returns the latest event time, ms, of the decisions that were scored, by model
	// or rules, or of the last 1,000 such of the ledger, whichever is sooner found; 0 where
	// there is none. What could not be read is kept under its record's time, which says
	// nothing of how far the stream has come.
	Newest(ctx context.Context) (int64, error)
	// Oldest returns the earliest event time, ms, of the decisions; 0 where there is none.
	Oldest(ctx context.Context) (int64, error)
}

// date is a day as the stores have it.
func date(day int64) string { return time.UnixMilli(day).UTC().Format(time.DateOnly) }

func dateMs(text string) (int64, error) {
	t, err := time.Parse(time.DateOnly, text)
	return t.UnixMilli(), err
}

// Note implements [Diary].
func (s *sqliteStore) Note(ctx context.Context, list []Figure) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := s.transaction(ctx, func(tx *sql.Tx) error {
		for i := range list {
			f := &list[i]
			if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO figures (day, bundle, quantity, value) VALUES (?, ?, ?, ?)`,
				date(f.Day), int64(f.Bundle), f.Quantity, f.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %d figures: %w", len(list), err)
	}
	return nil
}

// Figures implements [Diary].
func (s *sqliteStore) Figures(ctx context.Context, from, to int64) (list []Figure, err error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	// Bundles are unsigned, and kept as signed ones.
	err = s.query(ctx, func(scan func(...any) error) error {
		var f Figure
		var day string
		var bundle int64
		err := scan(&day, &bundle, &f.Quantity, &f.Value)
		if err == nil {
			f.Day, err = dateMs(day)
		}
		f.Bundle = uint64(bundle)
		list = append(list, f)
		return err
	}, `SELECT day, bundle, quantity, value FROM figures WHERE day >= ? AND day < ? ORDER BY day, bundle < 0, bundle, quantity`, date(from), date(to))
	if err != nil {
		return nil, fmt.Errorf("read figures: %w", err)
	}
	return list, nil
}

// Newest implements [Diary].
func (s *sqliteStore) Newest(ctx context.Context) (ms int64, err error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	err = s.db.QueryRowContext(ctx, `SELECT coalesce(max(event_ms), 0) FROM
		(SELECT event_ms FROM decisions WHERE shard = (SELECT min(shard) FROM decisions) AND outcome IN (0, 1) ORDER BY ledger_offset DESC LIMIT 1000)`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read the newest decision's time: %w", err)
	}
	return ms, nil
}

// Oldest implements [Diary]. The index by time has tenants first, and is asked for each.
func (s *sqliteStore) Oldest(ctx context.Context) (ms int64, err error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	err = s.db.QueryRowContext(ctx, `WITH RECURSIVE tenants(t) AS (SELECT min(tenant) FROM decisions
			UNION ALL SELECT (SELECT min(tenant) FROM decisions WHERE tenant > t) FROM tenants WHERE t IS NOT NULL)
		SELECT coalesce(min((SELECT min(event_ms) FROM decisions WHERE tenant = t)), 0) FROM tenants`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read the oldest decision's time: %w", err)
	}
	return ms, nil
}

// Note implements [Diary].
func (s *clickhouseStore) Note(ctx context.Context, list []Figure) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	// A second attempt writes the same rows again, of which one counts.
	err := s.ask(ctx, func() error {
		b, err := s.pool.PrepareBatch(ctx, s.sql(`INSERT INTO {db}.figures (day, bundle, quantity, value)`))
		if err != nil {
			return err
		}
		defer func() { _ = b.Close() }() // what was not sent is nothing
		for i := range list {
			f := &list[i]
			if err := b.Append(time.UnixMilli(f.Day).UTC(), f.Bundle, f.Quantity, f.Value); err != nil {
				return err
			}
		}
		return b.Send()
	})
	if err != nil {
		return fmt.Errorf("write %d figures: %w", len(list), err)
	}
	return nil
}

// Figures implements [Diary].
func (s *clickhouseStore) Figures(ctx context.Context, from, to int64) (list []Figure, err error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	err = s.ask(ctx, func() error {
		list = list[:0]
		rows, err := s.pool.Query(ctx, s.sql(`SELECT day, bundle, quantity, value FROM {db}.figures FINAL
			WHERE day >= toDate(?) AND day < toDate(?) ORDER BY day, bundle, quantity`), date(from), date(to))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // its error is Err's
		for rows.Next() {
			var f Figure
			var day time.Time
			if err := rows.Scan(&day, &f.Bundle, &f.Quantity, &f.Value); err != nil {
				return err
			}
			f.Day = day.UnixMilli()
			list = append(list, f)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read figures: %w", err)
	}
	return list, nil
}

// Newest implements [Diary]. The server knows the latest time of all without reading; it
// looks for one that was scored from there back, further each time.
func (s *clickhouseStore) Newest(ctx context.Context) (ms int64, err error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	var last int64
	err = s.queryRow(ctx, []any{&last}, `SELECT max(event_ms) FROM {db}.decisions`)
	for back := time.Minute.Milliseconds(); err == nil && ms == 0 && back/8 < last; back *= 8 {
		err = s.queryRow(ctx, []any{&ms}, `SELECT max(event_ms) FROM {db}.decisions WHERE event_ms >= ? AND outcome IN (0, 1)`, last-back)
	}
	if err != nil {
		return 0, fmt.Errorf("read the newest decision's time: %w", err)
	}
	return ms, nil
}

// Oldest implements [Diary].
func (s *clickhouseStore) Oldest(ctx context.Context) (ms int64, err error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if err := s.queryRow(ctx, []any{&ms}, `SELECT min(event_ms) FROM {db}.decisions`); err != nil {
		return 0, fmt.Errorf("read the oldest decision's time: %w", err)
	}
	return ms, nil
}
