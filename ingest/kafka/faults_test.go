package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// want reports an error that is not the one named.
func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got %v, want %v", err, target)
	}
}

func TestErrorsAreNamed(t *testing.T) {
	f := anywhere(t, map[string]string{"max.message.bytes": "2000"})
	ctx := t.Context()
	_, _, err := f.c.Fetch(ctx, kafka.FetchRequest{Topic: f.topic, Offset: 7, MaxBytes: 1000}, nil)
	want(t, err, kafka.ErrOffsetOutOfRange)
	none := unique("none")
	_, _, err = f.c.Fetch(ctx, kafka.FetchRequest{Topic: none, MaxBytes: 1000}, nil)
	want(t, err, kafka.ErrUnknownTopic)
	_, _, err = f.c.Fetch(ctx, kafka.FetchRequest{Topic: f.topic, Partition: 5, MaxBytes: 1000}, nil)
	want(t, err, kafka.ErrUnknownTopic)
	_, err = f.c.Describe(ctx, none)
	want(t, err, kafka.ErrUnknownTopic)
	_, _, err = f.c.Offsets(ctx, none, 0)
	want(t, err, kafka.ErrUnknownTopic)
	_, err = f.c.Produce(ctx, none, 0, batch(t, kafka.None, "v"))
	want(t, err, kafka.ErrUnknownTopic)
	_, err = f.c.Produce(ctx, f.topic, 0, batch(t, kafka.None, strings.Repeat("v", 3000)))
	want(t, err, kafka.ErrTooLarge)
	_, err = f.c.Produce(ctx, f.topic, 0, []byte("not a batch at all, but long enough to be looked at as if it were one...."))
	if err == nil {
		t.Error("a broken batch was taken")
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = f.c.Produce(done, f.topic, 0, nil)
	want(t, err, context.Canceled)
	if base := f.produce("after all that"); base != 0 {
		t.Errorf("the log has %d records before the first that was taken", base)
	}
}

// TestProduceWithUnknownOutcome has brokers that append and do not say so, that
// say that they timed out, and that never answer.
func TestProduceWithUnknownOutcome(t *testing.T) {
	cluster, f := faulty(t, nil)
	for _, e := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: f.topic, Err: e})
		_, err := f.c.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, e.Message))
		want(t, err, kafka.ErrUnknownOutcome)
	}
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the connection breaks"), true
	})
	_, err := f.c.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, "broke"))
	want(t, err, kafka.ErrUnknownOutcome)
	silent := func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true }
	cluster.ControlKey(int16(kmsg.Produce), silent)
	hasty := kafka.New(kafka.Options{Brokers: []string{f.addr}, Timeout: 200 * time.Millisecond})
	defer hasty.Close()
	_, err = hasty.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, "silence"))
	want(t, err, kafka.ErrUnknownOutcome)
	if kafka.Classify(err) != kafka.Retry {
		t.Errorf("a time-out is not tried again: %v", err)
	}
	cluster.ControlKey(int16(kmsg.Produce), silent)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = f.c.Produce(ctx, f.topic, 0, batch(t, kafka.None, "cut short"))
	want(t, err, kafka.ErrUnknownOutcome)
	want(t, err, context.DeadlineExceeded)
	if got := f.values(0); len(got) != 2 {
		t.Errorf("the log holds %q, want what the first two left", got)
	}
}

// TestRefusalsAreNotUnknownOutcomes has answers that say that nothing was
// appended.
func TestRefusalsAreNotUnknownOutcomes(t *testing.T) {
	cluster, f := faulty(t, nil)
	check := func(e *kerr.Error, class kafka.Class) {
		t.Helper()
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: f.topic, Err: e})
		_, err := f.c.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, "v"))
		if err == nil || errors.Is(err, kafka.ErrUnknownOutcome) || kafka.Classify(err) != class {
			t.Errorf("%s: got %v, class %d, want class %d", e.Message, err, kafka.Classify(err), class)
		}
	}
	check(kerr.NotEnoughReplicas, kafka.Retry)
	check(kerr.NotLeaderForPartition, kafka.Retry)
	check(kerr.KafkaStorageError, kafka.Retry)
	check(kerr.CorruptMessage, kafka.Stop)
	check(kerr.InvalidRecord, kafka.Stop)
	check(kerr.TopicAuthorizationFailed, kafka.Stop)
	check(kerr.UnsupportedForMessageFormat, kafka.Stop)
	check(kerr.PolicyViolation, kafka.Stop)
	if got := f.values(0); len(got) != 0 {
		t.Errorf("the log holds %q", got)
	}
}

