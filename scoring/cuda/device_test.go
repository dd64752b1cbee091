//go:build linux

package cuda

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// A bench is a device under test, and what it says and is told.
type bench struct {
	*Device
	control     *control
	controlName string
	log         *logBuffer
}

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newBench opens a device with what a test wants of it; env is the worker's besides the
// control. Its deadline is long: the machine is busy.
func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	name := filepath.Join(t.TempDir(), "control")
	if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := mapControl(name)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{control: c, controlName: name, log: &logBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(b.log, nil))
	cfg.Env = append(append([]string(nil), cfg.Env...), controlVariable+"="+name)
	if cfg.Deadline == 0 {
		cfg.Deadline = 10 * time.Second
	}
	b.Device = Open(cfg)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(b.log)
		}
	})
	return b
}

// serves waits until the device serves, with the models that are open.
func (b *bench) serves(t testing.TB) {
	t.Helper()
	b.is(t, Serving)
}

func (b *bench) is(t testing.TB, states ...State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Await(ctx, states...); err != nil {
		t.Fatalf("%v; log:\n%s", err, b.log)
	}
}

// until waits until what the device counts is as a test wants it.
func (b *bench) until(t testing.TB, what string, ok func(Stats) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(b.Stats()); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("no %s: %+v; log:\n%s", what, b.Stats(), b.log)
		}
	}
}

