package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// TestUpgrade replaces two scorers of an earlier version by this one, one after the other
// and while a bank pays, on real Kafka: what the old ones decided, with a model that the
// old version learnt, and what the new ones do is one ledger in which nothing is lost,
// doubled or different. It prints how long decisions took meanwhile.
func TestUpgrade(t *testing.T) {
	if os.Getenv("WEIR_KAFKA") == "" {
		t.Skip("needs a real broker: make integration has one")
	}
	u := &upgrade{crashWorld: newCrashWorld(t, os.Getenv("WEIR_KAFKA")), old: earlierWeir(t)}
	u.rate, u.seconds = int64(sizeOf(20_000, 3_000, 0)), int64(sizeOf(15, 3, 0))
	u.learn()
	u.folders("one", "two")
	one := u.scorer(u.old, "one")
	two := u.scorer(u.old, "two")
	u.promote()
	load := start(t, "simulate", "--kafka", u.brokers, "--topic-prefix", u.prefix("upgrade"), "--rate", fmt.Sprint(u.rate),
		"--customers", "50000", "--days", "60", "--partitions", "4", "--seed", fmt.Sprint(u.seed), "--json")
	u.flow(two, "the old version decides")

	u.began = time.Now()
	one.stop()
	u.flow(two, "one old scorer decides alone")
	one = u.scorer(os.Args[0], "one")
	u.restored(one)
	u.flow(one, "an old and a new scorer")
	two.stop()
	u.flow(one, "one new scorer decides alone")
	two = u.scorer(os.Args[0], "two")
	u.restored(two)
	u.ended = time.Now()

	u.flow(two, "the new version decides")
	var sent struct{ Transactions int64 }
	lastLine(t, load.stop(), &sent)
	u.total = sent.Transactions
	for done := u.sourceDecided("upgrade"); done < u.total; done = u.sourceDecided("upgrade") { // a machine that is behind takes its time, and goes on
		two.until("more decisions", func() bool { return u.sourceDecided("upgrade") > done })
	}
	one.stop()
	two.stop()
	u.took()
	u.proved()
}

// upgrade is one run of the test.
type upgrade struct {
	*crashWorld
	old           string // the program
	rate, seconds int64  // transactions a second, and how long each stage lasts
	began, ended  time.Time
}

