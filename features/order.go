package features

import (
	"fmt"

	"github.com/weir-risk/weir/features/spec"
)

// nodeKind says what a node of the order of computing is.
type nodeKind uint8

const (
	aggregateNode nodeKind = iota
	featureNode
	predicateNode
)

// node is one thing to compute for a row.
type node struct {
	kind  nodeKind
	index int
}

// sorter puts what a row computes in an order in which each comes after what
// it needs. An aggregate that counts the current event needs its where clause
// for that event; a where clause needs the features that it names.
type sorter struct {
	s     *spec.Spec
	state map[node]int // 1 being visited, 2 done
	order []node
}

// orderOf returns the order, or an error that names a circle.
func orderOf(s *spec.Spec) ([]node, error) {
	o := &sorter{s: s, state: map[node]int{}}
	for i := range s.Features {
		if err := o.visit(node{featureNode, i}); err != nil {
			return nil, err
		}
	}
	for i := range s.Predicates {
		if err := o.visit(node{predicateNode, i}); err != nil {
			return nil, err
		}
	}
	for i := range s.Aggregates {
		if err := o.visit(node{aggregateNode, i}); err != nil {
			return nil, err
		}
	}
	for i := range s.Fallback {
		if err := o.expr(s.Fallback[i].Cond); err != nil {
			return nil, err
		}
	}
	return o.order, nil
}

func (o *sorter) visit(n node) error {
	switch o.state[n] {
	case 2:
		return nil
	case 1:
		return fmt.Errorf("%s depends on itself: its where clause counts the current event, add before", o.name(n))
	}
	o.state[n] = 1
	var err error
	switch n.kind {
	case aggregateNode:
		if a := &o.s.Aggregates[n.index]; a.Where >= 0 && countsItself(a) {
			err = o.visit(node{predicateNode, a.Where})
		}
	case featureNode:
		err = o.expr(o.s.Features[n.index].Expr)
	case predicateNode:
		err = o.expr(o.s.Predicates[n.index].Cond)
	}
	if err != nil {
		return err
	}
	o.state[n] = 2
	o.order = append(o.order, n)
	return nil
}

func (o *sorter) name(n node) string {
	switch n.kind {
	case featureNode:
		return "feature " + o.s.Features[n.index].Name
	case predicateNode:
		return "where " + o.s.Predicates[n.index].Text
	}
	return fmt.Sprintf("aggregate %d", n.index)
}

func (o *sorter) expr(x *spec.Expr) error {
	if x == nil {
		return fmt.Errorf("an expression is missing")
	}
	switch x.Op {
	case spec.OpAgg:
		if x.Index < 0 || x.Index >= len(o.s.Aggregates) {
			return fmt.Errorf("aggregate %d of %d", x.Index, len(o.s.Aggregates))
		}
		return o.visit(node{aggregateNode, x.Index})
	case spec.OpFeature:
		if x.Index < 0 || x.Index >= len(o.s.Features) {
			return fmt.Errorf("feature %d of %d", x.Index, len(o.s.Features))
		}
		return o.visit(node{featureNode, x.Index})
	}
	for _, arg := range x.Args {
		if err := o.expr(arg); err != nil {
			return err
		}
	}
	return nil
}

// countsItself says whether the current event is in the aggregate's window.
// last and since_last look at the event before it.
func countsItself(a *spec.Aggregate) bool {
	switch a.Fn {
	case spec.Last, spec.SinceLast, spec.FirstSeen, spec.FraudCount, spec.FraudRun, spec.FraudRunAge:
		// The current event has no label yet, and is never before itself.
		return false
	}
	return !a.Before && a.Delay == 0
}

// namesFeature says whether an expression reads a feature.
func namesFeature(x *spec.Expr) bool {
	if x.Op == spec.OpFeature {
		return true
	}
	for _, arg := range x.Args {
		if namesFeature(arg) {
			return true
		}
	}
	return false
}