// scorer opens a model.
func (b *bench) scorer(t testing.TB, m *scoring.Model) *Scorer {
	t.Helper()
	s, err := b.Scorer(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// someModel draws an ordinary model.
func someModel(seed uint64) *scoring.Model {
	return scoringtest.Model(rand.New(rand.NewPCG(seed, 21)), scoringtest.Shape{Columns: 9, Hidden: []int{20, 17}, Members: 4, Tables: 2, Log: 1, Scale: 1})
}

// A batch is rows and what the CPU says of them.
type batch struct {
	x    scoring.Matrix
	want []float32
}

// batches draws n batches of up to so many rows.
func batches(t testing.TB, m *scoring.Model, seed uint64, n, rows int) []batch {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 22))
	c, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	var list []batch
	for range n {
		b := batch{x: scoringtest.Rows(r, 1+r.IntN(rows), m.Columns)}
		b.want = make([]float32, b.x.Rows)
		if err := c.Score(b.x, b.want); err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// score scores a batch and compares.
func (b *batch) score(t testing.TB, s scoring.Scorer, out []float32) {
	t.Helper()
	clear(out)
	if err := s.Score(b.x, out); err != nil {
		t.Fatal(err)
	}
	if !same(b.want, out) {
		t.Fatalf("a batch of %d rows has wrong scores", b.x.Rows)
	}
}

// TestConformance holds the contract of a scorer on the device, on the CPU for want of
// one, and while the device fails over and over.
func TestConformance(t *testing.T) {
	contract := func(t *testing.T, b *bench) {
		var last [2]*Scorer // more would not have a slot
		scoringtest.TestScorer(t, func(m *scoring.Model) scoring.Scorer {
			if last[0] != nil {
				last[0].Close()
			}
			last[0], last[1] = last[1], b.scorer(t, m)
			return last[1]
		})
	}
	t.Run("device", func(t *testing.T) {
		b := newBench(t, Config{Always: true})
		b.serves(t)
		contract(t, b)
		if s := b.Stats(); s.Batches[GPU] < 100 || s.Batches[CPU] > 0 || s.Starts != 1 || s.Models != 0 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("routed", func(t *testing.T) {
		if onDriver {
			t.Skip("the router is the same on any device")
		}
		b := newBench(t, Config{})
		b.serves(t)
		contract(t, b)
	})
	t.Run("fallback", func(t *testing.T) {
		b := newBench(t, Config{Env: []string{"WEIR_LIBCUDA=/nowhere/libcuda.so.1"}})
		b.is(t, Absent)
		contract(t, b)
		if s := b.Stats(); s.Batches[GPU] > 0 || s.Faults[link.NoLibrary] != 1 || s.Starts != 1 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(b.log.String(), "scoring on the CPU"); n != 1 {
			t.Errorf("the log says %d times that the CPU scores:\n%s", n, b.log)
		}
	})
}

// faults are what can strike, and the class that it is counted as.
var faults = []struct {
	name   string
	strike uint32
	class  link.Class
}{
	{"launch", strikeLaunch, link.Launch},
	{"out of memory", strikeMemory, link.OutOfMemory},
	{"illegal address", strikeSticky, link.Sticky},
	{"device lost", strikeLost, link.Sticky},
	{"hang", strikeHang, link.Deadline},
	{"crash", strikeCrash, link.Died},
	{"SIGKILL", 0, link.Died},
	{"SIGSTOP", 0, link.Deadline},
}

// TestFaultsCostNothingButSpeed has each fault strike at a random batch of 10,000.
func TestFaultsCostNothingButSpeed(t *testing.T) {
	n := 1000
	if onDriver {
		n = 10_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			strikeOnce(t, seed+uint64(i), n, fault.strike, fault.class, fault.name)
		})
	}
}

func strikeOnce(t *testing.T, seed uint64, n int, strike uint32, class link.Class, name string) {
	r := rand.New(rand.NewPCG(seed, 23))
	// In the proof, on a machine of its own, the deadline is what is shipped and a batch may
	// be late by what the CPU then takes; elsewhere both are long enough for a machine that
	// is busy with other tests.
	deadline, late := 400*time.Millisecond, time.Second
	if os.Getenv("WEIR_PROVE") != "" {
		deadline, late = DeadlineDefault, 10*time.Millisecond
	}
	b := newBench(t, Config{Always: true, Deadline: deadline, BackOff: 500 * time.Millisecond})
	m := someModel(1)
	s := b.scorer(t, m)
	b.serves(t)
	list, out := batches(t, m, seed, 40, 150), make([]float32, 150)
	at := int64(1 + r.IntN(n*9/10))
	if strike != 0 {
		b.control.strike(strike, at)
	}
	var longest time.Duration
	for i := range int64(n) {
		if strike == 0 && i == at {
			signal := map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGSTOP": syscall.SIGSTOP}[name]
			if err := b.signal(signal); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		list[r.IntN(len(list))].score(t, s, out)
		longest = max(longest, time.Since(start))
	}
	b.until(t, "a recovery", func(s Stats) bool { return s.Recoveries > 0 })
	st := b.Stats()
	before := st.Batches[GPU]
	for range 50 {
		list[r.IntN(len(list))].score(t, s, out)
	}
	st = b.Stats()
	t.Logf("struck at batch %d of %d: longest batch %v, GPU back after %v, %d batches on it, %d beside it; faults %v",
		at, n, longest, st.Recovery, st.Batches[GPU], st.Batches[CPU], st.Faults)
	if longest > deadline+late {
		t.Errorf("a batch took %v, with a deadline of %v", longest, deadline)
	}
	if st.Faults[class] == 0 || st.Recoveries == 0 || st.Batches[GPU] == before || st.Fallbacks == 0 {
		t.Errorf("%+v", st)
	}
	if got := st.Batches[GPU] + st.Batches[CPU]; got != uint64(n)+50 {
		t.Errorf("%d batches counted of %d", got, n+50)
	}
}

// signal sends a signal to the worker that serves.
func (b *bench) signal(s syscall.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.serving == nil {
		return fmt.Errorf("nothing serves: %v", b.stats.Reason)
	}
	return b.serving.command.Process.Signal(s)
}

// TestScribblingWorkerChangesNoRow has the device write all over the page before it fails:
// the rows are the scorer's own still, and the CPU scores these.
func TestScribblingWorkerChangesNoRow(t *testing.T) {
	if onDriver {
		t.Skip("the fake driver does not scribble")
	}
	b := newBench(t, Config{Always: true, BackOff: time.Millisecond})
	m := someModel(1)
	s, list, out := b.scorer(t, m), batches(t, m, 1, 30, 300), make([]float32, 300)
	b.serves(t)
	for n, at := range []int64{1, 5, 9} {
		b.control.strike(strikeScribble, at)
		for i := range list {
			before := slices.Clone(list[i].x.Data)
			list[i].score(t, s, out)
			if !same(before, list[i].x.Data) {
				t.Fatalf("the rows of batch %d are others now", i)
			}
		}
		b.until(t, "recovery", func(s Stats) bool { return s.Recoveries == uint64(n+1) })
	}
	if st := b.Stats(); st.Faults[link.Sticky] != 3 || st.Fallbacks != 3 {
		t.Errorf("%+v", st)
	}
}

// TestFaultInTheMiddleOfAMatrix strikes each batch in turn of a matrix that takes several,
// two of them in flight at a time.
func TestFaultInTheMiddleOfAMatrix(t *testing.T) {
	b := newBench(t, Config{Always: true})
	m := someModel(1)
	s := b.scorer(t, m)
	b.serves(t)
	const parts = 6
	x := scoringtest.Rows(rand.New(rand.NewPCG(1, 25)), (parts-1)*link.RowsMax+100, m.Columns)
	c, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	one := batch{x: x, want: make([]float32, x.Rows)}
	if err := c.Score(x, one.want); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, x.Rows)
	for at := range int64(parts) {
		b.control.strike(strikeLaunch, at+1)
		one.score(t, s, out)
		b.until(t, "recovery", func(s Stats) bool { return s.Recoveries == uint64(at+1) })
		one.score(t, s, out)
	}
	if s := b.Stats(); s.Faults[link.Launch] != parts || s.Batches[CPU]+s.Batches[GPU] != 2*parts*parts {
		t.Errorf("%+v", s)
	}
}
