package spec

import (
	"fmt"
	"slices"
	"strings"
)

// calendar functions take the time and a zone.
var calendar = []string{"hour", "weekday", "day", "weekend"}

// arithmetic functions take expressions; min and max with one argument are
// aggregates.
var arithmetic = []string{"log", "min", "max"}

// functions are all functions, for messages.
func functions() []string {
	all := slices.Concat(aggregateNames[:], calendar, []string{"log"})
	slices.Sort(all)
	return all
}

// node makes a node at t and counts it.
func (p *parser) node(t token, n node) *node {
	if p.terms++; p.terms > MaxTerms {
		p.failAs(t, "a longer expression", fmt.Sprintf("at most %d terms", MaxTerms), "give parts of it names on lines of their own")
	}
	n.line, n.col = p.line, t.col
	return &n
}

// expr reads an expression, loosest first: or, and, not, comparison, + -, * /,
// minus, term.
func (p *parser) expr() *node {
	if p.nesting++; p.nesting > MaxNesting {
		p.failAs(p.peek(), "deeper nesting", fmt.Sprintf("at most %d levels", MaxNesting), "give parts of it names on lines of their own")
	}
	defer func() { p.nesting-- }()
	left := p.and()
	for t := p.peek(); p.accept("or"); t = p.peek() {
		left = p.node(t, node{kind: nodeBinary, op: OpOr, args: []*node{left, p.and()}})
	}
	return left
}

func (p *parser) and() *node {
	left := p.not()
	for t := p.peek(); p.accept("and"); t = p.peek() {
		left = p.node(t, node{kind: nodeBinary, op: OpAnd, args: []*node{left, p.not()}})
	}
	return left
}

func (p *parser) not() *node {
	var nots []token
	for t := p.peek(); p.accept("not"); t = p.peek() {
		nots = append(nots, t)
	}
	n := p.comparison()
	for _, t := range slices.Backward(nots) {
		n = p.node(t, node{kind: nodeNot, args: []*node{n}})
	}
	return n
}

var comparisons = map[string]Op{"<": OpLT, "<=": OpLE, ">": OpGT, ">=": OpGE, "==": OpEQ, "!=": OpNE}

func (p *parser) comparison() *node {
	left := p.sum()
	t := p.peek()
	op, ok := comparisons[t.text]
	if t.kind != tokSign || !ok {
		return left
	}
	p.pos++
	n := p.node(t, node{kind: nodeBinary, op: op, args: []*node{left, p.sum()}})
	if t := p.peek(); t.kind == tokSign {
		if _, again := comparisons[t.text]; again {
			remedy := "write 1 < x and x < 5 for a range"
			if p.wheres > 0 {
				remedy = "put the aggregate with its where in parentheses: (count() by card over 1h where amount > 5) > 2"
			}
			p.fail(t, "one comparison", remedy)
		}
	}
	return n
}

func (p *parser) sum() *node {
	left := p.product()
	for {
		t := p.peek()
		switch {
		case p.accept("+"):
			left = p.node(t, node{kind: nodeBinary, op: OpAdd, args: []*node{left, p.product()}})
		case p.accept("-"):
			left = p.node(t, node{kind: nodeBinary, op: OpSub, args: []*node{left, p.product()}})
		default:
			return left
		}
	}
}

func (p *parser) product() *node {
	left := p.minus()
	for {
		t := p.peek()
		switch {
		case p.accept("*"):
			left = p.node(t, node{kind: nodeBinary, op: OpMul, args: []*node{left, p.minus()}})
		case p.accept("/"):
			left = p.node(t, node{kind: nodeBinary, op: OpDiv, args: []*node{left, p.minus()}})
		default:
			return left
		}
	}
}

func (p *parser) minus() *node {
	t := p.peek()
	if !p.accept("-") {
		return p.term()
	}
	if p.peek().text == "-" {
		p.fail(p.peek(), "a number or a name", "")
	}
	return p.node(t, node{kind: nodeMinus, args: []*node{p.term()}})
}

// term reads a number, a text, a name, a call or an expression in parentheses.
func (p *parser) term() *node {
	t := p.next()
	switch {
	case t.kind == tokNumber:
		return p.node(t, node{kind: nodeNumber, num: t.num})
	case t.kind == tokString:
		return p.node(t, node{kind: nodeString, text: t.value})
	case t.kind == tokSign && t.text == "(":
		n := p.expr()
		p.expect(")", "")
		return n
	case t.kind == tokDuration:
		p.fail(t, "a number", "durations stand behind over and delay; since_last and first_seen are in seconds")
	case t.kind == tokWord && p.peek().text == "(":
		return p.call(t)
	case t.kind == tokWord && reserved[t.text]:
		p.fail(t, "a number, a name or a function", p.afterwards(t))
	case t.kind == tokWord:
		return p.node(t, node{kind: nodeName, text: t.text})
	default:
		p.fail(t, "a number, a name or a function", "")
	}
	return p.node(t, node{})
}

