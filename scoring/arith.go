package scoring

import "math"

// The functions of this file are the arithmetic of doc.go, section 1. They use
// float64 only as a place in which float32 results are rounded right; every
// product is converted explicitly, so that no compiler fuses it.

// FMA returns a*b + c rounded once to float32, as VFMADD231SS and fma.rn.f32
// do, for all operands: subnormal results and operands, infinities, and zeros
// with their signs. Which NaN a NaN result is, is left open.
func FMA(a, b, c float32) float32 {
	s := float64(float64(a)*float64(b)) + float64(c)
	// The product is exact in float64, the sum is not. Rounding the sum again is
	// right unless it lies exactly between two float32, as it then may have been
	// rounded to there; below float32's normal range such places are elsewhere.
	x := math.Float64bits(s)
	if x&(1<<29-1) != 1<<28 && x<<1>>53-(1023-126) < 254 {
		return float32(s)
	}
	return fmaTie(a, b, c)
}

// fmaTie is FMA by rounding to odd: the inexact sum gets a last bit that no
// float32 and no midpoint of two has, so that rounding it again cannot tie.
func fmaTie(a, b, c float32) float32 {
	p, z := float64(float64(a)*float64(b)), float64(c)
	s := p + z
	// Knuth's two-sum: p + z = s + e exactly.
	v := s - p
	e := (p - (s - v)) + (z - v)
	bits := math.Float64bits(s)
	if e == 0 || e != e || bits&1 == 1 {
		return float32(s)
	}
	if (e > 0) == (s > 0) {
		bits++
	} else {
		bits--
	}
	return float32(math.Float64frombits(bits))
}

// Bounds of what Exp and Log are computed for; beyond them the nearest bound is
// taken.
const (
	expMax = 80
	logMin = 0x1p-126
	logMax = math.MaxFloat32
)

// clamp is MINPS(x, hi), then MAXPS(lo): NaN gives hi.
func clamp(x, lo, hi float32) float32 {
	if !(x < hi) {
		x = hi
	}
	if !(x > lo) {
		x = lo
	}
	return x
}

// Exp returns e^x for x clamped to [-80, 80] (NaN counts as 80), within 2e-7
// relative.
func Exp(x float32) float32 {
	const magic = 0x1.8p23 // adding it rounds to an integer
	x = clamp(x, -expMax, expMax)
	n := FMA(x, 1.44269504088896341, magic) - magic
	r := FMA(n, -0.693359375, x) // ln 2 in two parts, the first of few bits
	r = FMA(n, 2.12194440e-4, r)
	p := FMA(1.9875691500e-4, r, 1.3981999507e-3)
	p = FMA(p, r, 8.3334519073e-3)
	p = FMA(p, r, 4.1665795894e-2)
	p = FMA(p, r, 1.6666665459e-1)
	p = FMA(p, r, 5.0000001201e-1)
	p = FMA(p, r*r, r)
	p += 1
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23)
}

// Log returns ln x for x clamped to [2^-126, max float32] (NaN counts as the
// latter), within 1.2e-7 of the larger of 1 and the result's size.
func Log(x float32) float32 {
	bits := math.Float32bits(clamp(x, logMin, logMax))
	e := int32(bits-0x3f3504f3) >> 23                 // x = m 2^e, m from sqrt(1/2) to sqrt(2)
	f := math.Float32frombits(bits-uint32(e)<<23) - 1 // exact
	n := float32(e)
	p := FMA(7.0376836292e-2, f, -1.1514610310e-1)
	p = FMA(p, f, 1.1676998740e-1)
	p = FMA(p, f, -1.2420140846e-1)
	p = FMA(p, f, 1.4249322787e-1)
	p = FMA(p, f, -1.6668057665e-1)
	p = FMA(p, f, 2.0000714765e-1)
	p = FMA(p, f, -2.4999993993e-1)
	p = FMA(p, f, 3.3333331174e-1)
	q := f * f
	p = float32(p*f) * q
	p = FMA(n, -2.12194440e-4, p)
	p = FMA(q, -0.5, p)
	return FMA(n, 0.693359375, f+p)
}

// Sigmoid returns 1/(1+e^-x), never below 1.8e-35 and never above 1. It does
// not fall where x rises. NaN gives 1.
func Sigmoid(x float32) float32 {
	return 1 / (1 + Exp(-clamp(x, -expMax, expMax)))
}

// Standardise returns the z of a value of the input's column that is not missing:
// section 2 of the arithmetic.
func (in *Input) Standardise(x float32) float32 {
	if in.Log {
		x = SignedLog(x)
	}
	return clamp(float32(float32(x-in.Mean)*in.Inv), in.Lo, in.Hi)
}

// SignedLog returns ln(1+|x|) with the sign of x, as [Input] uses it.
func SignedLog(x float32) float32 {
	const sign = 1 << 31
	bits := math.Float32bits(x)
	a := math.Float32frombits(bits &^ sign)
	return math.Float32frombits(math.Float32bits(Log(a+1)) | bits&sign)
}

// Add adds the input's term for a value of its column to the sums of an encoding:
// sections 2 and 3 of the arithmetic.
func (in *Input) Add(x float32, acc []float32) {
	u, slope, prefix := in.line(x, len(acc))
	if prefix == nil {
		for j := range acc {
			acc[j] = FMA(u, slope[j], acc[j])
		}
		return
	}
	for j := range acc {
		acc[j] = FMA(u, slope[j], acc[j]+prefix[j])
	}
}

// addNearly adds the same but for its rounding, in a third of the time: where
// sums are compared with each other, and none is a score.
func (in *Input) addNearly(x float32, acc []float32) {
	u, slope, prefix := in.line(x, len(acc))
	for j, v := range slope[:len(acc)] {
		acc[j] += float32(u * v) // no processor may fuse them: reasons are the same on all
	}
	if prefix != nil {
		for j, v := range prefix[:len(acc)] {
			acc[j] += v
		}
	}
}

// line returns the line that the input's term lies on for a value of its column,
// of so many sums: u times slope, and prefix besides unless it is nil.
func (in *Input) line(x float32, width int) (u float32, slope, prefix []float32) {
	if in.Linear() {
		u = in.Missing
		if x == x {
			u = in.Standardise(x)
		}
		return u, in.Slope, nil
	}
	b := len(in.Edges)
	if x == x {
		z := in.Standardise(x)
		b = 0
		for _, e := range in.Edges[1:] {
			if e <= z {
				b++
			}
		}
		u = z - in.Edges[b]
	}
	return u, in.Slope[b*width:], in.Prefix[b*width:]
}
