package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// argument says what stands in the parentheses of an aggregate.
type argument uint8

const (
	argNone   argument = iota
	argNumber          // amount or an own number
	argAmount          // amount
	argText            // a text field
)

// span says which windows an aggregate may have.
type span uint8

const (
	spanWindow span = iota // a window must be given
	spanAny                // a window or all must be given
	spanAll                // over all where nothing is given
	spanRun                // defaultFraudRun where nothing is given
)

// Over all means constant memory: running sums. What needs to see which events
// leave a window, or which labels change, cannot be had that way.
var aggregateRules = [NumAggFns]struct {
	name string
	arg  argument
	over span
	kind string // of the group
}{
	Count:       {name: "count", arg: argNone, over: spanAny, kind: kindActivity},
	Sum:         {name: "sum", arg: argNumber, over: spanAny, kind: kindAmount},
	Mean:        {name: "mean", arg: argNumber, over: spanAny, kind: kindAmount},
	GeoMean:     {name: "geo_mean", arg: argAmount, over: spanAny, kind: kindAmount},
	Std:         {name: "std", arg: argNumber, over: spanAny, kind: kindAmount},
	Min:         {name: "min", arg: argNumber, over: spanAny, kind: kindAmount},
	Max:         {name: "max", arg: argNumber, over: spanAny, kind: kindAmount},
	Distinct:    {name: "distinct", arg: argText, over: spanWindow, kind: kindActivity},
	Last:        {name: "last", arg: argNumber, over: spanAll, kind: kindAmount},
	FirstSeen:   {name: "first_seen", arg: argNone, over: spanAll, kind: kindActivity},
	SinceLast:   {name: "since_last", arg: argNone, over: spanAll, kind: kindActivity},
	FraudCount:  {name: "fraud_count", arg: argNone, over: spanWindow, kind: kindLabels},
	FraudRate:   {name: "fraud_rate", arg: argNone, over: spanWindow, kind: kindLabels},
	FraudRun:    {name: "fraud_run", arg: argNone, over: spanRun, kind: kindLabels},
	FraudRunAge: {name: "fraud_run_age", arg: argNone, over: spanRun, kind: kindLabels},
}

// The kinds of groups, weakest first: a feature of several aggregates is of the
// strongest kind among them.
const (
	kindActivity = "activity"
	kindAmount   = "amount"
	kindLabels   = "labels"
)

var aggregateNames = func() (names [NumAggFns]string) {
	for fn, r := range aggregateRules {
		names[fn] = r.name
	}
	return names
}()

// ReadsLabels reports whether the function is of what became of transactions.
func (f AggFn) ReadsLabels() bool { return aggregateRules[f].kind == kindLabels }

func aggregateByName(name string) (AggFn, bool) {
	i := slices.Index(aggregateNames[:], name)
	return AggFn(max(i, 0)), i >= 0
}

// String is the name of the function in the language.
func (f AggFn) String() string {
	if f < NumAggFns {
		return aggregateNames[f]
	}
	return fmt.Sprintf("AggFn(%d)", uint8(f))
}

// settle brings every aggregate under n to its one form, so that what means the
// same is written, named and shared the same: windows filled in, keys in the
// order of the fields, a needless before dropped. inWhere says that n is part
// of a where clause, where no aggregate may stand.
func (c *checker) settle(n *node, inWhere bool) {
	for _, a := range n.args {
		c.settle(a, inWhere)
	}
	if n.clauses == nil {
		return
	}
	if inWhere {
		n.bad = true
		c.report(n.at(), "the aggregate "+shorten(n.text+"()")+" in a where clause", "the past transaction's own fields and features",
			"give it a name on a line of its own, or, if it is not meant for the where clause, "+
				"put the aggregate with its where in parentheses")
		return
	}
	before := len(c.problems)
	fn, _ := aggregateByName(n.text)
	c.settleArgument(n, fn)
	if len(n.clauses.by) > 0 {
		c.settleKeys(n)
		c.settleWindow(n, fn)
	} else {
		c.report(n.at(), shorten(n.print())+" without by", "by and an entity", "write "+exampleCall(fn)+" by customer over 7d")
	}
	if n.clauses.where != nil {
		c.settle(n.clauses.where, true)
	}
	n.bad = n.bad || len(c.problems) > before
}

func (n *node) at() word { return word{line: n.line, col: n.col} }

