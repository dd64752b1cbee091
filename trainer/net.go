package trainer

import (
	"math"
	"math/rand/v2"

	"github.com/weir-risk/weir/scoring"
)

// Network is an ensemble of networks that share their matrices and differ by
// scales and biases before and behind them, over a piecewise linear encoding of
// the columns: TabM (Gorishniy, Kotelnikov and Babenko, "TabM: Advancing Tabular
// Deep Learning with Parameter-Efficient Ensembling", 2024) with the encoding of
// "On Embeddings for Numerical Features in Tabular Deep Learning" (2022).
type Network struct {
	columns int
	inputs  []encoder
	members int
	widths  []int // of the hidden layers, multiples of lane

	p    []float32 // the parameters, one after another
	at   []inputAt // of the inputs' parameters
	in   []layerAt // of the hidden layers'
	out  int       // members rows of the last width
	bias int       // members
}

// inputAt says where an input's parameters begin: rows of the first width.
type inputAt struct{ linear, bins, missing int }

// layerAt says where a hidden layer's parameters begin.
type layerAt struct {
	before int // the width before; 0 for the first layer, which has no r and w
	width  int
	r, w   int
	s, b   int
}

// newNetwork lays out a network and draws its parameters.
func newNetwork(d *Dataset, o *NetworkOptions, prior float64, r *rand.PCG) *Network {
	n := &Network{columns: len(d.Names), inputs: encoders(d, o.Bins), members: o.Members, widths: o.Widths}
	n.layOut()
	n.draw(prior, rand.New(r))
	return n
}

// layOut makes room for the parameters, all 0.
func (n *Network) layOut() {
	size := 0
	take := func(words int) int { size += words; return size - words }
	first := n.widths[0]
	for i := range n.inputs {
		at := inputAt{linear: take(first)}
		at.bins = take(max(len(n.inputs[i].edges)-1, 0) * first)
		at.missing = take(first)
		n.at = append(n.at, at)
	}
	before := 0
	for _, w := range n.widths {
		l := layerAt{before: before, width: w}
		l.r, l.w = take(n.members*before), take(before*w)
		l.s = take(n.members * w)
		l.b = take(n.members * w)
		n.in = append(n.in, l)
		before = w
	}
	n.out, n.bias = take(n.members*before), take(n.members)
	n.p = make([]float32, size)
}

// draw gives the parameters their first values: matrices by He's rule, and
// scales of random signs behind the encoding, which make the members differ.
func (n *Network) draw(prior float64, r *rand.Rand) {
	normal := func(at, count int, deviation float64) {
		for i := range count {
			n.p[at+i] = float32(r.NormFloat64() * deviation)
		}
	}
	terms := 0
	for i := range n.inputs {
		terms += 1 + max(len(n.inputs[i].edges)-1, 0)
	}
	first := n.widths[0]
	for i := range n.inputs {
		bins := max(len(n.inputs[i].edges)-1, 0)
		normal(n.at[i].linear, (1+bins)*first, math.Sqrt(2/float64(terms)))
	}
	for i, l := range n.in {
		if i > 0 {
			normal(l.w, l.before*l.width, math.Sqrt(2/float64(l.before)))
			fill(n.p[l.r:l.r+n.members*l.before], 1)
		}
		s := n.p[l.s : l.s+n.members*l.width]
		fill(s, 1)
		if i == 0 {
			for j := range s {
				s[j] = float32(1 - 2*int(r.Uint64()>>63))
			}
			normal(l.b, n.members*l.width, 0.1)
		}
	}
	last := n.widths[len(n.widths)-1]
	normal(n.out, n.members*last, math.Sqrt(1/float64(last)))
	fill(n.p[n.bias:], float32(math.Log(prior/(1-prior))))
}

func fill(list []float32, v float32) {
	for i := range list {
		list[i] = v
	}
}

// decays says which parameters weight decay draws to zero: all but the biases.
func (n *Network) decays() (list []bool) {
	list = make([]bool, len(n.p))
	for i := range list {
		list[i] = true
	}
	for _, l := range n.in {
		clear(list[l.b : l.b+n.members*l.width])
	}
	clear(list[n.bias:])
	return list
}

