package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runbookFolder has a page for each alert; deploy/rules holds the two to each other.
const runbookFolder = "../../deploy/runbooks"

// inTicks finds the commands of weir that a page quotes.
var inTicks = regexp.MustCompile("`(weir [^`]+)`")

// parses reports whether a command line is one of weir's: its command and its flags are
// there, and what they are given can be read.
func parses(line string) error {
	words := strings.Fields(line)[1:]
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(words) < len(name) || !slices.Equal(words[:len(name)], name) {
			continue
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		c.flags(fs)
		fs.Bool("json", false, "")
		rest, err := parse(fs, words[len(name):])
		if err == flag.ErrHelp {
			return nil
		}
		if err == nil && c.args == "" && len(rest) > 0 {
			err = usagef("%q is not expected", rest[0])
		}
		return err
	}
	return usagef("there is no command %q", words[0])
}

// TestRunbooksQuoteCommandsThatThereAre parses every command of every page, and finds
// every metric and every alert that a page names.
func TestRunbooksQuoteCommandsThatThereAre(t *testing.T) {
	for _, bad := range []string{"weir stauts", "weir health --redy", "weir health now", "weir tail transactions --count many"} {
		if parses(bad) == nil {
			t.Fatalf("%q is taken", bad)
		}
	}
	pages, err := filepath.Glob(runbookFolder + "/*.md")
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	all, lines := listedMetrics(t), 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTicks.FindAllStringSubmatch(string(text), -1) {
			lines++
			if err := parses(m[1]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
			}
		}
		for _, name := range regexp.MustCompile(`\bweir_\w+`).FindAllString(string(text), -1) {
			if _, ok := all[name]; !ok {
				t.Errorf("%s: weir exports no %s", filepath.Base(page), name)
			}
		}
		for _, name := range regexp.MustCompile(`\bWeir[A-Z]\w+`).FindAllString(string(text), -1) {
			if !slices.Contains(pages, filepath.Join(runbookFolder, name+".md")) {
				t.Errorf("%s: there is no alert %s", filepath.Base(page), name)
			}
		}
	}
	if lines < 40 {
		t.Errorf("only %d commands were found", lines)
	}
}
