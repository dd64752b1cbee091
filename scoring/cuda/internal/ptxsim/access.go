package ptxsim

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

var order = binary.LittleEndian

// wideMoves are loads, stores, and what threads do with each other.
func wideMoves() {
	for _, space := range []string{"global", "global.nc", "volatile.global", "shared", "volatile.shared"} {
		for _, v := range []string{"", ".v2", ".v4"} {
			for _, t := range []string{"u32", "b32", "f32", "s32", "u64", "b64"} {
				if v == ".v4" && t[1:] == "64" {
					continue
				}
				define(load, "ld."+space+v+"."+t)
				if !strings.HasSuffix(space, ".nc") {
					define(store, "st."+space+v+"."+t)
				}
			}
		}
	}
	define(func(*compiler, *statement) op {
		return func(w *warp, on uint32) { w.unfenced &^= on }
	}, "membar.sys", "fence.acq_rel.sys", "fence.sc.sys")
	define(func(*compiler, *statement) op { return func(*warp, uint32) {} }, "membar.gl", "membar.cta", "bar.sync")
	define(increment, "atom.global.inc.u32")
	define(butterfly, "shfl.sync.bfly.b32")
	define(matrices, "ldmatrix.sync.aligned.m8n8.x4.shared.b16")
	define(multiply, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
}

// element is the size of one of an access's elements, in bytes.
func (s *statement) element() uint64 {
	if strings.HasSuffix(s.op, "64") {
		return 8
	}
	return 4
}

// slots returns those of a vector's registers.
func (c *compiler) slots(list string, element uint64) (slots []int) {
	for _, name := range vector(list) {
		if element == 8 {
			slots = append(slots, c.wide(name))
		} else {
			slots = append(slots, c.word(name))
		}
	}
	return slots
}

func load(c *compiler, s *statement) op {
	n := s.element()
	dst, from := c.slots(s.args[0], n), c.address(s.args[1])
	size := n * uint64(len(dst))
	shared, constant := s.has("shared"), s.has("nc")
	return func(w *warp, on uint32) {
		for on != 0 {
			// Lanes that follow each other and read the same are served as one.
			l := bits.TrailingZeros32(on)
			at := from.at(w, l)
			same := uint32(1) << l
			on &= on - 1
			for on != 0 {
				next := bits.TrailingZeros32(on)
				if from.at(w, next) != at {
					break
				}
				same |= 1 << next
				on &= on - 1
			}
			var data []byte
			if shared {
				w.run.sharedLoad(w.thread(l), same&(same-1) != 0, at, size)
				data = w.run.shared[at : at+size]
			} else {
				data = w.load(l, at, size, constant)
			}
			for i, d := range dst {
				w.spread(d, n, same, data[uint64(i)*n:])
			}
		}
	}
}

// spread writes what was loaded to a register in some lanes.
func (w *warp) spread(d int, n uint64, on uint32, data []byte) {
	if n == 8 {
		v := order.Uint64(data)
		lanes(on, func(l int) { w.wides[d][l] = v })
		return
	}
	v, dst := order.Uint32(data), &w.words[d]
	if on == full {
		for l := range dst {
			dst[l] = v
		}
		return
	}
	for ; on != 0; on &= on - 1 {
		dst[bits.TrailingZeros32(on)] = v
	}
}

func store(c *compiler, s *statement) op {
	n := s.element()
	to, src := c.address(s.args[0]), c.slots(s.args[1], n)
	size := n * uint64(len(src))
	shared := s.has("shared")
	return func(w *warp, on uint32) {
		lanes(on, func(l int) {
			at := to.at(w, l)
			var data []byte
			if shared {
				w.run.sharedStore(w.thread(l), at, size)
				data = w.run.shared[at : at+size]
			} else {
				data = w.store(l, at, size)
			}
			for i, v := range src {
				if n == 8 {
					order.PutUint64(data[8*i:], w.wides[v][l])
				} else {
					order.PutUint32(data[4*i:], w.words[v][l])
				}
			}
		})
	}
}

// increment is a ticket: d = *p; *p = d >= limit ? 0 : d + 1.
func increment(c *compiler, s *statement) op {
	d, at, limit := c.word(s.args[0]), c.address(s.args[1]), c.word(s.args[2])
	return func(w *warp, on uint32) {
		lanes(on, func(l int) {
			w.words[d][l] = w.exchange(l, at.at(w, l), func(v uint32) uint32 {
				if v >= w.words[limit][l] {
					return 0
				}
				return v + 1
			})
		})
	}
}

// butterfly gives each lane the value of the one whose number differs in some
// bits. Only exchanges within the whole warp are simulated.
func butterfly(c *compiler, s *statement) op {
	d, p := s.args[0], -1
	if name, guard, ok := strings.Cut(d, "|"); ok {
		d, p = name, c.pred(guard)
	}
	to, a, by, clamp, members := c.word(d), c.word(s.args[1]), c.word(s.args[2]), c.word(s.args[3]), c.word(s.args[4])
	return func(w *warp, on uint32) {
		if on != full {
			fail("%d of a warp's lanes are at an exchange of all", bits.OnesCount32(on))
		}
		was := w.words[a]
		for l := range was {
			if w.words[clamp][l] != warpSize-1 || w.words[members][l] != full {
				fail("an exchange of less than a warp is not simulated")
			}
			w.words[to][l] = was[l^int(w.words[by][l]&31)]
		}
		if p >= 0 {
			w.preds[p] = full
		}
	}
}
