package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

// The exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1 // it did not work, or what was checked is wrong
	exitUsage  = 2 // the command line is wrong
)

// errFound ends a command with exit code 1 after it has said itself what is
// wrong.
var errFound = errors.New("something is wrong")

// exitCode ends a command with another exit code of its own, after it has said
// itself what that means.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a mistake on the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, a ...any) error { return usageError{fmt.Sprintf(format, a...)} }

// env is the world of a command: its streams and its environment. Tests make
// one of buffers.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
	environ        []string // all of it, NAME=TEXT
	tty            bool     // whether stderr is a terminal: progress bars are drawn
	json           bool     // --json

	config *configuration // nil where a command has none
	level  *slog.LevelVar // of the log, nil before there is one
}

func newEnv(stdin, stdout, stderr *os.File, lookup func(string) (string, bool)) *env {
	return &env{stdin: stdin, stdout: stdout, stderr: stderr, lookup: lookup, environ: os.Environ(), tty: term.IsTerminal(int(stderr.Fd()))}
}

// variable returns a variable of the environment, "" where there is none.
func (e *env) variable(name string) string {
	if e.lookup == nil {
		return ""
	}
	text, _ := e.lookup(name)
	return text
}

func (e *env) printf(format string, a ...any) { fmt.Fprintf(e.stdout, format, a...) }

// report prints v as the last line of a command that was asked for --json.
func (e *env) report(v any) error {
	if !e.json {
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", line)
	return err
}

// A command is one subcommand of weir.
type command struct {
	name     string // a second word names one kind of what the first does
	args     string // what follows the flags in the usage line, "" for nothing
	summary  string // one line
	about    string // a paragraph or two, more than the summary says
	examples []string
	hidden   bool // of no use to people: weir starts itself with it
	json     bool // whether it reports, and so takes --json
	// flags declares the command's flags on fs and returns what runs it once
	// they are parsed; args is what follows them.
	flags func(fs *flag.FlagSet) func(ctx context.Context, e *env, args []string) error
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, e *env) int {
	if len(args) == 0 || args[0] == "help" && len(args) == 1 || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprint(e.stdout, overview())
		return exitOK
	}
	if args[0] == "help" {
		args = append(args[1:len(args):len(args)], "--help")
	}
	if args[0] == "--version" {
		args = []string{"version"}
	}
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(args) >= len(name) && slices.Equal(args[:len(name)], name) {
			return c.run(ctx, args[len(name):], e)
		}
	}
	fmt.Fprintf(e.stderr, "weir: there is no command %s; weir --help lists them\n", config.Quoted(args[0]))
	return exitUsage
}

func (c *command) run(ctx context.Context, args []string, e *env) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := c.flags(fs)
	if c.json {
		fs.BoolVar(&e.json, "json", false, "end with one line of JSON on stdout")
	}
	var configFile string
	if e.config = bind(c.name, fs); e.config != nil {
		fs.StringVar(&configFile, "config", "", configUsage)
		e.config.again = func() (*configuration, error) {
			fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			c.flags(fs)
			next := bind(c.name, fs)
			fs.String("config", "", "")
			if c.json {
				fs.Bool("json", false, "")
			}
			_, err := parse(fs, args)
			return next, err
		}
	}
	rest, err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(e.stdout, c.help(fs, e.config))
		return exitOK
	case err != nil:
		err = usageError{twoDashes.ReplaceAllString(err.Error(), "$1 --")}
	case c.args == "" && len(rest) > 0:
		err = usagef("%s is not expected; flags begin with --", config.Quoted(rest[0]))
	default:
		if err = e.config.apply(e, configFile); err == nil {
			err = f(ctx, e, rest)
		}
	}
	var usage usageError
	var own exitCode
	switch {
	case err == nil, errors.Is(err, errStopped):
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	case errors.As(err, &own):
		return int(own)
	case errors.As(err, &usage):
		fmt.Fprintf(e.stderr, "weir %s: %v\nweir %s --help says how it is used\n", c.name, err, c.name)
		return exitUsage
	}
	fmt.Fprintf(e.stderr, "weir %s: %v\n", c.name, err)
	return exitFailed
}

// twoDashes finds the one dash by which package flag names a flag in its errors.
var twoDashes = regexp.MustCompile(`(flag|defined:|argument:|for) -\b`)

// parse reads flags wherever they stand, and returns what is none. What follows
// -- is no flag.
func parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		read := len(args) - fs.NArg()
		if fs.NArg() == 0 || read > 0 && args[read-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
}

// help is the text of weir COMMAND --help.
func (c *command) help(fs *flag.FlagSet, cfg *configuration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "weir %s: %s\n\nUsage: weir %s [flags]%s\n\n%s\n", c.name, c.summary, c.name, pad(c.args), strings.TrimSpace(c.about))
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if cfg != nil && cfg.aliases[f.Name] {
			return
		}
		if first {
			b.WriteString("\nFlags:\n")
			first = false
		}
		kind, text := flag.UnquoteUsage(f)
		name := "--" + f.Name
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "  %-26s %s\n", name, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 29)))
	})
	b.WriteString("\nExamples:\n")
	for _, x := range c.examples {
		fmt.Fprintf(&b, "  %s\n", x)
	}
	return b.String()
}

func pad(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// overview is the text of weir --help.
func overview() string {
	var b strings.Builder
	b.WriteString("weir scores a stream of payments: every payment in, one durable decision out.\n\nUsage: weir COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		if !c.hidden {
			fmt.Fprintf(&b, "  %-14s %s\n", c.name, c.summary)
		}
	}
	b.WriteString("\nweir COMMAND --help says more, with examples. Begin with: weir demo\n\n")
	b.WriteString("Settings come from flags, from the environment, and from the file --config FILE, in this order.\nOne rule names them: the flag --kafka-sasl is the variable WEIR_KAFKA_SASL and the key kafka.sasl\nof the file. weir config explain KEY says more of each, and which have a shorter flag too.\n\n")
	b.WriteString("A command exits with 0 where it did what was asked, with 1 where it could not or where\nwhat it checked is wrong, and with 2 where the command line is wrong. Results go to\nstdout, errors and the log to stderr.\n")
	return b.String()
}
