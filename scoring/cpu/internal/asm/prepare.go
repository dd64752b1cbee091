package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The places of a group's vectors in the stream that prepare reads; the Go side
// writes it by the same list (pack_amd64.go).
const (
	atHead = iota // has a logarithm, number of edges
	atMean
	atInv
	atLo
	atHi
	atLog
	atMissing
	atBase
	atOffset
	atMissingOffset
	atStep
	atEdges
)

// prepare is section 2 for rows of inputs, a register of inputs at a time.
func (r vector) prepare() {
	name := "prepare" + r.suffix
	TEXT(name, NOSPLIT, "func(x *float32, stream *float32, u *float32, offset *int32, groups, rows int)")
	Doc(fmt.Sprintf("%s standardises rows of %d*groups inputs and finds their segments.", name, r.bytes/4))
	Pragma("noescape")
	x, u, offset := Load(Param("x"), GP64()), Load(Param("u"), GP64()), Load(Param("offset"), GP64())
	rows := Load(Param("rows"), GP64())
	loop(name+"Row", rows, func() {
		s, groups := Load(Param("stream"), GP64()), Load(Param("groups"), GP64())
		loop(name+"Group", groups, func() {
			r.prepareGroup(name, x, s, u, offset)
			for _, p := range []Register{x, u, offset} {
				ADDQ(Imm(uint64(r.bytes)), p)
			}
		})
	})
	VZEROUPPER()
	RET()
}

func (r vector) prepareGroup(name string, x, s, u, offset Register) {
	at := func(place int) Mem { return Mem{Base: s, Disp: r.bytes * place} }
	load := func(m Mem) VecVirtual {
		v := r.register()
		VMOVUPS(m, v)
		return v
	}
	z := load(Mem{Base: x})
	missing := r.where(3, z, z) // unordered: NaN
	CMPL(at(atHead), Imm(0))
	JE(LabelRef(name + "Linear"))
	r.merge(r.where(4, at(atLog), r.nought()), r.signedLog(z), z)
	Label(name + "Linear")
	VSUBPS(at(atMean), z, z)
	VMULPS(at(atInv), z, z)
	VMINPS(at(atHi), z, z)
	VMAXPS(at(atLo), z, z)

	base, off, step := load(at(atBase)), load(at(atOffset)), load(at(atStep))
	edges, e := GP64(), GP64()
	MOVLQZX(at(atHead).Offset(4), edges)
	LEAQ(at(atEdges), e)
	TESTQ(edges, edges)
	JZ(LabelRef(name + "Found"))
	loop(name+"Edge", edges, func() {
		edge := load(Mem{Base: e})
		above := r.where(2, z, edge) // edge <= z
		r.merge(above, edge, base)
		r.addWhere(above, step, off)
		ADDQ(Imm(uint64(r.bytes)), e)
	})
	Label(name + "Found")
	VSUBPS(base, z, z)
	r.merge(missing, load(at(atMissing)), z)
	r.merge(missing, load(at(atMissingOffset)), off)
	VMOVUPS(z, Mem{Base: u})
	VMOVUPS(off, Mem{Base: offset})
	MOVQ(e, s) // the next group begins behind the edges
}

func (r vector) nought() VecVirtual {
	v := r.register()
	r.zero(v)
	return v
}

// addWhere adds integers in the lanes of a mask, which is not used any more.
func (r vector) addWhere(mask Op, v, to VecVirtual) {
	if r.bytes == 64 {
		VPADDD(v, to, mask, to)
		return
	}
	VPAND(mask, v, mask)
	VPADDD(mask, to, to)
}

// signedLog returns log(|x| + 1) with the sign of x.
func (r vector) signedLog(x VecVirtual) VecVirtual {
	a, sign := r.register(), r.register()
	and, xor, or := VPAND, VPXOR, VPOR
	if r.bytes == 64 {
		and, xor, or = three(VPANDD), three(VPXORD), three(VPORD)
	}
	and(constant(1<<31), x, sign)
	xor(sign, x, a)
	VADDPS(constant(math.Float32bits(1)), a, a)
	VMINPS(constant(math.Float32bits(math.MaxFloat32)), a, a)
	VMAXPS(constant(math.Float32bits(0x1p-126)), a, a)
	a = r.log(a)
	or(sign, a, a)
	return a
}

// three is an instruction that may also take a mask, without one.
func three(f func(...Op)) func(a, b, c Op) { return func(a, b, c Op) { f(a, b, c) } }

// log is log of section 1 for x between its bounds.
func (r vector) log(x VecVirtual) VecVirtual {
	e, n, f, p, q := r.register(), r.register(), r.register(), r.register(), r.register()
	root := r.register()
	VMOVUPS(constant(0x3f3504f3), root)
	VPSUBD(root, x, e)
	VPSRAD(Imm(23), e, e)
	VCVTDQ2PS(e, n)
	VPSLLD(Imm(23), e, e)
	VPSUBD(e, x, f)
	VSUBPS(constant(math.Float32bits(1)), f, f)
	VMOVUPS(constant(math.Float32bits(7.0376836292e-2)), p)
	for _, c := range []float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		VFMADD213PS(constant(math.Float32bits(c)), f, p)
	}
	VMULPS(f, f, q)
	VMULPS(f, p, p)
	VMULPS(q, p, p)
	VFMADD231PS(constant(math.Float32bits(-2.12194440e-4)), n, p)
	VFMADD231PS(constant(math.Float32bits(-.5)), q, p)
	VADDPS(p, f, p)
	VFMADD231PS(constant(math.Float32bits(0.693359375)), n, p)
	return p
}

// exp is exp of section 1 for x between its bounds.
func exp(x VecVirtual) VecVirtual {
	n, r, p, q := YMM(), YMM(), YMM(), YMM()
	magic := constant(math.Float32bits(0x1.8p23))
	VMOVUPS(magic, n)
	VFMADD231PS(constant(math.Float32bits(1.44269504088896341)), x, n)
	VSUBPS(magic, n, n)
	VMOVAPS(x, r)
	VFMADD231PS(constant(math.Float32bits(-0.693359375)), n, r)
	VFMADD231PS(constant(math.Float32bits(2.12194440e-4)), n, r)
	VMOVUPS(constant(math.Float32bits(1.9875691500e-4)), p)
	for _, c := range []float32{
		1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	} {
		VFMADD213PS(constant(math.Float32bits(c)), r, p)
	}
	VMULPS(r, r, q)
	VFMADD213PS(r, q, p)
	VADDPS(constant(math.Float32bits(1)), p, p)
	VCVTTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, p)
	return p
}
