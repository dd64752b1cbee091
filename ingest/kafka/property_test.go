package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomBatch returns records as they come from anywhere: keys and values null,
// empty, short and long, times that go back, headers.
func randomBatch(r *rand.Rand) []Record {
	text := func(most int) []byte {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		b := make([]byte, r.IntN(most))
		letters := 1 + r.IntN(200)
		for i := range b {
			b[i] = byte(r.IntN(letters))
		}
		return b
	}
	list := make([]Record, 1+r.IntN(60))
	for i := range list {
		list[i] = Record{Offset: int64(i), Timestamp: 1_700_000_000_000 + r.Int64N(1e9) - 5e8, Key: text(40), Value: text(5000)}
		for range r.IntN(4) {
			h := Header{Key: append([]byte{}, text(20)...), Value: text(100)} // a key is never null
			list[i].Headers = append(list[i].Headers, h)
		}
	}
	return list
}

// show renders records so that a null differs from what is empty.
func show(list []Record) []string {
	var lines []string
	for _, r := range list {
		line := fmt.Sprintf("%d %d %#v %#v", r.Offset, r.Timestamp, r.Key, r.Value)
		for _, h := range r.Headers {
			line += fmt.Sprintf(" %#v=%#v", h.Key, h.Value)
		}
		lines = append(lines, line)
	}
	return lines
}

func same(t *testing.T, what string, got, want []Record) {
	t.Helper()
	g, w := show(got), show(want)
	if len(g) != len(w) {
		t.Fatalf("%s: %d records, want %d", what, len(g), len(w))
	}
	for i := range w {
		if g[i] != w[i] {
			t.Fatalf("%s: record %d is\n%s\nwant\n%s", what, i, g[i], w[i])
		}
	}
}

// ours reads a record set with Records.
func ours(t *testing.T, raw []byte) (list []Record) {
	t.Helper()
	var r Records
	r.Reset(&FetchAnswer{Records: raw}, 0)
	for r.Next() {
		rec := *r.Record()
		rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		var headers []Header
		for _, h := range rec.Headers {
			headers = append(headers, Header{Key: bytes.Clone(h.Key), Value: bytes.Clone(h.Value)})
		}
		rec.Headers = headers
		list = append(list, rec)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return list
}

// segmentio reads a record set with kafka-go's codec.
func segmentio(t *testing.T, raw []byte) (list []Record) {
	t.Helper()
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...))); err != nil {
		t.Fatal(err)
	}
	read := func(b protocol.Bytes) []byte {
		if b == nil {
			return nil
		}
		all, err := io.ReadAll(b)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for {
		r, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		rec := Record{Offset: r.Offset, Timestamp: r.Time.UnixMilli(), Key: read(r.Key), Value: read(r.Value)}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, Header{Key: []byte(h.Key), Value: h.Value})
		}
		list = append(list, rec)
	}
}

// segmentioWrite makes a record set with kafka-go's codec.
func segmentioWrite(t *testing.T, list []Record, c Codec) []byte {
	t.Helper()
	var records []protocol.Record
	for _, r := range list {
		rec := protocol.Record{Offset: r.Offset, Time: time.UnixMilli(r.Timestamp), Key: protocol.NewBytes(r.Key), Value: protocol.NewBytes(r.Value)}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, protocol.Header{Key: string(h.Key), Value: h.Value})
		}
		records = append(records, rec)
	}
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(compress.Compression(c)), Records: protocol.NewRecordReader(records...)}
	var out bytes.Buffer
	if _, err := set.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()[4:]
}

// franz reads one record batch with franz-go's codec, as kfake does.
func franz(t *testing.T, raw []byte) (list []Record) {
	t.Helper()
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	if got := int32(crc32.Checksum(raw[21:], castagnoli)); got != b.CRC {
		t.Fatalf("the checksum is %x, want %x", b.CRC, got)
	}
	body, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	if err != nil {
		t.Fatal(err)
	}
	for range b.NumRecords {
		n, k := binary.Varint(body)
		var r kmsg.Record
		if err := r.ReadFrom(body[:k+int(n)]); err != nil {
			t.Fatal(err)
		}
		body = body[k+int(n):]
		rec := Record{Offset: b.FirstOffset + int64(r.OffsetDelta), Timestamp: b.FirstTimestamp + r.TimestampDelta64, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, Header{Key: []byte(h.Key), Value: h.Value})
		}
		list = append(list, rec)
		if rec.Timestamp > b.MaxTimestamp {
			t.Fatalf("a record of %d, the batch says at most %d", rec.Timestamp, b.MaxTimestamp)
		}
	}
	if len(body) > 0 {
		t.Fatalf("%d bytes follow the last record", len(body))
	}
	return list
}

