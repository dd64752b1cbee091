package ptxsim

import "math"

// matrices loads four matrices of 8 by 8 halves: lanes 8i to 8i+7 name the rows
// of matrix i, and each lane gets two neighbours of row lane/4 of each.
func matrices(c *compiler, s *statement) op {
	dst, from := c.slots(s.args[0], 4), c.address(s.args[1])
	return func(w *warp, on uint32) {
		if on != full {
			fail("some of a warp's lanes are not at a load of all")
		}
		var rows [warpSize][]byte
		for l := range rows {
			at := from.at(w, l)
			w.run.sharedLoad(w.thread(l), false, at, 16)
			rows[l] = w.run.shared[at : at+16]
		}
		for l := range warpSize {
			for i, d := range dst {
				w.words[d][l] = order.Uint32(rows[8*i+l/4][l%4*4:])
			}
		}
	}
}

// multiply adds a product of 16 by 16 and 16 by 8 halves to 16 by 8 sums. Tensor
// cores do not say how they round on the way; here the sum of the 16 products is
// exact, or nearly, and rounded once.
func multiply(c *compiler, s *statement) op {
	dst, left, right, sums := c.slots(s.args[0], 4), c.slots(s.args[1], 4), c.slots(s.args[2], 4), c.slots(s.args[3], 4)
	return func(w *warp, on uint32) {
		if on != full {
			fail("some of a warp's lanes are not at a product of all")
		}
		var a [16][16]float64
		var b [8][16]float64 // by columns
		for l := range warpSize {
			group, pair := l/4, l%4*2
			for e := range 2 {
				a[group][pair+e] = halfOf(w.words[left[0]][l], e)
				a[group+8][pair+e] = halfOf(w.words[left[1]][l], e)
				a[group][pair+8+e] = halfOf(w.words[left[2]][l], e)
				a[group+8][pair+8+e] = halfOf(w.words[left[3]][l], e)
				b[group][pair+e] = halfOf(w.words[right[0]][l], e)
				b[group][pair+8+e] = halfOf(w.words[right[1]][l], e)
			}
		}
		for l := range warpSize {
			var out [4]uint32 // what is written may lie where a sum does that is not read yet
			for e := range out {
				row, column := &a[l/4+e/2*8], &b[l%4*2+e%2]
				sum := float64(float(w.words[sums[e]][l]))
				for i, v := range row {
					sum += float64(v * column[i])
				}
				out[e] = bitsOf(float32(sum))
			}
			for e, d := range dst {
				w.words[d][l] = out[e]
			}
		}
	}
}

// halves are the values of all numbers of half precision.
var halves = func() (list [1 << 16]float32) {
	for i := range list {
		e, v := i>>10&31, float64(i&1023)
		switch {
		case e == 31 && v != 0:
			v = math.NaN()
		case e == 31:
			v = math.Inf(1)
		case e > 0:
			v = math.Ldexp(v+1024, e-25)
		default:
			v = math.Ldexp(v, -24)
		}
		if i>>15 != 0 {
			v = -v
		}
		list[i] = float32(v)
	}
	return list
}()

// halfOf is the lower or the upper half of a word.
func halfOf(v uint32, upper int) float64 { return float64(halves[v>>(16*upper)&0xffff]) }

// toHalf rounds to half precision, to nearest even.
func toHalf(v uint32) uint32 {
	f := float64(float(v))
	sign, a := v>>16&0x8000, math.Abs(f)
	switch {
	case f != f:
		return 0x7fff
	case a >= 65520:
		return sign | 0x7c00
	case a < 0x1p-14:
		return sign | uint32(math.RoundToEven(a*0x1p24))
	}
	fraction, e := math.Frexp(a)
	return sign | uint32((e+13)<<10+int(math.RoundToEven(fraction*2048)))
}
