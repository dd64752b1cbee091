package trainer

import (
	"cmp"
	"slices"

	"github.com/weir-risk/weir/scoring"
)

// Drift is how far the values of a column have moved between two sets of rows:
// the population stability index over the bins of the first ([scoring.Margin]).
// Below .1 is customarily taken for none, above .25 for much.
type Drift struct {
	Name                     string
	Index                    float64
	MissingBefore, MissingIn float64 // shares
}

// driftRows is how many rows of each set are looked at.
const driftRows = 20_000

// drifts returns the columns by falling index.
func drifts(before, in *Dataset) []Drift {
	before, in = before.spread(driftRows), in.spread(driftRows)
	list := make([]Drift, 0, len(before.Names))
	for c, name := range before.Names {
		d := drift(before.column(c), before.Weight, in.column(c), in.Weight)
		d.Name = name
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b Drift) int { return cmp.Compare(b.Index, a.Index) })
	return list
}

// spread returns at most about n rows, evenly spread.
func (d *Dataset) spread(n int) *Dataset {
	step := (d.Rows() + n - 1) / max(n, 1)
	if step <= 1 {
		return d
	}
	var rows []int
	for i := step / 2; i < d.Rows(); i += step {
		rows = append(rows, i)
	}
	return d.pick(rows)
}

func (d *Dataset) column(c int) []float32 {
	list := make([]float32, d.Rows())
	for i := range list {
		list[i] = d.Row(i)[c]
	}
	return list
}

// profile returns what the columns looked like on the days of learning, and the
// scores on those held out. Negatives that were thinned count as many as they stand
// for.
func profile(fit, held *Dataset, scores []float32) *scoring.Profile {
	p := &scoring.Profile{Score: scoring.NewMargin(scores, held.Weight)}
	fit = fit.spread(driftRows)
	for c := range fit.Names {
		p.Features = append(p.Features, scoring.NewMargin(fit.column(c), fit.Weight))
	}
	return p
}

func drift(before, weight []float32, in, inWeight []float32) Drift {
	m := scoring.NewMargin(before, weight)
	return moved(&m, in, inWeight)
}

// moved is how far values have moved from those that a margin is of.
func moved(m *scoring.Margin, in, weight []float32) Drift {
	counts, total := make([]float64, m.Bins()), 0.0
	for i, v := range in {
		counts[m.Bin(v)] += float64(weight[i])
		total += float64(weight[i])
	}
	return Drift{Index: m.Index(counts), MissingBefore: m.Missing(), MissingIn: known(counts[len(counts)-1] / total)}
}

// since returns how far rows and their scores have moved from the days that a bundle
// was learnt from: the score first, then the columns by falling index; nil where the
// bundle does not say what these were like.
func since(b *scoring.Bundle, d *Dataset, scores []float32) []Drift {
	if b.Profile == nil {
		return nil
	}
	score := moved(&b.Profile.Score, scores, d.Weight)
	score.Name = "the score"
	list := []Drift{score}
	d = d.spread(driftRows)
	for c, name := range b.Features {
		m := moved(&b.Profile.Features[c], d.column(c), d.Weight)
		m.Name = name
		list = append(list, m)
	}
	slices.SortStableFunc(list[1:], func(a, b Drift) int { return cmp.Compare(b.Index, a.Index) })
	return list
}
