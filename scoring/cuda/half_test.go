//go:build linux

package cuda

import (
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// near scores a batch in float16 arithmetic, holds it to its bound, and returns how many
// scores have other bits than the CPU's.
func (b *batch) near(t testing.TB, s *Scorer, out []float32) (others int) {
	t.Helper()
	clear(out)
	if err := s.Score(b.x, out); err != nil {
		t.Fatal(err)
	}
	for i, want := range b.want {
		row := b.x.Data[i*b.x.Cols : (i+1)*b.x.Cols]
		if bound := scoring.NewHalfBound(s.model); !bound.Allows(row, out[i], want) {
			t.Fatalf("row %d of %d scores %g, want %g within %g", i, b.x.Rows, out[i], want, bound.Of(row))
		}
		if out[i] != want {
			others++
		}
	}
	return others
}

// TestHalf scores in float16 arithmetic, on the CPU in place of a worker that was killed,
// and again: each time the scorer says in which arithmetic.
func TestHalf(t *testing.T) {
	needsDriver(t)
	b := newBench(t, Config{Always: true, Half: true})
	b.serves(t)
	m := someModel(1)
	s, list, out := b.scorer(t, m), batches(t, m, 1, 30, 300), make([]float32, 3*link.RowsMax)
	rows, others := 0, 0
	for _, one := range list {
		rows, others = rows+one.x.Rows, others+one.near(t, s, out)
		if !scoring.Half(s) {
			t.Fatal("the scorer does not say that it is float16")
		}
	}
	t.Logf("%d of %d scores have other bits; largest difference in %d rows: %g", others, rows, b.Stats().Audits, b.Stats().Difference)
	if st := b.Stats(); others < rows/2 || st.Difference == 0 || st.Difference > .01 || st.Batches[CPU] != 0 || st.Audits < uint64(rows)/auditEach {
		t.Errorf("%+v", st)
	}
	if n := testing.AllocsPerRun(100, func() { _ = s.Score(list[0].x, out) }); n != 0 {
		t.Errorf("%g allocations a batch", n)
	}
	// A matrix of several batches falls to the CPU as a whole.
	large := batch{x: scoringtest.Rows(rand.New(rand.NewPCG(1, 40)), 2*link.RowsMax+100, m.Columns)}
	large.want = make([]float32, large.x.Rows)
	c, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Score(large.x, large.want); err != nil {
		t.Fatal(err)
	}
	b.control.strike(strikeCrash, 3) // the first has been answered by then
	large.score(t, s, out)           // bits
	if scoring.Half(s) {
		t.Error("what the CPU scored is said to be float16")
	}
	b.until(t, "recovery", func(s Stats) bool { return s.Recoveries == 1 })
	if large.near(t, s, out) == 0 || !scoring.Half(s) {
		t.Error("after the recovery the scores are float32")
	}
	b.signal(syscall.SIGKILL)
	for b.Stats().Recoveries < 2 {
		one := &list[0]
		if others := one.near(t, s, out); !scoring.Half(s) && others > 0 {
			t.Fatal("the CPU gave other bits")
		}
		runtime.Gosched()
	}
}

// TestHalfWithoutProduct has a model beside that gains nothing by tensor cores: its bits
// are those of float32, on the GPU.
func TestHalfWithoutProduct(t *testing.T) {
	needsDriver(t)
	b := newBench(t, Config{Always: true, Half: true})
	b.serves(t)
	m, n := someModel(1), scoringtest.Model(rand.New(rand.NewPCG(2, 41)), scoringtest.Shape{Columns: 9, Hidden: []int{20}, Members: 4, Scale: 1})
	half, whole, out := b.scorer(t, m), b.scorer(t, n), make([]float32, 300)
	for i := range 20 {
		batches(t, m, uint64(i), 1, 300)[0].near(t, half, out)
		batches(t, n, uint64(i), 1, 300)[0].score(t, whole, out)
		if !scoring.Half(half) || scoring.Half(whole) {
			t.Fatalf("%v %v", scoring.Half(half), scoring.Half(whole))
		}
	}
	if st := b.Stats(); st.Batches[GPU] != 40 || st.Loaded != 2 {
		t.Errorf("%+v", st)
	}
}

// TestHalfFarOff has a device that is off by more than half precision may be: its golden
// rows keep it out, and while it serves an audit finds it before the scores are used.
func TestHalfFarOff(t *testing.T) {
	needsDriver(t)
	b := newBench(t, Config{Always: true, Half: true})
	b.serves(t)
	m := someModel(1)
	s, list, out := b.scorer(t, m), batches(t, m, 1, 20, 300), make([]float32, 300)
	list[0].near(t, s, out)
	b.control.wrong.Store(2)
	for _, one := range list {
		if one.x.Rows >= auditEach {
			one.score(t, s, out) // the CPU's
			break
		}
	}
	b.until(t, "golden rows that are wrong", func(s Stats) bool { return s.Faults[link.WrongBits] > 2 })
	if st := b.Stats(); st.Recoveries != 0 || st.Batches[GPU] > 20 {
		t.Errorf("%+v", st)
	}
	b.control.wrong.Store(0)
	b.until(t, "recovery", func(s Stats) bool { return s.Recoveries == 1 })
	list[0].near(t, s, out)
}
