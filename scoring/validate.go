package scoring

import (
	"fmt"
	"math"
)

// Validate reports the first reason why m is not a sound model: an error that
// is one of ErrShape, ErrNotFinite, ErrEncoding and ErrUnbounded. A valid model
// gives a finite score for every row.
func (m *Model) Validate() error {
	if err := m.validateShape(); err != nil {
		return err
	}
	for i := range m.Inputs {
		if err := m.Inputs[i].validate(); err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
	}
	for name, list := range m.tables() {
		if i := notFinite(list); i >= 0 {
			return fmt.Errorf("%s[%d] is %g: %w", name, i, list[i], ErrNotFinite)
		}
	}
	return m.validateBounds()
}

// tables yields the tables of the network behind the encoding, by name.
func (m *Model) tables() func(yield func(string, []float32) bool) {
	return func(yield func(string, []float32) bool) {
		for l := range m.Hidden {
			h := &m.Hidden[l]
			if !yield(fmt.Sprintf("layer %d: R", l), h.R) || !yield(fmt.Sprintf("layer %d: W", l), h.W) ||
				!yield(fmt.Sprintf("layer %d: S", l), h.S) || !yield(fmt.Sprintf("layer %d: B", l), h.B) {
				return
			}
		}
		_ = yield("out", m.Out) && yield("bias", m.Bias)
	}
}

