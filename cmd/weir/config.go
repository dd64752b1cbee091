package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

var configDefaultCommand = &command{
	name: "config default", summary: "print weir.yaml with every key, its default and what it means", json: true,
	about: `Prints a file of settings for --config: each key with what it means, its flag, its
variable and what holds where it is not set. All is commented out: as it is printed the
file changes nothing. With --json it prints a list of the same.

` + namingRule,
	examples: []string{"weir config default > weir.yaml", "weir config default --json | jq '.settings[].variable'"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, _ []string) error {
			all := describe()
			if !e.json {
				_, err := fmt.Fprint(e.stdout, config.Default(all))
				return err
			}
			var list []config.Entry
			for i := range all {
				list = append(list, all[i].Entry())
			}
			return e.report(map[string]any{"settings": list})
		}
	},
}

var configCommand = &command{
	name: "config", args: "default | explain | show | schema", summary: "print, explain and show weir.yaml, the file of settings",
	about: `default prints the whole file, explain says all of one setting, show prints what a role
would have here and where it is from, and schema is for editors. weir check --config FILE
tells every mistake in a file. A role that was started with --config reads the file again
when it is sent SIGHUP, makes good what is safe, and names in its log what needs a restart.

` + namingRule,
	examples: []string{"weir config default > weir.yaml", "weir config explain kafka.sasl", "weir config show --config weir.yaml"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, _ *env, args []string) error {
			return usagef("say which: default, explain, show or schema")
		}
	},
}

// namingRule is the rule that names settings, as helps say it.
const namingRule = `A setting has one name: the key kafka.sasl of the file, which is sasl: in the section
kafka:, is the flag --kafka-sasl and the variable WEIR_KAFKA_SASL: points become dashes,
and small letters large ones. Some have a shorter flag beside, --web for desk.web. A flag
goes before a variable, that before the file, and the file before the default; a variable
that is empty counts as none. Without --config and WEIR_CONFIG no file is read.`

var configExplainCommand = &command{
	name: "config explain", args: "[KEY]", summary: "say all of one setting: type, default, flag, variable, an example", json: true,
	about: `KEY is a key such as kafka.sasl, or its flag or variable; without one it lists all.

` + namingRule,
	examples: []string{"weir config explain kafka.sasl", "weir config explain --json WEIR_DESK_WEB", "weir config explain   # all keys, a line each"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, args []string) error { return explain(e, args) }
	},
}

func explain(e *env, args []string) error {
	all := describe()
	if len(args) == 0 {
		var list []config.Entry
		for i := range all {
			if list = append(list, all[i].Entry()); !e.json {
				short, _, _ := strings.Cut(all[i].Usage, ". ")
				e.printf("%-30s %s\n", all[i].Key, short)
			}
		}
		return e.report(map[string]any{"settings": list})
	}
	if len(args) > 1 {
		return usagef("one KEY at a time")
	}
	s := config.Named(args[0])
	if s == nil {
		return usagef("%s", config.NoSuch(args[0]))
	}
	d := &all[slices.IndexFunc(all, func(d config.Description) bool { return d.Setting == s })]
	if !e.json {
		e.printf("%s", d.Explain())
	}
	return e.report(d.Entry())
}

var configSchemaCommand = &command{
	name: "config schema", summary: "print the JSON Schema of weir.yaml, for editors",
	about: `The schema is of draft 2020-12. It tells keys, types and ranges; weir check --config FILE
knows more. Editors with a server of the YAML language take it by a line at the file's top:
# yaml-language-server: $schema=weir.schema.json`,
	examples: []string{"weir config schema > weir.schema.json"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, _ []string) error {
			text, err := config.Schema(describe())
			if err == nil {
				_, err = e.stdout.Write(text)
			}
			return err
		}
	},
}

var configShowCommand = &command{
	name: "config show", args: "[ROLE]", summary: "print the settings that a role would have here, and where each is from", json: true,
	about: `Reads the file that --config or WEIR_CONFIG names and the variables, as weir ROLE would;
without a ROLE, as weir up. Of secrets it says only whether they are given.

` + namingRule,
	examples: []string{"weir config show --config weir.yaml", "weir config show --config weir.yaml --json train"},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		name := fs.String("config", "", configUsage)
		return func(_ context.Context, e *env, args []string) error { return show(e, *name, args) }
	},
}

// shown is one line of weir config show.
type shown struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
	Place string `json:"place,omitempty"`
}

func show(e *env, name string, args []string) error {
	role := "up"
	if len(args) > 0 {
		role = args[0]
	}
	if len(args) > 1 || !slices.Contains(config.Roles, role) {
		return usagef("ROLE is one of %s", strings.Join(config.Roles, ", "))
	}
	c := bindRole(role)
	if err := c.apply(e, name); err != nil {
		return err
	}
	list := []shown{}
	for _, b := range c.bound {
		line := shown{b.Key, config.Hidden(b.text), b.from, ""}
		switch {
		case b.from == fromEnvironment:
			line.Place = b.Variable()
		case b.from == fromFile:
			v := c.file.Values[b.Key]
			line.Place = fmt.Sprintf("%s:%d", c.name, v.Line)
		case held(e, b.Setting):
			line = shown{b.Key, "(hidden)", fromEnvironment, b.Held}
		}
		list = append(list, line)
		if !e.json {
			e.printf("%-30s %-30s %s\n", line.Key, line.Value, strings.TrimSpace(line.From+" "+line.Place))
		}
	}
	return e.report(map[string]any{"role": role, "file": c.name, "settings": list})
}

// bindRole binds the flags of a role that does not run.
func bindRole(role string) *configuration {
	for _, c := range []*command{upCommand, scoreCommand, recordCommand, deskCommand, trainCommand, migrateCommand} {
		if c.name == role {
			fs := flag.NewFlagSet(role, flag.ContinueOnError)
			c.flags(fs)
			return bind(role, fs)
		}
	}
	panic("BUG: there is no role " + role)
}

// describe collects what the flags of all roles say of the settings.
func describe() (all []config.Description) {
	found := make(map[*config.Setting]*config.Description)
	for _, role := range config.Roles {
		for _, b := range bindRole(role).bound {
			d := found[b.Setting]
			if d == nil {
				d = &config.Description{Setting: b.Setting, Usage: unquoted(b.flag), Defaults: make(map[string]string)}
				d.Varies = b.Key == "score.state-max" || b.Key == "train.by"
				found[b.Setting] = d
			}
			d.Defaults[role] = b.flag.DefValue
		}
	}
	for _, s := range config.Settings {
		all = append(all, *found[s])
	}
	return all
}
