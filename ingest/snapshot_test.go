package ingest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
)

// snapshots runs a stream so that several snapshots are left.
func (w *world) snapshots() (names []string, n int64) {
	w.t.Helper()
	n = w.payments(2000, 11, 2)
	r := w.start(func(c *Config) { c.RowsMax, c.SnapshotEvery = 100, 500 })
	r.decided(n)
	r.stop()
	names, err := Snapshots(w.dir)
	if err != nil || len(names) != snapshotsKept {
		w.t.Fatalf("%d snapshots, %v", len(names), err)
	}
	m := r.node.Metrics
	if at := testutil.ToFloat64(m.SnapAt); !strings.Contains(names[0], strconv.Itoa(int(at))) || testutil.ToFloat64(m.SnapEvery) != 500 {
		w.t.Fatalf("the newest snapshot is %s, metrics say %v, every %v", names[0], at, testutil.ToFloat64(m.SnapEvery))
	}
	return names, n
}

// begun returns which snapshot a restore begins with, and what it logs.
func (w *world) begun() (offset int64, log string) {
	w.t.Helper()
	var b bytes.Buffer
	was := w.logTo
	w.logTo = &b
	defer func() { w.logTo = was }()
	f, err := w.node(nil).restore(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.close()
	_, end := w.ends(w.topics.Decisions, 0)
	sameState(w.t, "restored", f.state, w.foldAll(end))
	return f.saved, b.String()
}

// TestASnapshotThatCannotBeUsedIsPassedOverByName spoils the newest snapshot in
// each way; the one before it is used, and the state is the same.
func TestASnapshotThatCannotBeUsedIsPassedOverByName(t *testing.T) {
	w := newWorld(t, "payments", 2)
	names, _ := w.snapshots()
	whole, err := os.ReadFile(names[0])
	w.must(err)
	newest, err := ReadSnapshot(names[0], w.spec, features.Options{}, 0)
	w.must(err)
	second, err := ReadSnapshot(names[1], w.spec, features.Options{}, 0)
	w.must(err)
	written := func(change func(s *State) uint64) []byte {
		s, err := ReadSnapshot(names[0], w.spec, features.Options{}, 0)
		w.must(err)
		var b bytes.Buffer
		w.must(writeState(&b, s, change(s)))
		return b.Bytes()
	}
	other, _ := spec.Builtin("handbook")
	foreign := NewState(other, features.Options{})
	foreign.Chain = newest.Chain
	var ofOther bytes.Buffer
	w.must(writeState(&ofOther, foreign, 0))

	for _, c := range []struct {
		name  string
		bytes []byte
		why   error
	}{
		{"whole", whole, nil},
		{"empty", nil, ErrSnapshotDamaged},
		{"cut in its header", whole[:40], ErrSnapshotDamaged},
		{"cut in its last part", whole[:len(whole)-1], ErrSnapshotDamaged},
		{"cut between two parts", whole[:len(whole)-12], ErrSnapshotDamaged},
		{"bytes behind its end", append(bytes.Clone(whole), 0), ErrSnapshotDamaged},
		{"of another spec", ofOther.Bytes(), ErrSnapshotForeign},
		{"of another key", written(func(*State) uint64 { return 5 }), ErrSnapshotForeign},
		{"of another head", written(func(s *State) uint64 { s.Chain.Head.Writer ^= 1; return 0 }), ErrSnapshotOffPath},
		{"of another batch", written(func(s *State) uint64 { s.Chain.Offset = second.Chain.Offset; return 0 }), ErrSnapshotOffPath},
	} {
		w.must(os.WriteFile(names[0], c.bytes, 0o600))
		from, log := w.begun()
		want := newest.Chain.Offset
		if c.why != nil {
			want = second.Chain.Offset
		}
		if from != want {
			t.Errorf("%s: begins at %d, want %d", c.name, from, want)
		}
		if c.why != nil && !(strings.Contains(log, c.why.Error()) && strings.Contains(log, filepath.Base(names[0]))) {
			t.Errorf("%s: the log does not say %q: %s", c.name, c.why, log)
		}
	}
	// All are spoilt: the ledger is folded from its beginning.
	for _, name := range names {
		w.must(os.WriteFile(name, []byte("nothing"), 0o600))
	}
	if from, _ := w.begun(); from != 0 {
		t.Errorf("begins at %d, want 0", from)
	}
}

// TestEveryFlippedBitOfASnapshotIsFound flips bits at random.
func TestEveryFlippedBitOfASnapshotIsFound(t *testing.T) {
	const seed = 12
	t.Logf("seed %d", seed)
	w := newWorld(t, "payments", 2)
	names, _ := w.snapshots()
	whole, err := os.ReadFile(names[0])
	w.must(err)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range provable(150, 3000) {
		at, bit := r.IntN(len(whole)), r.IntN(8)
		if i < 60 {
			at = i // all of the beginning
		}
		spoilt := bytes.Clone(whole)
		spoilt[at] ^= 1 << bit
		w.must(os.WriteFile(names[0], spoilt, 0o600))
		_, err := ReadSnapshot(names[0], w.spec, features.Options{}, 0)
		if !errors.Is(err, ErrSnapshotDamaged) {
			t.Fatalf("bit %d of byte %d of %d: %v", bit, at, len(whole), err)
		}
	}
}

// TestASnapshotBeyondTheLedgerHalts has a ledger that ends before a snapshot.
func TestASnapshotBeyondTheLedgerHalts(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.snapshots()
	w.anew(w.topics.Decisions)
	w.anew(w.topics.Alerts)
	r := w.start(nil)
	r.halted("ledger_truncated")
}

// TestAFullDiskStopsNothing has snapshots written into a folder that is none.
func TestAFullDiskStopsNothing(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1000, 13, 2)
	r := w.start(func(c *Config) {
		c.RowsMax, c.SnapshotEvery = 50, 200
		c.SnapshotDir = filepath.Join(w.dir, "gone")
	})
	r.decided(n)
	r.until("counts what could not be written", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.SnapErrors) >= 3 })
	r.stop()
	w.verify()
}

