package kernels_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// imageReader scores from an image and nothing else, by what the package's
// comment says of it.
type imageReader []byte

func (b imageReader) word(at uint32) uint32   { return binary.LittleEndian.Uint32(b[4*at:]) }
func (b imageReader) float(at uint32) float32 { return math.Float32frombits(b.word(at)) }

// part is the place in words of a part whose offset is in a word of the head.
func (b imageReader) part(word uint32) uint32 { return b.word(word) / 4 }

// weight is W[i][j] of layer l.
func (b imageReader) weight(l, i, j uint32) float32 {
	width, at := b.word(16+4*l), b.part(16+4*l+1)
	if b.word(1) == 1 {
		return b.float(at + i*width + j)
	}
	at += i / 16 * (width / 16 * 128) // words of 16 inputs, 16 columns, a lane
	at += j / 16 * 128
	lane := j%8*4 + i%8/2
	word := b.word(at + 4*lane + i%16/8 + j%16/8*2)
	half := word >> (16 * (i % 2)) & 0xffff
	v := math.Ldexp(float64(half&1023+1024), int(half>>10&31)-25)
	if half>>10&31 == 0 {
		v = math.Ldexp(float64(half&1023), -24)
	}
	if half>>15 != 0 {
		v = -v
	}
	return float32(v)
}

// encode returns the sums of the encoding of a row.
func (b imageReader) encode(x []float32) []float32 {
	w := b.word(5)
	acc := make([]float32, w)
	for i := range b.word(4) {
		in := b.part(10) + 12*i
		edges := b.part(11) + b.word(in+2)
		v := x[b.word(in)]
		n, u := b.word(in+5), b.float(in+6)
		if v == v {
			if b.word(in+1) == 1 {
				v = scoring.SignedLog(v)
			}
			z := float32(float32(v-b.float(in+7)) * b.float(in+8))
			if hi := b.float(in + 10); !(z < hi) {
				z = hi
			}
			if lo := b.float(in + 9); !(z > lo) {
				z = lo
			}
			n = 0
			for step := uint32(1) << b.word(8) >> 1; step > 0; step /= 2 {
				if n+step < b.word(in+3) && b.float(edges+n+step) <= z {
					n += step
				}
			}
			u = z - b.float(edges+n)
		}
		row := b.part(12) + (b.word(in+4)+n)*2*w
		for j := range w {
			acc[j] = scoring.FMA(u, b.float(row+w+j), acc[j]+b.float(row+j))
		}
	}
	return acc
}

// member returns the output of a member.
func (b imageReader) member(k uint32, acc []float32) float32 {
	dot := acc[0]
	if layers := b.word(7); layers > 0 {
		var h []float32
		for l := range layers {
			width := b.word(16 + 4*l)
			if l > 0 {
				acc = make([]float32, width)
				for i, v := range h {
					for j := range acc {
						acc[j] = scoring.FMA(v, b.weight(l, uint32(i), uint32(j)), acc[j])
					}
				}
			}
			h = make([]float32, width)
			adapters := b.part(16+4*l+2) + k*3*width
			for j := range width {
				v := scoring.FMA(acc[j], b.float(adapters+j), b.float(adapters+width+j))
				h[j] = float32(max(v, 0) * b.float(adapters+2*width+j))
			}
		}
		var lane [32]float32
		for j, v := range h {
			lane[j%32] = scoring.FMA(v, b.float(b.part(13)+k*b.word(15)+uint32(j)), lane[j%32])
		}
		for d := 16; d > 0; d /= 2 {
			for l := range d {
				lane[l] += lane[l+d]
			}
		}
		dot = lane[0]
	}
	return scoring.Sigmoid(dot + b.float(b.part(14)+k))
}

func (b imageReader) score(x []float32) float32 {
	acc, sum := b.encode(x), float32(0)
	for k := range b.word(6) {
		sum += b.member(k, acc)
	}
	return sum / float32(b.word(6))
}

// TestImagesHoldTheModel scores from images alone: to the bits of the pure-Go back
// end, or nearly where matrices are rounded.
func TestImagesHoldTheModel(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 20))
		m := scoringtest.Model(r, scoringtest.RandomShape(r))
		x := scoringtest.Rows(r, 5, m.Columns)
		all := want(t, m, x)
		for _, c := range []*code{inF32, inF16} {
			if c == inF16 && len(m.Hidden) < 2 {
				continue // refused
			}
			image, err := c.pack(m)
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				row := x.Data[i*x.Cols : (i+1)*x.Cols]
				got, off := imageReader(image).score(row), 0.
				if c == inF16 {
					off = scoring.NewHalfBound(m).Of(row)
				}
				if d := math.Abs(float64(got) - float64(all[i])); !(d <= off) {
					t.Fatalf("%s, seed %d, row %d: %s from the image, want %s", c.entry, seed, i, scoringtest.Hex(got), scoringtest.Hex(all[i]))
				}
			}
		}
	}
}

