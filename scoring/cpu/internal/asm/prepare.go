package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The places of a group's vectors in the stream that prepare reads; the Go side
// writes it by the same list (scorer_amd64.go).
const (
	atHead = 32 * iota // has a logarithm, number of edges
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

// prepare is section 2 for rows of inputs, 8 inputs at a time.
func prepare() {
	TEXT("prepare", NOSPLIT, "func(x *float32, stream *float32, u *float32, offset *int32, groups, rows int)")
	Doc("prepare standardises rows of 8*groups inputs and finds their segments.")
	Pragma("noescape")
	x, u, offset := Load(Param("x"), GP64()), Load(Param("u"), GP64()), Load(Param("offset"), GP64())
	rows := Load(Param("rows"), GP64())
	loop("prepareRow", rows, func() {
		s, groups := Load(Param("stream"), GP64()), Load(Param("groups"), GP64())
		loop("prepareGroup", groups, func() {
			prepareGroup(x, s, u, offset)
			for _, p := range []Register{x, u, offset} {
				ADDQ(Imm(32), p)
			}
		})
	})
	VZEROUPPER()
	RET()
}

func prepareGroup(x, s, u, offset Register) {
	at := func(disp int) Mem { return Mem{Base: s, Disp: disp} }
	z, missing := YMM(), YMM()
	VMOVUPS(Mem{Base: x}, z)
	VCMPPS(Imm(3), z, z, missing) // unordered: NaN
	CMPL(at(atHead), Imm(0))
	JE(LabelRef("prepareLinear"))
	t := signedLog(z)
	mask := YMM()
	VMOVUPS(at(atLog), mask)
	VBLENDVPS(mask, t, z, z)
	Label("prepareLinear")
	VSUBPS(at(atMean), z, z)
	VMULPS(at(atInv), z, z)
	VMINPS(at(atHi), z, z)
	VMAXPS(at(atLo), z, z)

	base, off, step := YMM(), YMM(), YMM()
	VMOVUPS(at(atBase), base)
	VMOVUPS(at(atOffset), off)
	VMOVUPS(at(atStep), step)
	edges, e := GP64(), GP64()
	MOVLQZX(at(atHead+4), edges)
	LEAQ(at(atEdges), e)
	TESTQ(edges, edges)
	JZ(LabelRef("prepareFound"))
	loop("prepareEdge", edges, func() {
		edge, above := YMM(), YMM()
		VMOVUPS(Mem{Base: e}, edge)
		VCMPPS(Imm(2), z, edge, above) // edge <= z
		VBLENDVPS(above, edge, base, base)
		VPAND(above, step, above)
		VPADDD(above, off, off)
		ADDQ(Imm(32), e)
	})
	Label("prepareFound")
	VSUBPS(base, z, z)
	stand := YMM()
	VMOVUPS(at(atMissing), stand)
	VBLENDVPS(missing, stand, z, z)
	VMOVUPS(at(atMissingOffset), stand)
	VBLENDVPS(missing, stand, off, off)
	VMOVUPS(z, Mem{Base: u})
	VMOVUPS(off, Mem{Base: offset})
	MOVQ(e, s) // the next group begins behind the edges
}

// signedLog returns log(|x| + 1) with the sign of x.
func signedLog(x VecVirtual) VecVirtual {
	a, sign := YMM(), YMM()
	signs := constant("signBits", 1<<31)
	VANDPS(signs, x, sign)
	VXORPS(sign, x, a)
	VADDPS(constant("one", math.Float32bits(1)), a, a)
	VMINPS(constant("largest", math.Float32bits(math.MaxFloat32)), a, a)
	VMAXPS(constant("smallest", math.Float32bits(0x1p-126)), a, a)
	return withSign(sign, log(a))
}

func withSign(sign, x VecVirtual) VecVirtual {
	VORPS(sign, x, x)
	return x
}

// log is log of section 1 for x between its bounds.
func log(x VecVirtual) VecVirtual {
	e, n, f, p, q := YMM(), YMM(), YMM(), YMM(), YMM()
	VPSUBD(constant("logRoot", 0x3f3504f3), x, e)
	VPSRAD(Imm(23), e, e)
	VCVTDQ2PS(e, n)
	VPSLLD(Imm(23), e, e)
	VPSUBD(e, x, f)
	VSUBPS(constant("logOne", math.Float32bits(1)), f, f)
	VMOVUPS(constant("log0", math.Float32bits(7.0376836292e-2)), p)
	for i, c := range []float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		VFMADD213PS(constant("log"+string(rune('1'+i)), math.Float32bits(c)), f, p)
	}
	VMULPS(f, f, q)
	VMULPS(f, p, p)
	VMULPS(q, p, p)
	VFMADD231PS(constant("logLn2Low", math.Float32bits(-2.12194440e-4)), n, p)
	VFMADD231PS(constant("logHalf", math.Float32bits(-.5)), q, p)
	VADDPS(p, f, p)
	VFMADD231PS(constant("logLn2High", math.Float32bits(0.693359375)), n, p)
	return p
}

// exp is exp of section 1 for x between its bounds.
func exp(x VecVirtual) VecVirtual {
	n, r, p, q := YMM(), YMM(), YMM(), YMM()
	magic := constant("expMagic", math.Float32bits(0x1.8p23))
	VMOVUPS(magic, n)
	VFMADD231PS(constant("expLog2e", math.Float32bits(1.44269504088896341)), x, n)
	VSUBPS(magic, n, n)
	VMOVAPS(x, r)
	VFMADD231PS(constant("expLn2High", math.Float32bits(-0.693359375)), n, r)
	VFMADD231PS(constant("expLn2Low", math.Float32bits(2.12194440e-4)), n, r)
	VMOVUPS(constant("exp0", math.Float32bits(1.9875691500e-4)), p)
	for i, c := range []float32{
		1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	} {
		VFMADD213PS(constant("exp"+string(rune('1'+i)), math.Float32bits(c)), r, p)
	}
	VMULPS(r, r, q)
	VFMADD213PS(r, q, p)
	VADDPS(constant("expOne", math.Float32bits(1)), p, p)
	VCVTTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, p)
	return p
}
