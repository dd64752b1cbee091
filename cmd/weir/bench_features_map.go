package main

import (
	"time"

	"github.com/weir-risk/weir/schemas"
)

// mapEngine is the engine that one would write first: a map of entities by their
// key, with slices of events and running sums for each window.
type mapEngine struct {
	entities map[string]*mapEntity
	windows  []int64
	keep     int64
}

type mapEntity struct {
	events []mapEvent
	heads  []int
	counts []int64
	sums   []int64
}

type mapEvent struct{ time, amount int64 }

func newMapEngine() *mapEngine {
	m := &mapEngine{entities: map[string]*mapEntity{}, keep: (keySpan + 36*time.Hour).Milliseconds()}
	for share := int64(5); share > 0; share-- {
		m.windows = append(m.windows, keySpan.Milliseconds()/share)
	}
	return m
}

// step takes a batch in the order of time and writes its features to x.
func (m *mapEngine) step(b *schemas.Batch, x []float32) {
	w := 2 * len(m.windows)
	for i := range b.Tx {
		m.take(b.Bytes(i, schemas.Customer), b.Tx[i].Time, b.Tx[i].AmountBase, x[i*w:(i+1)*w])
	}
}

func (m *mapEngine) take(key []byte, t, amount int64, x []float32) {
	n := m.entities[string(key)]
	if n == nil {
		w := len(m.windows)
		n = &mapEntity{heads: make([]int, w), counts: make([]int64, w), sums: make([]int64, w)}
		m.entities[string(key)] = n
	}
	n.events = append(n.events, mapEvent{t, amount})
	for w, length := range m.windows {
		n.counts[w]++
		n.sums[w] += amount
		for n.events[n.heads[w]].time <= t-length {
			n.counts[w]--
			n.sums[w] -= n.events[n.heads[w]].amount
			n.heads[w]++
		}
		x[2*w] = float32(n.counts[w])
		x[2*w+1] = float32(float64(n.sums[w]) / float64(n.counts[w]*100))
	}
	drop := 0
	for drop < len(n.events) && n.events[drop].time <= t-m.keep {
		drop++
	}
	if drop > len(n.events)/2 {
		n.events = append(n.events[:0], n.events[drop:]...)
		for w := range n.heads {
			n.heads[w] -= drop
		}
	}
}
