package alerts

import (
	"context"
	"fmt"
	"strconv"
)

// TrailEntry is one act of somebody: an entry of the audit log, or a disposition, of
// which What is the kind, Of the alert and Detail the reason and the note.
type TrailEntry struct {
	ID, Who, What, Of, Address, Detail string
	At                                 int64 // ms since the Unix epoch

	key int64
}

// TrailFilter says which entries are wanted; zeros ask for all.
type TrailFilter struct {
	Who, What, Address string // as they are
	Of                 string // words that what it was done to has, all of them
	From, To           int64  // From <= At < To
}

// TrailPage is some entries, newest first.
type TrailPage struct {
	Entries []TrailEntry
	// After is where the older ones begin; empty where there are none.
	After Cursor
	// Looked is the time back to which was looked where that ended the page, and not
	// that it was full: what is asked for is rare among what was looked through.
	Looked int64
}

// How many entries are looked through for a page, of those that the best index has of a
// filter: trailLook in an index that says all of it, wordsLook where each has to be
// looked up. It bounds what a page costs, whatever is asked for.
const (
	trailLook = 4000
	wordsLook = 1000
)

// Page returns up to limit entries that a filter lets through, newest first, from a
// cursor on. ErrCursor is wrapped where the cursor is none.
func (t *Trail) Page(ctx context.Context, f TrailFilter, after Cursor, limit int) (p TrailPage, err error) {
	below := int64(1<<63 - 1)
	if f.To > 0 {
		below = timeKey(f.To)
	}
	if after != "" {
		key, err := strconv.ParseInt(string(after), 36, 64)
		if err != nil || key < 0 {
			return p, fmt.Errorf("read a page of the audit trail: %w", ErrCursor)
		}
		below = min(below, key)
	}
	w, err := t.walk(ctx, &f)
	if err != nil {
		return p, fmt.Errorf("read a page of the audit trail: %w", err)
	}
	if len(w.rest) == 0 {
		w.look = limit + 1
	}
	args := append(w.args, below, timeKey(f.From), w.look)
	text := `WITH w AS MATERIALIZED (` + w.text + ` key < ? AND key >= ? ORDER BY key DESC LIMIT ?),
		found AS (SELECT e.* FROM w CROSS JOIN entries e ON e.key = w.key`
	for i, c := range w.rest {
		text += []string{" WHERE ", " AND "}[min(i, 1)] + c.where
		args = append(args, c.value)
	}
	text += ` ORDER BY w.key DESC LIMIT ?)
		SELECT looked.last, looked.n, found.* FROM (SELECT coalesce(min(key), 0) AS last, count(*) AS n FROM w) looked LEFT JOIN found`
	last, looked, err := t.entries(ctx, &p, text, append(args, limit+1))
	if err != nil {
		return p, fmt.Errorf("read a page of the audit trail: %w", err)
	}
	switch {
	case len(p.Entries) > limit:
		p.Entries = p.Entries[:limit]
		last = p.Entries[limit-1].key
	case looked < w.look:
		return p, nil
	default:
		p.Looked = last >> keyBits
	}
	p.After = Cursor(strconv.FormatInt(last, 36))
	return p, nil
}

// entries reads entries by a query, and how far back and at how many it looked.
func (t *Trail) entries(ctx context.Context, p *TrailPage, text string, args []any) (last int64, looked int, err error) {
	rows, err := t.reader.QueryContext(ctx, text, args...)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var key *int64
		var id, who, what, of, address, detail *string
		if err := rows.Scan(&last, &looked, &key, &id, &who, &what, &of, &address, &detail); err != nil {
			return 0, 0, err
		}
		if key != nil {
			p.Entries = append(p.Entries, TrailEntry{*id, *who, *what, *of, *address, *detail, *key >> keyBits, *key})
		}
	}
	return last, looked, rows.Err()
}

// A trailWalk walks the entries to look at, newest first, by the index that says most
// of a filter. The text ends where the bounds of the keys belong.
type trailWalk struct {
	text string
	args []any
	look int
	rest []condition
}

// condition is a part of a filter that the index of a walk does not order by.
type condition struct{ where, value string }

func (w *trailWalk) add(where, value string) {
	if value != "" {
		w.rest = append(w.rest, condition{where, value})
	}
}

func (t *Trail) walk(ctx context.Context, f *TrailFilter) (*trailWalk, error) {
	w := &trailWalk{look: t.look}
	words := trailWords(f.Of)
	switch {
	case len(words) > 0:
		rarest, err := t.rarest(ctx, words)
		if err != nil {
			return nil, err
		}
		for i, word := range words {
			if i != rarest {
				w.add(`EXISTS (SELECT 1 FROM words x WHERE x.word = ? AND x.key = w.key)`, word)
			}
		}
		w.text, w.args, w.look = `SELECT key FROM words WHERE word = ? AND`, []any{words[rarest]}, t.wordsLook
		w.add(`e.who = ?`, f.Who)
		w.add(`e.what = ?`, f.What)
		w.add(`e.address = ?`, f.Address)
	case f.Who != "":
		w.text, w.args = `SELECT key, what, address FROM entries INDEXED BY entries_who WHERE who = ? AND`, []any{f.Who}
		w.add(`w.what = ?`, f.What)
		w.add(`w.address = ?`, f.Address)
	case f.Address != "":
		w.text, w.args = `SELECT key, what FROM entries INDEXED BY entries_address WHERE address = ? AND`, []any{f.Address}
		w.add(`w.what = ?`, f.What)
	case f.What != "":
		w.text, w.args = `SELECT key FROM entries INDEXED BY entries_what WHERE what = ? AND`, []any{f.What}
	default:
		w.text = `SELECT key FROM entries WHERE`
	}
	return w, nil
}

// rarest returns which of some words the fewest entries have, as far as it matters.
func (t *Trail) rarest(ctx context.Context, words []string) (rarest int, err error) {
	least := t.wordsLook + 1
	for i, word := range words {
		n := 0
		err := t.reader.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM words WHERE word = ? LIMIT ?)`, word, t.wordsLook).Scan(&n)
		if err != nil {
			return 0, err
		}
		if n < least {
			rarest, least = i, n
		}
	}
	return rarest, nil
}
