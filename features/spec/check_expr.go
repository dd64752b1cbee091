package spec

import (
	"fmt"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

var (
	textID         = FieldRef{Kind: TextRef, Text: schemas.ID}
	textOriginalID = FieldRef{Kind: TextRef, Text: schemas.OriginalID}
)

// scope is where an expression stands, which decides what it may name: a
// feature names the features above it; where clauses and rules name any.
type scope struct {
	feature int
	where   bool
	rule    bool
}

// value says what an expression gives.
type value uint8

const (
	valueBad value = iota // a mistake was reported
	valueNumber
	valueCondition
)

// settleAll settles the aggregates of all features and rules.
func (c *checker) settleAll() {
	for _, d := range c.file.features {
		c.settle(d.expr, false)
	}
	for _, d := range c.file.rules {
		c.settle(d.cond, false)
	}
}

// findConditions says which features are conditions. It reads the expressions
// as written, since where clauses name features further down.
func (c *checker) findConditions() {
	for _, d := range c.file.features {
		c.conditions = append(c.conditions, c.isCondition(d.expr))
	}
}

func (c *checker) isCondition(n *node) bool {
	switch n.kind {
	case nodeNot:
		return true
	case nodeBinary:
		return n.op >= OpLT && n.op <= OpOr
	case nodeCall:
		return n.text == "weekend"
	case nodeName:
		i, ok := c.byName[n.text]
		return ok && i < len(c.conditions) && c.conditions[i]
	}
	return false
}

// features resolves the feature lines.
func (c *checker) features() {
	for i := range c.file.features {
		d := &c.file.features[i]
		f := &c.spec.Features[i]
		f.Expr, _ = c.resolve(d.expr, scope{feature: i})
		if constant(f.Expr) {
			c.report(d.at, "the constant "+shorten(f.Text), "something that differs from transaction to transaction", "")
		}
	}
}

func constant(e *Expr) bool {
	switch e.Op {
	case opUnknown, OpField, OpTextEq, OpTextNe, OpAgg, OpFeature, OpHour, OpWeekday, OpDay:
		return false
	}
	return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !constant(a) })
}

// rules resolves the fallback lines.
func (c *checker) rules() {
	for _, d := range c.file.rules {
		r := Rule{Action: schemas.Action(slices.Index(actionNames, d.action.text)), Line: d.action.line}
		r.Cond = c.condition(d.cond, scope{rule: true})
		r.Text = d.action.text + " when " + d.cond.print()
		c.spec.Fallback = append(c.spec.Fallback, r)
	}
}

// condition resolves an expression that must be a condition.
func (c *checker) condition(n *node, sc scope) *Expr {
	e, v := c.resolve(n, sc)
	if v == valueNumber {
		c.report(n.at(), "the number "+shorten(n.print()), "a condition", "compare it, as in amount > 100")
	}
	return e
}

// number resolves an expression that must not be a condition.
func (c *checker) number(n *node, sc scope) *Expr {
	e, v := c.resolve(n, sc)
	if v == valueCondition {
		remedy := "a condition stands by itself, without a comparison"
		if sc.where {
			remedy = "put the aggregate with its where in parentheses: (count() by card over 1h where is_high) > 2"
		}
		c.report(n.at(), "the condition "+shorten(n.print()), "a number", remedy)
	}
	return e
}

// opUnknown stands where a mistake was reported; no Spec that Parse returns has
// one.
const opUnknown = OpMax + 1

// resolve turns a node into the expression that is computed.
func (c *checker) resolve(n *node, sc scope) (*Expr, value) {
	e := &Expr{Op: opUnknown, Line: n.line, Col: n.col}
	if n.bad {
		return e, valueBad
	}
	switch n.kind {
	case nodeNumber:
		e.Op, e.Num = OpConst, n.num
		return e, valueNumber
	case nodeString:
		c.report(n.at(), "the text "+quote(n.text), "a number or a condition",
			`texts are compared with the field on the left: channel == "ecom"`)
		return e, valueBad
	case nodeName:
		return c.resolveName(n, e, sc)
	case nodeCall:
		return c.resolveCall(n, e, sc)
	case nodeNot:
		e.Op, e.Args = OpNot, []*Expr{c.condition(n.args[0], sc)}
		return e, valueCondition
	case nodeMinus:
		if a := n.args[0]; a.kind == nodeNumber {
			e.Op, e.Num = OpConst, -a.num
			return e, valueNumber
		}
		a, _ := c.resolve(n.args[0], sc)
		e.Op, e.Args = OpSub, []*Expr{{Line: n.line, Col: n.col}, a}
		return e, valueNumber
	}
	return c.resolveBinary(n, e, sc)
}

