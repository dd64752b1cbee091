package history_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// eachStoreBench does as eachStore.
func eachStoreBench(b *testing.B, fn func(b *testing.B, url string)) {
	b.Run("store=sqlite", func(b *testing.B) { fn(b, filepath.Join(b.TempDir(), "history.db")) })
	if url := clickhouseURL(b); url != "" {
		b.Run("store=clickhouse", func(b *testing.B) { fn(b, url) })
	}
}

// fill writes rows decisions of 100 features, in full blocks, and a label for
// one in fifty, outside the timed part of a benchmark save the writing.
func fill(b *testing.B, s history.Store, l *ledger, rows int) {
	b.Helper()
	for rows > 0 {
		b.StopTimer()
		first := len(l.batches)
		for n := 0; n < min(rows, history.BlockRecords); n += 1000 {
			var values [][]byte
			for i := range 1000 {
				id := fmt.Sprintf("tx-%d", l.source)
				values = append(values, schemas.AppendDecision(nil, l.decision(id, 100)))
				if i%50 == 0 {
					l.label(id, schemas.Analyst, schemas.LabelFraud, 1, l.now)
				}
			}
			l.batch(values...)
		}
		block := l.block(first, len(l.batches))
		clear(l.batches[first : len(l.batches)-1]) // memory: they are not read again
		rows -= history.BlockRecords
		b.StartTimer()
		if err := s.Write(b.Context(), block); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite writes full blocks of decisions of 100 features.
func BenchmarkWrite(b *testing.B) {
	eachStoreBench(b, func(b *testing.B, url string) {
		s := open(b, url)
		l := newLedger(b, 1)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			fill(b, s, l, history.BlockRecords)
			n += history.BlockRecords
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkRows reads vectors of 100 features with their labels, in order.
func BenchmarkRows(b *testing.B) {
	eachStoreBench(b, func(b *testing.B, url string) {
		s := open(b, url)
		const rows = 4 * history.BlockRecords
		fill(b, s, newLedger(b, 1), rows)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			seen := 0
			err := s.Rows(b.Context(), history.RowQuery{AsOf: 1 << 60, Sources: []schemas.LabelSource{schemas.Chargeback, schemas.Analyst}}, func(c *history.Chunk) error {
				seen += c.Len()
				return nil
			})
			if err != nil || seen != rows {
				b.Fatalf("%d rows of %d, %v", seen, rows, err)
			}
			n += seen
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkBatches reads the ledger's bytes.
func BenchmarkBatches(b *testing.B) {
	eachStoreBench(b, func(b *testing.B, url string) {
		s := open(b, url)
		fill(b, s, newLedger(b, 1), 2*history.BlockRecords)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			err := s.Batches(b.Context(), 0, 0, func(in *history.Batch) error {
				n += len(in.Values)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	})
}
