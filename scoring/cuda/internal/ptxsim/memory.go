package ptxsim

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// Access says what a kernel may do with an allocation.
type Access int

// The kinds of access.
const (
	ReadOnly Access = iota
	ReadWrite
	WriteOnly
	// Signal is WriteOnly memory by which the host learns that all is there: behind
	// a store to it, no thread may store anything.
	Signal
)

// Memory is a device's global memory, with the host's that is mapped into it.
type Memory struct {
	next     uint64
	segments []*segment
	atomics  sync.Mutex
	signal   atomic.Bool
}

// segment is one allocation.
type segment struct {
	base   uint64
	data   []byte
	access Access
	owner  []uint32 // of each word, the thread that touched it first in this launch; 0 is nobody
}

// byAtomics is the owner of words that atomics change.
const byAtomics = 1<<32 - 1

// gap is what lies unused between allocations, so that to run over the end of one
// is to run into nothing.
const gap = 1 << 20

// Alloc makes n zero bytes and returns their address, a multiple of 256, and the
// bytes, which the caller may read and write between launches.
func (m *Memory) Alloc(n int, access Access) (uint64, []byte) {
	if m.next == 0 {
		m.next = 1 << 36
	}
	s := &segment{base: m.next, data: make([]byte, n), access: access}
	if access != ReadOnly {
		s.owner = make([]uint32, (n+3)/4)
	}
	m.segments = append(m.segments, s)
	m.next += (uint64(n) + gap + 255) / 256 * 256
	return s.base, s.data
}

// Free gives an allocation back: its address leads nowhere from now on.
func (m *Memory) Free(addr uint64) {
	m.segments = slices.DeleteFunc(m.segments, func(s *segment) bool { return s.base == addr })
}

// begin readies the memory for a launch.
func (m *Memory) begin() {
	m.signal.Store(false)
	for _, s := range m.segments {
		clear(s.owner)
	}
}

// segment returns the one that holds n bytes at addr.
func (m *Memory) segment(addr, n uint64) *segment {
	for _, s := range m.segments {
		if addr >= s.base && addr+n <= s.base+uint64(len(s.data)) {
			return s
		}
	}
	fail("global access of %d bytes at %#x, outside every allocation", n, addr)
	return nil
}

// find is segment, trying the one of the access before first.
func (w *warp) find(addr, n uint64) *segment {
	if s := w.segment; s != nil && addr >= s.base && addr+n <= s.base+uint64(len(s.data)) {
		return s
	}
	w.segment = w.run.memory.segment(addr, n)
	return w.segment
}

func (w *warp) aligned(addr, n uint64) {
	if addr%n != 0 {
		fail("access of %d bytes at %#x is not aligned", n, addr)
	}
}

// load returns n bytes of global memory, which is constant if the instruction
// goes by a cache that does not see what is written.
func (w *warp) load(lane int, addr, n uint64, constant bool) []byte {
	w.aligned(addr, n)
	s := w.find(addr, n)
	at := addr - s.base
	switch s.access {
	case WriteOnly, Signal:
		fail("thread %d reads memory that is only written", w.thread(lane))
	case ReadWrite:
		if constant {
			fail("thread %d reads memory as if nobody wrote it", w.thread(lane))
		}
		for i := at / 4; i < (at+n)/4; i++ {
			if o := atomic.LoadUint32(&s.owner[i]); o != 0 && o != w.identity(lane) {
				fail("thread %d reads global word %d, which another thread wrote in this launch", w.thread(lane), i)
			}
		}
	}
	return s.data[at : at+n]
}

