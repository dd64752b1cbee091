package scoring

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Limits of reasons.
const (
	ReasonRows        = 16 // background rows that a group is replaced by
	ReasonFeaturesMax = 3  // features named with a group
	ReasonGroupsMax   = 64 // groups that features may fall into
)

// FeatureText is what reasons say of a feature: plain data of the spec.
type FeatureText struct {
	Group string // what it is about, such as "customer amount"
	Text  string // its expression, such as "amount / mean(amount) by customer over 30d"
}

// Reason is how much one group of features moved the score of a decision.
type Reason struct {
	Group string
	// Logit is by how much the score's logit falls, on average, where the
	// group's features are another payment's: positive raised the score.
	Logit float32
	// Features are those of the group that are furthest from usual, the
	// furthest first, ReasonFeaturesMax at most, none that is as usual.
	Features []Unusual
}

// Unusual is a feature that is not as it usually is.
type Unusual struct {
	Feature int     // column
	Value   float32 // NaN is missing
	Usual   float32 // the background's median, NaN where most rows have none
}

// Explainer gives the reasons of decisions that one bundle made. Its reasons
// are a pure function of the bundle, the groups and the vector. One goroutine
// uses it at a time.
//
//	x, err := scoring.NewExplainer(bundle, scorer, texts) // once for each bundle
//	reasons, err := x.Explain(decision.Features, 3)       // once for each alert
//	for _, r := range reasons {
//		for _, u := range r.Features {
//			line = words[u.Feature].Append(line[:0], u) // of NewWords(texts[u.Feature].Text)
//		}
//	}
//
// An alert costs one Score of ReasonRows rows for each group and one more,
// some tens of microseconds on a CPU, and no allocation.
type Explainer struct {
	cols   int
	scorer Scorer
	groups []reasonGroup
	rows   []float32 // the background rows that groups are replaced by
	// Of each column's background: median, and mean distance from it.
	median, spread []float32
	// Scratch: rows to score, their scores, by how much each group moved the
	// score, groups in falling order of it, and what is returned.
	matrix, scores, moved []float32
	order                 []int
	reasons               []Reason
	unusual               []Unusual
}

type reasonGroup struct {
	name    string
	columns []int
}

// NewExplainer returns an explainer of b, whose model s scores; texts are of
// the bundle's features, in order. It fails with ErrBackground where the
// bundle has no background rows, with ErrFeatures where texts are not of its
// features or fall into more than ReasonGroupsMax groups.
func NewExplainer(b *Bundle, s Scorer, texts []FeatureText) (*Explainer, error) {
	cols := len(b.Features)
	if len(texts) != cols || cols == 0 {
		return nil, fmt.Errorf("explain %d features by %d texts: %w", cols, len(texts), ErrFeatures)
	}
	n := len(b.Background) / cols
	if n < ReasonRows {
		return nil, fmt.Errorf("explain by %d background rows: %w", n, ErrBackground)
	}
	x := &Explainer{cols: cols, scorer: s, median: make([]float32, cols), spread: make([]float32, cols)}
	for f, t := range texts {
		g := slices.IndexFunc(x.groups, func(g reasonGroup) bool { return g.name == t.Group })
		if g < 0 {
			g = len(x.groups)
			x.groups = append(x.groups, reasonGroup{name: t.Group})
		}
		x.groups[g].columns = append(x.groups[g].columns, f)
	}
	if len(x.groups) > ReasonGroupsMax {
		return nil, fmt.Errorf("explain by %d groups: %w", len(x.groups), ErrFeatures)
	}
	for i := range ReasonRows {
		at := i * n / ReasonRows * cols
		x.rows = append(x.rows, b.Background[at:at+cols]...)
	}
	for f := range cols {
		x.median[f], x.spread[f] = usual(b.Background, f, cols)
	}
	rows := len(x.groups)*ReasonRows + 1
	x.matrix, x.scores = make([]float32, rows*cols), make([]float32, rows)
	x.moved, x.order = make([]float32, len(x.groups)), make([]int, len(x.groups))
	x.unusual = make([]Unusual, 0, cols) // each column at most once: it never moves
	return x, nil
}

