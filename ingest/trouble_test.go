package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// requestKinds are all that a scorer asks brokers, each with an error that it may get for
// an answer; nil: the answer has room for none.
var requestKinds = []struct {
	key kmsg.Key
	err *kerr.Error
}{
	{kmsg.Produce, kerr.NotEnoughReplicas},
	{kmsg.Produce, kerr.RequestTimedOut},
	{kmsg.Produce, kerr.NotLeaderForPartition},
	{kmsg.Fetch, kerr.KafkaStorageError},
	{kmsg.Fetch, kerr.UnknownServerError},
	{kmsg.ListOffsets, kerr.LeaderNotAvailable},
	{kmsg.Metadata, kerr.LeaderNotAvailable},
	{kmsg.FindCoordinator, kerr.CoordinatorNotAvailable},
	{kmsg.JoinGroup, kerr.CoordinatorLoadInProgress},
	{kmsg.SyncGroup, kerr.NotCoordinator},
	{kmsg.Heartbeat, kerr.NotCoordinator},
	{kmsg.LeaveGroup, kerr.NotCoordinator},
	{kmsg.OffsetCommit, kerr.CoordinatorLoadInProgress},
	{kmsg.DescribeConfigs, kerr.UnknownServerError},
	{kmsg.ApiVersions, nil},
}

// TestEveryRequestMayFail has a broker answer each kind of request with an error, break
// the connection, answer late and never answer, a few times, while a scorer begins, decides
// and ends: everything is decided, nobody's help is asked for, and none is needed.
func TestEveryRequestMayFail(t *testing.T) {
	embedded(t)
	for _, kind := range requestKinds {
		name := kmsg.NameForKey(int16(kind.key))
		if kind.err != nil {
			name += " " + kind.err.Message
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, "payments", 2, broker.Options{Session: session})
			w.log.Close()
			w.log = kafka.New(kafka.Options{Brokers: []string{w.addr}, Timeout: 400 * time.Millisecond})
			t.Cleanup(w.log.Close)
			total := int64(0)
			for k, mode := range []string{"error", "break", "late", "silence"} {
				if mode == "error" && kind.err == nil || mode == "silence" && testing.Short() {
					continue
				}
				total += w.payments(60, uint64(k+1), 2)
				hits := w.trouble(kind.key, kind.err, mode)
				var log bytes.Buffer // whoever writes to it has ended by the time that it is read
				w.logTo = io.MultiWriter(t.Output(), &log)
				r := w.start(func(c *Config) {
					hasty(c)
					c.RowsMax, c.WatchEvery = 10, 5*time.Millisecond
					c.Membership = kafka.GroupOptions{Session: session, Heartbeat: 20 * time.Millisecond}
				})
				r.decided(total)
				// Of one that is sent as it ends the test hears afterwards.
				r.until(mode+": is ready", func(s Status) bool { return s.Ready && s.Owner && (hits() > 0 || kind.key == kmsg.LeaveGroup) })
				r.stop()
				if strings.Contains(log.String(), "level=ERROR") {
					t.Errorf("%s: nobody is needed, and it calls somebody:\n%s", mode, &log)
				}
				if hits() == 0 {
					t.Errorf("%s: no such request was sent", mode)
				}
			}
			w.finish(total)
			w.verify()
			w.checkAlerts()
		})
	}
}

