package alerts

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"

	"github.com/weir-risk/weir/schemas"
)

// Trail is who saw and did what: the fold of the topics audit and dispositions in one
// SQLite file, by time. It may be deleted at any time, and comes back the same. It is
// safe for many readers and one writer, who takes its turn if there are more.
//
// It is kept on disk alone, since an audit log only grows. What is asked of it is
// answered along an index that says most of it, so a page costs the same however
// many entries there are.
type Trail struct {
	writer *sql.DB // one connection
	reader *sql.DB
	fold   sync.Mutex // held by who writes

	look, wordsLook int // trailLook and wordsLook, less in tests

	mu     sync.Mutex
	behind int    // partitions that have not caught up
	halted string // why nothing is folded; empty where it is
}

// PlaceAudit is the topic of audit entries, for a [Place].
const PlaceAudit = "audit"

// trailMark marks a file as a trail ("wrtr"), and trailVersion is of its tables.
const (
	trailMark    = 0x77727472
	trailVersion = 1
)

// trailTables make the tables. A key is the order of time, see trailKey. The words are
// those of what something was done to.
var trailTables = []string{
	`CREATE TABLE positions (topic TEXT, part INTEGER, next INTEGER NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (topic, part)) WITHOUT ROWID`,
	`CREATE TABLE topics (topic TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE entries (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, who TEXT NOT NULL, what TEXT NOT NULL, of TEXT NOT NULL,
		address TEXT NOT NULL, detail TEXT NOT NULL)`,
	`CREATE INDEX entries_who ON entries (who, key, what, address)`,
	`CREATE INDEX entries_address ON entries (address, key, what)`,
	`CREATE INDEX entries_what ON entries (what)`,
	`CREATE TABLE words (word TEXT, key INTEGER, PRIMARY KEY (word, key)) WITHOUT ROWID`,
	fmt.Sprintf(`PRAGMA application_id = %d`, trailMark),
	fmt.Sprintf(`PRAGMA user_version = %d`, trailVersion),
}

// trailNames are the tables above.
var trailNames = []string{"positions", "topics", "entries", "words"}

// OpenTrail opens the trail in a file, and makes it where it is not there. A trail of
// another version is deleted and made anew; a file that is no trail is refused.
func OpenTrail(ctx context.Context, file string) (*Trail, error) {
	t, version, err := openTrail(ctx, file)
	if err == nil && version != 0 && version != trailVersion {
		if err = t.Close(); err == nil {
			err = deleteFile(file)
		}
		if err == nil {
			t, version, err = openTrail(ctx, file)
		}
	}
	if err == nil && version == 0 {
		err = write(ctx, t.writer, func(tx *sql.Tx) error { return execAll(ctx, tx, trailTables) })
	}
	if err != nil {
		_ = t.Close() // nothing was written
		return nil, fmt.Errorf("open audit trail %s: %w", file, err)
	}
	return t, nil
}

// openTrail opens a file and returns the version of the tables in it, 0 for none.
func openTrail(ctx context.Context, file string) (t *Trail, version int, err error) {
	t = &Trail{halted: "starting", look: trailLook, wordsLook: wordsLook}
	t.writer, t.reader, version, err = openFold(ctx, file, trailMark, 4)
	return t, version, err
}

// Close closes the file.
func (t *Trail) Close() error { return closeFold(t.reader, t.writer) }

// Reset empties the trail, to be folded anew, while it is read.
func (t *Trail) Reset(ctx context.Context) error {
	t.fold.Lock()
	defer t.fold.Unlock()
	return write(ctx, t.writer, func(tx *sql.Tx) error {
		var drops []string
		for _, name := range trailNames {
			drops = append(drops, `DROP TABLE `+name)
		}
		return execAll(ctx, tx, append(drops, trailTables...))
	})
}

// Next returns the offset of the next record to fold of a partition, 0 for a new trail.
func (t *Trail) Next(ctx context.Context, p Place) (int64, error) {
	next, _, err := position(ctx, t.reader, p)
	return next, err
}

// TopicID returns the id of the topic that the trail was folded from, zero where nobody
// said.
func (t *Trail) TopicID(ctx context.Context, topic string) ([16]byte, error) {
	return topicID(ctx, t.reader, topic)
}

// SetTopicID says which topic the trail is folded from.
func (t *Trail) SetTopicID(ctx context.Context, topic string, id [16]byte) error {
	t.fold.Lock()
	defer t.fold.Unlock()
	return setTopicID(ctx, t.writer, topic, id)
}

// The key of an entry is its time in ms above keyBits that tell entries of one ms
// apart: the low bits of the offset, and one for the topic.
const (
	keyBits = 21
	timeMax = 1<<(63-keyBits) - 1
)

// trailKey is the first key that an entry may have. It is a function of the record
// alone, so that a trail comes back the same however two topics are read beside each
// other.
func trailKey(at, offset, topic int64) int64 {
	return min(max(at, 0), timeMax)<<keyBits | offset&(1<<(keyBits-1)-1)<<1 | topic
}

