package features

import "github.com/weir-risk/weir/schemas"

// Labels: fraud_count, fraud_rate, fraud_run. A run keeps in one word how many
// events it ends (32 bits), how many events of the window are known to be
// genuine (31 bits), and whether the run must be counted afresh. As long as
// nothing in the window is genuine, every fraud in it belongs to the run.

const (
	runStale   = 1 << 63
	runGenuine = 1 << 32
	runMask    = 1<<32 - 1
)

func labelOf(row []uint64) schemas.LabelVerdict {
	return schemas.LabelVerdict(row[0] & labelMask >> labelShift)
}

func genuine(h uint64) uint64 { return h &^ runStale / runGenuine }

func addRun(h, row []uint64, where int) {
	switch labelOf(row) {
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
			h[0] = h[0]&^runMask | (h[0]+1)&runMask
		}
	}
}

func removeRun(h, row []uint64, where int) {
	switch labelOf(row) {
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
			h[0] = h[0]&^runMask | (h[0]-1)&runMask
		}
	}
}

// mergeRun appends the run at src, of later events.
func mergeRun(dst, src []uint64) {
	run := src[0] & runMask
	if genuine(src[0]) == 0 {
		run += dst[0] & runMask
	}
	dst[0] = (genuine(dst[0])+genuine(src[0]))*runGenuine | run&runMask
}

// relabel changes the label of the row at pos, which queries see or not, in
// the windows that hold it.
func (n *entity) relabel(pos uint32, to schemas.LabelVerdict) {
	row := n.rowAt(pos)
	from := labelOf(row)
	row[0] = row[0]&^labelMask | uint64(to)<<labelShift
	if from == to || !n.visible(row) {
		return
	}
	for w := range n.k.windows {
		win := &n.k.windows[w]
		lo, hi := n.bounds(win)
		if pos-lo >= hi-lo {
			continue
		}
		for g := range win.groups {
			if grp := &win.groups[g]; row[grp.word]&grp.mask == grp.mask {
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
		h[0] = h[0]&^runStale&^runMask | n.countRun(e)
	}
	run := h[0] & runMask
	if e.run.base > 0 && genuine(h[0]) == 0 {
		run += n.h[e.run.base] & runMask
	}
	return float64(run)
}

func (n *entity) countRun(e *emitter) (run uint64) {
	win := &n.k.windows[e.window]
	grp := &win.groups[e.group]
	lo, hi := n.bounds(win)
	for pos := hi; pos != lo; pos-- {
		row := n.rowAt(pos - 1)
		if !n.visible(row) || !n.matches(grp, row) {
			continue
		}
		if row[0]&bucketBit != 0 {
			frauds, more := n.bucketRun(grp.where, row)
			run += frauds
			if !more {
				break
			}
			continue
		}
		switch labelOf(row) {
		case schemas.LabelFraud:
			run++
		case schemas.LabelGenuine:
			return run
		}
	}
	return run
}
