package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// stopAt cancels a context once a text was written so often, as a person presses
// Ctrl-C who has seen it.
type stopAt struct {
	mu sync.Mutex
	bytes.Buffer
	text  string
	times int // 0 is once
	stop  context.CancelFunc
}

func (s *stopAt) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.Buffer.Write(p)
	if strings.Count(s.String(), s.text) >= max(s.times, 1) {
		s.stop()
	}
	return n, err
}

// TestDemo runs a small demo until it has learnt from what an analyst said at its desk,
// or under -short until its first live transactions are scored, and stops it as Ctrl-C
// does.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr bytes.Buffer
	until, words, rate := strconv.Itoa(analystCloses)+" verdicts of the desk", []string{"metrics ", "the desk ", "the past ", "the lesson ", "the present ", "day 2 "}, "8000"
	if testing.Short() {
		until, words, rate = "first live transactions scored", words[:5], "500"
	}
	stdout := &stopWhen{stop: cancel, enough: func(text string) bool {
		text = strings.Join(strings.Fields(text), " ") // whatever lines it is set in
		return strings.Contains(text, until) || strings.Count(text, "learnt anew in") > 5
	}}
	closed := make(chan error, 1)
	if testing.Short() {
		closed <- nil
	} else {
		go func() { closed <- analyst(ctx, stdout) }() // ends with the demo at the latest
	}
	e := &env{stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }}
	args := []string{"demo", "--customers", "1000", "--past", "28", "--rate", rate, "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data", t.TempDir(), "--json"}
	code := run(ctx, args, e)
	if err := <-closed; err != nil || code != exitOK || stderr.Len() > 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, &stderr)
	}
	for _, text := range words {
		if !strings.Contains(stdout.String(), "\n"+text) && !strings.HasPrefix(stdout.String(), text) {
			t.Errorf("the demo does not tell of %q:\n%s", text, stdout)
		}
	}
	for line := range strings.Lines(stdout.String()) {
		if len(strings.TrimSuffix(line, "\n")) > 80 && line[0] != '{' {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	var r demoReport
	lastLine(t, stdout.String(), &r)
	if r.Desk == nil || !strings.Contains(stdout.String(), r.Desk.URL) || !strings.Contains(stdout.String(), r.Desk.Password) || len(r.Desk.Accounts) != 2 {
		t.Errorf("%+v", r.Desk)
	}
	if r.Scored == 0 || r.Degraded == 0 || r.Rejected != 0 || r.SourceRecords != r.Scored+r.Degraded+r.Unscored+r.Duplicate {
		t.Errorf("%+v", r)
	}
	if !testing.Short() {
		learntFromTheDesk(t, r.Lessons)
	}
}

// learntFromTheDesk sees that lessons have learnt what the analyst said: each verdict,
// and the last of them rows as what they would not have been without.
func learntFromTheDesk(t *testing.T, lessons []lesson) {
	t.Helper()
	if len(lessons) == 0 || lessons[0].Day < 9 || lessons[0].Day > 12 { // 9 unless the machine is slow
		t.Fatalf("%+v", lessons)
	}
	for i, l := range lessons {
		if l.Reason == "" || l.Desk == nil || l.Desk.Verdicts+l.Desk.Young > analystCloses || i > 0 && l.Desk.Verdicts < lessons[i-1].Desk.Verdicts {
			t.Errorf("%+v, the desk's %+v", l, l.Desk)
		}
	}
	if last := lessons[len(lessons)-1].Desk; last.Verdicts != analystCloses || last.Fraud+last.Genuine == 0 {
		t.Errorf("%+v", last)
	}
}

// TestDemoSaysItsNameOnce has a bank whose past is too short to learn from.
func TestDemoSaysItsNameOnce(t *testing.T) {
	got := call(t, "demo", "--customers", "200", "--past", "21", "--listen", "127.0.0.1:0", "--web", "off").fails(t, exitFailed, "weir demo: ", "--customers or --past")
	if strings.Contains(got.stderr, "demo: demo:") {
		t.Error(got.stderr)
	}
}

// TestReportFitsATerminal keeps what up, score and demo say at their end in 80 columns.
func TestReportFitsATerminal(t *testing.T) {
	text := stopReport{SourceRecords: 12345678, Scored: 12345678, Degraded: 123456, Unscored: 12345, Duplicate: 12345, Rejected: 123, Alerts: 1234567}.String()
	for line := range strings.Lines(text) {
		if got := len(strings.TrimSuffix(line, "\n")); got > 80 {
			t.Errorf("%d columns: %s", got, line)
		}
	}
	for _, words := range []string{"12,345,678 source records decided", "12,345,678 scored", "123,456 degraded", "12,345 unscored", "123 rejected", "1,234,567 alerts"} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
}

// TestDemoFitsATerminal keeps the table in 80 columns, each number below its name,
// also where a backlog is decided faster than the bank pays.
func TestDemoFitsATerminal(t *testing.T) {
	wide := fitted(fmt.Sprintf(tableRow, "111,649", "363", "553.1", "573.9", "12,032,062", "57,747", "2,644", "84", "0", "65", "12", "4"))
	if want := "111,649 363 553.1 573.9 12,032,062 57,747    2,644    84    0     65   12%    4%\n"; wide != want {
		t.Errorf("got %q, want %q", wide, want)
	}
	row := fmt.Sprintf(tableRow, "2,000", msText(14.51, 4), msText(0.347, 5), msText(1234.56, 5), "1,000,000", "338,383", "10,064", "308", "0", "1,234", "38", "100")
	for line := range strings.Lines(tableHead + row) {
		if got := len(strings.TrimSuffix(line, "\n")); got != 80 {
			t.Errorf("%d columns: %s", got, line)
		}
	}
}
