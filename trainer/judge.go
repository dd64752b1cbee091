package trainer

import (
	"fmt"
	"slices"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// Judged is what a model says of a data set's rows, each in the row's place.
type Judged struct {
	Name   string
	Prob   []float32 // calibrated
	Rank   []float32 // under the model's rank key
	Review float32   // rank from which the model sends to review
	// Since is how far the rows have moved from those that a bundle was learnt from:
	// the score, and the columns by falling index; nil of other models.
	Since []Drift
}

// Judge returns what the fitted model says of rows.
func (r *Result) Judge(name string, d *Dataset) (Judged, error) {
	scores, err := r.scores(d)
	if err != nil {
		return Judged{}, err
	}
	return judge(name, scores, d, r.Calibration, r.Policy), nil
}

// JudgeBundle returns what a bundle says of rows, whose columns are the bundle's.
func JudgeBundle(name string, b *scoring.Bundle, d *Dataset) (Judged, error) {
	if !slices.Equal(b.Features, d.Names) {
		return Judged{}, fmt.Errorf("judge %s, of %d features, by other %d: %w", name, len(b.Features), len(d.Names), scoring.ErrFeatures)
	}
	s, err := cpu.New(b.Model)
	if err != nil {
		return Judged{}, fmt.Errorf("judge %s: %w", name, err)
	}
	scores, err := score(s, d)
	if err != nil {
		return Judged{}, err
	}
	j := judge(name, scores, d, b.Calibration, b.Policy)
	j.Since = since(b, d, scores)
	return j, nil
}

func judge(name string, scores []float32, d *Dataset, c scoring.Calibration, p scoring.Policy) Judged {
	return Judged{Name: name, Prob: ranks(scores, d, c, scoring.ByProb), Rank: ranks(scores, d, c, p.Rank), Review: p.Review}
}

// chance is what stands in for a champion where there is none: about the same
// probability for all rows, in no order. With all alike, drawing a fraud's card
// twice would lift a model's average precision and not that of chance.
func chance(d *Dataset) Judged {
	share := float64(d.Frauds()) / float64(max(d.Rows(), 1))
	j := Judged{Prob: make([]float32, d.Rows()), Review: float32(share)}
	for i := range j.Prob {
		j.Prob[i] = float32(share * (1 - 0x1p-4*float64(mix(uint64(i))>>40)*0x1p-24))
	}
	j.Rank = j.Prob
	return j
}

// A Segment cuts a data set's rows into kinds that are judged each by itself.
type Segment struct {
	Name   string
	Values []string
	Of     []uint16 // of each row, its place in Values
	// A challenger is not published where a kind's average precision, or the share
	// of its fraud money that is caught, falls by more than a margin.
	GuardPrecision, GuardMoney bool
}

// NewSegment returns the segment of one value a row, in the order in which they
// are met, with both guards.
func NewSegment(name string, values []string) Segment {
	s := Segment{Name: name, Of: make([]uint16, len(values)), GuardPrecision: true, GuardMoney: true}
	at := make(map[string]uint16)
	for i, v := range values {
		k, known := at[v]
		if !known {
			k = uint16(len(s.Values))
			at[v] = k
			s.Values = append(s.Values, v)
		}
		s.Of[i] = k
	}
	return s
}

// AmountBands returns the segment of rows by their amount; exponent is that of
// the base currency, 2 for cents. Money is not guarded: a rank key trades it
// between the bands, and is chosen for the whole.
func AmountBands(d *Dataset, exponent int) Segment {
	s := Segment{Name: "amount", Values: []string{"below 10", "10 to 50", "50 to 200", "200 to 1000", "1000 and more"}, GuardPrecision: true}
	unit := int64(1)
	for range exponent {
		unit *= 10
	}
	for _, a := range d.AmountBase {
		k := uint16(0)
		for _, bound := range []int64{10, 50, 200, 1000} {
			if a >= bound*unit {
				k++
			}
		}
		s.Of = append(s.Of, k)
	}
	return s
}

// Hours returns the segment of rows by the quarter of the day, of UTC.
func Hours(d *Dataset) Segment {
	s := Segment{Name: "hour (UTC)", Values: []string{"0 to 6", "6 to 12", "12 to 18", "18 to 24"}, GuardPrecision: true, GuardMoney: true}
	for _, t := range d.Time {
		s.Of = append(s.Of, uint16((t-floorDiv(t, dayMs)*dayMs)/(dayMs/4)))
	}
	return s
}
