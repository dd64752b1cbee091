package ingest

import (
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/broker"
)

// TestNothingOfAnotherSourceIsDecided makes the source anew between two fetches of a
// node that does not look at its topics by itself, and fills it beyond where the
// node is: the next fetch would find records there, and other ones.
func TestNothingOfAnotherSourceIsDecided(t *testing.T) {
	w := newWorldOn(t, "payments", 1, broker.Options{Session: session})
	n := w.payments(600, 6, 1)
	cable := &wires{}
	r := w.join(cable, func(c *Config) { c.WatchEvery, c.FetchWait, c.SnapshotDir = time.Hour, 10*time.Millisecond, "" })
	r.decided(n)
	_, end := w.ends(w.topics.Decisions, 0)
	release := cable.hold()
	w.until(func() string { return "no source is fetched" }, func() bool { return cable.waiting() == int(numClasses) })
	w.anew(w.topics.Transactions)
	w.sendAgain(len(w.saved.values))
	w.sendAgain(len(w.saved.values))
	close(release)
	r.halted("source_recreated")
	r.stop()
	if _, now := w.ends(w.topics.Decisions, 0); now != end {
		t.Errorf("%d records were written to the ledger of the old source", now-end)
	}
}
