package ptxsim

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

const (
	warpSize = 32
	full     = math.MaxUint32
	// stepsMax is how many stretches of instructions a warp may run, so that a loop
	// that does not end is an error.
	stepsMax = 1 << 22
)

// Launch says what to run a kernel on.
type Launch struct {
	Blocks, Threads int
	Args            []uint64
	// Order is the order in which blocks begin; ascending where it is nil.
	Order []int
}

// Launch runs the kernel over a grid.
func (k *Kernel) Launch(m *Memory, l Launch) error {
	switch {
	case l.Blocks < 1 || l.Threads < 1 || l.Threads > min(k.threadsMax, stampMany) || l.Threads%warpSize != 0:
		return fmt.Errorf("%s: cannot launch %d blocks of %d threads, at most %d", k.name, l.Blocks, l.Threads, k.threadsMax)
	case len(l.Args) != len(k.params):
		return fmt.Errorf("%s: %d arguments, want %d", k.name, len(l.Args), len(k.params))
	}
	order := l.Order
	if order == nil {
		for i := range l.Blocks {
			order = append(order, i)
		}
	}
	if len(order) != l.Blocks {
		return fmt.Errorf("%s: an order of %d blocks of %d", k.name, len(order), l.Blocks)
	}
	m.begin()
	var mu sync.Mutex
	var first error
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if len(order) == 0 || first != nil {
			return -1
		}
		b := order[0]
		order = order[1:]
		return b
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), l.Blocks) {
		wg.Go(func() {
			r := newRun(k, m, &l)
			for b := take(); b >= 0; b = take() {
				if err := r.block(b); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// run is what runs blocks, one after another.
type run struct {
	kernel *Kernel
	memory *Memory
	launch *Launch
	number int // of the block
	warps  []*warp
	at     *warp // that runs

	shared         []byte
	writer, reader []uint32 // stamps of its words
	epoch          uint32   // barriers so far, from 1
	ticket         int      // the thread that did an atomic, or -1
}

// warp is 32 threads. A lane's place is the block of instructions that it is to
// run next; lanes that are together are in the fields place and on alone.
type warp struct {
	run      *run
	number   int
	words    [][warpSize]uint32
	wides    [][warpSize]uint64
	preds    []uint32
	live     uint32
	apart    bool // the places differ
	place    int
	places   [warpSize]int
	op       int // of the place
	steps    int
	unfenced uint32 // lanes with stores that no fence has made visible
	segment  *segment
}

func newRun(k *Kernel, m *Memory, l *Launch) *run {
	r := &run{
		kernel: k, memory: m, launch: l, shared: make([]byte, k.shared),
		writer: make([]uint32, k.shared/4+1), reader: make([]uint32, k.shared/4+1),
	}
	for i := range l.Threads / warpSize {
		w := &warp{
			run: r, number: i, words: make([][warpSize]uint32, k.words), wides: make([][warpSize]uint64, k.wides),
			preds: make([]uint32, k.preds),
		}
		for v, slot := range k.wordConsts {
			for l := range warpSize {
				w.words[slot][l] = v
			}
		}
		for v, slot := range k.wideConsts {
			for l := range warpSize {
				w.wides[slot][l] = v
			}
		}
		for lane := range warpSize {
			w.words[k.tid][lane] = uint32(i*warpSize + lane)
			w.words[k.lane][lane] = uint32(lane)
			w.words[k.grid][lane] = uint32(l.Blocks)
		}
		r.warps = append(r.warps, w)
	}
	return r
}

// block runs one block of the grid.
func (r *run) block(number int) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, block %d, warp %d, at %q: %w", r.kernel.name, number, r.at.number, r.at.text(), err)
		}
	}()
	defer caught(&err)
	r.number, r.epoch, r.ticket = number, 1, -1
	clear(r.writer)
	clear(r.reader)
	for _, w := range r.warps {
		w.live, w.apart, w.place, w.steps, w.unfenced, w.segment = full, false, 0, 0, 0, nil
		for l := range warpSize {
			w.words[r.kernel.cta][l] = uint32(number)
		}
	}
	for {
		for _, w := range r.warps {
			r.at = w
			w.advance()
		}
		if !slices.ContainsFunc(r.warps, func(w *warp) bool { return w.live != 0 }) {
			return nil
		}
		place := r.warps[0].place
		for _, w := range r.warps {
			if r.at = w; w.live != full || w.place != place {
				fail("not all threads of the block come to the barrier that warp 0 waits at")
			}
			w.place = r.kernel.blocks[place].next
		}
		r.epoch++
	}
}

// advance runs a warp until it waits at a barrier, or ends.
func (w *warp) advance() {
	for w.live != 0 {
		place, on := w.place, w.live
		if w.apart {
			place, on = w.behind()
		}
		b := &w.run.kernel.blocks[place]
		if b.kind != plain && on != w.live {
			fail("the warp's threads are apart at an instruction that waits for all")
		}
		if b.kind == barrier {
			return
		}
		if w.steps++; w.steps > stepsMax {
			fail("the warp does not end")
		}
		w.place = place
		for i, do := range b.ops {
			w.op = i
			do(w, on)
		}
		w.op = len(b.ops)
		w.leave(b, on)
	}
}

// behind returns the place at which to go on where lanes are apart, and the lanes
// that are there: the first in the order of the text at which nobody has to
// wait, otherwise any.
func (w *warp) behind() (place int, on uint32) {
	place = -1
	waits := true
	for rest := w.live; rest != 0; rest &= rest - 1 {
		p := w.places[bits.TrailingZeros32(rest)]
		wait := w.run.kernel.blocks[p].kind != plain
		if place < 0 || waits && !wait || wait == waits && p < place {
			place, waits = p, wait
		}
	}
	for rest := w.live; rest != 0; rest &= rest - 1 {
		if l := bits.TrailingZeros32(rest); w.places[l] == place {
			on |= 1 << l
		}
	}
	if on == w.live {
		w.apart, w.place = false, place
	}
	return place, on
}

// leave sends lanes on from the end of a block.
func (w *warp) leave(b *block, on uint32) {
	gone := on // by jump or exit
	if b.guarded {
		guard := w.preds[b.guard]
		if b.negate {
			guard = ^guard
		}
		gone &= guard
	}
	if b.jump < 0 && !b.exit {
		gone = 0
	}
	to := b.jump
	if b.exit {
		w.live &^= gone
		on, gone, to = on&^gone, 0, b.next
		if on == 0 {
			return
		}
	}
	if !w.apart && (gone == 0 || gone == on) {
		if gone == 0 {
			to = b.next
		}
		w.place = to
		return
	}
	if !w.apart {
		w.apart = true
	}
	for rest := on; rest != 0; rest &= rest - 1 {
		l := bits.TrailingZeros32(rest)
		if w.places[l] = b.next; gone>>l&1 != 0 {
			w.places[l] = to
		}
	}
}

// text is the instruction that the warp is at.
func (w *warp) text() string {
	b := &w.run.kernel.blocks[w.place]
	return w.run.kernel.statements[min(b.from+w.op, b.to-1)].text
}

// thread is a lane's number in the block.
func (w *warp) thread(lane int) int { return w.number*warpSize + lane }

// first is the first thread of some lanes.
func (w *warp) first(lanes uint32) int { return w.thread(bits.TrailingZeros32(lanes)) }

// identity is a lane's number in the grid, from 1.
func (w *warp) identity(lane int) uint32 {
	return uint32(w.run.number*w.run.launch.Threads+w.thread(lane)) + 1
}
