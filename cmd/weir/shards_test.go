package main

import "testing"

// TestShardsOfProcesses has two processes share a ledger of four shards, kills the first
// while both decide, and starts it again: every record is decided once, and verify finds
// nothing.
func TestShardsOfProcesses(t *testing.T) {
	const records, partitions, shards = 6000, 8, 4
	w := newCrashWorld(t, kafkaForTest(t))
	w.snapshotEvery = 300
	if err := w.log.Ensure(t.Context(), w.topics("run").Sharded(partitions, shards)); err != nil {
		t.Fatal(err)
	}
	w.load(records/2, partitions, "run")
	one := w.score("run", "one")
	one.until("decides a part", func() bool { return w.progress("run") > records/8 })
	two := w.score("run", "two")
	two.until("takes some shards", func() bool { return two.said("decides") != nil })
	one.kill()
	two.until("decides what there is", func() bool { return w.progress("run") >= records/2 })
	one = w.score("run", "one")
	one.until("takes some back", func() bool { return one.said("decides") != nil })
	f := w.feed(w.topics("run"))
	for f.total < records/2 { // each again, as a duplicate
		f.drawHour(min(2000, records/2-int(f.total)))
		if err := f.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	two.until("decides the rest", func() bool { return w.progress("run") >= records })
	one.stop()
	two.stop()
	w.total = records
	r := w.verified(w.brokers, "run")
	if r.Decisions != records || !r.OK() {
		t.Errorf("verify finds %+v", r)
	}
}