// TestImageIsAligned checks what a device needs of an image's parts.
func TestImageIsAligned(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 21))
	m := scoringtest.Model(r, scoringtest.Shape{Columns: 7, Hidden: []int{33, 17, 5}, Members: 3, Tables: 2, Scale: 1})
	image, err := kernels.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	b := imageReader(image)
	offsets := []uint32{10, 11, 12, 13, 14, 18, 21, 22, 25, 26} // words of the head
	var parts []uint32
	for _, word := range offsets {
		parts = append(parts, b.word(word))
		if b.word(word) < 256 || b.word(word)%256 != 0 || b.word(word) >= uint32(len(image)) {
			t.Errorf("word %d: offset %d of %d bytes", word, b.word(word), len(image))
		}
	}
	if slices.Sort(parts); len(slices.Compact(parts)) != len(offsets) {
		t.Errorf("parts lie on each other: %d", parts)
	}
	for word, want := range map[uint32]uint32{
		0: 0x72696577, 1: 1, 2: uint32(len(image)), 3: 7, 5: 48, 6: 3, 7: 3, 9: 48, 15: 16, 16: 48, 17: 0, 20: 32, 24: 16,
	} {
		if b.word(word) != want {
			t.Errorf("word %d is %d, want %d", word, b.word(word), want)
		}
	}
	if string(image[:4]) != "weir" {
		t.Errorf("begins with %q", image[:4])
	}
}

func TestPackRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 22))
	at := func(hidden ...int) *scoring.Model {
		return scoringtest.Model(r, scoringtest.Shape{Columns: 2, Hidden: hidden, Members: 1, Scale: 1})
	}
	if _, err := kernels.Pack(at(8, kernels.WidthMax)); err != nil {
		t.Errorf("the widest layer: %v", err)
	}
	if _, err := kernels.Pack(at(8, kernels.WidthMax+1)); !errors.Is(err, kernels.ErrTooLarge) {
		t.Errorf("a layer too wide: error %v", err)
	}
	if _, err := kernels.Pack(at(kernels.WidthMax + 1)); !errors.Is(err, kernels.ErrTooLarge) {
		t.Errorf("an encoding too wide: error %v", err)
	}
	m := at(8)
	m.Bias[0] = float32(math.NaN())
	if _, err := kernels.Pack(m); !errors.Is(err, scoring.ErrNotFinite) {
		t.Errorf("a model that is not sound: error %v", err)
	}
	if _, err := kernels.PackF16(at(8)); !errors.Is(err, kernels.ErrNoProduct) {
		t.Errorf("one hidden layer for tensor cores: error %v", err)
	}
	m = at(8, 8)
	for i := range m.Hidden[1].W {
		m.Hidden[1].W[i] = 0
	}
	if _, err := kernels.PackF16(m); err != nil {
		t.Errorf("a matrix of zeros: %v", err)
	}
	m.Hidden[1].W[0] = 1e25
	if _, err := kernels.PackF16(m); !errors.Is(err, kernels.ErrTooLarge) {
		t.Errorf("a weight that no scale makes a half: error %v", err)
	}
	m = &scoring.Model{Columns: 1, Members: 1, Width: 1024, Bias: []float32{0}, Out: make([]float32, 1024)}
	m.Hidden = []scoring.Layer{{Width: 1024, S: make([]float32, 1024), B: make([]float32, 1024)}}
	table := scoring.Input{Inv: 1, Hi: 300, Prefix: make([]float32, 257*1024), Slope: make([]float32, 257*1024)}
	for j := range 256 {
		table.Edges = append(table.Edges, float32(j))
	}
	m.Inputs = slices.Repeat([]scoring.Input{table}, 512) // they share their tables
	if _, err := kernels.Pack(m); !errors.Is(err, kernels.ErrTooLarge) {
		t.Errorf("a GiB of tables: error %v", err)
	}
}

func TestPutHeader(t *testing.T) {
	b := slices.Repeat([]byte{0xff}, 80)
	kernels.PutHeader(b, 0x1122334455667788, 3, 0x105, 0x0102030405060708)
	want := append([]byte{0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 3, 0, 0, 0, 5, 1, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1},
		make([]byte, 40)...)
	want = append(want, slices.Repeat([]byte{0xff}, 16)...)
	if !bytes.Equal(b, want) {
		t.Errorf("got  %x\nwant %x", b, want)
	}
	for rows, want := range map[int]int{0: 1, 1: 1, 64: 64, 256: 256, 4096: 528} {
		if got := kernels.Grid(rows); got != want {
			t.Errorf("%d blocks for %d rows, want %d", got, rows, want)
		}
	}
}
