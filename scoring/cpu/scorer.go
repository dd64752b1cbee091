package cpu

import (
	"fmt"

	"github.com/weir-risk/weir/scoring"
)

// Scorer scores on the CPU; it implements [scoring.Scorer]. Use it in one
// goroutine at a time.
type Scorer struct {
	columns int
	backend string
	score   func(x scoring.Matrix, out []float32)
}

var _ scoring.Scorer = (*Scorer)(nil)

// New returns the fastest scorer that this processor has for m: assembly where
// there is some, otherwise the one of NewPureGo. It returns m.Validate's error.
func New(m *scoring.Model) (*Scorer, error) { return newScorer(m, newFast) }

// NewPureGo returns the reference scorer, which gives the same bits as every
// other, slowly. It returns m.Validate's error.
func NewPureGo(m *scoring.Model) (*Scorer, error) { return newScorer(m, nil) }

// newScorer makes a scorer by fast, or where that is nil or has nothing for
// this processor, the twin.
func newScorer(m *scoring.Model, fast func(*scoring.Model) (string, func(scoring.Matrix, []float32))) (*Scorer, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("make scorer: %w", err)
	}
	s := &Scorer{columns: m.Columns, backend: "go", score: newTwin(m).score}
	if fast != nil {
		if name, score := fast(m); score != nil {
			s.backend, s.score = name, score
		}
	}
	return s, nil
}

// Backend names what computes: "avx2" or "go".
func (s *Scorer) Backend() string { return s.backend }

// Score implements [scoring.Scorer]. Its only error is scoring.ErrMatrix.
func (s *Scorer) Score(x scoring.Matrix, out []float32) error {
	if x.Cols != s.columns || x.Rows < 0 || len(x.Data) < x.Rows*x.Cols || len(out) < x.Rows {
		return fmt.Errorf("%d rows of %d columns in %d numbers, scores for %d, model of %d columns: %w",
			x.Rows, x.Cols, len(x.Data), len(out), s.columns, scoring.ErrMatrix)
	}
	s.score(x, out)
	return nil
}
