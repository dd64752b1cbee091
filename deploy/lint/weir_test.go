package lint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the repository's.
const root = "../.."

// tool is the path of a program that deploy/lint/run has built.
func tool(name string) string { return filepath.Join(os.Getenv("WEIR_TOOLS"), name) }

func TestMain(m *testing.M) {
	if os.Getenv("WEIR_TOOLS") == "" {
		fmt.Fprintln(os.Stderr, "lint: deploy/lint/run runs these tests: it builds what they need")
		os.Exit(1)
	}
	var err error
	if scratch, err = os.MkdirTemp(os.Getenv("WEIR_TOOLS"), "test-"); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch) // the next run makes its own
	os.Exit(code)
}

// scratch is a folder for what all tests share.
var scratch string

// run runs a program, and returns what it prints and what it says is wrong.
func run(environment []string, name string, args ...string) (stdout, stderr string, err error) {
	c := exec.Command(tool(name), args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr, c.Env = &out, &errs, environment
	if environment == nil {
		c.Env = os.Environ()
	}
	err = c.Run()
	return out.String(), errs.String(), err
}

// known are weir's environment variables with the roles that take them, as weir says.
var known = sync.OnceValues(func() (map[string][]string, error) {
	text, stderr, err := run(nil, "weir", "config", "default", "--json")
	if err != nil {
		return nil, fmt.Errorf("weir config default: %s", stderr)
	}
	var all struct {
		Settings []struct {
			Variable string
			Secret   string `json:"secret_variable"`
			Roles    []string
		}
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, err
	}
	if len(all.Settings) < 50 {
		return nil, fmt.Errorf("weir config default lists %d settings", len(all.Settings))
	}
	variables := map[string][]string{"WEIR_CONFIG": {"up", "score", "record", "desk", "train", "migrate"}, "SSL_CERT_FILE": {"desk"}, "GOMEMLIMIT": {"score"}}
	for _, s := range all.Settings {
		variables[s.Variable] = s.Roles
		if s.Secret != "" {
			variables[s.Secret] = s.Roles
		}
	}
	return variables, nil
})

// A role is one command of weir as it is started somewhere.
type role struct {
	where string
	args  []string
	env   map[string]string
	// local is where a file of the container is here; "" where the container has none.
	local func(path string) string
}

// problems are what weir finds wrong with a role: a variable that it does not know, a flag
// that it does not take, a file that is not there, and what weir check says.
func (r *role) problems() (list []string) {
	say := func(format string, a ...any) { list = append(list, r.where+": "+fmt.Sprintf(format, a...)) }
	variables, err := known()
	if err != nil {
		return []string{err.Error()}
	}
	if len(r.args) == 0 {
		return []string{r.where + ": no command"}
	}
	if _, stderr, err := run(nil, "weir", append(slices.Clone(r.args), "--help")...); err != nil {
		say("weir %s: %s", strings.Join(r.args, " "), strings.TrimSpace(stderr))
	}
	environment := []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range r.env {
		switch roles, there := variables[name]; {
		case !there:
			say("weir knows no variable %s", name)
		case !slices.Contains(roles, r.args[0]):
			say("weir %s does not take %s", r.args[0], name)
		}
		if strings.HasPrefix(value, "/") {
			file := r.local(value)
			if file == "" {
				say("%s=%s is not mounted", name, value)
				continue
			}
			value = file
		}
		environment = append(environment, name+"="+value)
	}
	check := []string{"check", "--json"}
	if i := slices.Index(r.args, "--config"); i >= 0 && i+1 < len(r.args) {
		file := r.local(r.args[i+1])
		if file == "" {
			say("%s is not mounted", r.args[i+1])
			return list
		}
		check = append(check, "--config", file)
	}
	text, stderr, _ := run(environment, "weir", check...)
	var found struct{ Problems []struct{ What, Text string } }
	if json.Unmarshal([]byte(text), &found) != nil {
		say("weir check: %s", stderr)
	}
	for _, p := range found.Problems {
		// There is no broker and no registry here that could be asked.
		if p.What != "topics" && !strings.Contains(p.Text, "dial tcp") {
			say("weir check: %s: %s", p.What, p.Text)
		}
	}
	return list
}
