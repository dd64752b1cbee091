package desk

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// The migrations of the database, one file each: NNNN_name.sql, statements parted by
// ";\n". They are numbered from 1 without a gap and never changed once released.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// connections bounds those of one process: more do not read faster, and one of them
// writes at a time.
const connections = 8

// openDB opens the database, makes it where it is missing, and brings its schema up
// to date.
func openDB(ctx context.Context, file string) (*sql.DB, error) {
	if err := private(file); err != nil {
		return nil, err
	}
	// Nothing in here can be read again from a log: FULL. Deleted rows are
	// overwritten, so that an old hash is not found in the file.
	db, err := sql.Open("sqlite", dsn(file, "busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "secure_delete(ON)"))
	if err == nil {
		// Opening a connection costs more than what one is used for: they are kept.
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		err = history.Unlocked(ctx, func() error { return migrate(ctx, db) })
	}
	if err != nil {
		if db != nil {
			_ = db.Close() // nothing was written
		}
		return nil, fmt.Errorf("open accounts %s: %w", file, err)
	}
	return db, nil
}

func dsn(file string, pragmas ...string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: url.Values{
		"_pragma": pragmas, "_txlock": {"immediate"},
	}.Encode()}).String()
}

// private makes the file where it is missing, and refuses one that others may read.
// SQLite gives the files beside it the same mode.
func private(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("open accounts: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("open accounts: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("open accounts: others than the owner may read or change %s: chmod 600 it", file)
	}
	return nil
}

// migrate applies the migrations that are missing, in one transaction, so that two
// that open the file at once do not apply one twice.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	return transaction(ctx, db, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
			return err
		}
		if version > len(files) {
			return fmt.Errorf("the schema has version %d, and this weir knows %d: a newer weir has written it", version, len(files))
		}
		for i := version; i < len(files); i++ {
			text, err := migrationFiles.ReadFile(files[i])
			if err != nil {
				return err
			}
			for statement := range strings.SplitSeq(string(text), ";\n") {
				if strings.TrimSpace(statement) == "" {
					continue
				}
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("migrate to %s: %w", filepath.Base(files[i]), err)
				}
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, len(files)))
		return err
	})
}

// transaction runs fn in one, which is taken back where fn fails.
func transaction(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Backup writes a copy of the accounts into a file that must not be there yet, while
// they are in use. It holds no sessions: whoever was logged out since must not be
// logged in by putting the copy back.
func (a *Accounts) Backup(ctx context.Context, file string) error {
	part := file + ".part"
	err := a.backup(ctx, file, part)
	if err != nil {
		return fmt.Errorf("back accounts up to %s: %w", file, err)
	}
	return nil
}

func (a *Accounts) backup(ctx context.Context, file, part string) error {
	if _, err := os.Lstat(file); err == nil {
		return errors.New("the file is there already")
	}
	// It takes the passwords' hashes out of the house.
	if err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		return a.post(ctx, tx, schemas.AuditEntry{What: schemas.AuditExported, Of: []byte("accounts"), Detail: []byte("backed up")})
	}); err != nil {
		return err
	}
	// VACUUM INTO takes an empty file, and this one nobody else may read.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = a.db.ExecContext(ctx, `VACUUM INTO ?`, part); err == nil {
		err = withoutSessions(ctx, part)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return syncDir(filepath.Dir(file))
}

func withoutSessions(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", dsn(file, "journal_mode(DELETE)", "synchronous(FULL)", "secure_delete(ON)"))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `DELETE FROM sessions`)
	return errors.Join(err, db.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
