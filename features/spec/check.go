package spec

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/weir-risk/weir/schemas"
)

// checker turns a file into a Spec and collects every mistake on the way.
type checker struct {
	file     *file
	spec     *Spec
	origin   string // the name given to Parse, for messages
	problems Problems

	symbols map[string]*symbol
	// byName holds the features; conditions says which of them are one.
	byName     map[string]int
	conditions []bool
	aggregates map[Aggregate]int
	predicates map[string]int
	entities   map[string]int
	zones      zoneFile
}

func (c *checker) report(at word, found, expected, remedy string) {
	c.problems = append(c.problems, Problem{Name: c.origin, Line: at.line, Col: at.col,
		Found: found, Expected: expected, Remedy: remedy})
}

// missing reports a line that a spec must have.
func (c *checker) missing(what, remedy string) {
	c.report(word{line: 1}, "no "+what, "one", remedy)
}

func quote(text string) string { return strconv.Quote(shorten(text)) }

// check resolves the file. The order of the steps is the order in which they
// need each other: fields before aggregates over them, names of features before
// where clauses that use them.
func (c *checker) check() {
	c.symbols = canonicalSymbols()
	c.byName = map[string]int{}
	c.aggregates, c.predicates, c.entities = map[Aggregate]int{}, map[string]int{}, map[string]int{}
	c.base()
	c.settings()
	c.fields()
	c.paths()
	c.types()
	c.lists()
	c.required()
	c.home()
	c.settleAll()
	c.nameFeatures()
	c.findConditions()
	c.features()
	c.rules()
	c.homeless()
	c.groups()
	c.circles()
}

func (c *checker) base() {
	base := defaultBase
	if c.file.base != nil {
		base = c.file.base.text
	}
	digits, ok := schemas.CurrencyDigits([]byte(base))
	if !ok {
		c.report(*c.file.base, quote(base), "a currency by its ISO 4217 letters, such as EUR", "")
	}
	c.spec.Base, c.spec.BaseDigits = base, digits
}

// settings takes the durations and sizes.
func (c *checker) settings() {
	s, f := c.spec, c.file
	s.LateMax = c.bounded(f.late, defaultLate, 0, MaxLate, formatDuration)
	s.FutureMax = c.bounded(f.future, defaultFuture, 0, MaxFuture, formatDuration)
	s.Maturity = c.bounded(f.maturity, defaultMaturity, minute, MaxMaturity, formatDuration)
	var dedup *setting
	if f.home != nil {
		dedup = f.home.dedup
	}
	s.DedupWindow = c.bounded(dedup, defaultDedup, minute, MaxDedup, formatDuration)
	plain := func(n int64) string { return strconv.FormatInt(n, 10) }
	s.Input.MaxBytes = int(c.bounded(f.maxBytes, defaultBytes, MinRecord, MaxRecord, plain))
	s.Input.MaxDepth = int(c.bounded(f.maxDepth, defaultDepth, MinDepth, MaxDepth, plain))
}

// bounded returns the value of a setting, or its default.
func (c *checker) bounded(s *setting, byDefault, least, most int64, format func(int64) string) int64 {
	if s == nil {
		return byDefault
	}
	if s.value < least || s.value > most {
		c.report(s.at, s.at.text, fmt.Sprintf("%s to %s", format(least), format(most)), "")
		return byDefault
	}
	return s.value
}

// types takes the mappings of types and statuses.
func (c *checker) types() {
	c.enum("type", c.file.types, typeNames, &c.spec.Input.Type)
	c.enum("status", c.file.statuses, statusNames, &c.spec.Input.Status)
}

// enum fills the values of a type or status: those of its lines, or, where
// there are none, weir's own names.
func (c *checker) enum(field string, lines []valuesDecl, names []string, into *EnumInput) {
	for i := range c.file.fields {
		if d := &c.file.fields[i]; d.name.text == field && d.name.line == c.symbols[field].line {
			into.Path = d.path
			for _, v := range []*word{d.constant, d.byRule} {
				if v != nil {
					into.Default = c.indexOf(*v, names, "a "+field)
				}
			}
		}
	}
	into.Values = map[string]uint8{}
	declared := map[string]int{}
	for _, d := range lines {
		if into.Path == nil && !c.file.spoilt[field] {
			c.report(d.name, "values of a field that is not read", "field "+field+" = $."+field,
				"add the line, or leave this one out")
			c.file.spoilt[field] = true
		}
		n := c.indexOf(d.name, names, "a "+field)
		for _, v := range d.values {
			if line := declared[v.text]; line > 0 {
				c.report(v, quote(v.text)+" again", "each value once", fmt.Sprintf("line %d has it", line))
				continue
			}
			declared[v.text] = v.line
			into.Values[v.text] = n
		}
	}
	if len(lines) == 0 && into.Path != nil {
		for i, name := range names {
			into.Values[name] = uint8(i)
		}
	}
}

