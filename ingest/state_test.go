package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/schemas"
)

// TestStateIsAFunctionOfTheLedger decides a stream with labels, rates, late and
// repeated records while a standby folds the ledger as it is written. The owner's
// own snapshots, the standby, and folds that begin at the ledger's start and at
// snapshots made at random points hold the same bytes at the same offset.
func TestStateIsAFunctionOfTheLedger(t *testing.T) {
	const seed = 4
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, "payments", 2)
	w.challenge()
	n := w.payments(int(6000*provable(1, 20)), seed, 2)
	w.repeat(r, 200)
	n += 200
	standby := w.follow()
	run := w.start(func(c *Config) { c.RowsMax, c.SnapshotEvery = 64, int64(700*provable(1, 20)) })
	run.decided(n)
	run.stop()
	_, end := w.ends(w.topics.Decisions, 0)
	whole := w.foldAll(end)
	sameState(t, "the standby", standby.stop(end), whole)
	if c := whole.Counts; c.Labels == 0 || c.Outcomes[schemas.Duplicate] < 50 || whole.Rates.Len() == 0 {
		t.Fatalf("the stream is not what it should be: %+v", c)
	}
	late := 0
	for _, v := range w.ledger() {
		var e schemas.Entry
		if err := schemas.ParseEntry(v, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == schemas.EntryDecision && e.Decision.Flags&schemas.Late != 0 {
			late++
		}
	}
	if late == 0 {
		t.Fatal("no record came late")
	}

	names, err := Snapshots(w.dir)
	if err != nil || len(names) != snapshotsKept {
		t.Fatalf("the owner left %d snapshots, %v", len(names), err)
	}
	for _, name := range names {
		w.fromSnapshot(name, end, whole)
	}
	// Ends of batches, at random; each fold goes on from a snapshot of the one before.
	dir, s := t.TempDir(), NewState(w.spec, features.Options{})
	for s.Chain.Offset < end {
		w.foldOn(s, min(end, s.Chain.Offset+1+r.Int64N(end/8)))
		name, err := saved(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = ReadSnapshot(name, w.spec, features.Options{}, 0); err != nil {
			t.Fatal(err)
		}
		w.fromSnapshot(name, end, whole)
	}
	sameState(t, "through snapshots", s, whole)
}

// fromSnapshot sees that a snapshot holds the bytes of the fold up to where it
// was made, and that the fold goes on from it to the same state.
func (w *world) fromSnapshot(name string, end int64, whole *State) {
	w.t.Helper()
	s, err := ReadSnapshot(name, w.spec, features.Options{}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	again := w.foldAll(s.Chain.Offset)
	sameState(w.t, "a snapshot", s, again)
	copied, err := saved(w.t.TempDir(), again)
	if err != nil {
		w.t.Fatal(err)
	}
	a, errA := os.ReadFile(name)
	b, errB := os.ReadFile(copied)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		w.t.Fatalf("snapshot %s has other bytes than one of the fold (%v, %v)", filepath.Base(name), errA, errB)
	}
	w.foldOn(s, end)
	sameState(w.t, "the fold from a snapshot", s, whole)
}

// saved writes a snapshot of a state that stands still.
func saved(dir string, s *State) (string, error) {
	header, err := headerOf(s, 0)
	if err != nil {
		return "", err
	}
	parts := make(chan []byte, features.Parts)
	for p := range features.Parts {
		parts <- s.Engine.AppendPart(nil, p)
	}
	close(parts)
	name, _, err := writeSnapshot(dir, s.Chain.Offset, header, parts, nil)
	return name, err
}

// repeat sends some of the records of partition 0 a second time.
func (w *world) repeat(r *rand.Rand, n int) {
	all := w.records(w.topics.Transactions, 0)
	var again feed
	for range n {
		k := all[r.IntN(len(all))]
		again.add(k.Value, k.Timestamp)
	}
	again.send(w, w.topics.Transactions, 0)
}

// A follow is a standby that nothing else is known of.
type follow struct {
	w      *world
	fold   *fold
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// follow begins to fold the ledger as it is written.
func (w *world) follow() *follow {
	w.t.Helper()
	n := w.node(func(c *Config) { c.SnapshotDir = "" })
	f := &follow{w: w}
	var err error
	if f.fold, err = n.restore(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	f.cancel = cancel
	f.wg.Go(func() {
		if err := f.fold.follow(ctx); ctx.Err() == nil {
			w.t.Error(err)
		}
	})
	return f
}

// stop stops following and folds on to an offset.
func (f *follow) stop(end int64) *State {
	f.w.t.Helper()
	f.cancel()
	f.wg.Wait()
	if err := f.fold.until(f.w.t.Context(), end); err != nil {
		f.w.t.Fatal(err)
	}
	return f.fold.state
}

// provable returns the larger of two sizes where WEIR_PROVE asks for it.
func provable[T any](small, large T) T {
	if os.Getenv("WEIR_PROVE") != "" {
		return large
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

// TestALedgerBegunInTheMiddleOfItsSource begins where retention has left the
// source, which is no gap.
func TestALedgerBegunInTheMiddleOfItsSource(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(1000, 5, 2)
	gone := int64(0)
	for p := range int32(2) {
		at := int64(100 * (p + 1))
		if err := w.broker.Cluster().DeleteRecords(w.topics.Transactions, p, at); err != nil {
			t.Fatal(err)
		}
		gone += at
	}
	w.runUntil(n-gone, nil)
	if r := w.verify().Report; r.Decisions != n-gone || r.SourceRecords != n-gone || r.Gaps != 0 {
		t.Fatalf("%+v", r)
	}
	// Begun again, it goes on and finds nothing missing.
	w.repeat(rand.New(rand.NewPCG(1, 1)), 50)
	w.runUntil(n-gone+50, nil)
	w.verify()
}

// TestAFullStateHalts has nodes with less room than their state takes: one that
// starts, and one that decides. It says why, decides nothing more and loses nothing;
// with more room it goes on, and every decision is what it would have been.
func TestAFullStateHalts(t *testing.T) {
	w := newWorld(t, "payments", 2)
	total := w.payments(500, 5, 2)
	w.runUntil(total, nil)
	_, end := w.ends(w.topics.Decisions, 0)
	bytes := w.foldAll(end).Engine.Bytes()
	room := bytes / 2
	set := func(c *Config) { c.StateMax = room }
	r := w.start(set)
	total += w.payments(500, 6, 2)
	r.halted("state_full")
	r.stop()
	if _, now := w.ends(w.topics.Decisions, 0); now != end {
		t.Fatalf("%d records were decided by a node that has no room", now-end)
	}
	room = 2 * bytes
	r = w.start(set)
	isHalted := func() bool { return testutil.ToFloat64(r.node.Metrics.Halted.WithLabelValues("state_full")) == 1 }
	for seed := uint64(7); seed < 500 && !isHalted(); seed++ {
		total += w.payments(500, seed, 2)
		r.until("decides or halts", func(s Status) bool { return s.Counts.Decisions() >= total || isHalted() })
	}
	r.halted("state_full")
	if bytes, most := testutil.ToFloat64(r.node.Metrics.StateBytes), testutil.ToFloat64(r.node.Metrics.StateMax); bytes <= most || most != float64(room) {
		t.Errorf("halted with %v bytes of %v", bytes, most)
	}
	r.stop()
	room = 0
	w.runUntil(total, set)
	w.verify()
}

// TestANearlyFullStateIsSaid has states of some share of their bound.
func TestANearlyFullStateIsSaid(t *testing.T) {
	w := newWorld(t, "payments", 2)
	var log bytes.Buffer
	w.logTo = &log
	w.runUntil(w.payments(500, 5, 2), nil)
	_, end := w.ends(w.topics.Decisions, 0)
	s, n := w.foldAll(end), w.node(nil)
	for i, c := range []struct {
		share      float64
		said, full bool
	}{{0.5, false, false}, {0.95, true, false}, {0.96, false, false}, {0.5, false, false}, {0.95, true, false}, {1.1, false, true}, {1.2, false, true}} {
		log.Reset()
		n.StateMax = int64(float64(s.Engine.Bytes()) / c.share)
		err := n.measure(s)
		if errors.Is(err, ErrStateFull) != c.full || strings.Contains(log.String(), "level=WARN msg=\"state is nearly") != c.said {
			t.Errorf("%d: a state of %v of its bound: %v, and the log says %q", i, c.share, err, &log)
		}
	}
}

// TestTheStateIsMeasuredInSilence sends a burst that is over before the state is due
// to be measured again, and then nothing: owner and standby say how large it is.
func TestTheStateIsMeasuredInSilence(t *testing.T) {
	w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
	owner := w.start(nil)
	owner.until("owns", func(s Status) bool { return s.Owner })
	standby := w.join(nil, func(*Config) {})
	standby.until("stands by", func(s Status) bool { return s.Ready })
	total := w.payments(200, 11, 2)
	for name, r := range map[string]*running{"owner": owner, "standby": standby} {
		r.decided(total)
		_, end := w.ends(w.topics.Decisions, 0)
		want := float64(w.foldAll(end).Engine.Entities())
		entities := func() float64 { return testutil.ToFloat64(r.node.Metrics.Entities) }
		w.until(func() string { return fmt.Sprintf("the %s says %v entities, want %v", name, entities(), want) },
			func() bool { return entities() == want && testutil.ToFloat64(r.node.Metrics.StateBytes) > 0 })
	}
}

// TestEveryReasonToHaltIsDocumented looks for each in the package's page.
func TestEveryReasonToHaltIsDocumented(t *testing.T) {
	page, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range haltReasons {
		if !bytes.Contains(page, []byte("//\t"+r.name+" ")) {
			t.Errorf("doc.go does not say what %s is", r.name)
		}
	}
}
