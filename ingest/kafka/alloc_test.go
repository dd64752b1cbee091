package kafka

import (
	"bytes"
	"testing"
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
		if n != 0 {
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
		if n != 0 {
			t.Errorf("%s: %v allocations for two batches", c, n)
		}
	}
}
