package ingest

import (
	"bytes"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestTheClockJumps sets a scorer's clock forward and back by hours, and by a year, all the
// time while it decides, writes snapshots and publishes alerts: the ledger is that of one
// whose clock goes well, and it is decided as soon.
func TestTheClockJumps(t *testing.T) {
	if os.Getenv("WEIR_KAFKA") != "" {
		t.Skip("Kafka refuses a record of a clock that is an hour ahead (message.timestamp.after.max.ms): such a scorer waits until its clock is right")
	}
	jumps := []time.Duration{0, 5 * time.Hour, -5 * time.Hour, time.Minute, -365 * 24 * time.Hour, 365 * 24 * time.Hour}
	var ledgers [2][][]byte
	for i, jumping := range []bool{false, true} {
		w := newWorld(t, "payments", 2)
		w.challenge()
		n := w.payments(2000, 41, 2)
		var off atomic.Int64
		steps := 0
		r := w.start(func(c *Config) {
			c.RowsMax, c.SnapshotEvery, c.WatchEvery = 20, 500, 5*time.Millisecond
			c.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
			c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
				if steps++; jumping {
					off.Store(int64(jumps[steps%len(jumps)]))
				}
			}
		})
		r.decided(n)
		r.until("is ready", func(s Status) bool { return s.Ready })
		r.stop()
		if steps < 2*len(jumps) {
			t.Errorf("%d steps", steps)
		}
		w.finish(n)
		w.verify()
		w.checkAlerts()
		ledgers[i] = w.ledger()[1:] // the genesis record names the topic's own id
	}
	calm, jumped := ledgers[0], ledgers[1]
	if len(calm) != len(jumped) {
		t.Fatalf("%d records in the ledger, %d with a clock that goes well", len(jumped), len(calm))
	}
	for i := range calm {
		if !bytes.Equal(calm[i], jumped[i]) {
			t.Fatalf("ledger record %d differs", i)
		}
	}
}
