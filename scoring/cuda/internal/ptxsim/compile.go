package ptxsim

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// op does one instruction for the lanes of a warp that are on.
type op func(w *warp, on uint32)

type kind uint8

const (
	plain    kind = iota
	barrier       // all threads of the block meet
	together      // all lanes of the warp do
)

// block is a stretch of instructions without a label or a jump in it; a barrier
// and an instruction of a whole warp are blocks of their own.
type block struct {
	kind     kind
	from, to int
	ops      []op
	// How it ends: where jump is not -1, lanes whose guard is on go there; where
	// exit is set, they end; the others go on to the next block.
	jump    int
	exit    bool
	guarded bool
	guard   int
	negate  bool
	next    int // -1 behind the last
}

func (b *block) successors() (list []int) {
	if b.jump >= 0 {
		list = append(list, b.jump)
	}
	if b.next >= 0 && (b.guarded || b.jump < 0 && !b.exit) {
		list = append(list, b.next)
	}
	return list
}

type compiler struct {
	*Kernel
	registers map[string]*register
}

// kindOf says what an instruction waits for.
func kindOf(s *statement) kind {
	switch {
	case s.op == "bar.sync":
		return barrier
	case strings.HasPrefix(s.op, "shfl.sync."), strings.HasPrefix(s.op, "mma.sync."), strings.HasPrefix(s.op, "ldmatrix.sync."):
		return together
	}
	return plain
}

func ends(s *statement) bool { return s.op == "ret" || s.op == "bra" || s.op == "bra.uni" }

// compile makes blocks of closures of the statements.
func (k *Kernel) compile(labels map[string]int) {
	k.cut(labels)
	c := &compiler{Kernel: k, registers: allocate(k)}
	k.wordConsts, k.wideConsts = make(map[uint32]int), make(map[uint64]int)
	k.tid, k.lane, k.cta, k.grid = k.words, k.words+1, k.words+2, k.words+3
	k.words += 4
	for i := range k.blocks {
		b := &k.blocks[i]
		for n := b.from; n < b.to; n++ {
			s := &k.statements[n]
			if !ends(s) {
				b.ops = append(b.ops, c.statement(s))
				continue
			}
			if b.guarded {
				b.guard, b.negate = c.pred(s.guard), s.negate
			}
		}
	}
}

// cut finds the blocks and where they lead.
func (k *Kernel) cut(labels map[string]int) {
	begins := make([]bool, len(k.statements)+1)
	begins[0] = true
	for _, i := range labels {
		begins[i] = true
	}
	for i := range k.statements {
		s := &k.statements[i]
		if ends(s) {
			begins[i+1] = true
		} else if kindOf(s) != plain {
			begins[i], begins[i+1] = true, true
		}
	}
	at := make(map[int]int) // blocks by their first statement
	for i := range k.statements {
		if begins[i] {
			at[i] = len(k.blocks)
			k.blocks = append(k.blocks, block{kind: kindOf(&k.statements[i]), from: i, jump: -1, next: -1})
		}
		k.blocks[len(k.blocks)-1].to = i + 1
	}
	for i := range k.blocks {
		b := &k.blocks[i]
		if i+1 < len(k.blocks) {
			b.next = i + 1
		}
		s := &k.statements[b.to-1]
		b.guarded = ends(s) && s.guard != ""
		switch s.op {
		case "ret":
			b.exit = true
		case "bra", "bra.uni":
			to, ok := labels[s.args[0]]
			if !ok {
				fail("%s: no label %s", k.name, s.args[0])
			}
			b.jump = at[to]
		}
		if b.next < 0 && (b.guarded || !b.exit && b.jump < 0) {
			fail("%s runs over its end", k.name)
		}
	}
}

// statement makes the closure of one.
func (c *compiler) statement(s *statement) op {
	if make := instructions[s.op]; make != nil {
		do := make(c, s)
		if s.guard == "" {
			return do
		}
		if kindOf(s) != plain {
			fail("%s: not simulated under a guard: %s", c.name, s.text)
		}
		guard, flip := c.pred(s.guard), uint32(0)
		if s.negate {
			flip = math.MaxUint32
		}
		return func(w *warp, on uint32) {
			if on &= w.preds[guard] ^ flip; on != 0 {
				do(w, on)
			}
		}
	}
	fail("%s: instruction not simulated: %s", c.name, s.text)
	return nil
}

func (c *compiler) slot(name string, want class) int {
	r := c.registers[name]
	if r == nil || r.class != want {
		fail("%s: operand %s is of another kind", c.name, name)
	}
	return r.slot
}

func (c *compiler) pred(name string) int { return c.slot(name, pred) }

// word returns the slot of an operand of 32 bits: a register, one of the machine's, or a
// constant.
func (c *compiler) word(name string) int {
	switch name {
	case "%tid.x":
		return c.tid
	case "%laneid":
		return c.lane
	case "%ctaid.x":
		return c.cta
	case "%nctaid.x":
		return c.grid
	}
	if strings.HasPrefix(name, "%") {
		return c.slot(name, word)
	}
	v := uint32(c.constant(name))
	slot, ok := c.wordConsts[v]
	if !ok {
		slot = c.words
		c.wordConsts[v] = slot
		c.words++
	}
	return slot
}

// wide is word for 64 bits.
func (c *compiler) wide(name string) int {
	if strings.HasPrefix(name, "%") {
		return c.slot(name, wide)
	}
	v := c.constant(name)
	slot, ok := c.wideConsts[v]
	if !ok {
		slot = c.wides
		c.wideConsts[v] = slot
		c.wides++
	}
	return slot
}

// constant reads a number, or the address of a shared variable.
func (c *compiler) constant(s string) uint64 {
	if at, ok := c.variables[s]; ok {
		return at
	}
	if hex, ok := strings.CutPrefix(s, "0f"); ok {
		if v, err := strconv.ParseUint(hex, 16, 32); err == nil {
			return v
		}
	}
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v)
	}
	fail("%s: operand %s is not simulated", c.name, s)
	return 0
}

// address is where an instruction reads or writes, in each lane.
type address struct {
	wide   bool
	slot   int
	offset uint64
}

func (a *address) at(w *warp, lane int) uint64 {
	if a.wide {
		return w.wides[a.slot][lane] + a.offset
	}
	return uint64(w.words[a.slot][lane]) + a.offset
}

// address reads an operand such as [%rd1+16] or [variable].
func (c *compiler) address(s string) address {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	base, offset, _ := strings.Cut(s, "+")
	a := address{wide: true}
	if offset != "" {
		a.offset = c.constant(offset)
	}
	if strings.HasPrefix(base, "%") && classOf(base) == word {
		a.wide, a.slot = false, c.word(base)
	} else {
		a.slot = c.wide(base)
	}
	return a
}

// lanes calls do for each lane that is on.
func lanes(on uint32, do func(l int)) {
	for ; on != 0; on &= on - 1 {
		do(bits.TrailingZeros32(on))
	}
}
