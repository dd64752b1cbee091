package cuda

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// edgeRows are rows of values at the edges of float32, among ordinary ones, that are
// scored beside a bundle's own.
const edgeRows = 40

// seedRows are sizes of batches that are measured before a model serves: one more than
// the size below it, so that each is launched as another tier.
var seedRows = [...]int{1, 65, 257, 1025}

// golden is what a device has to show before it scores with a model: rows, and what the
// CPU says of them.
type golden struct {
	x    scoring.Matrix
	want []float32
	off  []float64 // how far from want a score may be in float16 arithmetic; nil in float32
	// ordinary is the median of off.
	ordinary float64
	// wide are rows enough for every size of batch: those of x over and over.
	wide []float32
	cost [len(seedRows)]time.Duration // of the batches of seedRows on the CPU
}

// newGolden takes rows of a bundle's self-test, or none, and adds its own.
func newGolden(m *scoring.Model, rows []float32, s *cpu.Scorer, bound *scoring.HalfBound, now func() time.Time) (*golden, error) {
	if len(rows)%m.Columns != 0 {
		return nil, fmt.Errorf("%d numbers for golden rows of %d: %w", len(rows), m.Columns, scoring.ErrMatrix)
	}
	data := append(append([]float32(nil), rows...), edges(m.Columns)...)
	n := len(data) / m.Columns
	g := &golden{x: scoring.Matrix{Data: data, Rows: n, Cols: m.Columns}, want: make([]float32, n)}
	if err := s.Score(g.x, g.want); err != nil {
		return nil, err
	}
	if bound != nil {
		g.off = make([]float64, n)
		for i := range g.off {
			g.off[i] = bound.Of(part(g.x, i, 1).Data)
		}
		sorted := slices.Sorted(slices.Values(g.off))
		g.ordinary = sorted[n/2]
	}
	most := seedRows[len(seedRows)-1]
	for len(g.wide) < most*m.Columns {
		g.wide = append(g.wide, data...)
	}
	out := make([]float32, most)
	for i, rows := range seedRows {
		for range 2 { // the first one warms the caches
			start := now()
			if err := s.Score(g.batch(rows), out); err != nil {
				return nil, err
			}
			g.cost[i] = now().Sub(start)
		}
	}
	return g, nil
}

// batch returns so many rows.
func (g *golden) batch(rows int) scoring.Matrix {
	return scoring.Matrix{Data: g.wide[:rows*g.x.Cols], Rows: rows, Cols: g.x.Cols}
}

// check compares scores with those of the CPU, bit for bit, or in float16 arithmetic with
// each row's bound: the first of them are those of row from.
func (g *golden) check(scores []float32, from int) error {
	for i, v := range scores {
		row := (from + i) % g.x.Rows
		if g.off != nil && math.Abs(float64(v)-float64(g.want[row])) <= g.off[row] {
			continue
		}
		if math.Float32bits(v) != math.Float32bits(g.want[row]) {
			return fmt.Errorf("golden row %d scores %08x, not %08x", row, math.Float32bits(v), math.Float32bits(g.want[row]))
		}
	}
	return nil
}

// edges makes rows of missing values, infinities, subnormals, zeros of both signs, the
// largest numbers, and ordinary ones.
func edges(columns int) []float32 {
	special := []float32{
		float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), 1, -1,
		math.SmallestNonzeroFloat32, -0x1p-127, 0x1p-126, math.MaxFloat32, -math.MaxFloat32, 1e6, -1e6,
	}
	list := make([]float32, edgeRows*columns)
	state := uint32(1)
	for i := range list {
		state = state*1664525 + 1013904223 // any sequence will do, if it is always the same
		v := state >> 8
		switch {
		case i < columns:
			list[i] = special[0] // a row that says nothing
		case v%4 == 0:
			list[i] = special[int(v>>2)%len(special)]
		default:
			list[i] = (float32(v) - 0x1p23) * 0x1p-21
		}
	}
	return list
}
