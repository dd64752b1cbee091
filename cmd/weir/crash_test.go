package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// sizeOf returns how much of a proof to run: the whole of it where WEIR_PROVE is
// set, a part on real servers, and a small one in go test.
func sizeOf(whole, part, small int) int {
	switch {
	case os.Getenv("WEIR_PROVE") != "":
		return whole
	case os.Getenv("WEIR_KAFKA") != "":
		return part
	}
	return small
}

// briefly is a number, and a smaller one where tests are to be short: under the race
// detector everything takes ten times as long.
func briefly(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// A crashWorld is a broker with a bank's records in it, twice under two
// prefixes: one for the run that is killed, one for the run that is not.
type crashWorld struct {
	t       testing.TB
	command string // score or up
	brokers string
	log     *kafka.Client
	dir     string
	seed    uint64
	r       *rand.Rand
	total   int64
	now     int64
	share   int64 // records between two kills
	least   int   // kills that each phase should have
	// snapshotEvery makes a snapshot some times between two kills.
	snapshotEvery int64
	hits          map[ingest.Phase]int
	halves        map[string]bool // files of snapshots that a kill left half written
	hidden        []int           // layers of the champion
	model         uint64          // its seed
	policy        scoring.Policy  // its operating point
	spec          string          // a built-in one, or a file
}

func newCrashWorld(t testing.TB, brokers string) *crashWorld {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d (WEIR_SEED)", seed)
	w := &crashWorld{t: t, command: "score", spec: "payments", brokers: brokers, hidden: []int{32}, dir: t.TempDir(), seed: seed, model: seed, now: time.Now().UnixMilli(), r: rand.New(rand.NewPCG(seed, 1)), hits: make(map[ingest.Phase]int), halves: make(map[string]bool),
		policy: scoring.Policy{Review: 0.6, Block: 0.9, Explore: 0.001, ExploreKey: [16]byte{1}}}
	if _, err := signingKey(w.dir); err != nil {
		t.Fatal(err)
	}
	if err := makeTokenKey(filepath.Join(w.dir, "token.key")); err != nil {
		t.Fatal(err)
	}
	if brokers != "" {
		w.log = kafka.New(kafka.Options{Brokers: []string{brokers}})
	}
	t.Cleanup(func() { w.log.Close() })
	return w
}

func kafkaForTest(t testing.TB) string {
	if addr := os.Getenv("WEIR_KAFKA"); addr != "" {
		return addr
	}
	b, err := broker.Start(broker.Options{Session: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.Addr()
}

// prefix begins the names of a run's topics.
func (w *crashWorld) prefix(run string) string { return fmt.Sprintf("crash%x.%s.", w.seed, run) }

func (w *crashWorld) topics(run string) schemas.Topics { return schemas.DefaultTopics(w.prefix(run)) }

// load makes the topics of runs and puts n transactions, their labels, the
// rates and a champion into each.
func (w *crashWorld) load(n int, partitions int, runs ...string) {
	w.t.Helper()
	ctx := w.t.Context()
	for _, run := range runs {
		topics := w.topics(run)
		if err := w.log.Ensure(ctx, topics.Layouts(partitions)); err != nil {
			w.t.Fatal(err)
		}
		f := w.feed(topics)
		for f.total < int64(n) {
			f.drawHour(min(2000, n-int(f.total)))
			if err := f.flush(ctx); err != nil {
				w.t.Fatal(err)
			}
		}
		w.champion(topics)
	}
	w.total = int64(n)
}

// feed returns the world's bank at the beginning of its days, with its rates in
// the topic. Each feed of a world writes the same records.
func (w *crashWorld) feed(topics schemas.Topics) *feed {
	w.t.Helper()
	ctx := w.t.Context()
	cfg := simulate.DefaultConfig()
	cfg.Seed, cfg.Customers, cfg.Days = w.seed, 2000, 0
	cfg.Merchants, cfg.Terminals, cfg.Devices = 400, 600, 3000
	cfg.Start = time.UnixMilli(w.now).UTC().Truncate(24*time.Hour).AddDate(-2, 0, 0)
	bank, err := simulate.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := newFeed(ctx, bank, w.log, topics)
	if err != nil {
		w.t.Fatal(err)
	}
	// One time for all, so that both runs have the same records; now, because
	// Kafka deletes what is older than its retention at once.
	f.now = func() int64 { return w.now }
	if err := f.rates(ctx, &cfg); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// champion publishes a random network, signed by the key in the world's folder,
// and leaves its file there.
func (w *crashWorld) champion(topics schemas.Topics) {
	w.t.Helper()
	s, err := loadSpec(w.spec)
	if err != nil {
		w.t.Fatal(err)
	}
	names := s.FeatureNames()
	b := &scoring.Bundle{Name: "random", Spec: scoring.SpecText{Name: s.Name, Text: s.Text, Hash: s.Hash}, Features: names,
		Model: trainer.RandomModel(w.model, append(append([]int{len(names)}, w.hidden...), 1)...), Policy: w.policy, Calibration: scoring.Calibration{A: 1, B: 1}}
	scorer, err := cpu.New(b.Model)
	if err != nil {
		w.t.Fatal(err)
	}
	rows := make([]float32, 16*len(names))
	for i := range rows {
		rows[i] = float32(i % 7)
	}
	if err := b.SetSelfTest(scorer, scoring.Matrix{Data: rows, Rows: 16, Cols: len(names)}); err != nil {
		w.t.Fatal(err)
	}
	key, err := signingKey(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	data, sealed, err := trainer.Seal(b, key)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, "champion.weir"), data, 0o600)
	}
	if err == nil {
		err = ingest.PublishBundle(w.t.Context(), w.log, topics, data, sealed.Hash, "champion", ingest.Slot{By: "test", Reason: "test"}, key, time.Now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// decided returns how many records the ledger of a run holds.
func (w *crashWorld) decided(run string) int64 {
	_, end, err := w.log.Offsets(w.t.Context(), w.topics(run).Decisions, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return end
}

// score starts weir score in a data folder of its own, or of another's.
func (w *crashWorld) score(run, folder string) *process {
	w.t.Helper()
	data := filepath.Join(w.dir, folder)
	if err := os.MkdirAll(data, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return start(w.t, append(w.flags(run, data), "--kafka", w.brokers)...)
}

// flags are what score and up take here.
func (w *crashWorld) flags(run, data string) []string {
	flags := []string{w.command, "--spec", w.spec, "--topic-prefix", w.prefix(run), "--group", w.prefix(run) + "score", "--data", data,
		"--trust", filepath.Join(w.dir, "signing.key.pub"), "--token-key-file", filepath.Join(w.dir, "token.key"), "--listen", "127.0.0.1:0",
		"--session", "1s", "--snapshot-every", fmt.Sprint(w.snapshotEvery), "--rows-max", "500", "--log", "json", "--json"}
	if w.command == "up" {
		flags = append(flags, "--web", "127.0.0.1:0")
	}
	return flags
}

// up starts weir up, broker and all, and connects to its broker.
func (w *crashWorld) up() *process {
	w.t.Helper()
	p := start(w.t, append(w.flags("up", filepath.Join(w.dir, "up")), "--partitions", "4")...)
	p.until("broker", func() bool { return p.said("broker") != nil })
	if w.log != nil {
		w.log.Close()
	}
	w.brokers = p.said("broker")["address"].(string)
	w.log = kafka.New(kafka.Options{Brokers: []string{w.brokers}})
	return p
}

// everyPhase is each phase that a kill has to hit.
var everyPhase = []ingest.Phase{ingest.Joining, ingest.Fetching, ingest.Stepping, ingest.Unacknowledged, ingest.Unalerted, ingest.Snapshotting}

// wanted is the phase for the next kill: any moment half of the time, else one
// that was hit least.
func (w *crashWorld) wanted() ingest.Phase {
	if w.r.IntN(2) == 0 && w.missing(w.least) == 0 {
		return 0
	}
	least := everyPhase[w.r.IntN(len(everyPhase))]
	for _, p := range everyPhase {
		if w.hits[p] < w.hits[least] {
			least = p
		}
	}
	return least
}

// missing counts the phases that were hit less often than that.
func (w *crashWorld) missing(least int) (n int) {
	for _, p := range everyPhase {
		if w.hits[p] < least {
			n++
		}
	}
	return n
}

// killAt kills the process in a phase, once the ledger of the run has come to
// at, and notes what it interrupted.
func (w *crashWorld) killAt(p *process, run string, at int64, phase ingest.Phase) {
	w.t.Helper()
	if phase == ingest.Joining {
		// One that was a standby has joined long ago.
		p.until("joining", func() bool { return p.phases() != 0 })
		time.Sleep(time.Duration(w.r.IntN(100)) * time.Millisecond)
	} else {
		p.until("progress", func() bool { return w.decided(run) >= at })
		// A phase that does not come soon is not waited for: the records are for
		// other kills too.
		enough := make(chan struct{})
		go func() { // ends with enough records, at the latest with the test's own patience
			defer close(enough)
			for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
				// The broker may be killed with the scorer.
				if _, end, err := w.log.Offsets(w.t.Context(), w.topics(run).Decisions, 0); err != nil || end >= at+w.share {
					return
				}
			}
		}()
		for waiting := phase != 0; waiting && p.phases()&phase == 0; {
			select {
			case <-enough:
				waiting = false
			default:
			}
		}
		defer func() { <-enough }()
		if phase == ingest.Snapshotting {
			time.Sleep(time.Duration(w.r.IntN(3000)) * time.Microsecond) // at any point of its file
		}
	}
	p.kill()
	left, _ := filepath.Glob(filepath.Join(w.dir, "*", "snapshots", "writing-*"))
	for _, name := range left { // until the next snapshot is begun
		w.halves[name] = true
	}
	for _, x := range everyPhase {
		if p.phases()&x != 0 {
			w.hits[x]++
		}
	}
}

// finish lets a run come to its end and returns what it says then.
func (w *crashWorld) finish(p *process, run string) stopReport {
	w.t.Helper()
	var r stopReport
	p.until("the end of the stream", func() bool { return w.progress(run) == w.total })
	out := strings.TrimSpace(p.stop())
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &r); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return r
}

// progress counts the decisions of a run's ledger, of all its shards.
func (w *crashWorld) progress(run string) (n int64) {
	w.t.Helper()
	about, err := w.log.Describe(w.t.Context(), w.topics(run).Decisions)
	if err != nil {
		w.t.Fatal(err)
	}
	for shard := range int32(about.Partitions) {
		for _, v := range w.recordsOf(run, shard) {
			var e schemas.Entry
			if err := schemas.ParseEntry(v, &e); err != nil {
				w.t.Fatal(err)
			}
			if e.Kind == schemas.EntryDecision {
				n++
			}
		}
	}
	return n
}

// sourceDecided is how many source records of a run are decided, by what the owner
// commits: known at once, whatever the length of the ledger.
func (w *crashWorld) sourceDecided(run string) (n int64) {
	w.t.Helper()
	offsets, err := w.log.Committed(w.t.Context(), ingest.ProgressGroup(w.prefix(run)+"score"), w.topics(run).Transactions, 4)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, next := range offsets {
		n += next
	}
	return n
}

// records returns the ledger's records that were taken, save the first, which
// names the source topic's own id.
func (w *crashWorld) records(run string) [][]byte { return w.recordsOf(run, 0) }

func (w *crashWorld) recordsOf(run string, shard int32) (records [][]byte) {
	w.t.Helper()
	r := kafka.NewLedgerReader(w.log, w.topics(run).Decisions, shard, schemas.Anchor{})
	_, end, err := w.log.Offsets(w.t.Context(), w.topics(run).Decisions, shard)
	for err == nil && r.Position() < end {
		var b *kafka.LedgerBatch
		if b, err = r.Next(w.t.Context(), end); b == nil {
			break
		}
		for _, v := range b.Values {
			if b.Taken {
				records = append(records, bytes.Clone(v))
			}
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if len(records) == 0 {
		return nil
	}
	return records[1:]
}

// alerts returns the alerts as a reader of the topic takes them, without their
// place in the ledger.
func (w *crashWorld) alerts(run string) (alerts []string) {
	w.t.Helper()
	topic := w.topics(run).Alerts
	_, end, err := w.log.Offsets(w.t.Context(), topic, 0)
	last := int64(-1)
	r := kafka.NewReader(w.log, topic, 0, 0)
	for err == nil {
		var records *kafka.Records
		if records, err = r.Next(w.t.Context(), end); records == nil {
			break
		}
		for records.Next() {
			var a map[string]any
			if err := json.Unmarshal(records.Record().Value, &a); err != nil {
				w.t.Fatal(err)
			}
			offset := int64(a["ledger"].(map[string]any)["offset"].(float64))
			if offset <= last {
				continue
			}
			last = offset
			delete(a, "ledger")
			delete(a, "id")
			text, _ := json.Marshal(a)
			alerts = append(alerts, string(text))
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return alerts
}

// compare holds the run that was killed to the one that was not.
func (w *crashWorld) compare(killed, calm string) {
	w.t.Helper()
	got, want := w.records(killed), w.records(calm)
	if len(got) != len(want) {
		w.t.Errorf("%d ledger records after kills, %d without", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			w.t.Errorf("ledger record %d differs from that of the run without kills", i)
			break
		}
	}
	a, b := w.alerts(killed), w.alerts(calm)
	if len(a) != len(b) || len(a) == 0 {
		w.t.Errorf("%d alerts after kills, %d without", len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			w.t.Errorf("alert %d differs:\n%s\n%s", i, a[i], b[i])
			break
		}
	}
}

// verified runs weir verify over a run.
func (w *crashWorld) verified(brokers, run string) (r ingest.Report) {
	w.t.Helper()
	var out, stderr bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }}
	code := run2(w, e, brokers, run)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		w.t.Fatalf("%v: %s%s", err, out.String(), stderr.String())
	}
	if code != exitOK || r.SourceRecords != w.total || r.Decisions != w.total || r.Lost+r.Doubled+r.Different+r.Approximate != 0 {
		w.t.Errorf("verify exits with %d: %s%s", code, out.String(), stderr.String())
	}
	w.t.Logf("verify: %s", bytes.TrimSpace(out.Bytes()))
	return r
}

func run2(w *crashWorld, e *env, brokers, name string) int {
	return run(w.t.Context(), []string{"verify", "--kafka", brokers, "--spec", w.spec, "--topic-prefix", w.prefix(name), "--trust", filepath.Join(w.dir, "signing.key.pub"), "--json"}, e)
}

// hit says which phases the kills hit, and fails where one was hit too rarely.
func (w *crashWorld) hit(least int) {
	w.t.Helper()
	for _, p := range everyPhase {
		w.t.Logf("killed during %-32s %d times", p, w.hits[p])
		if w.hits[p] < least {
			w.t.Errorf("%d kills hit the phase %q, want %d", w.hits[p], p, least)
		}
	}
	w.t.Logf("snapshots left half written: %d", len(w.halves))
	if len(w.halves) == 0 && least > 1 {
		w.t.Error("no kill left a snapshot half written")
	}
}

// TestKillsLoseNothingAndDoubleNothing kills weir score at random moments, half
// of the time with a standby beside it that takes over, and holds the ledger and
// the alerts to a run without kills.
func TestKillsLoseNothingAndDoubleNothing(t *testing.T) {
	w := newCrashWorld(t, kafkaForTest(t))
	kills, least := sizeOf(50, 24, briefly(7, 6)), sizeOf(3, 1, 1)
	n := sizeOf(1_000_000, 100_000, briefly(24_000, 12_000))
	w.share, w.least = int64(n/(2*kills+2)), least
	w.snapshotEvery = w.share / 3
	w.load(n, 4, "killed", "calm")
	calm := w.score("calm", "calm")
	owner := w.score("killed", "one")
	var standby *process
	other := 0
	// Where a phase was hit too rarely there are records left for some more.
	for k := 0; k < kills || w.missing(least) > 0 && k < 2*kills; k++ {
		phase := w.wanted()
		w.killAt(owner, "killed", w.share*int64(k)+w.r.Int64N(w.share/2), phase)
		if standby != nil {
			owner, standby = standby, nil
			continue
		}
		owner = w.score("killed", []string{"one", "two"}[other])
		if w.r.IntN(2) == 0 {
			other = 1 - other
			standby = w.score("killed", []string{"one", "two"}[other])
		}
	}
	if standby != nil {
		standby.until("standing by", func() bool { return standby.phases()&ingest.Joining != 0 })
		standby.stop()
	}
	w.finish(owner, "killed")
	w.finish(calm, "calm")
	w.hit(least)
	w.verified(w.brokers, "killed")
	w.compare("killed", "calm")
}

// TestKillsOfAllRolesLoseNothing kills weir up, the broker with the scorer. The
// stream is in the broker's folder before weir begins, so that all kills but
// those while it joins hit a weir that decides.
func TestKillsOfAllRolesLoseNothing(t *testing.T) {
	w := newCrashWorld(t, "")
	w.command = "up"
	kills, least := sizeOf(10, 10, 4), sizeOf(1, 0, 0) // four kills do not meet six phases
	w.least = least
	n := sizeOf(1_000_000, 100_000, briefly(20_000, 8_000))
	w.share = int64(n / (2*kills + 2))
	w.snapshotEvery = w.share / 3
	w.preload(n, "up")
	p := w.up()
	for k := 0; k < kills || w.missing(least) > 0 && k < 2*kills; k++ {
		w.killAt(p, "up", w.share*int64(k)+w.r.Int64N(w.share/2), w.wanted())
		p = w.up()
	}
	p.until("the end of the stream", func() bool { return w.progress("up") == w.total })
	w.hit(least)
	w.verified(w.brokers, "up")
	alerts := int64(len(w.alerts("up")))
	p.until("alerts", func() bool { alerts = int64(len(w.alerts("up"))); return alerts >= w.called("up") })
	if want := w.called("up"); alerts != want {
		t.Errorf("%d alerts, %d decisions call for one", alerts, want)
	}
	p.stop()
}

// preload puts the records of a run into the folder of the broker inside weir up.
func (w *crashWorld) preload(n int, run string) {
	w.t.Helper()
	b, err := broker.Start(broker.Options{Dir: filepath.Join(w.dir, "up", "broker")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	w.load(n, 4, run)
	b.Close()
}

// called counts the decisions of a run that call for an alert.
func (w *crashWorld) called(run string) (n int64) {
	for _, v := range w.records(run) {
		var e schemas.Entry
		if err := schemas.ParseEntry(v, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Kind == schemas.EntryDecision && e.Decision.Action != schemas.Allow {
			n++
		}
	}
	return n
}
