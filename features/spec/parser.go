package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser reads one line after the other into a file. The first mistake of a
// line ends the line: fail remembers it and moves to the end, where every rule
// stops by itself.
type parser struct {
	spec     string // name, for messages
	file     *file
	problems Problems
	// textual are the names of text fields. The sign * after by means a pair
	// only before one of them; before anything else it multiplies.
	textual map[string]bool

	line    int
	src     string
	toks    []token
	pos     int
	terms   int
	nesting int
	wheres  int // clauses around what is read
	failed  bool
}

// parseFile reads the whole text; the file holds what could be read, and is nil
// where the text is too long to be looked at.
func parseFile(name string, text []byte) (*file, Problems) {
	p := &parser{spec: name, file: &file{spoilt: map[string]bool{}}}
	whole := func(found, expected string) (*file, Problems) {
		return nil, Problems{{Name: name, Line: 1, Found: found, Expected: expected}}
	}
	if len(text) > MaxText {
		return whole(fmt.Sprintf("a spec of %d bytes", len(text)), fmt.Sprintf("at most %d", MaxText))
	}
	lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
	if len(lines) > MaxLines {
		return whole(fmt.Sprintf("a spec of %d lines", len(lines)), fmt.Sprintf("at most %d", MaxLines))
	}
	p.findText(lines)
	for i, line := range lines {
		p.parseLine(i+1, line)
	}
	return p.file, p.problems
}

// findText collects the text fields before the first line is read, because a
// feature may stand above the field that it uses.
func (p *parser) findText(lines []string) {
	p.textual = map[string]bool{}
	for _, f := range canonicalText {
		p.textual[f.name] = true
	}
	for _, line := range lines {
		if w := strings.Fields(line); len(w) > 2 && w[0] == "field" && w[1] == "text" {
			p.textual[strings.TrimSuffix(w[2], "=")] = true
		}
	}
}

func (p *parser) parseLine(number int, src string) {
	p.line, p.src, p.pos, p.failed = number, src, 0, false
	p.terms, p.nesting, p.wheres = 0, 0, 0
	before := len(p.problems)
	switch {
	case len(src) > MaxLine:
		p.file.spoilt[""] = true
		p.report(1, fmt.Sprintf("a line of %d bytes", len(src)), fmt.Sprintf("at most %d", MaxLine), "")
		return
	case !utf8.ValidString(src):
		good := strings.ToValidUTF8(src, "\ufffd")
		p.file.spoilt[""] = true
		at := utf8.RuneCountInString(good[:strings.IndexRune(good, '\ufffd')]) + 1
		p.report(at, "bytes that are not UTF-8", "UTF-8 text", "save the file as UTF-8")
		return
	}
	toks, mistake := lexLine(src)
	p.toks = toks
	switch {
	case mistake != nil:
		p.report(mistake.Col, mistake.Found, mistake.Expected, mistake.Remedy)
	case toks[0].kind != tokEnd:
		p.declaration()
	}
	if len(p.problems) > before {
		p.spoil()
	}
}

// spoil remembers the names that the line would have declared.
func (p *parser) spoil() {
	p.file.spoilt[p.toks[0].text] = true // a fallback line, say
	for i := 0; i+1 < len(p.toks); i++ {
		a, b := p.toks[i], p.toks[i+1]
		if b.kind != tokWord {
			continue
		}
		if a.text == "as" || a.text == "field" || i > 0 && p.toks[i-1].text == "field" {
			p.file.spoilt[b.text] = true
		}
	}
}

func (p *parser) report(col int, found, expected, remedy string) {
	p.problems = append(p.problems, Problem{Name: p.spec, Line: p.line, Col: col,
		Found: found, Expected: expected, Remedy: remedy})
}

// fail reports the first mistake of a line and moves to its end.
func (p *parser) fail(t token, expected, remedy string) {
	p.failAs(t, t.found(), expected, remedy)
}

func (p *parser) failAs(t token, found, expected, remedy string) {
	if !p.failed {
		p.failed = true
		p.report(t.col, found, expected, remedy)
	}
	p.pos = len(p.toks) - 1
}

func (p *parser) peek() token { return p.toks[p.pos] }

func (p *parser) peekAt(n int) token { return p.toks[min(p.pos+n, len(p.toks)-1)] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

// accept takes the next token if it is the word or sign.
func (p *parser) accept(text string) bool {
	t := p.peek()
	if (t.kind == tokWord || t.kind == tokSign) && t.text == text {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(text, remedy string) {
	if !p.accept(text) {
		p.fail(p.peek(), text, remedy)
	}
}

func (p *parser) at(t token) word { return word{text: t.text, line: p.line, col: t.col} }

// word takes a word; what says what it should be.
func (p *parser) word(what, remedy string) word {
	t := p.peek()
	if t.kind != tokWord {
		p.fail(t, what, remedy)
		return p.at(t)
	}
	return p.at(p.next())
}

// oneOf takes one of the words.
func (p *parser) oneOf(words ...string) word {
	t := p.peek()
	for _, w := range words {
		if t.kind == tokWord && t.text == w {
			return p.at(p.next())
		}
	}
	remedy := ""
	if near := nearest(t.text, words); near != "" {
		remedy = "did you mean " + near + "?"
	}
	p.fail(t, strings.Join(words, " or "), remedy)
	return p.at(t)
}

func (p *parser) duration(example string) *setting {
	t := p.peek()
	if t.kind != tokDuration {
		remedy := ""
		if t.kind == tokNumber {
			if unit := p.peekAt(1); unit.kind == tokWord {
				remedy = "write the unit directly behind the number"
			} else {
				remedy = "give the unit: ms, s, m (minutes), h, d or w"
			}
		}
		p.fail(t, "a duration such as "+example, remedy)
		return &setting{at: p.at(t)}
	}
	p.pos++
	return &setting{value: t.ms, at: p.at(t)}
}

func (p *parser) number(what string) *setting {
	t := p.peek()
	if t.kind != tokNumber || t.num != float64(int64(t.num)) {
		p.fail(t, what, "")
		return &setting{at: p.at(t)}
	}
	p.pos++
	return &setting{value: int64(t.num), at: p.at(t)}
}

// end checks that nothing follows.
func (p *parser) end(expected string) {
	if t := p.peek(); t.kind != tokEnd {
		p.fail(t, expected, p.afterwards(t))
	}
}

// afterwards is the remedy for a token that cannot stand behind what was read.
func (p *parser) afterwards(t token) string {
	if p.pos > 0 {
		if before := p.toks[p.pos-1]; before.kind == tokWord && slices.Contains(functions(), before.text) {
			return "write " + before.text + "(...)"
		}
	}
	switch t.text {
	case ",":
		return "numbers are written without commas"
	case "over", "delay", "before", "where":
		if p.pos > 1 && p.toks[p.pos-2].text == "and" {
			return "fields keyed together are written customer × terminal"
		}
	}
	switch t.text {
	case "by", "over", "delay", "before", "where":
		return t.text + " belongs directly behind an aggregate such as count() or mean(amount)"
	case "=":
		return "comparisons are written =="
	case ")":
		return "there is no ( for it"
	}
	first := p.toks[0]
	if near := nearest(first.text, declarations); near != "" && near != first.text && p.peekAt(0).off == p.toks[1].off {
		return "did you mean " + strconv.Quote(near) + " at the start of the line?"
	}
	return ""
}
