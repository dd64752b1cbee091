package features

import "math"

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
func (n *entity) total(r sumRef) (s [2]uint64) {
	copy(s[:], n.h[r.at:r.at+2])
	if r.base > 0 {
		addWords(s[:], n.h[r.base:r.base+2], 2)
	}
	return s
}

// value is the current row's number.
func (n *entity) value(e *emitter) int64 { return int64(n.row[e.col]) }

func (n *entity) sumOf(e *emitter, self bool) [2]uint64 {
	s := n.total(e.value)
	if self {
		addWord(s[:], n.value(e))
	}
	return s
}

func (n *entity) sum(e *emitter, self bool) float64 {
	s := n.sumOf(e, self)
	return float128(s[0], s[1]) / e.scale
}

func (n *entity) mean(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	s := n.sumOf(e, self)
	return float128(s[0], s[1]) / float64(float64(c)*e.scale)
}

func (n *entity) geoMean(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	s := n.total(e.ln)
	if self {
		addWord(s[:], lnFixed(n.value(e)))
	}
	return expFloat(float128(s[0], s[1])/float64(float64(c)*lnUnit)) / e.scale
}

func (n *entity) std(e *emitter, self bool) float64 {
	c := n.count(e, self)
	if c == 0 {
		return math.NaN()
	}
	s := n.sumOf(e, self)
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
