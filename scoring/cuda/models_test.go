//go:build linux

package cuda

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/cuda/link"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// loads waits until so many models are on the device.
func (b *bench) loads(t testing.TB, n int) {
	t.Helper()
	b.until(t, fmt.Sprint(n, " models on the device"), func(s Stats) bool { return s.Loaded == n })
}

// TestSlots has more models than the device has room for.
func TestSlots(t *testing.T) {
	b := newBench(t, Config{Always: true})
	b.serves(t)
	var scorers []*Scorer
	var lists [][]batch
	out := make([]float32, 300)
	for seed := range uint64(link.Slots + 2) {
		m := someModel(seed)
		scorers, lists = append(scorers, b.scorer(t, m)), append(lists, batches(t, m, seed, 5, 300))
	}
	if s := b.Stats(); s.Loaded != link.Slots || s.Models != link.Slots+2 {
		t.Errorf("%d of %d models are loaded", s.Loaded, s.Models)
	}
	all := func() (cpu, gpu uint64) {
		before := b.Stats().Batches
		for i, s := range scorers {
			for _, one := range lists[i] {
				one.score(t, s, out)
			}
		}
		after := b.Stats().Batches
		return after[CPU] - before[CPU], after[GPU] - before[GPU]
	}
	if cpu, gpu := all(); cpu != 10 || gpu != 5*link.Slots {
		t.Errorf("%d batches on the CPU, %d on the device", cpu, gpu)
	}
	// Room is made for one of those that wait; who is closed goes on, on the CPU.
	if err := scorers[0].Close(); err != nil {
		t.Fatal(err)
	}
	scorers[1].Close()
	b.loads(t, link.Slots)
	if cpu, gpu := all(); cpu != 10 || gpu != 5*link.Slots {
		t.Errorf("after a change %d batches on the CPU, %d on the device", cpu, gpu)
	}
	// A new worker gets them all.
	if err := b.signal(9); err != nil {
		t.Fatal(err)
	}
	for b.Stats().Recoveries == 0 {
		all()
	}
	b.loads(t, link.Slots)
	if cpu, gpu := all(); cpu != 10 || gpu != 5*link.Slots {
		t.Errorf("after a recovery %d batches on the CPU, %d on the device", cpu, gpu)
	}
	for _, s := range scorers {
		s.Close()
		s.Close() // again, to no effect
	}
	if s := b.Stats(); s.Models != 0 || s.Loaded != 0 {
		t.Errorf("%d models are open, %d loaded", s.Models, s.Loaded)
	}
}

// TestSwapsWhileBatchesRun opens and closes models while two others score, each in a
// goroutine of its own, and the worker is killed now and then.
func TestSwapsWhileBatchesRun(t *testing.T) {
	b := newBench(t, Config{Always: true, BackOff: 10 * time.Millisecond})
	b.serves(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for seed := range uint64(2) {
		m := someModel(seed)
		s, list := b.scorer(t, m), batches(t, m, seed, 10, 100)
		wg.Go(func() {
			out := make([]float32, 100)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				one := &list[i%len(list)]
				clear(out)
				if err := s.Score(one.x, out); err != nil || !same(one.want, out) {
					t.Errorf("batch %d of model %d is wrong (%v)", i, seed, err)
					return
				}
			}
		})
	}
	out := make([]float32, 100)
	for seed := uint64(10); seed < 40; seed++ {
		m := someModel(seed)
		s := b.scorer(t, m)
		for _, one := range batches(t, m, seed, 3, 100) {
			one.score(t, s, out)
		}
		if seed%10 == 9 {
			b.signal(9)
		}
		s.Close()
	}
	b.Close() // under them
	for before := b.Stats().Batches[CPU]; b.Stats().Batches[CPU] < before+100; runtime.Gosched() {
	}
	close(stop)
	wg.Wait()
}

// TestWrongBitsNeverServe has a device that scores wrong from the start: the golden rows
// keep it out until it is right.
func TestWrongBitsNeverServe(t *testing.T) {
	b := newBench(t, Config{Always: true, BackOff: time.Millisecond})
	m := someModel(1)
	b.control.wrong.Store(1)
	s := b.scorer(t, m)
	list, out := batches(t, m, 1, 20, 100), make([]float32, 100)
	for b.Stats().Faults[link.WrongBits] < wrongMax+2 {
		for _, one := range list {
			one.score(t, s, out)
		}
	}
	if st := b.Stats(); st.Batches[GPU] != 0 || !strings.Contains(b.log.String(), "golden row") {
		t.Errorf("%+v", st)
	}
	b.control.wrong.Store(0)
	b.serves(t)
	list[0].score(t, s, out)
	if st := b.Stats(); st.Batches[GPU] != 1 {
		t.Errorf("%+v", st)
	}
}

// TestWrongModelIsLeftToTheCPU: where one model's golden rows are right and another's are
// wrong, again and again, the device is not at fault.
func TestWrongModelIsLeftToTheCPU(t *testing.T) {
	b := newBench(t, Config{Always: true, BackOff: time.Millisecond})
	m, n := someModel(1), someModel(2)
	good, bad := b.scorer(t, m), b.scorer(t, n)
	b.serves(t)
	b.mu.Lock()
	bad.golden.want[3] += .1 // now the device is wrong about it
	b.mu.Unlock()
	b.signal(9)
	out := make([]float32, 100)
	for b.Stats().Faults[link.WrongBits] < wrongMax || b.Stats().State != Serving {
		batches(t, n, 1, 1, 100)[0].score(t, bad, out)
	}
	b.loads(t, 1)
	batches(t, m, 1, 1, 100)[0].score(t, good, out)
	if !strings.Contains(b.log.String(), "beside others that are right") {
		t.Errorf("the log does not say it:\n%s", b.log)
	}
}

// TestProbesFindWrongBits has a device go wrong while it serves: a batch that is scored on
// both shows it.
func TestProbesFindWrongBits(t *testing.T) {
	b := newBench(t, Config{})
	m := someModel(1)
	s := b.scorer(t, m)
	b.serves(t)
	list, out := batches(t, m, 1, 20, 100), make([]float32, 100)
	b.control.strike(strikeWrong, 1)
	n := 0
	for ; b.Stats().Faults[link.WrongBits] == 0 && n < 100_000; n++ {
		if err := s.Score(list[n%20].x, out); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("found after %d batches, %d of them on the GPU", n, b.Stats().Batches[GPU])
	if b.Stats().Faults[link.WrongBits] == 0 {
		t.Errorf("%+v", b.Stats())
	}
	b.serves(t)
	for i := range 1000 {
		list[i%20].score(t, s, out)
	}
}

// TestModelsWithoutRoomAreScored are those that Pack refuses.
func TestModelsWithoutRoomAreScored(t *testing.T) {
	b := newBench(t, Config{Always: true})
	b.serves(t)
	m := scoringtest.Model(rand.New(rand.NewPCG(1, 24)), scoringtest.Shape{Columns: 3, Hidden: []int{kernels.WidthMax + 1}, Members: 1, Scale: 1})
	s := b.scorer(t, m)
	batches(t, m, 1, 1, 10)[0].score(t, s, make([]float32, 10))
	if st := b.Stats(); st.Batches[CPU] != 1 || st.Loaded != 0 || !strings.Contains(b.log.String(), "no room on the GPU") {
		t.Errorf("%+v", st)
	}
}
