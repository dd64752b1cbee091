package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
)

// An outage is a history that a test can take away and bring back.
type outage struct {
	url        string
	away, back func()
	deaf       bool // it answers nobody while it is away
}

// sqliteOutage is a file of SQLite that another program locks.
func sqliteOutage(t testing.TB) *outage {
	t.Helper()
	file := filepath.Join(t.TempDir(), "history.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // the lock is the connection's
	t.Cleanup(func() { _ = db.Close() })
	run := func(text string) func() {
		return func() {
			if _, err := db.ExecContext(context.Background(), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &outage{url: file, away: run("BEGIN IMMEDIATE"), back: run("COMMIT")}
}

// clickhouseOutage is a database of its own on the server that `make integration`
// starts, which its script stops and starts; nil where there is none.
func clickhouseOutage(t testing.TB) *outage {
	t.Helper()
	server, script, port := os.Getenv("WEIR_CLICKHOUSE"), os.Getenv("WEIR_CLICKHOUSE_SCRIPT"), os.Getenv("WEIR_CLICKHOUSE_PORT")
	if server == "" || script == "" || port == "" {
		return nil
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("WEIR_CLICKHOUSE is no URL")
	}
	u.Path = fmt.Sprintf("/weir_test_%08x", rand.Uint32())
	run := func(command string) func() {
		return func() {
			if out, err := exec.Command(script, command, port).CombinedOutput(); err != nil {
				t.Fatalf("%s ClickHouse: %v\n%s", command, err, out)
			}
		}
	}
	t.Cleanup(func() {
		run("start")() // others need it, however this test ended
		o, err := clickhouse.ParseDSN(server)
		if err != nil {
			t.Fatal("WEIR_CLICKHOUSE is no URL")
		}
		conn, err := clickhouse.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS `"+u.Path[1:]+"`"); err != nil {
			t.Error(err)
		}
	})
	return &outage{url: u.String(), away: run("stop"), back: run("start"), deaf: true}
}

// pay sends n more transactions.
func (w *crashWorld) pay(f *feed, n int) {
	w.t.Helper()
	w.total += int64(n)
	for f.total < w.total {
		f.drawHour(int(w.total - f.total))
		if err := f.flush(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// ask runs weir in this process and returns its exit code and what it says.
func (w *crashWorld) ask(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = run(w.t.Context(), args, &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, lookup: func(string) (string, bool) { return "", false }})
	return code, out.String(), errs.String()
}

// goneFor takes the history away while the bank pays on: every payment is
// decided meanwhile, and none of them is in the history.
func (w *crashWorld) goneFor(o *outage, rounds int, p *process, f *feed) {
	w.t.Helper()
	o.away()
	// The rounds are spread over time, so that the recorder tries again and again: over ten
	// minutes in the whole proof.
	every := 250 * time.Millisecond
	if os.Getenv("WEIR_PROVE") != "" {
		every = 2500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, before := w.total, p.memory()
	for range rounds {
		w.pay(f, 200)
		p.until("decisions while the history is away", func() bool { return w.progress("up") == w.total })
		<-tick.C
	}
	if o.deaf { // of a lock SQLite says so only after seconds
		p.until("a history that is said to be away", func() bool {
			return p.metric("weir_history_up") == 0 && p.metric("weir_history_retries_total") > 0
		})
	}
	if p.metric("weir_owner") != 1 || !p.ready() {
		w.t.Errorf("while the history is away weir says that it decides %v, that it is ready %v", p.metric("weir_owner"), p.ready())
	}
	p.grew(before)
	c, err := w.kept(o)
	if o.deaf != (err != nil) || c.Final > began {
		w.t.Fatalf("while it is away the history answers %+v, %v", c, err)
	}
	o.back()
}

// kept counts what the history holds.
func (w *crashWorld) kept(o *outage) (history.Counts, error) {
	w.t.Helper()
	s, err := history.Open(w.t.Context(), o.url, history.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	return s.Counts(w.t.Context())
}

// once fails the test where the history does not hold each decision once.
func (w *crashWorld) once(o *outage) {
	w.t.Helper()
	if c, err := w.kept(o); err != nil || c.Decisions != w.total || c.Final != w.total {
		w.t.Fatalf("the history holds %+v, %v; want %d decisions, and as many different ones", c, err, w.total)
	}
}

// provedFromHistory runs weir verify over the history alone.
func (w *crashWorld) provedFromHistory(o *outage) {
	w.t.Helper()
	code, out, errs := w.ask("verify", "--history", o.url, "--trust", filepath.Join(w.dir, "signing.key.pub"), "--bundle", filepath.Join(w.dir, "champion.weir"), "--json")
	var r ingest.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatalf("%v: %s%s", err, out, errs)
	}
	if code != exitOK || r.Decisions != w.total || r.Scored == 0 || r.Lost+r.Doubled+r.Different+r.Approximate != 0 {
		w.t.Errorf("verify of the history exits with %d: %s%s", code, out, errs)
	}
}

// tailed runs weir tail over the whole ledger and counts the decisions.
func (w *crashWorld) tailed() {
	w.t.Helper()
	code, out, errs := w.ask("tail", "--kafka", w.brokers, "--topic-prefix", w.prefix("up"), "--from", "start", "--end", "decisions")
	outcomes := int64(0)
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			w.t.Fatalf("tail prints %s", line)
		}
		if strings.Contains(line, `"outcome"`) {
			outcomes++
		}
	}
	if code != exitOK || outcomes != w.total {
		w.t.Errorf("tail exits with %d after %d of %d decisions: %s", code, outcomes, w.total, errs)
	}
}

// TestScoringGoesOnWithoutTheHistory runs weir up, takes its history away while
// the bank pays on, and brings it back: scoring never waits for it, and it holds
// every decision once in the end, from which alone the ledger can be proved. Over
// SQLite, and over ClickHouse where WEIR_CLICKHOUSE names a server.
func TestScoringGoesOnWithoutTheHistory(t *testing.T) {
	rounds := sizeOf(240, 20, 4)
	f := func(t *testing.T, o *outage) {
		w := newCrashWorld(t, kafkaForTest(t))
		w.command, w.snapshotEvery = "up", 1000
		w.load(0, 4, "up")
		flags := append(w.flags("up", filepath.Join(w.dir, "up")), "--kafka", w.brokers, "--history", o.url)
		p := start(t, flags...)
		bank := w.feed(w.topics("up"))
		w.pay(bank, 3000)
		held := func() bool { c, err := w.kept(o); return err == nil && c.Final == w.total }
		p.until("a history before the outage", held)
		p.until("a history that answers", func() bool { return p.metric("weir_history_up") == 1 })
		w.goneFor(o, rounds, p, bank)
		w.pay(bank, 1000)
		p.until("a history after the outage", held)
		if r := w.finish(p, "up"); r.SourceRecords != w.total {
			t.Errorf("up ends with %+v, want %d source records", r, w.total)
		}
		w.once(o)
		w.provedFromHistory(o)
		w.verified(w.brokers, "up")
		w.tailed()
		if code, out, errs := w.ask("check", "--kafka", w.brokers, "--topic-prefix", w.prefix("up"), "--history", o.url,
			"--trust", filepath.Join(w.dir, "signing.key.pub"), "--token-key-file", filepath.Join(w.dir, "token.key"), "--data", filepath.Join(w.dir, "up")); code != exitOK {
			t.Errorf("check exits with %d: %s%s", code, out, errs)
		}
		t.Logf("%d decisions, of which %d while the history was away", w.total, 200*rounds)
	}
	t.Run("sqlite", func(t *testing.T) { f(t, sqliteOutage(t)) })
	if o := clickhouseOutage(t); o != nil {
		t.Run("clickhouse", func(t *testing.T) { f(t, o) })
	}
}
