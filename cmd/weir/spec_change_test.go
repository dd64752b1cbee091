package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/broker"
)

// decides waits for more decisions than so many, and returns how many there are.
func (b *background) decides(than int64) (done int64) {
	b.t.Helper()
	b.until("decisions", func() bool {
		_, body := b.get("/readyz")
		if m := regexp.MustCompile(`"decisions":\s*(\d+)`).FindStringSubmatch(body); m != nil {
			done, _ = strconv.ParseInt(m[1], 10, 64)
		}
		return done > than
	})
	return done
}

// TestASpecIsChanged does what an operator does: edits the spec, sees the scorer halt,
// reads what to do, does it, and proves the ledger.
func TestASpecIsChanged(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	t.Chdir(t.TempDir())
	before := string(spec.BuiltinText("payments"))
	after := strings.Replace(before, "count() by card over 10m", "count() by card over 20m", 1)
	other := strings.Replace(after, "base EUR", "base USD", 1)
	write(t, map[string]string{"before.spec": before, "after.spec": after, "other.spec": other})
	simulated := func(seed int) int64 {
		var sent struct{ Transactions int64 }
		lastLine(t, call(t, "simulate", "--kafka", b.Addr(), "--seed", fmt.Sprint(seed), "--customers", "50", "--days", "2", "--json").succeeds(t).stdout, &sent)
		return sent.Transactions
	}
	score := func(args ...string) *background {
		return inBackground(t, append([]string{"score", "--kafka", b.Addr(), "--data", "data", "--listen", "127.0.0.1:0"}, args...)...)
	}
	sent := simulated(1)
	first := score("--spec", "before.spec")
	done := first.decides(sent - 1) // all of them, so that the next decision is by the next spec
	first.stop()
	if done != sent {
		t.Fatalf("%d decisions of %d transactions", done, sent)
	}

	halted := score("--spec", "after.spec")
	halted.until("what to do", func() bool { return strings.Contains(halted.said(), "--spec-before") })
	halted.stop()
	call(t, "check", "--spec", "after.spec", "--spec-before", "before.spec").succeeds(t)
	call(t, "check", "--spec", "other.spec", "--spec-before", "before.spec").fails(t, exitFailed, "spec-before", "base currency is USD and was EUR")

	next := score("--spec", "after.spec", "--spec-before", "before.spec")
	sent += simulated(2)
	next.decides(done)
	next.stop()
	if !strings.Contains(next.said(), "the ledger goes on by another spec") {
		t.Errorf("it does not say that the spec is another\n%s", next.said())
	}
	if err := os.RemoveAll("data/snapshots"); err != nil {
		t.Fatal(err)
	}
	again := score("--spec", "after.spec") // from the ledger, which says what was before
	again.decides(sent - 1)
	again.stop()

	var tailed struct {
		Spec struct{ Name, Hash, Before string }
	}
	for line := range strings.Lines(call(t, "tail", "--kafka", b.Addr(), "--from", "start", "--end", "decisions").succeeds(t).stdout) {
		if strings.Contains(line, `"spec":{"before"`) {
			lastLine(t, line, &tailed)
		}
	}
	if s := tailed.Spec; s.Name != "payments" || len(s.Hash) != 64 || len(s.Before) != 64 || s.Hash == s.Before {
		t.Errorf("weir tail says %+v", s)
	}
	for _, of := range []string{"after.spec", "before.spec"} {
		out := call(t, "verify", "--kafka", b.Addr(), "--data", "data", "--spec", of).succeeds(t).stdout
		if strings.Count(out, "decided by the spec payments (") != 2 {
			t.Errorf("verify says\n%s", out)
		}
	}
	call(t, "verify", "--kafka", b.Addr(), "--data", "data").succeeds(t)
	call(t, "verify", "--kafka", b.Addr(), "--data", "data", "--spec", "handbook").fails(t, exitFailed, "and never by handbook", "which --spec names")
}
