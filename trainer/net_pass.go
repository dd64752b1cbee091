package trainer

import (
	"math/rand/v2"
)

// passRows is how many rows go through a network at once: few enough for what
// they need to stay in the processor's nearest cache.
const passRows = 64

// passMasks is how many numbers rows take their dropout from in a batch: drawn
// for each row, they would take longer than all matrices.
const passMasks = 4096

// pass takes rows forward through a network and their gradients back. It has
// the buffers, and is for one goroutine.
type pass struct {
	n        *Network
	tables   *tables // of the parameters
	back     *tables // gradients of the tables
	gradient []float32
	dropout  float64
	scale    float32 // of what dropout leaves
	masks    []float32
	rng      rand.PCG

	acc, dacc []float32   // passRows rows of the encoding
	x, z, h   [][]float32 // by layer: inputs, products, outputs
	dx        []float32
	dz        []float32
	turned    [][]float32 // matrices by layer, transposed
}

func newPass(n *Network, dropout float64) *pass {
	p := &pass{n: n, tables: n.newTables(), back: n.newTables(), gradient: make([]float32, len(n.p)),
		dropout: dropout, scale: float32(1 / (1 - dropout)), masks: make([]float32, passMasks)}
	fill(p.masks, 1)
	most := 0
	for _, l := range n.in {
		p.x = append(p.x, make([]float32, passRows*max(l.before, 1)))
		p.z = append(p.z, make([]float32, passRows*l.width))
		p.h = append(p.h, make([]float32, passRows*l.width))
		p.turned = append(p.turned, make([]float32, l.before*l.width))
		most = max(most, l.width)
	}
	p.acc, p.dacc = make([]float32, passRows*n.widths[0]), make([]float32, passRows*n.widths[0])
	p.dx, p.dz = make([]float32, passRows*most), make([]float32, passRows*most)
	return p
}

// begin prepares for a batch with the present parameters.
func (p *pass) begin() {
	if p.dropout > 0 {
		r := rand.New(&p.rng)
		for i := range p.masks {
			if p.masks[i] = p.scale; r.Float64() < p.dropout {
				p.masks[i] = 0
			}
		}
	}
	p.tables.build(p.n)
	clear(p.back.slope)
	clear(p.back.prefix)
	clear(p.gradient)
	for i, l := range p.n.in {
		w := part(p.n.p, l.w, l.before*l.width)
		for r := range l.before {
			for c := range l.width {
				p.turned[i][c*l.before+r] = w[r*l.width+c]
			}
		}
	}
}

// end returns the gradients of the batch.
func (p *pass) end() []float32 {
	p.back.gradient(p.n, p.gradient)
	return p.gradient
}

// rows takes the listed rows of data, at most passRows, forward and back. weight
// is what each row's loss counts. It returns the loss.
func (p *pass) rows(data *encoded, list []int32, weight []float32) (loss float64) {
	n, w := p.n, p.n.widths[0]
	acc, dacc := p.acc[:len(list)*w], p.dacc[:len(list)*w]
	clear(acc)
	clear(dacc)
	inputs := len(n.inputs)
	for r, row := range list {
		out := part(acc, r*w, w)
		for i, at := range p.tables.first {
			k := int(row)*inputs + i
			s := (at + int(data.segment[k])) * w
			line(out, data.u[k], p.tables.slope[s:s+w], p.tables.prefix[s:s+w])
		}
	}
	for m := range n.members {
		p.forward(m, len(list))
		loss += p.output(m, data, list, weight)
		p.backward(m, len(list))
	}
	for r, row := range list {
		g := part(dacc, r*w, w)
		for i, at := range p.back.first {
			k := int(row)*inputs + i
			s := (at + int(data.segment[k])) * w
			spread(p.back.slope[s:s+w], p.back.prefix[s:s+w], data.u[k], g)
		}
	}
	return loss
}

