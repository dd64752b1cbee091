package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A kafkaWorld is a world on the real Kafka that WEIR_KAFKA names, and what an
// operator does to its topics there.
type kafkaWorld struct {
	*world
	admin *kgo.Client
	group string
}

func newKafkaWorld(t *testing.T) *kafkaWorld {
	t.Helper()
	prefix := fmt.Sprintf("changes%x.", rand.Uint64())
	w := &world{t: t, topics: schemas.DefaultTopics(prefix), dir: t.TempDir(), logTo: t.Output()}
	w.log = kafka.New(kafka.Options{Brokers: []string{os.Getenv("WEIR_KAFKA")}})
	t.Cleanup(w.log.Close)
	k := w.onKafka()
	k.group = prefix + "g"
	t.Cleanup(k.forget)
	for _, l := range w.topics.Layouts(2) {
		k.create(l.Topic, int32(l.Partitions))
	}
	s, ok := spec.Builtin("payments")
	if !ok {
		t.Fatal("no built-in spec payments")
	}
	w.use(s)
	return k
}

// onKafka is the world on the real Kafka that WEIR_KAFKA names.
func (w *world) onKafka() *kafkaWorld {
	w.t.Helper()
	admin, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("WEIR_KAFKA")))
	w.must(err)
	w.t.Cleanup(admin.Close)
	return &kafkaWorld{world: w, admin: admin}
}

// retain deletes the records of partition 0 before an offset, on either broker.
func (w *world) retain(topic string, from int64) {
	w.t.Helper()
	if w.broker != nil {
		w.trim(topic, 0, from)
		return
	}
	w.onKafka().trimmed(topic, from)
}

// anew makes a topic of one partition again, empty, on either broker.
func (w *world) anew(topic string) {
	w.t.Helper()
	if w.broker != nil {
		w.recreate(topic, 1)
		return
	}
	w.onKafka().recreated(topic, 1)
}

// create makes a topic and waits until each partition is led, which Kafka's
// answer does not. One of the same name that was deleted just now may still be
// in the way.
func (k *kafkaWorld) create(topic string, partitions int32) {
	k.t.Helper()
	k.until(func() string { return "makes " + topic }, func() bool {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 10_000
		ct := kmsg.NewCreateTopicsRequestTopic()
		ct.Topic, ct.NumPartitions, ct.ReplicationFactor = topic, partitions, 1
		// The bank's records are older than what Kafka keeps by default.
		for name, value := range map[string]string{"retention.ms": "-1", "max.message.bytes": "4194304"} {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = name, kmsg.StringPtr(value)
			ct.Configs = append(ct.Configs, c)
		}
		req.Topics = append(req.Topics, ct)
		resp, err := req.RequestWith(k.t.Context(), k.admin)
		k.must(err)
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return false
		}
		k.must(err)
		return true
	})
	for p := range partitions {
		k.until(func() string { return fmt.Sprintf("%s %d is led", topic, p) }, func() bool {
			_, _, err := k.log.Offsets(k.t.Context(), topic, p)
			return err == nil
		})
	}
}

