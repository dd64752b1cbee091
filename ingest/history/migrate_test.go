package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-risk/weir/schemas"
)

// limit makes a store one of a weir that knows the first n migrations, or with
// one more than there are.
func limit(s Store, n int) {
	list := func(all []migration) []migration {
		if n <= len(all) {
			return all[:n]
		}
		return append(slices.Clone(all), migration{version: n, name: "0099_later"})
	}
	switch s := s.(type) {
	case *sqliteStore:
		s.migrations = list(s.migrations)
	case *clickhouseStore:
		s.migrations = list(s.migrations)
	}
}

func openAt(t *testing.T, url string, versions int) Store {
	t.Helper()
	s, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	limit(s, versions)
	return s
}

// oneDecision is a block with one decision.
func oneDecision() *Block {
	var b Block
	b.Reset(Ledger, 0, "transactions", Position{})
	d := schemas.Decision{Place: schemas.Place{Prev: -1}, Tx: schemas.Transaction{Time: 1_750_000_000_000}, Action: schemas.Block, Score: 0.5}
	d.Text[schemas.Card], d.Text[schemas.Merchant] = []byte("c1"), []byte("m1")
	f := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Records: 1}
	b.AddBatch(0, 1, &f, [][]byte{schemas.AppendDecision(nil, &d)})
	return &b
}

// TestEveryOlderSchemaIsMigrated writes with each schema there was, migrates,
// and reads; migrating again does nothing.
func TestEveryOlderSchemaIsMigrated(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		all := migrations(store)
		for known := 1; known < len(all); known++ {
			at := url()
			old := openAt(t, at, known)
			if _, err := old.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := old.Write(t.Context(), oneDecision()); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, at, len(all))
			if _, err := s.Counts(t.Context()); !errors.Is(err, ErrOlder) {
				t.Fatalf("counting in a schema of version %d gives %v", known, err)
			}
			for i, want := range [][]migration{all[known:], nil} {
				applied, err := s.Migrate(t.Context())
				if err != nil || len(applied) != len(want) || len(want) > 0 && applied[0] != want[0].name {
					t.Fatalf("migration %d from version %d applied %v, %v", i, known, applied, err)
				}
			}
			n := 0
			if err := s.Batches(t.Context(), 0, 0, func(*Batch) error { n++; return nil }); err != nil || n != 1 {
				t.Fatalf("%d batches after migrating from version %d, %v", n, known, err)
			}
			paid, err := s.Payments(t.Context(), PaymentQuery{Field: schemas.Card, Value: "c1", To: 1 << 60, Limit: 9})
			days, daysErr := s.Days(t.Context(), DayQuery{Field: schemas.Merchant, Value: "m1", To: 1 << 60})
			if err = errors.Join(err, daysErr); err != nil || len(paid) != 1 || len(days) != 1 || days[0].Payments != 1 {
				t.Fatalf("payments %+v and days %+v after migrating from version %d, %v", paid, days, known, err)
			}
		}
	})
}

// TestLabelsSayWhatTheyAreAbout writes a label into the schema before the columns of
// when its transaction was and whose, migrates, and writes one that says it.
func TestLabelsSayWhatTheyAreAbout(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		at := url()
		old := openAt(t, at, 2)
		if _, err := old.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		const columns = "(tx_id, source, version, shard, ledger_offset, known_ms, verdict, fraud_type, selected, selected_probability)"
		if err := execIn(t, old, "INSERT INTO {db}.labels "+columns+" VALUES ('old', 3, 1, 0, 5, 99, 2, 'stolen', 'alert', 1)"); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, at, len(migrations(store)))
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := schemas.Label{TxID: []byte("new"), Source: schemas.Analyst, Verdict: schemas.LabelFraud, Version: 1, KnownAt: 99,
			FraudType: []byte("stolen"), Selected: []byte("exploration"), SelectedProb: 0.25, Time: 1_750_000_000_123}
		for i, f := range schemas.LabelEntities {
			l.Entity[i] = []byte("the " + f.String())
		}
		b := oneDecision()
		f := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 2}, Extends: schemas.BatchID{Writer: 1, Sequence: 1}, Records: 1}
		b.AddBatch(1, 1, &f, [][]byte{schemas.AppendLabelEntry(nil, &l)})
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]string{
			"old": "stolen|alert|1.00|0||||||||",
			"new": "stolen|exploration|0.25|1750000000123|the card|the customer|the account|the counterparty|the merchant|the terminal|the device|the ip",
		} {
			if got := labelIn(t, s, id); got != want {
				t.Errorf("label %s is %s, want %s", id, got, want)
			}
		}
	})
}

