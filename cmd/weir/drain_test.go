package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDrain takes the one of two scorers out that decides, while its standby waits: it is
// gone when weir drain says so, has left a snapshot, and the other one decides.
func TestDrain(t *testing.T) {
	w := newCrashWorld(t, kafkaForTest(t))
	w.snapshotEvery = 1_000_000
	w.load(2000, 4, "run")
	owner := w.score("run", "one")
	owner.until("decisions", func() bool { return owner.said("decides") != nil && w.sourceDecided("run") == 2000 })
	standby := w.score("run", "two")
	standby.until("standing by", func() bool { return standby.said("serves metrics") != nil })

	one, two := filepath.Join(w.dir, "one"), filepath.Join(w.dir, "two")
	again := start(t, append(w.flags("run", one), "--kafka", w.brokers)...)
	err := <-again.done
	if again.done <- err; err == nil || !strings.Contains(all(again), "another scorer runs with this folder") {
		t.Errorf("a second scorer with the folder ends with %v:\n%s", err, all(again))
	}

	var r drained
	lastLine(t, call(t, "drain", "--data", one, "--json").succeeds(t).stdout, &r)
	if there := !gone(owner.cmd.Process.Pid); there || r.PID != owner.cmd.Process.Pid {
		t.Errorf("process %d is said to be gone, of %d, which is there: %t", r.PID, owner.cmd.Process.Pid, there)
	}
	_, end, err := w.log.Offsets(t.Context(), w.topics("run").Decisions, 0)
	if _, missing := os.Stat(r.Snapshot); err != nil || missing != nil || !r.Written || r.Offset != end {
		t.Errorf("%+v, of a ledger that ends at %d (%v)", r, end, err)
	}
	standby.until("taking over", func() bool { return standby.said("decides") != nil })
	call(t, "drain", "--data", one).fails(t, exitFailed, "no scorer runs with "+one)

	// One that does not stop in time is waited for no longer, and stops all the same.
	if err := standby.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	call(t, "drain", "--data", two, "--timeout", "50ms").fails(t, exitFailed, "still runs 50ms after it was asked to stop")
	if err := standby.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	err = <-standby.done
	if standby.done <- err; err != nil {
		t.Errorf("a scorer that was drained ends with %v:\n%s", err, standby.logged())
	}

	// One that was killed holds nothing, though its file is there.
	killed := w.score("run", "one")
	killed.until("address", func() bool { return killed.said("serves metrics") != nil })
	killed.kill()
	call(t, "drain", "--data", one).fails(t, exitFailed, "no scorer runs with")
	call(t, "drain", "--data", filepath.Join(w.dir, "none")).fails(t, exitFailed, "--data names it")
}

// all is all that a process said on stderr.
func all(p *process) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text []string
	for _, line := range p.log {
		msg, _ := line["msg"].(string)
		text = append(text, msg)
	}
	return strings.Join(text, "\n")
}
