package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// nameFeatures gives every feature its name. Names that are written come first;
// the others are made from the expression and, where that name is taken, told
// apart by a number.
func (c *checker) nameFeatures() {
	c.spec.Features = make([]Feature, len(c.file.features))
	for i, d := range c.file.features {
		c.spec.Features[i] = Feature{Text: d.expr.print(), Line: d.at.line}
		if d.name != nil {
			c.takeName(i, *d.name)
		}
	}
	byText := map[string]int{}
	for i, d := range c.file.features {
		f := &c.spec.Features[i]
		if d.name != nil {
			continue
		}
		if line := byText[f.Text]; line > 0 {
			c.report(d.at, "the feature "+shorten(f.Text)+" again", "each feature once", fmt.Sprintf("line %d has it", line))
			continue
		}
		byText[f.Text] = d.at.line
		base := d.expr.slug()
		if len(base) > MaxName-4 {
			c.report(d.at, "a feature without a name that is too long to make one from", "as and a name", "end the line with as NAME")
			continue
		}
		name := base
		for n := 2; c.taken(name, d.expr); n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		f.Name, c.byName[name] = name, i
	}
}

// takeName checks a name that was written and enters it.
func (c *checker) takeName(i int, w word) {
	expr := c.file.features[i].expr
	if !c.validName(w, "a feature") {
		return
	}
	if j, ok := c.byName[w.text]; ok {
		c.report(w, "the name "+w.text+" again", "each name once",
			fmt.Sprintf("the feature on line %d has it", c.file.features[j].at.line))
		return
	}
	if c.taken(w.text, expr) {
		c.report(w, "the name "+w.text+", which is a field's", "a name of its own", "write as "+w.text+"_2, say")
		return
	}
	c.spec.Features[i].Name, c.byName[w.text] = w.text, i
}

// taken says whether a name stands for something else. A feature that is a
// field as it is has the field's name.
func (c *checker) taken(name string, expr *node) bool {
	if _, ok := c.byName[name]; ok || reserved[name] || slices.Contains(declarations, name) {
		return true
	}
	return c.symbols[name] != nil && !(expr.kind == nodeName && expr.text == name)
}

// slug makes a name of an expression: mean_amount_by_customer_30d.
func (n *node) slug() string {
	var b strings.Builder
	gap := false
	for _, r := range n.words() {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
		default:
			gap = true
		}
	}
	name := b.String()
	if name == "" || isDigit(name[0]) {
		name = "f_" + name
	}
	return name
}

var opWords = map[Op]string{OpAdd: "plus", OpSub: "minus", OpMul: "times", OpDiv: "per", OpLT: "lt", OpLE: "le",
	OpGT: "gt", OpGE: "ge", OpEQ: "is", OpNE: "is_not", OpAnd: "and", OpOr: "or"}

// words is the expression in words, for slug to join.
func (n *node) words() string {
	switch n.kind {
	case nodeNumber:
		return formatNumber(n.num)
	case nodeString, nodeName:
		return n.text
	case nodeNot:
		return "not " + n.args[0].words()
	case nodeMinus:
		return "minus " + n.args[0].words()
	case nodeBinary:
		return n.args[0].words() + " " + opWords[n.op] + " " + n.args[1].words()
	}
	parts := []string{n.text}
	for _, a := range n.args {
		parts = append(parts, a.words())
	}
	if n.zone != nil && n.zone.text != "UTC" {
		parts = append(parts, strings.ToLower(n.zone.text))
	}
	if cl := n.clauses; cl != nil {
		parts = append(parts, "by")
		for _, w := range cl.by {
			parts = append(parts, w.text)
		}
		parts = append(parts, cl.tail(true)...)
		if cl.where != nil {
			parts = append(parts, "where", cl.where.words())
		}
	}
	return strings.Join(parts, " ")
}

// tail is the window, delay and before; a name needs no word over.
func (cl *clauses) tail(name bool) []string {
	var parts []string
	switch {
	case cl.over == nil || cl.byRule:
	case cl.over.value == 0 && name:
		parts = append(parts, "all")
	case cl.over.value == 0:
		parts = append(parts, "over all")
	case name:
		parts = append(parts, formatDuration(cl.over.value))
	default:
		parts = append(parts, "over "+formatDuration(cl.over.value))
	}
	if cl.delay != nil {
		parts = append(parts, "delay "+formatDuration(cl.delay.value))
	}
	if cl.before != nil {
		parts = append(parts, "before")
	}
	return parts
}

// groups gives every feature its group: what the line says, or entity and kind.
func (c *checker) groups() {
	var names []string
	for i, d := range c.file.features {
		f := &c.spec.Features[i]
		f.Group = c.derivedGroup(f.Expr)
		if d.group != nil {
			f.Group = d.group.text
			if f.Group == "" || len(f.Group) > 60 {
				c.report(*d.group, "the group "+quote(f.Group), "a name of 1 to 60 letters", "")
			}
		}
		if slices.Contains(names, f.Group) {
			continue
		}
		if names = append(names, f.Group); len(names) == MaxGroups+1 {
			c.report(d.at, "one more group of features, "+f.Group, fmt.Sprintf("at most %d", MaxGroups),
				`end lines with in group "..." so that fewer remain; there are `+strings.Join(names[:MaxGroups], ", "))
		}
	}
}

// derivedGroup is the entity of the first aggregate and the strongest kind of
// all, or the group of the first feature named, or "transaction".
func (c *checker) derivedGroup(e *Expr) string {
	entity, kind, named := -1, kindActivity, -1
	e.walk(func(e *Expr) {
		switch e.Op {
		case OpFeature:
			if named < 0 {
				named = e.Index
			}
		case OpAgg:
			a := c.spec.Aggregates[e.Index]
			if entity < 0 {
				entity = a.Entity
			}
			if k := aggregateRules[a.Fn].kind; k == kindLabels || k == kindAmount && kind == kindActivity {
				kind = k
			}
		}
	})
	switch {
	case entity >= 0:
		return c.spec.Entities[entity].Name + " " + kind
	case named >= 0:
		return c.spec.Features[named].Group
	}
	return "transaction"
}

// walk calls f for e and everything below it, from left to right.
func (e *Expr) walk(f func(*Expr)) {
	f(e)
	for _, a := range e.Args {
		a.walk(f)
	}
}
