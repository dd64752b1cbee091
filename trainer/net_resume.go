package trainer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/scoring"
)

// ErrNoNetwork is of a model that no network of this package was served as; test with
// errors.Is.
var ErrNoNetwork = errors.New("not a network that learning can go on from")

// ResumeNetwork returns the network that is served as m, to go on from with
// [Network.Continue]: what [Network.Model] made of its encoding is undone, to the
// last bits of float32. It owns its parameters. The error is ErrNoNetwork.
func ResumeNetwork(m *scoring.Model) (*Network, error) {
	n := &Network{columns: m.Columns, members: m.Members}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Linear() || in.Edges[0] != in.Lo || in.Lo > -linearClip {
			return nil, fmt.Errorf("input %d is not an encoding by bins: %w", i, ErrNoNetwork)
		}
		// The segment below the first edge becomes a bin like the others.
		e := encoder{input: *in, edges: slices.Clone(in.Edges)}
		e.input.Edges, e.input.Prefix, e.input.Slope = nil, nil, nil
		n.inputs = append(n.inputs, e)
	}
	for _, h := range m.Hidden {
		if h.Width%lane != 0 {
			return nil, fmt.Errorf("a hidden layer is %d wide, no multiple of %d: %w", h.Width, lane, ErrNoNetwork)
		}
		n.widths = append(n.widths, h.Width)
	}
	if len(n.inputs) == 0 || len(n.widths) == 0 {
		return nil, fmt.Errorf("%d inputs and %d hidden layers: %w", len(n.inputs), len(n.widths), ErrNoNetwork)
	}
	n.layOut()
	for i := range n.inputs {
		n.resumeInput(i, &m.Inputs[i])
	}
	for i, l := range n.in {
		h := &m.Hidden[i]
		copy(n.p[l.s:], h.S)
		copy(n.p[l.b:], h.B)
		if i > 0 {
			copy(n.p[l.r:], h.R)
			copy(n.p[l.w:], h.W)
		}
	}
	copy(n.p[n.out:], m.Out)
	copy(n.p[n.bias:], m.Bias)
	return n, nil
}

// resumeInput sets input i's parameters to those that a table was made of.
func (n *Network) resumeInput(i int, table *scoring.Input) {
	e, at, w := &n.inputs[i], n.at[i], n.widths[0]
	linear := part(n.p, at.linear, w)
	for j := range linear {
		// At the first edge there is nothing but the linear term.
		linear[j] = table.Prefix[j] / clipped(e.edges[0])
	}
	for s := range len(e.edges) - 1 {
		for j, slope := range part(table.Slope, s*w, w) {
			if e.linear(s + 1) {
				slope -= linear[j]
			}
			n.p[at.bins+s*w+j] = slope * (e.edges[s+1] - e.edges[s])
		}
	}
	copy(part(n.p, at.missing, w), table.Prefix[len(e.edges)*w:])
}
