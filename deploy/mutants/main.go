// Command mutants plants bugs in weir, one at a time, and sees that its tests find them.
// The bugs are in mutants.txt: each is a text of one file that gives way to another, and
// the tests that have to fail then. The tree is not touched: go test is told by -overlay
// which file to read in another's place.
//
//	go run . [-list] [NAME ...]
//
// The bugs of a full disk are found by root alone, who may mount a small one.
//
// It exits with 1 where a bug is not found, and with 2 where one cannot be planted: where
// its text is not there once, does not compile, or its tests fail without it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A mutant is one bug.
type mutant struct {
	name, what, file string
	old, new         string
	test             []string // arguments of go test
}

// patience is how long the tests of one bug may take: a test that hangs has found it too.
const patience = 3 * time.Minute

func main() {
	list := flag.Bool("list", false, "name the bugs, and plant none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, *list, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		code = 2
	}
	stop()
	os.Exit(code)
}

func run(ctx context.Context, list bool, names []string) (code int, err error) {
	all, err := read("mutants.txt")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(m mutant) bool { return m.name == name }) {
			return 0, fmt.Errorf("no bug is called %q: -list names them", name)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "weir-mutants-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	planted, caught := 0, 0
	for _, m := range all {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		if list {
			fmt.Printf("%-28s %s\n", m.name, m.what)
			continue
		}
		began := time.Now()
		by, err := m.plant(ctx, root, dir)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", m.name, err)
		}
		planted++
		if by != "" {
			caught++
		} else {
			by = "NOT FOUND: " + m.what
		}
		fmt.Printf("%-28s %4.0f s  %s\n", m.name, time.Since(began).Seconds(), by)
	}
	if list {
		return 0, nil
	}
	fmt.Printf("%d of %d planted bugs are found\n", caught, planted)
	if caught < planted {
		return 1, nil
	}
	return 0, nil
}

// read reads the list of bugs.
func read(name string) (all []mutant, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
		head, body, ok := strings.Cut(part, "\n<<<<\n")
		old, rest, ok2 := strings.Cut(body, "\n====\n")
		now, _, ok3 := strings.Cut("\n"+rest, "\n>>>>")
		lines := strings.Split(head, "\n")
		if !ok || !ok2 || !ok3 || len(lines) != 4 {
			return nil, fmt.Errorf("%s: %q is not a bug: NAME, what it is, file, tests, old and new text", name, lines[0])
		}
		all = append(all, mutant{name: lines[0], what: lines[1], file: lines[2], test: strings.Fields(lines[3]), old: old, new: strings.TrimPrefix(now, "\n")})
	}
	return all, nil
}

// plant runs the tests of a bug, without it and with it, and returns what found it, "" for
// nothing.
func (m *mutant) plant(ctx context.Context, root, dir string) (by string, err error) {
	path := filepath.Join(root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("its text is in %s %d times, not once", m.file, n)
	}
	bad := filepath.Join(dir, m.name+".go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: bad}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := errors.Join(os.WriteFile(bad, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600), os.WriteFile(file, overlay, 0o600)); err != nil {
		return "", err
	}
	if out, err := m.goTest(ctx, root); err != nil {
		return "", fmt.Errorf("its tests fail without it: %w\n%s", err, out)
	}
	if out, err := m.goTest(ctx, root, "-overlay="+file, "-exec=true", "-count=1"); err != nil {
		return "", fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	out, err := m.goTest(ctx, root, "-overlay="+file, "-failfast", "-count=1", fmt.Sprintf("-timeout=%v", patience))
	var failed *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil || !errors.As(err, &failed):
		return "", errors.Join(err, ctx.Err())
	}
	return found(out), nil
}

func (m *mutant) goTest(ctx context.Context, root string, flags ...string) ([]byte, error) {
	args := append(append([]string{"test", "-vet=off"}, flags...), m.test...)
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = root
	// Of the simulation a few seeds are too few; and tests run that are else left to proofs.
	c.Env = append(os.Environ(), "WEIR_SEEDS=150", "WEIR_MUTANTS=1")
	return c.CombinedOutput()
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .{0,60})|^(BUG: .{0,60})`)

// found names what found a bug, by what go test printed.
func found(out []byte) string {
	var by []string
	for _, f := range failure.FindAllSubmatch(out, -1) {
		by = append(by, string(bytes.Join(f[1:], nil)))
	}
	if len(by) == 0 {
		return "the tests end without a word"
	}
	return by[len(by)-1]
}