// call reads the arguments of a function and, of an aggregate, its clauses.
func (p *parser) call(t token) *node {
	p.pos++ // the parenthesis
	n := p.node(t, node{kind: nodeCall, text: t.text})
	_, aggregate := aggregateByName(t.text)
	switch {
	case slices.Contains(calendar, t.text):
		p.calendarArgs(n)
		return n
	case !aggregate && !slices.Contains(arithmetic, t.text):
		p.failAs(t, fmt.Sprintf("the function %s", shorten(t.text)), "a function", didYouMean(t.text, functions()))
		return n
	}
	for !p.failed && !p.accept(")") {
		n.args = append(n.args, p.expr())
		if !p.accept(",") {
			p.expect(")", "")
			break
		}
	}
	switch {
	case aggregate && len(n.args) < 2:
		p.clauses(n)
	case aggregate && !slices.Contains(arithmetic, t.text):
		p.failAs(t, fmt.Sprintf("%s of %d arguments", t.text, len(n.args)), "one field", "write "+t.text+"(amount) by customer over 7d")
	}
	return n
}

// calendarArgs reads: time [, ZONE] and the closing parenthesis. A zone such as
// America/Port-au-Prince is no word, so it is taken as it stands.
func (p *parser) calendarArgs(n *node) {
	if t := p.next(); t.text != "time" {
		p.fail(t, "time", fmt.Sprintf("write %s(time) or %s(time, Europe/Brussels)", n.text, n.text))
		return
	}
	if p.accept(",") {
		first := p.peek()
		for t := p.peek(); t.kind != tokEnd && t.text != ")"; t = p.peek() {
			p.pos++
		}
		n.zone = &word{text: strings.TrimSpace(p.src[first.off:p.peek().off]), line: p.line, col: first.col}
		if n.zone.text == "" {
			p.fail(first, "a time zone such as Europe/Brussels, or a field that holds one", "")
			return
		}
	}
	p.expect(")", fmt.Sprintf("write %s(time) or %s(time, Europe/Brussels)", n.text, n.text))
}

// clauses reads what follows an aggregate, in any order, each at most once.
// where reaches as far to the right as it can.
func (p *parser) clauses(n *node) {
	c := &clauses{}
	n.clauses = c
	seen := map[string]bool{}
	for !p.failed {
		t := p.peek()
		if t.kind != tokWord || !clauseWords[t.text] {
			return
		}
		if seen[t.text] {
			p.failAs(t, "a second "+t.text, "one", "")
			return
		}
		seen[t.text] = true
		p.pos++
		switch t.text {
		case "by":
			p.by(c)
		case "over":
			if all := p.peek(); p.accept("all") {
				c.over = &setting{at: p.at(all)}
				continue
			}
			c.over = p.window("a window such as 7d, or all")
		case "delay":
			c.delay = p.duration("7d")
		case "before":
			w := p.at(t)
			c.before = &w
		case "where":
			p.wheres++
			c.where = p.expr()
			p.wheres--
		}
	}
}

// window reads a duration above zero.
func (p *parser) window(what string) *setting {
	t := p.peek()
	if t.kind == tokDuration && t.ms == 0 || t.kind == tokWord {
		p.fail(t, what, "")
		return &setting{at: p.at(t)}
	}
	return p.duration("7d")
}

// by reads a field, or several with ×, x or * between them.
func (p *parser) by(c *clauses) {
	for !p.failed {
		t := p.peek()
		if reserved[t.text] {
			p.fail(t, "a field such as customer", "")
			return
		}
		c.by = append(c.by, p.word("a field such as customer", ""))
		t = p.peek()
		pair := t.text == "×" || p.peekAt(1).kind == tokWord &&
			(t.text == "x" && t.kind == tokWord || t.text == "*" && p.textual[p.peekAt(1).text])
		if !pair {
			return
		}
		p.pos++
	}
}

// clauseWords begin a clause of an aggregate.
var clauseWords = map[string]bool{"by": true, "over": true, "delay": true, "before": true, "where": true}

// reserved are the words that name nothing.
var reserved = map[string]bool{"by": true, "over": true, "delay": true, "before": true, "where": true, "as": true,
	"in": true, "group": true, "and": true, "or": true, "not": true, "all": true, "when": true, "x": true}
