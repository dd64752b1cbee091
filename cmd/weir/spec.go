package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/weir-risk/weir/features/spec"
)

var specCommand = &command{
	name: "spec", args: "list | show NAME", summary: "list the built-in feature specs, or print one to begin from",
	about: `A spec says what a bank's records look like, what behaviour is kept, and what the
model sees, one line each. show prints a built-in one with its comments; --canonical
prints the one form of it, or of a FILE, that its hash is of. weir score --help says how
a ledger goes on by another spec; comments and spacing make no other one.`,
	examples: []string{
		"weir spec list",
		"weir spec show payments > bank.spec",
		"weir spec show --canonical bank.spec",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		canonical := fs.Bool("canonical", false, "print the canonical form, without comments")
		return func(_ context.Context, e *env, args []string) error {
			switch {
			case len(args) == 1 && args[0] == "list":
				return listSpecs(e)
			case len(args) == 2 && args[0] == "show":
				return showSpec(e, args[1], *canonical)
			}
			return usagef("weir spec list, or weir spec show NAME")
		}
	},
}

func listSpecs(e *env) error {
	for _, name := range spec.BuiltinNames() {
		s, _ := spec.Builtin(name)
		e.printf("%-14s %3d features  %s\n", name, len(s.Features), firstSentence(s.Text))
	}
	return nil
}

// firstSentence is what a spec's comment at the top says first.
func firstSentence(text []byte) string {
	var words []string
	for line := range strings.Lines(string(text)) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(comment)...)
	}
	sentence, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	sentence, _, _ = strings.Cut(sentence, ": ")
	return strings.TrimSuffix(sentence, ".")
}

func showSpec(e *env, name string, canonical bool) error {
	text := spec.BuiltinText(name)
	if canonical {
		s, err := loadSpec(name)
		if err != nil {
			return err
		}
		text = s.Format()
	}
	if text == nil {
		return usagef("no spec called %q is built in (%s); --canonical prints that of a file", name, strings.Join(spec.BuiltinNames(), ", "))
	}
	_, err := fmt.Fprintf(e.stdout, "%s", text)
	return err
}
