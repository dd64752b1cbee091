package scoringtest

import (
	"math"
	"math/rand/v2"

	"github.com/weir-risk/weir/scoring"
)

// Shape says what kind of model to make.
type Shape struct {
	Columns int
	Hidden  []int // widths
	Members int
	// Tables is how many of 4 inputs are tables, the others being linear; Log
	// how many of 4 take a logarithm.
	Tables, Log int
	// Scale multiplies every weight: 1 gives ordinary scores, 2^-130 sums that
	// are subnormal, 2^20 scores of 0 and 1.
	Scale float32
	// Lift is added to the biases of hidden layers, in units of Scale: 0 makes
	// half of a layer's outputs 0, 12 few of them.
	Lift float32
}

// RandomShape draws a shape: 0 to 4 hidden layers, 1 to 16 members, odd widths.
func RandomShape(r *rand.Rand) Shape {
	s := Shape{Columns: 1 + r.IntN(40), Members: 1, Tables: r.IntN(5), Log: r.IntN(3), Scale: 1}
	for range r.IntN(5) {
		s.Hidden = append(s.Hidden, 1+r.IntN(70))
	}
	if r.IntN(3) > 0 {
		s.Members = 1 + r.IntN(16)
	}
	if r.IntN(3) == 0 {
		s.Lift = 12
	}
	switch r.IntN(8) {
	case 0:
		s.Scale = 0x1p-130
	case 1:
		s.Scale = 0x1p10
	}
	return s
}

// unit draws a float32 from [-1, 1), a multiple of 2^-23.
func unit(r *rand.Rand) float32 { return float32(int32(r.Uint32())>>8) * 0x1p-23 }

// list draws n numbers of [-size, size), plus or minus about.
func list(r *rand.Rand, n int, size, about float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(unit(r)*size) + about
		if r.IntN(2) == 0 {
			out[i] = -out[i]
		}
	}
	return out
}

// Model draws a model of shape s. Every product is rounded by hand, so that a
// processor that fuses gives the same model.
func Model(r *rand.Rand, s Shape) *scoring.Model {
	m := &scoring.Model{Columns: s.Columns, Members: s.Members, Width: 1}
	if len(s.Hidden) > 0 {
		m.Width = s.Hidden[0]
	}
	for c := range s.Columns {
		m.Inputs = append(m.Inputs, input(r, s, c, m.Width))
		if r.IntN(8) == 0 { // another input on the same column
			m.Inputs = append(m.Inputs, input(r, s, c, m.Width))
		}
	}
	before := 0
	for l, w := range s.Hidden {
		h := scoring.Layer{Width: w, S: list(r, s.Members*w, .125, 1), B: list(r, s.Members*w, .25*s.Scale, 0)}
		for i := range h.B {
			h.B[i] += float32(s.Lift * s.Scale)
		}
		if l > 0 {
			h.R = list(r, s.Members*before, .125, 1)
			h.W = list(r, before*w, float32(math.Sqrt(6/float64(before))), 0)
		}
		m.Hidden = append(m.Hidden, h)
		before = w
	}
	m.Out = list(r, s.Members*before, float32(math.Sqrt(3/float64(before+1))), 0)
	m.Bias = list(r, s.Members, 2*s.Scale, 0)
	return m
}

func input(r *rand.Rand, s Shape, column, width int) scoring.Input {
	in := scoring.Input{
		Column: column, Log: r.IntN(4) < s.Log, Mean: unit(r), Inv: .5 + float32(unit(r)*.25),
		Lo: -5 + unit(r), Hi: 5 + unit(r),
	}
	if r.IntN(8) == 0 {
		in.Lo, in.Hi = -120, 120
	}
	size := float32(s.Scale * float32(math.Sqrt(1/float64(s.Columns))))
	if r.IntN(4) >= s.Tables {
		in.Missing = unit(r)
		in.Slope = list(r, width, size, 0)
		return in
	}
	if r.IntN(4) == 0 {
		in.Mean, in.Inv = 0, 1 // so that values of edgeGrid are edges
	}
	at := -3 + unit(r)
	for range 1 + r.IntN(20) {
		in.Edges = append(in.Edges, float32(math.Floor(float64(at*edgeGrid)))/edgeGrid)
		at += 1/float32(edgeGrid) + (unit(r)+1)*.25
	}
	rows := len(in.Edges) + 1
	in.Prefix = list(r, rows*width, size, 0)
	in.Slope = list(r, rows*width, size, 0)
	return in
}

// edgeGrid is the fineness of edges, and of every fourth value of a row.
const edgeGrid = 16

// extremes are values that a row may hold although no sane bank sends them.
var extremes = []float32{
	float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32,
	0, float32(math.Copysign(0, -1)), 0x1p-149, -0x1p-149, 0x1p-126, 1e30, -1e-30, 1 << 24, -1, 0x1p31,
}

// Rows draws rows for a model of that many columns: ordinary values, values on
// edges, missing ones and extremes.
func Rows(r *rand.Rand, rows, columns int) scoring.Matrix {
	x := scoring.Matrix{Data: make([]float32, rows*columns), Rows: rows, Cols: columns}
	for i := range x.Data {
		switch k := r.IntN(24); {
		case k == 0:
			x.Data[i] = float32(math.NaN())
		case k == 1:
			x.Data[i] = extremes[r.IntN(len(extremes))]
		case k < 6:
			x.Data[i] = float32(r.IntN(8*edgeGrid)-4*edgeGrid) / edgeGrid
		default:
			x.Data[i] = unit(r) * 4
		}
	}
	return x
}
