package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

func filled(t testing.TB, n int, c Codec) []byte {
	t.Helper()
	var w BatchWriter
	for i := range n {
		w.Append([]byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, 40), int64(i), []Header{{Key: []byte("h"), Value: nil}})
	}
	b, err := w.Finish(c)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), b...)
}

// seal makes a batch's checksum right again after a test changed it.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchAttrsAt:], castagnoli))
	return b
}

func count(raw []byte) (int, error) {
	var r Records
	r.Reset(&FetchAnswer{Records: raw}, 0)
	n := 0
	for r.Next() {
		n++
	}
	return n, r.Err()
}

func TestDamagedBatchesAreRefused(t *testing.T) {
	f := func(name string, want error, change func(b []byte) []byte) {
		t.Helper()
		if _, err := count(change(filled(t, 3, None))); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	f("one bit", ErrCorrupt, func(b []byte) []byte { b[70] ^= 1; return b })
	f("format 1", ErrOldFormat, func(b []byte) []byte { b[batchMagicAt] = 1; return b })
	f("format 0, short", ErrOldFormat, func(b []byte) []byte { b[batchMagicAt] = 0; return b[:26] })
	f("negative length", ErrCorrupt, func(b []byte) []byte { b[batchLengthAt] = 0x80; return b })
	f("too many records", ErrCorrupt, func(b []byte) []byte { b[batchCountAt] = 0x7f; return seal(b) })
	f("negative count", ErrCorrupt, func(b []byte) []byte { b[batchCountAt] = 0xff; return seal(b) })
	f("more records than there are", ErrCorrupt, func(b []byte) []byte { b[batchCountAt+3]++; return seal(b) })
	f("a record longer than the batch", ErrCorrupt, func(b []byte) []byte { b[batchHeader] = 0xfe; return seal(b) })
	f("ends before it begins", ErrCorrupt, func(b []byte) []byte { b[batchDeltaAt] = 0xff; return seal(b) })
	f("unknown compression", ErrCorrupt, func(b []byte) []byte { b[batchAttrsAt+1] = 7; return seal(b) })
	f("not the compression it says", ErrCorrupt, func(b []byte) []byte { b[batchAttrsAt+1] = byte(Zstd); return seal(b) })
}

func TestACutLastBatchIsNotAnError(t *testing.T) {
	whole := filled(t, 3, LZ4)
	for cut := range len(whole) {
		n, err := count(append(filled(t, 2, None), whole[:cut]...))
		if n != 2 || err != nil {
			t.Fatalf("cut at %d: %d records, %v", cut, n, err)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 25)
	for _, c := range []Codec{None, LZ4, Zstd} {
		var w BatchWriter
		b.Run("op=write/records=1000/bytes=400/codec="+c.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Reset()
				for range 1000 {
					w.Append(nil, value, 1, nil)
				}
				if _, err := w.Finish(c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
		batch, err := w.Finish(c)
		if err != nil {
			continue // this benchmark's writer was not selected
		}
		var r Records
		b.Run("op=read/records=1000/bytes=400/codec="+c.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(&FetchAnswer{Records: batch}, 0)
				for r.Next() {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}
