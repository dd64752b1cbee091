package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// TestDeviceBacktestWithoutGPU asks for float16 where there is no GPU, and for what is no
// arithmetic.
func TestDeviceBacktestWithoutGPU(t *testing.T) {
	t.Chdir(t.TempDir())
	backtestWorld(t, 500)
	for _, c := range []struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		{[]string{"--arithmetic", "float16", "--device", "cpu"}, nil, exitUsage, "--arithmetic float16 is a GPU's, and --device is cpu"},
		{[]string{"--arithmetic", "float16", "--device", "cuda"}, nil, exitFailed, "--arithmetic float16 needs a GPU that scores: "},
		{[]string{"--arithmetic", "float64"}, nil, exitUsage, "neither float32 nor float16"},
	} {
		t.Setenv("WEIR_LIBCUDA", "/none/libcuda.so.1")
		a := callWith(t, "", c.env, append([]string{"backtest", "--bundle", "bench.bundle", "--history", "live.db"}, c.args...)...)
		if a.code != c.code || !strings.Contains(a.stderr, c.says) || a.stdout != "" {
			t.Errorf("%q: exit code %d, %q, %q", c.args, a.code, a.stderr, a.stdout)
		}
	}
}

// backtestWorld is a history that takes a GPU several batches, and a bundle whose network
// has a matrix for tensor cores.
func backtestWorld(t *testing.T, n int) (p *past, b *scoring.Bundle, args []string) {
	t.Helper()
	p = newPast(t, 8, n, 40)
	p.write("live.db")
	var x []float32
	for i := range p.decisions[:400] {
		x = append(x, p.decisions[i].Features...)
	}
	b, err := benchBundle(p.spec, x, .05, 32, 24)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sealBundle(".", b); err != nil {
		t.Fatal(err)
	}
	return p, b, []string{"backtest", "--bundle", "bench.bundle", "--history", "live.db", "--as-of", rfc3339(pastStart + 40*dayMs), "--ripe", "5d", "--json"}
}

// onFake runs the backtest on the fake driver, with a time for each batch in us. The
// worker is killed once it has begun so many batches, where that is not 0.
func onFake(t *testing.T, args []string, slow uint32, killAt int64) (*process, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "control")
	mapWord(name) // makes the file
	control := mapped(t, name)
	t.Setenv("CUDA_FAKE_CONTROL", name)
	binary.LittleEndian.PutUint32(control[24:], slow)
	p := start(t, append(args, "--device", "cuda", "--device-deadline", "30s", "--log", "json")...)
	if launched := (*int64)(unsafe.Pointer(&control[0])); killAt > 0 {
		p.until("batches on the GPU", func() bool { return atomic.LoadInt64(launched) >= killAt })
		if err := syscall.Kill(p.child(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if code := p.ended(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.logged())
	}
	return p, p.stdout.String()
}

// goldenBatches are those of a model that comes to a worker that serves: its golden rows,
// and one of each size.
const goldenBatches = 5

// TestDeviceBacktest asks a bundle over a history on the GPU: the report is the CPU's, byte
// for byte, and stays so where the worker is killed in the middle.
func TestDeviceBacktest(t *testing.T) {
	needsDriver(t)
	t.Chdir(t.TempDir())
	_, _, args := backtestWorld(t, 20_000)
	want := call(t, append(args, "--device", "cpu")...).succeeds(t).stdout
	p, got := onFake(t, args, 0, 0)
	if log := p.logged(); got != want || !strings.Contains(log, "the GPU scores") || strings.Contains(log, "the GPU failed") {
		t.Errorf("on the GPU:\n%s, on the CPU:\n%s\n%s", got, want, log)
	}
	p, got = onFake(t, args, 100_000, goldenBatches+3)
	if log := p.logged(); got != want || !strings.Contains(log, "the GPU failed") {
		t.Errorf("with the worker killed:\n%s, on the CPU:\n%s\n%s", got, want, log)
	}
}

// TestDeviceBacktestInFloat16 does so on the tensor cores: the report says so, the largest
// difference is within the bound, and what is flagged differs by no more than scores at
// the threshold that may be off by as much.
func TestDeviceBacktestInFloat16(t *testing.T) {
	needsDriver(t)
	t.Chdir(t.TempDir())
	p, b, args := backtestWorld(t, 20_000)
	least, most, largest := flaggedWithin(t, p, b)
	for _, killAt := range []int64{0, goldenBatches + 3} {
		slow := uint32(0)
		if killAt > 0 {
			slow = 100_000
		}
		w, stdout := onFake(t, append(args, "--arithmetic", "float16"), slow, killAt)
		var got struct {
			backtestLine
			Arithmetic sampleReport
		}
		lastLine(t, stdout, &got)
		a := got.Arithmetic
		t.Logf("%+v; the bound is %.2g at most", a, largest)
		if a.Asked != "float16" || a.Float16+a.Float32 != len(p.decisions) || a.Largest <= 0 || a.Largest > largest {
			t.Errorf("%+v, with a bound of %g at most", a, largest)
		}
		if killed := killAt > 0; a.Float16 == 0 || killed != (a.Float32 > 0) || a.Rows != min(halfSample, a.Float16) {
			t.Errorf("killed %v: %+v\n%s", killed, a, w.logged())
		}
		if n := got.All.Model.Flagged; n < least || n > most || least == most || most > least+len(p.decisions)/20 {
			t.Errorf("%d flagged, from %d to %d can be", n, least, most)
		}
	}
}

// flaggedWithin returns how many decisions are flagged at least and at most, where each
// score is off by no more than its bound, and the largest of the bounds.
func flaggedWithin(t *testing.T, p *past, b *scoring.Bundle) (least, most int, largest float64) {
	t.Helper()
	s, err := cpu.New(b.Model)
	if err != nil {
		t.Fatal(err)
	}
	bound, score := scoring.NewHalfBound(b.Model), make([]float32, 1)
	for i := range p.decisions {
		d := &p.decisions[i]
		if err := s.Score(scoring.Matrix{Data: d.Features, Rows: 1, Cols: len(d.Features)}, score); err != nil {
			t.Fatal(err)
		}
		off := bound.Of(d.Features)
		flagged := func(off float64) bool {
			v := math.Max(0, math.Min(1, float64(score[0])+off))
			return b.Decide(float32(v), d.Tx.AmountBase, nil).ReviewProb >= 1
		}
		if largest = max(largest, off); flagged(-off) {
			least++
		}
		if flagged(off) {
			most++
		}
	}
	return least, most, largest
}

// child is the process that weir has started, which holds the GPU.
func (p *process) child() int {
	p.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, list := range lists {
		for _, pid := range strings.Fields(content(p.t.(*testing.T), list)) {
			if n, err := strconv.Atoi(pid); err == nil {
				return n
			}
		}
	}
	p.t.Fatalf("weir has no process that holds the GPU:\n%s", p.logged())
	return 0
}
