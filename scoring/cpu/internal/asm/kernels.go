package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// encode is section 3 for tables: so many columns of rows, of which it may take two at
// once, so that sums of few columns do not wait for themselves.
func (r vector) encode(columns, atOnce int) {
	name := fmt.Sprintf("encode%s%d", r.suffix, columns)
	TEXT(name, NOSPLIT, "func(u *float32, offset *int32, uStride int, inputs int, table *float32, slope int, c *float32, cStride int, rows int)")
	Doc(fmt.Sprintf("%s adds the terms of table inputs to %d columns of rows; strides and slope in bytes.", name, columns))
	Pragma("noescape")
	e := encoding{r, columns, Load(Param("u"), GP64()), Load(Param("offset"), GP64()), Load(Param("table"), GP64()), Load(Param("inputs"), GP64()),
		Load(Param("c"), GP64())}
	rows := Load(Param("rows"), GP64())
	if atOnce == 2 {
		SUBQ(Imm(2), rows)
		JLT(LabelRef(name + "Last"))
		Label(name + "Pair")
		e.rows(name+"PairInput", 2)
		SUBQ(Imm(2), rows)
		JGE(LabelRef(name + "Pair"))
		Label(name + "Last")
		ADDQ(Imm(2), rows)
		JZ(LabelRef(name + "Done"))
	}
	loop(name+"Row", rows, func() { e.rows(name+"Input", 1) })
	Label(name + "Done")
	VZEROUPPER()
	RET()
}

// encoding holds the registers of encode.
type encoding struct {
	vector
	columns                     int
	u, offset, table, inputs, c Register
}

// next is the row behind one.
func (e *encoding) next(to, row Register, stride string) {
	if to != row {
		MOVQ(row, to)
	}
	ADDQ(Load(Param(stride), GP64()), to)
}

// rows encodes one row or two, and goes on to the next.
func (e *encoding) rows(label string, n int) {
	u, offset, c := []Register{e.u}, []Register{e.offset}, []Register{e.c}
	for len(u) < n {
		u, offset, c = append(u, GP64()), append(offset, GP64()), append(c, GP64())
		e.next(u[1], e.u, "uStride")
		e.next(offset[1], e.offset, "uStride")
		e.next(c[1], e.c, "cStride")
	}
	var acc [2][]VecVirtual
	for k := range n {
		acc[k] = e.of(e.columns)
		for j, v := range acc[k] {
			VMOVUPS(Mem{Base: c[k], Disp: e.bytes * j}, v)
		}
	}
	i, slope := GP64(), Load(Param("slope"), GP64())
	XORQ(i, i)
	Label(label)
	for k := range n {
		at, v := GP64(), e.register()
		MOVLQZX(Mem{Base: offset[k], Index: i, Scale: 4}, at)
		ADDQ(e.table, at)
		VBROADCASTSS(Mem{Base: u[k], Index: i, Scale: 4}, v)
		for j, sum := range acc[k] {
			VADDPS(Mem{Base: at, Disp: e.bytes * j}, sum, sum)
		}
		for j, sum := range acc[k] {
			VFMADD231PS(Mem{Base: at, Index: slope, Scale: 1, Disp: e.bytes * j}, v, sum)
		}
	}
	INCQ(i)
	CMPQ(i, e.inputs)
	JNE(LabelRef(label))
	for k := range n {
		for j, v := range acc[k] {
			VMOVUPS(v, Mem{Base: c[k], Disp: e.bytes * j})
		}
	}
	e.next(e.u, u[n-1], "uStride")
	e.next(e.offset, offset[n-1], "uStride")
	e.next(e.c, c[n-1], "cStride")
}

// expand turns sums into the next layer's inputs for one member.
func expand() {
	TEXT("expand", NOSPLIT, "func(acc *float32, accStride int, s, b, r *float32, h *float32, hStride int, blocks, rows int)")
	Doc("expand writes max(fma(acc, s, b), 0) * r of rows of 8*blocks columns to h; strides in bytes.")
	Pragma("noescape")
	acc, accStride := Load(Param("acc"), GP64()), Load(Param("accStride"), GP64())
	s, b, r := Load(Param("s"), GP64()), Load(Param("b"), GP64()), Load(Param("r"), GP64())
	h, hStride := Load(Param("h"), GP64()), Load(Param("hStride"), GP64())
	rows := Load(Param("rows"), GP64())
	zero := YMM()
	VXORPS(zero, zero, zero)
	loop("expandRow", rows, func() {
		j, blocks := GP64(), Load(Param("blocks"), GP64())
		XORQ(j, j)
		loop("expandBlock", blocks, func() {
			v := YMM()
			at := func(base Register) Mem { return Mem{Base: base, Index: j, Scale: 1} }
			VMOVUPS(at(s), v)
			m := YMM()
			VMOVUPS(at(acc), m)
			VFMADD213PS(at(b), m, v)
			VMAXPS(zero, v, v)
			VMULPS(at(r), v, v)
			VMOVUPS(v, at(h))
			ADDQ(Imm(32), j)
		})
		ADDQ(accStride, acc)
		ADDQ(hStride, h)
	})
	VZEROUPPER()
	RET()
}

