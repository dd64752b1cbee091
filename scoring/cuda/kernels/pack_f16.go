package kernels

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/weir-risk/weir/scoring"
)

// ErrNoProduct is why a sound model has no image for the tensor cores: it has no
// second hidden layer, and so no matrix that they could multiply by.
var ErrNoProduct = errors.New("model has no matrix for tensor cores")

// half is how a layer's inputs and weights are scaled before they are rounded to
// half precision: by powers of two, which the layer's S takes back, so that
// neither overflows for any row.
type half struct{ inputs, weights int }

// Exponents that inputs and weights are brought to: sums of products stay far
// from float32's bounds, and what is a thousand times smaller than the largest
// still has all its bits.
const (
	inputExponent  = 14
	weightExponent = 8
	scaleMost      = 60
)

// PackF16 returns the image of a model for the tensor-core kernel. Its errors are
// Pack's and ErrNoProduct.
func PackF16(m *scoring.Model) ([]byte, error) { return pack(m, formatF16) }

// IsF16 reports whether an image is one of PackF16.
func IsF16(image []byte) bool {
	return len(image) >= 8 && binary.LittleEndian.Uint32(image[4:]) == formatF16
}

// halves chooses the scales of the layers.
func halves(m *scoring.Model) ([]half, error) {
	if len(m.Hidden) < 2 {
		return nil, fmt.Errorf("%d hidden layers: %w", len(m.Hidden), ErrNoProduct)
	}
	list, reach := make([]half, len(m.Hidden)), m.Reach()
	for l := 1; l < len(list); l++ {
		weight := 0.
		for _, w := range m.Hidden[l].W {
			weight = max(weight, math.Abs(float64(w)))
		}
		_, inputs := math.Frexp(reach[l]) // reach < 2^inputs
		_, weights := math.Frexp(weight)
		list[l] = half{inputs: min(inputExponent-inputs, scaleMost), weights: min(weightExponent-weights, scaleMost)}
		if list[l].inputs < -scaleMost || list[l].weights < -scaleMost {
			return nil, fmt.Errorf("layer %d has inputs up to %.3g, weights up to %.3g: %w", l, reach[l], weight, ErrTooLarge)
		}
	}
	return list, nil
}

// scaled returns a layer's R times the scale of its inputs, or its S divided by
// the scales of inputs and weights. What passes float32's largest number, which
// only an R can whose h is as small, is that number.
func (p *image) scaled(list []float32, l int, inputs bool) []float32 {
	if p.half == nil {
		return list
	}
	e := -p.half[l].inputs - p.half[l].weights
	if inputs {
		e = p.half[l].inputs
	}
	out := make([]float32, len(list))
	for i, v := range list {
		out[i] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, math.Ldexp(float64(v), e))))
	}
	return out
}

// fragments writes the matrix of a layer that takes so many inputs, padded to
// inner, as the tensor cores want it.
func (p *image) fragments(h *scoring.Layer, inputs, inner, scale int) {
	width := pad(h.Width, padding)
	at := func(i, j int) uint16 {
		if i >= inputs || j >= h.Width {
			return 0
		}
		return toHalf(float32(math.Ldexp(float64(h.W[i*h.Width+j]), scale)))
	}
	for i := 0; i < inner; i += 16 {
		for j := 0; j < width; j += 16 {
			for lane := range 32 {
				for word := range 4 {
					row, column := i+word%2*8+lane%4*2, j+word/2*8+lane/4
					p.data = binary.LittleEndian.AppendUint16(p.data, at(row, column))
					p.data = binary.LittleEndian.AppendUint16(p.data, at(row+1, column))
				}
			}
		}
	}
}

// toHalf rounds a number to half precision, to nearest even. It is below 2^15.
func toHalf(f float32) uint16 {
	sign := uint16(math.Float32bits(f) >> 16 & 0x8000)
	a := math.Abs(float64(f))
	if a < 0x1p-14 { // subnormal: multiples of 2^-24
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	fraction, e := math.Frexp(a) // a = fraction 2^e, fraction from 1/2 to 1
	return sign | uint16((e+13)<<10+int(math.RoundToEven(fraction*2048)))
}
