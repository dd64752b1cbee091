package ptxsim

import (
	"math"
	"strings"
)

// maker makes the closure of an instruction.
type maker func(c *compiler, s *statement) op

// instructions are those that are simulated.
var instructions = make(map[string]maker)

func define(m maker, names ...string) {
	for _, name := range names {
		instructions[name] = m
	}
}

func init() {
	moves()
	integers()
	floats()
	choices()
	wideMoves()
}

func moves() {
	define(func(c *compiler, s *statement) op {
		d, a := c.word(s.args[0]), c.word(s.args[1])
		return func(w *warp, on uint32) {
			if on == full {
				w.words[d] = w.words[a]
				return
			}
			lanes(on, func(l int) { w.words[d][l] = w.words[a][l] })
		}
	}, "mov.u32", "mov.b32", "mov.f32", "mov.s32")
	define(func(c *compiler, s *statement) op {
		d, a := c.wide(s.args[0]), c.wide(s.args[1])
		return func(w *warp, on uint32) { lanes(on, func(l int) { w.wides[d][l] = w.wides[a][l] }) }
	}, "mov.u64", "mov.s64", "cvta.to.global.u64")
	define(func(c *compiler, s *statement) op {
		d, at := c.wide(s.args[0]), -1
		for i, p := range c.params {
			if s.args[1] == "["+p+"]" {
				at = i
			}
		}
		if at < 0 {
			fail("%s: no parameter %s", c.name, s.args[1])
		}
		return func(w *warp, on uint32) { lanes(on, func(l int) { w.wides[d][l] = w.run.launch.Args[at] }) }
	}, "ld.param.u64")
}

// words2 is an instruction of two words.
func words2(f func(a, b uint32) uint32) maker {
	return func(c *compiler, s *statement) op {
		d, a, b := c.word(s.args[0]), c.word(s.args[1]), c.word(s.args[2])
		return func(w *warp, on uint32) {
			dst, x, y := &w.words[d], &w.words[a], &w.words[b]
			if on == full {
				for l := range dst {
					dst[l] = f(x[l], y[l])
				}
				return
			}
			lanes(on, func(l int) { dst[l] = f(x[l], y[l]) })
		}
	}
}

func words1(f func(a uint32) uint32) maker {
	return func(c *compiler, s *statement) op {
		d, a := c.word(s.args[0]), c.word(s.args[1])
		return func(w *warp, on uint32) { lanes(on, func(l int) { w.words[d][l] = f(w.words[a][l]) }) }
	}
}

func words3(f func(a, b, c uint32) uint32) maker {
	return func(c *compiler, s *statement) op {
		d, x, y, z := c.word(s.args[0]), c.word(s.args[1]), c.word(s.args[2]), c.word(s.args[3])
		return func(w *warp, on uint32) {
			lanes(on, func(l int) { w.words[d][l] = f(w.words[x][l], w.words[y][l], w.words[z][l]) })
		}
	}
}

func wides2(f func(a, b uint64) uint64) maker {
	return func(c *compiler, s *statement) op {
		d, a, b := c.wide(s.args[0]), c.wide(s.args[1]), c.wide(s.args[2])
		return func(w *warp, on uint32) {
			lanes(on, func(l int) { w.wides[d][l] = f(w.wides[a][l], w.wides[b][l]) })
		}
	}
}

// shift64 is a shift of 64 bits by a word.
func shift64(f func(a uint64, by uint32) uint64) maker {
	return func(c *compiler, s *statement) op {
		d, a, b := c.wide(s.args[0]), c.wide(s.args[1]), c.word(s.args[2])
		return func(w *warp, on uint32) {
			lanes(on, func(l int) { w.wides[d][l] = f(w.wides[a][l], w.words[b][l]) })
		}
	}
}

// widen makes 64 bits of words.
func widen(f func(a, b uint32) uint64) maker {
	return func(c *compiler, s *statement) op {
		d, a := c.wide(s.args[0]), c.word(s.args[1])
		b := a
		if len(s.args) > 2 {
			b = c.word(s.args[2])
		}
		return func(w *warp, on uint32) {
			lanes(on, func(l int) { w.wides[d][l] = f(w.words[a][l], w.words[b][l]) })
		}
	}
}

