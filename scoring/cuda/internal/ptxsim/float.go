package ptxsim

import "math"

// canonical is the NaN that a GPU gives.
const canonical = 0x7fffffff

func float(v uint32) float32 { return math.Float32frombits(v) }

// bitsOf returns a result's bits.
func bitsOf(f float32) uint32 {
	if f != f {
		return canonical
	}
	return math.Float32bits(f)
}

// fma is a*b + c rounded once. The product is exact in float64; where the sum,
// rounded to float64, cannot mislead a second rounding, that is all.
func fma(a, b, c uint32) uint32 {
	s := float64(float(a))*float64(float(b)) + float64(float(c))
	x := math.Float64bits(s)
	if e := x >> 52 & 0x7ff; e-(1023-126) < 254-1 && x&(1<<29-1) != 1<<28 {
		return math.Float32bits(float32(s))
	}
	return fmaSlowly(float64(float(a))*float64(float(b)), float64(float(c)))
}

// fmaSlowly is p + z rounded once to float32: the sum is first rounded to odd, with
// which the second rounding cannot tie wrongly.
func fmaSlowly(p, z float64) uint32 {
	s := p + z
	if math.IsInf(s, 0) || s != s {
		return bitsOf(float32(s))
	}
	v := s - p
	low := (p - (s - v)) + (z - v) // s + low is exact
	x := math.Float64bits(s)
	if low != 0 && x&1 == 0 {
		if (low > 0) == (s > 0) {
			x++
		} else {
			x--
		}
	}
	return math.Float32bits(float32(math.Float64frombits(x)))
}

// maxOf and minOf are max.f32 and min.f32: NaN loses, and +0 is above -0.
func maxOf(a, b uint32) uint32 {
	x, y := float(a), float(b)
	switch {
	case x > y:
		return a
	case y > x:
		return b
	case x != x:
		return bitsOf(y)
	case y != y:
		return a
	}
	return a & b // equal: -0 only if both are
}

func minOf(a, b uint32) uint32 {
	x, y := float(a), float(b)
	switch {
	case x < y:
		return a
	case y < x:
		return b
	case x != x:
		return bitsOf(y)
	case y != y:
		return a
	}
	return a | b
}

// toInt is cvt.rzi.s32.f32: NaN is 0, and what is too large the largest.
func toInt(a uint32) uint32 {
	switch x := float64(float(a)); {
	case x != x:
		return 0
	case x <= math.MinInt32:
		return 1 << 31
	case x >= math.MaxInt32:
		return math.MaxInt32
	default:
		return uint32(int32(x))
	}
}
