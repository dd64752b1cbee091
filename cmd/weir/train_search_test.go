package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrainTrials searches, is stopped in its midst, and goes on from its journal: no
// trial is made twice, and the bundle is that of a search in one go.
func TestTrainTrials(t *testing.T) {
	if testing.Short() {
		t.Skip("learning is tested for races in package trainer")
	}
	dir, got := trained(t, "--ripe", "5d", "--iterations", "2")
	got.succeeds(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	journal := in("sub/trials.jsonl")
	train := func(trials string, args ...string) (rep trainReport) {
		t.Helper()
		lastLine(t, callWith(t, "", testTokenKey, append([]string{"train", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--key", in("sign.key"), "--to", "2025-01-12",
			"--ripe", "5d", "--family", "network", "--epochs", "1", "--trials", trials, "--journal", journal, "--out", in("best.weir"), "--json", in("tx.jsonl")}, args...)...).succeeds(t).stdout, &rep)
		return rep
	}
	whole := train("2", "--report", in("report.html"))
	if s := whole.Search; s == nil || s.Trials != 2 || s.Resumed != 0 || s.AveragePrecision < s.First {
		t.Fatalf("%+v", s)
	}
	lines := strings.SplitAfter(content(t, journal), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("the journal has %d lines", len(lines))
	}
	if html := content(t, in("report.html")); !strings.Contains(html, "edges a class") || !strings.Contains(html, "chosen") {
		t.Error("the report does not show the search")
	}
	// One trial is there, and a half of the next.
	if err := os.WriteFile(journal, []byte(lines[0]+lines[1][:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	again := train("2")
	if again.Bundle != whole.Bundle || again.Search.Resumed != 1 {
		t.Errorf("resumed %d trials, bundle %s; want 1 and %s", again.Search.Resumed, again.Bundle, whole.Bundle)
	}
	// Of other rows nothing is known.
	if rep := train("1", "--to", "2025-01-11"); rep.Search.Resumed != 0 {
		t.Errorf("%+v", rep.Search)
	}
	callWith(t, "", testTokenKey, "train", "--trials", "2", "--out", "x", "--labels", "l", "f").fails(t, exitUsage, "--trials 2", "--family network")
}
