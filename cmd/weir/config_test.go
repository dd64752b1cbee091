package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/weir-risk/weir/cmd/weir/internal/config"
)

// makeFiles makes, where the test is, the files that files of settings name.
func makeFiles(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "hunter2\n", 0o600)
	write("open", "hunter2\n", 0o644)
	write("empty", "", 0o600)
	write("token", newTokenKey()+"\n", 0o600)
	write("models.pub", "-----BEGIN PUBLIC KEY-----\n", 0o600)
	writePair(t, "desk", 1)
	writePair(t, "other", 2)
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
}

// writePair writes a certificate with a serial number, and its key.
func writePair(t *testing.T, name string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "desk"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		bytes      []byte
	}{{name + ".crt", "CERTIFICATE", der}, {name + ".key", "PRIVATE KEY", secret}} {
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A wrongFile is a file of testdata/config_wrong.txt.
type wrongFile struct {
	line                int // of the list
	place, reason, hint string
	text                string
}

func wrongFiles(t *testing.T) (list []wrongFile) {
	t.Helper()
	data, err := os.ReadFile("testdata/config_wrong.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.SplitAfter(string(data), "\n") {
		if rest, begins := strings.CutPrefix(line, "== "); begins {
			parts := strings.Split(strings.TrimSpace(rest), " | ")
			if len(parts) != 3 {
				t.Fatalf("line %d: %q", i+1, line)
			}
			list = append(list, wrongFile{line: i + 1, place: parts[0], reason: parts[1], hint: parts[2]})
		} else if len(list) > 0 {
			list[len(list)-1].text += escaped.ReplaceAllStringFunc(line, func(s string) string {
				if s == `\t` {
					return "\t"
				}
				n, _ := strconv.ParseUint(s[2:], 16, 8)
				return string([]byte{byte(n)})
			})
		}
	}
	return list
}

var escaped = regexp.MustCompile(`\\t|\\x[0-9a-f]{2}`)

// problemsOf has weir check look at a file of settings.
func problemsOf(t *testing.T, text string) []finding {
	t.Helper()
	if err := os.WriteFile("weir.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := call(t, "check", "--config", "weir.yaml", "--json")
	var report struct {
		OK       bool
		Problems []finding
	}
	if err := json.Unmarshal([]byte(c.stdout), &report); err != nil {
		t.Fatalf("%v\n%s\n%s", err, c.stdout, c.stderr)
	}
	for _, secret := range []string{"hunter2", "weir:secret", "00112233", "MC4CAQ"} {
		if strings.Contains(c.stdout+c.stderr, secret) {
			t.Errorf("it tells a secret:\n%s%s", c.stdout, c.stderr)
		}
	}
	if report.OK != (c.code == exitOK) || !report.OK && c.code != exitFailed {
		t.Errorf("exit code %d with ok %v", c.code, report.OK)
	}
	return slices.DeleteFunc(report.Problems, func(f finding) bool { return f.What != "settings" })
}

// TestWrongConfigs has each wrong file refused once, with its place, its own reason and a
// hint, which tell nothing secret.
func TestWrongConfigs(t *testing.T) {
	files := wrongFiles(t)
	if len(files) < 60 {
		t.Errorf("%d wrong files, fewer than 60", len(files))
	}
	makeFiles(t)
	reasons := make([]string, len(files))
	for i, f := range files {
		problems := problemsOf(t, f.text)
		if len(problems) != 1 {
			t.Errorf("line %d: %d problems, want 1 at %s: %s; %s", f.line, len(problems), f.place, f.reason, f.hint)
			for _, p := range problems {
				t.Logf("\t%s", p.Text)
			}
			continue
		}
		p := problems[0]
		reasons[i] = p.Reason
		if at := fmt.Sprintf("%d:%d", p.Line, p.Column); at != f.place || !strings.Contains(p.Reason, f.reason) || !strings.Contains(p.Hint, f.hint) {
			t.Errorf("line %d: %s\n\twant %s: %s; %s", f.line, p.Text, f.place, f.reason, f.hint)
		}
		if !strings.HasPrefix(p.Text, "weir.yaml:"+f.place+": ") {
			t.Errorf("line %d: the text does not begin with its place: %s", f.line, p.Text)
		}
	}
	for i, f := range files {
		for k, reason := range reasons {
			if i != k && strings.Contains(reason, f.reason) {
				t.Errorf("line %d and line %d are refused for one reason: %s", f.line, files[k].line, f.reason)
			}
		}
	}
}

// TestAllProblemsAtOnce has every mistake of a file told, in the order of its lines.
func TestAllProblemsAtOnce(t *testing.T) {
	makeFiles(t)
	problems := problemsOf(t, "kafka:\n  brokers: [k1]\n  tls: yes\n  user: weir\nlog: {level: loud, formatt: json}\nspec: {file: none.spec}\n")
	var places []string
	for _, p := range problems {
		places = append(places, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	if want := []string{"2:13", "3:8", "4:9", "4:9", "5:14", "5:20", "6:14"}; !slices.Equal(places, want) {
		t.Errorf("problems at %q, want %q", places, want)
	}
	places = nil
	for _, p := range problemsOf(t, "kafka:\n\ttls: yes\nlog:\n  levle: debug\n") {
		places = append(places, fmt.Sprintf("%d:%d", p.Line, p.Column))
	}
	if want := []string{"2:1", "2:7", "4:3"}; !slices.Equal(places, want) {
		t.Errorf("behind a tab problems are at %q, want %q", places, want)
	}
}

// TestConfigDefault takes the file that weir prints, as it is and with all of it in force,
// and holds it, the schema and what explain says to the list of settings.
func TestConfigDefault(t *testing.T) {
	makeFiles(t)
	text := call(t, "config", "default").succeeds(t).stdout
	if problems := problemsOf(t, text); len(problems) > 0 {
		t.Errorf("the file that weir prints: %v", problems)
	}
	live := regexp.MustCompile(`(?m)^( *)#([a-z0-9-]+: )`).ReplaceAllString(text, "$1$2")
	f := config.Parse("weir.yaml", []byte(live))
	for _, p := range f.Problems {
		t.Errorf("with all of it in force: %v", p)
	}
	if len(f.Values) != len(config.Settings) {
		t.Errorf("%d keys in the file, want %d", len(f.Values), len(config.Settings))
	}
	for _, s := range config.Settings {
		said := call(t, "config", "explain", s.Key).succeeds(t).stdout
		for _, want := range []string{s.Key, "--" + s.Flag(), s.Variable(), "default", "reload", s.Example} {
			if !strings.Contains(said, want) {
				t.Errorf("weir config explain %s does not say %q:\n%s", s.Key, want, said)
			}
		}
		for _, name := range []string{s.Key, "--" + s.Flag(), s.Variable()} {
			if got := config.Named(name); got != s {
				t.Errorf("%s names %v, want %s", name, got, s.Key)
			}
		}
		for _, name := range s.Short {
			if got := config.Named("--" + name); got == nil || !slices.Contains(got.Short, name) {
				t.Errorf("--%s names %v, want %s", name, got, s.Key)
			}
		}
		if f.Values[s.Key] == nil {
			t.Errorf("%s is not in the file", s.Key)
		}
	}
	call(t, "config").fails(t, exitUsage, "default, explain, show or schema")
	call(t, "config", "explain", "kafka.brokres").fails(t, exitUsage, "kafka.brokers")
	call(t, "config", "explain", "kafka").fails(t, exitUsage, "kafka.sasl")
	var list struct{ Settings []config.Entry }
	if err := json.Unmarshal([]byte(call(t, "config", "default", "--json").succeeds(t).stdout), &list); err != nil || len(list.Settings) != len(config.Settings) {
		t.Errorf("%d settings in JSON, want %d: %v", len(list.Settings), len(config.Settings), err)
	}
}

// TestConfigSchema holds the schema to the list of settings, and to the files that are
// right: the one that weir prints, with all of it in force. It refuses what is no key, of
// another type, or out of range.
func TestConfigSchema(t *testing.T) {
	text := call(t, "config", "schema").succeeds(t).stdout
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("weir.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("weir.json")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for name, p := range schema.Properties {
		if p.Properties == nil {
			keys++
			if config.Find(name) == nil {
				t.Errorf("the schema has the key %s", name)
			}
		}
		for last := range p.Properties {
			keys++
			if config.Find(name+"."+last) == nil {
				t.Errorf("the schema has the key %s.%s", name, last)
			}
		}
	}
	if keys != len(config.Settings) {
		t.Errorf("the schema has %d keys, want %d", keys, len(config.Settings))
	}
	live := regexp.MustCompile(`(?m)^( *)#([a-z0-9-]+: )`).ReplaceAllString(call(t, "config", "default").stdout, "$1$2")
	if err := schema.Validate(asJSON(t, live)); err != nil {
		t.Errorf("the file that weir prints: %v", err)
	}
	for _, s := range config.Settings {
		line := s.Name() + ": {a: b}"
		if s.Section() != "" {
			line = s.Section() + ": {" + line + "}"
		}
		if schema.Validate(asJSON(t, line)) == nil {
			t.Errorf("the schema takes %s", line)
		}
	}
	for _, text := range []string{"kafak: {}", "kafka: {brokrs: \"k1:9092\"}", "kafka: k1", "log: {level: loud}", "score: {rows-max: 0}", "score: {rows-max: 1.5}", "score: {state-max: lots}",
		"desk: {within: 15}", "desk: {second-looks: 2}", "kafka: {tls: \"yes\"}", "kafka: {brokers: []}", "metrics: {listen: here}", "schema-registry: {url: \"ftp://x\"}", "score: {tenant: 1}"} {
		if schema.Validate(asJSON(t, text)) == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
	if schema.Validate(asJSON(t, "kafka: {brokers: k1:9092, tls: true}\nscore: {rows-max: 10, watch: 0, state-max: 0}\ndesk: {local-login: false}\n")) != nil {
		t.Error("the schema refuses a file that is right")
	}
}

// asJSON reads YAML as a program of JSON Schemas does.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	err := yaml.Unmarshal([]byte(text), &v)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return value
}
