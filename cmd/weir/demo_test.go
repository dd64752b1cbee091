package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

// stopAt cancels a context once a text was written, as a person presses Ctrl-C
// who has seen it.
type stopAt struct {
	bytes.Buffer
	text string
	stop context.CancelFunc
}

func (s *stopAt) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if strings.Contains(s.String(), s.text) {
		s.stop()
	}
	return n, err
}

// TestDemo runs a small demo until its first live transactions are scored, and
// stops it as Ctrl-C does.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr bytes.Buffer
	stdout := &stopAt{text: "first live transactions scored", stop: cancel}
	e := &env{stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }}
	args := []string{"demo", "--customers", "1000", "--past", "28", "--rate", "500", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--json"}
	if code := run(ctx, args, e); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, &stderr)
	}
	for _, text := range []string{"metrics ", "the past ", "the lesson ", "the present "} {
		if !strings.Contains(stdout.String(), "\n"+text) && !strings.HasPrefix(stdout.String(), text) {
			t.Errorf("the demo does not tell of %q:\n%s", text, stdout)
		}
	}
	var r stopReport
	lastLine(t, stdout.String(), &r)
	if r.Scored == 0 || r.Degraded == 0 || r.Rejected != 0 || r.SourceRecords != r.Scored+r.Degraded+r.Unscored+r.Duplicate {
		t.Errorf("%+v", r)
	}
}

// TestDemoFitsATerminal keeps the table in 80 columns, each number below its name.
func TestDemoFitsATerminal(t *testing.T) {
	row := fmt.Sprintf(tableRow, "2,000", 0.25, 12.34, 12.34, "1,000,000", "338,383", "10,064", "308", "0", "1,234", "38", "100")
	for line := range strings.Lines(tableHead + row) {
		if got := len(strings.TrimSuffix(line, "\n")); got != 80 {
			t.Errorf("%d columns: %s", got, line)
		}
	}
}