func (c *checker) settleArgument(n *node, fn AggFn) {
	rule := aggregateRules[fn]
	if rule.arg == argNone {
		if len(n.args) > 0 {
			remedy := "write " + rule.name + "()"
			if fn == Count {
				remedy = "count() counts transactions; distinct(...) counts different values of a field"
			}
			c.report(n.args[0].at(), shorten(n.args[0].print())+" in "+rule.name, "nothing between the parentheses", remedy)
		}
		return
	}
	what, fits := "amount or a number of your own", (*symbol).isNumber
	switch rule.arg {
	case argText:
		what, fits = "a text field such as terminal", (*symbol).isText
	case argAmount:
		what, fits = "amount", func(s *symbol) bool { return s.ref.Kind == AmountRef }
	}
	if len(n.args) == 0 {
		c.report(n.at(), rule.name+"()", what+" between the parentheses", "write "+exampleCall(fn))
		return
	}
	arg := n.args[0]
	if arg.kind != nodeName {
		c.report(arg.at(), shorten(arg.print()), what, "an aggregate takes a field as it is: calculate with its result")
		return
	}
	s := c.field(arg)
	switch {
	case s == nil:
		n.bad = true
	case !fits(s):
		c.report(arg.at(), arg.text+", "+s.kind(), what, "write "+exampleCall(fn))
	case fn == Distinct && len(n.clauses.by) == 1 && n.clauses.by[0].text == arg.text:
		c.report(arg.at(), "distinct("+arg.text+") by "+arg.text, "another field",
			"this is always 1: count another field, or count()")
	}
}

func exampleCall(fn AggFn) string {
	switch aggregateRules[fn].arg {
	case argText:
		return aggregateNames[fn] + "(terminal)"
	case argNone:
		return aggregateNames[fn] + "()"
	}
	return aggregateNames[fn] + "(amount)"
}

// field returns the symbol of a name that must be a declared field.
func (c *checker) field(n *node) *symbol {
	s := c.symbols[n.text]
	switch {
	case s == nil && c.file.spoilt[n.text]:
		return nil
	case s == nil:
		remedy := didYouMean(n.text, c.fieldNames(func(s *symbol) bool { return s.declared }))
		if slices.ContainsFunc(c.file.features, func(d featureDecl) bool { return d.name != nil && d.name.text == n.text }) {
			remedy = "it is a feature: aggregates are of fields; a where clause may ask for features"
		}
		c.report(n.at(), quote(n.text), "a field", remedy)
		return nil
	case !s.declared && !c.file.spoilt[n.text]:
		c.undeclared(n.at(), n.text)
		return nil
	}
	return s
}

func (c *checker) undeclared(at word, name string) {
	c.report(at, "the field "+name+", which no line declares", "a declared field",
		"add a line such as field "+name+" = $."+name)
}

// key returns the reference of a field that an entity is keyed by.
func (c *checker) key(w word) (FieldRef, bool) {
	s := c.field(&node{kind: nodeName, text: w.text, line: w.line, col: w.col})
	if s == nil {
		return FieldRef{}, false
	}
	if !s.isText() || s.ref == textID || s.ref == textOriginalID {
		c.report(w, shorten(w.text)+" as an entity", "a field that transactions share, such as customer or terminal", "")
		return FieldRef{}, false
	}
	return s.ref, true
}

// settleKeys checks the fields after by and puts them in their order.
func (c *checker) settleKeys(n *node) {
	by := n.clauses.by
	if len(by) > MaxKeys {
		c.report(by[MaxKeys], fmt.Sprintf("%d fields keyed together", len(by)), fmt.Sprintf("at most %d", MaxKeys), "")
		return
	}
	refs := map[string]FieldRef{}
	for _, w := range by {
		if _, twice := refs[w.text]; twice {
			c.report(w, w.text+" again", "each field once", "")
			return
		}
		ref, ok := c.key(w)
		if !ok {
			n.bad = true
			return
		}
		refs[w.text] = ref
	}
	slices.SortFunc(by, func(a, b word) int { return compareRefs(refs[a.text], refs[b.text]) })
}

func compareRefs(a, b FieldRef) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Index, b.Index))
}