// store returns n bytes of global memory to be written.
func (w *warp) store(lane int, addr, n uint64) []byte {
	w.aligned(addr, n)
	s := w.find(addr, n)
	at := addr - s.base
	if s.access == ReadOnly {
		fail("thread %d writes to memory that is only read", w.thread(lane))
	}
	for i := at / 4; i < (at+n)/4; i++ {
		if o := atomic.SwapUint32(&s.owner[i], w.identity(lane)); o != 0 && o != w.identity(lane) {
			fail("thread %d writes global word %d, which another thread touched in this launch", w.thread(lane), i)
		}
	}
	if w.run.memory.signal.Load() {
		fail("thread %d stores behind the signal that all is there", w.thread(lane))
	}
	if s.access == Signal {
		w.run.memory.signal.Store(true)
	}
	if t := w.run.ticket; t >= 0 && t != w.thread(lane) {
		fail("thread %d stores behind the atomic of thread %d of its block", w.thread(lane), t)
	}
	w.unfenced |= 1 << lane
	return s.data[at : at+n]
}

// exchange changes a word of global memory by f, atomically, and returns what it was.
func (w *warp) exchange(lane int, addr uint64, f func(uint32) uint32) uint32 {
	w.aligned(addr, 4)
	for _, other := range w.run.warps {
		if other.unfenced != 0 {
			fail("thread %d takes a ticket while thread %d has stores that no fence made visible", w.thread(lane), other.first(other.unfenced))
		}
	}
	s := w.find(addr, 4)
	at := addr - s.base
	if s.access != ReadWrite {
		fail("an atomic on memory of another kind")
	}
	m := w.run.memory
	m.atomics.Lock()
	defer m.atomics.Unlock()
	if o := atomic.SwapUint32(&s.owner[at/4], byAtomics); o != 0 && o != byAtomics {
		fail("an atomic on global word %d, which a thread touched in this launch", at/4)
	}
	word := s.data[at : at+4]
	was := binary.LittleEndian.Uint32(word)
	binary.LittleEndian.PutUint32(word, f(was))
	w.run.ticket = w.thread(lane)
	return was
}

// A stamp says when a shared word was last touched and by whom: the block's
// epoch, which a barrier ends, above the thread.
const (
	stampEpoch = 10
	stampMany  = 1 << 9 // several threads
)

// sharedLoad checks a read of n bytes by a thread, or by several at once.
func (r *run) sharedLoad(thread int, many bool, addr, n uint64) {
	r.sharedBounds(thread, addr, n)
	stamp := r.epoch<<stampEpoch | uint32(thread)
	for i := addr / 4; i < (addr+n)/4; i++ {
		by := r.writer[i]
		if by == 0 {
			fail("thread %d reads shared word %d, which nobody wrote", thread, i)
		}
		if by>>stampEpoch == r.epoch && (by != stamp || many) {
			fail("race: thread %d reads shared word %d, which thread %d wrote with no barrier between", thread, i, by%stampMany)
		}
		was := r.reader[i]
		if was>>stampEpoch != r.epoch {
			was = stamp
		}
		if was != stamp || many {
			was |= stampMany
		}
		r.reader[i] = was
	}
}

// sharedStore checks a write.
func (r *run) sharedStore(thread int, addr, n uint64) {
	r.sharedBounds(thread, addr, n)
	stamp := r.epoch<<stampEpoch | uint32(thread)
	for i := addr / 4; i < (addr+n)/4; i++ {
		if by := r.writer[i]; by>>stampEpoch == r.epoch && by != stamp {
			fail("race: threads %d and %d write shared word %d with no barrier between", by%stampMany, thread, i)
		}
		if by := r.reader[i]; by>>stampEpoch == r.epoch && by != stamp {
			fail("race: thread %d writes shared word %d, which others read with no barrier between", thread, i)
		}
		r.writer[i] = stamp
	}
}

func (r *run) sharedBounds(thread int, addr, n uint64) {
	if addr%n != 0 {
		fail("thread %d: shared access of %d bytes at %d is not aligned", thread, n, addr)
	}
	if addr > r.kernel.shared || addr+n > r.kernel.shared {
		fail("thread %d: shared access of %d bytes at %d of %d", thread, n, addr, r.kernel.shared)
	}
}
