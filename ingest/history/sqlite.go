package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"

	"github.com/weir-risk/weir/schemas"
)

// sqliteStore is a [Store] in one file. Its writes are transactions, so no
// block is ever begun and not finished.
type sqliteStore struct {
	db         *sql.DB
	path       string
	migrations []migration
	checked    atomic.Bool // the schema is this weir's
	batch      sqliteBatch // of the one writer
}

var _ Store = (*sqliteStore)(nil)

// Whoever opens a new file turns it to write-ahead first, and who comes upon that is told
// that the file is locked, at once and whatever busy_timeout says. It takes milliseconds.
const (
	openTries = 200
	openPause = 10 * time.Millisecond
)

// Unlocked opens a file of SQLite by do, again and again for two seconds where somebody else
// has it, and returns do's last error.
func Unlocked(ctx context.Context, do func() error) error {
	err := do()
	for n := 0; n < openTries && ctx.Err() == nil; n++ {
		var file *sqlite.Error
		if !errors.As(err, &file) || file.Code()&0xff != sqliteBusy {
			break
		}
		time.Sleep(openPause)
		err = do()
	}
	return err
}

func openSQLite(ctx context.Context, path string, later bool) (Store, error) {
	if path == "" {
		return nil, errors.New("open history: no file is given behind the scheme sqlite")
	}
	// The log can be read again from the position in the file, so that a
	// transaction which the machine's fall takes back costs nothing: NORMAL.
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "temp_store(FILE)"}, "_txlock": {"immediate"},
	}.Encode()}).String()
	db, err := sql.Open("sqlite", name)
	if err == nil && !later { // which makes the file; otherwise the first question opens it, behind check
		err = Unlocked(ctx, func() error { return db.PingContext(ctx) })
	}
	if err != nil {
		if db != nil {
			_ = db.Close() // nothing was written
		}
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	return &sqliteStore{db: db, path: path, migrations: migrations("sqlite")}, nil
}

// Close implements [Store].
func (s *sqliteStore) Close() error { return s.db.Close() }

// Migrate implements [Writer].
func (s *sqliteStore) Migrate(ctx context.Context) ([]string, error) {
	return migrate(ctx, s, s.migrations, s.path)
}

func (s *sqliteStore) begin(ctx context.Context) (version int, err error) {
	_, err = s.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations
		(version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)`)
	if err != nil {
		return 0, err
	}
	return s.version(ctx)
}

func (s *sqliteStore) version(ctx context.Context) (version int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM migrations`).Scan(&version)
	return version, err
}

func (s *sqliteStore) apply(ctx context.Context, m *migration) error {
	return s.transaction(ctx, func(tx *sql.Tx) error {
		for _, text := range m.statements {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO migrations (version, name) VALUES (?, ?)`, m.version, m.name)
		return err
	})
}

// transaction runs fn in one, which is taken back where fn fails.
func (s *sqliteStore) transaction(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Pending implements [Writer].
func (s *sqliteStore) Pending(ctx context.Context) ([]string, error) {
	version, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return pending(version, s.migrations, s.path)
}

// look returns the schema's version, 0 where there is none, and makes nothing.
func (s *sqliteStore) look(ctx context.Context) (version int, err error) {
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var tables int
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'migrations'`).Scan(&tables)
	if err == nil && tables > 0 {
		version, err = s.version(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("look up the schema of %s: %w", s.path, err)
	}
	return version, nil
}

// check refuses a schema that is not this weir's.
func (s *sqliteStore) check(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	version, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := checkVersion(version, len(s.migrations), s.path); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// Position implements [Writer].
func (s *sqliteStore) Position(ctx context.Context, stream Stream, partition int32) (Position, error) {
	if err := s.check(ctx); err != nil {
		return Position{}, err
	}
	return sqlitePosition(ctx, s.db, stream, partition)
}

// sqlitePosition reads a position in a transaction or outside.
func sqlitePosition(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, stream Stream, partition int32) (p Position, err error) {
	var writer, sequence int64
	err = q.QueryRowContext(ctx, `SELECT next, head_writer, head_sequence FROM progress WHERE stream = ? AND part = ?`,
		string(stream), partition).Scan(&p.Offset, &writer, &sequence)
	if errors.Is(err, sql.ErrNoRows) {
		return Position{}, nil
	}
	if err != nil {
		return Position{}, fmt.Errorf("read the position of %s %d: %w", stream, partition, err)
	}
	p.Head = schemas.BatchID{Writer: uint64(writer), Sequence: uint64(sequence)}
	return p, nil
}

// Counts implements [Reader].
func (s *sqliteStore) Counts(ctx context.Context) (c Counts, err error) {
	if err := s.check(ctx); err != nil {
		return c, err
	}
	err = s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM decisions),
		(SELECT count(*) FROM (SELECT DISTINCT tenant, event_ms, source, source_partition, source_offset FROM decisions)),
		(SELECT count(*) FROM batches), (SELECT count(*) FROM entries), (SELECT count(*) FROM labels),
		(SELECT count(*) FROM alerts), (SELECT count(*) FROM dispositions)`).
		Scan(&c.Decisions, &c.Final, &c.Batches, &c.Entries, &c.Labels, &c.Alerts, &c.Dispositions)
	if err != nil {
		return c, fmt.Errorf("count the history: %w", err)
	}
	err = s.query(ctx, func(scan func(...any) error) error {
		var outcome int
		var n int64
		if err := scan(&outcome, &n); err != nil {
			return err
		}
		if outcome < len(c.Outcomes) {
			c.Outcomes[outcome] = n
		}
		return nil
	}, `SELECT outcome, count(*) FROM decisions GROUP BY outcome`)
	if err != nil {
		return c, fmt.Errorf("count outcomes: %w", err)
	}
	return c, nil
}

// query calls fn for every row of an answer.
func (s *sqliteStore) query(ctx context.Context, fn func(scan func(...any) error) error, text string, args ...any) error {
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