// settleWindow checks over, delay and before, and fills in what is not said.
func (c *checker) settleWindow(n *node, fn AggFn) {
	rule, cl := aggregateRules[fn], n.clauses
	if cl.over == nil {
		switch rule.over {
		case spanAll:
			cl.over = &setting{at: n.at()}
		case spanRun:
			cl.over = &setting{value: defaultFraudRun, at: n.at()}
		case spanAny:
			c.report(n.at(), rule.name+" without over", "over and a window", "write over 7d, or over all")
			return
		default:
			c.report(n.at(), rule.name+" without over", "over and a window", "write over 28d")
			return
		}
	}
	all := cl.over.value == 0
	cl.byRule = rule.over == spanAll && all || rule.over == spanRun && cl.over.value == defaultFraudRun
	switch {
	case all && (rule.over == spanWindow || rule.over == spanRun):
		c.report(cl.over.at, rule.name+" over all", "a window", "write over 90d, say: without a window only running sums are kept")
	case cl.over.value > MaxWindow:
		c.report(cl.over.at, "a window of "+formatDuration(cl.over.value), "at most "+formatDuration(MaxWindow), "over all has no limit")
	}
	c.settleDelay(cl, all)
	if cl.before == nil {
		return
	}
	switch {
	case fn == FirstSeen:
		c.report(*cl.before, "before with first_seen", "first_seen alone", "it counts from the first transaction to this one, and is 0 for the first")
	case fn == Last || fn == SinceLast || cl.delay != nil:
		cl.before = nil // these leave the current transaction out in any case
	}
}

func (c *checker) settleDelay(cl *clauses, all bool) {
	switch {
	case cl.delay == nil:
	case cl.delay.value == 0:
		cl.delay = nil
	case cl.delay.value > MaxDelay:
		c.report(cl.delay.at, "a delay of "+formatDuration(cl.delay.value), "at most "+formatDuration(MaxDelay), "")
	case all:
		c.report(cl.delay.at, "a delay over all", "a window with it", "write over 90d, say: running sums cannot be set back in time")
	}
}

// window is the setting's value, 0 where there is none.
func (s *setting) window() int64 {
	if s == nil {
		return 0
	}
	return s.value
}

// entity returns the number of the entity with the keys.
func (c *checker) entity(names []string, keys []FieldRef, at word) int {
	name := strings.Join(names, " × ")
	if i, ok := c.entities[name]; ok {
		return i
	}
	i := len(c.spec.Entities)
	if i == MaxEntities {
		c.report(at, "the entity "+name+" beyond the limit", fmt.Sprintf("at most %d entities", MaxEntities), "")
	}
	c.entities[name] = i
	c.spec.Entities = append(c.spec.Entities, Entity{Name: name, Keys: keys})
	return i
}

// aggregate returns the number of the aggregate that n is, which is settled and
// good. Equal ones are one.
func (c *checker) aggregate(n *node) int {
	fn, _ := aggregateByName(n.text)
	cl := n.clauses
	a := Aggregate{Fn: fn, Window: cl.over.window(), Delay: cl.delay.window(), Before: cl.before != nil, Where: -1}
	if len(n.args) > 0 {
		a.Arg, a.HasArg = c.symbols[n.args[0].text].ref, true
	}
	var names []string
	var keys []FieldRef
	for _, w := range cl.by {
		names, keys = append(names, w.text), append(keys, c.symbols[w.text].ref)
	}
	a.Entity = c.entity(names, keys, cl.by[0])
	if cl.where != nil {
		a.Where = c.predicate(cl.where)
	}
	if i, ok := c.aggregates[a]; ok {
		return i
	}
	i := len(c.spec.Aggregates)
	if i == MaxAggregates {
		c.report(n.at(), "an aggregate beyond the limit", fmt.Sprintf("at most %d different ones", MaxAggregates), "")
	}
	c.aggregates[a] = i
	a.Line = n.line
	c.spec.Aggregates = append(c.spec.Aggregates, a)
	return i
}

// predicate returns the number of a where clause.
func (c *checker) predicate(n *node) int {
	text := n.print()
	if i, ok := c.predicates[text]; ok {
		return i
	}
	cond := c.condition(n, scope{where: true})
	i := len(c.spec.Predicates)
	if i == MaxPredicates {
		c.report(n.at(), "the where clause "+shorten(text)+" beyond the limit",
			fmt.Sprintf("at most %d different ones", MaxPredicates), "")
	}
	c.predicates[text] = i
	c.spec.Predicates = append(c.spec.Predicates, Predicate{Cond: cond, Text: text})
	return i
}
