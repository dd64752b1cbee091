package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A kernel multiplies rows of inputs by panels of 16 columns, each sum in one
// lane of one register from its first input to its last.
type kernel struct {
	vector
	rows, panels int
}

// unroll is how many inputs a turn of the main loop takes.
const unroll = 4

func (k kernel) name() string { return fmt.Sprintf("gemm%s%dx%d", k.suffix, k.rows, 16*k.panels) }

// vectors is how many registers a row's sums take.
func (k kernel) vectors() int { return 64 * k.panels / k.bytes }

// tile holds a kernel's registers.
type tile struct {
	kernel
	a     []Mem // the rows at the current input
	aBase []Register
	w     []Mem // the panels at the current input
	wBase []Register
	acc   [][]VecVirtual // row, column vector
}

func (k kernel) gemm() {
	TEXT(k.name(), NOSPLIT, "func(a *float32, aStride int, inputs int, w *float32, wStride int, c *float32, cStride int, adapters *float32, width int, member *int)")
	Doc(fmt.Sprintf("%s multiplies %d rows of inputs by %d columns. With adapters it writes the", k.name(), k.rows, 16*k.panels),
		"next layer's inputs to c, each row by its member's scales, that begin member[row]",
		"bytes behind adapters, width bytes apart; without, it adds to the sums in c.",
		"Strides in bytes.")
	Pragma("noescape")
	t := tile{kernel: k}
	t.a, t.aBase = rowsOf(Load(Param("a"), GP64()), Load(Param("aStride"), GP64()), k.rows)
	t.w, t.wBase = rowsOf(Load(Param("w"), GP64()), t.stride(), k.panels)
	t.begin()
	t.multiply()
	t.end()
}

// stride loads the distance between panels where there are several.
func (t *tile) stride() Register {
	if t.panels == 1 {
		return nil
	}
	return Load(Param("wStride"), GP64())
}

// rowsOf returns the addresses of n rows, three to a base register, and the
// base registers.
func rowsOf(p, stride Register, n int) (rows []Mem, base []Register) {
	for i := range n {
		if i%3 == 0 {
			if i > 0 {
				next := GP64()
				LEAQ(Mem{Base: p, Index: stride, Scale: 2}, next)
				ADDQ(stride, next)
				p = next
			}
			base = append(base, p)
		}
		m := Mem{Base: p}
		if i%3 > 0 {
			m.Index, m.Scale = stride, uint8(i%3)
		}
		rows = append(rows, m)
	}
	return rows, base
}

// begin sets the sums to 0, or to those in c.
func (t *tile) begin() {
	zero, start := t.name()+"Zero", t.name()+"Start"
	for range t.rows {
		var row []VecVirtual
		for range t.vectors() {
			row = append(row, t.register())
		}
		t.acc = append(t.acc, row)
	}
	adapters := Load(Param("adapters"), GP64())
	TESTQ(adapters, adapters)
	JNZ(LabelRef(zero))
	c := t.sums()
	for i, row := range t.acc {
		for j, v := range row {
			VMOVUPS(c[i].Offset(t.bytes*j), v)
		}
	}
	JMP(LabelRef(start))
	Label(zero)
	for _, row := range t.acc {
		for _, v := range row {
			t.zero(v)
		}
	}
	Label(start)
}

// sums are the rows of c. Their addresses are made where they are needed: the
// loop has no register to spare for them.
func (t *tile) sums() []Mem {
	c, _ := rowsOf(Load(Param("c"), GP64()), Load(Param("cStride"), GP64()), t.rows)
	return c
}

// multiply runs over the inputs in ascending order.
func (t *tile) multiply() {
	main, rest, one, done := t.name()+"Main", t.name()+"Rest", t.name()+"One", t.name()+"Done"
	inputs := Load(Param("inputs"), GP64())
	SUBQ(Imm(unroll), inputs)
	JLT(LabelRef(rest))
	Label(main)
	for q := range unroll {
		t.step(q)
	}
	t.advance(unroll)
	SUBQ(Imm(unroll), inputs)
	JGE(LabelRef(main))
	Label(rest)
	ADDQ(Imm(unroll), inputs)
	JZ(LabelRef(done))
	Label(one)
	t.step(0)
	t.advance(1)
	DECQ(inputs)
	JNZ(LabelRef(one))
	Label(done)
}

func (t *tile) advance(n uint32) {
	for _, p := range t.aBase {
		ADDQ(U32(4*n), p)
	}
	for _, p := range t.wBase {
		ADDQ(U32(64*n), p)
	}
}

// step adds the terms of input q from the current one. What is loaded into
// registers is what is used more often: the panels where there are many rows,
// the rows' values where there are few.
func (t *tile) step(q int) {
	at := func(j int) Mem { return t.w[j*t.bytes/64].Offset(64*q + t.bytes*j%64) }
	if t.rows > t.vectors() {
		w := make([]VecVirtual, t.vectors())
		for j := range w {
			w[j] = t.register()
			VMOVUPS(at(j), w[j])
		}
		for i, row := range t.acc {
			v := t.register()
			VBROADCASTSS(t.a[i].Offset(4*q), v)
			for j := range w {
				VFMADD231PS(w[j], v, row[j])
			}
		}
		return
	}
	v := make([]VecVirtual, t.rows)
	for i := range v {
		v[i] = t.register()
		VBROADCASTSS(t.a[i].Offset(4*q), v[i])
	}
	for j := range t.vectors() {
		if t.rows == 1 {
			VFMADD231PS(at(j), v[0], t.acc[0][j])
			continue
		}
		w := t.register()
		VMOVUPS(at(j), w)
		for i := range v {
			VFMADD231PS(w, v[i], t.acc[i][j])
		}
	}
}

// end writes the sums, or what the members' adapters make of them.
func (t *tile) end() {
	adapt := t.name() + "Adapt"
	adapters := Load(Param("adapters"), GP64())
	TESTQ(adapters, adapters)
	JNZ(LabelRef(adapt))
	t.store()
	VZEROUPPER()
	RET()
	Label(adapt)
	width, member := Load(Param("width"), GP64()), Load(Param("member"), GP64())
	zero := t.register()
	t.zero(zero)
	for i, row := range t.acc {
		s := GP64()
		MOVQ(Mem{Base: member, Disp: 8 * i}, s)
		ADDQ(adapters, s)
		for j, v := range row {
			scale := t.register()
			VMOVUPS(Mem{Base: s, Disp: t.bytes * j}, scale)
			VFMADD213PS(Mem{Base: s, Index: width, Scale: 1, Disp: t.bytes * j}, scale, v)
			VMAXPS(zero, v, v)
			VMULPS(Mem{Base: s, Index: width, Scale: 2, Disp: t.bytes * j}, v, v)
		}
	}
	t.store()
	VZEROUPPER()
	RET()
}

func (t *tile) store() {
	c := t.sums()
	for i, row := range t.acc {
		for j, v := range row {
			VMOVUPS(v, c[i].Offset(t.bytes*j))
		}
	}
}