// TestKafkaIsWaitedFor starts a node where no broker is: it says so, once in its log, and
// that nobody has to do anything about it, and decides once there is one.
func TestKafkaIsWaitedFor(t *testing.T) {
	embedded(t)
	w := newWorld(t, "payments", 2)
	n := w.payments(100, 5, 2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	nobody := l.Addr().String()
	w.must(l.Close())
	var there atomic.Bool
	w.log.Close()
	w.log = kafka.New(kafka.Options{Brokers: []string{w.addr}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !there.Load() {
			addr = nobody
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	t.Cleanup(w.log.Close)
	var log bytes.Buffer // whoever writes to it has ended by the time that it is read
	w.logTo = &log
	r := w.start(hasty)
	r.until("waits", func(s Status) bool {
		return strings.HasPrefix(s.Reason, "waits for Kafka: ") && testutil.ToFloat64(r.node.Metrics.Retries) > 3
	})
	if r.node.Status().Ready {
		t.Error("it is ready, with no broker")
	}
	there.Store(true)
	r.decided(n)
	if s := r.node.Status(); !s.Ready || s.Reason != "" {
		t.Errorf("it decides, and says %+v", s)
	}
	r.stop()
	if k := strings.Count(log.String(), "waits for Kafka"); k != 1 || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log says %d times that Kafka is waited for:\n%s", k, &log)
	}
	w.finish(n)
}

// TestOwnTroubleHalts has a node start with a folder of snapshots that is none: that does not
// pass by itself.
func TestOwnTroubleHalts(t *testing.T) {
	w := newWorld(t, "payments", 1)
	folder := filepath.Join(t.TempDir(), "snapshots")
	w.must(os.WriteFile(folder, nil, 0o600))
	r := w.start(func(c *Config) {
		hasty(c)
		c.SnapshotDir = folder
	})
	r.until("halts", func(s Status) bool {
		return !s.Ready && testutil.ToFloat64(r.node.Metrics.Halted.WithLabelValues("error")) == 1
	})
}

// trouble has the next requests of a kind go wrong, from one of the first on, and returns
// what tells how many did.
func (w *world) trouble(key kmsg.Key, err *kerr.Error, mode string) (hits func() int64) {
	var n atomic.Int64
	times, skip := int64(1), int64(0) // some are sent once in a life
	if key < kmsg.OffsetCommit {
		times, skip = 3, rand.Int64N(5)
	}
	cluster := w.broker.Cluster()
	if mode == "error" {
		fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: int(times), TopLevel: key == kmsg.Heartbeat || key == kmsg.JoinGroup || key == kmsg.SyncGroup || key == kmsg.LeaveGroup})
		return func() int64 { return int64(fault.Hits()) }
	}
	cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		k := n.Add(1)
		if k <= skip {
			return nil, nil, false
		}
		if k >= skip+times {
			cluster.DropControl()
		}
		switch mode {
		case "break":
			return nil, errors.New("the connection breaks"), true
		case "silence":
			return nil, nil, true
		}
		cluster.SleepControl(func() { time.Sleep(250 * time.Millisecond) })
		return nil, nil, false
	})
	return func() int64 { return max(0, n.Load()-skip) }
}

// TestLeadersMove has every partition and the group's coordinator go from broker to broker
// while a scorer decides.
func TestLeadersMove(t *testing.T) {
	embedded(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(session))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w := &world{t: t, shards: 1, prefix: "w.", addr: cluster.ListenAddrs()[0], dir: t.TempDir(), logTo: t.Output()}
	w.open("payments", 2)
	n := w.payments(3000, 31, 2)
	steps, moves := 0, 0
	r := w.start(func(c *Config) {
		hasty(c)
		c.RowsMax, c.WatchEvery = 20, 5*time.Millisecond
		c.Membership = kafka.GroupOptions{Session: session, Heartbeat: 5 * time.Millisecond}
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) {
			if steps++; steps%5 != 0 {
				return
			}
			for _, topic := range []string{w.topics.Transactions, w.topics.Decisions, w.topics.Alerts, w.topics.Labels} {
				moves++
				w.must(cluster.MoveTopicPartition(topic, 0, int32(moves)%3))
			}
			w.must(cluster.MoveTopicPartition(w.topics.Transactions, 1, int32(moves)%3))
			if steps%50 == 0 {
				cluster.RehashCoordinators()
			}
		}
	})
	r.decided(n)
	r.stop()
	if moves < 20 {
		t.Errorf("%d leaders moved", moves)
	}
	w.finish(n)
	w.verify()
	w.checkAlerts()
}