// timeKey is the least key of a time.
func timeKey(ms int64) int64 { return min(max(ms, 0), timeMax) << keyBits }

// trailed is an entry on its way into the file.
type trailed struct {
	key                                int64
	id, who, what, of, address, detail string
}

// Fold folds records of a topic, PlaceAudit or PlaceDispositions, in their order. Of
// records with one id the first counts; what was folded before is passed over.
func (t *Trail) Fold(ctx context.Context, topic string, rs []Record) (f Folded, err error) {
	t.fold.Lock()
	defer t.fold.Unlock()
	place := Place{Topic: topic}
	next, _, err := position(ctx, t.writer, place)
	if rs = from(rs, next); len(rs) == 0 || err != nil {
		return f, err
	}
	err = write(ctx, t.writer, func(tx *sql.Tx) error {
		w, err := newTrailWriter(ctx, tx)
		if err != nil {
			return err
		}
		defer w.close()
		for i := range rs {
			e, err := readTrailed(topic, &rs[i])
			if err != nil {
				f.malformed(place, rs[i].Offset, err)
				continue
			}
			if err := w.add(ctx, &e); err != nil {
				return fmt.Errorf("add the record at offset %d of %s: %w", rs[i].Offset, topic, err)
			}
		}
		return setPosition(ctx, tx, place, rs[len(rs)-1].Offset+1, -1)
	})
	if err != nil {
		return Folded{}, fmt.Errorf("fold %s: %w", topic, err)
	}
	return f, nil
}

// readTrailed reads a record. What looks like a card number is hidden here too,
// whoever wrote it.
func readTrailed(topic string, r *Record) (e trailed, err error) {
	if topic == PlaceAudit {
		var a schemas.AuditEntry
		if err := schemas.ParseAudit(r.Value, &a); err != nil {
			return e, err
		}
		return trailed{trailKey(a.At, r.Offset, 0), string(a.ID), string(a.Who), a.What.String(), string(schemas.HideCards(a.Of)),
			string(a.Address), string(schemas.HideCards(a.Detail))}, nil
	}
	var d schemas.Disposition
	if err := schemas.ParseDisposition(r.Value, &d); err != nil {
		return e, err
	}
	var detail []string
	for _, text := range [][]byte{d.Reason, schemas.HideCards(d.Note)} {
		if len(text) > 0 {
			detail = append(detail, string(text))
		}
	}
	return trailed{trailKey(d.At, r.Offset, 1), string(d.AlertID) + "/" + string(d.ID), string(d.By), d.Kind.String(), string(d.AlertID),
		"", strings.Join(detail, ": ")}, nil
}

// trailWriter writes entries within a transaction.
type trailWriter struct{ taken, entry, word *sql.Stmt }

func newTrailWriter(ctx context.Context, tx *sql.Tx) (w *trailWriter, err error) {
	w = &trailWriter{}
	for text, to := range map[string]**sql.Stmt{
		`SELECT count(*) FROM entries WHERE key = ?`:                                                           &w.taken,
		`INSERT OR IGNORE INTO entries (key, id, who, what, of, address, detail) VALUES (?, ?, ?, ?, ?, ?, ?)`: &w.entry,
		`INSERT OR IGNORE INTO words (word, key) VALUES (?, ?)`:                                                &w.word,
	} {
		if *to, err = tx.PrepareContext(ctx, text); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *trailWriter) close() {
	for _, s := range []*sql.Stmt{w.taken, w.entry, w.word} {
		if s != nil {
			_ = s.Close() // the transaction's end says what failed
		}
	}
}

func (w *trailWriter) add(ctx context.Context, e *trailed) error {
	// Two of one topic meet only where a million records lie between them and their
	// times are the same.
	for taken := 1; ; e.key += 2 {
		if err := w.taken.QueryRowContext(ctx, e.key).Scan(&taken); err != nil {
			return err
		}
		if taken == 0 {
			break
		}
	}
	done, err := w.entry.ExecContext(ctx, e.key, e.id, e.who, e.what, e.of, e.address, e.detail)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err // its id is there
	}
	for _, word := range trailWords(e.of) {
		if _, err := w.word.ExecContext(ctx, word, e.key); err != nil {
			return err
		}
	}
	return nil
}

// The bounds of what an entry is found by.
const (
	trailWordsMax = 32
	trailWordMax  = 128 // bytes
)

// trailWords are the words that something is found by: an id, a token, a part of a
// path.
func trailWords(text string) (list []string) {
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool {
		return r < 0x80 && (r < '0' || r > '9') && (r < 'a' || r > 'z') && !strings.ContainsRune("._-@*", r)
	}) {
		if len(list) == trailWordsMax {
			break
		}
		list = append(list, word[:min(len(word), trailWordMax)])
	}
	return list
}
