package alerts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/weir-risk/weir/schemas"
)

// View is the fold of the topics alerts and dispositions in one SQLite file, with
// what the queue is ranked and filtered by in memory as well: about 120 bytes an
// alert, read from the file when it is opened. A filter is then one pass over the
// alerts, whatever it asks for, and no index per column has to be kept.
//
// It is a function of the two topics alone: however their records came between one
// another, and into whatever batches they were cut, the tables hold the same. So it
// may be deleted at any time. It is safe for many readers and one writer, who takes
// its turn if there are more.
type View struct {
	file   string
	writer *sql.DB // one connection
	reader *sql.DB
	wide   int        // wideMax, less in tests
	fold   sync.Mutex // held by who writes

	mu     sync.RWMutex // guards memory
	memory *memory
	goals  Goals

	recent recent // what was read last

	statements sync.Map // of readers, by their texts, which are few
}

// viewVersion is the version of the tables, and of the rule that they were folded by. A file of another one is made anew.
const viewVersion = 4

// viewMark marks a file as a view ("wrvw"), so that no other file is deleted for
// being of another version.
const viewMark = 0x77727677

// ErrNotView is of a file that holds something else.
var ErrNotView = errors.New("the file holds something that is no view")

// Place names a partition of a topic; Topic is one of those below, whatever prefix
// the topics have in the cluster.
type Place struct {
	Topic     string
	Partition int32
}

// The topics of a [Place].
const (
	PlaceAlerts       = "alerts"
	PlaceDispositions = "dispositions"
	PlaceLabels       = "labels"
)

// entityFields are the texts that alerts are searched by, and columns of their own.
var entityFields = []schemas.TextField{schemas.ID, schemas.Card, schemas.Customer, schemas.Account, schemas.Counterparty,
	schemas.Merchant, schemas.Terminal, schemas.Device, schemas.IP}

// column is the name of a text's column.
func column(f schemas.TextField) string {
	if f == schemas.ID {
		return "tx_id"
	}
	return f.String()
}

// tables makes the tables. A key is an alert's number, see keyOf. A state may be there
// before its alert is, so it has a table of its own.
func tables() []string {
	texts := ""
	for _, f := range entityFields {
		texts += column(f) + " TEXT, "
	}
	return []string{
		`CREATE TABLE positions (topic TEXT, part INTEGER, next INTEGER NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID`,
		`CREATE TABLE topics (topic TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID`,
		`CREATE TABLE alerts (key INTEGER PRIMARY KEY, raised INTEGER NOT NULL, rank REAL, prob REAL, amount INTEGER NOT NULL, ` + texts +
			`channel TEXT NOT NULL, reasons TEXT NOT NULL)`,
		`CREATE TABLE records (key INTEGER PRIMARY KEY, value BLOB NOT NULL)`,
		`CREATE TABLE states (key INTEGER PRIMARY KEY, state TEXT NOT NULL)`,
		`CREATE TABLE actions (place INTEGER PRIMARY KEY, key INTEGER NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, void TEXT NOT NULL)`,
		`CREATE VIRTUAL TABLE notes USING fts5 (key UNINDEXED, note, tokenize = "unicode61 remove_diacritics 2")`, // rowid: place of the action
		`CREATE UNIQUE INDEX actions_of ON actions (key, id)`,
		`CREATE TABLE labels (key INTEGER, version INTEGER, place INTEGER NOT NULL, id TEXT NOT NULL, verdict INTEGER NOT NULL, known INTEGER NOT NULL,
			sent INTEGER NOT NULL, PRIMARY KEY (key, version)) WITHOUT ROWID`,
		`CREATE INDEX labels_due ON labels (place) WHERE sent = 0`,
		`CREATE TABLE published (tx_id TEXT, version INTEGER, id TEXT, verdict INTEGER NOT NULL, known INTEGER NOT NULL,
			PRIMARY KEY (tx_id, version, id)) WITHOUT ROWID`,
		fmt.Sprintf(`PRAGMA application_id = %d`, viewMark),
		fmt.Sprintf(`PRAGMA user_version = %d`, viewVersion),
	}
}

// tableNames are the tables above.
var tableNames = []string{"positions", "topics", "alerts", "records", "states", "actions", "notes", "labels", "published"}

// OpenView opens the view in a file, and makes it where it is not there. A view of
// another version is deleted and made anew; a file that is no view is refused.
func OpenView(ctx context.Context, file string) (*View, error) {
	v, version, err := openFile(ctx, file)
	if err == nil && version != 0 && version != viewVersion {
		if err = v.Close(); err == nil {
			err = deleteFile(file)
		}
		if err == nil {
			v, version, err = openFile(ctx, file)
		}
	}
	if err == nil && version == 0 {
		err = v.write(ctx, func(tx *sql.Tx) error { return execAll(ctx, tx, tables()) })
	}
	if err == nil {
		err = v.load(ctx)
	}
	if err != nil {
		if v != nil {
			_ = v.Close() // nothing was written
		}
		return nil, fmt.Errorf("open view %s: %w", file, err)
	}
	return v, nil
}

// openFile opens a file and returns the version of the tables in it, 0 for none.
func openFile(ctx context.Context, file string) (v *View, version int, err error) {
	v = &View{file: file, wide: wideMax, memory: newMemory(Goals{})}
	v.writer, v.reader, version, err = openFold(ctx, file, viewMark, 8)
	return v, version, err
}

