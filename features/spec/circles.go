package spec

import (
	"fmt"
	"slices"
)

// circles checks that there is an order in which the features can be computed.
// A window counts the current event unless it is set back or says before, and
// then a where clause asks for the current event's features too.
func (c *checker) circles() {
	needs := make([][]int, len(c.spec.Features))
	for i, f := range c.spec.Features {
		f.Expr.walk(func(e *Expr) {
			switch e.Op {
			case OpFeature:
				needs[i] = append(needs[i], e.Index)
			case OpAgg:
				if a := c.spec.Aggregates[e.Index]; a.countsCurrent() && a.Where >= 0 {
					c.spec.Predicates[a.Where].Cond.walk(func(e *Expr) {
						if e.Op == OpFeature {
							needs[i] = append(needs[i], e.Index)
						}
					})
				}
			}
		})
	}
	const visiting, done = 1, 2
	state := make([]uint8, len(needs))
	var trail []int
	var visit func(i int) bool
	visit = func(i int) bool {
		if state[i] == done {
			return true
		}
		trail = append(trail, i)
		if state[i] == visiting {
			return false
		}
		state[i] = visiting
		for _, j := range needs[i] {
			if !visit(j) {
				return false
			}
		}
		trail = trail[:len(trail)-1]
		state[i] = done
		return true
	}
	for i := range needs {
		if !visit(i) {
			c.circle(trail)
			return // the next circle would mostly be the same one
		}
	}
}

// circle reports that the last feature of the trail needs itself.
func (c *checker) circle(trail []int) {
	last := trail[len(trail)-1]
	trail = trail[slices.Index(trail, last):]
	text := c.spec.Features[last].Name
	for _, i := range trail[1:] {
		text += " needs " + c.spec.Features[i].Name
		if len(text) > 200 {
			text += " ..."
			break
		}
	}
	c.report(c.file.features[last].at, fmt.Sprintf("a circle: %s", text), "features that can be computed one after the other",
		"say before in the aggregate with the where clause, so that it leaves out the current transaction")
}

// countsCurrent says whether the aggregate of an event counts that event itself.
func (a *Aggregate) countsCurrent() bool {
	return !a.Before && a.Delay == 0 && a.Fn != Last && a.Fn != SinceLast
}
