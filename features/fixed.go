package features

import (
	"math"
	"math/bits"
)

// lnTwo is ln 2 in units of 2^-60.
const lnTwo = 799144290325165979

// lnUnit is what lnFixed's result is a multiple of, inverted.
const lnUnit = 1 << 32

// lnSteps[i] is ln((257+2i)/256) in units of 2^-60.
var lnSteps = makeLnSteps()

func makeLnSteps() (steps [128]int64) {
	for i := range steps {
		// ln(a/b) = 2 atanh((a-b)/(a+b)), by its series in integers.
		num, den := uint64(1+2*i), uint64(513+2*i)
		z, _ := bits.Div64(num>>4, num<<60, den)
		power, sum := z, uint64(0)
		for k := uint64(1); power > 0; k += 2 {
			sum += power / k
			hi, lo := bits.Mul64(power, z)
			power = hi<<4 | lo>>60
			hi, lo = bits.Mul64(power, z)
			power = hi<<4 | lo>>60
		}
		steps[i] = int64(2 * sum)
	}
	return steps
}

// lnFixed returns ln(max(x, 1)) in units of 2^-32, within two of them. It is
// a function in integers, so that sums of it are exact on any processor.
func lnFixed(x int64) int64 {
	if x <= 1 {
		return 0
	}
	n := bits.Len64(uint64(x)) - 1
	m := uint64(x) << (63 - n)                   // in [1, 2), units of 2^-63
	i := m >> 56 & 127                           // which 128th
	c := int64(257 + 2*i)                        // its middle, in 256ths
	d := int64(m - uint64(c)<<55)                // distance from the middle
	r := (d << 8) / c >> 25                      // relative distance, units of 2^-38, below 2^-8
	r2 := r * r >> 38                            //
	r3, r4 := r2*r>>38, r2*r2>>38                //
	small := r - r2/2 + r3/3 - r4/4              // ln(1+r); what follows is below 2^-42
	large := int64(n)*(lnTwo>>4) + lnSteps[i]>>4 // units of 2^-56
	return (large>>18 + small + 32) >> 6
}

// expFloat returns e^x to about 1e-15, with the same bits on any processor.
// Its argument is a mean of logarithms, so it lies in [0, 45].
func expFloat(x float64) float64 {
	const (
		ln2High = 6.93147180369123816490e-01
		ln2Low  = 1.90821492927058770002e-10
	)
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	r := float64(x-float64(k*ln2High)) - float64(k*ln2Low)
	// Taylor's series by Horner, |r| <= ln(2)/2.
	sum := 1.0
	for i := 14; i > 0; i-- {
		sum = 1 + float64(float64(sum*r)/float64(i))
	}
	return float64(sum * math.Float64frombits(uint64(int64(k)+1023)<<52))
}

// logFloat returns ln(x) for x >= 1 to about 1e-15, with the same bits on any
// processor.
func logFloat(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 1) {
		return x
	}
	w := math.Float64bits(x)
	k := float64(int64(w>>52) - 1023)
	m := math.Float64frombits(w&(1<<52-1) | 1023<<52)
	if m > math.Sqrt2 {
		m, k = m/2, k+1
	}
	// ln(m) = 2 atanh((m-1)/(m+1)).
	z := (m - 1) / (m + 1)
	z2 := float64(z * z)
	sum := 0.0
	for i := 25; i > 0; i -= 2 {
		sum = float64(sum*z2) + 1/float64(i)
	}
	const (
		ln2High = 6.93147180369123816490e-01
		ln2Low  = 1.90821492927058770002e-10
	)
	return float64(k*ln2High) + float64(float64(2*float64(z*sum))+float64(k*ln2Low))
}