func integers() {
	define(words2(func(a, b uint32) uint32 { return a + b }), "add.s32", "add.u32")
	define(words2(func(a, b uint32) uint32 { return a - b }), "sub.s32", "sub.u32")
	define(words2(func(a, b uint32) uint32 { return a * b }), "mul.lo.s32", "mul.lo.u32")
	define(words3(func(a, b, c uint32) uint32 { return a*b + c }), "mad.lo.s32", "mad.lo.u32")
	define(words2(func(a, b uint32) uint32 {
		if b == 0 {
			fail("a division by zero")
		}
		return a / b
	}), "div.u32")
	define(words2(func(a, b uint32) uint32 {
		if b == 0 {
			fail("a division by zero")
		}
		return a % b
	}), "rem.u32")
	define(words2(func(a, b uint32) uint32 { return min(a, b) }), "min.u32")
	define(words2(func(a, b uint32) uint32 { return max(a, b) }), "max.u32")
	define(words2(func(a, b uint32) uint32 { return uint32(min(int32(a), int32(b))) }), "min.s32")
	define(words2(func(a, b uint32) uint32 { return uint32(max(int32(a), int32(b))) }), "max.s32")
	define(words2(func(a, b uint32) uint32 { return a & b }), "and.b32")
	define(words2(func(a, b uint32) uint32 { return a | b }), "or.b32")
	define(words2(func(a, b uint32) uint32 { return a ^ b }), "xor.b32")
	define(words1(func(a uint32) uint32 { return ^a }), "not.b32")
	define(func(c *compiler, s *statement) op { // some bits of a, at a place in b
		d, a, b, at, n := c.word(s.args[0]), c.word(s.args[1]), c.word(s.args[2]), c.word(s.args[3]), c.word(s.args[4])
		return func(w *warp, on uint32) {
			lanes(on, func(l int) {
				mask := (uint32(1)<<w.words[n][l] - 1) << w.words[at][l]
				w.words[d][l] = w.words[b][l]&^mask | w.words[a][l]<<w.words[at][l]&mask
			})
		}
	}, "bfi.b32")
	define(words3(func(a, b, c uint32) (d uint32) { // four bytes of a and b, by number
		for i := 0; i < 16; i += 4 {
			at := c >> i & 15
			if at > 7 {
				fail("a byte's sign is not simulated")
			}
			d |= uint32((uint64(b)<<32|uint64(a))>>(8*at)&0xff) << (2 * i)
		}
		return d
	}), "prmt.b32")
	define(words1(func(a uint32) uint32 { return -a }), "neg.s32")
	// A shift by more than there are bits leaves nothing, in Go as in PTX.
	define(words2(func(a, b uint32) uint32 { return a << b }), "shl.b32")
	define(words2(func(a, b uint32) uint32 { return a >> b }), "shr.u32", "shr.b32")
	define(words2(func(a, b uint32) uint32 { return uint32(int32(a) >> b) }), "shr.s32")
	define(shift64(func(a uint64, by uint32) uint64 { return a << by }), "shl.b64")
	define(shift64(func(a uint64, by uint32) uint64 { return a >> by }), "shr.u64", "shr.b64")
	define(shift64(func(a uint64, by uint32) uint64 { return uint64(int64(a) >> by) }), "shr.s64")
	define(wides2(func(a, b uint64) uint64 { return a + b }), "add.s64", "add.u64")
	define(wides2(func(a, b uint64) uint64 { return a - b }), "sub.s64", "sub.u64")
	define(wides2(func(a, b uint64) uint64 { return a * b }), "mul.lo.s64", "mul.lo.u64")
	define(wides2(func(a, b uint64) uint64 { return a & b }), "and.b64")
	define(wides2(func(a, b uint64) uint64 { return a | b }), "or.b64")
	define(widen(func(a, b uint32) uint64 { return uint64(a) * uint64(b) }), "mul.wide.u32")
	define(widen(func(a, b uint32) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) }), "mul.wide.s32")
	define(widen(func(a, _ uint32) uint64 { return uint64(a) }), "cvt.u64.u32")
	define(widen(func(a, _ uint32) uint64 { return uint64(int64(int32(a))) }), "cvt.s64.s32")
	define(func(c *compiler, s *statement) op {
		d, a := c.word(s.args[0]), c.wide(s.args[1])
		return func(w *warp, on uint32) { lanes(on, func(l int) { w.words[d][l] = uint32(w.wides[a][l]) }) }
	}, "cvt.u32.u64")
}

func floats() {
	define(func(c *compiler, s *statement) op { // most of the time goes here
		d, x, y, z := c.word(s.args[0]), c.word(s.args[1]), c.word(s.args[2]), c.word(s.args[3])
		return func(w *warp, on uint32) {
			dst, x, y, z := &w.words[d], &w.words[x], &w.words[y], &w.words[z]
			if on == full {
				for l := range dst {
					dst[l] = fma(x[l], y[l], z[l])
				}
				return
			}
			lanes(on, func(l int) { dst[l] = fma(x[l], y[l], z[l]) })
		}
	}, "fma.rn.f32")
	two := func(f func(a, b float32) float32) maker {
		return words2(func(a, b uint32) uint32 { return bitsOf(f(float(a), float(b))) })
	}
	define(two(func(a, b float32) float32 { return a + b }), "add.rn.f32", "add.f32")
	define(two(func(a, b float32) float32 { return a - b }), "sub.rn.f32", "sub.f32")
	define(two(func(a, b float32) float32 { return a * b }), "mul.rn.f32", "mul.f32")
	define(two(func(a, b float32) float32 { return a / b }), "div.rn.f32")
	define(words2(maxOf), "max.f32")
	define(words2(minOf), "min.f32")
	define(words1(func(a uint32) uint32 { return a ^ 1<<31 }), "neg.f32")
	define(words1(func(a uint32) uint32 { return a &^ (1 << 31) }), "abs.f32")
	define(words1(toInt), "cvt.rzi.s32.f32")
	define(words2(func(a, b uint32) uint32 { return toHalf(a)<<16 | toHalf(b) }), "cvt.rn.f16x2.f32")
	define(words1(func(a uint32) uint32 { return math.Float32bits(float32(a)) }), "cvt.rn.f32.u32")
	define(words1(func(a uint32) uint32 { return math.Float32bits(float32(int32(a))) }), "cvt.rn.f32.s32")
}

