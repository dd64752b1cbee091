//go:build linux

package worker

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/driver"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// TestClasses says what each error is counted as.
func TestClasses(t *testing.T) {
	code := func(n int) error { return fmt.Errorf("wrapped: %w", &driver.Error{Call: "cuX", Code: n}) }
	for _, c := range []struct {
		err  error
		want link.Class
	}{
		{nil, link.None},
		{driver.ErrNoLibrary, link.NoLibrary}, {driver.ErrUnsupported, link.NoLibrary}, {code(34), link.NoLibrary},
		{driver.ErrNoSymbol, link.NoSymbol},
		{errOldDriver, link.OldDriver}, {code(35), link.OldDriver}, {code(222), link.OldDriver},
		{errOldDevice, link.TooOld}, {code(209), link.TooOld},
		{errNoDevice, link.NoDevice}, {code(100), link.NoDevice}, {code(101), link.NoDevice}, {code(803), link.NoDevice},
		{code(2), link.OutOfMemory},
		{code(700), link.Sticky}, {code(716), link.Sticky}, {code(999), link.Sticky}, {code(214), link.Sticky},
		{code(719), link.Launch}, {errUnanswered, link.Launch},
		{code(1), link.Refused}, {code(801), link.Refused}, {errRequest, link.Refused}, {errors.New("other"), link.Refused},
	} {
		if got := Class(c.err); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
}

// opened is an engine in this process, on the driver that WEIR_LIBCUDA names.
func opened(t *testing.T) (*engine, *link.Page) {
	t.Helper()
	library := os.Getenv("WEIR_LIBCUDA")
	if library == "" {
		t.Skip("WEIR_LIBCUDA names no driver; make gpu builds one and runs this")
	}
	p, file, err := link.New(0, true)
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	runtime.LockOSThread() // the context is this thread's; the test's goroutine ends with it
	d, err := open(p, library)
	if err != nil {
		t.Fatal(err)
	}
	return d.(*engine), p
}

// run has a lane's batch scored.
func (e *engine) run(lane, slot, rows int, seq uint64) error {
	if err := e.Launch(lane, slot, rows, seq); err != nil {
		return err
	}
	for ask := false; ; ask = !ask {
		if done, err := e.Done(lane, ask); done || err != nil {
			return err
		}
	}
}

// TestEngine scores in every lane, with every slot, as every tier, and allocates nothing.
func TestEngine(t *testing.T) {
	e, p := opened(t)
	e.refuses(t)
	r := rand.New(rand.NewPCG(1, 31))
	var seq uint64
	for slot := range link.Slots {
		m := scoringtest.Model(r, scoringtest.Shape{Columns: 5 + slot, Hidden: []int{9, 7}, Members: 3, Tables: 2, Log: 1, Scale: 1})
		image, err := kernels.Pack(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Upload(slot, image, m.Columns); err != nil {
			t.Fatal(err)
		}
		c, err := cpu.New(m)
		if err != nil {
			t.Fatal(err)
		}
		for lane := range link.Lanes {
			for _, rows := range []int{1, 63, 64, 65, 256, 257, 1025, link.RowsMax} {
				x := scoringtest.Rows(r, rows, m.Columns)
				want := make([]float32, rows)
				if err := c.Score(x, want); err != nil {
					t.Fatal(err)
				}
				copy(p.Rows(lane), x.Data)
				seq++
				if err := e.run(lane, slot, rows, seq); err != nil {
					t.Fatal(err)
				}
				for i, v := range p.Scores(lane)[:rows] {
					if math.Float32bits(v) != math.Float32bits(want[i]) {
						t.Fatalf("slot %d, lane %d: row %d of %d scores %g, want %g", slot, lane, i, rows, v, want[i])
					}
				}
			}
		}
	}
	if n := testing.AllocsPerRun(200, func() {
		seq++
		if err := e.run(1, 2, 100, seq); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations a batch", n)
	}
}

// refuses what no kernel should be launched for.
func (e *engine) refuses(t *testing.T) {
	t.Helper()
	m := scoringtest.Model(rand.New(rand.NewPCG(1, 32)), scoringtest.Shape{Columns: 3000, Members: 1, Scale: 1})
	image, err := kernels.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Upload(1, image, m.Columns); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int{{-1, 1}, {link.Slots, 1}, {0, 1}, {1, 0}, {1, -1}, {1, link.RowsOf(m.Columns) + 1}, {1, link.RowsMax + 1}} {
		if err := e.Launch(0, c[0], c[1], 1); !errors.Is(err, errRequest) {
			t.Errorf("slot %d, %d rows: %v", c[0], c[1], err)
		}
	}
	if err := e.run(0, 1, link.RowsOf(m.Columns), 1<<40); err != nil {
		t.Error(err)
	}
}
