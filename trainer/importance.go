package trainer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// A Group is features that are about the same, such as those of a customer's
// amounts.
type Group struct {
	Name    string
	Columns []int
}

// Importance is how much average precision is lost on rows held out where a
// group's features are those of other rows: what only this group knows. Groups
// that know the same share it, so losses do not add up.
type Importance struct {
	Group   string
	Columns int
	Loss    float64
}

// importanceRows is how many rows a group's loss is measured on. Every fraud is
// among them, so with fewer the loss would hardly move, and with more it takes
// longer.
const importanceRows = 50_000

// importances returns the groups by falling loss.
func importances(m *scoring.Model, d *Dataset, groups []Group, seed uint64) ([]Importance, error) {
	s, err := cpu.New(m)
	if err != nil {
		return nil, fmt.Errorf("measure importance: %w", err)
	}
	d = d.thin(importanceRows)
	scores, err := score(s, d)
	if err != nil {
		return nil, err
	}
	whole := averagePrecision(scores, d.Y, d.Weight)
	donors := d.donors(rand.New(rand.NewPCG(seed, 0)))
	mixed := *d
	list := make([]Importance, 0, len(groups))
	for _, g := range groups {
		mixed.X = slices.Clone(d.X)
		for i, from := range donors {
			for _, c := range g.Columns {
				mixed.Row(i)[c] = d.Row(from)[c]
			}
		}
		if scores, err = score(s, &mixed); err != nil {
			return nil, err
		}
		list = append(list, Importance{g.Name, len(g.Columns), whole - averagePrecision(scores, d.Y, d.Weight)})
	}
	slices.SortStableFunc(list, func(a, b Importance) int { return cmp.Compare(b.Loss, a.Loss) })
	return list, nil
}

// donors draws a row for each row, each as often as it stands for rows of the
// stream.
func (d *Dataset) donors(r *rand.Rand) []int {
	upTo, sum := make([]float64, d.Rows()), 0.0
	for i, w := range d.Weight {
		sum += float64(w)
		upTo[i] = sum
	}
	list := make([]int, d.Rows())
	for i := range list {
		list[i] = min(sort.SearchFloat64s(upTo, sum*r.Float64()), d.Rows()-1)
	}
	return list
}
