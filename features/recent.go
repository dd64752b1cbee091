package features

import "math"

// The first and the last event: last, since_last, first_seen. A window keeps
// the position of each where a where clause would make looking for it long:
// the position with found set, foundNone, or 0: look for it.

const (
	found     = 1 << 63
	foundNone = 1 << 62
)

func addLast(h []uint64, pos uint32, where int) {
	switch {
	case where == tail, where == head && h[0] == foundNone:
		h[0] = found | uint64(pos)
	case where == middle:
		h[0] = 0
	}
}

func removeLast(h []uint64, pos uint32, where int) {
	if h[0] != found|uint64(pos) {
		return
	}
	h[0] = 0
	if where == head {
		h[0] = foundNone // nothing later was held
	}
}

func addFirst(h []uint64, pos uint32, where int) {
	switch {
	case where == head, where == tail && h[0] == foundNone:
		h[0] = found | uint64(pos)
	case where == middle:
		h[0] = 0
	}
}

func removeFirst(h []uint64, pos uint32, where int) {
	if h[0] != found|uint64(pos) {
		return
	}
	h[0] = 0
	if where == tail {
		h[0] = foundNone // nothing earlier was held
	}
}

// lastPos returns where the newest event of the window is, if there is one.
func (n *entity) lastPos(e *emitter) (pos uint32, ok bool) {
	h := n.h[e.last.at:]
	if h[0] == 0 {
		win := &n.k.windows[e.window]
		lo, hi := n.bounds(win)
		h[0] = foundNone
		for pos := hi; pos != lo; pos-- {
			if stamp := *n.stampAt(pos - 1); n.visible(stamp, pos-1) && n.matches(&win.groups[e.group], stamp, pos-1) {
				h[0] = found | uint64(pos-1)
				break
			}
		}
	}
	return uint32(h[0]), h[0] != foundNone
}

// firstPos returns where the oldest event of the window is, if there is one.
func (n *entity) firstPos(e *emitter) (pos uint32, ok bool) {
	h := n.h[e.first.at:]
	if h[0] == 0 {
		win := &n.k.windows[e.window]
		lo, hi := n.bounds(win)
		h[0] = foundNone
		for pos := lo; pos != hi; pos++ {
			if stamp := *n.stampAt(pos); n.visible(stamp, pos) && n.matches(&win.groups[e.group], stamp, pos) {
				h[0] = found | uint64(pos)
				break
			}
		}
	}
	return uint32(h[0]), h[0] != foundNone
}

// lastValue returns the number that the newest event before the current one
// has.
func (n *entity) lastValue(e *emitter) float64 {
	var v uint64
	switch pos, ok := n.lastPos(e); {
	case ok && *n.stampAt(pos)&bucketBit != 0:
		v = n.bucketLatest(e, *n.stampAt(pos))
	case ok:
		v = n.rowAt(pos)[e.col]
	case e.last.base > 0 && n.h[e.last.base] > 0:
		v = n.h[e.latest.base]
	default:
		return math.NaN()
	}
	if e.nullable && v == absentNumber {
		return math.NaN()
	}
	return float64(int64(v)) / e.scale
}

// sinceLast returns the seconds since the newest event before the current one.
func (n *entity) sinceLast(e *emitter) float64 {
	t := n.at
	switch pos, ok := n.lastPos(e); {
	case ok:
		t -= timeOf(*n.stampAt(pos))
	case e.last.base > 0 && n.h[e.last.base] > 0:
		t -= int64(n.h[e.last.base]) - 1
	default:
		return math.NaN()
	}
	return float64(t) / 1000
}

// firstSeen returns the seconds since the window's first event.
func (n *entity) firstSeen(e *emitter) float64 {
	t := n.at
	switch pos, ok := n.firstPos(e); {
	case e.first.base > 0 && n.h[e.first.base] > 0:
		t -= int64(n.h[e.first.base]) - 1
	case ok:
		t -= timeOf(*n.stampAt(pos))
	default:
		return 0
	}
	return float64(t) / 1000
}
