package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// encode is section 3 for tables: 8*n columns of rows.
func encode(n int) {
	name := fmt.Sprintf("encode%d", 8*n)
	TEXT(name, NOSPLIT, "func(u *float32, offset *int32, uStride int, inputs int, table *float32, slope int, c *float32, cStride int, rows int)")
	Doc(fmt.Sprintf("encode%d adds the terms of table inputs to %d columns of rows; strides and slope in bytes.", 8*n, 8*n))
	Pragma("noescape")
	u, offset, uStride := Load(Param("u"), GP64()), Load(Param("offset"), GP64()), Load(Param("uStride"), GP64())
	slope := Load(Param("slope"), GP64())
	c, cStride := Load(Param("c"), GP64()), Load(Param("cStride"), GP64())
	table, rows := Load(Param("table"), GP64()), Load(Param("rows"), GP64())
	inputs := Load(Param("inputs"), GP64())
	loop(name+"Row", rows, func() {
		acc := make([]VecVirtual, n)
		for j := range acc {
			acc[j] = YMM()
			VMOVUPS(Mem{Base: c, Disp: 32 * j}, acc[j])
		}
		i := GP64()
		XORQ(i, i)
		Label(name + "Input")
		at, v := GP64(), YMM()
		MOVLQZX(Mem{Base: offset, Index: i, Scale: 4}, at)
		ADDQ(table, at)
		VBROADCASTSS(Mem{Base: u, Index: i, Scale: 4}, v)
		for j := range acc {
			VADDPS(Mem{Base: at, Disp: 32 * j}, acc[j], acc[j])
		}
		for j := range acc {
			VFMADD231PS(Mem{Base: at, Index: slope, Scale: 1, Disp: 32 * j}, v, acc[j])
		}
		INCQ(i)
		CMPQ(i, inputs)
		JNE(LabelRef(name + "Input"))
		for j := range acc {
			VMOVUPS(acc[j], Mem{Base: c, Disp: 32 * j})
		}
		ADDQ(uStride, u)
		ADDQ(uStride, offset)
		ADDQ(cStride, c)
	})
	VZEROUPPER()
	RET()
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
			VMINPS(constant("sigmoidMax", math.Float32bits(80)), v, v)
			VMAXPS(constant("sigmoidMin", math.Float32bits(-80)), v, v)
			VXORPS(constant("sigmoidSign", 1<<31), v, v)
			e := exp(v)
			one := YMM()
			VMOVUPS(constant("sigmoidOne", math.Float32bits(1)), one)
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
