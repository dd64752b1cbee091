package features

import (
	"slices"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

var (
	typeNames   = []string{"authorisation", "capture", "reversal", "refund", "transfer", "payout"}
	statusNames = []string{"unknown", "approved", "declined"}
)

// compiler turns expressions into programs. The first registers are the
// aggregates', in the spec's order; constants have one each, set here once.
type compiler struct {
	e      *Engine
	code   program
	fields map[spec.FieldRef]int32 // the registers that hold them already
}

// compile makes the programs.
func (e *Engine) compile() {
	s := e.spec
	for _, k := range e.kinds {
		for i := range k.texts {
			k.texts[i].field = e.fieldIndex(k.texts[i].ref)
			for j := range k.tables {
				if k.tables[j].col == k.texts[i].at {
					k.tables[j].field = k.texts[i].field
				}
			}
		}
	}
	e.values = make([]float64, len(s.Aggregates))
	c := compiler{e: e, fields: map[spec.FieldRef]int32{}}
	e.vector = c.vector()
	for i := range s.Fallback {
		// What the vector's program and the rules before it have computed is there.
		c.code = nil
		c.predicate(0, s.Fallback[i].Cond)
		e.rules = append(e.rules, c.code)
	}
	c = compiler{e: e, fields: map[spec.FieldRef]int32{}}
	for i := range s.Predicates {
		c.predicate(i, s.Predicates[i].Cond)
		e.fromVector = e.fromVector || namesFeature(s.Predicates[i].Cond)
	}
	e.predicates = c.code
}

// vector returns the program of the vector and the predicates, all but the
// aggregates that are words. A feature that is an aggregate and nothing else is
// written with it.
func (c *compiler) vector() program {
	e, s := c.e, c.e.spec
	e.words = make([][]headWord, len(e.kinds))
	bare := map[int]int32{} // aggregate to feature
	for i := range s.Features {
		if x := s.Features[i].Expr; x.Op == spec.OpAgg {
			if _, taken := bare[x.Index]; !taken {
				bare[x.Index] = int32(i)
			}
		}
	}
	// Check has found the order to exist.
	order, _ := orderOf(s)
	for _, n := range order {
		switch n.kind {
		case aggregateNode:
			f, ok := bare[n.index]
			if !ok {
				f = -1
			}
			c.aggregate(n.index, f)
		case featureNode:
			x := s.Features[n.index].Expr
			if x.Op == spec.OpAgg && bare[x.Index] == int32(n.index) {
				continue
			}
			c.feature(n.index, x)
		case predicateNode:
			c.predicate(n.index, s.Predicates[n.index].Cond)
		}
	}
	return c.code
}

// aggregate has aggregate i computed, and written as the feature too.
func (c *compiler) aggregate(i int, feature int32) {
	a := &c.e.spec.Aggregates[i]
	em := makeEmitter(c.e.spec, c.e.kinds[a.Entity], a)
	if at, plus, ok := em.word(); ok {
		c.e.words[a.Entity] = append(c.e.words[a.Entity], headWord{at: int32(at), plus: plus, dst: int32(i), feature: feature})
		return
	}
	c.code = append(c.code, instruction{
		op: spec.OpAgg, dst: int32(i), feature: feature, detail: &detail{emitter: &em, view: &c.e.views[a.Entity]},
	})
}

// feature has feature i computed.
func (c *compiler) feature(i int, x *spec.Expr) {
	r := c.expr(x)
	if n := len(c.code); n > 0 && c.code[n-1].dst == r && c.code[n-1].op != opPredicate && c.code[n-1].feature < 0 {
		c.code[n-1].feature = int32(i)
		return
	}
	c.put(instruction{op: opCopy, a: r}).feature = int32(i)
}

// predicate has predicate i computed.
func (c *compiler) predicate(i int, x *spec.Expr) {
	r := c.expr(x)
	c.code = append(c.code, instruction{op: opPredicate, a: r, dst: int32(i)})
}

// put appends an instruction with a register of its own.
func (c *compiler) put(in instruction) *instruction {
	in.dst, in.feature = c.register(0), -1
	c.code = append(c.code, in)
	return &c.code[len(c.code)-1]
}

// register returns a new register that holds v.
func (c *compiler) register(v float64) int32 {
	c.e.values = append(c.e.values, v)
	return int32(len(c.e.values) - 1)
}

// expr returns the register in which x is, once the code has run.
func (c *compiler) expr(x *spec.Expr) int32 {
	in := instruction{op: x.Op}
	switch x.Op {
	case spec.OpConst:
		return c.register(x.Num)
	case spec.OpAgg:
		return int32(x.Index)
	case spec.OpField:
		r, ok := c.fields[x.Field]
		if !ok {
			in.detail = &detail{field: x.Field}
			r = c.put(in).dst
			c.fields[x.Field] = r
		}
		return r
	case spec.OpFeature:
		in.a = int32(x.Index)
	case spec.OpTextEq, spec.OpTextNe:
		in = comparison(x)
	case spec.OpHour, spec.OpWeekday, spec.OpDay:
		in.detail = &detail{}
		in.zone, in.zoneOf = zoneOf(c.e.spec, x)
	default:
		in.a = c.expr(x.Args[0])
		if len(x.Args) > 1 {
			in.b = c.expr(x.Args[1])
		}
	}
	return c.put(in).dst
}

// comparison makes of a comparison of a type's or status's name one of its
// number.
func comparison(x *spec.Expr) instruction {
	in := instruction{op: x.Op, a: -1, detail: &detail{text: x.Str, field: x.Field}}
	names, eq, ne := typeNames, opTypeEq, opTypeNe
	switch x.Field.Kind {
	case spec.StatusRef:
		names, eq, ne = statusNames, opStatusEq, opStatusNe
	case spec.OwnTextRef:
		in.field = spec.FieldRef{Kind: spec.TextRef, Text: schemas.NumText + schemas.TextField(x.Field.Index)}
		return in
	case spec.TextRef:
		return in
	}
	in.a = int32(slices.Index(names, x.Str))
	in.op = ne
	if x.Op == spec.OpTextEq {
		in.op = eq
	}
	return in
}

// zoneOf returns the zone of x, nil where a column names it, and that column.
func zoneOf(s *spec.Spec, x *spec.Expr) (*spec.Zone, schemas.TextField) {
	switch {
	case x.Rules != nil:
		return x.Rules, 0
	case x.Zone == "" && x.ZoneField.Kind == spec.OwnTextRef:
		return nil, schemas.NumText + schemas.TextField(x.ZoneField.Index)
	case x.Zone == "" && x.ZoneField.Kind == spec.TextRef && x.ZoneField.Text != schemas.ID:
		return nil, x.ZoneField.Text
	}
	return s.ZoneByName([]byte(x.Zone)), 0
}
