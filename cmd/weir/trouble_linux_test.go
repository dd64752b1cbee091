package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
)

// TestARebalanceStorm has a member join the group of two scorers and leave it again, all
// the time: nobody loses the shard, and payments are decided meanwhile.
func TestARebalanceStorm(t *testing.T) {
	joins, every := sizeOf(150, 15, briefly(15, 8)), 200*time.Millisecond
	if os.Getenv("WEIR_PROVE") != "" {
		every = 2 * time.Second // five minutes
	}
	w := newCrashWorld(t, kafkaForTest(t))
	w.snapshotEvery = 1000
	w.load(0, 4, "storm")
	owner := w.score("storm", "owner")
	bank := w.feed(w.topics("storm"))
	w.pay(bank, 1000)
	owner.until("the first decisions", func() bool { return w.progress("storm") == w.total })
	standby := w.score("storm", "standby")
	standby.until("standing by", func() bool { return standby.said("serves metrics") != nil && standby.ready() })
	before, waits := owner.memory(), []time.Duration{}
	for range joins {
		began := time.Now()
		m, err := kafka.Join(t.Context(), w.log, w.prefix("storm")+"score", w.topics("storm").Decisions, kafka.GroupOptions{Session: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w.pay(bank, 20)
		owner.until("decisions while members come and go", func() bool { return w.progress("storm") == w.total })
		waits = append(waits, time.Since(began))
		owner.until("the member's joining", m.Joined)
		time.Sleep(time.Until(began.Add(every)))
		m.Close()
	}
	t.Logf("%d times a member came and went; payments were decided after %s", joins, spread(waits))
	if slices.Max(waits) > 2*time.Second {
		t.Error("payments waited for the storm")
	}
	if !owner.ready() || owner.metric("weir_owner") != 1 || standby.metric("weir_owner") != 0 || len(owner.lines("decides")) != 1 || !owner.lost().IsZero() {
		t.Errorf("the shard did not stay where it was:\n%s", owner.logged())
	}
	owner.grew(before)
	standby.stop()
	owner.stop()
	w.verified(w.brokers, "storm")
}

// TestAFullDisk fills the disk on which a weir up keeps snapshots, its history in SQLite and
// the desk's accounts, while payments and records that cannot be read come: scoring goes
// on, and what was not written is once there is room, by nobody's help.
func TestAFullDisk(t *testing.T) {
	if sizeOf(1, 1, 0) == 0 && os.Getenv("WEIR_MUTANTS") == "" {
		t.Skip("takes ten seconds: with the real servers, WEIR_PROVE, or make mutants")
	}
	w := newCrashWorld(t, kafkaForTest(t))
	data := filepath.Join(w.dir, "up")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	rounds := sizeOf(100, 10, 3) // of 500 payments, all of which the disk has room for in the end
	if err := syscall.Mount("weir", data, "tmpfs", 0, fmt.Sprintf("size=%dm", max(64, 5*rounds))); err != nil {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			t.Skip("to make a small disk takes root")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(data, syscall.MNT_DETACH) })
	w.command, w.snapshotEvery = "up", 500
	w.load(0, 4, "up")
	o := &outage{url: filepath.Join(data, "history.db")}
	p := start(t, append(w.flags("up", data), "--kafka", w.brokers, "--history", o.url)...)
	bank := w.feed(w.topics("up"))
	w.pay(bank, 2000)
	held := func() bool { c, err := w.kept(o); return err == nil && c.Final == w.total }
	p.until("a history before the disk is full", held)
	before := p.memory()

	filler := filepath.Join(data, "filler")
	fillDisk(t, filler)
	errs := p.metric("weir_snapshot_errors_total")
	for range rounds {
		w.pay(bank, 500)
		p.until("decisions while the disk is full", func() bool { return w.progress("up") == w.total })
	}
	p.until("snapshots that fail", func() bool { return p.metric("weir_snapshot_errors_total") > errs })
	p.until("a history that fails", func() bool { return p.metric("weir_history_retries_total") > 0 })
	if c, err := w.kept(o); err == nil && c.Final == w.total {
		t.Error("all is in the history, on a disk that is full")
	}
	if p.metric("weir_owner") != 1 {
		t.Error("nobody decides")
	}
	p.grew(before)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	w.pay(bank, 1000)
	p.until("a history once there is room", held)
	failed, newest := p.metric("weir_snapshot_errors_total"), p.metric("weir_snapshot_position")
	w.pay(bank, 1000)
	p.until("a snapshot once there is room", func() bool { return p.metric("weir_snapshot_position") > newest })
	if now := p.metric("weir_snapshot_errors_total"); now != failed {
		t.Errorf("%v snapshots failed, with room for them", now-failed)
	}
	p.until("readiness", p.ready)
	w.finish(p, "up")
	w.once(o)
	w.provedFromHistory(o)
	w.verified(w.brokers, "up")
}

// fillDisk writes a file until nothing more fits.
func fillDisk(t testing.TB, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
