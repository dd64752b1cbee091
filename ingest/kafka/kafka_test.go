package kafka_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

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
	f := anywhere(t, nil)
	c, r := f.c, seeded(t)
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
			base, err := c.Produce(t.Context(), f.topic, 0, batch)
			if err != nil || base != int64(len(want)) {
				t.Fatalf("%s: base %d, want %d: %v", codec, base, len(want), err)
			}
			want = append(want, ours...)
			want = append(want, produceTheirs(f, their, randomRecords(r, 1+r.IntN(50)))...)
		}
	}
	for _, from := range []int64{0, 1, int64(len(want)) / 2, int64(len(want)) - 1, int64(len(want))} {
		got, offsets := readAll(t, c, f.topic, from)
		if fmt.Sprint(got) != fmt.Sprint(want[from:]) {
			t.Fatalf("from %d: read %d records that are not the %d written", from, len(got), len(want[from:]))
		}
		for i, o := range offsets {
			if o != from+int64(i) {
				t.Fatalf("record %d has offset %d", i, o)
			}
		}
	}
	if got := readTheirs(f, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatal("franz-go reads other records than were written")
	}
}

func produceTheirs(f *fixture, codec kgo.CompressionCodec, list []record) []record {
	f.t.Helper()
	cl := f.franz(kgo.ProducerBatchCompression(codec))
	defer cl.Close()
	var rs []*kgo.Record
	for _, x := range list {
		rs = append(rs, &kgo.Record{Key: []byte(x.key), Value: []byte(x.value), Headers: make([]kgo.RecordHeader, x.headers)})
	}
	if err := cl.ProduceSync(f.t.Context(), rs...).FirstErr(); err != nil {
		f.t.Fatal(err)
	}
	return list
}

func readTheirs(f *fixture, n int) (list []record) {
	f.t.Helper()
	cl := f.franz(kgo.ConsumeTopics(f.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	for len(list) < n {
		cl.PollFetches(f.t.Context()).EachRecord(func(r *kgo.Record) {
			list = append(list, record{string(r.Key), string(r.Value), len(r.Headers)})
		})
	}
	return list
}

func (f *fixture) appendBatch(id, extends schemas.BatchID, values ...string) int64 {
	t := f.t
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
	base, err := f.c.Produce(t.Context(), f.topic, 0, batch)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func (f *fixture) ledger(at schemas.Anchor) (taken []string) {
	t := f.t
	t.Helper()
	_, end, err := f.c.Offsets(t.Context(), f.topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := kafka.NewLedgerReader(f.c, f.topic, 0, at)
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
	f := anywhere(t, nil)
	id := func(w, s uint64) schemas.BatchID { return schemas.BatchID{Writer: w, Sequence: s} }
	none := schemas.BatchID{}
	f.appendBatch(id(1, 1), none, "genesis")
	f.appendBatch(id(1, 2), id(1, 1), "a", "b")
	f.appendBatch(id(1, 2), id(1, 1), "a", "b")      // sent twice
	f.appendBatch(id(2, 1), id(1, 1), "intruder")    // too late
	f.appendBatch(id(9, 1), none, "another genesis") // foreign
	at := f.appendBatch(id(3, 1), id(1, 2), "c")     // took over
	f.appendBatch(id(1, 3), id(1, 2), "lost")        // the old owner, overtaken
	f.appendBatch(id(1, 4), id(1, 3), "built on it") // and what it built on that
	f.appendBatch(id(3, 2), id(3, 1), "d")
	f.produce("no facts")
	f.appendBatch(id(3, 3), id(3, 2), "e")
	if got, want := fmt.Sprint(f.ledger(schemas.Anchor{})), "[genesis a b c d e]"; got != want {
		t.Errorf("took %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(f.ledger(schemas.Anchor{Offset: at + 1, Head: id(3, 1)})), "[d e]"; got != want {
		t.Errorf("from an anchor took %s, want %s", got, want)
	}
	got, err := kafka.FactsAt(t.Context(), f.c, f.topic, 0, 2)
	if err != nil || got.ID != id(1, 2) {
		t.Errorf("offset 2 is of %v, %v", got.ID, err)
	}
	if b, err := kafka.BatchAt(t.Context(), f.c, f.topic, 0, 2); err != nil || b.Base != 1 || b.Facts.ID != id(1, 2) || string(bytes.Join(b.Values, []byte(" "))) != "a b" {
		t.Errorf("offset 2 is in %+v, %v", b, err)
	}
	if b, err := kafka.BatchAt(t.Context(), f.c, f.topic, 0, at+4); err != nil || b.Base != at+4 || b.Facts.ID != none || len(b.Values) != 0 {
		t.Errorf("what is no batch of the ledger is %+v, %v", b, err)
	}
}
