//go:build unix

package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-risk/weir/ingest/kafka"
)

// The benchmarks are for a broker in a process of its own, which WEIR_KAFKA
// names: the processor time of an embedded one counts with the client's.

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perRecord reports what an iteration of n records cost for each of them.
func perRecord(b *testing.B, n int, used time.Duration) {
	all := float64(b.N * n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/all, "ns/record")
	b.ReportMetric(float64(used.Nanoseconds())/all, "cpu-ns/record")
	b.ReportMetric(0, "ns/op")
}

const benchRecords = 100_000

func BenchmarkRead(b *testing.B) {
	for _, bytesEach := range []int{160, 400} {
		f := anywhere(b, nil)
		value := bytes.Repeat([]byte("0123456789abcdef"), bytesEach/16)
		var w kafka.BatchWriter
		for range benchRecords / 1000 {
			w.Reset()
			for range 1000 {
				w.Append([]byte("key"), value, time.Now().UnixMilli(), nil)
			}
			batch, err := w.Finish(kafka.None)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.c.Produce(b.Context(), f.topic, 0, batch); err != nil {
				b.Fatal(err)
			}
		}
		readers := map[string]func() int{"weir": func() int { return readOurs(b, f) }, "kafka-go": func() int { return readKafkaGo(b, f) }}
		for _, name := range []string{"weir", "kafka-go"} {
			b.Run(fmt.Sprintf("client=%s/bytes=%d", name, bytesEach), func(b *testing.B) {
				b.ReportAllocs()
				before := cpu(b)
				for b.Loop() {
					if n := readers[name](); n != benchRecords {
						b.Fatalf("read %d records", n)
					}
				}
				perRecord(b, benchRecords, cpu(b)-before)
			})
		}
	}
}

func readOurs(b *testing.B, f *fixture) (n int) {
	r := kafka.NewReader(f.c, f.topic, 0, 0)
	defer r.Close()
	for {
		records, err := r.Next(b.Context(), benchRecords)
		if err != nil {
			b.Fatal(err)
		}
		if records == nil {
			return n
		}
		for records.Next() {
			n++
		}
		if err := records.Err(); err != nil {
			b.Fatal(err)
		}
	}
}

func readKafkaGo(b *testing.B, f *fixture) (n int) {
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{f.addr}, Topic: f.topic, MinBytes: 1, MaxBytes: 4 << 20, QueueCapacity: 10_000, MaxWait: 10 * time.Millisecond})
	defer r.Close()
	for ; n < benchRecords; n++ {
		if _, err := r.ReadMessage(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

func BenchmarkWrite(b *testing.B) {
	for _, records := range []int{100, 1000} {
		f := anywhere(b, nil)
		value := bytes.Repeat([]byte("0123456789abcdef"), 25)
		var w kafka.BatchWriter
		ours := func() error {
			w.Reset()
			for range records {
				w.Append(nil, value, 1, nil)
			}
			batch, err := w.Finish(kafka.LZ4)
			if err == nil {
				_, err = f.c.Produce(b.Context(), f.topic, 0, batch)
			}
			return err
		}
		messages := make([]kafkago.Message, records)
		for i := range messages {
			messages[i].Value = value
		}
		theirs := &kafkago.Writer{Addr: kafkago.TCP(f.addr), Topic: f.topic, RequiredAcks: kafkago.RequireAll, BatchSize: records, Compression: kafkago.Lz4}
		writers := map[string]func() error{"weir": ours, "kafka-go": func() error { return theirs.WriteMessages(context.Background(), messages...) }}
		for _, name := range []string{"weir", "kafka-go"} {
			b.Run(fmt.Sprintf("client=%s/records=%d", name, records), func(b *testing.B) {
				b.ReportAllocs()
				before := cpu(b)
				for b.Loop() {
					if err := writers[name](); err != nil {
						b.Fatal(err)
					}
				}
				perRecord(b, records, cpu(b)-before)
			})
		}
		_ = theirs.Close()
	}
}
