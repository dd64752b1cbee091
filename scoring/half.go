package scoring

import "math"

// Halved is a [Scorer] that may score in float16 arithmetic: the inputs and weights of
// each matrix rounded to half precision, sums in float32, in any order. Such scores are
// not of doc.go's bits, but within [HalfBound] of them.
type Halved interface {
	Scorer
	// Half reports whether the scores of the last call of Score are of that arithmetic:
	// all of them, or none.
	Half() bool
}

// Half reports whether the scores that s gave last are of float16 arithmetic.
func Half(s Scorer) bool {
	h, ok := s.(Halved)
	return ok && h.Half()
}

// A HalfBound says how far a score in float16 arithmetic can be from its bits. One
// goroutine uses it at a time.
type HalfBound struct {
	model       *Model
	reach, most []float64 // of each layer: the largest input, for any row, and the largest weight
	code        []float32
	h, off      []float64 // of a layer: its outputs, and how far they can be off
	acc, accOff []float64
}

// NewHalfBound returns the bound of a model's scores.
func NewHalfBound(m *Model) *HalfBound {
	b := &HalfBound{model: m, reach: m.Reach(), most: make([]float64, len(m.Hidden)), code: make([]float32, m.Width)}
	for l := range m.Hidden {
		for _, w := range m.Hidden[l].W {
			b.most[l] = max(b.most[l], math.Abs(float64(w)))
		}
	}
	return b
}

// Of returns the bound of a row's score, never more than 1. It is no estimate: each
// input and each weight of a product is off by a part in 2^11 at most, each sum by what
// its float32 terms can round to, and what follows from that is followed to the end in
// float64, every error at its worst. What is smaller is in the millionth that it adds.
func (b *HalfBound) Of(row []float32) float64 {
	m, sum := b.model, 0.
	clear(b.code)
	for i := range m.Inputs {
		m.Inputs[i].Add(row[m.Inputs[i].Column], b.code)
	}
	for k := range m.Members {
		dot, dotOff := float64(m.Bias[k]), 0.
		b.h, b.off = b.h[:0], b.off[:0]
		for l := range m.Hidden {
			b.layer(k, l)
		}
		if len(m.Hidden) == 0 {
			dot += float64(b.code[0])
		}
		for j, v := range b.h {
			w := float64(m.Out[k*len(b.h)+j])
			dot += v * w
			dotOff += (b.off[j] + float64(len(b.h))*sumPart*v) * math.Abs(w)
		}
		sum += dotOff * steepest(dot, dotOff)
	}
	return min(1, sum/float64(m.Members)+1e-6)
}

// Allows reports whether two scores of a row, one of float16 arithmetic and the other of
// doc.go's bits, are as near as they have to be.
func (b *HalfBound) Allows(row []float32, half, whole float32) bool {
	return half == whole || math.Abs(float64(half)-float64(whole)) <= b.Of(row)
}

// The parts of itself that a number can be off by: rounded to half precision, and as a
// term of a sum of float32, for each of the sum's terms, in the order of doc.go and in
// that of tensor cores, which cut off where others round.
const (
	halfPart = 0x1p-11
	sumPart  = 0x1p-22
)

// layer puts the outputs of a layer in the place of those before it.
func (b *HalfBound) layer(k, l int) {
	layer := &b.model.Hidden[l]
	b.acc, b.accOff = zeroes(b.acc, layer.Width), zeroes(b.accOff, layer.Width)
	if l == 0 {
		for j, v := range b.code {
			b.acc[j] = float64(v)
		}
	}
	for i, v := range b.h {
		r := float64(layer.R[k*len(b.h)+i])
		in, off := v*r, b.off[i]*math.Abs(r)
		// Those that are very small beside the largest lose more bits.
		off += halfPart*(math.Abs(in)+off) + 0x1p-37*b.reach[l]
		for j, w := range layer.W[i*layer.Width : (i+1)*layer.Width] {
			w, size := float64(w), math.Abs(float64(w))
			wOff := halfPart*size + 0x1p-32*b.most[l]
			b.acc[j] += in * w
			b.accOff[j] += off*(size+wOff) + math.Abs(in)*(wOff+float64(len(b.h))*sumPart*size)
		}
	}
	b.h, b.off = zeroes(b.h, layer.Width), zeroes(b.off, layer.Width)
	for j, v := range b.acc {
		s, bias := float64(layer.S[k*layer.Width+j]), float64(layer.B[k*layer.Width+j])
		b.h[j] = max(0, v*s+bias)
		b.off[j] = b.accOff[j]*math.Abs(s) + 0x1p-23*(math.Abs(v*s)+math.Abs(bias))
	}
}

// zeroes returns n of them, in s where there is room.
func zeroes(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	clear(s[:n])
	return s[:n]
}

// steepest returns the largest slope of the sigmoid within off of z.
func steepest(z, off float64) float64 {
	p := 1 / (1 + math.Exp(max(0, math.Abs(z)-off)))
	return p * (1 - p)
}
