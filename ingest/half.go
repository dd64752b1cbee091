package ingest

import (
	"math"

	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// claims are the scores of float16 arithmetic in decisions that are recomputed. They
// cannot be: tensor cores sum in an order of their own, and the CPU has none. Each is held
// to what scoring.HalfBound allows around the score in float32, and taken over where it is
// within, so that all that follows from it is compared to the bit; where it is not, the
// score in float32 stands, and the decision is different.
type claims struct {
	rows     []claim // by row of the step
	bounds   map[*scoring.Bundle]*scoring.HalfBound
	accepted int64
	largest  float64 // difference of those accepted
}

// claim is what a decision records.
type claim struct {
	arithmetic    schemas.Arithmetic
	score, beside float32
}

// add takes in the decision of the next row.
func (c *claims) add(d *schemas.Decision) {
	c.rows = append(c.rows, claim{d.Arithmetic, d.Score, d.ChallengerScore})
}

// of returns the score that row i is to have, and of what arithmetic it is; what says
// which of the decision's two scores is asked for, and score is that in float32.
func (c *claims) of(b *scoring.Bundle, i int, row []float32, what schemas.Arithmetic, score float32) (float32, schemas.Arithmetic) {
	recorded := c.rows[i].score
	if what == schemas.ChallengerFloat16 {
		recorded = c.rows[i].beside
	}
	if c.rows[i].arithmetic&what == 0 {
		return score, schemas.Float32
	}
	bound := c.bounds[b]
	if bound == nil {
		if c.bounds == nil {
			c.bounds = make(map[*scoring.Bundle]*scoring.HalfBound)
		}
		bound = scoring.NewHalfBound(b.Model)
		c.bounds[b] = bound
	}
	if !bound.Allows(row, recorded, score) {
		return score, schemas.Float32
	}
	c.accepted++
	c.largest = max(c.largest, math.Abs(float64(recorded)-float64(score)))
	return recorded, what
}

// scoreOf returns row i's score by a slot, and of what arithmetic it is: what says which
// of the decision's two scores it is to be.
func (d *Decider) scoreOf(k slot, i int, row []float32, what schemas.Arithmetic) (float32, schemas.Arithmetic) {
	score := d.scores[k][i]
	switch {
	case d.half[k]:
		return score, what
	case d.claims != nil:
		return d.claims.of(d.serves[k].bundle, i, row, what, score)
	}
	return score, schemas.Float32
}
