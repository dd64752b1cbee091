//go:build !purego

package cpu

import (
	"math/bits"
	"unsafe"

	"github.com/weir-risk/weir/scoring"
)

func addressOf(p *float32) uintptr { return uintptr(unsafe.Pointer(p)) }

func (f *packed) score(x scoring.Matrix, out []float32) {
	for at := 0; at < x.Rows; at += f.rows {
		n := min(f.rows, x.Rows-at)
		f.gather(x.Data[at*x.Cols:(at+n)*x.Cols], x.Cols)
		f.encode(n)
		f.sums(n)
		finish(&f.z[0], 4*pad(f.rows, lanes), &f.model.Bias[0], f.model.Members, &f.count, &f.prob[0], pad(n, lanes)/lanes)
		copy(out[at:at+n], f.prob)
	}
}

// gather puts the columns of each row in the order of the inputs.
func (f *packed) gather(data []float32, cols int) {
	for to := f.x; len(data) > 0; to, data = to[f.inputs:], data[cols:] {
		row := data[:cols]
		if f.inOrder {
			copy(to, row)
			continue
		}
		for i, c := range f.columns {
			to[i] = row[c]
		}
	}
}

// encode is sections 2 and 3 for n rows.
func (f *packed) encode(n int) {
	width := pad(f.model.Width, padding)
	f.prepare(&f.x[0], &f.stream[0], &f.u[0], &f.offset[0], f.groups, n)
	clear(f.code[:n*width])
	for i := range f.runs {
		r := &f.runs[i]
		if r.through {
			f.passOn(r, n, width)
			continue
		}
		if r.weights != nil {
			p := product{kernels: f.kernels, a: f.u[r.from:], aStride: f.inputs, inputs: r.inputs, w: r.weights, c: f.code, width: width}
			p.run(n)
			continue
		}
		for j := 0; j < width; j += f.strip {
			encode := f.encoders[min(f.strip, width-j)/padding-1]
			encode(&f.u[r.from], &f.offset[r.from], 4*f.inputs, r.inputs, &f.tables[j], 4*width, &f.code[j], 4*width, n)
		}
	}
}

// passOn adds inputs to the encoding that are it as they are: what a product with the
// identity would, whose other terms are zeros.
func (f *packed) passOn(r *run, n, width int) {
	for i := range n {
		u := f.u[i*f.inputs+r.from:][:r.inputs]
		code := f.code[i*width:][:r.inputs]
		for j, v := range u {
			code[j] += v
		}
	}
}

// sums is sections 4 and 5 for n rows, up to the dot products.
func (f *packed) sums(n int) {
	k, zRow := f.model.Members, pad(f.rows, lanes)
	if len(f.layers) == 0 {
		width := pad(f.model.Width, padding)
		for i := range n {
			for m := range k {
				f.z[m*zRow+i] = f.code[i*width]
			}
		}
		return
	}
	l := &f.layers[0]
	for m := range k {
		a := l.adapters[3*m*l.width:]
		expand(&f.code[0], 4*l.width, &a[0], &a[l.width], &a[2*l.width], &f.h[m*n*l.width], 4*l.width, l.width/lanes, n)
	}
	stride := l.width
	for i := 1; i < len(f.layers); i++ {
		l = &f.layers[i]
		f.hidden(l, stride, n)
		f.h, f.in = f.in, f.h
		stride = l.width
	}
	for m := range k {
		dot(&f.h[m*n*stride], 4*stride, &f.out[m*stride], stride/padding, &f.z[m*zRow], n)
	}
}

// hidden computes one layer for the stack of n rows of each member, from f.h,
// rows stride apart, to f.in. Inputs of 0 add nothing, and behind max there are
// many: where enough of them are, they are left out.
func (f *packed) hidden(l *layer, stride, n int) {
	rows, words := f.model.Members*n, pad(stride, chunk)/chunk
	mask := f.mask[:rows*words]
	clear(mask)
	nonzero(&f.h[0], 4*stride, stride/padding, &mask[0], 8*words, rows)
	count := 0
	for _, word := range mask {
		count += bits.OnesCount64(word)
	}
	if rows >= denseRows && count*l.sparse > rows*l.inputs*l.dense {
		f.dense(l, stride, n)
		return
	}
	f.sparse(l, stride, n)
}

// denseRows is the number of rows below which the dense product is never faster.
const denseRows = 4

// sparse is hidden for inputs of which the bits in f.mask are not 0.
func (f *packed) sparse(l *layer, stride, n int) {
	rows, words := f.model.Members*n, pad(stride, chunk)/chunk
	for column := 0; column < l.width; {
		wide := min(f.strip, l.width-column)
		sparse := f.sparsers[wide/padding-1]
		for word := range words {
			in, c, mask := &f.h[word*chunk], &f.in[column], &f.mask[word]
			w := &l.blocks[column*l.inputs+word*chunk*wide]
			fresh := 0
			if word == 0 {
				fresh = 1
			}
			sparse(in, 4*stride, mask, 8*words, w, c, 4*l.width, rows, fresh)
		}
		column += wide
	}
	for m := range f.model.Members {
		a, sums := l.adapters[3*m*l.width:], &f.in[m*n*l.width]
		expand(sums, 4*l.width, &a[0], &a[l.width], &a[2*l.width], sums, 4*l.width, l.width/lanes, n)
	}
}

// dense is hidden for any inputs.
func (f *packed) dense(l *layer, stride, n int) {
	k := f.model.Members
	for m := range k {
		for r := range n {
			f.member[m*n+r] = 4 * 3 * m * l.width
		}
	}
	p := product{
		kernels: f.kernels, a: f.h, aStride: stride, inputs: l.inputs, w: l.weights,
		c: f.in, width: l.width, adapters: l.adapters, member: f.member,
	}
	p.run(k * n)
}

// product is a matrix product: rows of inputs by panels of weights. With
// adapters the next layer's inputs are written to c, otherwise the sums are
// added to it.
type product struct {
	*kernels
	a               []float32
	aStride, inputs int
	w               []float32
	c               []float32
	width           int
	adapters        []float32
	member          []int
}

// run multiplies n rows. Many rows go through a few panels after the others, which
// stay in L1; few rows take several panels at once, so that enough sums are
// under way to hide the latency of an addition.
func (p *product) run(n int) {
	left := p.width / panel
	for at := 0; left > 0; {
		panels := 4
		for panels > p.fewest && (left < panels || n >= len(p.products[panels])) {
			panels /= 2
		}
		tiles := (n + len(p.products[panels]) - 2) / (len(p.products[panels]) - 1)
		for row := 0; row < n; tiles-- {
			rows := (n - row + tiles - 1) / tiles
			p.tile(row, rows, at, panels)
			row += rows
		}
		at += panels
		left -= panels
	}
}

// tile runs one kernel: rows from row, panels from at.
func (p *product) tile(row, rows, at, panels int) {
	column := at * panel
	var adapters *float32
	var member *int
	if p.adapters != nil {
		adapters, member = &p.adapters[column], &p.member[row]
	}
	p.products[panels][rows](&p.a[row*p.aStride], 4*p.aStride, p.inputs, &p.w[column*p.inputs], 4*panel*p.inputs,
		&p.c[row*p.width+column], 4*p.width, adapters, 4*p.width, member)
}
