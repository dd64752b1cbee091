package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// canonicalText are the canonical text fields in the order of their columns.
// plain ones cannot be secret: labels, amounts and rules need them as they are.
var canonicalText = [schemas.NumText]struct {
	name  string
	plain bool
}{
	schemas.ID:           {"id", true},
	schemas.OriginalID:   {"original_id", true},
	schemas.Currency:     {"currency", true},
	schemas.Card:         {"card", false},
	schemas.Customer:     {"customer", false},
	schemas.Account:      {"account", false},
	schemas.Counterparty: {"counterparty", false},
	schemas.Merchant:     {"merchant", false},
	schemas.MCC:          {"mcc", true},
	schemas.Terminal:     {"terminal", false},
	schemas.Country:      {"country", true},
	schemas.Channel:      {"channel", true},
	schemas.EntryMode:    {"entry_mode", true},
	schemas.Device:       {"device", false},
	schemas.IP:           {"ip", false},
}

// The names of enumerations, in the order of their numbers.
var (
	typeNames   = []string{"authorisation", "capture", "reversal", "refund", "transfer", "payout"}
	statusNames = []string{"unknown", "approved", "declined"}
	sourceNames = []string{"chargeback", "issuer_report", "customer_report", "analyst", "default"}
	actionNames = []string{"allow", "review", "block"}
	formNames   = []string{"rfc3339", "s", "ms", "us"}
)

// defaultSources puts what the bank's own analysts found out before what others
// report, because they saw the case.
var defaultSources = [schemas.NumLabelSources]schemas.LabelSource{
	schemas.Analyst, schemas.Chargeback, schemas.IssuerReport, schemas.CustomerReport, schemas.DefaultLabel}

// symbol is what the name of a field stands for.
type symbol struct {
	ref      FieldRef
	declared bool
	secret   bool
	line     int
}

func (s *symbol) isText() bool   { return s.ref.Kind == TextRef || s.ref.Kind == OwnTextRef }
func (s *symbol) isEnum() bool   { return s.ref.Kind == TypeRef || s.ref.Kind == StatusRef }
func (s *symbol) isNumber() bool { return s.ref.Kind == OwnNumberRef || s.ref.Kind == AmountRef }

// kind is what the field holds, in words.
func (s *symbol) kind() string {
	switch {
	case s.isText():
		return "a text"
	case s.isEnum():
		return "a type or status"
	case s.isNumber():
		return "a number"
	}
	return "a time"
}

// canonicalSymbols are the symbols of every spec.
func canonicalSymbols() map[string]*symbol {
	m := map[string]*symbol{
		"time":   {ref: FieldRef{Kind: TimeRef}},
		"amount": {ref: FieldRef{Kind: AmountRef}},
		"type":   {ref: FieldRef{Kind: TypeRef}},
		"status": {ref: FieldRef{Kind: StatusRef}},
	}
	for f, t := range canonicalText {
		m[t.name] = &symbol{ref: FieldRef{Kind: TextRef, Text: schemas.TextField(f)}}
	}
	return m
}

