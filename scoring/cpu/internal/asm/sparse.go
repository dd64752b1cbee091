package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// sparse is a matrix product that leaves out inputs that are 0, as half of what
// comes out of a layer is. It takes rows one at a time, so many columns and at most
// 64 inputs at once: so much of the weights stays in L1 while all rows pass.
func (r vector) sparse(columns int) {
	name := fmt.Sprintf("sparse%s%d", r.suffix, columns)
	TEXT(name, NOSPLIT, "func(in *float32, inStride int, mask *uint64, maskStride int, w *float32, c *float32, cStride int, rows int, fresh int)")
	Doc(fmt.Sprintf("%s adds the products of the inputs whose bit is set in mask to %d columns of", name, columns),
		"rows, to 0 where fresh is not 0; strides in bytes.")
	Pragma("noescape")
	in, inStride := Load(Param("in"), GP64()), Load(Param("inStride"), GP64())
	mask, maskStride := Load(Param("mask"), GP64()), Load(Param("maskStride"), GP64())
	w, rows := Load(Param("w"), GP64()), Load(Param("rows"), GP64())
	c, cStride := Load(Param("c"), GP64()), Load(Param("cStride"), GP64())
	fresh := Load(Param("fresh"), GP64())
	acc := r.of(columns)
	loop(name+"Row", rows, func() {
		for _, v := range acc {
			r.zero(v)
		}
		TESTQ(fresh, fresh)
		JNZ(LabelRef(name + "Start"))
		for j, v := range acc {
			VMOVUPS(Mem{Base: c, Disp: r.bytes * j}, v)
		}
		Label(name + "Start")
		left, k, v := GP64(), GP64(), r.register()
		MOVQ(Mem{Base: mask}, left)
		TESTQ(left, left)
		JZ(LabelRef(name + "Done"))
		Label(name + "Input")
		TZCNTQ(left, k)
		VBROADCASTSS(Mem{Base: in, Index: k, Scale: 4}, v)
		if shift := bits.TrailingZeros(uint(4 * columns)); 1<<shift == 4*columns {
			SHLQ(Imm(uint64(shift)), k)
		} else {
			IMUL3Q(U32(4*columns), k, k)
		}
		for j := range acc {
			VFMADD231PS(Mem{Base: w, Index: k, Scale: 1, Disp: r.bytes * j}, v, acc[j])
		}
		BLSRQ(left, left)
		JNZ(LabelRef(name + "Input"))
		Label(name + "Done")
		for j, v := range acc {
			VMOVUPS(v, Mem{Base: c, Disp: r.bytes * j})
		}
		ADDQ(inStride, in)
		ADDQ(maskStride, mask)
		ADDQ(cStride, c)
	})
	VZEROUPPER()
	RET()
}

// nonzero finds the inputs that sparse takes.
func nonzero() {
	TEXT("nonzero", NOSPLIT, "func(in *float32, inStride int, blocks int, mask *uint64, maskStride int, rows int)")
	Doc("nonzero sets the bits of what is not 0 in rows of 32*blocks columns, 32 bits a",
		"block, lowest first; strides in bytes.")
	Pragma("noescape")
	in, inStride := Load(Param("in"), GP64()), Load(Param("inStride"), GP64())
	mask, maskStride := Load(Param("mask"), GP64()), Load(Param("maskStride"), GP64())
	rows := Load(Param("rows"), GP64())
	zero := YMM()
	VXORPS(zero, zero, zero)
	loop("nonzeroRow", rows, func() {
		p, m, blocks := GP64(), GP64(), Load(Param("blocks"), GP64())
		MOVQ(in, p)
		MOVQ(mask, m)
		loop("nonzeroBlock", blocks, func() {
			all, part := GP32(), GP32()
			for j := range 4 {
				v := YMM()
				VCMPPS(Imm(4), Mem{Base: p, Disp: 32 * j}, zero, v) // not equal
				if j == 0 {
					VMOVMSKPS(v, all)
					continue
				}
				VMOVMSKPS(v, part)
				SHLL(Imm(uint64(8*j)), part)
				ORL(part, all)
			}
			MOVL(all, Mem{Base: m})
			ADDQ(Imm(128), p)
			ADDQ(Imm(4), m)
		})
		ADDQ(inStride, in)
		ADDQ(maskStride, mask)
	})
	VZEROUPPER()
	RET()
}