// TestTheLeaderMoves moves the partition between each two requests: a produce
// says so once, the reader goes on by itself.
func TestTheLeaderMoves(t *testing.T) {
	cluster, f := faulty(t, nil, kfake.NumBrokers(3))
	r := kafka.NewReader(f.c, f.topic, 0, kafka.Earliest)
	defer r.Close()
	f.produce("0")
	for i := 1; i < 7; i++ {
		node := (cluster.LeaderFor(f.topic, 0) + 1) % 3
		if err := cluster.MoveTopicPartition(f.topic, 0, node); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint(i)
		if _, err := f.c.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, value)); !errors.Is(err, kafka.ErrNotLeader) || kafka.Classify(err) != kafka.Retry {
			t.Fatalf("got %v, want %v", err, kafka.ErrNotLeader)
		}
		if base := f.produce(value); base != int64(i) {
			t.Fatalf("appended at %d, want %d", base, i)
		}
		if err := cluster.MoveTopicPartition(f.topic, 0, (node+1)%3); err != nil {
			t.Fatal(err)
		}
		var got []string
		for r.Position() <= int64(i) && len(got) < 1+i {
			got = append(got, next(t, r)...)
		}
		if got[len(got)-1] != value {
			t.Fatalf("read %q, want it to end with %q", got, value)
		}
	}
	if err := cluster.MoveTopicPartition(f.topic, 0, (cluster.LeaderFor(f.topic, 0)+1)%3); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.c.Offsets(t.Context(), f.topic, 0)
	want(t, err, kafka.ErrNotLeader)
	if _, end, err := f.c.Offsets(t.Context(), f.topic, 0); end != 7 || err != nil {
		t.Errorf("the log ends at %d, %v", end, err)
	}
}

