package cuda

import (
	"math"

	"github.com/weir-risk/weir/scoring"
)

// An audit says which rows of what the GPU scores the CPU scores too, while the GPU is at
// it, to be compared before any of the scores is handed out. It takes one row in
// auditEach, wherever batches end, and goes through the places of a batch in turn: a
// device that is wrong in one place only is found too. One goroutine uses it.
type audit struct {
	owed int // in 64ths of a row
	from int // the rows of the matrix that is scored now
	rows int
}

const (
	// auditEach rows on the GPU cost one on the CPU.
	auditEach = 64
	// auditPart of the time that the GPU takes for a batch is what an audit may take of the
	// CPU's, which waits meanwhile: none holds a batch up.
	auditPart = .25
)

// next chooses rows of a matrix, at most so many: those behind the last.
func (a *audit) next(rows, most int) {
	if a.from += a.rows; a.from >= rows {
		a.from = 0
	}
	a.owed += rows
	a.rows = min(a.owed/auditEach, rows-a.from, most)
	a.owed = min(a.owed-a.rows*auditEach, rows+auditEach)
}

// auditMost is how many rows of a batch an audit may take, one at least.
func (r *router) auditMost(rows, most int) int {
	row := r.estimate(CPU, 1)
	if row == 0 {
		return most
	}
	return max(1, min(most, int(auditPart*r.estimate(GPU, rows)/row)))
}

// part returns rows of a matrix.
func part(x scoring.Matrix, from, rows int) scoring.Matrix {
	return scoring.Matrix{Data: x.Data[from*x.Cols : (from+rows)*x.Cols], Rows: rows, Cols: x.Cols}
}

// agree reports whether the GPU scored rows as the CPU did: to the bit, or in float16
// arithmetic within what an ordinary row is allowed, or else the one that is farthest off
// within its own bound, which takes longer than a batch.
func (s *Scorer) agree(x scoring.Matrix, gpu, cpu []float32) bool {
	if !s.half {
		return same(gpu[:x.Rows], cpu)
	}
	far, at := 0., 0
	for i, v := range gpu[:x.Rows] {
		if d := math.Abs(float64(v) - float64(cpu[i])); d > far {
			far, at = d, i
		}
	}
	s.device.meter.differ(far)
	return far <= s.golden.ordinary || s.bound.Allows(part(x, at, 1).Data, gpu[at], cpu[at])
}
