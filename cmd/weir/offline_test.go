package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "write what the commands print into testdata")

// testdata is where the golden files are, also for a test that changes its folder.
var testdata, _ = filepath.Abs("testdata")

// called is what a command did.
type called struct {
	code           int
	stdout, stderr string
}

// call runs weir with the words of a command line.
func call(t *testing.T, args ...string) called {
	t.Helper()
	return callWith(t, "", nil, args...)
}

// callWith runs weir with a standard input and an environment.
func callWith(t *testing.T, stdin string, environment map[string]string, args ...string) called {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := &env{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
		lookup: func(name string) (string, bool) { v, ok := environment[name]; return v, ok }}
	code := run(context.Background(), args, e)
	return called{code, stdout.String(), stderr.String()}
}

// succeeds fails the test unless the command ended with exit code 0.
func (c called) succeeds(t *testing.T) called {
	t.Helper()
	if c.code != exitOK {
		t.Fatalf("exit code %d\n%s", c.code, c.stderr)
	}
	return c
}

// fails fails the test unless the command ended with a code, and said each of
// the words on stderr.
func (c called) fails(t *testing.T, code int, words ...string) called {
	t.Helper()
	if c.code != code {
		t.Errorf("exit code %d, want %d\n%s", c.code, code, c.stderr)
	}
	for _, w := range words {
		if !strings.Contains(c.stderr, w) {
			t.Errorf("stderr does not say %q:\n%s", w, c.stderr)
		}
	}
	return c
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(testdata, name)
	if *updateGolden {
		if err := os.MkdirAll(testdata, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs (go test -update writes it); got:\n%s\nwant:\n%s", path, text, want)
	}
}

// file writes a file into a folder of the test and returns its name.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// content reads a file.
func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