// execIn runs a statement of a store.
func execIn(t *testing.T, s Store, text string) error {
	if c, ok := s.(*clickhouseStore); ok {
		return c.exec(t.Context(), text)
	}
	_, err := s.(*sqliteStore).db.Exec(strings.ReplaceAll(text, "{db}.", ""))
	return err
}

// labelIn returns what a store's columns say of the label of a transaction.
func labelIn(t *testing.T, s Store, id string) string {
	t.Helper()
	const columns = "fraud_type, selected, selected_probability, time_ms, card, customer, account, counterparty, merchant, terminal, device, ip"
	var fraud, selected string
	var prob32 float32
	var prob float64
	var ms int64
	var of [8]string
	to := []any{&fraud, &selected, &prob, &ms}
	for i := range of {
		to = append(to, &of[i])
	}
	query := "SELECT " + columns + " FROM {db}.labels WHERE tx_id = '" + id + "'"
	var err error
	if c, ok := s.(*clickhouseStore); ok {
		to[2] = &prob32
		err = c.queryRow(t.Context(), to, query)
		prob = float64(prob32)
	} else {
		err = s.(*sqliteStore).db.QueryRow(strings.ReplaceAll(query, "{db}.", "")).Scan(to...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s|%s|%.2f|%d|%s", fraud, selected, prob, ms, strings.Join(of[:], "|"))
}

// TestAMigrationThatBrokeOffRunsAgain applies the statements of every migration
// twice, as where the note of it was not written.
func TestAMigrationThatBrokeOffRunsAgain(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		if store == "sqlite" {
			return // a transaction: it does not break off
		}
		s := openAt(t, url(), len(migrations(store)))
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range s.(*clickhouseStore).migrations {
			if err := s.(*clickhouseStore).apply(t.Context(), &s.(*clickhouseStore).migrations[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestANewerSchemaIsRefused opens a history that a newer weir has migrated.
func TestANewerSchemaIsRefused(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		at, known := url(), len(migrations(store))
		if _, err := openAt(t, at, known+1).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, at, known)
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, ErrNewer) || Classify(err) != Stop || !strings.Contains(err.Error(), "schema version "+strconv.Itoa(known+1)) {
				t.Errorf("%s gives %v", what, err)
			}
		}
		_, err := s.Migrate(t.Context())
		refused("migrating", err)
		_, err = s.Position(t.Context(), Ledger, 0)
		refused("the position", err)
		refused("writing", s.Write(t.Context(), oneDecision()))
		refused("reading", s.Rows(t.Context(), RowQuery{}, nil))
		refused("reading", s.Batches(t.Context(), 0, 0, nil))
	})
}

// TestOnlyOddRecordsAreKeptWhole has decisions made again from their columns:
// were every record kept whole, the bytes would come back all the same.
func TestOnlyOddRecordsAreKeptWhole(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "history.db"), len(migrations("sqlite")))
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), oneDecision()); err != nil {
		t.Fatal(err)
	}
	var whole int
	var action string
	err := s.(*sqliteStore).db.QueryRow(`SELECT raw IS NOT NULL, action_name FROM decisions`).Scan(&whole, &action)
	if err != nil || whole != 0 || action != "block" {
		t.Fatalf("kept whole: %d, action %q, %v", whole, action, err)
	}
}

