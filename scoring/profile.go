package scoring

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// The bins of a profile.
const (
	ProfileBins = 10 // at most, of one column, what is missing aside

	// profileBinShare is what a bin holds at least, the last one aside: one of fewer
	// rows would move by chance.
	profileBinShare = .02
	// profileFloor is the share that an empty bin is taken for: with none, one row
	// that falls into it would make the index infinite.
	profileFloor = 1e-4

	// IndexMuch is the population stability index above which a column is customarily
	// said to have moved much.
	IndexMuch = .25
)

// Profile is what the days of the training looked like, to tell later days from
// them.
type Profile struct {
	Features []Margin `json:"features"` // of the rows that the weights were learnt from
	Score    Margin   `json:"score"`    // of the rows held out: those learnt from are scored too well
}

// Margin is how the values of one column lay: bins of about the same mass, and what
// is missing as one more.
type Margin struct {
	Edges  []float32 `json:"edges"`  // strictly ascending, each the first value of its bin
	Shares []float32 `json:"shares"` // of len(Edges)+1 bins, and of what is missing
}

// NewMargin returns the margin of values, each of which stands for as many as its
// weight says. Equal values are in one bin.
func NewMargin(values, weights []float32) Margin {
	type mass struct{ v, w float32 }
	var list []mass
	total, left := 0.0, 0.0
	for i, v := range values {
		total += float64(weights[i])
		if v == v {
			v = min(max(v, -math.MaxFloat32), math.MaxFloat32)
			list, left = append(list, mass{v, weights[i]}), left+float64(weights[i])
		}
	}
	slices.SortStableFunc(list, func(a, b mass) int { return cmp.Compare(a.v, b.v) })
	m := Margin{Edges: []float32{}}
	full := 0.0
	for i, in := range list {
		want := max(left/float64(ProfileBins-len(m.Edges)), profileBinShare*total)
		if i > 0 && in.v != list[i-1].v && full >= want && len(m.Edges) < ProfileBins-1 {
			m.Edges = append(m.Edges, in.v)
			left, full = left-full, 0
		}
		full += float64(in.w)
	}
	counts := make([]float64, len(m.Edges)+2)
	for i, v := range values {
		counts[m.Bin(v)] += float64(weights[i])
	}
	for _, c := range counts {
		m.Shares = append(m.Shares, float32(c/max(total, math.SmallestNonzeroFloat64)))
	}
	return m
}

// Bin returns the bin of a value: the last one where it is missing.
func (m *Margin) Bin(v float32) int {
	if v != v {
		return len(m.Edges) + 1
	}
	k := 0
	for k < len(m.Edges) && v >= m.Edges[k] {
		k++
	}
	return k
}

// Bins returns the number of bins, that of what is missing among them.
func (m *Margin) Bins() int { return len(m.Edges) + 2 }

// Index returns the population stability index of counts in the margin's bins: the
// sum over them of (q-p) ln(q/p) for the share q now and p then. Below .1 is
// customarily taken for no change, above IndexMuch for much. It is 0 where nothing was
// counted.
func (m *Margin) Index(counts []float64) float64 {
	total := 0.0
	for _, c := range counts {
		total += c
	}
	if !(total > 0) {
		return 0
	}
	index := 0.0
	for k, c := range counts {
		p, q := max(float64(m.Shares[k]), profileFloor), max(c/total, profileFloor)
		index += (q - p) * math.Log(q/p)
	}
	return index
}

// Missing returns the share of what was missing.
func (m *Margin) Missing() float64 { return float64(m.Shares[len(m.Shares)-1]) }

func (p *Profile) validate(columns int) error {
	if len(p.Features) != columns {
		return fmt.Errorf("profile of %d columns, not %d: %w", len(p.Features), columns, ErrProfile)
	}
	for i := range p.Features {
		if !p.Features[i].sound() {
			return fmt.Errorf("profile of column %d: %w", i, ErrProfile)
		}
	}
	if !p.Score.sound() {
		return fmt.Errorf("profile of the score: %w", ErrProfile)
	}
	return nil
}

// sound reports whether the edges ascend and the shares are those of all.
func (m *Margin) sound() bool {
	if len(m.Edges) >= ProfileBins || len(m.Shares) != m.Bins() {
		return false
	}
	for i, e := range m.Edges {
		if e-e != 0 || i > 0 && e <= m.Edges[i-1] {
			return false
		}
	}
	sum := 0.0
	for _, s := range m.Shares {
		if !(s >= 0 && s <= 1) {
			return false
		}
		sum += float64(s)
	}
	return math.Abs(sum-1) < 1e-3
}
