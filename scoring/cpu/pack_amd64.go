//go:build !purego

package cpu

import (
	"math"

	"golang.org/x/sys/cpu"

	"github.com/weir-risk/weir/scoring"
)

// newFast returns the assembly's scorer for m, or nothing where the processor
// or the size of the model does not allow it.
func newFast(m *scoring.Model) (string, func(scoring.Matrix, []float32)) {
	for _, k := range kernelsHere() {
		if f := newPacked(m, k); f != nil {
			return k.name, f.score
		}
	}
	return "", nil
}

// kernelsHere are the kernels that this processor can run, the fastest first.
func kernelsHere() (list []*kernels) {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasBMI1 {
		return nil
	}
	if cpu.X86.HasAVX512F {
		list = append(list, &wide)
	}
	return append(list, &narrow)
}

const (
	lanes     = 8       // float32 of an AVX2 register
	panel     = 16      // columns that a kernel multiplies at once
	padding   = 32      // widths are padded to it: two panels, one turn of dot
	stackRows = 96      // rows times members that a tile is made for: 16 times 6, h within L2
	chunk     = 64      // inputs that a sparse kernel takes at once: the bits of a mask
	tablesMax = 1 << 30 // bytes of tables that 32-bit offsets reach
)

// packed is a model laid out for the kernels, and their scratch.
//
// Rows are scored in tiles. Behind the encoding, the members of a tile are
// stacked, all rows of member 0, then all of member 1: since they share each
// matrix, one product serves all, and a panel of weights, once in L1, is used
// for the whole stack.
type packed struct {
	*kernels
	model  *scoring.Model
	rows   int       // of a tile
	groups int       // of inputs that prepare takes at once
	stream []float32 // what prepare reads, see the list at atHead
	runs   []run
	tables []float32
	layers []layer   // hidden ones; the first has no weights
	out    []float32 // members rows of the last layer's padded width

	columns []int32 // of the inputs
	inOrder bool    // the inputs are the columns, each once

	inputs int       // with those that fill the last group
	x, u   []float32 // rows of inputs
	offset []int32   // likewise, of segments in tables, in bytes
	code   []float32 // rows of the encoding
	h, in  []float32 // stacked rows of outputs
	member []int     // of each stacked row, the offset of its adapters in bytes
	mask   []uint64  // of stacked rows, a bit for each input that is not 0
	z      []float32 // members rows of a tile's sums
	prob   []float32 // a tile's scores
	count  float32   // members
}

// run is neighbouring inputs of one kind.
type run struct {
	from, inputs int
	weights      []float32 // of linear inputs, in panels; nil: tables
	through      bool      // the inputs are the encoding as they are
}

// layer is a hidden layer. Adapters are, for each member, S, B and the R of the
// layer behind (ones in the last), each width long.
type layer struct {
	inputs, width int
	weights       []float32 // in panels
	blocks        []float32 // the same, for the sparse kernels
	sparse, dense int       // what an input costs a row, relative
	adapters      []float32
}

func pad(n, to int) int { return (n + to - 1) / to * to }

func newPacked(m *scoring.Model, k *kernels) *packed {
	f := &packed{kernels: k, model: m, inputs: pad(len(m.Inputs), k.group), count: float32(m.Members)}
	f.groups = f.inputs / k.group
	f.rows = max(6, stackRows/m.Members/6*6)
	f.inOrder = len(m.Inputs) == m.Columns
	for i := range m.Inputs {
		f.columns = append(f.columns, int32(m.Inputs[i].Column))
		f.inOrder = f.inOrder && m.Inputs[i].Column == i
	}
	if !f.packInputs() {
		return nil
	}
	widest := pad(m.Width, padding)
	for l := range m.Hidden {
		f.packLayer(l)
		widest = max(widest, f.layers[l].width)
	}
	if last := m.LastWidth(); last > 0 {
		width := pad(last, padding)
		f.out = aligned(m.Members * width)
		for k := range m.Members {
			copy(f.out[k*width:], m.Out[k*last:(k+1)*last])
		}
	}
	f.x, f.u, f.offset = aligned(f.rows*f.inputs), aligned(f.rows*f.inputs), make([]int32, f.rows*f.inputs)
	f.code = aligned(f.rows * pad(m.Width, padding))
	f.h, f.in = aligned(f.rows*m.Members*widest), aligned(f.rows*m.Members*widest)
	f.member = make([]int, f.rows*m.Members)
	f.mask = make([]uint64, f.rows*m.Members*pad(widest, chunk)/chunk)
	f.z, f.prob = aligned(m.Members*pad(f.rows, lanes)), aligned(pad(f.rows, lanes))
	return f
}

// aligned returns n zeros that begin at a cache line.
func aligned(n int) []float32 {
	const line = 64 / 4
	s := make([]float32, n+line)
	skip := 0
	for addressOf(&s[skip])%64 != 0 {
		skip++
	}
	return s[skip : skip+n : skip+n]
}

// pack lays rows of width numbers out in strips of so many columns, the last of
// which is narrower where the padded width is no multiple of it.
func pack(rows [][]float32, width, strip int) []float32 {
	padded := pad(width, padding)
	out := aligned(len(rows) * padded)
	for i, row := range rows {
		for j, v := range row {
			first := j / strip * strip
			wide := min(strip, padded-first)
			out[first*len(rows)+i*wide+j-first] = v
		}
	}
	return out
}

