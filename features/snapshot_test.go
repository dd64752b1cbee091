package features

import (
	"fmt"
	"math/rand/v2"
	"testing"

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
