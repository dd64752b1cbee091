package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
)

// TestMigrate makes topics and schema by one command, on real Kafka and ClickHouse where
// there are: a plan first, then all of it, then nothing more.
func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	where := clickhouseDatabase(t)
	if where == "" {
		where = filepath.Join(dir, "history.db")
	}
	prefix := fmt.Sprintf("m%x.", rand.Uint64())
	args := []string{"migrate", "--kafka", kafkaForTest(t), "--topic-prefix", prefix, "--history", where, "--data", dir}
	run := func(extra ...string) (r migrateReport) {
		t.Helper()
		out := call(t, append(append([]string{}, args...), append(extra, "--json")...)...).succeeds(t).stdout
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r
	}
	there := func(r migrateReport) (n int) {
		for _, p := range r.Topics {
			if p.There {
				n++
			}
		}
		return n
	}
	for range 2 {
		if r := run("--dry-run"); there(r) != 0 || len(r.Topics) != 9 || len(r.Applied) != 6 || r.Changes != 15 || !r.DryRun {
			t.Fatalf("a plan of nothing there: %+v", r)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "history.db")); err == nil {
		t.Error("planning has made a history")
	}
	text := call(t, append(args, "--dry-run")...).succeeds(t).stdout
	for _, want := range []string{"create   " + prefix + "decisions", "cleanup.policy=delete max.message.bytes=4194304 retention.ms=-1", "8 partitions", "0006_", "15 changes to make; nothing was done"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, text)
		}
	}
	if r := run("--partitions", "3"); r.Changes != 15 || len(r.Applied) != 6 {
		t.Fatalf("the first time: %+v", r)
	}
	if r := run(); r.Changes != 0 || there(r) != 9 || len(r.Applied) != 0 || r.Topics[0].Partitions != 3 || r.Topics[8].Partitions != 3 {
		t.Fatalf("the second time: %+v", r)
	}
	if text := call(t, args...).succeeds(t).stdout; !strings.Contains(text, "nothing to do") {
		t.Errorf("the third time:\n%s", text)
	}
	// What would lose data is refused, and nothing beside it is done.
	call(t, append(args, "--partitions", "2")...).fails(t, exitFailed, "3 partitions and 2 are asked for", "nothing was changed")
	call(t, append(args, "--topic-setting", "labels:retention.ms=1000", "--topic-setting", "audit:segment.bytes=1048576")...).
		fails(t, exitFailed, prefix+"labels: retention.ms is -1 (for ever)", "nothing was changed")
	if r := run("--topic-setting", "audit:segment.bytes=1048576"); r.Changes != 1 {
		t.Errorf("a setting that was asked for beside a refused one is there: %+v", r)
	}
	call(t, append(args, "--topic-setting", "ledger:retention.ms=1")...).fails(t, exitUsage, "none of weir's topics", "decisions")
	call(t, append(args, "--topic-setting", "labels=1")...).fails(t, exitUsage, "is not TOPIC:SETTING=VALUE")
}

// TestMigrateRefusesAHistoryOfTheFuture has a history that a later weir has written: the
// topics beside it are not made either.
func TestMigrateRefusesAHistoryOfTheFuture(t *testing.T) {
	dir := t.TempDir()
	call(t, "migrate", "--data", dir).succeeds(t)
	later(t, filepath.Join(dir, "history.db"))
	prefix := fmt.Sprintf("m%x.", rand.Uint64())
	args := []string{"migrate", "--kafka", kafkaForTest(t), "--topic-prefix", prefix, "--data", dir}
	call(t, args...).fails(t, exitFailed, history.ErrNewer.Error())
	call(t, append(args, "--dry-run")...).fails(t, exitFailed, history.ErrNewer.Error())
	text := call(t, append(args[:len(args)-1:len(args)-1], t.TempDir(), "--dry-run")...).succeeds(t).stdout
	if strings.Count(text, "create ") != 9 || !strings.Contains(text, "none is named") {
		t.Errorf("topics were made beside a history that was refused:\n%s", text)
	}
}

// later makes a history one of a weir that knows more.
func later(t *testing.T, name string) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO migrations (version, name) VALUES (99, '0099_later')"); err != nil {
		t.Fatal(err)
	}
}