// openFold opens the file of a fold, for one writer and so many readers, and returns the
// version of the tables in it, 0 for none. ErrNotView is returned where it bears another
// mark. What is open with an error the caller closes too.
func openFold(ctx context.Context, file string, mark, readers int) (writer, reader *sql.DB, version int, err error) {
	// What a fall of the machine takes back is folded again, but the file must not be
	// damaged by it: NORMAL.
	pragmas := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "temp_store(MEMORY)",
		"cache_size(-65536)", "wal_autocheckpoint(8000)"}, "_txlock": {"immediate"}}
	if writer, err = openSQLite(ctx, file, pragmas, 1); err != nil {
		return nil, nil, 0, err
	}
	var bears, objects int
	for text, to := range map[string]*int{`PRAGMA application_id`: &bears, `PRAGMA user_version`: &version, `SELECT count(*) FROM sqlite_master`: &objects} {
		if err := writer.QueryRowContext(ctx, text).Scan(to); err != nil {
			return writer, nil, 0, err
		}
	}
	if objects > 0 && bears != mark {
		return writer, nil, 0, ErrNotView
	}
	if objects == 0 {
		version = 0
	}
	reader, err = openSQLite(ctx, file, url.Values{"_pragma": {"busy_timeout(10000)", "query_only(1)", "temp_store(MEMORY)", "cache_size(-16384)"}}, readers)
	return writer, reader, version, err
}

func openSQLite(ctx context.Context, file string, parameters url.Values, connections int) (*sql.DB, error) {
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: parameters.Encode()}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func deleteFile(file string) error {
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (v *View) Close() error { return closeFold(v.reader, v.writer) }

func closeFold(all ...*sql.DB) error {
	var errs []error
	for _, db := range all {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Reset empties the view, to be folded anew, while it is read.
func (v *View) Reset(ctx context.Context) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	err := v.write(ctx, func(tx *sql.Tx) error {
		var drops []string
		for _, name := range tableNames {
			drops = append(drops, `DROP TABLE `+name)
		}
		return execAll(ctx, tx, append(drops, tables()...))
	})
	if err != nil {
		return fmt.Errorf("empty the view: %w", err)
	}
	v.recent.clear()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.memory = newMemory(v.goals)
	return nil
}

// Index makes the indexes by which single alerts are found. Without them what is
// asked of a view is answered all the same, only slowly. To make them once the topics
// were folded is several times faster than to keep them from an empty view on.
func (v *View) Index(ctx context.Context) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	for _, f := range entityFields {
		name := column(f)
		text := fmt.Sprintf(`CREATE INDEX IF NOT EXISTS alerts_%s ON alerts (%s, raised) WHERE %s IS NOT NULL`, name, name, name)
		if _, err := v.writer.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("index the view by %s: %w", name, err)
		}
	}
	return nil
}

// Next returns the offset of the next record to fold of a partition, 0 for a new view.
func (v *View) Next(ctx context.Context, p Place) (int64, error) {
	next, _, err := position(ctx, v.reader, p)
	return next, err
}

// Begin has an empty view begin at an offset of a partition: what lies before is left out,
// as long as the view is kept. It is for whoever has no use for a past.
func (v *View) Begin(ctx context.Context, p Place, next int64) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	err := v.write(ctx, func(tx *sql.Tx) error { return setPosition(ctx, tx, p, next, -1) })
	if err != nil {
		return fmt.Errorf("begin the view at offset %d of %s %d: %w", next, p.Topic, p.Partition, err)
	}
	return nil
}

// querier is a database, or a transaction in one.
type querier interface {
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// position reads the position in a partition, and its mark: the ledger offset of the
// last alert that was taken from it, -1 for none.
func position(ctx context.Context, q querier, p Place) (next, mark int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT next, mark FROM positions WHERE topic = ? AND part = ?`, p.Topic, p.Partition).Scan(&next, &mark)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, -1, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the position in %s %d: %w", p.Topic, p.Partition, err)
	}
	return next, mark, nil
}

func setPosition(ctx context.Context, tx *sql.Tx, p Place, next, mark int64) error {
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO positions (topic, part, next, mark) VALUES (?, ?, ?, ?)`, p.Topic, p.Partition, next, mark)
	return err
}

// TopicID returns the id of the topic that the view was folded from, zero where
// nobody said.
func (v *View) TopicID(ctx context.Context, topic string) ([16]byte, error) {
	return topicID(ctx, v.reader, topic)
}

func topicID(ctx context.Context, q querier, topic string) (id [16]byte, err error) {
	var b []byte
	err = q.QueryRowContext(ctx, `SELECT id FROM topics WHERE topic = ?`, topic).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return id, nil
	}
	copy(id[:], b)
	return id, err
}

// SetTopicID says which topic the view is folded from.
func (v *View) SetTopicID(ctx context.Context, topic string, id [16]byte) error {
	v.fold.Lock()
	defer v.fold.Unlock()
	return setTopicID(ctx, v.writer, topic, id)
}

func setTopicID(ctx context.Context, db *sql.DB, topic string, id [16]byte) error {
	_, err := db.ExecContext(ctx, `INSERT OR REPLACE INTO topics (topic, id) VALUES (?, ?)`, topic, id[:])
	return err
}

// prepared returns a statement of readers.
func (v *View) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := v.statements.Load(text); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := v.reader.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if kept, loaded := v.statements.LoadOrStore(text, stmt); loaded {
		return kept.(*sql.Stmt), stmt.Close()
	}
	return stmt, nil
}

// write runs fn in a transaction, which is taken back where fn fails.
func (v *View) write(ctx context.Context, fn func(*sql.Tx) error) error {
	return write(ctx, v.writer, fn)
}

// write is View.write, in a database of one connection.
func write(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		_, _ = db.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) // it may be open still, and there is one connection
		return err
	}
	return nil
}

func execAll(ctx context.Context, tx *sql.Tx, texts []string) error {
	for _, text := range texts {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%.40s: %w", strings.Join(strings.Fields(text), " "), err)
		}
	}
	return nil
}