func (f *packed) packLayer(l int) {
	m := f.model
	h := &m.Hidden[l]
	p := layer{width: pad(h.Width, padding)}
	if l > 0 {
		p.inputs = m.Hidden[l-1].Width
		rows := make([][]float32, p.inputs)
		for i := range rows {
			rows[i] = h.W[i*h.Width : (i+1)*h.Width]
		}
		p.weights = pack(rows, h.Width, panel)
		p.blocks = pack(rows, h.Width, f.strip)
		p.dense = 10 * p.width / padding
		for j := 0; j < p.width; j += f.strip {
			p.sparse += f.costs[min(f.strip, p.width-j)/padding-1]
		}
	}
	p.adapters = aligned(m.Members * 3 * p.width)
	for k := range m.Members {
		a, at := p.adapters[k*3*p.width:], k*h.Width
		copy(a, h.S[at:at+h.Width])
		copy(a[p.width:], h.B[at:at+h.Width])
		for j := range h.Width {
			a[2*p.width+j] = 1
			if l+1 < len(m.Hidden) {
				a[2*p.width+j] = m.Hidden[l+1].R[at+j]
			}
		}
	}
	f.layers = append(f.layers, p)
}

// packInputs makes the runs, the tables and the stream, and reports whether the
// tables are small enough.
func (f *packed) packInputs() bool {
	m := f.model
	width := pad(m.Width, padding)
	first := make([]int, len(m.Inputs)) // table rows before each input
	total := 0
	for i := range m.Inputs {
		first[i] = total
		if !m.Inputs[i].Linear() {
			total += len(m.Inputs[i].Edges) + 1
		}
	}
	if total > tablesMax/(8*width) {
		return false
	}
	f.tables = aligned(total * 2 * width)
	for i := range m.Inputs {
		in := &m.Inputs[i]
		if in.Linear() {
			continue
		}
		for b := range len(in.Edges) + 1 {
			row := f.tables[(first[i]+b)*2*width:]
			copy(row, in.Prefix[b*m.Width:(b+1)*m.Width])
			copy(row[width:], in.Slope[b*m.Width:(b+1)*m.Width])
		}
	}
	for from := 0; from < len(m.Inputs); {
		to := from + 1
		for to < len(m.Inputs) && m.Inputs[to].Linear() == m.Inputs[from].Linear() {
			to++
		}
		r := run{from: from, inputs: to - from}
		if m.Inputs[from].Linear() {
			var rows [][]float32
			for i := from; i < to; i++ {
				rows = append(rows, m.Inputs[i].Slope)
			}
			if r.through = len(rows) == len(m.Inputs) && len(rows) == m.Width && identity(rows); !r.through {
				r.weights = pack(rows, m.Width, panel)
			}
		}
		f.runs = append(f.runs, r)
		from = to
	}
	f.packStream(first, 8*width)
	return true
}

// identity says whether each row is 1 at its own place and 0 elsewhere, as those of the
// model behind another's encoding are.
func identity(rows [][]float32) bool {
	for i, row := range rows {
		for j, v := range row {
			if (v != 0 || j == i) && (v != 1 || j != i) {
				return false
			}
		}
	}
	return true
}

// The vectors of a group in the stream, as the generator's list has them.
const (
	atHead = iota
	atMean
	atInv
	atLo
	atHi
	atLog
	atMissing
	atBase
	atOffset
	atMissingOffset
	atStep
	atEdges
)

// packStream writes what prepare reads: for each group of inputs the list at
// atHead, then a vector for each edge but the first; inputs that have fewer
// edges than others of their group get edges that nothing reaches. Step is the
// bytes of a table's row.
func (f *packed) packStream(first []int, step int) {
	m := f.model
	for g := range f.groups {
		group := m.Inputs[g*f.group : min(len(m.Inputs), (g+1)*f.group)]
		edges, logs := 0, uint32(0)
		for i := range group {
			edges = max(edges, len(group[i].Edges)-1)
			if group[i].Log {
				logs = 1
			}
		}
		s := make([]float32, (atEdges+edges)*f.group)
		at := func(vector, i int) *float32 { return &s[vector*f.group+i] }
		*at(atHead, 0), *at(atHead, 1) = math.Float32frombits(logs), math.Float32frombits(uint32(edges))
		for e := range edges * f.group {
			*at(atEdges, e) = float32(math.Inf(1))
		}
		for i := range group {
			in := &group[i]
			*at(atMean, i), *at(atInv, i), *at(atLo, i), *at(atHi, i), *at(atMissing, i) = in.Mean, in.Inv, in.Lo, in.Hi, in.Missing
			if in.Log {
				*at(atLog, i) = math.Float32frombits(math.MaxUint32)
			}
			if in.Linear() {
				continue
			}
			row := first[g*f.group+i]
			*at(atBase, i), *at(atStep, i) = in.Edges[0], math.Float32frombits(uint32(step))
			*at(atOffset, i) = math.Float32frombits(uint32(row * step))
			*at(atMissingOffset, i) = math.Float32frombits(uint32((row + len(in.Edges)) * step))
			for e, v := range in.Edges[1:] {
				*at(atEdges+e, i) = v
			}
		}
		f.stream = append(f.stream, s...)
	}
}
