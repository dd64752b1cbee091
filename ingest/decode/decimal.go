package decode

import (
	"math"
	"strconv"
	"unsafe"
)

// decimal is a number exactly as it was written: mant × 10^exp. Trailing zeros
// are in exp, so that the last digit of mant is none; zero is mant 0, n 0.
type decimal struct {
	mant uint64
	exp  int64 // within ±2^31
	n    int64 // digits of mant; above 19 mant does not hold them
	neg  bool
}

// digitsMax is what always fits a uint64.
const digitsMax = 19

// exponentMax bounds exponents as they are read; nothing near it is in any range.
const exponentMax = 1 << 30

var pow10 = [digitsMax]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// parseDecimal reads -?d+(.d+)?([eE][+-]?d+)?, which is JSON's number and leading
// zeros, as fixed-width texts have them.
func parseDecimal(s []byte) (d decimal, ok bool) {
	at := 0
	if len(s) > 0 && s[0] == '-' {
		d.neg, at = true, 1
	}
	zeros, point, first := int64(0), -1, at
mantissa:
	for ; at < len(s); at++ {
		c := s[at] - '0'
		switch {
		case c == 0:
			zeros++
			continue
		case c > 9:
			if s[at] != '.' || point >= 0 || at == first {
				break mantissa
			}
			point = at + 1
			continue
		}
		if d.n == 0 {
			zeros = 0 // leading ones
		}
		if d.n += zeros + 1; d.n <= digitsMax {
			if zeros > 0 {
				d.mant *= pow10[zeros]
			}
			d.mant = d.mant*10 + uint64(c)
		}
		zeros = 0
	}
	if at == first || at == point {
		return d, false
	}
	if point >= 0 {
		d.exp = int64(point - at)
	}
	d.exp += zeros
	if at < len(s) {
		e, ok := parseExponent(s[at:])
		if !ok {
			return d, false
		}
		d.exp += e
	}
	if d.n == 0 {
		d.exp = 0
	}
	return d, true
}

// parseExponent reads [eE][+-]?d+.
func parseExponent(s []byte) (e int64, ok bool) {
	if len(s) < 2 || s[0]|0x20 != 'e' {
		return 0, false
	}
	neg := s[1] == '-'
	if s = s[1:]; neg || s[0] == '+' {
		s = s[1:]
	}
	for _, c := range s {
		if c -= '0'; c > 9 {
			return 0, false
		}
		e = min(e*10+int64(c), exponentMax)
	}
	if neg {
		e = -e
	}
	return e, len(s) > 0
}

// minor returns the number in units of 10^-digits; it must be a whole number of
// at most 18 digits.
func (d *decimal) minor(digits int) (int64, check) {
	e := d.exp + int64(digits)
	switch {
	case d.n == 0:
		return 0, passed
	case d.n+e > 18:
		return 0, amountRange
	case e < 0:
		return 0, amountPrecision
	}
	v := int64(d.mant * pow10[e])
	if d.neg {
		v = -v
	}
	return v, passed
}

// millis returns the number × 10^scale, cut to an integer: milliseconds.
func (d *decimal) millis(scale int64) (int64, check) {
	e := d.exp + scale
	switch {
	case d.n > digitsMax:
		return 0, timeEpoch
	case d.neg && d.n > 0:
		return 0, timeEarly
	case d.n+e > 15: // the year 33658
		return 0, timeLate
	case d.n+e <= 0:
		return 0, passed
	case e < 0:
		return int64(d.mant / pow10[-e]), passed
	}
	return int64(d.mant * pow10[e]), passed
}

// float returns the float64 nearest to the number; text is what d was read from.
// The short way is exact: both operands are, and one operation rounds once.
func (d *decimal) float(text []byte) (float64, check) {
	if d.n <= digitsMax && d.mant < 1<<53 && d.exp >= -22 && d.exp <= 22 {
		x := float64(d.mant)
		if d.exp < 0 {
			x /= floatPow10[-d.exp]
		} else {
			x *= floatPow10[d.exp]
		}
		if d.neg {
			x = -x
		}
		return x, passed
	}
	if d.n+d.exp > 309 {
		return 0, numberRange
	}
	x, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
	if err != nil || math.IsInf(x, 0) {
		return 0, numberRange
	}
	return x, passed
}

var floatPow10 = [23]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
	1e18, 1e19, 1e20, 1e21, 1e22}
