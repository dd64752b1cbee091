package ingest

import (
	"bytes"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-risk/weir/schemas"
)

// newMillion returns a line of the payments spec whose engine holds a million
// entities.
func newMillion(b *testing.B) *line {
	b.Helper()
	l := newLine(b, "payments", newSource("payments", 120_000, 20*time.Second), 64)
	l.owner.work.bytesMax = 1 << 30
	l.owner.node.SnapshotDir = b.TempDir()
	for l.owner.state.Engine.Entities() < 1_000_000 {
		l.prepare(b, stepRows)
		l.step(b)
	}
	l.owner.saver = newSaver(l.owner.node, 0)
	return l
}

// save makes one snapshot while the stream goes on, a part after each step of
// rows records. Of the owner's thread it returns how long it stood still at most,
// and how long the longest step was.
func (l *line) save(b *testing.B, rows int) (pause, step time.Duration) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := l.owner.saver
	most := func(of *time.Duration, what func()) {
		before := processorTime(b, unix.CLOCK_THREAD_CPUTIME_ID)
		what()
		*of = max(*of, processorTime(b, unix.CLOCK_THREAD_CPUTIME_ID)-before)
	}
	most(&pause, func() { s.begin(l.owner.state) })
	for s.making() {
		l.prepare(b, rows)
		most(&step, func() { l.step(b) })
		most(&pause, func() { s.parts(1) })
	}
	<-s.done
	return pause, step
}

// processorTime is what a thread or the process has used of its processors: the
// machine may be busy with other things.
func processorTime(b *testing.B, clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkSnapshot takes snapshots of a million entities beside the stream, a
// part after each step of 500 records: pause-ns is how long the owner stood still
// at most, step-ns the longest step, which writes down what it is about to change,
// and calm-ns the longest without a snapshot.
func BenchmarkSnapshot(b *testing.B) {
	const rows = 500
	l := newMillion(b)
	var pause, step, calm time.Duration
	for range 2 * 256 {
		l.prepare(b, rows)
		before := processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)
		l.step(b)
		calm = max(calm, processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)-before)
	}
	for b.Loop() {
		p, s := l.save(b, rows)
		pause, step = max(pause, p), max(step, s)
	}
	b.ReportMetric(float64(pause), "pause-ns")
	b.ReportMetric(float64(step), "step-ns")
	b.ReportMetric(float64(calm), "calm-ns")
	b.ReportMetric(float64(l.owner.state.Engine.Bytes())/1e6, "state-MB")
}

// A piece is a batch of the ledger as a fold takes it.
type piece struct {
	facts  schemas.Facts
	base   int64
	values [][]byte
}

// BenchmarkRestart reads a snapshot of a million entities and folds what was
// decided since, which is all that a start does on its own.
func BenchmarkRestart(b *testing.B) {
	l := newMillion(b)
	l.owner.saver.begin(l.owner.state)
	l.owner.saver.finish()
	n := l.owner.node
	names, err := Snapshots(n.SnapshotDir)
	if err != nil || len(names) != 1 {
		b.Fatalf("%d snapshots, %v", len(names), err)
	}
	s, err := ReadSnapshot(names[0], n.Spec, n.Features, n.KeyCheck)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("op=read", func(b *testing.B) {
		before := processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)
		for b.Loop() {
			if _, err := ReadSnapshot(names[0], n.Spec, n.Features, n.KeyCheck); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)-before)/float64(b.N), "cpu-ns/op")
	})
	b.Run("op=fold", func(b *testing.B) { // ns/op is a record's
		var folder Folder
		var spent time.Duration
		for done := 0; done < b.N; done += stepRows {
			b.StopTimer()
			p := l.piece(b)
			b.StartTimer()
			before := processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID)
			if err := folder.Fold(s, &p.facts, p.base, p.values); err != nil {
				b.Fatal(err)
			}
			spent += processorTime(b, unix.CLOCK_PROCESS_CPUTIME_ID) - before
		}
		b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
	})
}

// piece makes the next step.
func (l *line) piece(b *testing.B) piece {
	base := l.owner.state.Chain.Offset
	l.prepare(b, stepRows)
	l.step(b)
	p := piece{facts: l.flight.facts, base: base}
	p.facts.Sources = slices.Clone(p.facts.Sources)
	for i := range l.flight.out.records() {
		p.values = append(p.values, bytes.Clone(l.flight.out.record(i)))
	}
	return p
}
