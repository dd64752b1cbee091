package kafka_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// fixture is a topic with a name of its own on some broker, and a client.
type fixture struct {
	t     testing.TB
	addr  string
	topic string
	c     *kafka.Client
}

// anywhere makes a topic on the embedded broker, or on the one that WEIR_KAFKA
// names: what is asserted there holds for both.
func anywhere(t testing.TB, config map[string]string) *fixture {
	t.Helper()
	addr := os.Getenv("WEIR_KAFKA")
	if addr == "" {
		b, err := broker.Start(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		addr = b.Addr()
	}
	return at(t, addr, config)
}

// at makes a topic on a broker.
func at(t testing.TB, addr string, config map[string]string) *fixture {
	t.Helper()
	f := &fixture{t: t, addr: addr, topic: unique("topic"), c: kafka.New(kafka.Options{Brokers: []string{addr}})}
	t.Cleanup(f.c.Close)
	if err := f.c.Ensure(t.Context(), []schemas.Layout{{Topic: f.topic, Partitions: 1, Config: config}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// faulty makes a topic on a cluster of kfake whose answers a test controls.
func faulty(t testing.TB, config map[string]string, opts ...kfake.Opt) (*kfake.Cluster, *fixture) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster, at(t, cluster.ListenAddrs()[0], config)
}

// unique returns a name that no other test run used on this broker.
func unique(name string) string { return fmt.Sprintf("%s-%x", name, rand.Uint64()) }

// seeded returns a source of random numbers and says how to get it again.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// franz returns a client of another make.
func (f *fixture) franz(opts ...kgo.Opt) *kgo.Client {
	f.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(f.addr), kgo.DefaultProduceTopic(f.topic)}, opts...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(cl.Close)
	return cl
}

// batch makes a record batch of values.
func batch(t testing.TB, codec kafka.Codec, values ...string) []byte {
	t.Helper()
	var w kafka.BatchWriter
	for _, v := range values {
		w.Append(nil, []byte(v), 1, nil)
	}
	b, err := w.Finish(codec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) produce(values ...string) int64 {
	f.t.Helper()
	base, err := f.c.Produce(f.t.Context(), f.topic, 0, batch(f.t, kafka.None, values...))
	if err != nil {
		f.t.Fatal(err)
	}
	return base
}

// values reads the values from an offset to the end.
func (f *fixture) values(from int64) (list []string) {
	f.t.Helper()
	records, _ := readAll(f.t, f.c, f.topic, from)
	for _, r := range records {
		list = append(list, r.value)
	}
	return list
}

// soon asks until the answer is yes; it is for what a broker does in the
// background.
func soon(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come true", what)
		}
	}
}
