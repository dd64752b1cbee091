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
	for to := f.x; len(data) > 0; to, data = to[f.groups*lanes:], data[cols:] {
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
	inputs := f.groups * lanes
	width := pad(f.model.Width, padding)
	prepare(&f.x[0], &f.stream[0], &f.u[0], &f.offset[0], f.groups, n)
	clear(f.code[:n*width])
	for i := range f.runs {
		r := &f.runs[i]
		if r.weights != nil {
			p := product{a: f.u[r.from:], aStride: inputs, inputs: r.inputs, w: r.weights, c: f.code, width: width}
			p.run(n)
			continue
		}
		j := 0
		for ; j+64 <= width; j += 64 {
			encode64(&f.u[r.from], &f.offset[r.from], 4*inputs, r.inputs, &f.tables[j], 4*width, &f.code[j], 4*width, n)
		}
		if j < width {
			encode32(&f.u[r.from], &f.offset[r.from], 4*inputs, r.inputs, &f.tables[j], 4*width, &f.code[j], 4*width, n)
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
	if rows >= denseRows && count*sparseCost > rows*l.inputs*denseCost {
		f.dense(l, stride, n)
		return
	}
	f.sparse(l, stride, n)
}

// What an input costs a row in the sparse and the dense product, relative, and
// the number of rows below which the dense one is never faster (measured on
// Zen 4, 256 inputs and outputs, 0 to 70 % zeros).
const (
	sparseCost, denseCost = 7, 5
	denseRows             = 4
)

// sparse is hidden for inputs of which the bits in f.mask are not 0.
func (f *packed) sparse(l *layer, stride, n int) {
	rows, words := f.model.Members*n, pad(stride, chunk)/chunk
	for column := 0; column < l.width; {
		wide := min(block, l.width-column)
		for word := range words {
			in, c, mask := &f.h[word*chunk], &f.in[column], &f.mask[word]
			w := &l.blocks[column*l.inputs+word*chunk*wide]
			fresh := 0
			if word == 0 {
				fresh = 1
			}
			if wide == block {
				sparse64(in, 4*stride, mask, 8*words, w, c, 4*l.width, rows, fresh)
			} else {
				sparse32(in, 4*stride, mask, 8*words, w, c, 4*l.width, rows, fresh)
			}
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
		a: f.h, aStride: stride, inputs: l.inputs, w: l.weights,
		c: f.in, width: l.width, adapters: l.adapters, member: f.member,
	}
	p.run(k * n)
}

// product is a matrix product: rows of inputs by panels of weights. With
// adapters the next layer's inputs are written to c, otherwise the sums are
// added to it.
type product struct {
	a               []float32
	aStride, inputs int
	w               []float32
	c               []float32
	width           int
	adapters        []float32
	member          []int
}

// run multiplies n rows. Many rows go through one panel after another, which
// stays in L1; few rows take several panels at once, so that enough sums are
// under way to hide the latency of an addition.
func (p *product) run(n int) {
	left := p.width / panel
	for at := 0; left > 0; {
		panels := 1
		switch {
		case n == 1 && left >= 4:
			panels = 4
		case n <= 3 && left >= 2:
			panels = 2
		}
		for row := 0; row < n; {
			rows := min(6, n-row)
			if n-row > 6 && n-row < 11 {
				rows = (n - row + 1) / 2
			}
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
	a, c, w := &p.a[row*p.aStride], &p.c[row*p.width+column], &p.w[column*p.inputs]
	aStride, wStride, cStride := 4*p.aStride, 4*panel*p.inputs, 4*p.width
	var adapters *float32
	var member *int
	if p.adapters != nil {
		adapters, member = &p.adapters[column], &p.member[row]
	}
	switch {
	case rows == 1 && panels == 4:
		gemm1x64(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 1 && panels == 2:
		gemm1x32(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 2 && panels == 2:
		gemm2x32(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 3 && panels == 2:
		gemm3x32(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 3:
		gemm3x16(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 4:
		gemm4x16(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 5:
		gemm5x16(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	case rows == 6:
		gemm6x16(a, aStride, p.inputs, w, wStride, c, cStride, adapters, cStride, member)
	default:
		panic("BUG: no kernel for this tile")
	}
}