// forward computes the hidden layers of one member.
func (p *pass) forward(m, rows int) {
	n := p.n
	for i, l := range n.in {
		z := p.acc
		if i > 0 {
			x, h := p.x[i], p.h[i-1]
			r := part(n.p, l.r+m*l.before, l.before)
			for at := 0; at < rows*l.before; at += l.before {
				scale(part(x, at, l.before), part(h, at, l.before), r)
			}
			z = p.z[i][:rows*l.width]
			clear(z)
			product(z, x, l.before, 1, part(n.p, l.w, l.before*l.width), rows, l.before, l.width)
		}
		s, b := part(n.p, l.s+m*l.width, l.width), part(n.p, l.b+m*l.width, l.width)
		for at := 0; at < rows*l.width; at += l.width {
			activate(part(p.h[i], at, l.width), part(z, at, l.width), s, b, p.dropped(l.width))
		}
	}
}

// dropped returns what a row's outputs are multiplied by: a stretch of the masks,
// from a place drawn at random.
func (p *pass) dropped(width int) []float32 {
	if p.dropout == 0 {
		return p.masks[:width]
	}
	at := int(p.rng.Uint64() % uint64(len(p.masks)-width+1))
	return p.masks[at : at+width]
}

func scale(x, h, r []float32) {
	for j, v := range h {
		x[j] = v * r[j]
	}
}

// output computes one member's logits and loss, and leaves in dx the gradient of
// the last layer's outputs.
func (p *pass) output(m int, data *encoded, list []int32, weight []float32) (loss float64) {
	n := p.n
	w := n.widths[len(n.widths)-1]
	out, dout := part(n.p, n.out+m*w, w), part(p.gradient, n.out+m*w, w)
	for r, row := range list {
		h := part(p.h[len(n.in)-1], r*w, w)
		dot := n.p[n.bias+m]
		for j, v := range h {
			dot += float32(v * out[j])
		}
		l, slope := logLoss(float64(dot), data.y[row] != 0)
		loss += l * float64(weight[r])
		g := float32(slope) * weight[r]
		p.gradient[n.bias+m] += g
		dx := part(p.dx, r*w, w)
		for j, v := range h {
			dout[j] += float32(g * v)
			dx[j] = g * out[j]
		}
	}
	return loss
}

// backward takes the gradient in dx back to the encoding, adding to those of the
// parameters on its way.
func (p *pass) backward(m, rows int) {
	n := p.n
	for i := len(n.in) - 1; i >= 0; i-- {
		l := n.in[i]
		z := p.acc
		if i > 0 {
			z = p.z[i]
		}
		s := part(n.p, l.s+m*l.width, l.width)
		ds, db := part(p.gradient, l.s+m*l.width, l.width), part(p.gradient, l.b+m*l.width, l.width)
		dz := p.dacc // all members add to the one encoding
		if i > 0 {
			dz = p.dz[:rows*l.width]
			clear(dz)
		}
		for at := 0; at < rows*l.width; at += l.width {
			slopes(part(dz, at, l.width), ds, db, part(p.dx, at, l.width), part(p.h[i], at, l.width), part(z, at, l.width), s, p.scale)
		}
		if i > 0 {
			p.matrix(m, i, rows)
		}
	}
}

// matrix takes the gradient dz behind layer i's matrix back to dx before it.
func (p *pass) matrix(m, i, rows int) {
	n, l := p.n, p.n.in[i]
	product(part(p.gradient, l.w, l.before*l.width), p.x[i], 1, l.before, p.dz, l.before, rows, l.width)
	dx := p.dx[:rows*l.before]
	clear(dx)
	product(dx, p.dz, l.width, 1, p.turned[i], rows, l.width, l.before)
	r, dr := part(n.p, l.r+m*l.before, l.before), part(p.gradient, l.r+m*l.before, l.before)
	for at := 0; at < rows*l.before; at += l.before {
		h, dx := part(p.h[i-1], at, l.before), part(dx, at, l.before)
		for j, v := range h {
			dr[j] += float32(dx[j] * v)
			dx[j] *= r[j]
		}
	}
}