// TestMissingRecordsAreSeen takes a record out of the history.
func TestMissingRecordsAreSeen(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "history.db"), len(migrations("sqlite")))
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), oneDecision()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.(*sqliteStore).db.Exec(`DELETE FROM decisions`); err != nil {
		t.Fatal(err)
	}
	if err := s.Batches(t.Context(), 0, 0, func(*Batch) error { return nil }); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("a history without one of its records gives %v", err)
	}
}

// TestRowsAreMergedNotSorted asks the server how it would read vectors: in the
// order in which they lie, so that its memory does not grow with their number.
func TestRowsAreMergedNotSorted(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		if store != "clickhouse" {
			return // SQLite walks an index
		}
		s := openAt(t, url(), len(migrations(store))).(*clickhouseStore)
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), oneDecision()); err != nil {
			t.Fatal(err)
		}
		var line proto.ColStr
		var plan strings.Builder
		query := "EXPLAIN actions = 1 " + clickhouseRowsQuery(&RowQuery{Sources: []schemas.LabelSource{schemas.Analyst}})
		err := s.read(t.Context(), query, proto.Results{{Name: "explain", Data: &line}}, func(rows int) error {
			for i := range rows {
				plan.WriteString(line.Row(i) + "\n")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan.String(), "Read type: InOrder") || !strings.Contains(plan.String(), "Prefix sort description: tenant") {
			t.Fatalf("the server sorts:\n%s", plan.String())
		}
	})
}

// TestTheServerIsToldWhatIsWanted asks it for settings whose defaults differ by
// its version.
func TestTheServerIsToldWhatIsWanted(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		if store != "clickhouse" {
			return
		}
		s := openAt(t, url(), len(migrations(store))).(*clickhouseStore)
		var async, seconds string
		err := s.queryRow(t.Context(), []any{&async, &seconds}, "SELECT toString(getSetting('async_insert')), toString(getSetting('max_execution_time'))")
		if err != nil || async != "false" && async != "0" || seconds != "600" {
			t.Fatalf("async_insert %q, max_execution_time %q, %v", async, seconds, err)
		}
	})
}

// TestDoubledRowsAreReadOnce doubles every row, as a second recorder might: each
// record is read once all the same, before the server merges the copies away.
func TestDoubledRowsAreReadOnce(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		if store != "clickhouse" {
			return // its keys let nothing in twice
		}
		s := openAt(t, url(), len(migrations(store))).(*clickhouseStore)
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := oneDecision()
		var values [][]byte
		for i := range int64(100) {
			d := schemas.Decision{Place: schemas.Place{Offset: 1 + i, Prev: i}, Features: []float32{1}, Tx: schemas.Transaction{Time: 1_750_000_000_000 + i/3}}
			d.Text[schemas.ID], d.Text[schemas.Card] = []byte{byte(i)}, []byte("c2")
			values = append(values, schemas.AppendDecision(nil, &d),
				schemas.AppendLabelEntry(nil, &schemas.Label{TxID: []byte{byte(i)}, Source: schemas.Analyst, Verdict: schemas.LabelFraud, Version: 1}))
		}
		f := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 2}, Records: uint32(len(values))}
		b.AddBatch(1, 1, &f, values)
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"decisions", "entries", "labels", "batches"} {
			if err := s.exec(t.Context(), "SYSTEM STOP MERGES {db}."+table); err != nil {
				t.Fatal(err)
			}
			if err := s.exec(t.Context(), "INSERT INTO {db}."+table+" SELECT * FROM {db}."+table+" SETTINGS insert_deduplicate = 0"); err != nil {
				t.Fatal(err)
			}
		}
		c, err := s.Counts(t.Context())
		if err != nil || c.Decisions != 202 || c.Final != 101 || c.Batches != 2 || c.Entries != 100 || c.Labels != 100 {
			t.Fatalf("counts are %+v, %v", c, err)
		}
		records, rows, frauds := 0, 0, 0
		if err := s.Batches(t.Context(), 0, 0, func(b *Batch) error { records += len(b.Values); return nil }); err != nil || records != 201 {
			t.Fatalf("%d records, %v", records, err)
		}
		err = s.Rows(t.Context(), RowQuery{AsOf: 1, Sources: []schemas.LabelSource{schemas.Analyst}}, func(c *Chunk) error {
			rows += c.Len()
			for _, v := range c.Label {
				frauds += int(v) / int(schemas.LabelFraud)
			}
			return nil
		})
		if err != nil || rows != 100 || frauds != 100 {
			t.Fatalf("%d rows, %d of them frauds, %v", rows, frauds, err)
		}
		paid, err := s.Payments(t.Context(), PaymentQuery{Field: schemas.Card, Value: "c2", To: 1 << 60, Limit: 1000})
		days, daysErr := s.Days(t.Context(), DayQuery{Field: schemas.Card, Value: "c2", To: 1 << 60, Sources: []schemas.LabelSource{schemas.Analyst}})
		if err = errors.Join(err, daysErr); err != nil || len(paid) != 100 || len(days) != 1 || days[0].Payments != 100 || days[0].Frauds != 100 {
			t.Fatalf("%d payments, days %+v, %v", len(paid), days, err)
		}
	})
}

