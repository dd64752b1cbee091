package kafka

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBatchWriterDoesNotAllocate(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		var w BatchWriter
		value, key, headers := bytes.Repeat([]byte("value"), 60), []byte("key"), []Header{{Key: []byte("h"), Value: []byte("v")}}
		n := testing.AllocsPerRun(50, func() {
			w.Reset()
			for range 500 {
				w.Append(key, value, 1, headers)
			}
			if _, err := w.Finish(c); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 && !raced {
			t.Errorf("%s: %v allocations a batch of 500 records", c, n)
		}
	}
}

func TestRecordsDoNotAllocate(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		a := &FetchAnswer{Records: append(filled(t, 500, c), filled(t, 300, c)...)}
		var r Records
		n := testing.AllocsPerRun(50, func() {
			r.Reset(a, 0)
			for r.Next() {
			}
			if r.Err() != nil || r.NextOffset() != 500 {
				t.Fatal(r.NextOffset(), r.Err())
			}
		})
		if n != 0 && !raced {
			t.Errorf("%s: %v allocations for two batches", c, n)
		}
	}
}

// echo serves one connection without allocating: each request gets the same
// answer, with its own correlation id.
func echo(t *testing.T, body []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		raw, err := l.Accept()
		_ = l.Close()
		if err != nil {
			return
		}
		defer raw.Close()
		request := make([]byte, 1<<20)
		answer := append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), 0, 0, 0, 0)
		answer = append(answer, body...)
		for {
			if _, err := io.ReadFull(raw, request[:4]); err != nil {
				return
			}
			if _, err := io.ReadFull(raw, request[:binary.BigEndian.Uint32(request)]); err != nil {
				return
			}
			copy(answer[4:], request[4:8])
			if _, err := raw.Write(answer); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

// toEcho returns a client that takes echo for the leader of t.
func toEcho(t *testing.T, body []byte) *Client {
	t.Helper()
	addr := echo(t, body)
	c := New(Options{Brokers: []string{addr}})
	t.Cleanup(c.Close)
	c.leaders[topicPartition{"t", 0}] = lead{addr: addr}
	return c
}

func TestFetchDoesNotAllocate(t *testing.T) {
	resp := kmsg.FetchResponse{Version: 13, Topics: []kmsg.FetchResponseTopic{{TopicID: [16]byte{1}, Partitions: []kmsg.FetchResponseTopicPartition{{
		HighWatermark: 500, LastStableOffset: 500, RecordBatches: filled(t, 500, LZ4)}}}}}
	c := toEcho(t, append([]byte{0}, resp.AppendTo(nil)...))
	var buf []byte
	var r Records
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		a, b, err := c.Fetch(ctx, FetchRequest{Topic: "t", MaxBytes: 1 << 20}, buf)
		if buf = b; err != nil {
			t.Fatal(err)
		}
		r.Reset(&a, 0)
		for r.Next() {
		}
		if r.NextOffset() != 500 {
			t.Fatal(r.NextOffset(), r.Err())
		}
	})
	if n != 0 && !raced {
		t.Errorf("%v allocations a fetch", n)
	}
}

func TestProduceDoesNotAllocate(t *testing.T) {
	resp := kmsg.ProduceResponse{Version: 7, Topics: []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{{BaseOffset: 9}}}}}
	c := toEcho(t, resp.AppendTo(nil))
	b, ctx := filled(t, 500, LZ4), t.Context()
	n := testing.AllocsPerRun(100, func() {
		if base, err := c.Produce(ctx, "t", 0, b); base != 9 || err != nil {
			t.Fatal(base, err)
		}
	})
	if n != 0 && !raced {
		t.Errorf("%v allocations a produce", n)
	}
}
