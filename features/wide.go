package features

import (
	"math"
	"math/bits"
)

// wide is a 256-bit integer, least significant word first; two's complement
// where a sign is spoken of.
type wide [4]uint64

// addWord adds the signed v to the 128-bit integer at s.
func addWord(s []uint64, v int64) {
	_ = s[1]
	var c uint64
	s[0], c = bits.Add64(s[0], uint64(v), 0)
	s[1] += uint64(v>>63) + c
}

// subWord subtracts the signed v from the 128-bit integer at s.
func subWord(s []uint64, v int64) {
	_ = s[1]
	var c uint64
	s[0], c = bits.Sub64(s[0], uint64(v), 0)
	s[1] -= uint64(v>>63) + c
}

// addWords adds the n words at t to those at s, as one integer.
func addWords(s, t []uint64, n int) {
	var c uint64
	for i := range n {
		s[i], c = bits.Add64(s[i], t[i], c)
	}
}

// subWords subtracts the n words at t from those at s, as one integer.
func subWords(s, t []uint64, n int) {
	var c uint64
	for i := range n {
		s[i], c = bits.Sub64(s[i], t[i], c)
	}
}

// square returns v*v as three words.
func square(v int64) [3]uint64 {
	u := magnitude(v)
	hi, lo := bits.Mul64(u, u)
	return [3]uint64{lo, hi, 0}
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// float128 returns the float64 nearest to the signed 128-bit integer.
func float128(lo, hi uint64) float64 {
	if hi == 0 {
		return float64(lo)
	}
	return longFloat(lo, hi)
}

// longFloat is float128 for what one word does not hold.
func longFloat(lo, hi uint64) float64 {
	if int64(hi) >= 0 {
		return wide{lo, hi}.float()
	}
	var c uint64
	lo, c = bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, c)
	return -wide{lo, hi}.float()
}

// spread returns n*q - s*s, n times n times the variance of n values whose sum
// is s (signed, 128 bits) and whose squares sum to q (192 bits). It is never
// negative for sums that belong together.
func spread(n uint64, s [2]uint64, q [3]uint64) wide {
	var a wide
	for i := range q {
		hi, lo := bits.Mul64(n, q[i])
		var c uint64
		a[i], c = bits.Add64(a[i], lo, 0)
		a[i+1], _ = bits.Add64(a[i+1], hi, c)
	}
	if int64(s[1]) < 0 {
		var c uint64
		s[0], c = bits.Sub64(0, s[0], 0)
		s[1], _ = bits.Sub64(0, s[1], c)
	}
	var b wide
	for i := range s {
		for j := range s {
			hi, lo := bits.Mul64(s[i], s[j])
			add := wide{}
			add[i+j], add[i+j+1] = lo, hi
			addWords(b[:], add[:], len(b))
		}
	}
	subWords(a[:], b[:], len(a))
	return a
}

// float returns the float64 nearest to the unsigned w, ties to even.
func (w wide) float() float64 {
	top := len(w) - 1
	for top > 0 && w[top] == 0 {
		top--
	}
	if top == 0 {
		return float64(w[0])
	}
	// The 64 most significant bits, the last one standing for whatever
	// follows: conversion to 53 bits then rounds as if it saw them all.
	n := bits.LeadingZeros64(w[top])
	m, rest := w[top]<<n, w[top-1]
	if n > 0 {
		m |= w[top-1] >> (64 - n)
		rest = w[top-1] << n
	}
	for i := range top - 1 {
		rest |= w[i]
	}
	if rest != 0 {
		m |= 1
	}
	return float64(m) * math.Float64frombits(uint64(1023+64*top-n)<<52)
}