// dot is the sum of section 5.
func dot() {
	TEXT("dot", NOSPLIT, "func(h *float32, hStride int, w *float32, blocks int, z *float32, rows int)")
	Doc("dot writes the sums of h*w of rows of 32*blocks columns to z; hStride in bytes.")
	Pragma("noescape")
	h, hStride, w := Load(Param("h"), GP64()), Load(Param("hStride"), GP64()), Load(Param("w"), GP64())
	z, rows := Load(Param("z"), GP64()), Load(Param("rows"), GP64())
	loop("dotRow", rows, func() {
		j, blocks := GP64(), Load(Param("blocks"), GP64())
		XORQ(j, j)
		var lane [4]VecVirtual
		for i := range lane {
			lane[i] = YMM()
			VXORPS(lane[i], lane[i], lane[i])
		}
		loop("dotBlock", blocks, func() {
			for i := range lane {
				v := YMM()
				VMOVUPS(Mem{Base: h, Index: j, Scale: 1, Disp: 32 * i}, v)
				VFMADD231PS(Mem{Base: w, Index: j, Scale: 1, Disp: 32 * i}, v, lane[i])
			}
			ADDQ(Imm(128), j)
		})
		VADDPS(lane[2], lane[0], lane[0]) // 16
		VADDPS(lane[3], lane[1], lane[1])
		VADDPS(lane[1], lane[0], lane[0]) // 8
		low, other := lane[0].AsX(), XMM()
		VEXTRACTF128(Imm(1), lane[0], other)
		VADDPS(other, low, low) // 4
		VMOVHLPS(low, low, other)
		VADDPS(other, low, low) // 2
		VMOVSHDUP(low, other)
		VADDSS(other, low, low) // 1
		VMOVSS(low, Mem{Base: z})
		ADDQ(Imm(4), z)
		ADDQ(hStride, h)
	})
	VZEROUPPER()
	RET()
}

// finish is the end of section 5, for 8 rows at a time.
func finish() {
	TEXT("finish", NOSPLIT, "func(z *float32, zStride int, bias *float32, members int, count *float32, out *float32, groups int)")
	Doc("finish averages the members' sigmoids for 8*groups rows; zStride, from member to member, in bytes.")
	Pragma("noescape")
	z, zStride := Load(Param("z"), GP64()), Load(Param("zStride"), GP64())
	out, groups := Load(Param("out"), GP64()), Load(Param("groups"), GP64())
	count := YMM()
	at := Load(Param("count"), GP64())
	VBROADCASTSS(Mem{Base: at}, count)
	loop("finishGroup", groups, func() {
		sum := YMM()
		VXORPS(sum, sum, sum)
		p, bias, members := GP64(), Load(Param("bias"), GP64()), Load(Param("members"), GP64())
		MOVQ(z, p)
		loop("finishMember", members, func() {
			v := YMM()
			VBROADCASTSS(Mem{Base: bias}, v)
			VADDPS(Mem{Base: p}, v, v)
			VMINPS(constant(math.Float32bits(80)), v, v)
			VMAXPS(constant(math.Float32bits(-80)), v, v)
			VXORPS(constant(1<<31), v, v)
			e := exp(v)
			one := YMM()
			VMOVUPS(constant(math.Float32bits(1)), one)
			VADDPS(one, e, e)
			VDIVPS(e, one, e)
			VADDPS(e, sum, sum)
			ADDQ(Imm(4), bias)
			ADDQ(zStride, p)
		})
		VDIVPS(count, sum, sum)
		VMOVUPS(sum, Mem{Base: out})
		ADDQ(Imm(32), z)
		ADDQ(Imm(32), out)
	})
	VZEROUPPER()
	RET()
}
