package main

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestParse takes flags before, between and behind names.
func TestParse(t *testing.T) {
	f := func(line string, a string, b bool, rest ...string) {
		t.Helper()
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		gotA, gotB := fs.String("a", "", ""), fs.Bool("b", false, "")
		got, err := parse(fs, strings.Fields(line))
		if err != nil || *gotA != a || *gotB != b || !slices.Equal(got, rest) {
			t.Errorf("%s: a %q, b %v, rest %q, %v", line, *gotA, *gotB, got, err)
		}
	}
	f("", "", false)
	f("x y", "", false, "x", "y")
	f("--a 1 x -b y", "1", true, "x", "y")
	f("x --a=1", "1", false, "x")
	f("- x --b", "", true, "-", "x")
	f("x -- --b -- y", "", false, "x", "--b", "--", "y")
}

// TestHelp holds every command to a summary, an explanation and an example that
// begins with its name, and the overview to all of them.
func TestHelp(t *testing.T) {
	all := call(t, "--help").succeeds(t).stdout
	for _, c := range commands() {
		text := call(t, append(strings.Fields(c.name), "--help")...).succeeds(t).stdout
		if !strings.HasPrefix(text, "weir "+c.name+": ") || c.summary == "" || strings.TrimSpace(c.about) == "" || len(c.examples) == 0 && !c.hidden {
			t.Errorf("%s has no summary, explanation or example:\n%s", c.name, text)
		}
		for _, x := range c.examples {
			if !strings.HasPrefix(x, "weir "+c.name) {
				t.Errorf("%s: the example %q is of something else", c.name, x)
			}
		}
		for n, line := range strings.Split(text, "\n") {
			if len([]rune(line)) > 130 {
				t.Errorf("%s --help, line %d has %d characters", c.name, n+1, len([]rune(line)))
			}
		}
		if !c.hidden && !strings.Contains(all, "  "+c.name+" ") {
			t.Errorf("the overview does not list %s", c.name)
		}
	}
	if !strings.Contains(all, "exits with") {
		t.Error("the overview does not say how commands exit")
	}
	call(t, "nothing").fails(t, exitUsage, `"nothing"`, "weir --help")
	call(t, "tail", "--nothing").fails(t, exitUsage, "defined: --nothing", "weir tail --help")
	call(t, "tail", "--count", "x").fails(t, exitUsage, "flag --count")
	if call(t, "help", "tail").succeeds(t).stdout != call(t, "tail", "-h").succeeds(t).stdout {
		t.Error("weir help tail and weir tail -h differ")
	}
}
