package history

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// A Stream is what a block holds a stretch of.
type Stream string

// The streams. Labels come with the ledger, which holds every label that could
// be read.
const (
	Ledger       Stream = "ledger"
	Alerts       Stream = "alerts"
	Dispositions Stream = "dispositions"
)

// Streams are all of them.
func Streams() []Stream { return []Stream{Ledger, Alerts, Dispositions} }

// The errors that callers look for; compare with errors.Is.
var (
	ErrNewer      = errors.New("the history was written by a newer weir")
	ErrNone       = errors.New("there is no history there yet: weir record makes one")
	ErrOlder      = errors.New("the history's schema is older than this weir's; weir migrate brings it up to date")
	ErrMoved      = errors.New("the block does not begin where the history ends; is there a second recorder?")
	ErrIncomplete = errors.New("the history lacks records of the ledger")
)

// Position is how far the history holds a partition of a stream.
type Position struct {
	// Anchor.Offset is the offset after the last one written; Anchor.Head, of
	// the ledger, the last batch taken before it.
	schemas.Anchor
	// Begun is where a block ends that was begun and may be written in part; 0
	// is none. The next block must end there.
	Begun int64
}

// A Writer takes the log in. It is for one goroutine.
type Writer interface {
	// Migrate brings the schema to this weir's version and returns the names of
	// the migrations that it applied. It makes the database where there is none.
	// ErrNewer is wrapped where the schema is newer than this weir's.
	Migrate(ctx context.Context) (applied []string, err error)
	// Pending returns the names of the migrations that Migrate would apply, and changes
	// nothing.
	Pending(ctx context.Context) (names []string, err error)
	// Position returns how far the history holds a partition of a stream.
	Position(ctx context.Context, s Stream, partition int32) (Position, error)
	// Write makes one attempt to write a block. After an error some of it may be
	// written; the same block can be written again, and must be before another
	// of its partition is. A block that was written before changes nothing.
	// ErrMoved is wrapped where the block does not begin at the position, or
	// ends elsewhere than one that was begun. The block may be reused after.
	Write(ctx context.Context, b *Block) error
}

// A Reader gives the history out. It may be used by many goroutines and while
// the history is written. What it hands to fn is good until fn returns; an
// error of fn ends the reading and is wrapped.
type Reader interface {
	// Batches calls fn with the batches of a shard's ledger, in its order, from
	// the first one at or after an offset. ErrIncomplete is wrapped where
	// records are missing.
	Batches(ctx context.Context, shard int32, from int64, fn func(*Batch) error) error
	// Rows calls fn with the vectors that q asks for, with their labels, ordered
	// by tenant, then event time. Memory here is bounded whatever their number;
	// ClickHouse holds the labels in its own. Of a block that is being written
	// some rows may come and others not.
	Rows(ctx context.Context, q RowQuery, fn func(*Chunk) error) error
	// Counts counts what the history holds.
	Counts(ctx context.Context) (Counts, error)
}

// A Store is one history: a file of SQLite or a database of ClickHouse. [Open]
// returns one.
type Store interface {
	Writer
	Reader
	Lookup
	Neighbourhood
	Diary
	Close() error
}

// Counts are numbers of rows.
type Counts struct {
	// Decisions is how many rows there are; Final how many different ones. They
	// are equal unless something was written twice.
	Decisions, Final int64
	Outcomes         [schemas.NumOutcomes]int64 // of Final
	Batches          int64
	Entries          int64 // of the ledger, decisions aside
	Labels           int64 // versions
	Alerts           int64 // records, those published again included
	Dispositions     int64
}

// Options are what a URL should not hold, or cannot.
type Options struct {
	// Password is ClickHouse's, for a URL without one. PasswordFile is a file
	// that holds it, which wins; a final newline is left out.
	Password, PasswordFile string
	// Later is of whoever only reads: a file of SQLite that is not there is not made.
	// Until it is there, what is asked gives ErrNone.
	Later bool
	// CAFile is a PEM file of the authorities to trust for TLS, besides the
	// system's.
	CAFile string
}

// PasswordVariable is the environment variable that programs take
// [Options].Password from.
const PasswordVariable = "WEIR_CLICKHOUSE_PASSWORD"

// Open opens a history:
//
//	sqlite:PATH, or a bare path                      a file of SQLite, made where there is none
//	clickhouse://[USER[:PASSWORD]@]HOST:PORT/DATABASE  native protocol; ?secure=true for TLS
//
// It connects nowhere yet, so that a program can start while ClickHouse is away.
// No error holds the password.
func Open(ctx context.Context, url string, o Options) (Store, error) {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case url == "":
		return nil, fmt.Errorf("open history: no file and no URL is given")
	case found && scheme == "sqlite":
		return openSQLite(ctx, rest, o.Later)
	case found && scheme == "clickhouse":
		return openClickHouse(url, o)
	case found && strings.HasPrefix(rest, "//"):
		return nil, fmt.Errorf("open history: scheme %q is not one of sqlite, clickhouse", scheme)
	}
	return openSQLite(ctx, url, o.Later)
}
