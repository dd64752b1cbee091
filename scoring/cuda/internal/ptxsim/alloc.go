package ptxsim

import (
	"regexp"
	"slices"
	"strings"
)

// A register of the text lives in a slot of a warp's registers. Compilers name a
// new one for every value, thousands of them; those that are never alive at the
// same time share a slot.

type class uint8

const (
	pred class = iota // a bit for each lane
	word              // 32 bits
	wide              // 64
	classes
)

// classOf is a register's class, by the prefix that NVIDIA's compilers give it.
func classOf(name string) class {
	switch strings.TrimRight(name, "0123456789") {
	case "%p":
		return pred
	case "%r", "%f":
		return word
	case "%rd":
		return wide
	}
	fail("a register such as %s is not simulated", name)
	return 0
}

type register struct {
	name        string
	class       class
	first, last int // its life: twice the statement's number, one more where it is written
	slot        int
}

var registerName = regexp.MustCompile(`%[a-z]+\d+`)

// touches returns the registers that a statement writes and reads.
func (s *statement) touches() (writes, reads []string) {
	args := s.args
	switch op, _, _ := strings.Cut(s.op, "."); op {
	case "st", "bar", "bra", "membar", "fence", "ret", "red":
	default:
		if len(args) > 0 {
			writes, args = registerName.FindAllString(args[0], -1), args[1:]
		}
	}
	for _, a := range args {
		reads = append(reads, registerName.FindAllString(a, -1)...)
	}
	if s.guard != "" { // where it is off, what was there before stays
		reads = append(append(reads, s.guard), writes...)
	}
	return writes, reads
}

// allocator assigns slots.
type allocator struct {
	k         *Kernel
	numbers   map[string]int
	registers []*register
	// Of each block, in bits: what it reads before it writes, what it writes, what
	// is alive where it begins and where it ends.
	reads, writes, in, out [][]uint64
}

func (a *allocator) number(name string) int {
	n, ok := a.numbers[name]
	if !ok {
		n = len(a.registers)
		a.numbers[name] = n
		a.registers = append(a.registers, &register{name: name, class: classOf(name), first: -1})
	}
	return n
}

// allocate assigns a slot to every register and returns them by name.
func allocate(k *Kernel) map[string]*register {
	a := &allocator{k: k, numbers: make(map[string]int)}
	for i := range k.statements {
		writes, reads := k.statements[i].touches()
		for _, name := range slices.Concat(writes, reads) {
			a.number(name)
		}
	}
	a.local()
	a.flow()
	for r, reg := range a.registers {
		if a.in[0][r/64]>>(r%64)&1 != 0 {
			fail("%s: on some path, %s is read and nothing was written to it", k.name, reg.name)
		}
	}
	a.lives()
	a.assign()
	byName := make(map[string]*register)
	for _, r := range a.registers {
		byName[r.name] = r
	}
	return byName
}

// local fills reads and writes.
func (a *allocator) local() {
	n := (len(a.registers) + 63) / 64
	for b := range a.k.blocks {
		reads, writes := make([]uint64, n), make([]uint64, n)
		for i := a.k.blocks[b].from; i < a.k.blocks[b].to; i++ {
			w, r := a.k.statements[i].touches()
			for _, name := range r {
				if v := a.numbers[name]; writes[v/64]>>(v%64)&1 == 0 {
					reads[v/64] |= 1 << (v % 64)
				}
			}
			for _, name := range w {
				v := a.numbers[name]
				writes[v/64] |= 1 << (v % 64)
			}
		}
		a.reads, a.writes = append(a.reads, reads), append(a.writes, writes)
		a.in, a.out = append(a.in, slices.Clone(reads)), append(a.out, make([]uint64, n))
	}
}

// flow fills in and out, from the ends to the beginning until nothing changes.
func (a *allocator) flow() {
	for changed := true; changed; {
		changed = false
		for b := len(a.k.blocks) - 1; b >= 0; b-- {
			for _, next := range a.k.blocks[b].successors() {
				for i, v := range a.in[next] {
					a.out[b][i] |= v
				}
			}
			for i, v := range a.out[b] {
				if v = v&^a.writes[b][i] | a.reads[b][i]; v != a.in[b][i] {
					a.in[b][i], changed = v, true
				}
			}
		}
	}
}

// lives finds the first and the last place of each register's life.
func (a *allocator) lives() {
	touch := func(v, at int) {
		r := a.registers[v]
		if r.first < 0 || at < r.first {
			r.first = at
		}
		r.last = max(r.last, at)
	}
	for b := range a.k.blocks {
		block := &a.k.blocks[b]
		for v := range a.registers {
			if a.in[b][v/64]>>(v%64)&1 != 0 {
				touch(v, 2*block.from)
			}
			if a.out[b][v/64]>>(v%64)&1 != 0 {
				touch(v, 2*block.to)
			}
		}
		for i := block.from; i < block.to; i++ {
			writes, reads := a.k.statements[i].touches()
			for _, name := range reads {
				touch(a.numbers[name], 2*i)
			}
			for _, name := range writes {
				touch(a.numbers[name], 2*i+1)
			}
		}
	}
}

// assign goes through the lives in order and gives each the first free slot.
func (a *allocator) assign() {
	order := slices.Clone(a.registers)
	slices.SortFunc(order, func(x, y *register) int { return x.first - y.first })
	var count [classes]int
	var free [classes][]int
	var alive [classes][]*register
	for _, r := range order {
		c := r.class
		alive[c] = slices.DeleteFunc(alive[c], func(x *register) bool {
			if x.last < r.first {
				free[c] = append(free[c], x.slot)
				return true
			}
			return false
		})
		if n := len(free[c]); n > 0 {
			r.slot, free[c] = free[c][n-1], free[c][:n-1]
		} else {
			r.slot = count[c]
			count[c]++
		}
		alive[c] = append(alive[c], r)
	}
	a.k.preds, a.k.words, a.k.wides = count[pred], count[word], count[wide]
}
