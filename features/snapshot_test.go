package features

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// BenchmarkSnapshot writes and loads all parts of a state; ns/op is for the
// whole, pause-ns for the part that takes longest to write, which is how long
// a step waits.
func BenchmarkSnapshot(b *testing.B) {
	const entities = 1_000_000
	for _, home := range []int{-1, 0} {
		s := fiveWindows(20 * entities)
		if s.Home = home; home == 0 {
			s.DedupWindow = 20 * entities
		}
		e := filled(s, entities, 21)
		parts, size := make([][]byte, Parts), 0
		for p := range parts {
			parts[p] = e.AppendPart(nil, p)
			size += len(parts[p])
		}
		name := fmt.Sprintf("entities=%d/home=%d", entities, home+1)
		b.Run(name+"/op=append", func(b *testing.B) {
			before, dst := processorTime(b), []byte(nil)
			for b.Loop() {
				for p := range Parts {
					dst = e.AppendPart(dst[:0], p)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(size)/entities, "B/entity")
		})
		b.Run(name+"/op=image", func(b *testing.B) { // of which one part is a pause
			before, dst := processorTime(b), []byte(nil)
			var m Image
			var pause time.Duration
			for b.Loop() {
				for e.Image(&m); !m.Taken(); {
					began := time.Now()
					dst = m.AppendPart(dst[:0])
					pause = max(pause, time.Since(began))
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N*Parts), "cpu-ns/part")
			b.ReportMetric(float64(pause.Nanoseconds()), "max-pause-ns")
		})
		b.Run(name+"/op=load", func(b *testing.B) {
			before := processorTime(b)
			for b.Loop() {
				into := New(s, testOptions)
				for p := range parts {
					if err := into.LoadPart(p, parts[p]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// filled returns an engine that has taken rounds rows of each entity.
func filled(s *spec.Spec, entities, rounds int) *Engine {
	e := New(s, testOptions)
	g := &traffic{r: rand.New(rand.NewPCG(1, 1)), entities: entities}
	x := make([]float32, batchRows*e.Width())
	var batch schemas.Batch
	for n := 0; n < entities*rounds; n += batchRows {
		g.fill(&batch)
		e.Step(&batch, x, nil)
	}
	return e
}

// TestLoadersBesideOneAnotherMakeTheSameState loads the parts of a state with
// home entities by several loaders at once: the bytes are the same, and so is
// what every id leads to.
func TestLoadersBesideOneAnotherMakeTheSameState(t *testing.T) {
	s := fiveWindows(20_000)
	s.Home, s.DedupWindow = 0, 20_000
	e, into := filled(s, 1000, 21), New(s, testOptions)
	var wg sync.WaitGroup
	const loaders = 4
	for from := range loaders {
		wg.Go(func() {
			l := into.NewLoader()
			for p := from; p < Parts; p += loaders {
				if err := l.Load(p, e.AppendPart(nil, p)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for p := range Parts {
		if !bytes.Equal(into.AppendPart(nil, p), e.AppendPart(nil, p)) {
			t.Fatalf("part %d has other bytes", p)
		}
		was, is := &e.index.tables[p], &into.index.tables[p]
		if was.count != is.count {
			t.Fatalf("table %d of the index has %d entries, want %d", p, is.count, was.count)
		}
		home := e.kinds[0]
		for ref := range home.parts[p].count {
			var n entity
			n.open(home, p, ref)
			key := n.h[headKey]
			loaded := into.kinds[0].parts[p].find(key, home.head)
			for pos, end := n.span(); pos != end; pos++ {
				row := n.rowAt(pos)
				if id := row[home.colID]; *n.stampAt(pos)&bucketBit == 0 && (loaded < 0 || !into.index.holds(id, uint64(p)<<32|uint64(loaded)) || !e.index.holds(id, n.reference())) {
					t.Fatalf("the index does not lead from %x to the entity %x", id, key)
				}
			}
		}
	}
}
