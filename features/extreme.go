package features

import "math"

// Extremes: min and max. A window keeps the value, shifted left by one, and in
// the low bit whether it is stale: the event that had it has left. Then it is
// still a bound, so the search for the next one ends early where that is equal.

const (
	noMin = math.MaxInt64 - 1 // no value: above any
	noMax = 1 << 63           // below any
)

func addMin(h []uint64, v int64) {
	if s := int64(h[0]); v<<1 <= s {
		h[0] = uint64(v << 1)
	}
}

func addMax(h []uint64, v int64) {
	// A stale value has its low bit set and is above its own even form.
	if s := int64(h[0]); v<<1 >= s&^1 {
		h[0] = uint64(v << 1)
	}
}

func removeEdge(h []uint64, v int64) {
	if int64(h[0]) == v<<1 {
		h[0] |= 1
	}
}

// edge returns the minimum or maximum.
func (n *entity) edge(e *emitter, self bool) float64 {
	if n.count(e, self) == 0 {
		return math.NaN()
	}
	best := n.h[e.edge.at]
	if best&1 == 1 {
		best = n.search(e, int64(best)>>1)
		n.h[e.edge.at] = best
	}
	v := int64(best)
	better := func(w int64) {
		if e.edgeOp == sumMin {
			v = min(v, w)
		} else {
			v = max(v, w)
		}
	}
	if e.edge.base > 0 {
		better(int64(n.h[e.edge.base]))
	}
	if self {
		better(n.value(e) << 1)
	}
	return float64(v>>1) / e.scale
}

// search finds the extreme of the window's events, none beyond bound.
func (n *entity) search(e *emitter, bound int64) uint64 {
	win := &n.k.windows[e.window]
	grp := &win.groups[e.group]
	lo, hi := n.bounds(win)
	least := e.edgeOp == sumMin
	best := uint64(noMax)
	if least {
		best = noMin
	}
	for pos := hi; pos != lo && int64(best)>>1 != bound; pos-- {
		row, stamp := n.rowAt(pos-1), *n.stampAt(pos - 1)
		switch {
		case !n.visible(stamp, pos-1) || !n.matches(grp, stamp, pos-1):
		case stamp&bucketBit != 0:
			best = n.searchBucket(e, best, stamp)
		case e.nullable && row[e.col] == absentNumber:
		case least:
			best = uint64(min(int64(best), int64(row[e.col])<<1))
		default:
			best = uint64(max(int64(best), int64(row[e.col])<<1))
		}
	}
	return best
}
