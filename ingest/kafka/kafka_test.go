package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-risk/weir/ingest/broker"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// start starts an embedded broker with one topic and returns a client.
func start(t testing.TB, topic string, partitions int) (*broker.Broker, *kafka.Client) {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	c := kafka.New(kafka.Options{Brokers: []string{b.Addr()}})
	t.Cleanup(c.Close)
	if err := c.Ensure(t.Context(), []schemas.Layout{{Topic: topic, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
	return b, c
}

type record struct {
	key, value string
	headers    int
}

func randomRecords(r *rand.Rand, n int) []record {
	var list []record
	for i := range n {
		value := make([]byte, r.IntN(300))
		for k := range value {
			value[k] = "abcdefgh"[r.IntN(8)]
		}
		list = append(list, record{fmt.Sprint("k", i), string(value), r.IntN(3)})
	}
	return list
}

func readAll(t testing.TB, c *kafka.Client, topic string, from int64) (list []record, offsets []int64) {
	t.Helper()
	_, end, err := c.Offsets(t.Context(), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.NewReader(c, topic, 0, from)
	defer r.Close()
	for {
		records, err := r.Next(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		if records == nil {
			return list, offsets
		}
		for records.Next() {
			rec := records.Record()
			list = append(list, record{string(rec.Key), string(rec.Value), len(rec.Headers)})
			offsets = append(offsets, rec.Offset)
		}
		if err := records.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOursAreReadByFranzAndTheirsByUs writes each codec with one client and
// reads it with the other, both ways, and from offsets inside batches.
func TestOursAreReadByFranzAndTheirsByUs(t *testing.T) {
	theirs := map[kafka.Codec]kgo.CompressionCodec{kafka.None: kgo.NoCompression(), kafka.Gzip: kgo.GzipCompression(),
		kafka.Snappy: kgo.SnappyCompression(), kafka.LZ4: kgo.Lz4Compression(), kafka.Zstd: kgo.ZstdCompression()}
	b, c := start(t, "t", 1)
	r := rand.New(rand.NewPCG(1, 2))
	var want []record
	var w kafka.BatchWriter
	for codec, their := range theirs {
		for range 3 {
			ours := randomRecords(r, 1+r.IntN(50))
			w.Reset()
			for _, x := range ours {
				w.Append([]byte(x.key), []byte(x.value), 5, make([]kafka.Header, x.headers))
			}
			batch, err := w.Finish(codec)
			if err != nil {
				t.Fatal(err)
			}
			base, err := c.Produce(t.Context(), "t", 0, batch)
			if err != nil || base != int64(len(want)) {
				t.Fatalf("%s: base %d, want %d: %v", codec, base, len(want), err)
			}
			want = append(want, ours...)
			want = append(want, produceTheirs(t, b.Addr(), their, randomRecords(r, 1+r.IntN(50)))...)
		}
	}
	for _, from := range []int64{0, 1, int64(len(want)) / 2, int64(len(want)) - 1, int64(len(want))} {
		got, offsets := readAll(t, c, "t", from)
		if fmt.Sprint(got) != fmt.Sprint(want[from:]) {
			t.Fatalf("from %d: read %d records that are not the %d written", from, len(got), len(want[from:]))
		}
		for i, o := range offsets {
			if o != from+int64(i) {
				t.Fatalf("record %d has offset %d", i, o)
			}
		}
	}
	if got := readTheirs(t, b.Addr(), len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatal("franz-go reads other records than were written")
	}
}

func produceTheirs(t *testing.T, addr string, codec kgo.CompressionCodec, list []record) []record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var rs []*kgo.Record
	for _, x := range list {
		rs = append(rs, &kgo.Record{Key: []byte(x.key), Value: []byte(x.value), Headers: make([]kgo.RecordHeader, x.headers)})
	}
	if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return list
}

func readTheirs(t *testing.T, addr string, n int) (list []record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(list) < n {
		cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			list = append(list, record{string(r.Key), string(r.Value), len(r.Headers)})
		})
	}
	return list
}

// TestOnlyCommittedRecordsAreRead has a transactional producer commit, abort
// and leave a transaction open.
func TestOnlyCommittedRecordsAreRead(t *testing.T) {
	b, c := start(t, "t", 1)
	r := rand.New(rand.NewPCG(3, 4))
	producers := make([]*kgo.Client, 2)
	for i := range producers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID(fmt.Sprint("p", i)), kgo.DefaultProduceTopic("t"))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		producers[i] = cl
	}
	var want []string
	send := func(cl *kgo.Client, value string) {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 30 {
		cl := producers[r.IntN(2)]
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		commit := r.IntN(2) == 0
		for i := range 1 + r.IntN(5) {
			value := fmt.Sprintf("%d-%d-%v", round, i, commit)
			send(cl, value)
			if commit {
				want = append(want, value)
			}
		}
		if err := cl.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
	}
	if err := producers[0].BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	send(producers[0], "never ended")
	list, _ := readAll(t, c, "t", 0)
	var got []string
	for _, x := range list {
		got = append(got, x.value)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("read %v\nwant %v", got, want)
	}
	_ = producers[0].EndTransaction(t.Context(), kgo.TryAbort)
}

func TestErrorsAreNamed(t *testing.T) {
	_, c := start(t, "t", 1)
	ctx := t.Context()
	f := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	_, _, err := c.Fetch(ctx, kafka.FetchRequest{Topic: "t", Offset: 7, MaxBytes: 1000}, nil)
	f(err, kafka.ErrOffsetOutOfRange)
	_, _, err = c.Fetch(ctx, kafka.FetchRequest{Topic: "none", MaxBytes: 1000}, nil)
	f(err, kafka.ErrUnknownTopic)
	_, _, err = c.Fetch(ctx, kafka.FetchRequest{Topic: "t", Partition: 5, MaxBytes: 1000}, nil)
	f(err, kafka.ErrUnknownTopic)
	_, err = c.Describe(ctx, "none")
	f(err, kafka.ErrUnknownTopic)
	_, err = c.Produce(ctx, "t", 0, []byte("not a batch at all, but long enough to be looked at as if it were one...."))
	if err == nil {
		t.Error("a broken batch was taken")
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.Produce(done, "t", 0, nil)
	f(err, context.Canceled)
}

func appendBatch(t testing.TB, c *kafka.Client, id, extends schemas.BatchID, values ...string) int64 {
	t.Helper()
	facts := schemas.Facts{ID: id, Extends: extends, Records: uint32(len(values))}
	headers, _ := schemas.AppendFacts(nil, nil, &facts)
	var w kafka.BatchWriter
	for i, v := range values {
		if i > 0 {
			headers = nil
		}
		w.Append(nil, []byte(v), 1, headers)
	}
	batch, err := w.Finish(kafka.LZ4)
	if err != nil {
		t.Fatal(err)
	}
	base, err := c.Produce(t.Context(), "ledger", 0, batch)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func ledger(t testing.TB, c *kafka.Client, at schemas.Anchor) (taken []string) {
	t.Helper()
	_, end, err := c.Offsets(t.Context(), "ledger", 0)
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.NewLedgerReader(c, "ledger", 0, at)
	defer r.Close()
	for {
		b, err := r.Next(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			if r.Position() != end {
				t.Fatalf("the reader ends at %d, the ledger at %d", r.Position(), end)
			}
			return taken
		}
		if b.Taken {
			taken = append(taken, string(bytes.Join(b.Values, []byte(" "))))
		}
	}
}

// TestReaderOfTheChainTakesWhatExtendsIt appends a ledger with every kind of
// batch that must be dropped.
func TestReaderOfTheChainTakesWhatExtendsIt(t *testing.T) {
	_, c := start(t, "ledger", 1)
	id := func(w, s uint64) schemas.BatchID { return schemas.BatchID{Writer: w, Sequence: s} }
	none := schemas.BatchID{}
	appendBatch(t, c, id(1, 1), none, "genesis")
	appendBatch(t, c, id(1, 2), id(1, 1), "a", "b")
	appendBatch(t, c, id(1, 2), id(1, 1), "a", "b")      // sent twice
	appendBatch(t, c, id(2, 1), id(1, 1), "intruder")    // too late
	appendBatch(t, c, id(9, 1), none, "another genesis") // foreign
	at := appendBatch(t, c, id(3, 1), id(1, 2), "c")     // took over
	appendBatch(t, c, id(1, 3), id(1, 2), "lost")        // the old owner, overtaken
	appendBatch(t, c, id(1, 4), id(1, 3), "built on it") // and what it built on that
	appendBatch(t, c, id(3, 2), id(3, 1), "d")
	var w kafka.BatchWriter
	w.Append(nil, []byte("no facts"), 1, nil)
	batch, err := w.Finish(kafka.None)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Produce(t.Context(), "ledger", 0, batch); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, c, id(3, 3), id(3, 2), "e")
	if got, want := fmt.Sprint(ledger(t, c, schemas.Anchor{})), "[genesis a b c d e]"; got != want {
		t.Errorf("took %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(ledger(t, c, schemas.Anchor{Offset: at + 1, Head: id(3, 1)})), "[d e]"; got != want {
		t.Errorf("from an anchor took %s, want %s", got, want)
	}
	got, err := kafka.BatchAt(t.Context(), c, "ledger", 0, 2)
	if err != nil || got != id(1, 2) {
		t.Errorf("offset 2 is of %v, %v", got, err)
	}
}

func TestMemberGetsTheShardAndTheNextOneAfterIt(t *testing.T) {
	_, c := start(t, "ledger", 1)
	a, err := kafka.Join(t.Context(), c, "g", "ledger", kafka.GroupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	held, err := a.Wait(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	<-held.Done()
	b, err := kafka.Join(t.Context(), c, "g", "ledger", kafka.GroupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}