// TestEnsureAwaitsALeader asks for a topic that is there and that another broker leads now,
// as where somebody else has made it a moment ago: what comes after it is answered.
func TestEnsureAwaitsALeader(t *testing.T) {
	cluster, f := faulty(t, nil, kfake.NumBrokers(3))
	f.produce("0")
	if err := cluster.MoveTopicPartition(f.topic, 0, (cluster.LeaderFor(f.topic, 0)+1)%3); err != nil {
		t.Fatal(err)
	}
	if err := f.c.Ensure(t.Context(), []schemas.Layout{{Topic: f.topic, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, end, err := f.c.Offsets(t.Context(), f.topic, 0); end != 1 || err != nil {
		t.Errorf("the log ends at %d, %v", end, err)
	}
}

// next returns the values of a reader's next fetch.
func next(t *testing.T, r *kafka.Reader) (list []string) {
	t.Helper()
	records, err := r.Next(t.Context(), math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for records.Next() {
		list = append(list, string(records.Record().Value))
	}
	if err := records.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestABrokerThatWasAwayIsFoundAgain restarts a broker on its folder and port.
// Connections that wait for a request are dead then, and a produce must not be
// sent over one: it would end with an unknown outcome.
func TestABrokerThatWasAwayIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	addr := b.Addr()
	f := at(t, addr, nil)
	r := kafka.NewReader(f.c, f.topic, 0, kafka.Earliest)
	defer r.Close()
	for i := range int64(4) {
		if base := f.produce(fmt.Sprint(i)); base != i {
			t.Fatalf("appended at %d, want %d", base, i)
		}
		if got := next(t, r); len(got) != 1 || got[0] != fmt.Sprint(i) {
			t.Fatalf("read %q, want %d", got, i)
		}
		if _, err := f.c.MessageMax(t.Context(), f.topic); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if i == 2 {
			_, err := f.c.Produce(t.Context(), f.topic, 0, batch(t, kafka.None, "nobody is there"))
			if err == nil || errors.Is(err, kafka.ErrUnknownOutcome) || kafka.Classify(err) != kafka.Retry {
				t.Errorf("with no broker: got %v", err)
			}
		}
		if b, err = broker.Start(broker.Options{Dir: dir, Addr: addr}); err != nil {
			t.Fatal(err)
		}
	}
	defer b.Close()
	if got := f.values(0); fmt.Sprint(got) != "[0 1 2 3]" {
		t.Errorf("the log holds %q", got)
	}
}

// TestReaderGoesOnAfterBrokenFetches breaks connections, answers with errors
// that pass, and then serves.
func TestReaderGoesOnAfterBrokenFetches(t *testing.T) {
	cluster, f := faulty(t, nil)
	f.produce("a", "b")
	for range 3 {
		cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("the connection breaks"), true
		})
	}
	for _, e := range []*kerr.Error{kerr.LeaderNotAvailable, kerr.KafkaStorageError, kerr.OffsetNotAvailable, kerr.FencedLeaderEpoch} {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: f.topic, Err: e})
	}
	r := kafka.NewReader(f.c, f.topic, 0, 0)
	defer r.Close()
	if got := next(t, r); fmt.Sprint(got) != "[a b]" {
		t.Errorf("read %q", got)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: f.topic, Err: kerr.TopicAuthorizationFailed})
	_, err := r.Next(t.Context(), math.MaxInt64)
	want(t, err, kafka.ErrRefused)
}