// usual returns the median of a column and the mean distance from it, of the
// rows that have it; NaN, 0 where most have none.
func usual(rows []float32, f, cols int) (median, spread float32) {
	var values []float32
	for at := f; at < len(rows); at += cols {
		if v := rows[at]; v == v {
			values = append(values, v)
		}
	}
	if 2*len(values) < len(rows)/cols {
		return float32(math.NaN()), 0
	}
	slices.Sort(values)
	median = values[len(values)/2]
	sum := float64(0)
	for _, v := range values {
		sum += float64(distance(v, median))
	}
	return median, float32(sum / float64(len(values)))
}

// Explain returns the top groups that moved the score of row most, in falling
// order of how much, either way; of equals the one that comes first in the
// spec. They are good until the next call. Its error is the scorer's, or ErrMatrix where row has not one number
// for each feature.
func (x *Explainer) Explain(row []float32, top int) ([]Reason, error) {
	if len(row) != x.cols {
		return nil, fmt.Errorf("explain %d of %d features: %w", len(row), x.cols, ErrMatrix)
	}
	copy(x.matrix, row)
	at := x.cols
	for g := range x.groups {
		for i := range ReasonRows {
			to := x.matrix[at : at+x.cols]
			copy(to, row)
			for _, f := range x.groups[g].columns {
				to[f] = x.rows[i*x.cols+f]
			}
			at += x.cols
		}
	}
	if err := x.scorer.Score(Matrix{Data: x.matrix, Rows: len(x.scores), Cols: x.cols}, x.scores); err != nil {
		return nil, fmt.Errorf("score %d rows for reasons: %w", len(x.scores), err)
	}
	x.move()
	for g := range x.order {
		x.order[g] = g
	}
	slices.SortStableFunc(x.order, func(a, b int) int {
		return cmp.Compare(distance(x.moved[b], 0), distance(x.moved[a], 0))
	})
	x.reasons, x.unusual = x.reasons[:0], x.unusual[:0]
	for _, g := range x.order[:min(max(top, 0), len(x.order))] {
		x.reasons = append(x.reasons, Reason{Group: x.groups[g].name, Logit: x.moved[g], Features: x.strange(row, x.groups[g].columns)})
	}
	return x.reasons, nil
}

// move fills in by how much each group moved the logit, of the scores.
func (x *Explainer) move() {
	own := logit(x.scores[0])
	for g := range x.moved {
		sum := float32(0)
		for _, p := range x.scores[1+g*ReasonRows : 1+(g+1)*ReasonRows] {
			sum += float32(own - logit(p))
		}
		x.moved[g] = sum / ReasonRows
	}
}

// far is how far from usual a column's value is, in units of how far apart the
// background is.
func (x *Explainer) far(f int, v float32) float32 {
	m := x.median[f]
	switch {
	case v != v || m != m:
		if v != v && m != m {
			return 0
		}
		return 1 // there where it is usually missing, or the other way round
	case v == m:
		return 0
	case x.spread[f] == 0:
		return float32(math.Inf(1)) // nothing but this one ever differs
	}
	return distance(v, m) / x.spread[f]
}

// strange returns the columns that are furthest from usual.
func (x *Explainer) strange(row []float32, columns []int) []Unusual {
	from := len(x.unusual)
	for _, f := range columns {
		if x.far(f, row[f]) > 0 {
			x.unusual = append(x.unusual, Unusual{Feature: f, Value: row[f], Usual: x.median[f]})
		}
	}
	list := x.unusual[from:]
	slices.SortStableFunc(list, func(a, b Unusual) int { return cmp.Compare(x.far(b.Feature, b.Value), x.far(a.Feature, a.Value)) })
	x.unusual = x.unusual[:from+min(len(list), ReasonFeaturesMax)]
	return x.unusual[from:len(x.unusual):len(x.unusual)]
}

// logit returns ln(p/(1-p)) of a score, clamped as calibration clamps it.
func logit(p float32) float32 {
	p = clamp(p, 0x1p-100, 1-0x1p-24)
	return Log(p) - Log(1-p)
}

// distance is |a-b|.
func distance(a, b float32) float32 {
	if a < b {
		return b - a
	}
	return a - b
}
