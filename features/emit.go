package features

import (
	"math"
	"slices"

	"github.com/weir-risk/weir/features/spec"
)

// makeEmitter says where aggregate a finds its sums in kind k.
func makeEmitter(s *spec.Spec, k *kind, a *spec.Aggregate) emitter {
	w, g := k.find(a)
	grp := &k.windows[w].groups[g]
	e := emitter{fn: a.Fn, kind: a.Entity, where: a.Where, self: countsItself(a), window: w, group: g, scale: 1}
	e.count = k.ref(w, grp, sum{op: sumCount})
	switch {
	case takesNumber(a.Fn):
		c := findColumn(k.numbers, a.Arg)
		e.col, e.nullable, e.scale = c.at, c.nullable, unitsOf(s, a.Arg)
		if c.nullable {
			e.count = k.ref(w, grp, sum{op: sumPresent, col: c.at})
		}
	case a.Fn == spec.Distinct:
		e.col = findColumn(k.texts, a.Arg).at
	}
	find := func(op sumOp) sumRef { return k.ref(w, grp, sum{op: op, col: e.col}) }
	e.value, e.ln, e.square, e.latest = find(sumValue), find(sumLn), find(sumSquare), find(sumLatest)
	e.dist = find(sumDistinct)
	e.edgeOp = sumMin
	if a.Fn == spec.Max {
		e.edgeOp = sumMax
	}
	e.edge = find(e.edgeOp)
	e.fraud, e.run = k.ref(w, grp, sum{op: sumFraud}), k.ref(w, grp, sum{op: sumRun})
	e.last, e.first = k.ref(w, grp, sum{op: sumLast}), k.ref(w, grp, sum{op: sumFirst})
	return e
}

// word says whether the aggregate is one word of the head and plus, whatever
// the current event is, and where.
func (e *emitter) word() (at int, plus int64, ok bool) {
	switch {
	case e.fn == spec.Count && e.count.base == 0 && !(e.self && e.where >= 0):
		if e.self {
			plus = 1
		}
		return e.count.at, plus, true
	case e.fn == spec.FraudCount && e.fraud.base == 0:
		return e.fraud.at, 0, true
	case e.fn == spec.Distinct && !e.self:
		return e.dist.at, 0, true
	}
	return 0, 0, false
}

// headWord is an aggregate that is one word of the head, as most are.
type headWord struct {
	at, dst int32 // in the head, and of the registers
	feature int32 // that it is too, -1 for none
	plus    int64
}

// read computes words of the current row, whose entity's windows are at the
// row's time.
func (n *entity) read(words []headWord, values []float64, x []float32) {
	for i := range words {
		w := &words[i]
		v := math.NaN()
		if n.present {
			v = float64(int64(n.h[w.at]) + w.plus)
		}
		values[w.dst] = v
		if w.feature >= 0 {
			x[w.feature] = float32(v)
		}
	}
}

// ref returns where a sum of a group is; the zero sumRef where it has none.
func (k *kind) ref(w int, g *group, want sum) sumRef {
	i := slices.IndexFunc(g.sums, want.same)
	if i < 0 {
		return sumRef{}
	}
	r := sumRef{at: g.sums[i].at}
	if t := k.tally(g.where); k.windows[w].all && t.base > 0 {
		r.base = t.base + g.sums[i].rel
	}
	return r
}

// unitsOf is how many units of a column make one of the feature's.
func unitsOf(s *spec.Spec, f spec.FieldRef) float64 {
	switch f.Kind {
	case spec.AmountRef:
		units := 1.0
		for range s.BaseDigits {
			units *= 10
		}
		return units
	case spec.TimeRef:
		return 1000
	}
	return milliUnit
}

// emit computes an aggregate for the current row, whose entity's windows are
// at the row's time. bits are the row's predicates so far.
func (n *entity) emit(e *emitter, bits uint64) float64 {
	if !n.present {
		return math.NaN()
	}
	self := e.self && (e.where < 0 || bits>>e.where&1 == 1)
	if e.nullable && n.row[e.col] == absentNumber {
		self = false
	}
	switch e.fn {
	case spec.Count:
		return float64(n.count(e, self))
	case spec.Sum:
		return n.sum(e, self)
	case spec.Mean:
		return n.mean(e, self)
	case spec.GeoMean:
		return n.geoMean(e, self)
	case spec.Std:
		return n.std(e, self)
	case spec.Min, spec.Max:
		return n.edge(e, self)
	case spec.Distinct:
		return n.distinct(e, self)
	case spec.Last:
		return n.lastValue(e)
	case spec.SinceLast:
		return n.sinceLast(e)
	case spec.FirstSeen:
		return n.firstSeen(e)
	case spec.FraudCount:
		return float64(n.frauds(e))
	case spec.FraudRate:
		return n.fraudRate(e, self)
	case spec.FraudRun:
		return n.fraudRun(e)
	case spec.FraudRunAge:
		return n.fraudRunAge(e)
	}
	panic("BUG: an aggregate function without a way to compute it")
}
