package ingest

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/schemas"
)

// TestTheClockJumps sets a scorer's clock forward and back by hours, and by a year, all the
// time while it decides, writes snapshots and publishes alerts: the ledger is that of one
// whose clock goes well, and it is decided as soon.
func TestTheClockJumps(t *testing.T) {
	if os.Getenv("WEIR_KAFKA") != "" {
		t.Skip("Kafka refuses a record of a clock that is an hour ahead (message.timestamp.after.max.ms): such a scorer halts until its clock is right: TestAClockThatIsAhead")
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

// TestAClockThatIsAhead has the clock of the scorer that has the shard go two hours ahead of
// the broker's, which refuses what it decides: it says so by name, and how much, and gives
// the shard to one whose clock is right. It does not take it back, nor say that it could,
// before its own is right, and then it does by itself. Nothing is lost.
func TestAClockThatIsAhead(t *testing.T) {
	w := newWorld(t, "payments", 2)
	w.refuseTheFuture()
	n := w.payments(300, 43, 2)
	var ahead atomic.Bool
	var pauses, joins atomic.Int64
	first := w.start(func(c *Config) {
		c.After = func(d time.Duration) <-chan time.Time {
			pauses.Add(1)
			return time.After(min(d, 50*time.Millisecond))
		}
		c.Probe = func(p Phase, in bool) {
			if p == Joining && in && ahead.Load() {
				joins.Add(1)
			}
		}
		c.RowsMax = 10
		c.Now = func() time.Time {
			if ahead.Load() {
				return time.Now().Add(2 * time.Hour)
			}
			return time.Now()
		}
		var once sync.Once
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) { once.Do(func() { ahead.Store(true) }) }
	})
	halted := func() float64 {
		return testutil.ToFloat64(first.node.Metrics.Halted.WithLabelValues("clock_ahead"))
	}
	says := regexp.MustCompile(`this host's clock is ahead of the broker's.* takes times up to .*, (1h0m|59m)`)
	first.until("halts", func(s Status) bool { return halted() == 1 && !s.Ready && !s.Owner && says.MatchString(s.Reason) })
	if k := first.node.Status().Counts.Decisions(); k >= n {
		t.Errorf("all %d records are decided by a clock that is ahead", k)
	}
	second := w.start(hasty)
	second.decided(n)
	before := pauses.Load()
	first.until("tries again and again", func(Status) bool { return pauses.Load() > before+5 })
	if s := first.node.Status(); halted() != 1 || s.Ready || joins.Load() > 0 {
		t.Errorf("its clock is ahead; it joined %d times, and says %+v", joins.Load(), s)
	}
	ahead.Store(false)
	first.until("stands by", func(s Status) bool { return halted() == 0 && s.Ready && !s.Owner })
	second.stop()
	n += w.payments(100, 44, 2)
	first.decided(n)
	first.stop()
	w.finish(n)
	w.verify()
	w.checkAlerts()
}

// TestADeadLetterOfTheFuture has a record that cannot be read claim a time of next year,
// which its topic took. The topic of dead letters would not.
func TestADeadLetterOfTheFuture(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 1)
	var f feed
	f.add([]byte("{"), time.Now().AddDate(1, 0, 0).UnixMilli())
	f.send(w, w.topics.Transactions, 0)
	w.refuseTheFuture()
	r := w.start(hasty)
	r.until("publishes it", func(Status) bool { return testutil.ToFloat64(r.node.Metrics.Dead) == 1 })
	r.stop()
	if letters := w.records(w.topics.DLQ, 0); len(letters) != 1 || letters[0].Timestamp > time.Now().UnixMilli() {
		t.Errorf("the dead letters are %+v", letters)
	}
}

// refuseTheFuture has the embedded broker refuse, as Kafka does, records that are more than
// an hour ahead of it.
func (w *world) refuseTheFuture() {
	if w.broker == nil {
		return
	}
	cluster := w.broker.Cluster()
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		topic := &req.Topics[0] // weir sends one batch at a time
		var b kmsg.RecordBatch
		if err := b.ReadFrom(topic.Partitions[0].Records); err != nil {
			return nil, err, true
		}
		now := time.Now().UnixMilli()
		most := now + time.Hour.Milliseconds()
		if b.MaxTimestamp <= most {
			return nil, nil, false
		}
		words := fmt.Sprintf("Timestamp %d of message with offset 0 is out of range. The timestamp should be within [%d, %d]", b.MaxTimestamp, now-math.MaxInt64, most)
		answer := req.ResponseKind().(*kmsg.ProduceResponse)
		answer.Topics = []kmsg.ProduceResponseTopic{{Topic: topic.Topic, TopicID: topic.TopicID, Partitions: []kmsg.ProduceResponseTopicPartition{{
			Partition: topic.Partitions[0].Partition, ErrorCode: kerr.InvalidTimestamp.Code, BaseOffset: -1,
			ErrorRecords: []kmsg.ProduceResponseTopicPartitionErrorRecord{{ErrorMessage: &words}}}}}}
		return answer, nil, true
	})
}