// earlierWeir builds the earlier version, or skips the test where its source is not here.
func earlierWeir(t *testing.T) string {
	t.Helper()
	build := exec.Command(filepath.Join("..", "..", "deploy", "upgrade", "build"))
	var said bytes.Buffer
	build.Stderr = &said
	out, err := build.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && os.Getenv("WEIR_PROVE") == "" {
		t.Skipf("%s", said.String())
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// file names a file in the world's folder.
func (u *upgrade) file(name string) string { return filepath.Join(u.dir, name) }

// weir runs a command of the earlier version to its end.
func (u *upgrade) weir(args ...string) []byte {
	u.t.Helper()
	c := exec.Command(u.old, args...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		u.t.Fatalf("weir %s of the earlier version: %v: %s", args[0], err, said.String())
	}
	return out
}

// learn has the earlier version learn a model, by the spec as that version had it.
func (u *upgrade) learn() {
	u.t.Helper()
	u.t.Logf("from %s", strings.TrimSpace(string(u.weir("version", "--json"))))
	if err := os.WriteFile(u.file("bank.spec"), u.weir("check", "--spec", "payments", "--print"), 0o600); err != nil {
		u.t.Fatal(err)
	}
	u.weir("simulate", "--days", "30", "--customers", "1000", "--seed", fmt.Sprint(u.seed),
		"--output", u.file("tx.jsonl"), "--labels", u.file("labels.jsonl"), "--rates", u.file("rates.jsonl"))
	u.weir("train", "--spec", u.file("bank.spec"), "--input", u.file("tx.jsonl"), "--labels", u.file("labels.jsonl"), "--rates", u.file("rates.jsonl"),
		"--ripe", "5d", "--key", u.file("signing.key"), "--token-key-file", u.file("token.key"), "--out", u.file("model.weir"))
}

// promote has the earlier version make its model the champion.
func (u *upgrade) promote() {
	u.t.Helper()
	u.weir("model", "promote", "--kafka", u.brokers, "--topic-prefix", u.prefix("upgrade"), "--key", u.file("signing.key"),
		"--trust", u.file("signing.key.pub"), u.file("model.weir"))
}

// folders makes the scorers' folders, and the topics as the earlier version makes them;
// then weir migrate of this version has the broker stamp what comes and what is decided,
// so that one clock says how long a decision took.
func (u *upgrade) folders(names ...string) {
	u.t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(u.file(name), 0o700); err != nil {
			u.t.Fatal(err)
		}
	}
	u.scorer(u.old, "first").stop()
	text := call(u.t.(*testing.T), "migrate", "--kafka", u.brokers, "--topic-prefix", u.prefix("upgrade"),
		"--topic-setting", "transactions:message.timestamp.type=LogAppendTime", "--topic-setting", "decisions:message.timestamp.type=LogAppendTime").succeeds(u.t.(*testing.T)).stdout
	u.t.Logf("weir migrate, of the earlier version's topics:\n%s", text)
}

// scorer starts a scorer and waits until it is ready.
func (u *upgrade) scorer(program, folder string) *process {
	u.t.Helper()
	p := startProgram(u.t, program, "score", "--kafka", u.brokers, "--topic-prefix", u.prefix("upgrade"), "--group", u.prefix("upgrade")+"score",
		"--partitions", "4", "--spec", u.file("bank.spec"), "--data", u.file(folder), "--trust", u.file("signing.key.pub"), "--token-key-file", u.file("token.key"),
		"--listen", "127.0.0.1:0", "--log", "json", "--json")
	p.until("address", func() bool { return p.said("serves metrics") != nil })
	at := "http://" + p.said("serves metrics")["address"].(string) + "/readyz"
	p.until("ready", func() bool {
		code, _ := get(u.t, at)
		return code == 200
	})
	return p
}

// restored holds a scorer to having gone on from the snapshot that the other version left.
func (u *upgrade) restored(p *process) {
	u.t.Helper()
	if p.said("snapshot read") == nil || p.said("snapshot passed over") != nil {
		u.t.Errorf("the new version did not go on from the old one's snapshot:\n%s", p.logged())
	}
}

// flow waits until so many are decided as are sent in a stage.
func (u *upgrade) flow(p *process, stage string) {
	u.t.Helper()
	began, from := time.Now(), u.decided("upgrade")
	p.until("decisions", func() bool { return u.decided("upgrade")-from >= u.rate*u.seconds })
	u.t.Logf("%-32s %d decisions in %.1f s", stage, u.decided("upgrade")-from, time.Since(began).Seconds())
}

// took says how long decisions took, by the broker's clock: from a transaction's arrival
// in the log to its decision's.
func (u *upgrade) took() {
	u.t.Helper()
	r := kafka.NewLedgerReader(u.log, u.topics("upgrade").Decisions, 0, schemas.Anchor{})
	end := u.decided("upgrade")
	var stages [3][]int64 // before, during, after
	var last, pause int64
	for r.Position() < end {
		b, err := r.Next(u.t.Context(), end)
		if err != nil {
			u.t.Fatal(err)
		}
		if b == nil {
			break
		}
		stage := 0
		switch {
		case b.Timestamp >= u.ended.UnixMilli():
			stage = 2
		case b.Timestamp >= u.began.UnixMilli():
			stage, pause = 1, max(pause, b.Timestamp-last)
		}
		last = b.Timestamp
		var e schemas.Entry
		for _, value := range b.Values {
			if err := schemas.ParseEntry(value, &e); err != nil {
				u.t.Fatal(err)
			}
			if b.Taken && e.Kind == schemas.EntryDecision {
				stages[stage] = append(stages[stage], b.Timestamp-e.Decision.Place.Timestamp)
			}
		}
	}
	for i, name := range []string{"before", "during", "after"} {
		ms := stages[i]
		if len(ms) == 0 {
			u.t.Fatalf("no decisions %s the upgrade", name)
		}
		slices.Sort(ms)
		at := func(share float64) int64 { return ms[int(share*float64(len(ms)-1))] }
		u.t.Logf("%-6s the upgrade: %8d decisions, p50 %d ms, p99 %d ms, p99.9 %d ms, longest %d ms", name, len(ms), at(.5), at(.99), at(.999), ms[len(ms)-1])
	}
	u.t.Logf("longest time without a decision during it: %d ms; it took %.1f s", pause, u.ended.Sub(u.began).Seconds())
}

// proved has weir verify of this version prove the ledger.
func (u *upgrade) proved() {
	u.t.Helper()
	out := call(u.t.(*testing.T), "verify", "--kafka", u.brokers, "--topic-prefix", u.prefix("upgrade"), "--spec", u.file("bank.spec"),
		"--trust", u.file("signing.key.pub"), "--token-key-file", u.file("token.key"), "--json").succeeds(u.t.(*testing.T)).stdout
	var r struct {
		SourceRecords int64 `json:"source_records"`
		Decisions     int64 `json:"decisions"`
		Scored        int64 `json:"scored"`
		Lost          int64 `json:"lost"`
		Doubled       int64 `json:"doubled"`
		Different     int64 `json:"different"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		u.t.Fatalf("%v: %s", err, out)
	}
	if r.SourceRecords != u.total || r.Decisions != u.total || r.Lost+r.Doubled+r.Different != 0 || r.Scored < u.total/2 {
		u.t.Errorf("of %d transactions: %s", u.total, out)
	}
	u.t.Logf("weir verify: %s", strings.TrimSpace(out))
}
