package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

// configVariable names the file of settings where --config does not.
const configVariable = "WEIR_CONFIG"

// configured are the commands that take their settings from the file and the environment
// too: those that serve, and of the others what they need to reach the same brokers. A
// command may be given sections, and then without kafka.brokers, which says to some of
// them what they are to do.
var configured = map[string][]string{
	"up": nil, "score": nil, "record": nil, "desk": nil, "train": nil, "migrate": nil, "check": nil,
	"tail": {"kafka", "kafka.brokers"}, "verify": {"kafka", "kafka.brokers", "data", "history", "schema-registry", "source", "keys"},
	"user": {"data"}, "health": {"metrics"}, "simulate": {"kafka"}, "model": {"kafka"},
	"status": {"kafka", "kafka.brokers", "score.group"}, "drain": {"data"}, "backup": {"data", "spec", "keys", "kafka", "kafka.brokers"},
}

// configFree are flags of those commands that are said anew each time, and so have no
// key: what one run is about, and what is done once.
var configFree = map[string]string{
	"config": "it names the file", "json": "it is of one run", "accept-gap": "it is done once, by somebody who has looked",
	"input": "it is of one run", "labels": "it is of one run", "label-column": "it is of one run", "label-delay": "it is of one run",
	"rates": "it is of one run", "from": "it is of one run", "to": "it is of one run", "skip-bad": "it is of one run", "as-of": "it is of one run",
	"out": "it is of one run", "champion": "it is of one run", "exit-code": "it is of one run", "print": "it is of one run",
	"dry-run": "it is of one run",
}

// A configuration is what a command was told, by flags, variables and a file.
type configuration struct {
	command string
	fs      *flag.FlagSet
	bound   []*binding
	aliases map[string]bool // the flags that are there for the naming rule alone
	names   map[string]bool // of the flags that were given
	// again binds the command's flags once more and parses what was given.
	again func() (*configuration, error)
	name  string       // of the file, "" for none
	file  *config.File // nil for none
}

// A binding is a setting that a command has a flag for.
type binding struct {
	*config.Setting
	flag *flag.Flag
	from string // flag, environment, file or default
	text string // the value, as its variable has it
}

// Where a value may be from.
const (
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromFile        = "file"
	fromDefault     = "default"
)

// bind finds the settings of a command's flags, and declares for each the flag that the
// naming rule gives it. It returns nil for a command that has none.
func bind(command string, fs *flag.FlagSet) *configuration {
	of, known := configured[command]
	if !known {
		return nil
	}
	c := &configuration{command: command, fs: fs, aliases: make(map[string]bool)}
	flags := make(map[*config.Setting]*flag.Flag)
	fs.VisitAll(func(f *flag.Flag) {
		s := config.Of(command, f.Name)
		if s != nil && (of == nil || takes(of, s)) && f.Name != "clickhouse" { // which is --history
			flags[s] = f
		}
	})
	for _, s := range config.Settings {
		f := flags[s]
		if f == nil {
			continue
		}
		if fs.Lookup(s.Flag()) == nil {
			fs.Var(f.Value, s.Flag(), f.Usage)
			c.aliases[s.Flag()] = true
		}
		c.bound = append(c.bound, &binding{Setting: s, flag: f, from: fromDefault, text: f.DefValue})
	}
	return c
}

func takes(of []string, s *config.Setting) bool {
	for _, name := range of {
		if s.Key == name || s.Section() == name && s.Key != "kafka.brokers" {
			return true
		}
	}
	return false
}

// apply sets the flags that nobody has given, and says what is wrong with the file; weir
// check does that itself.
func (c *configuration) apply(e *env, name string) error {
	if c == nil {
		return nil
	}
	if err := c.load(e, name); err != nil || c.file == nil || len(c.file.Problems) == 0 || c.command == "check" {
		return err
	}
	for _, p := range c.file.Problems {
		fmt.Fprintln(e.stderr, p)
	}
	return fmt.Errorf("%s: %s", c.name, several(len(c.file.Problems), "mistake"))
}

