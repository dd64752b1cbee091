package kernels

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/weir-risk/weir/scoring"
)

// Bounds of a model that the kernels take; Pack holds them.
const (
	// WidthMax is that of a layer: eight rows of it are kept in shared memory.
	WidthMax = 1024
	// ImageMax is the largest image in bytes; the kernels' offsets have 32 bits.
	ImageMax = 1 << 30
)

// ErrTooLarge is why a sound model is refused: it has no place on the device, and
// the CPU has to serve it.
var ErrTooLarge = errors.New("model is too large for the GPU kernels")

const (
	magic       = 0x72696577 // "weir"
	formatF32   = 1
	formatF16   = 2
	headWords   = 64
	inputWords  = 12
	layerWord   = 16 // where the layers begin in the head
	alignment   = 256
	padding     = 16 // of widths: a step of the tensor cores
	adapterRows = 3  // S, B, R
)

func pad(n, to int) int { return (n + to - 1) / to * to }

// image is a model's image that is being written.
type image struct {
	m     *scoring.Model
	data  []byte
	width int    // padded, of the encoding
	half  []half // of the layers, for the tensor cores; nil otherwise
}

// Pack returns the image of a model for the float32 kernel. Its errors are
// ErrTooLarge, and those of m's Validate.
func Pack(m *scoring.Model) ([]byte, error) { return pack(m, formatF32) }

func pack(m *scoring.Model, format int) ([]byte, error) {
	size, err := fits(m)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	p := &image{m: m, data: make([]byte, 4*headWords, size), width: pad(m.Width, padding)}
	if format == formatF16 {
		if p.half, err = halves(m); err != nil {
			return nil, fmt.Errorf("pack: %w", err)
		}
	}
	widest, most := p.width, 1
	for i := range m.Hidden {
		widest = max(widest, pad(m.Hidden[i].Width, padding))
	}
	for i := range m.Inputs {
		most = max(most, len(m.Inputs[i].Edges))
	}
	for at, v := range []int{
		magic, format, 0, m.Columns, len(m.Inputs), p.width, m.Members, len(m.Hidden), bits.Len(uint(most - 1)), widest,
	} {
		p.head(at, v)
	}
	p.inputs()
	p.edges()
	p.table()
	p.layers()
	p.output()
	p.head(2, len(p.data))
	return p.data, nil
}

// fits returns about the size of a model's image, and an error where it is out of
// bounds, before any memory is taken.
func fits(m *scoring.Model) (size int, err error) {
	before, widest := 0, m.Width
	size = 4*headWords + alignment*(5+2*len(m.Hidden))
	for i := range m.Inputs {
		segments := max(1, len(m.Inputs[i].Edges))
		size += 4 * (inputWords + segments + (segments+1)*2*pad(m.Width, padding))
	}
	for l := range m.Hidden {
		width := pad(m.Hidden[l].Width, padding)
		size += 4 * width * (before + adapterRows*m.Members)
		before, widest = width, max(widest, m.Hidden[l].Width)
	}
	size += 4 * m.Members * (before + 1)
	if widest > WidthMax || size > ImageMax {
		return 0, fmt.Errorf("a layer of %d, %d MiB of tables, at most %d and %d: %w",
			widest, size>>20, WidthMax, ImageMax>>20, ErrTooLarge)
	}
	return size, nil
}

// head writes a word of the head.
func (p *image) head(word, v int) { binary.LittleEndian.PutUint32(p.data[4*word:], uint32(v)) }

// begin begins a part, whose offset goes into a word of the head.
func (p *image) begin(word int) {
	p.data = append(p.data, make([]byte, pad(len(p.data), alignment)-len(p.data))...)
	p.head(word, len(p.data))
}

func (p *image) words(list ...uint32) {
	for _, v := range list {
		p.data = binary.LittleEndian.AppendUint32(p.data, v)
	}
}

// row writes numbers, and zeros up to a width.
func (p *image) row(list []float32, width int) {
	for _, v := range list {
		p.words(math.Float32bits(v))
	}
	p.data = append(p.data, make([]byte, 4*(width-len(list)))...)
}

func (p *image) inputs() {
	p.begin(10)
	edge, row := 0, 0
	for i := range p.m.Inputs {
		in := &p.m.Inputs[i]
		segments, missing, rows := len(in.Edges), len(in.Edges), len(in.Edges)+1
		u := float32(0)
		if in.Linear() {
			segments, missing, rows, u = 1, 0, 1, in.Missing
		}
		log := uint32(0)
		if in.Log {
			log = 1
		}
		p.words(uint32(in.Column), log, uint32(edge), uint32(segments), uint32(row), uint32(missing))
		p.row([]float32{u, in.Mean, in.Inv, in.Lo, in.Hi}, 6)
		edge, row = edge+segments, row+rows
	}
}

func (p *image) edges() {
	p.begin(11)
	for i := range p.m.Inputs {
		in := &p.m.Inputs[i]
		p.row(in.Edges, max(1, len(in.Edges)))
	}
}

func (p *image) table() {
	p.begin(12)
	none := make([]float32, p.width)
	for j := range none {
		none[j] = float32(math.Copysign(0, -1))
	}
	w := p.m.Width
	for i := range p.m.Inputs {
		in := &p.m.Inputs[i]
		for b := range len(in.Slope) / w {
			prefix := none
			if !in.Linear() {
				prefix = in.Prefix[b*w : (b+1)*w]
			}
			p.row(prefix, p.width)
			p.row(in.Slope[b*w:(b+1)*w], p.width)
		}
	}
}

func (p *image) layers() {
	ones := make([]float32, WidthMax)
	for j := range ones {
		ones[j] = 1
	}
	before := 0
	for l := range p.m.Hidden {
		h, word := &p.m.Hidden[l], layerWord+4*l
		width := pad(h.Width, padding)
		p.head(word, width)
		if l > 0 {
			p.begin(word + 1)
			if p.half == nil {
				p.matrix(h, p.m.Hidden[l-1].Width, before)
			} else {
				p.fragments(h, p.m.Hidden[l-1].Width, before, p.half[l].weights)
			}
		}
		p.begin(word + 2)
		for k := range p.m.Members {
			from, to := k*h.Width, (k+1)*h.Width
			p.row(p.scaled(h.S[from:to], l, false), width)
			p.row(h.B[from:to], width)
			if l+1 < len(p.m.Hidden) {
				p.row(p.scaled(p.m.Hidden[l+1].R[from:to], l+1, true), width)
			} else {
				p.row(ones[:h.Width], width)
			}
		}
		before = width
	}
}

// matrix writes the matrix of a layer that takes so many inputs, padded to inner.
func (p *image) matrix(h *scoring.Layer, inputs, inner int) {
	width := pad(h.Width, padding)
	for i := range inner {
		if i < inputs {
			p.row(h.W[i*h.Width:(i+1)*h.Width], width)
		} else {
			p.row(nil, width)
		}
	}
}

func (p *image) output() {
	last := p.m.LastWidth()
	p.begin(13)
	for k := range p.m.Members {
		p.row(p.m.Out[k*last:(k+1)*last], pad(last, padding))
	}
	p.begin(14)
	p.row(p.m.Bias, p.m.Members)
	p.head(15, pad(last, padding))
}
