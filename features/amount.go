package features

import (
	"math"
	"math/bits"
)

// Counts and amounts: count, sum, mean, geo_mean, std. Each result is one or
// two correctly rounded operations on exact integers.

// count returns the number of events, the current one among them if self.
func (n *entity) count(e *emitter, self bool) int64 {
	c := n.h[e.count.at]
	if e.count.base > 0 {
		c += n.h[e.count.base]
	}
	if self {
		c++
	}
	return int64(c)
}

// total returns the 128-bit sum at r and in its base.
func (n *entity) total(r sumRef) (lo, hi uint64) {
	lo, hi = n.h[r.at], n.h[r.at+1]
	if r.base > 0 {
		var c uint64
		lo, c = bits.Add64(lo, n.h[r.base], 0)
		hi, _ = bits.Add64(hi, n.h[r.base+1], c)
	}
	return lo, hi
}

// plus returns the 128-bit sum with the signed v added.
func plus(lo, hi uint64, v int64) (uint64, uint64) {
	lo, c := bits.Add64(lo, uint64(v), 0)
	return lo, hi + uint64(v>>63) + c
}

// value is the current row's number.
func (n *entity) value(e *emitter) int64 { return int64(n.row[e.col]) }

func (n *entity) sumOf(e *emitter, self bool) (lo, hi uint64) {
	lo, hi = n.total(e.value)
	if self {
		lo, hi = plus(lo, hi, n.value(e))
	}
	return lo, hi
}

func (n *entity) sum(e *emitter, self bool) float64 {
	return float128(n.sumOf(e, self)) / e.scale
}

func (n *entity) mean(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	return float128(n.sumOf(e, self)) / float64(float64(c)*e.scale)
}

func (n *entity) geoMean(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	lo, hi := n.total(e.ln)
	if self {
		lo, hi = plus(lo, hi, lnFixed(n.value(e)))
	}
	return expFloat(float128(lo, hi)/float64(float64(c)*lnUnit)) / e.scale
}

func (n *entity) std(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	var s [2]uint64
	s[0], s[1] = n.sumOf(e, self)
	var q [3]uint64
	copy(q[:], n.h[e.square.at:e.square.at+3])
	if e.square.base > 0 {
		addWords(q[:], n.h[e.square.base:e.square.base+3], 3)
	}
	if self {
		own := square(n.value(e))
		addWords(q[:], own[:], 3)
	}
	return math.Sqrt(spread(uint64(c), s, q).float()) / float64(float64(c)*e.scale)
}
