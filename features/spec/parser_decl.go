package spec

import "fmt"

// declarations are the words that begin a line that is no feature.
var declarations = []string{"spec", "base", "field", "type", "status", "scored", "home", "late", "future",
	"maturity", "labels", "dlq", "max_bytes", "max_depth", "fallback"}

// declaration reads a line: what its first word says, or a feature.
func (p *parser) declaration() {
	f, first := p.file, p.peek()
	if first.kind != tokWord || p.peekAt(1).text == "==" || p.peekAt(1).text == "!=" {
		p.feature() // type == "transfer" begins like a declaration
		return
	}
	p.pos++
	switch first.text {
	case "spec":
		p.once(first, &f.name, p.word("a name", "write spec payments"))
	case "base":
		p.once(first, &f.base, p.word("a currency such as EUR", "write base EUR"))
	case "field":
		p.field()
		return
	case "type":
		p.values(&f.types, "a transaction type", "type authorisation")
	case "status":
		p.values(&f.statuses, "a status", "status approved")
	case "scored":
		p.list(first, &f.scored, "a transaction type", "scored authorisation, transfer")
	case "labels":
		p.list(first, &f.labels, "a source of labels", "labels analyst, chargeback")
	case "home":
		p.home(first)
	case "late":
		p.set(first, &f.late, p.duration("24h"))
	case "future":
		p.set(first, &f.future, p.duration("5m"))
	case "maturity":
		p.set(first, &f.maturity, p.duration("90d"))
	case "dlq":
		p.once(first, &f.dlq, p.oneOf("reference", "bytes"))
	case "max_bytes":
		p.set(first, &f.maxBytes, p.number("a number of bytes"))
	case "max_depth":
		p.set(first, &f.maxDepth, p.number("a number of levels"))
	case "fallback":
		p.rule()
	default:
		p.pos--
		p.feature()
		return
	}
	p.end("the end of the line")
}

// once keeps the value of a declaration that may stand only once.
func (p *parser) once(first token, into **word, value word) {
	if p.failed {
		return
	}
	if *into != nil {
		p.again(first, (*into).line)
		return
	}
	*into = &value
}

func (p *parser) set(first token, into **setting, value *setting) {
	if p.failed {
		return
	}
	if *into != nil {
		p.again(first, (*into).at.line)
		return
	}
	*into = value
}

func (p *parser) again(first token, line int) {
	p.failAs(first, "a second line "+first.text, "one",
		fmt.Sprintf("the first is on line %d: leave out one of them", line))
}

// field reads: field [text|number] NAME = SOURCE options, after its first word.
func (p *parser) field() {
	var d fieldDecl
	if t := p.peek(); (t.text == "text" || t.text == "number") && p.peekAt(1).kind == tokWord {
		d.own = p.next().text
	}
	d.name = p.word("the name of a field", "write field customer = $.customer_id")
	p.expect("=", "write field customer = $.customer_id")
	t := p.peek()
	d.source = p.at(t)
	switch t.kind {
	case tokPath:
		d.path = t.path
	case tokString:
		d.constant = &word{text: t.value, line: p.line, col: t.col}
	case tokWord:
		d.constant = &word{text: t.text, line: p.line, col: t.col}
	default:
		p.fail(t, "a JSON path such as $.customer_id, or a text in quotes", "")
	}
	p.next()
	for !p.failed && p.peek().kind != tokEnd {
		p.fieldOption(&d)
	}
	if !p.failed {
		p.file.fields = append(p.file.fields, d)
	}
}

func (p *parser) fieldOption(d *fieldDecl) {
	t := p.next()
	into, value := (**word)(nil), p.at(t)
	switch t.text {
	case "as":
		into, value = &d.form, p.oneOf("rfc3339", "s", "ms", "us")
	case "decimal", "minor":
		into = &d.unit
	case "default":
		into = &d.byRule
		if v := p.peek(); v.kind == tokString {
			value = word{text: v.value, line: p.line, col: v.col}
			p.pos++
		} else {
			value = p.word("a text in quotes", `write default "EUR"`)
		}
	case "secret":
		into = &d.secret
	case "keep":
		into, value = &d.keep, p.oneOf("bin")
	default:
		remedy := ""
		if near := nearest(t.text, []string{"default", "secret", "keep", "decimal", "minor"}); near != "" {
			remedy = "did you mean " + near + "?"
		}
		p.fail(t, "as, decimal, minor, default, secret, keep bin or the end of the line", remedy)
		return
	}
	if *into != nil {
		p.failAs(t, "a second "+t.text, "one", "")
		return
	}
	*into = &value
}

// values reads: NAME = "a", "b".
func (p *parser) values(into *[]valuesDecl, what, example string) {
	d := valuesDecl{name: p.word(what, "write "+example+` = "A"`)}
	p.expect("=", "write "+example+` = "A"`)
	for !p.failed {
		t := p.peek()
		if t.kind != tokString {
			p.fail(t, "a text in quotes", "write "+example+` = "A", "B"`)
			return
		}
		d.values = append(d.values, word{text: t.value, line: p.line, col: t.col})
		p.pos++
		if !p.accept(",") {
			break
		}
	}
	if !p.failed {
		*into = append(*into, d)
	}
}

// list reads names with commas between them.
func (p *parser) list(first token, into **listDecl, what, example string) {
	d := &listDecl{at: p.at(first)}
	for !p.failed {
		d.names = append(d.names, p.word(what, "write "+example))
		if !p.accept(",") {
			break
		}
	}
	switch {
	case p.failed:
	case *into != nil:
		p.again(first, (*into).at.line)
	default:
		*into = d
	}
}

func (p *parser) home(first token) {
	d := &homeDecl{entity: p.word("an entity", "write home customer dedup 7d")}
	if p.accept("dedup") {
		d.dedup = p.duration("7d")
	}
	switch {
	case p.failed:
	case p.file.home != nil:
		p.again(first, p.file.home.entity.line)
	default:
		p.file.home = d
	}
}

// rule reads: ACTION when CONDITION.
func (p *parser) rule() {
	d := ruleDecl{action: p.oneOf("review", "block", "allow")}
	p.expect("when", "write fallback review when amount > 1000")
	d.cond = p.expr()
	p.end("and, or, or the end of the line")
	if !p.failed {
		p.file.rules = append(p.file.rules, d)
	}
}

// feature reads: EXPRESSION [as NAME] [in group "GROUP"].
func (p *parser) feature() {
	d := featureDecl{at: p.at(p.peek())}
	d.expr = p.expr()
	for !p.failed && p.peek().kind != tokEnd {
		t := p.peek()
		switch {
		case t.text == "as" && d.name == nil && t.kind == tokWord:
			p.pos++
			name := p.word("a name", "write as amount_ratio")
			d.name = &name
		case t.text == "in" && d.group == nil && t.kind == tokWord:
			p.pos++
			p.expect("group", `write in group "customer amount"`)
			g := p.peek()
			if g.kind != tokString {
				p.fail(g, "a text in quotes", `write in group "customer amount"`)
				return
			}
			d.group = &word{text: g.value, line: p.line, col: g.col}
			p.pos++
		default:
			p.end("an operator, as NAME, in group, or the end of the line")
		}
	}
	if !p.failed {
		p.file.features = append(p.file.features, d)
	}
}
