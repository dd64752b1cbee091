// Package pages gathers memory into huge pages, behind the back of who uses it.
//
// A state of hundreds of megabytes is read at random. With pages of 4 kB the processor
// has no room for where most of them lie, and walking to that costs as much as the
// memory itself. To ask for huge pages as memory is taken has whoever takes it wait
// while the system clears two megabytes, or looks for so many in one piece: p99 of a
// decision was three times what it is. So memory is taken as it comes, and gathered
// later by another goroutine, a page at a time: the system copies what is there and
// changes one entry of its tables (madvise(2), MADV_COLLAPSE, Linux 6.1). Where it
// cannot, nothing changes.
package pages

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"
)

// Rests between two pages. The process may stand still for some milliseconds while one is
// copied, most of all with one processor: so there are few where somebody waits for it.
const (
	Live = 5 * time.Second
	Busy = time.Millisecond // nobody does
)

const (
	size    = 2 << 20  // of a huge page, where the others are of 4 kB
	slabMin = 32 << 10 // bytes; several that are smaller share what Go takes from the system
	anew    = 1 << 12  // lists, an hour of one a second, after which all is gathered again: pages fall apart where memory was given back
)

// Gather gathers the memory of slabs, and returns once that is done.
func Gather(slabs func(yield func(words []uint64))) {
	for _, page := range filled(nil, spans(nil, slabs)) {
		_ = gather(page) // or it stays as it is
	}
}

// A Gatherer gathers the pages of slabs in a goroutine of its own, [Gatherer.Run].
type Gatherer struct {
	rest  atomic.Int64 // ns
	shown chan []span
	spare chan []span // memory for them; none while others are on their way
}

// NewGatherer returns one that was shown nothing.
func NewGatherer() *Gatherer {
	g := &Gatherer{shown: make(chan []span, 1), spare: make(chan []span, 1)}
	g.spare <- nil
	return g
}

// Show has slabs gathered, by and by, with a rest between two pages. While those that it
// was shown before are being gathered it changes the rest alone: what grows is to be shown
// again.
func (g *Gatherer) Show(slabs func(yield func(words []uint64)), rest time.Duration) {
	g.rest.Store(int64(rest))
	select {
	case list := <-g.spare:
		g.shown <- spans(list[:0], slabs)
	default:
	}
}

// Run gathers what is shown until the context ends. After is [time.After].
func (g *Gatherer) Run(ctx context.Context, after func(time.Duration) <-chan time.Time) {
	done := make(map[uintptr]struct{}) // or could not be
	var pages []uintptr
	for lists := 1; ; lists++ {
		var list []span
		select {
		case list = <-g.shown:
		case <-ctx.Done():
			return
		}
		if pages = filled(pages[:0], list); lists%anew == 0 {
			clear(done)
		}
		for _, page := range pages {
			if _, ok := done[page]; ok {
				continue
			}
			done[page] = struct{}{}
			_ = gather(page)
			select {
			case <-after(time.Duration(g.rest.Load())):
			case <-ctx.Done():
				return
			}
		}
		g.spare <- list
	}
}

// A span is a slab's first byte and one past its last. They are numbers, and keep no
// memory: what is gathered may be another's by then, who does not mind either.
type span struct{ from, to uintptr }

func spans(dst []span, slabs func(yield func(words []uint64))) []span {
	slabs(func(words []uint64) {
		if len(words) >= slabMin/8 {
			from := uintptr(unsafe.Pointer(&words[0]))
			dst = append(dst, span{from, from + 8*uintptr(len(words))})
		}
	})
	return dst
}

// filled appends the huge pages of which slabs fill half or more: what lies between them
// may be memory that was given back to the system, and would be taken again.
func filled(dst []uintptr, slabs []span) []uintptr {
	slices.SortFunc(slabs, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	page, full := uintptr(0), uintptr(0)
	for _, s := range slabs {
		for at := s.from &^ (size - 1); at < s.to; at += size {
			if at != page {
				page, full = at, 0
			}
			before := full
			if full += min(s.to, at+size) - max(s.from, at); before < size/2 && full >= size/2 {
				dst = append(dst, at)
			}
		}
	}
	return dst
}