// TestPaymentsLieTogether asks the server how it would find what one of each kind paid
// or took among many: by the projection of the kind, in a granule or two.
func TestPaymentsLieTogether(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		if store != "clickhouse" {
			return // SQLite walks an index
		}
		s := openAt(t, url(), len(migrations(store))).(*clickhouseStore)
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		var values [][]byte
		for i := range int64(50_000) {
			d := schemas.Decision{Place: schemas.Place{Offset: i, Prev: i - 1}, Tx: schemas.Transaction{Time: 1_750_000_000_000 + i}}
			for _, f := range PaymentFields {
				d.Text[f] = fmt.Appendf(nil, "%v %d", f, i%1000)
			}
			values = append(values, schemas.AppendDecision(nil, &d))
		}
		var b Block
		b.Reset(Ledger, 0, "transactions", Position{})
		b.AddBatch(0, 1, &schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Records: uint32(len(values))}, values)
		if err := s.Write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for _, f := range PaymentFields {
			value := fmt.Sprintf("%v 77", f)
			for what, ask := range map[string][]any{paymentsQuery(f): {value, 0, int64(1) << 60, 500}, daysQuery(f): {0, value, 0, int64(1) << 60}} {
				var line, plan string
				err := s.each(t.Context(), func() { plan += line + "\n" }, []any{&line}, "EXPLAIN indexes = 1 "+what, ask...)
				_, read, _ := strings.Cut(plan, "ReadFromMergeTree (of_"+f.String()+")")
				granules := regexp.MustCompile(`Granules: (\d)/(\d)\n`).FindStringSubmatch(read)
				if err != nil || granules == nil || granules[1] > "2" || granules[2] < "6" {
					t.Errorf("%v, %v:\n%s", granules, err, plan)
				}
			}
		}
	})
}

// TestAHistoryMayComeLater asks a history that is not there, is empty, and is there: the
// asking makes none, and needs not be opened anew.
func TestAHistoryMayComeLater(t *testing.T) {
	eachURL(t, func(t *testing.T, url func() string, store string) {
		at := url()
		s, err := Open(t.Context(), at, Options{Later: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		none := func(what string) {
			t.Helper()
			_, err := s.Record(t.Context(), 0, 0)
			_, newest := s.Newest(t.Context())
			if !errors.Is(err, ErrNone) || !errors.Is(newest, ErrNone) || Classify(err) != Stop {
				t.Errorf("a history that is %s gives %v and %v", what, err, newest)
			}
		}
		none("not there")
		if path, file := strings.CutPrefix(at, "sqlite:"); file {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("asking made %s, %v", path, err)
			}
		}
		w, err := Open(t.Context(), at, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Close() })
		none("empty")
		if _, err := w.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Record(t.Context(), 0, 0); !errors.Is(err, ErrNoRecord) {
			t.Errorf("a history without records gives %v", err)
		}
		if err := w.Write(t.Context(), oneDecision()); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Record(t.Context(), 0, 0); err != nil || len(r.Value) == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