// indexOf returns the number of a name, or 0 with a report.
func (c *checker) indexOf(w word, names []string, what string) uint8 {
	i := slices.Index(names, w.text)
	if i < 0 {
		c.report(w, quote(w.text), what, didYouMean(w.text, names))
		return 0
	}
	return uint8(i)
}

// lists takes the lines scored, labels and dlq.
func (c *checker) lists() {
	s := c.spec
	for _, t := range []schemas.TxType{schemas.Authorisation, schemas.Transfer, schemas.Payout} {
		s.Scored[t] = c.file.scored == nil
	}
	if d := c.file.scored; d != nil {
		for _, w := range d.names {
			t := c.indexOf(w, typeNames, "a transaction type")
			if schemas.TxType(t) == schemas.Reversal {
				c.report(w, "reversal", "types that can be scored", "a reversal undoes its original and is never scored")
			}
			s.Scored[t] = true
		}
	}
	s.Sources = defaultSources
	if d := c.file.labels; d != nil {
		c.sources(d)
	}
	s.Input.DLQ = true
	for _, t := range s.Input.Text {
		// A dead letter with its bytes would hold what the field keeps secret.
		s.Input.DLQ = s.Input.DLQ && !t.Secret
	}
	if c.file.dlq != nil {
		s.Input.DLQ = c.file.dlq.text == "bytes"
	}
}

func (c *checker) sources(d *listDecl) {
	var seen [schemas.NumLabelSources]bool
	n := 0
	for _, w := range d.names {
		before := len(c.problems)
		source := c.indexOf(w, sourceNames, "a source of labels")
		switch {
		case len(c.problems) > before:
			return
		case seen[source]:
			c.report(w, w.text+" again", "each source once", "")
			return
		}
		seen[source] = true
		c.spec.Sources[n] = schemas.LabelSource(source)
		n++
	}
	for source, ok := range seen {
		if !ok {
			c.report(d.at, "labels without "+sourceNames[source], "every source once",
				"add "+sourceNames[source]+" where it belongs in the order of precedence")
		}
	}
}

// required reports the lines that a spec must have.
func (c *checker) required() {
	for _, name := range []string{"id", "time", "amount"} {
		if !c.symbols[name].declared && !c.file.spoilt[name] {
			c.missing("field "+name, "add a line such as field "+name+" = $."+name)
			c.file.spoilt[name] = true
		}
	}
	if len(c.file.features) == 0 && len(c.file.spoilt) == 0 {
		c.missing("feature", "add a line such as amount")
	}
	if n := len(c.file.features); n > MaxFeatures {
		c.report(c.file.features[MaxFeatures].at, fmt.Sprintf("%d features", n), fmt.Sprintf("at most %d", MaxFeatures), "")
	}
	if n := len(c.file.rules); n > MaxRules {
		c.report(c.file.rules[MaxRules].action, fmt.Sprintf("%d fallback lines", n), fmt.Sprintf("at most %d", MaxRules), "")
	}
	if len(c.file.rules) == 0 && !c.file.spoilt["fallback"] {
		c.missing("fallback line", "add what is to happen when no model can score, such as fallback review when amount > 1000")
	}
}

// home makes the home entity the first one, so that its number does not hang on
// the order of the features.
func (c *checker) home() {
	c.spec.Home = -1
	d := c.file.home
	if d == nil {
		return
	}
	if ref, ok := c.key(d.entity); ok {
		c.spec.Home = c.entity([]string{d.entity.text}, []FieldRef{ref}, d.entity)
	}
}

// homeless reports aggregates of labels where there is no home entity.
func (c *checker) homeless() {
	if c.spec.Home >= 0 || c.file.home != nil || c.file.spoilt["home"] {
		return
	}
	for _, a := range c.spec.Aggregates {
		if aggregateRules[a.Fn].kind == kindLabels {
			c.report(word{line: a.Line, col: 1}, a.Fn.String()+" in a spec without home", "a home line",
				"add home customer, say: labels find their transaction through it")
			return
		}
	}
}

// validName says whether a feature or an own field may have the name.
func (c *checker) validName(w word, what string) bool {
	switch {
	case len(w.text) > MaxName:
		c.report(w, fmt.Sprintf("a name of %d letters", len(w.text)), fmt.Sprintf("at most %d", MaxName), "")
	case reserved[w.text] || slices.Contains(declarations, w.text):
		c.report(w, "the word "+w.text, "a name for "+what, "the language uses this word: choose another")
	default:
		return true
	}
	return false
}
