package spec

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected results in testdata anew")

// good are the texts that must parse: the built-in specs and testdata.
func good(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.good.spec")
	if err != nil || len(names) == 0 {
		t.Fatalf("find good specs: %d, %v", len(names), err)
	}
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = text
	}
	for _, name := range BuiltinNames() {
		texts[name] = BuiltinText(name)
	}
	return texts
}

// TestParseSuccess compares what good specs come to with a file beside them.
func TestParseSuccess(t *testing.T) {
	for name, text := range good(t) {
		s, err := Parse(name, text)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		file := strings.TrimSuffix(filepath.Join("testdata", filepath.Base(name)), ".good.spec") + ".golden"
		expect(t, file, describe(s))
	}
}

func expect(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("%s:%d:\nwant %s\ngot  %s", file, i+1, a[i], b[i])
			}
		}
		t.Fatalf("%s: want %d lines, got %d", file, len(a), len(b))
	}
}

// describe is the canonical text and what it was compiled to.
func describe(s *Spec) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nhash %x\n\n", s.Format(), s.Hash)
	for i, e := range s.Entities {
		fmt.Fprintf(&b, "entity %d %s\n", i, e.Name)
	}
	for i, a := range s.Aggregates {
		fmt.Fprintf(&b, "aggregate %d %v(%s) entity %d window %d delay %d before %v where %d\n",
			i, a.Fn, argName(s, a), a.Entity, a.Window, a.Delay, a.Before, a.Where)
	}
	for i, p := range s.Predicates {
		fmt.Fprintf(&b, "predicate %d %s\n", i, lisp(s, p.Cond))
	}
	for i, f := range s.Features {
		fmt.Fprintf(&b, "feature %d %s (%s) %s\n", i, f.Name, f.Group, lisp(s, f.Expr))
	}
	for _, r := range s.Fallback {
		fmt.Fprintf(&b, "fallback %s %s\n", actionNames[r.Action], lisp(s, r.Cond))
	}
	return b.Bytes()
}

func argName(s *Spec, a Aggregate) string {
	if !a.HasArg {
		return ""
	}
	return s.FieldName(a.Arg)
}

// lisp writes what an expression was compiled to.
func lisp(s *Spec, e *Expr) string {
	switch e.Op {
	case OpConst:
		return formatNumber(e.Num)
	case OpField:
		return s.FieldName(e.Field)
	case OpTextEq, OpTextNe:
		return fmt.Sprintf("(%s%s %q %v)", s.FieldName(e.Field), [2]string{"=", "!"}[e.Op-OpTextEq], e.Str, e.Num)
	case OpAgg:
		return fmt.Sprintf("agg%d", e.Index)
	case OpFeature:
		return s.Features[e.Index].Name
	case OpHour, OpWeekday, OpDay:
		zone := e.Zone
		if zone == "" {
			zone = s.FieldName(e.ZoneField)
		}
		return fmt.Sprintf("%s[%s]", map[Op]string{OpHour: "hour", OpWeekday: "weekday", OpDay: "day"}[e.Op], zone)
	}
	sign := map[Op]string{OpLog: "log", OpMin: "min", OpMax: "max", OpNot: "not"}[e.Op] + opSigns[e.Op]
	for _, a := range e.Args {
		sign += " " + lisp(s, a)
	}
	return "(" + sign + ")"
}

// TestFormatRoundTrip: the canonical text means the same, and is its own
// canonical text.
func TestFormatRoundTrip(t *testing.T) {
	for name, text := range good(t) {
		a, err := parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, a)
	}
}

func checkRoundTrip(t *testing.T, a *Spec) {
	t.Helper()
	b, err := parse(a.Name, a.Format())
	if err != nil {
		t.Fatalf("canonical text does not parse: %v\n%s", err, a.Format())
	}
	if a.Hash != b.Hash || !bytes.Equal(a.Format(), b.Format()) {
		t.Fatalf("canonical text is not its own: %s\nand:\n%s", a.Format(), b.Format())
	}
	if len(a.zones) != len(b.zones) {
		t.Fatalf("zones: %d and %d", len(a.zones), len(b.zones))
	}
	for _, s := range []*Spec{a, b} {
		forgetPlaces(s)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("canonical text means something else:\n%s\nand:\n%s", describe(a), describe(b))
	}
}

// forgetPlaces takes out what only says where something stood in the text.
func forgetPlaces(s *Spec) {
	s.Text, s.zones = nil, nil
	clean := func(e *Expr) { e.Line, e.Col, e.Rules = 0, 0, nil }
	for i := range s.Features {
		s.Features[i].Line = 0
		s.Features[i].Expr.walk(clean)
	}
	for i := range s.Predicates {
		s.Predicates[i].Cond.walk(clean)
	}
	for i := range s.Fallback {
		s.Fallback[i].Line = 0
		s.Fallback[i].Cond.walk(clean)
	}
	for i := range s.Aggregates {
		s.Aggregates[i].Line = 0
	}
	for _, own := range [][]OwnField{s.Input.OwnText, s.Input.OwnNumber} {
		for i := range own {
			own[i].Line = 0
		}
	}
}

// must are the lines that a spec must have, by what "without" calls them.
var must = []struct{ name, line string }{
	{"id", "field id = $.id"},
	{"time", "field time = $.time"},
	{"amount", "field amount = $.amount"},
	{"customer", "field customer = $.customer"},
	{"terminal", "field terminal = $.terminal"},
	{"card", "field card = $.card secret"},
	{"channel", "field channel = $.channel"},
	{"feature", "amount + 1 as one_feature"},
	{"fallback", "fallback review when amount > 1000"},
}

// TestParseFailure goes through testdata/bad.txt.
func TestParseFailure(t *testing.T) {
	const file = "testdata/bad.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "\ncase ")
	out, names := blocks[0], map[string]bool{}
	for _, block := range blocks[1:] {
		head, rest, _ := strings.Cut(block, "\n")
		text, _, ok := strings.Cut(rest, "----\n")
		name, without, _ := strings.Cut(head, " without ")
		if !ok || names[head] {
			t.Fatalf("%s: case %s has no ---- or the name of another", file, name)
		}
		names[head] = true
		out += "\ncase " + head + "\n" + text + "----\n"
		for _, m := range must {
			if without != "all" && !slices.Contains(strings.Fields(without), m.name) {
				text += m.line + "\n"
			}
		}
		_, err := Parse("bad", []byte(text))
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: case %s: want problems, got %v", file, name, err)
		}
		for _, p := range problems {
			out += strings.TrimPrefix(p.Error(), "bad:") + "\n"
		}
	}
	if len(names) < 40 {
		t.Errorf("%s has %d cases", file, len(names))
	}
	expect(t, file, []byte(out))
}

// TestEveryProblemSaysWhatWasExpected holds the form of messages: a place inside
// the text, and both halves.
func TestEveryProblemSaysWhatWasExpected(t *testing.T) {
	data, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^[0-9]+:[0-9]+: found .+, expected .+`)
	for block := range strings.SplitSeq(string(data), "----\n") {
		problems, _, _ := strings.Cut(block, "\ncase ")
		for line := range strings.SplitSeq(strings.TrimSpace(problems), "\n") {
			if line != "" && line[0] != '#' && !form.MatchString(line) {
				t.Errorf("odd message: %s", line)
			}
		}
	}
}
