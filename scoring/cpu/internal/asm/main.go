// Command asm writes scoring/cpu's assembly. It is a module of its own, so that
// weir does not depend on avo; what it writes is checked in. In this folder:
//
//	go run . -out ../../kernels_amd64.s -stubs ../../kernels_amd64.go -pkg cpu
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	avx2.prepare()
	avx512.prepare()
	avx2.encode(32, 1)
	avx2.encode(64, 1)
	avx512.encode(32, 2)
	avx512.encode(64, 2)
	avx512.encode(96, 1)
	avx512.encode(128, 1)
	for _, k := range [][2]int{{1, 2}, {1, 4}, {2, 2}, {3, 1}, {3, 2}, {4, 1}, {5, 1}, {6, 1}} {
		kernel{avx2, k[0], k[1]}.gemm()
	}
	avx2.sparse(32)
	avx2.sparse(64)
	for _, columns := range []int{32, 64, 96, 128} {
		avx512.sparse(columns)
	}
	for rows := range 3 {
		kernel{avx512, 1 + rows, 4}.gemm()
	}
	for rows := range 12 {
		kernel{avx512, 1 + rows, 2}.gemm()
	}
	nonzero()
	expand()
	dot()
	finish()
	Generate()
}

// vector is a kind of vector registers.
type vector struct {
	suffix   string // of kernels, behind what they do
	bytes    int    // of a register
	register func() VecVirtual
	zero     func(v VecVirtual)
}

var (
	avx2   = vector{"", 32, YMM, func(v VecVirtual) { VXORPS(v, v, v) }}
	avx512 = vector{"Wide", 64, ZMM, func(v VecVirtual) { VPXORD(v, v, v) }} // VXORPS takes more than AVX512F
)

// of returns the registers that so many columns take.
func (r vector) of(columns int) []VecVirtual {
	acc := make([]VecVirtual, 4*columns/r.bytes)
	for j := range acc {
		acc[j] = r.register()
	}
	return acc
}

// where returns a mask of the lanes in which a comparison holds: b by a, as VCMPPS has it.
func (r vector) where(comparison uint64, a, b Op) (mask Op) {
	if mask = r.register(); r.bytes == 64 {
		mask = K()
	}
	VCMPPS(Imm(comparison), a, b, mask)
	return mask
}

// merge copies the lanes of a mask.
func (r vector) merge(mask Op, from, to VecVirtual) {
	if r.bytes == 64 {
		VMOVAPS(from, mask, to)
		return
	}
	VBLENDVPS(mask, from, to, to)
}

var constants = make(map[uint32]Mem)

// constant returns 16 copies of a float32, given by its bits, in memory.
func constant(bits uint32) Mem {
	m, ok := constants[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("all%08x", bits), RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(bits))
		}
		constants[bits] = m
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
