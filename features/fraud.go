package features

import (
	"math"

	"github.com/weir-risk/weir/schemas"
)

// Labels: fraud_count, fraud_rate, fraud_run, fraud_run_age. A run keeps in one
// word how many events it ends (32 bits), how many events of the window are known
// to be genuine (31 bits), and whether the run must be counted afresh; in the next,
// the time + 1 of its first event, 0 where that must be looked for. As long as
// nothing in the window is genuine, every fraud in it belongs to the run.

const (
	runStale   = 1 << 63
	runGenuine = 1 << 32
	runMask    = 1<<32 - 1
)

func labelOf(stamp uint64) schemas.LabelVerdict {
	return schemas.LabelVerdict(stamp & labelMask >> labelShift)
}

func genuine(h uint64) uint64 { return h &^ runStale / runGenuine }

func addRun(h []uint64, stamp uint64, where int) {
	switch labelOf(stamp) {
	case schemas.LabelGenuine:
		h[0] += runGenuine
		switch where {
		case tail:
			h[0] &^= runMask
		case middle:
			h[0] |= runStale
		}
	case schemas.LabelFraud:
		switch {
		case where == middle:
			h[0] |= runStale
		case where == tail, genuine(h[0]) == 0:
			if where == head || h[0]&runMask == 0 {
				h[1] = uint64(timeOf(stamp) + 1)
			}
			h[0] = h[0]&^runMask | (h[0]+1)&runMask
		}
	}
}

func removeRun(h []uint64, stamp uint64, where int) {
	switch labelOf(stamp) {
	case schemas.LabelGenuine:
		h[0] -= runGenuine
		if where != head {
			h[0] |= runStale
		}
	case schemas.LabelFraud:
		switch {
		case where == middle:
			h[0] |= runStale
		case where == tail, genuine(h[0]) == 0:
			if where == head {
				h[1] = 0
			}
			h[0] = h[0]&^runMask | (h[0]-1)&runMask
		}
	}
}

// mergeRun appends the run at src, of later events.
func mergeRun(dst, src []uint64) {
	run, first := src[0]&runMask, src[1]
	if before := dst[0] & runMask; genuine(src[0]) == 0 && before > 0 {
		run, first = run+before, dst[1]
	}
	dst[0] = (genuine(dst[0])+genuine(src[0]))*runGenuine | run&runMask
	dst[1] = first
}

// relabel changes the label of the row at pos, which queries see or not, in
// the windows that hold it.
func (n *entity) relabel(pos uint32, to schemas.LabelVerdict) {
	stamp := n.stampAt(pos)
	from := labelOf(*stamp)
	*stamp = *stamp&^labelMask | uint64(to)<<labelShift
	if from == to || !n.visible(*stamp, pos) {
		return
	}
	bits := n.bits(*stamp, pos)
	for w := range n.k.windows {
		win := &n.k.windows[w]
		lo, hi := n.bounds(win)
		if pos-lo >= hi-lo {
			continue
		}
		for g := range win.groups {
			if grp := &win.groups[g]; bits&grp.mask == grp.mask {
				n.relabelGroup(grp, from, to)
			}
		}
	}
}

func (n *entity) relabelGroup(grp *group, from, to schemas.LabelVerdict) {
	for i := range grp.sums {
		h := n.h[grp.sums[i].at:]
		switch grp.sums[i].op {
		case sumFraud:
			h[0] += uint64(to>>1) - uint64(from>>1)
		case sumRun:
			h[0] += uint64(to&1)*runGenuine - uint64(from&1)*runGenuine
			h[0] |= runStale
		}
	}
}

// frauds returns the number of events known to be fraud.
func (n *entity) frauds(e *emitter) int64 {
	c := n.h[e.fraud.at]
	if e.fraud.base > 0 {
		c += n.h[e.fraud.base]
	}
	return int64(c)
}

func (n *entity) fraudRate(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return 0
	}
	return float64(n.frauds(e)) / float64(c)
}

// fraudRun returns how many frauds end the labelled events of the window.
func (n *entity) fraudRun(e *emitter) float64 {
	h := n.h[e.run.at:]
	if h[0]&runStale != 0 {
		n.countRun(e, h)
	}
	run := h[0] & runMask
	if e.run.base > 0 && genuine(h[0]) == 0 {
		run += n.h[e.run.base] & runMask
	}
	return float64(run)
}

// fraudRunAge returns the seconds since the first event of the run; NaN where
// there is no run.
func (n *entity) fraudRunAge(e *emitter) float64 {
	if n.fraudRun(e) == 0 {
		return math.NaN()
	}
	h := n.h[e.run.at:]
	if e.run.base > 0 && genuine(h[0]) == 0 && n.h[e.run.base]&runMask > 0 {
		return float64(n.at-int64(n.h[e.run.base+1])+1) / 1000
	}
	if h[1] == 0 {
		n.findRun(e, h)
	}
	return float64(n.at-int64(h[1])+1) / 1000
}

// findRun looks for the first event of a run whose first one has left.
func (n *entity) findRun(e *emitter, h []uint64) {
	if genuine(h[0]) > 0 {
		n.countRun(e, h)
		return
	}
	// Every fraud of the window is of the run.
	win := &n.k.windows[e.window]
	grp := &win.groups[e.group]
	for pos, hi := n.bounds(win); pos != hi; pos++ {
		stamp := *n.stampAt(pos)
		switch {
		case !n.visible(stamp, pos) || !n.matches(grp, stamp, pos):
		case stamp&bucketBit != 0:
			if frauds, first, _ := n.bucketRun(grp.where, stamp); frauds > 0 {
				h[1] = first
				return
			}
		case labelOf(stamp) == schemas.LabelFraud:
			h[1] = uint64(timeOf(stamp) + 1)
			return
		}
	}
}

// countRun counts a run afresh, and finds its first event.
func (n *entity) countRun(e *emitter, h []uint64) {
	run := uint64(0)
	defer func() { h[0] = h[0]&^runStale&^runMask | run }()
	win := &n.k.windows[e.window]
	grp := &win.groups[e.group]
	lo, hi := n.bounds(win)
	for pos := hi; pos != lo; pos-- {
		stamp := *n.stampAt(pos - 1)
		if !n.visible(stamp, pos-1) || !n.matches(grp, stamp, pos-1) {
			continue
		}
		if stamp&bucketBit != 0 {
			frauds, first, more := n.bucketRun(grp.where, stamp)
			if frauds > 0 {
				run, h[1] = run+frauds, first
			}
			if !more {
				return
			}
			continue
		}
		switch labelOf(stamp) {
		case schemas.LabelFraud:
			run, h[1] = run+1, uint64(timeOf(stamp)+1)
		case schemas.LabelGenuine:
			return
		}
	}
}