func notFinite(list []float32) int {
	for i, v := range list {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

func (m *Model) validateShape() error {
	check := func(what string, got, lo, hi int) error {
		if got < lo || got > hi {
			return fmt.Errorf("%s is %d, not %d to %d: %w", what, got, lo, hi, ErrShape)
		}
		return nil
	}
	first := 1
	if len(m.Hidden) > 0 {
		first = m.Hidden[0].Width
	}
	k := m.Members
	for _, c := range []struct {
		what        string
		got, lo, hi int
	}{
		{"columns", m.Columns, 1, ColumnsMax}, {"inputs", len(m.Inputs), 1, InputsMax},
		{"members", k, 1, MembersMax}, {"hidden layers", len(m.Hidden), 0, HiddenMax},
		{"width of the encoding", m.Width, 1, WidthMax}, {"width of the encoding", m.Width, first, first},
		{"length of the biases", len(m.Bias), k, k},
		{"length of the output weights", len(m.Out), k * m.LastWidth(), k * m.LastWidth()},
	} {
		if err := check(c.what, c.got, c.lo, c.hi); err != nil {
			return err
		}
	}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		slopes, prefixes := m.Width, 0
		if n := len(in.Edges); n > 0 {
			slopes, prefixes = (n+1)*m.Width, (n+1)*m.Width
		}
		if in.Column < 0 || in.Column >= m.Columns || len(in.Edges) > SegmentsMax ||
			len(in.Slope) != slopes || len(in.Prefix) != prefixes {
			return fmt.Errorf("input %d of column %d has %d edges, %d prefixes, %d slopes: %w",
				i, in.Column, len(in.Edges), len(in.Prefix), len(in.Slope), ErrShape)
		}
	}
	before := 0
	for l := range m.Hidden {
		h := &m.Hidden[l]
		if h.Width < 1 || h.Width > WidthMax || len(h.R) != k*before || len(h.W) != before*h.Width ||
			len(h.S) != k*h.Width || len(h.B) != k*h.Width {
			return fmt.Errorf("layer %d of width %d after %d has %d R, %d W, %d S, %d B: %w",
				l, h.Width, before, len(h.R), len(h.W), len(h.S), len(h.B), ErrShape)
		}
		before = h.Width
	}
	return nil
}

func (in *Input) validate() error {
	for _, t := range []struct {
		name string
		list []float32
	}{
		{"standardisation", []float32{in.Mean, in.Inv, in.Lo, in.Hi, in.Missing}},
		{"edges", in.Edges}, {"prefix", in.Prefix}, {"slope", in.Slope},
	} {
		if i := notFinite(t.list); i >= 0 {
			return fmt.Errorf("%s[%d] is %g: %w", t.name, i, t.list[i], ErrNotFinite)
		}
	}
	if !(in.Inv > 0) || in.Lo > in.Hi {
		return fmt.Errorf("scale %g, clamped to [%g, %g]: %w", in.Inv, in.Lo, in.Hi, ErrEncoding)
	}
	if in.Missing != 0 && !in.Linear() {
		return fmt.Errorf("a table has a stand-in for missing values: %w", ErrEncoding)
	}
	for b := 1; b < len(in.Edges); b++ {
		if in.Edges[b] <= in.Edges[b-1] {
			return fmt.Errorf("edge %d is %g after %g: %w", b, in.Edges[b], in.Edges[b-1], ErrEncoding)
		}
	}
	return nil
}

// validateBounds follows the largest size that each sum can take through the
// network, for any input, and refuses what could come near float32's largest
// number on the way.
func (m *Model) validateBounds() error {
	acc := make([]float64, m.Width)
	for i := range m.Inputs {
		if err := bounded(fmt.Sprintf("input %d", i), m.Inputs[i].addBound(acc)); err != nil {
			return err
		}
	}
	if err := bounded("encoding", acc); err != nil {
		return err
	}
	h := make([][]float64, m.Members) // of the last layer
	if err := m.follow(acc, func(l, k int, in, acc, out []float64) error {
		if err := bounded(fmt.Sprintf("inputs of layer %d", l), in); err != nil {
			return err
		}
		h[k] = out
		return bounded(fmt.Sprintf("layer %d", l), acc, out)
	}); err != nil {
		return err
	}
	width := m.LastWidth()
	for k, b := range m.Bias {
		z := math.Abs(float64(b))
		for n, w := range m.Out[k*width : (k+1)*width] {
			z += h[k][n] * math.Abs(float64(w))
		}
		if err := bounded("output", []float64{z}); err != nil {
			return err
		}
	}
	return nil
}

// follow takes the largest sizes of the encoding's sums through the hidden layers:
// visit gets those of each layer l of each member k, of its inputs (none of the
// first layer), of its sums and of its outputs.
func (m *Model) follow(acc []float64, visit func(l, k int, in, acc, out []float64) error) error {
	h := make([][]float64, m.Members)
	for l := range m.Hidden {
		for k := range h {
			var in []float64
			if l > 0 {
				in = m.Hidden[l].scaleBound(k, h[k])
				acc = m.Hidden[l].sumBound(in)
			}
			h[k] = m.Hidden[l].adaptBound(k, acc)
			if err := visit(l, k, in, acc, h[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reach returns, for each hidden layer, the largest size that an input of its
// matrix can take, in any member, for any row; 0 for the first, which has none.
func (m *Model) Reach() []float64 {
	acc, reach := make([]float64, m.Width), make([]float64, len(m.Hidden))
	for i := range m.Inputs {
		m.Inputs[i].addBound(acc)
	}
	_ = m.follow(acc, func(l, _ int, in, _, _ []float64) error {
		for _, v := range in {
			reach[l] = max(reach[l], v)
		}
		return nil
	})
	return reach
}

func bounded(what string, lists ...[]float64) error {
	for _, list := range lists {
		for n, v := range list {
			if !(v <= activationMax) {
				return fmt.Errorf("%s: unit %d can reach %.3g: %w", what, n, v, ErrUnbounded)
			}
		}
	}
	return nil
}

// addBound adds to acc the largest sizes of the input's terms, and returns that
// of its u in each segment.
func (in *Input) addBound(acc []float64) []float64 {
	lo, hi := float64(in.Lo), float64(in.Hi)
	if in.Linear() {
		u := max(math.Abs(lo), math.Abs(hi), math.Abs(float64(in.Missing)))
		for n := range acc {
			acc[n] += u * math.Abs(float64(in.Slope[n]))
		}
		return []float64{u}
	}
	us := make([]float64, len(in.Edges)+1) // the last, of a missing value, stays 0
	for b, e := range in.Edges {
		us[b] = max(math.Abs(lo-float64(e)), math.Abs(hi-float64(e)))
	}
	width := len(acc)
	for n := range acc {
		most := 0.
		for b, u := range us {
			p, d := float64(in.Prefix[b*width+n]), float64(in.Slope[b*width+n])
			most = max(most, math.Abs(p)+float64(u*math.Abs(d)))
		}
		acc[n] += most
	}
	return us
}

// scaleBound returns the largest sizes of member k's inputs, from those of the
// layer before.
func (l *Layer) scaleBound(k int, h []float64) []float64 {
	in := make([]float64, len(h))
	for i, v := range h {
		in[i] = v * math.Abs(float64(l.R[k*len(h)+i]))
	}
	return in
}

// sumBound returns the largest sizes of the sums over inputs bounded by in.
func (l *Layer) sumBound(in []float64) []float64 {
	acc := make([]float64, l.Width)
	for i, v := range in {
		for n, w := range l.W[i*l.Width : (i+1)*l.Width] {
			acc[n] += v * math.Abs(float64(w))
		}
	}
	return acc
}

// adaptBound returns the largest sizes of member k's outputs for sums bounded
// by acc.
func (l *Layer) adaptBound(k int, acc []float64) []float64 {
	h := make([]float64, l.Width)
	for n, v := range acc {
		h[n] = v*math.Abs(float64(l.S[k*l.Width+n])) + math.Abs(float64(l.B[k*l.Width+n]))
	}
	return h
}