func (c *checker) resolveBinary(n *node, e *Expr, sc scope) (*Expr, value) {
	left, right := n.args[0], n.args[1]
	switch {
	case n.op >= OpLT && left.kind == nodeString:
		return c.resolve(left, sc)
	case n.op >= OpLT && n.op <= OpNE && c.comparesText(left, right):
		return c.resolveText(n, e)
	}
	e.Op = n.op
	switch {
	case n.op == OpAnd || n.op == OpOr:
		e.Args = []*Expr{c.condition(left, sc), c.condition(right, sc)}
		return e, valueCondition
	case n.op < OpLT:
		a, _ := c.resolve(left, sc)
		b, _ := c.resolve(right, sc)
		e.Args = []*Expr{a, b}
		return e, valueNumber
	}
	e.Args = []*Expr{c.number(left, sc), c.number(right, sc)}
	return e, valueCondition
}

// comparesText says whether a comparison is one of texts, or is meant as one.
func (c *checker) comparesText(left, right *node) bool {
	s := c.symbols[left.text]
	return right.kind == nodeString || left.kind == nodeName && s != nil && (s.isText() || s.isEnum())
}

// resolveText resolves FIELD == "text" and its negation.
func (c *checker) resolveText(n *node, e *Expr) (*Expr, value) {
	left, right := n.args[0], n.args[1]
	s := c.symbols[left.text]
	switch {
	case left.kind != nodeName || s == nil || !s.isText() && !s.isEnum():
		if left.kind == nodeName && c.file.spoilt[left.text] {
			return e, valueBad
		}
		found := shorten(left.print())
		if s != nil {
			found += ", " + s.kind() + ","
		}
		c.report(left.at(), found+" before a text", "a text field", `write channel == "ecom"`)
		return e, valueBad
	case right.kind != nodeString:
		c.report(right.at(), shorten(right.print())+" beside "+left.text+", "+s.kind(), "a text in quotes",
			"write "+left.text+` == "..."`)
		return e, valueBad
	case n.op != OpEQ && n.op != OpNE:
		c.report(n.at(), opSigns[n.op]+" between texts", "== or !=", "")
		return e, valueBad
	case !s.declared:
		if !c.file.spoilt[left.text] {
			c.undeclared(left.at(), left.text)
		}
		return e, valueBad
	case s.secret:
		c.report(left.at(), left.text+", a secret field", "a field that is not secret",
			"a token equals no value that could be written here")
		return e, valueBad
	}
	e.Op, e.Field, e.Str = OpTextEq, s.ref, right.text
	if n.op == OpNE {
		e.Op = OpTextNe
	}
	switch s.ref.Kind {
	case TypeRef:
		e.Num = float64(c.indexOf(right.literal(), typeNames, "a transaction type"))
	case StatusRef:
		e.Num = float64(c.indexOf(right.literal(), statusNames, "a status"))
	}
	return e, valueCondition
}

func (n *node) literal() word { return word{text: n.text, line: n.line, col: n.col} }

// resolveName resolves a numeric field or a feature.
func (c *checker) resolveName(n *node, e *Expr, sc scope) (*Expr, value) {
	s := c.symbols[n.text]
	i, isFeature := c.byName[n.text]
	switch {
	case s != nil && s.isNumber():
		if c.field(n) == nil {
			return e, valueBad
		}
		e.Op, e.Field = OpField, s.ref
		return e, valueNumber
	case s != nil && s.ref.Kind == TimeRef:
		c.report(n.at(), "time", "a number", "write hour(time), weekday(time) or since_last() by customer")
		return e, valueBad
	case s != nil:
		c.report(n.at(), n.text+", "+s.kind(), "a number or a condition",
			"write "+n.text+` == "..." or distinct(`+n.text+")")
		return e, valueBad
	case !isFeature:
		if !c.file.spoilt[n.text] {
			c.unknownName(n)
		}
		return e, valueBad
	case !sc.where && !sc.rule && i == sc.feature:
		c.report(n.at(), "the feature "+n.text+" in its own line", "fields and features above", "")
		return e, valueBad
	case !sc.where && !sc.rule && i > sc.feature:
		c.report(n.at(), fmt.Sprintf("the feature %s of line %d", n.text, c.file.features[i].at.line),
			"fields and features above", "move that line up")
		return e, valueBad
	}
	e.Op, e.Index = OpFeature, i
	if c.conditions[i] {
		return e, valueCondition
	}
	return e, valueNumber
}