// load sets the flags that nobody has given: by their variables, and where there are none
// by the file. Variables that are empty count as none.
func (c *configuration) load(e *env, name string) error {
	if c.name = name; c.name == "" {
		c.name = e.variable(configVariable)
	}
	c.names = make(map[string]bool)
	c.fs.Visit(func(f *flag.Flag) { c.names[f.Name] = true })
	for _, b := range c.bound {
		text := e.variable(b.Variable())
		switch {
		case c.given(b):
			b.from, b.text = fromFlag, b.flag.Value.String()
		case text != "":
			err := b.Check(text)
			if err == nil {
				err = c.set(b, fromEnvironment, text, b.Split(text))
			}
			if err != nil {
				return usagef("%s: %v", b.Variable(), err)
			}
		}
	}
	if c.name == "" {
		return nil
	}
	var err error
	if c.file, err = readConfig(c.name); err != nil {
		return err
	}
	for _, b := range c.bound {
		v := c.file.Values[b.Key]
		if v == nil || b.from != fromDefault || held(e, b.Setting) {
			continue
		}
		if err := c.set(b, fromFile, v.Text(), v.Flags()); err != nil {
			c.file.Refuse(v, err)
		}
	}
	c.file.Judge(c.outside(e), func(key string) bool { return c.command == "check" || c.binding(key) != nil })
	return nil
}

// given reports whether a setting was said by any of its flags.
func (c *configuration) given(b *binding) bool {
	for name := range c.names {
		if name == b.flag.Name || config.Of(c.command, name) == b.Setting {
			return true
		}
	}
	return false
}

func (c *configuration) set(b *binding, from, text string, values []string) error {
	if b.Missing(text) {
		return errors.New("there is no file of this name; a file is named here, and never the secret itself")
	}
	for _, v := range values {
		if err := c.fs.Set(b.flag.Name, v); err != nil {
			return err
		}
	}
	b.from, b.text = from, text
	return nil
}

// held reports whether a secret is in the environment, where it goes before the file of
// it that a file of settings names.
func held(e *env, s *config.Setting) bool {
	return s.Held != "" && e.variable(s.Held) != ""
}

// outside is what flags and the environment say, by key: of every setting that has a
// variable, and also of secrets themselves.
func (c *configuration) outside(e *env) map[string]string {
	all := make(map[string]string)
	for _, s := range config.Settings {
		if text := e.variable(s.Variable()); text != "" {
			all[s.Key] = text
		} else if held(e, s) {
			all[s.Key] = s.Held
		}
	}
	for name := range c.names {
		if s := config.Of(c.command, name); s != nil {
			all[s.Key] = c.fs.Lookup(name).Value.String()
		}
	}
	return all
}

// readConfig reads a file of settings.
func readConfig(name string) (*config.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("file of settings: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, config.FileMax+1))
	if err != nil {
		return nil, fmt.Errorf("file of settings: %w", err)
	}
	return config.Parse(name, data), nil
}

// say says in the log where a command's settings are from, where that is not its flags
// alone.
func (c *configuration) say(e *env, log *slog.Logger) {
	if c == nil {
		return
	}
	for _, text := range config.Misspelt(e.environ) {
		log.Warn("a variable is not read", "remedy", text)
	}
	count := make(map[string]int)
	for _, b := range c.bound {
		count[b.from]++
	}
	if c.name != "" || count[fromEnvironment] > 0 {
		log.Info("settings", "file", cmp.Or(c.name, "none"), "of_file", count[fromFile], "of_environment", count[fromEnvironment], "of_flags", count[fromFlag])
	}
}

// configUsage is the usage of --config.
const configUsage = "`FILE` of settings, weir.yaml; or the environment variable " + configVariable + ". The key kafka.sasl\nthere is the flag --kafka-sasl and the variable WEIR_KAFKA_SASL, and so are all (weir config)"

// unquoted is a flag's usage as one line.
func unquoted(f *flag.Flag) string {
	_, text := flag.UnquoteUsage(f)
	return strings.ReplaceAll(text, "\n", " ")
}