// TestLeftoversOfSnapshotsAreRemoved leaves what a killed process leaves.
func TestLeftoversOfSnapshotsAreRemoved(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.must(os.WriteFile(filepath.Join(w.dir, "writing-123"), make([]byte, 1<<10), 0o600))
	w.snapshots()
	entries, err := os.ReadDir(w.dir)
	w.must(err)
	if len(entries) != snapshotsKept {
		t.Fatalf("%d files in the folder, want %d", len(entries), snapshotsKept)
	}
}

// TestSnapshotsComeThoughOwnershipsAreShort restarts a node more often than a
// snapshot is due: what was folded at a start counts.
func TestSnapshotsComeThoughOwnershipsAreShort(t *testing.T) {
	w := newWorld(t, "payments", 2)
	n := w.payments(1200, 14, 2)
	set := func(c *Config) { c.RowsMax, c.SnapshotEvery = 50, 500 }
	for i := int64(1); i <= 4; i++ {
		r := w.start(set)
		r.decided(n * i / 4)
		if i == 4 {
			r.until("writes a snapshot", func(Status) bool { names, _ := Snapshots(w.dir); return len(names) > 0 })
		}
		r.stop()
	}
	w.verify()
}

// TestTheMetricsOfSnapshotsAreRight compares what is served with the files and
// the log.
func TestTheMetricsOfSnapshotsAreRight(t *testing.T) {
	w := newWorld(t, "payments", 2)
	var log bytes.Buffer
	n := w.payments(2000, 15, 2)
	w.logTo = &log
	registry := prometheus.NewRegistry()
	began := time.Now()
	r := w.start(func(c *Config) { c.RowsMax, c.SnapshotEvery, c.Metrics = 100, 300, NewMetrics(registry) })
	r.decided(n)
	r.stop()
	values, counts := make(map[string]float64), make(map[string]uint64) // those of a histogram: its sum and count
	families, err := registry.Gather()
	w.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values[f.GetName()] = m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
			counts[f.GetName()] = m.GetHistogram().GetSampleCount()
		}
	}
	names, err := Snapshots(w.dir)
	w.must(err)
	info, err := os.Stat(names[0])
	w.must(err)
	if got := values["weir_snapshot_bytes"]; got != float64(info.Size()) {
		t.Errorf("weir_snapshot_bytes is %v, the file has %d", got, info.Size())
	}
	if got := values["weir_snapshot_timestamp_seconds"]; got < float64(began.Unix()) || got > float64(time.Now().Unix()) {
		t.Errorf("weir_snapshot_timestamp_seconds is %v, begun at %d", got, began.Unix())
	}
	took, written := time.Since(began).Seconds(), uint64(strings.Count(log.String(), "snapshot written"))
	if n, sum := counts["weir_snapshot_seconds"], values["weir_snapshot_seconds"]; written < 3 || n != written || !(sum > 0 && sum < took) {
		t.Errorf("weir_snapshot_seconds counts %d of %d snapshots, %v s of %v", n, written, sum, took)
	}
	// Once to begin it, and at least once to make its parts, but for the last one:
	// a node that stops stands still anyway.
	if n, sum := counts["weir_snapshot_pause_seconds"], values["weir_snapshot_pause_seconds"]; n < 2*written-1 || !(sum > 0 && sum < took) {
		t.Errorf("weir_snapshot_pause_seconds counts %d pauses of %d snapshots, %v s of %v", n, written, sum, took)
	}
	if got, exists := values["weir_snapshot_errors_total"]; !exists || testutil.ToFloat64(r.node.Metrics.SnapErrors) != 0 {
		t.Errorf("weir_snapshot_errors_total is served: %v, %v", exists, got)
	}
}
