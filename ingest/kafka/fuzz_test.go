package kafka

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzRecords walks any bytes. What passes the checks must lie in what it was
// made from, in order, and nothing may be allocated for a claim alone.
func FuzzRecords(f *testing.F) {
	for c := None; c <= Zstd; c++ {
		f.Add(filled(f, 3, c), int64(0))
		f.Add(append(filled(f, 2, c), filled(f, 3, None)[:70]...), int64(1))
	}
	var r Records
	f.Fuzz(func(t *testing.T, raw []byte, from int64) {
		if len(raw) >= batchHeader {
			// Lets the fuzzer get past the length and the checksum.
			if size := int(binary.BigEndian.Uint32(raw[batchLengthAt:])) + batchLengthAt + 4; size < batchHeader || size > len(raw) {
				binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchLengthAt-4))
				seal(raw)
			} else {
				seal(raw[:size])
			}
		}
		r.record.Headers, r.plain = nil, nil // so that what is allocated is for this input
		r.Reset(&FetchAnswer{Records: raw}, from)
		for r.Next() {
			rec, in := r.Record(), r.Batch()
			if rec.Offset < from || rec.Offset < in.Base || rec.Offset >= in.Next {
				t.Fatalf("offset %d, from %d, of the batch %+v", rec.Offset, from, in)
			}
			if len(rec.Key)+len(rec.Value) > len(raw)+len(r.plain) {
				t.Fatalf("a record of %d bytes in %d", len(rec.Key)+len(rec.Value), len(raw))
			}
		}
		if cap(r.record.Headers) > len(raw)+len(r.plain)+8 {
			t.Fatalf("%d headers in %d bytes", cap(r.record.Headers), len(raw))
		}
	})
}

// FuzzAnswer reads any bytes as the answer to each request.
func FuzzAnswer(f *testing.F) {
	fetch := kmsg.FetchResponse{Version: 13, Topics: []kmsg.FetchResponseTopic{{TopicID: [16]byte{1}, Partitions: []kmsg.FetchResponseTopicPartition{{
		HighWatermark: 5, LastStableOffset: 4, AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 7, FirstOffset: 1}},
		RecordBatches: filled(f, 2, None)}}}}}
	f.Add(byte(0), append([]byte{0}, fetch.AppendTo(nil)...))
	produce := kmsg.ProduceResponse{Version: 8, Topics: []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{{BaseOffset: 9}}}}}
	f.Add(byte(1), produce.AppendTo(nil))
	words := "Timestamp 9 of message with offset 0 is out of range. The timestamp should be within [1, 8]"
	produce.Topics[0].Partitions[0].ErrorCode = invalidTimestamp
	produce.Topics[0].Partitions[0].ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{{ErrorMessage: &words}, {}}
	f.Add(byte(1), produce.AppendTo(nil))
	name := "t"
	metadata := kmsg.MetadataResponse{Version: 12, Brokers: []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "h", Port: 9092}},
		Topics: []kmsg.MetadataResponseTopic{{Topic: &name, Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 1}, {Partition: 1, Leader: -1}}}}}
	f.Add(byte(2), append([]byte{0}, metadata.AppendTo(nil)...))
	list := kmsg.ListOffsetsResponse{Version: 2, Topics: []kmsg.ListOffsetsResponseTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsResponseTopicPartition{{Offset: 3}}}}}
	f.Add(byte(3), list.AppendTo(nil))
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		switch kind % 4 {
		case 0:
			var a FetchAnswer
			err := a.parse(raw)
			if len(a.Aborted) > 1+len(raw)/16 || len(a.Records) > len(raw) {
				t.Fatalf("%d aborted transactions and %d bytes of records in %d bytes: %v", len(a.Aborted), len(a.Records), len(raw), err)
			}
		case 1:
			if base, err := parseProduce(raw); err == nil && base < 0 {
				t.Fatalf("appended at %d", base)
			}
		case 2:
			topic, err := parseMetadata(raw, "t")
			if len(topic.leaders) > len(raw) || err == nil && topic.Partitions != len(topic.leaders) {
				t.Fatalf("%d partitions in %d bytes: %v", len(topic.leaders), len(raw), err)
			}
		case 3:
			_, _ = parseListOffsets(raw)
		}
	})
}

// FuzzBatch writes records and reads them again.
func FuzzBatch(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), int64(5), []byte("h"), byte(3))
	f.Add([]byte(nil), []byte{}, int64(-1), []byte(nil), byte(4))
	var w BatchWriter
	var r Records
	f.Fuzz(func(t *testing.T, key, value []byte, at int64, header []byte, codec byte) {
		w.Reset()
		headers := []Header{{Key: header, Value: value}, {Key: header}}
		w.Append(key, value, at, headers)
		w.Append(nil, nil, -at, nil)
		b, err := w.Finish(Codec(codec % 5))
		if err != nil {
			t.Fatal(err)
		}
		r.Reset(&FetchAnswer{Records: b}, 0)
		if !r.Next() {
			t.Fatal(r.Err())
		}
		got := r.Record()
		if !bytes.Equal(got.Key, key) || !bytes.Equal(got.Value, value) || got.Timestamp != at || len(got.Headers) != 2 || !bytes.Equal(got.Headers[0].Key, header) {
			t.Fatalf("got %+v", got)
		}
		if !r.Next() || r.Record().Key != nil || r.Record().Value != nil || r.Record().Timestamp != -at || r.Next() || r.NextOffset() != 2 {
			t.Fatalf("the second record: %+v, %v", r.Record(), r.Err())
		}
	})
}