// fieldNames are the names of fields for which keep holds, sorted.
func (c *checker) fieldNames(keep func(*symbol) bool) []string {
	var names []string
	for name, s := range c.symbols {
		if keep(s) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fields checks the field lines and fills the input.
func (c *checker) fields() {
	for i := range c.file.fields {
		d := &c.file.fields[i]
		s := c.declare(d)
		if s == nil {
			continue
		}
		switch s.ref.Kind {
		case TextRef:
			c.textField(d, s)
		case TimeRef:
			c.allow(d, "as")
			c.spec.Input.Time.Path = c.path(d)
			if d.form != nil {
				c.spec.Input.Time.Form = TimeForm(slices.Index(formNames, d.form.text))
			}
		case AmountRef:
			c.allow(d, "decimal", "minor")
			c.spec.Input.Amount = AmountInput{Path: c.path(d), Minor: d.unit != nil && d.unit.text == "minor"}
		case TypeRef, StatusRef:
			c.allow(d, "default") // enums checks them, with their values
		default:
			c.allow(d)
			c.path(d)
		}
	}
	if c.symbols["currency"].declared || c.file.spoilt["currency"] {
		return
	}
	// Without a currency field every amount is in the base currency.
	c.spec.Input.Text[schemas.Currency].Constant = c.spec.Base
}

// declare enters the field into the symbols; nil where it cannot be.
func (c *checker) declare(d *fieldDecl) *symbol {
	s := c.symbols[d.name.text]
	switch {
	case s != nil && s.declared:
		c.report(d.name, "a second field "+d.name.text, "one",
			fmt.Sprintf("the first is on line %d: leave out one of them", s.line))
		return nil
	case s != nil && d.own != "":
		c.report(d.name, "the canonical field "+d.name.text, "a name of your own",
			fmt.Sprintf("write field %s = ..., without the word %s", d.name.text, d.own))
		return nil
	case s == nil && d.own == "":
		near := nearest(d.name.text, c.fieldNames(func(*symbol) bool { return true }))
		remedy := "write field text " + d.name.text + " = ... or field number " + d.name.text + " = ... for a field of your own"
		if near != "" {
			remedy = "did you mean " + near + "? " + remedy
		}
		c.file.spoilt[d.name.text] = true
		c.report(d.name, "the field "+shorten(d.name.text), "a canonical field", remedy)
		return nil
	case s == nil:
		if s = c.ownField(d); s == nil {
			return nil
		}
	}
	s.declared, s.line = true, d.name.line
	return s
}

// ownField makes the symbol of a field of the bank's own.
func (c *checker) ownField(d *fieldDecl) *symbol {
	in := &c.spec.Input
	if !c.validName(d.name, "a field") {
		c.file.spoilt[d.name.text] = true
		return nil
	}
	own, most, kind := &in.OwnText, MaxOwnText, OwnTextRef
	if d.own == "number" {
		own, most, kind = &in.OwnNumber, MaxOwnNumber, OwnNumberRef
	}
	if len(*own) == most {
		c.report(d.name, fmt.Sprintf("a field %s beyond the limit", d.own), fmt.Sprintf("at most %d", most), "")
		c.file.spoilt[d.name.text] = true
		return nil
	}
	s := &symbol{ref: FieldRef{Kind: kind, Index: len(*own)}}
	*own = append(*own, OwnField{Name: d.name.text, Path: d.path, Line: d.name.line})
	c.symbols[d.name.text] = s
	return s
}

// textField fills a canonical text field.
func (c *checker) textField(d *fieldDecl, s *symbol) {
	f := s.ref.Text
	in := &c.spec.Input.Text[f]
	if f == schemas.ID {
		c.allow(d)
		in.Path = c.path(d)
		return
	}
	c.allow(d, "default", "secret", "keep bin")
	in.Path = d.path
	value := d.byRule
	if d.constant != nil {
		value = d.constant
		if d.byRule != nil {
			c.report(*d.byRule, "a default of a field that is always "+shorten(d.source.text), "a path", "")
		}
		if !strings.HasPrefix(d.source.text, `"`) {
			c.report(d.source, quote(d.source.text), "a JSON path, or a text in quotes",
				"write $."+d.source.text+" for a key of the record")
		}
	}
	if value != nil {
		in.Constant = value.text
		if _, ok := schemas.CurrencyDigits([]byte(value.text)); f == schemas.Currency && !ok {
			c.report(*value, quote(value.text), "a currency by its ISO 4217 letters, such as EUR", "")
		} else if value.text == "" {
			c.report(*value, "an empty text", "a value", "")
		}
	}
	c.secret(d, s, in)
}

// secret checks and sets the options secret and keep bin.
func (c *checker) secret(d *fieldDecl, s *symbol, in *TextInput) {
	if d.keep != nil && d.secret == nil {
		c.report(*d.keep, "keep bin without secret", "secret keep bin", "a field that is not secret is kept whole")
	}
	if d.keep != nil && s.ref.Text != schemas.Card {
		c.report(*d.keep, "keep bin for "+d.name.text, "it for card only", "other numbers have no first six and last four digits to keep")
	}
	if d.secret == nil {
		return
	}
	if canonicalText[s.ref.Text].plain {
		c.report(*d.secret, "secret for "+d.name.text, "it for a field that names a person, a card, an account or a device",
			"leave out secret: "+d.name.text+" has to stay readable")
		return
	}
	if in.Constant != "" {
		c.report(*d.secret, "secret for a field with a value in the spec", "a path without default", "")
	}
	in.Secret, in.KeepBIN, s.secret = true, d.keep != nil, true
}

// path returns the path of a field that must have one.
func (c *checker) path(d *fieldDecl) []string {
	if d.path == nil {
		c.report(d.source, shorten(d.source.text), "a JSON path such as $."+d.name.text, "")
	}
	return d.path
}

// allow reports the options of d that are not among names.
func (c *checker) allow(d *fieldDecl, names ...string) {
	for _, o := range []struct {
		name string
		at   *word
	}{{"as", d.form}, {"decimal", d.unit}, {"default", d.byRule}, {"secret", d.secret}, {"keep bin", d.keep}} {
		if o.at != nil && !slices.Contains(names, o.name) {
			expected := "nothing behind the path"
			if len(names) > 0 {
				expected = strings.Join(names, " or ")
			}
			name := o.name
			if o.at == d.unit {
				name = d.unit.text
			}
			c.report(*o.at, name+" for the field "+d.name.text, expected, "")
		}
	}
}

// paths checks that no value of the record is read twice, and that no field is
// read inside another: the decoder takes each value once, and a secret read a
// second time would not be one.
func (c *checker) paths() {
	fields := c.file.fields
	for i := range fields {
		for j := range i {
			a, b := fields[j], fields[i]
			n := min(len(a.path), len(b.path))
			if n == 0 || !slices.Equal(a.path[:n], b.path[:n]) {
				continue
			}
			remedy := fmt.Sprintf("field %s on line %d reads it", a.name.text, a.name.line)
			if len(a.path) != len(b.path) {
				remedy = fmt.Sprintf("field %s on line %d reads %s, so one of them is an object and no value",
					a.name.text, a.name.line, formatPath(a.path))
			}
			c.report(b.source, "the path "+formatPath(b.path)+" again", "each value of the record in one field", remedy)
			break
		}
	}
	for _, d := range fields {
		if len(d.path) > c.spec.Input.MaxDepth {
			c.report(d.source, fmt.Sprintf("a path of %d keys", len(d.path)),
				fmt.Sprintf("at most max_depth, %d", c.spec.Input.MaxDepth), "raise max_depth")
		}
	}
}
