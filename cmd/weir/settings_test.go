package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

// flagsOf declares a command's flags and binds them.
func flagsOf(t *testing.T, name string) *configuration {
	t.Helper()
	for _, c := range commands() {
		if c.name == name {
			fs := flag.NewFlagSet(name, flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			c.flags(fs)
			return bind(name, fs)
		}
	}
	t.Fatalf("there is no command %s", name)
	return nil
}

// TestSettings holds flags, variables and keys together: each flag of a role has exactly
// one key, or is known to have none, and each key has one flag and one variable, no two
// the same.
func TestSettings(t *testing.T) {
	served, variables := make(map[string]bool), make(map[string]string)
	for command, only := range configured {
		c := flagsOf(t, command)
		of := make(map[string][]string) // the keys of each flag
		for _, b := range c.bound {
			of[b.flag.Name] = append(of[b.flag.Name], b.Key)
			served[b.Key] = served[b.Key] || only == nil
			if c.fs.Lookup(b.Flag()) == nil {
				t.Errorf("weir %s has no flag --%s for %s", command, b.Flag(), b.Key)
			}
		}
		c.fs.VisitAll(func(f *flag.Flag) {
			switch keys := of[f.Name]; {
			case c.aliases[f.Name] || f.Name == "clickhouse" || only != nil:
			case len(keys) != 1 && configFree[f.Name] == "":
				t.Errorf("weir %s --%s has the keys %q, not one", command, f.Name, keys)
			case len(keys) > 0 && configFree[f.Name] != "":
				t.Errorf("weir %s --%s has a key, and is said to have none", command, f.Name)
			}
		})
	}
	for _, s := range config.Settings {
		if !served[s.Key] {
			t.Errorf("no role has a flag for %s", s.Key)
		}
		if other := variables[s.Variable()]; other != "" {
			t.Errorf("%s and %s have one variable", s.Key, other)
		}
		variables[s.Variable()] = s.Key
		if want := "WEIR_" + strings.ToUpper(strings.ReplaceAll(s.Flag(), "-", "_")); s.Variable() != want {
			t.Errorf("%s is the variable %s, want %s", s.Key, s.Variable(), want)
		}
	}
	for _, name := range []string{"WEIR_KAFKA_PASSWORD", "WEIR_CLICKHOUSE_PASSWORD", "WEIR_TOKEN_KEY", "WEIR_SCHEMA_REGISTRY_PASSWORD", secretVariable} {
		if variables[name] != "" || !slices.ContainsFunc(config.Settings, func(s *config.Setting) bool { return s.Held == name }) {
			t.Errorf("%s is the variable of a secret", name)
		}
	}
}

// settingsOf runs a command's bind and apply, with a file of some text.
func settingsOf(t *testing.T, command, file string, environment map[string]string, args ...string) (*configuration, error) {
	t.Helper()
	c := flagsOf(t, command)
	if _, err := parse(c.fs, args); err != nil {
		t.Fatal(err)
	}
	name := ""
	if file != "" {
		name = filepath.Join(t.TempDir(), "weir.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &env{stderr: io.Discard, lookup: func(name string) (string, bool) { v, ok := environment[name]; return v, ok }}
	return c, c.apply(e, name)
}

// TestPrecedence takes a flag before a variable, that before the file, and that before
// the default, and of a secret the variable before a file that the file names.
func TestPrecedence(t *testing.T) {
	makeFiles(t)
	file := `kafka: {brokers: [file:1, file:2], sasl: SCRAM-SHA-512, user: u, password-file: secret}
oidc: {issuer: "https://id", client-id: weir, role: [a=analyst, "b=analyst,supervisor"]}
desk: {public-url: "https://d"}
`
	for _, x := range []struct {
		name, key, from, text string
		environment           map[string]string
		args                  []string
	}{
		{"default", "log.level", fromDefault, "info", nil, nil},
		{"file", "kafka.brokers", fromFile, "file:1,file:2", nil, nil},
		{"list", "oidc.role", fromFile, "a=analyst;b=analyst,supervisor", nil, nil},
		{"environment", "kafka.brokers", fromEnvironment, "env:1", map[string]string{"WEIR_KAFKA_BROKERS": "env:1"}, nil},
		{"list of the environment", "oidc.role", fromEnvironment, "c=auditor; d=analyst", map[string]string{"WEIR_OIDC_ROLE": "c=auditor; d=analyst"}, nil},
		{"empty variable", "kafka.brokers", fromFile, "file:1,file:2", map[string]string{"WEIR_KAFKA_BROKERS": ""}, nil},
		{"short flag", "kafka.brokers", fromFlag, "flag:1", map[string]string{"WEIR_KAFKA_BROKERS": "env:1"}, []string{"--kafka", "flag:1"}},
		{"flag of the rule", "kafka.brokers", fromFlag, "flag:2", nil, []string{"--kafka-brokers", "flag:2"}},
		{"secret", "kafka.password-file", fromDefault, "", map[string]string{"WEIR_KAFKA_PASSWORD": "x"}, nil},
		{"secret's file", "kafka.password-file", fromFile, "secret", nil, nil},
		{"blanks", "kafka.brokers", fromEnvironment, "env:1, env:2", map[string]string{"WEIR_KAFKA_BROKERS": "env:1, env:2"}, nil},
		{"other spelling", "history.url", fromFlag, "clickhouse://c:1/d", map[string]string{"WEIR_HISTORY_URL": "x.db"}, []string{"--clickhouse", "clickhouse://c:1/d"}},
	} {
		c, err := settingsOf(t, "up", file, x.environment, x.args...)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		for _, b := range c.bound {
			if b.Key == x.key && (b.from != x.from || b.text != x.text) {
				t.Errorf("%s: %s is %q of %s, want %q of %s", x.name, x.key, b.text, b.from, x.text, x.from)
			}
		}
	}
	if c, err := settingsOf(t, "up", "", map[string]string{"WEIR_KAFKA_BROKERS": "env:1, env:2"}); err != nil || c.fs.Lookup("kafka").Value.String() != "env:1,env:2" {
		t.Errorf("the blank is a part of the broker's name: %v", err)
	}
	if _, err := settingsOf(t, "up", "", map[string]string{"WEIR_KAFKA_PASSWORD_FILE": "hunter2"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret in place of its file's name: %v", err)
	}
	if _, err := settingsOf(t, "simulate", "kafka: {tls: true}\n", nil, "--kafka", "k1:9093"); err != nil {
		t.Errorf("brokers of a flag: %v", err)
	}
	if _, err := settingsOf(t, "health", "kafka: {tls: true}\n", nil); err != nil {
		t.Errorf("what another role says by a flag: %v", err)
	}
	c, err := settingsOf(t, "up", "desk: {web: off, within: 7m}\n", nil)
	if err != nil || c.fs.Lookup("web").Value.String() != "off" || c.fs.Lookup("within").Value.String() != "7m0s" {
		t.Errorf("the flags were not set: %v", err)
	}
	for _, x := range []struct{ command, flag, want string }{{"up", "rows-max", "7"}, {"train", "rows-max", "9"}} {
		c, err := settingsOf(t, x.command, "score: {rows-max: 7}\ntrain: {rows-max: 9}\n", nil)
		if err != nil || c.fs.Lookup(x.flag).Value.String() != x.want {
			t.Errorf("%s --%s is %s: %v", x.command, x.flag, c.fs.Lookup(x.flag).Value, err)
		}
	}
	if _, err := settingsOf(t, "up", "", map[string]string{"WEIR_KAFKA_TLS": "maybe"}); err == nil || !strings.Contains(err.Error(), "WEIR_KAFKA_TLS") {
		t.Errorf("a variable that is wrong: %v", err)
	}
}

// TestConfigFileOfARole refuses to start with a file that is wrong, and names every place.
func TestConfigFileOfARole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(name, []byte("kafka:\n  brokrs: k1:9092\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "up", "--config", name).fails(t, exitFailed, name+":2:3: ", "brokers in section kafka", name+":4:10: ", "2 mistakes")
	callWith(t, "", map[string]string{configVariable: name}, "score").fails(t, exitFailed, name+":2:3: ")
	call(t, "up", "--config", name+"x").fails(t, exitFailed, "no such file")
}