func (c *checker) unknownName(n *node) {
	names := c.fieldNames(func(s *symbol) bool { return s.isNumber() && s.declared })
	for _, f := range c.spec.Features {
		names = append(names, f.Name)
	}
	remedy := "write a text in quotes"
	if near := nearest(n.text, append(names, c.fieldNames((*symbol).isText)...)); near != "" {
		remedy = "did you mean " + near + "?"
	} else if slices.Contains(functions(), n.text) {
		remedy = "write " + n.text + "(...)"
	} else if len(names) <= 8 {
		remedy = didYouMean(n.text, names)
	}
	c.report(n.at(), quote(n.text), "a numeric field or a feature", remedy)
}

func (c *checker) resolveCall(n *node, e *Expr, sc scope) (*Expr, value) {
	switch {
	case slices.Contains(calendar, n.text):
		return c.resolveCalendar(n, e)
	case n.clauses != nil:
		e.Op, e.Index = OpAgg, c.aggregate(n)
		return e, valueNumber
	case n.text == "log" && len(n.args) != 1 || len(n.args) == 0:
		c.report(n.at(), fmt.Sprintf("%s of %d numbers", n.text, len(n.args)), "one number", "write "+n.text+"(amount)")
		return e, valueBad
	}
	op := map[string]Op{"log": OpLog, "min": OpMin, "max": OpMax}[n.text]
	if op == 0 {
		c.report(n.at(), fmt.Sprintf("%s of %d arguments", n.text, len(n.args)), "one field", "write "+n.text+"(amount) by customer over 7d")
		return e, valueBad
	}
	first, _ := c.resolve(n.args[0], sc)
	if op == OpLog {
		e.Op, e.Args = op, []*Expr{first}
		return e, valueNumber
	}
	for _, a := range n.args[1:] {
		next, _ := c.resolve(a, sc)
		first = &Expr{Op: op, Args: []*Expr{first, next}, Line: n.line, Col: n.col}
	}
	return first, valueNumber
}

// resolveCalendar resolves hour, weekday, day and weekend.
func (c *checker) resolveCalendar(n *node, e *Expr) (*Expr, value) {
	e.Op = map[string]Op{"hour": OpHour, "weekday": OpWeekday, "weekend": OpWeekday, "day": OpDay}[n.text]
	e.Zone = "UTC"
	if n.zone != nil {
		if s := c.symbols[n.zone.text]; s != nil && s.isText() {
			if !s.declared && !c.file.spoilt[n.zone.text] {
				c.undeclared(*n.zone, n.zone.text)
			}
			e.Zone, e.ZoneField = "", s.ref
			c.spec.zoneByField = true
		} else if c.file.spoilt[n.zone.text] {
			return e, valueBad
		} else {
			e.Zone = n.zone.text
		}
	}
	if e.Zone != "" {
		e.Rules = c.zone(e.Zone, n.zone)
	}
	if n.text != "weekend" {
		return e, valueNumber
	}
	saturday := &Expr{Num: 5, Line: n.line, Col: n.col}
	return &Expr{Op: OpGE, Args: []*Expr{e, saturday}, Line: n.line, Col: n.col}, valueCondition
}

// zone returns the rules of a zone by name.
func (c *checker) zone(name string, at *word) *Zone {
	if z := c.spec.zones[name]; z != nil {
		return z
	}
	location, err := c.zones.location(name)
	if err != nil {
		remedy := "write an IANA name such as Europe/Brussels, or a text field"
		if near := nearest(name, c.zones.names()); near != "" {
			remedy = "did you mean " + near + "?"
		}
		c.report(*at, "the time zone "+shorten(name), "a known one", remedy)
		return nil
	}
	if c.spec.zones == nil {
		c.spec.zones = map[string]*Zone{}
	}
	z := newZone(location)
	c.spec.zones[name] = z
	return z
}
