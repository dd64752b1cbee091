package history

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-risk/weir/schemas"
)

// clickhouseStore is a [Store] in a database of ClickHouse. Schema and small
// questions go through a pool of clickhouse-go; blocks and what is read in bulk
// through connections of ch-go, which moves whole columns. Names are qualified
// by the database, so that it need not exist before Migrate.
type clickhouseStore struct {
	pool       driver.Conn
	options    ch.Options // of connections for bulk data
	database   string
	where      string // for messages: no password
	migrations []migration
	checked    atomic.Bool // the schema is this weir's

	// Of the one writer.
	conn    *ch.Client // nil where the next block needs a new one
	columns *decisionColumns
	tables  ledgerColumns
}

var _ Store = (*clickhouseStore)(nil)

const (
	// After a restart of the server each idle connection of the pool fails once.
	poolIdle = 2
	// dialTimeout is also how long the pool waits for a free connection.
	dialTimeout = 10 * time.Second
	// readTimeout is for one packet. The server sends progress ten times a
	// second while a query runs, but none while it commits a block.
	readTimeout = 2 * time.Minute
	// askSeconds is how long the server works at one small question. Counting a
	// large history takes minutes; what takes longer nobody waits for any more.
	// Reading in bulk has no such end: it goes at the reader's pace.
	askSeconds = 600
)

func openClickHouse(text string, o Options) (Store, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		// What is wrong with it is not told: it may be a part of the password.
		return nil, errors.New("open history: the URL is not of the form clickhouse://USER:PASSWORD@HOST:PORT/DATABASE (is a character of the password not percent-encoded?)")
	}
	s := &clickhouseStore{database: strings.Trim(u.Path, "/"), where: shown(u)}
	if s.database == "" || strings.ContainsAny(s.database, "/`\\") {
		return nil, fmt.Errorf("open history %s: no database is named after the port", s.where)
	}
	password, err := clickhousePassword(u, o)
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", s.where, err)
	}
	config, err := clickhouseTLS(u, o)
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", s.where, err)
	}
	address := u.Host
	if u.Port() == "" {
		port := "9000"
		if config != nil {
			port = "9440"
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	user := u.User.Username()
	if user == "" {
		user = "default"
	}
	s.options = ch.Options{Address: address, User: user, Password: password, TLS: config, Compression: ch.CompressionLZ4,
		ClientName: "weir", DialTimeout: dialTimeout, ReadTimeout: readTimeout}
	s.pool, err = clickhouse.Open(&clickhouse.Options{
		Addr: []string{address}, Auth: clickhouse.Auth{Username: user, Password: password}, TLS: config,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4}, DialTimeout: dialTimeout, ReadTimeout: readTimeout,
		MaxOpenConns: 4, MaxIdleConns: poolIdle, Settings: clickhouse.Settings{"async_insert": 0, "max_execution_time": askSeconds},
	})
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", s.where, err)
	}
	s.columns, s.tables = newDecisionColumns(newLowText), newLedgerColumns()
	s.migrations = migrations("clickhouse")
	for i := range s.migrations {
		for k, text := range s.migrations[i].statements {
			s.migrations[i].statements[k] = s.sql(text)
		}
	}
	return s, nil
}

// sql puts the database into a statement.
func (s *clickhouseStore) sql(text string) string {
	return strings.ReplaceAll(text, "{db}", "`"+s.database+"`")
}

