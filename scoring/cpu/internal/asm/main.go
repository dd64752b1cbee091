// Command asm writes scoring/cpu's assembly. It is a module of its own, so that
// weir does not depend on avo; what it writes is checked in. In this folder:
//
//	go run . -out ../../kernels_amd64.s -stubs ../../kernels_amd64.go -pkg cpu
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	prepare()
	encode(4)
	encode(8)
	for _, k := range []kernel{{1, 2}, {1, 4}, {2, 2}, {3, 1}, {3, 2}, {4, 1}, {5, 1}, {6, 1}} {
		k.gemm()
	}
	sparse(4)
	sparse(8)
	nonzero()
	expand()
	dot()
	finish()
	Generate()
}

// constant returns 8 copies of a float32, given by its bits, in memory.
func constant(name string, bits uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	return m
}

// loop runs body n times; n, a register, is used up. It must not be 0.
func loop(label string, n Register, body func()) {
	Label(label)
	body()
	DECQ(n)
	JNZ(LabelRef(label))
}