func (k *kafkaWorld) remove(topic string) {
	k.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = kmsg.StringPtr(topic)
	req.Topics, req.TopicNames = append(req.Topics, dt), append(req.TopicNames, topic)
	resp, err := req.RequestWith(context.WithoutCancel(k.t.Context()), k.admin)
	k.must(err)
	k.must(kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

// forget deletes what is left of the world's topics.
func (k *kafkaWorld) forget() {
	for _, l := range k.topics.Layouts(2) {
		if _, err := k.log.Describe(context.WithoutCancel(k.t.Context()), l.Topic); err == nil {
			k.remove(l.Topic)
		}
	}
}

func (k *kafkaWorld) recreated(topic string, partitions int32) {
	k.t.Helper()
	k.remove(topic)
	k.create(topic, partitions)
}

func (k *kafkaWorld) grown(topic string, partitions int32) {
	k.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10_000
	ct := kmsg.NewCreatePartitionsRequestTopic()
	ct.Topic, ct.Count = topic, partitions
	req.Topics = append(req.Topics, ct)
	resp, err := req.RequestWith(k.t.Context(), k.admin)
	k.must(err)
	k.must(kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

// trimmed deletes the records of partition 0 before an offset, as retention does.
func (k *kafkaWorld) trimmed(topic string, to int64) {
	k.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	dt := kmsg.NewDeleteRecordsRequestTopic()
	dt.Topic = topic
	dp := kmsg.NewDeleteRecordsRequestTopicPartition()
	dp.Offset = to
	dt.Partitions = append(dt.Partitions, dp)
	req.Topics = append(req.Topics, dt)
	resp, err := req.RequestWith(k.t.Context(), k.admin)
	k.must(err)
	k.must(kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

// kafkaChanges are the changes of topics, made by an operator's requests.
var kafkaChanges = []struct {
	name   string
	make   func(k *kafkaWorld)
	reason string
	snaps  bool
}{
	{"the source is recreated", func(k *kafkaWorld) { k.recreated(k.topics.Transactions, 2) }, "source_recreated", false},
	{"the source is recreated and filled", func(k *kafkaWorld) {
		k.recreated(k.topics.Transactions, 2)
		k.sendAgain(len(k.saved.values))
		k.sendAgain(len(k.saved.values))
	}, "source_recreated", false},
	{"the source grows", func(k *kafkaWorld) { k.grown(k.topics.Transactions, 3) }, "source_partitions", false},
	{"the source is deleted", func(k *kafkaWorld) { k.remove(k.topics.Transactions) }, "topic_gone", false},
	{"the ledger is recreated", func(k *kafkaWorld) { k.recreated(k.topics.Decisions, 1) }, "ledger", false},
	{"the ledger is recreated, there is a snapshot", func(k *kafkaWorld) { k.recreated(k.topics.Decisions, 1) }, "ledger", true},
	{"the ledger grows", func(k *kafkaWorld) { k.grown(k.topics.Decisions, 2) }, "ledger_partitions", false},
	{"the ledger is deleted", func(k *kafkaWorld) { k.remove(k.topics.Decisions) }, "topic_gone", false},
	{"the ledger is trimmed", func(k *kafkaWorld) { k.trimmed(k.topics.Decisions, 300) }, "ledger_trimmed", false},
	{"the ledger is emptied", func(k *kafkaWorld) {
		_, end := k.ends(k.topics.Decisions, 0)
		k.trimmed(k.topics.Decisions, end)
	}, "ledger_trimmed", false},
	{"the ledger is trimmed up to before a snapshot", func(k *kafkaWorld) { k.trimmed(k.topics.Decisions, 300) }, "", true},
	{"labels grow", func(k *kafkaWorld) { k.grown(k.topics.Labels, 3) }, "", false},
	{"what is decided of the source is deleted", func(k *kafkaWorld) {
		_, end := k.ends(k.topics.Transactions, 0)
		k.trimmed(k.topics.Transactions, end)
	}, "", false},
}

// onKafka is called by tests that are the like of one on the embedded broker.
func onKafka(t *testing.T, like string) {
	t.Helper()
	if os.Getenv("WEIR_KAFKA") == "" {
		t.Skipf("needs a real Kafka, named by WEIR_KAFKA; %s does the same on the embedded broker", like)
	}
}

// TestChangesOfTopicsOnKafka makes the changes of [TestChangesOfTopicsAreNamed]
// on a real Kafka, by the requests that an operator's tools send: it deletes
// topics behind the answer, and knows of a change of its metadata later.
func TestChangesOfTopicsOnKafka(t *testing.T) {
	onKafka(t, "TestChangesOfTopicsAreNamed")
	for _, c := range kafkaChanges {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/down=%v", c.name, down), func(t *testing.T) {
				k := newKafkaWorld(t)
				n := k.payments(600, 6, 2)
				set := func(cfg *Config) {
					cfg.Group, cfg.WatchEvery, cfg.SnapshotDir = k.group, 50*time.Millisecond, ""
					if c.snaps {
						cfg.SnapshotDir, cfg.SnapshotEvery, cfg.RowsMax = k.dir, 400, 100
					}
				}
				r := k.start(set)
				r.decided(n)
				if c.snaps {
					r.until("has a snapshot", func(Status) bool { names, _ := Snapshots(k.dir); return len(names) > 0 })
				}
				if down {
					r.stop()
				}
				c.make(k)
				if down {
					r = k.start(set)
				}
				if c.reason != "" {
					r.halted(c.reason)
					r.stop()
					return
				}
				n += k.more(20)
				r.decided(n)
				r.until("is ready", func(s Status) bool { return s.Ready && s.Owner })
				r.stop()
				if k.topicStart(k.topics.Decisions) == 0 {
					k.verify()
				}
			})
		}
	}
}

// TestGapsAndNewPartitionsOnKafka deletes records that were not decided, and gives
// the source another partition. Either is named, and taken by hand.
func TestGapsAndNewPartitionsOnKafka(t *testing.T) {
	onKafka(t, "TestGapsAreGivenUpByHand")
	k := newKafkaWorld(t)
	n := k.payments(600, 7, 2)
	set := func(gaps ...schemas.Gap) func(*Config) {
		return func(c *Config) { watchful(c); c.Group, c.AcceptGaps = k.group, gaps }
	}
	k.runUntil(n, set())
	_, end := k.ends(k.topics.Transactions, 0)
	k.sendAgain(50)
	k.trimmed(k.topics.Transactions, end+20)
	halts := func(reason string, gaps ...schemas.Gap) {
		t.Helper()
		r := k.start(set(gaps...))
		r.halted(reason)
		r.stop()
	}
	right := schemas.Gap{From: end, To: end + 19, By: []byte("me")}
	halts("source_gone")
	halts("gap_refused", schemas.Gap{From: end, To: end + 18})
	k.runUntil(n+30, set(right))

	k.grown(k.topics.Transactions, 3)
	f := feed{values: k.saved.values[:40], times: k.saved.times[:40]}
	k.until(func() string { return "the new partition is led" }, func() bool {
		_, _, err := k.log.Offsets(t.Context(), k.topics.Transactions, 2)
		return err == nil
	})
	f.send(k.world, k.topics.Transactions, 2)
	halts("source_partitions")
	k.runUntil(n+70, set(schemas.Gap{Partition: 2, To: -1, By: []byte("me")}))
	if r := k.verify().Report; r.Gaps != 20 || r.Decisions != n+70 {
		t.Fatalf("%+v", r)
	}
}