// part returns count parameters, or gradients, from a place on.
func part(list []float32, at, count int) []float32 { return list[at : at+count : at+count] }

// Model returns the network as it is served.
func (n *Network) Model() *scoring.Model {
	first := n.widths[0]
	m := &scoring.Model{
		Columns: n.columns, Members: n.members, Width: first,
		Bias: part(n.p, n.bias, n.members), Out: part(n.p, n.out, n.members*n.widths[len(n.widths)-1]),
	}
	for i := range n.inputs {
		e, at := &n.inputs[i], n.at[i]
		b := scoring.Bins{
			Linear: part(n.p, at.linear, first), Clip: linearClip, Edges: e.edges,
			Weights: part(n.p, at.bins, max(len(e.edges)-1, 0)*first), Missing: part(n.p, at.missing, first),
		}
		m.Inputs = append(m.Inputs, b.Table(e.input))
	}
	for i, l := range n.in {
		h := scoring.Layer{Width: l.width, S: part(n.p, l.s, n.members*l.width), B: part(n.p, l.b, n.members*l.width)}
		if i > 0 {
			h.R, h.W = part(n.p, l.r, n.members*l.before), part(n.p, l.w, l.before*l.width)
		}
		m.Hidden = append(m.Hidden, h)
	}
	return m
}

// tables are the encoding's straight pieces, of which there are fewer to add for
// a row than there are bins: of input i and segment s, rows of the first width
// at (first[i]+s)*width.
type tables struct {
	first         []int
	slope, prefix []float32
}

func (n *Network) newTables() *tables {
	t := &tables{}
	rows := 0
	for i := range n.inputs {
		t.first = append(t.first, rows)
		rows += n.inputs[i].segments() + 1
	}
	t.slope, t.prefix = make([]float32, rows*n.widths[0]), make([]float32, rows*n.widths[0])
	return t
}

// build computes the tables of the parameters.
func (t *tables) build(n *Network) {
	w := n.widths[0]
	sum := make([]float32, w)
	for i := range n.inputs {
		e, at := &n.inputs[i], n.at[i]
		clear(sum)
		linear := part(n.p, at.linear, w)
		for s := range e.segments() {
			slope, prefix := part(t.slope, (t.first[i]+s)*w, w), part(t.prefix, (t.first[i]+s)*w, w)
			start := clipped(e.start(s))
			for j, v := range linear {
				slope[j], prefix[j] = 0, sum[j]+float32(v*start)
			}
			if e.linear(s) {
				copy(slope, linear)
			}
			if s < 1 || s >= len(e.edges) { // outside of all bins
				continue
			}
			inv := 1 / (e.edges[s] - e.edges[s-1])
			for j, b := range part(n.p, at.bins+(s-1)*w, w) {
				slope[j] += float32(b * inv)
				sum[j] += b
			}
		}
		copy(part(t.prefix, (t.first[i]+e.segments())*w, w), part(n.p, at.missing, w))
	}
}

// gradient turns gradients of the tables, t, into those of the parameters, to
// which it adds them.
func (t *tables) gradient(n *Network, g []float32) {
	w := n.widths[0]
	sum := make([]float32, w)
	for i := range n.inputs {
		e, at := &n.inputs[i], n.at[i]
		clear(sum) // of the prefixes above
		linear := part(g, at.linear, w)
		for s := e.segments() - 1; s >= 0; s-- {
			slope, prefix := part(t.slope, (t.first[i]+s)*w, w), part(t.prefix, (t.first[i]+s)*w, w)
			start := clipped(e.start(s))
			for j := range linear {
				linear[j] += float32(prefix[j] * start)
			}
			if e.linear(s) {
				for j := range linear {
					linear[j] += slope[j]
				}
			}
			if s >= 1 && s < len(e.edges) {
				inv := 1 / (e.edges[s] - e.edges[s-1])
				for j, b := 0, part(g, at.bins+(s-1)*w, w); j < w; j++ {
					b[j] += float32(slope[j]*inv) + sum[j]
				}
			}
			for j := range sum {
				sum[j] += prefix[j]
			}
		}
		for j, v := range part(t.prefix, (t.first[i]+e.segments())*w, w) {
			g[at.missing+j] += v
		}
	}
}