func clickhousePassword(u *url.URL, o Options) (string, error) {
	if p, ok := u.User.Password(); ok {
		return p, nil
	}
	if o.PasswordFile == "" {
		return o.Password, nil
	}
	text, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", schemas.HideName(err))
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// shown is a URL without what may be a password.
func shown(u *url.URL) string {
	bare := *u
	bare.RawQuery = ""
	return bare.Redacted()
}

// clickhouseTLS returns nil where the URL asks for no TLS.
func clickhouseTLS(u *url.URL, o Options) (*tls.Config, error) {
	secure := false
	for key, values := range u.Query() {
		switch value := values[len(values)-1]; {
		case key != "secure":
			return nil, errors.New("it has a parameter that is not known; there is secure=true, and a password belongs into a file or a variable")
		case value == "true":
			secure = true
		case value != "false":
			return nil, fmt.Errorf("secure is %q, not true or false", value)
		}
	}
	if !secure {
		if o.CAFile != "" {
			return nil, errors.New("authorities are given for TLS, but the URL does not say secure=true")
		}
		return nil, nil
	}
	c := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if o.CAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	if c.RootCAs, err = x509.SystemCertPool(); err != nil {
		c.RootCAs = x509.NewCertPool()
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", o.CAFile)
	}
	return c, nil
}

// Close implements [Store].
func (s *clickhouseStore) Close() error {
	s.drop()
	return s.pool.Close()
}

// drop gives up the connection for blocks: the next one is new.
func (s *clickhouseStore) drop() {
	if s.conn != nil {
		_ = s.conn.Close() // its last answer is known, or will never be
		s.conn = nil
	}
}

// ask runs a small question, again where idle connections turn out to be dead.
func (s *clickhouseStore) ask(ctx context.Context, fn func() error) error {
	for attempt := 0; ; attempt++ {
		err := fn()
		if err == nil || attempt > poolIdle || ctx.Err() != nil || Classify(err) == Stop {
			return err
		}
		timer := time.NewTimer(10 * time.Millisecond << attempt)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func (s *clickhouseStore) exec(ctx context.Context, text string, args ...any) error {
	return s.ask(ctx, func() error { return s.pool.Exec(ctx, s.sql(text), args...) })
}

func (s *clickhouseStore) queryRow(ctx context.Context, to []any, text string, args ...any) error {
	return s.ask(ctx, func() error { return s.pool.QueryRow(ctx, s.sql(text), args...).Scan(to...) })
}

// Migrate implements [Writer].
func (s *clickhouseStore) Migrate(ctx context.Context) ([]string, error) {
	applied, err := migrate(ctx, s, s.migrations, s.where)
	var is *clickhouse.Exception
	if errors.As(err, &is) && is.Code == accessDenied {
		err = fmt.Errorf("%w; weir migrate by a user who may makes the schema what it has to be", err)
	}
	return applied, err
}

// begin makes nothing where the schema is begun: who may not make tables may write.
func (s *clickhouseStore) begin(ctx context.Context) (version int, err error) {
	if version, err := s.look(ctx); version > 0 || err != nil {
		return version, err
	}
	var there uint64
	if err := s.queryRow(ctx, []any{&there}, `SELECT count() FROM system.databases WHERE name = ?`, s.database); err != nil {
		return 0, err
	}
	if there == 0 {
		if err := s.exec(ctx, `CREATE DATABASE IF NOT EXISTS {db}`); err != nil {
			return 0, err
		}
	}
	if err := s.exec(ctx, `CREATE TABLE IF NOT EXISTS {db}.migrations
		(version UInt32, name String, applied DateTime('UTC') DEFAULT now()) ENGINE = MergeTree ORDER BY version`); err != nil {
		return 0, err
	}
	return s.version(ctx)
}

func (s *clickhouseStore) version(ctx context.Context) (int, error) {
	var v uint32
	err := s.queryRow(ctx, []any{&v}, `SELECT max(version) FROM {db}.migrations`)
	return int(v), err
}

// apply runs a migration. ClickHouse has no transactions: the statements can
// all be run again, and the note comes last.
func (s *clickhouseStore) apply(ctx context.Context, m *migration) error {
	for _, text := range m.statements {
		if err := s.exec(ctx, text); err != nil {
			return err
		}
	}
	return s.exec(ctx, `INSERT INTO {db}.migrations (version, name) VALUES (?, ?)`, uint32(m.version), m.name)
}

// Error codes of the server.
const (
	unknownTable    = 60
	unknownDatabase = 81
	accessDenied    = 497
)

// Pending implements [Writer].
func (s *clickhouseStore) Pending(ctx context.Context) ([]string, error) {
	version, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return pending(version, s.migrations, s.where)
}

// look returns the schema's version, 0 where there is none, and makes nothing.
func (s *clickhouseStore) look(ctx context.Context) (version int, err error) {
	// system.tables hides what this user may not see, as if it were not there.
	version, err = s.version(ctx)
	var is *clickhouse.Exception
	if errors.As(err, &is) && (is.Code == unknownTable || is.Code == unknownDatabase) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up the schema of %s: %w", s.where, err)
	}
	return version, nil
}

// check refuses a schema that is not this weir's.
func (s *clickhouseStore) check(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	version, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := checkVersion(version, len(s.migrations), s.where); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// Position implements [Writer].
func (s *clickhouseStore) Position(ctx context.Context, stream Stream, partition int32) (p Position, err error) {
	if err := s.check(ctx); err != nil {
		return p, err
	}
	var head schemas.BatchID
	err = s.queryRow(ctx, []any{&p.Offset, &head.Writer, &head.Sequence, &p.Begun},
		`SELECT maxIf(next, done = 1), argMaxIf(head_writer, next, done = 1), argMaxIf(head_sequence, next, done = 1), maxIf(next, done = 0)
		FROM {db}.progress WHERE stream = ? AND part = ?`, string(stream), partition)
	if err != nil {
		return Position{}, fmt.Errorf("read the position of %s %d: %w", stream, partition, err)
	}
	p.Head = head
	if p.Begun <= p.Offset {
		p.Begun = 0
	}
	return p, nil
}

// Counts implements [Reader].
func (s *clickhouseStore) Counts(ctx context.Context) (c Counts, err error) {
	if err := s.check(ctx); err != nil {
		return c, err
	}
	count := func(to *int64, from string) {
		var n uint64
		if err == nil {
			err = s.queryRow(ctx, []any{&n}, "SELECT count() FROM {db}."+from)
			*to = int64(n)
		}
	}
	count(&c.Decisions, "decisions")
	count(&c.Final, "decisions FINAL")
	count(&c.Batches, "batches FINAL")
	count(&c.Entries, "entries FINAL")
	count(&c.Labels, "labels FINAL")
	count(&c.Alerts, "alerts FINAL")
	count(&c.Dispositions, "dispositions FINAL")
	for o := range c.Outcomes {
		count(&c.Outcomes[o], fmt.Sprintf("decisions FINAL WHERE outcome = %d", o))
	}
	if err != nil {
		return Counts{}, fmt.Errorf("count the history: %w", err)
	}
	return c, nil
}
