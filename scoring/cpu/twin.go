package cpu

import (
	"github.com/weir-risk/weir/scoring"
)

// A twin computes scores as scoring/doc.go says them, one row at a time, in
// plain Go: the reference that everything faster is compared with, and the back
// end where there is no assembly.
type twin struct {
	m    *scoring.Model
	acc  []float32 // sums of the layer at hand
	code []float32 // the encoding, shared by the members
	h    []float32 // outputs of the layer before, times R
}

func newTwin(m *scoring.Model) *twin {
	widest := m.Width
	for l := range m.Hidden {
		widest = max(widest, m.Hidden[l].Width)
	}
	return &twin{m: m, acc: make([]float32, widest), code: make([]float32, m.Width), h: make([]float32, widest)}
}

func (t *twin) score(x scoring.Matrix, out []float32) {
	for i := range x.Rows {
		out[i] = t.row(x.Data[i*x.Cols : (i+1)*x.Cols])
	}
}

// row is sections 2 to 5 of the arithmetic.
func (t *twin) row(x []float32) float32 {
	m := t.m
	clear(t.code)
	for i := range m.Inputs {
		in := &m.Inputs[i]
		in.Add(x[in.Column], t.code)
	}
	sum := float32(0)
	for k := range m.Members {
		sum += scoring.Sigmoid(t.member(k) + m.Bias[k])
	}
	return sum / float32(m.Members)
}

// member returns the dot product of one member, without its bias.
func (t *twin) member(k int) float32 {
	m := t.m
	if len(m.Hidden) == 0 {
		return t.code[0]
	}
	acc, h := t.acc[:m.Width], t.h
	copy(acc, t.code)
	for l := range m.Hidden {
		layer := &m.Hidden[l]
		if l > 0 {
			acc = t.acc[:layer.Width]
			clear(acc)
			for i, v := range h {
				v = float32(v * layer.R[k*len(h)+i])
				for j, w := range layer.W[i*layer.Width : (i+1)*layer.Width] {
					acc[j] = scoring.FMA(v, w, acc[j])
				}
			}
		}
		h = t.h[:layer.Width]
		for j, s := range layer.S[k*layer.Width : (k+1)*layer.Width] {
			h[j] = relu(scoring.FMA(acc[j], s, layer.B[k*layer.Width+j]))
		}
	}
	return butterfly(h, m.Out[k*len(h):])
}

// relu is max(v, +0): +0 for -0 and NaN.
func relu(v float32) float32 {
	if v > 0 {
		return v
	}
	return 0
}

// butterfly sums h*w in 32 lanes and a butterfly.
func butterfly(h, w []float32) float32 {
	var lane [32]float32
	for j, v := range h {
		lane[j%32] = scoring.FMA(v, w[j], lane[j%32])
	}
	for d := 16; d > 0; d /= 2 {
		for l := range d {
			lane[l] += lane[l+d]
		}
	}
	return lane[0]
}