// TestATopicMadeAgainIsAnother deletes a topic under its reader and makes it
// again. The reader reads nothing of the new one, as long as it may be; whoever
// asks by the name alone does.
func TestATopicMadeAgainIsAnother(t *testing.T) {
	f := anywhere(t, nil)
	before, err := f.c.Describe(t.Context(), f.topic)
	if err != nil {
		t.Fatal(err)
	}
	f.produce("a", "b", "c")
	r := kafka.NewReader(f.c, f.topic, 0, 0)
	defer r.Close()
	if got := next(t, r); len(got) != 3 {
		t.Fatalf("read %q", got)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10000
	req.TopicNames = []string{f.topic}
	named := kmsg.NewDeleteTopicsRequestTopic()
	named.Topic = &f.topic
	req.Topics = append(req.Topics, named)
	if _, err := req.RequestWith(t.Context(), f.franz()); err != nil {
		t.Fatal(err)
	}
	soon(t, "the topic's end", func() bool {
		_, err := f.c.Describe(t.Context(), f.topic)
		return errors.Is(err, kafka.ErrUnknownTopic)
	})
	_, err = r.Next(t.Context(), math.MaxInt64)
	want(t, err, kafka.ErrUnknownTopic)
	if err := f.c.Ensure(t.Context(), []schemas.Layout{{Topic: f.topic, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	after, err := f.c.Describe(t.Context(), f.topic)
	if err != nil || after.ID == before.ID || after.ID == [16]byte{} || after.Partitions != 1 {
		t.Errorf("described as %+v, before that as %+v: %v", after, before, err)
	}
	f.produce("1", "2", "3", "4")
	_, err = r.Next(t.Context(), math.MaxInt64)
	want(t, err, kafka.ErrUnknownTopic)
	at := kafka.FetchRequest{Topic: f.topic, ID: before.ID, Offset: 3, MaxBytes: 1000}
	_, _, err = f.c.Fetch(t.Context(), at, nil)
	want(t, err, kafka.ErrUnknownTopic)
	for _, id := range [][16]byte{after.ID, {}} {
		at.ID = id
		if a, _, err := f.c.Fetch(t.Context(), at, nil); err != nil || a.ID != after.ID || a.HighWatermark != 4 || len(a.Records) == 0 {
			t.Errorf("fetched %+v of id %x: %v", a, id, err)
		}
	}
}

// TestRetentionPassesAPosition deletes the log's beginning under readers.
func TestRetentionPassesAPosition(t *testing.T) {
	f := anywhere(t, nil)
	for i := range 5 {
		f.produce(fmt.Sprint(i))
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = f.topic
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = 3
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	if _, err := req.RequestWith(t.Context(), f.franz()); err != nil {
		t.Fatal(err)
	}
	if start, end, err := f.c.Offsets(t.Context(), f.topic, 0); start != 3 || end != 5 || err != nil {
		t.Errorf("the log has %d to %d, %v", start, end, err)
	}
	_, err := kafka.NewReader(f.c, f.topic, 0, 1).Next(t.Context(), 5)
	want(t, err, kafka.ErrOffsetOutOfRange)
	_, err = kafka.NewLedgerReader(f.c, f.topic, 0, schemas.Anchor{Offset: 1}).Next(t.Context(), 5)
	want(t, err, kafka.ErrTrimmed)
	_, err = kafka.NewReader(f.c, f.topic, 0, 0).Get(t.Context(), 2)
	want(t, err, kafka.ErrOffsetOutOfRange)
	_, err = kafka.NewReader(f.c, f.topic, 0, 0).Get(t.Context(), 5)
	want(t, err, kafka.ErrOffsetOutOfRange)
	if got := f.values(kafka.Earliest); fmt.Sprint(got) != "[3 4]" {
		t.Errorf("read %q from the earliest", got)
	}
	if rec, err := kafka.NewReader(f.c, f.topic, 0, 0).Get(t.Context(), 4); err != nil || string(rec.Value) != "4" {
		t.Errorf("got %v, %v", rec, err)
	}
}

// TestCompactionLeavesHoles compacts a log by key and reads what is left, by
// offsets, from inside the holes too.
func TestCompactionLeavesHoles(t *testing.T) {
	cluster, f := faulty(t, map[string]string{"cleanup.policy": "compact", "segment.ms": "1", "min.cleanable.dirty.ratio": "0"})
	var w kafka.BatchWriter
	for i := range 40 {
		w.Reset()
		for k := range 5 {
			w.Append([]byte(fmt.Sprint((i*5+k)%7)), []byte(fmt.Sprint(i*5+k)), time.Now().UnixMilli(), nil)
		}
		b, err := w.Finish(kafka.LZ4)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.c.Produce(t.Context(), f.topic, 0, b); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "compaction", func() bool {
		cluster.Compact()
		list, _ := readAll(t, f.c, f.topic, kafka.Earliest)
		return len(list) < 100
	})
	list, offsets := readAll(t, f.c, f.topic, kafka.Earliest)
	for i, o := range offsets {
		if list[i].value != fmt.Sprint(o) || i > 0 && o <= offsets[i-1] {
			t.Fatalf("offset %d after %v holds %q", o, offsets[:i], list[i].value)
		}
	}
	if len(list) < 7 || offsets[len(offsets)-1] != 199 {
		t.Fatalf("left are the offsets %v", offsets)
	}
	for from := offsets[0]; from < 200; from += 13 {
		some, at := readAll(t, f.c, f.topic, from)
		if len(some) == 0 || at[0] < from || at[len(at)-1] != 199 {
			t.Errorf("from %d: offsets %v", from, at)
		}
	}
}

// TestABatchLargerThanTheFetchComesWhole reads batches above the fetch's bound.
func TestABatchLargerThanTheFetchComesWhole(t *testing.T) {
	f := anywhere(t, map[string]string{"max.message.bytes": "10000000"})
	large := strings.Repeat("0123456789", 700_000)
	f.produce("before")
	f.produce(large)
	f.produce("after")
	if got := f.values(0); len(got) != 3 || got[1] != large || got[2] != "after" {
		t.Errorf("read %d records", len(got))
	}
	answer, buf, err := f.c.Fetch(t.Context(), kafka.FetchRequest{Topic: f.topic, Offset: 1, MaxBytes: 1000}, nil)
	if err != nil || len(answer.Records) < len(large) || len(buf) > len(large)+2000 {
		t.Errorf("a fetch of 1,000 bytes brings %d, %v", len(answer.Records), err)
	}
}

// TestAnEmptyFetchIsNoError fetches at the end of the log.
func TestAnEmptyFetchIsNoError(t *testing.T) {
	f := anywhere(t, nil)
	answer, _, err := f.c.Fetch(t.Context(), kafka.FetchRequest{Topic: f.topic, MaxWait: 10 * time.Millisecond, MinBytes: 1, MaxBytes: 1000}, nil)
	if err != nil || len(answer.Records) != 0 || answer.HighWatermark != 0 || answer.LastStableOffset != 0 {
		t.Errorf("got %+v, %v", answer, err)
	}
	r := kafka.NewReader(f.c, f.topic, 0, kafka.Earliest)
	if records, err := r.Next(t.Context(), 0); records != nil || err != nil {
		t.Errorf("a reader that has come to the end gives %v, %v", records, err)
	}
	if got := next(t, r); len(got) != 0 {
		t.Errorf("read %q", got)
	}
}

// TestADamagedLogIsRefused has a broker whose disk changed a bit, and one with
// records of an old format.
func TestADamagedLogIsRefused(t *testing.T) {
	cluster, f := faulty(t, nil)
	f.produce("good")
	check := func(name string, target error, b []byte) {
		t.Helper()
		cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic = f.topic
			p := kmsg.NewFetchResponseTopicPartition()
			p.HighWatermark, p.LastStableOffset, p.RecordBatches = 1, 1, b
			topic.Partitions = append(topic.Partitions, p)
			resp.Topics = append(resp.Topics, topic)
			return resp, nil, true
		})
		records, err := kafka.NewReader(f.c, f.topic, 0, 0).Next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for records.Next() {
			t.Errorf("%s: read %q", name, records.Record().Value)
		}
		want(t, records.Err(), target)
		if kafka.Classify(records.Err()) != kafka.Stop {
			t.Errorf("%s: %v is tried again", name, records.Err())
		}
	}
	damaged := bytes.Clone(batch(t, kafka.None, "good"))
	damaged[len(damaged)-3] ^= 1
	check("one bit", kafka.ErrCorrupt, damaged)
	old := bytes.Clone(batch(t, kafka.None, "good"))
	for _, format := range []byte{0, 1} {
		old[16] = format
		check(fmt.Sprint("format ", format), kafka.ErrOldFormat, old)
	}
	if got := f.values(0); fmt.Sprint(got) != "[good]" {
		t.Errorf("afterwards the log reads %q", got)
	}
}

// TestAway holds errors of brokers that do not answer apart from those of this machine, and
// from those that no time mends.
func TestAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c := kafka.New(kafka.Options{Brokers: []string{l.Addr().String()}})
	t.Cleanup(c.Close)
	_, _, refused := c.Offsets(t.Context(), "x", 0)
	_, file := os.ReadDir(os.Args[0])
	for _, x := range []struct {
		err  error
		away bool
	}{
		{refused, true},
		{&net.DNSError{Err: "no such host", Name: "kafka.example", IsNotFound: true}, true},
		{fmt.Errorf("read: %w", io.EOF), true},
		{context.DeadlineExceeded, true},
		{kafka.ErrNotLeader, true},
		{kafka.ErrUnknownOutcome, true},
		{kafkago.GroupCoordinatorNotAvailable, true},
		{fmt.Errorf("%w: %w", kafka.ErrRefused, kafkago.SASLAuthenticationFailed), false},
		{kafka.ErrUnknownTopic, false},
		{context.Canceled, false},
		{file, false},
		{syscall.EIO, false},
		{errors.New("x"), false},
	} {
		if x.err == nil || kafka.Away(x.err) != x.away {
			t.Errorf("%v: away is %t", x.err, !x.away)
		}
	}
}
