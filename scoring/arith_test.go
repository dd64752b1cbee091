package scoring

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// bigFMA is the definition: exact, then rounded once.
func bigFMA(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c)
	if s := p + z; s == 0 || math.IsInf(s, 0) || s != s {
		// An exact zero's sign, infinities and NaN are as in float64: the sum
		// of an exact product with c is zero only where it is exactly so.
		return float32(s)
	}
	sum := new(big.Float).SetPrec(1000).SetFloat64(p)
	sum.Add(sum, new(big.Float).SetFloat64(z))
	f, _ := sum.Float32()
	return f
}

func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

func TestFMASuccess(t *testing.T) {
	f := func(a, b, c, want float32) {
		t.Helper()
		if got := FMA(a, b, c); !sameBits(got, want) {
			t.Errorf("FMA(%g, %g, %g) = %g (%#x), want %g (%#x)",
				a, b, c, got, math.Float32bits(got), want, math.Float32bits(want))
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	f(2, 3, 4, 10)
	f(0, 1, 0, 0)
	f(negZero, 1, negZero, negZero)
	f(negZero, 1, 0, 0)
	f(1, 1, -1, 0)
	f(inf, 1, 0, inf)
	f(inf, 0, 0, nan)
	f(inf, 1, -inf, nan)
	f(math.MaxFloat32, 2, -math.MaxFloat32, math.MaxFloat32)
	f(math.MaxFloat32, 2, 0, inf)
	f(0x1p-149, .5, 0, 0)         // a tie to even at the very bottom
	f(0x1p-149, .75, 0, 0x1p-149) //
	f(0x1p-149, -.25, 0, negZero) // underflow keeps its sign
	f(0x1p-75, 0x1p-75, 0x1p-149, 0x1p-148)
	f(1+0x1p-12, 1+0x1p-12, 0x1p-60, 1+0x1p-11+0x1p-23) // just above a midpoint: float64 alone ties to even
	f(1+0x1p-12, 1+0x1p-12, -0x1p-60, 1+0x1p-11)
	f(1+0x1p-12, 1+0x1p-12, 0, 1+0x1p-11)
}

// TestFMAIsRoundedOnce draws operands whose exact sum is close to a midpoint
// of two float32, or anywhere.
func TestFMAIsRoundedOnce(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	short := func() float32 { // few bits, so that ties are common
		return math.Float32frombits(r.Uint32() & 0xfffff000 &^ (r.Uint32() & 0x7ff000))
	}
	ties := 0
	for n := range 2_000_000 {
		a, b, c := math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())
		switch n % 4 {
		case 1:
			a, b = short(), short()
		case 2: // an addend that hardly counts, beside a product of 1 to 4
			a, b = float32(1+r.Float64()), 1+float32(r.IntN(1<<12))*0x1p-12
			c = float32(math.Ldexp(float64(1-2*r.IntN(2)), -20-r.IntN(60)))
		case 3: // subnormal results
			a, b = short()*0x1p-40, float32(math.Ldexp(r.Float64()-.5, -90-r.IntN(30)))
			c = math.Float32frombits(r.Uint32() & 0x807fffff >> r.IntN(20))
		}
		if fast := float32(float64(a)*float64(b) + float64(c)); !sameBits(fast, FMA(a, b, c)) {
			ties++
		}
		if got, want := FMA(a, b, c), bigFMA(a, b, c); !sameBits(got, want) {
			t.Fatalf("seed %d, try %d: FMA(%#x, %#x, %#x) = %#x, want %#x", seed, n, math.Float32bits(a),
				math.Float32bits(b), math.Float32bits(c), math.Float32bits(got), math.Float32bits(want))
		}
	}
	if ties < 100 {
		t.Fatalf("only %d operands told one rounding from two", ties)
	}
}

// each calls f with floats of [lo, hi], evenly, in ascending order.
func each(lo, hi float32, n int, f func(x float32)) {
	for i := range n + 1 {
		f(lo + (hi-lo)*float32(i)/float32(n))
	}
}

func TestExpLogSigmoidAreClose(t *testing.T) {
	f := func(name string, lo, hi float32, got func(float32) float32, want func(float64) float64, floor, limit float64) {
		t.Helper()
		worst, at := 0., float32(0)
		each(lo, hi, 300_000, func(x float32) {
			w := want(float64(x))
			if d := math.Abs(float64(got(x))-w) / max(math.Abs(w), floor); d > worst || d != d {
				worst, at = d, x
			}
		})
		t.Logf("%s on [%g, %g]: %.3g at %g", name, lo, hi, worst, at)
		if !(worst <= limit) {
			t.Errorf("%s on [%g, %g]: off by %.3g at %g, want at most %.3g", name, lo, hi, worst, at, limit)
		}
	}
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	signed := func(x float64) float64 { return math.Copysign(math.Log1p(math.Abs(x)), x) }
	f("exp", -1, 1, Exp, math.Exp, 0, 2e-7)
	f("exp", -80, 80, Exp, math.Exp, 0, 2e-7)
	f("log", .5, 2, Log, math.Log, 1, 1.2e-7)
	f("log", 1e-30, 1e-28, Log, math.Log, 1, 1.2e-7)
	f("log", 1, 1e12, Log, math.Log, 1, 1.2e-7)
	f("sigmoid", -20, 20, Sigmoid, sigmoid, 0, 2e-7)
	f("sigmoid", -79, 80, Sigmoid, sigmoid, 0, 2e-7)
	f("signed log", -1e6, 1e6, SignedLog, signed, 1, 1.2e-7)
	f("signed log", -2, 2, SignedLog, signed, 1, 2e-7) // 1+|x| is rounded
}

func TestSigmoidAndLogDoNotFall(t *testing.T) {
	f := func(name string, g func(float32) float32, lo, hi uint32, step uint32) {
		t.Helper()
		last := float32(math.Inf(-1))
		for bits := lo; bits <= hi; bits += step {
			x := math.Float32frombits(bits)
			y := g(x)
			if !(y >= last) {
				t.Fatalf("%s falls to %g at %g", name, y, x)
			}
			last = y
		}
	}
	f("sigmoid", Sigmoid, math.Float32bits(1e-6), math.Float32bits(25), 97)
	f("1-sigmoid(-x)", func(x float32) float32 { return -Sigmoid(-x) }, math.Float32bits(1e-6), math.Float32bits(85), 97)
	f("log", Log, math.Float32bits(1e-38), math.Float32bits(1e38), 997)
}

func TestBoundsOfExpLogSigmoid(t *testing.T) {
	f := func(name string, got, want float32) {
		t.Helper()
		if !sameBits(got, want) {
			t.Errorf("%s = %g, want %g", name, got, want)
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	f("exp(inf)", Exp(inf), Exp(80))
	f("exp(-inf)", Exp(-inf), Exp(-80))
	f("exp(nan)", Exp(nan), Exp(80))
	f("exp(0)", Exp(0), 1)
	f("log(1)", Log(1), 0)
	f("log(0)", Log(0), Log(0x1p-126))
	f("log(-1)", Log(-1), Log(0x1p-126))
	f("log(nan)", Log(nan), Log(math.MaxFloat32))
	f("log(inf)", Log(inf), Log(math.MaxFloat32))
	f("sigmoid(0)", Sigmoid(0), .5)
	f("sigmoid(-0)", Sigmoid(float32(math.Copysign(0, -1))), .5)
	f("sigmoid(inf)", Sigmoid(inf), 1)
	f("sigmoid(nan)", Sigmoid(nan), 1)
	f("sigmoid(-inf)", Sigmoid(-inf), Sigmoid(-80))
	f("signed log(0)", SignedLog(0), 0)
	f("signed log(-inf)", SignedLog(-inf), -Log(math.MaxFloat32))
}

func BenchmarkFMA(b *testing.B) {
	b.ReportAllocs()
	x := float32(1)
	for b.Loop() {
		x = FMA(x, .999, .001)
	}
	sink = x
}

func BenchmarkSigmoid(b *testing.B) {
	b.ReportAllocs()
	x := float32(1)
	for b.Loop() {
		x = Sigmoid(x)
	}
	sink = x
}

var sink float32