// choices are comparisons and what follows from them.
func choices() {
	define(func(c *compiler, s *statement) op {
		d, a, b, p := c.word(s.args[0]), c.word(s.args[1]), c.word(s.args[2]), c.pred(s.args[3])
		return func(w *warp, on uint32) {
			guard := w.preds[p]
			lanes(on, func(l int) {
				v := w.words[b][l]
				if guard>>l&1 != 0 {
					v = w.words[a][l]
				}
				w.words[d][l] = v
			})
		}
	}, "selp.b32", "selp.f32", "selp.u32", "selp.s32")
	for name, f := range map[string]func(a, b uint32) uint32{
		"and.pred": func(a, b uint32) uint32 { return a & b },
		"or.pred":  func(a, b uint32) uint32 { return a | b },
		"xor.pred": func(a, b uint32) uint32 { return a ^ b },
	} {
		define(func(c *compiler, s *statement) op {
			d, a, b := c.pred(s.args[0]), c.pred(s.args[1]), c.pred(s.args[2])
			return func(w *warp, on uint32) { w.set(d, on, f(w.preds[a], w.preds[b])) }
		}, name)
	}
	define(func(c *compiler, s *statement) op {
		d, a := c.pred(s.args[0]), c.pred(s.args[1])
		return func(w *warp, on uint32) { w.set(d, on, ^w.preds[a]) }
	}, "not.pred")
	compare := func(f func(a, b uint32) bool) maker {
		return func(c *compiler, s *statement) op {
			d, a, b := c.pred(s.args[0]), c.word(s.args[1]), c.word(s.args[2])
			return func(w *warp, on uint32) {
				v := uint32(0)
				lanes(on, func(l int) {
					if f(w.words[a][l], w.words[b][l]) {
						v |= 1 << l
					}
				})
				w.set(d, on, v)
			}
		}
	}
	define(compare(func(a, b uint32) bool { return a == b }), "setp.eq.s32", "setp.eq.u32", "setp.eq.b32")
	define(compare(func(a, b uint32) bool { return a != b }), "setp.ne.s32", "setp.ne.u32", "setp.ne.b32")
	define(compare(func(a, b uint32) bool { return a < b }), "setp.lt.u32")
	define(compare(func(a, b uint32) bool { return a <= b }), "setp.le.u32")
	define(compare(func(a, b uint32) bool { return a > b }), "setp.gt.u32")
	define(compare(func(a, b uint32) bool { return a >= b }), "setp.ge.u32")
	define(compare(func(a, b uint32) bool { return int32(a) < int32(b) }), "setp.lt.s32")
	define(compare(func(a, b uint32) bool { return int32(a) <= int32(b) }), "setp.le.s32")
	define(compare(func(a, b uint32) bool { return int32(a) > int32(b) }), "setp.gt.s32")
	define(compare(func(a, b uint32) bool { return int32(a) >= int32(b) }), "setp.ge.s32")
	for name, f := range map[string]func(a, b float32) bool{
		"eq": func(a, b float32) bool { return a == b }, "lt": func(a, b float32) bool { return a < b },
		"le": func(a, b float32) bool { return a <= b }, "gt": func(a, b float32) bool { return a > b },
		"ge": func(a, b float32) bool { return a >= b }, "neu": func(a, b float32) bool { return a != b },
		// With a u, NaN makes it true.
		"ltu": func(a, b float32) bool { return !(a >= b) }, "leu": func(a, b float32) bool { return !(a > b) },
		"gtu": func(a, b float32) bool { return !(a <= b) }, "geu": func(a, b float32) bool { return !(a < b) },
		"nan": func(a, b float32) bool { return a != a || b != b }, "num": func(a, b float32) bool { return a == a && b == b },
	} {
		define(compare(func(a, b uint32) bool { return f(float(a), float(b)) }), "setp."+name+".f32")
	}
}

// set writes a predicate in the lanes that are on.
func (w *warp) set(d int, on, v uint32) { w.preds[d] = w.preds[d]&^on | v&on }

// has reports whether an instruction has a part such as .shared.
func (s *statement) has(part string) bool {
	for p := range strings.SplitSeq(s.op, ".") {
		if p == part {
			return true
		}
	}
	return false
}