// franzWrite makes a record batch with franz-go's codec.
func franzWrite(t *testing.T, list []Record, c Codec) []byte {
	t.Helper()
	b := kmsg.RecordBatch{Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: list[0].Timestamp, MaxTimestamp: list[0].Timestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(list)), LastOffsetDelta: int32(len(list) - 1), Attributes: int16(c)}
	for _, r := range list {
		b.MaxTimestamp = max(b.MaxTimestamp, r.Timestamp)
		rec := kmsg.Record{TimestampDelta64: r.Timestamp - b.FirstTimestamp, OffsetDelta: int32(r.Offset), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, kmsg.Header{Key: string(h.Key), Value: h.Value})
		}
		body := rec.AppendTo(nil)[1:] // behind a length of zero, which takes a byte
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	if c != None {
		codecs := map[Codec]kgo.CompressionCodec{Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression()}
		compressor, err := kgo.DefaultCompressor(codecs[c])
		if err != nil {
			t.Fatal(err)
		}
		packed, kind := compressor.Compress(new(bytes.Buffer), b.Records)
		b.Records, b.Attributes = bytes.Clone(packed), int16(kind)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchLengthAt-4))
	return seal(raw)
}

// TestEveryCodecReadsEveryOther writes random records with our codec, with
// kafka-go's and with franz-go's, and reads each with all three.
func TestEveryCodecReadsEveryOther(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var w BatchWriter
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		for c := None; c <= Zstd; c++ {
			list := randomBatch(r)
			w.Reset()
			for _, rec := range list {
				w.Append(rec.Key, rec.Value, rec.Timestamp, rec.Headers)
			}
			mine, err := w.Finish(c)
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.String()+" of ours by us", ours(t, mine), list)
			same(t, c.String()+" of ours by kafka-go", segmentio(t, mine), list)
			same(t, c.String()+" of ours by franz-go", franz(t, mine), list)
			same(t, c.String()+" of kafka-go's by us", ours(t, segmentioWrite(t, list, c)), list)
			same(t, c.String()+" of franz-go's by us", ours(t, franzWrite(t, list, c)), list)
		}
	}
}

// TestXerialSnappyIsRead frames snappy blocks as the Java client does.
func TestXerialSnappyIsRead(t *testing.T) {
	plain := filled(t, 200, None)
	raw := append([]byte(nil), plain[:batchHeader]...)
	raw = append(append(raw, xerial...), 0, 0, 0, 1, 0, 0, 0, 1)
	var c compressor
	for body := plain[batchHeader:]; len(body) > 0; {
		n := min(len(body), 1000)
		block, err := c.compress(nil, body[:n], Snappy)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(binary.BigEndian.AppendUint32(raw, uint32(len(block))), block...)
		body = body[n:]
	}
	raw[batchAttrsAt+1] = byte(Snappy)
	binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchLengthAt-4))
	same(t, "framed", ours(t, seal(raw)), ours(t, plain))
}

// TestAppendTimeReplacesRecordTimes reads a batch of a topic with
// message.timestamp.type=LogAppendTime.
func TestAppendTimeReplacesRecordTimes(t *testing.T) {
	raw := filled(t, 3, None)
	raw[batchAttrsAt+1] |= attrAppendTime
	binary.BigEndian.PutUint64(raw[batchMaxAt:], 12345)
	for _, r := range ours(t, seal(raw)) {
		if r.Timestamp != 12345 {
			t.Errorf("a record of %d", r.Timestamp)
		}
	}
}

// TestBombsAreRefused reads batches that claim, or that are, more than a batch
// may be.
func TestBombsAreRefused(t *testing.T) {
	zeros, codecs := make([]byte, batchBytesMax+1<<20), []Codec{Gzip, LZ4, Zstd}
	if testing.Short() {
		codecs = codecs[2:] // the limit is one for all
	}
	for _, codec := range codecs {
		var c compressor
		raw, err := c.compress(append([]byte(nil), filled(t, 1, None)[:batchHeader]...), zeros, codec)
		if err != nil {
			t.Fatal(err)
		}
		raw[batchAttrsAt+1] = byte(codec)
		binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchLengthAt-4))
		if _, err := count(seal(raw)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes that become %d: got %v", codec, len(raw), len(zeros), err)
		}
	}
	claim := append(binary.AppendUvarint(nil, 200<<20), 0)
	if n := testing.AllocsPerRun(1, func() { _, _ = unsnap(nil, claim) }); n > 2 {
		t.Errorf("%v allocations for a claim of 200 MB in %d bytes", n, len(claim))
	}
	if _, err := unsnap(nil, claim); err == nil {
		t.Error("snappy: a claim of 200 MB was believed")
	}
}
