package simulate

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// draw is the source of all chance. Its arithmetic is its own, and no product
// is left to be fused with a sum, so that a seed gives the same bytes on every
// processor; math.Exp and math.Log differ between them in the last bit.
type draw struct{ pcg rand.PCG }

func newDraw(seed, stream uint64) draw { return draw{*rand.NewPCG(seed, stream)} }

// unit returns a number of [0, 1).
func (d *draw) unit() float64 { return float64(d.pcg.Uint64()>>11) * 0x1p-53 }

// below returns an integer of [0, n), n > 0.
func (d *draw) below(n int) int {
	hi, _ := bits.Mul64(d.pcg.Uint64(), uint64(n))
	return int(hi)
}

// small returns an integer of [0, n), small ones more often: the smaller of two
// draws.
func (d *draw) small(n int) int {
	u := d.pcg.Uint64()
	a := (u >> 32) * uint64(n) >> 32
	b := (u & math.MaxUint32) * uint64(n) >> 32
	return int(min(a, b))
}

// between returns an integer of [lo, hi].
func (d *draw) between(lo, hi int) int { return lo + d.below(hi-lo+1) }

func (d *draw) chance(p float64) bool { return d.unit() < p }

// norm returns a standard normal number, near enough: how many of 64 coins show
// heads, smoothed. Its tails reach eight deviations.
func (d *draw) norm() float64 {
	heads := float64(bits.OnesCount64(d.pcg.Uint64()))
	return float64((heads + d.unit() - 32.5) * (1 / 4.0104030400319))
}

// exponential returns an exponential number of mean 1.
func (d *draw) exponential() float64 { return -ln(1 - d.unit()) }

// logNormal returns a log-normal number of the given median.
func (d *draw) logNormal(median, sigma float64) float64 {
	return float64(median * exp(sigma*d.norm()))
}

// mad is a*b + c with both roundings.
func mad(a, b, c float64) float64 { return float64(a*b) + c }

// exp returns e to the x for |x| < 700, to about 1e-13 of itself.
func exp(x float64) float64 {
	n := math.Floor(mad(x, math.Log2E, 0.5))
	r := mad(n, -math.Ln2, x)
	p := 1.0
	for k := 13.0; k > 0; k-- {
		p = mad(p, r/k, 1)
	}
	return float64(p * math.Float64frombits(uint64(int64(n)+1023)<<52))
}

// ln returns the natural logarithm of a normal number x > 0, to about 1e-10.
func ln(x float64) float64 {
	b := math.Float64bits(x)
	e := int64(b>>52) - 1023
	m := math.Float64frombits(b&(1<<52-1) | 1023<<52)
	if m > math.Sqrt2 {
		m, e = m*0.5, e+1
	}
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	p := 0.0
	for k := 13.0; k > 0; k -= 2 {
		p = mad(p, q, 1/k)
	}
	return mad(2*s, p, float64(float64(e)*math.Ln2))
}
