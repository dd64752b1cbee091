package spec

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// canonicalForm is the spec in its one form: every setting said, in one order,
// without comments. Two specs that mean the same have the same form, and its
// SHA-256 is the spec's hash, so nothing here may change from version to version.
func (c *checker) canonicalForm() []byte {
	var b bytes.Buffer
	s := c.spec
	if c.file.name != nil {
		fmt.Fprintf(&b, "spec %s\n", s.Name)
	}
	fmt.Fprintf(&b, "base %s\n", s.Base)
	c.formatFields(&b)
	formatValues(&b, "type", typeNames, &s.Input.Type)
	formatValues(&b, "status", statusNames, &s.Input.Status)
	var scored []string
	for t, ok := range s.Scored {
		if ok {
			scored = append(scored, typeNames[t])
		}
	}
	fmt.Fprintf(&b, "scored %s\n", strings.Join(scored, ", "))
	if s.Home >= 0 {
		fmt.Fprintf(&b, "home %s dedup %s\n", s.Entities[s.Home].Name, formatDuration(s.DedupWindow))
	}
	fmt.Fprintf(&b, "late %s\nfuture %s\nmaturity %s\n",
		formatDuration(s.LateMax), formatDuration(s.FutureMax), formatDuration(s.Maturity))
	var sources []string
	for _, source := range s.Sources {
		sources = append(sources, sourceNames[source])
	}
	fmt.Fprintf(&b, "labels %s\n", strings.Join(sources, ", "))
	letters := "reference"
	if s.Input.DLQ {
		letters = "bytes"
	}
	fmt.Fprintf(&b, "dlq %s\nmax_bytes %d\nmax_depth %d\n\n", letters, s.Input.MaxBytes, s.Input.MaxDepth)
	for i, f := range s.Features {
		b.WriteString(f.Text)
		if f.Name != c.file.features[i].expr.slug() {
			b.WriteString(" as " + f.Name)
		}
		if f.Group != c.derivedGroup(f.Expr) {
			b.WriteString(" in group " + formatString(f.Group))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	for _, r := range s.Fallback {
		fmt.Fprintf(&b, "fallback %s\n", r.Text)
	}
	return b.Bytes()
}

// formatFields writes the field lines: the canonical fields in their order, then
// the bank's own in the order of the spec.
func (c *checker) formatFields(b *bytes.Buffer) {
	in := &c.spec.Input
	for f, t := range in.Text {
		if t.Path == nil && t.Constant == "" {
			continue
		}
		fmt.Fprintf(b, "field %s = ", canonicalText[f].name)
		switch {
		case t.Path == nil:
			b.WriteString(formatString(t.Constant))
		case t.Constant != "":
			b.WriteString(formatPath(t.Path) + " default " + formatString(t.Constant))
		default:
			b.WriteString(formatPath(t.Path))
		}
		if t.Secret {
			b.WriteString(" secret")
		}
		if t.KeepBIN {
			b.WriteString(" keep bin")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "field time = %s as %s\n", formatPath(in.Time.Path), formNames[in.Time.Form])
	unit := "decimal"
	if in.Amount.Minor {
		unit = "minor"
	}
	fmt.Fprintf(b, "field amount = %s %s\n", formatPath(in.Amount.Path), unit)
	for _, e := range []struct {
		name  string
		names []string
		in    *EnumInput
	}{{"type", typeNames, &in.Type}, {"status", statusNames, &in.Status}} {
		switch {
		case e.in.Path != nil:
			fmt.Fprintf(b, "field %s = %s default %s\n", e.name, formatPath(e.in.Path), e.names[e.in.Default])
		case c.symbols[e.name].declared:
			fmt.Fprintf(b, "field %s = %s\n", e.name, e.names[e.in.Default])
		}
	}
	for _, f := range in.OwnText {
		fmt.Fprintf(b, "field text %s = %s\n", f.Name, formatPath(f.Path))
	}
	for _, f := range in.OwnNumber {
		fmt.Fprintf(b, "field number %s = %s\n", f.Name, formatPath(f.Path))
	}
}

// formatValues writes the mapping of a type or status, values sorted.
func formatValues(b *bytes.Buffer, field string, names []string, in *EnumInput) {
	for n, name := range names {
		var values []string
		for text, v := range in.Values {
			if int(v) == n {
				values = append(values, formatString(text))
			}
		}
		if slices.Sort(values); len(values) > 0 {
			fmt.Fprintf(b, "%s %s = %s\n", field, name, strings.Join(values, ", "))
		}
	}
}

func formatString(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func formatPath(path []string) string {
	b := "$"
	for _, key := range path {
		plain := key != ""
		for i := range len(key) {
			plain = plain && (isLetter(key[i]) || isDigit(key[i]) || key[i] == '-')
		}
		if plain {
			b += "." + key
		} else {
			b += "[" + formatString(key) + "]"
		}
	}
	return b
}

// formatDuration writes milliseconds in the largest unit up to days that divides
// them.
func formatDuration(ms int64) string {
	for _, u := range []struct {
		ms   int64
		name string
	}{{day, "d"}, {hour, "h"}, {minute, "m"}, {second, "s"}} {
		if ms >= u.ms && ms%u.ms == 0 {
			return strconv.FormatInt(ms/u.ms, 10) + u.name
		}
	}
	if ms == 0 {
		return "0s"
	}
	return strconv.FormatInt(ms, 10) + "ms"
}

func formatNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

var opSigns = map[Op]string{OpAdd: "+", OpSub: "-", OpMul: "*", OpDiv: "/", OpLT: "<", OpLE: "<=",
	OpGT: ">", OpGE: ">=", OpEQ: "==", OpNE: "!=", OpAnd: "and", OpOr: "or"}

// How tightly things bind, loosest first.
const (
	bindWhere = iota // an aggregate with a where clause reaches to the right
	bindOr
	bindAnd
	bindNot
	bindCompare
	bindSum
	bindProduct
	bindMinus
	bindTerm
)

func (n *node) binding() int {
	switch n.kind {
	case nodeNot:
		return bindNot
	case nodeMinus:
		return bindMinus
	case nodeCall:
		if n.clauses != nil && n.clauses.where != nil {
			return bindWhere
		}
	case nodeBinary:
		switch n.op {
		case OpOr:
			return bindOr
		case OpAnd:
			return bindAnd
		case OpAdd, OpSub:
			return bindSum
		case OpMul, OpDiv:
			return bindProduct
		}
		return bindCompare
	}
	return bindTerm
}

// print is the canonical text of an expression.
func (n *node) print() string {
	var b strings.Builder
	n.write(&b, bindWhere)
	return b.String()
}

// write writes n, in parentheses where it binds more loosely than least.
func (n *node) write(b *strings.Builder, least int) {
	bind := n.binding()
	if bind < least {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch n.kind {
	case nodeNumber:
		b.WriteString(formatNumber(n.num))
	case nodeString:
		b.WriteString(formatString(n.text))
	case nodeName:
		b.WriteString(n.text)
	case nodeNot:
		b.WriteString("not ")
		n.args[0].write(b, bindNot)
	case nodeMinus:
		b.WriteByte('-')
		n.args[0].write(b, bindTerm)
	case nodeCall:
		n.writeCall(b)
	case nodeBinary:
		left := bind
		if bind == bindCompare {
			left++ // comparisons do not chain
		}
		n.args[0].write(b, left)
		b.WriteString(" " + opSigns[n.op] + " ")
		n.args[1].write(b, bind+1)
	}
}

func (n *node) writeCall(b *strings.Builder) {
	b.WriteString(n.text + "(")
	for i, a := range n.args {
		if i > 0 {
			b.WriteString(", ")
		}
		a.write(b, bindWhere)
	}
	switch {
	case n.zone != nil && n.zone.text != "UTC":
		b.WriteString("time, " + n.zone.text)
	case slices.Contains(calendar, n.text):
		b.WriteString("time")
	}
	b.WriteByte(')')
	cl := n.clauses
	if cl == nil {
		return
	}
	for i, w := range cl.by {
		b.WriteString([2]string{" by ", " × "}[min(i, 1)] + w.text)
	}
	for _, t := range cl.tail(false) {
		b.WriteString(" " + t)
	}
	if cl.where != nil {
		b.WriteString(" where ")
		cl.where.write(b, bindWhere)
	}
}

// Format is the spec's canonical text; it parses to an equal spec.
func (s *Spec) Format() []byte { return bytes.Clone(s.canonical) }

// Groups are the distinct groups of the features in the order in which they
// first appear, at most [MaxGroups].
func (s *Spec) Groups() []string {
	var names []string
	for _, f := range s.Features {
		if !slices.Contains(names, f.Group) {
			names = append(names, f.Group)
		}
	}
	return names
}

// FeatureNames returns the names of the features in spec order: the columns of a
// vector.
func (s *Spec) FeatureNames() []string {
	names := make([]string, len(s.Features))
	for i := range names {
		names[i] = s.Features[i].Name
	}
	return names
}

// FieldName is the name of a field as the spec writes it.
func (s *Spec) FieldName(f FieldRef) string {
	switch f.Kind {
	case TextRef:
		if f.Text < schemas.NumText {
			return canonicalText[f.Text].name
		}
	case OwnTextRef:
		return s.Input.OwnText[f.Index].Name
	case OwnNumberRef:
		return s.Input.OwnNumber[f.Index].Name
	case AmountRef:
		return "amount"
	case TimeRef:
		return "time"
	case TypeRef:
		return "type"
	case StatusRef:
		return "status"
	}
	return ""
}
