package peer

// Windows is the engine of windows that one would write first: a map of entities by their
// key, each with a slice of events, and a running count and sum for each window.
type Windows struct {
	entities map[string]*windowed
	lengths  []int64
	keep     int64
}

type windowed struct {
	events []amountAt
	heads  []int
	counts []int64
	sums   []int64
}

type amountAt struct{ time, amount int64 }

// NewWindows returns an empty engine of windows of these lengths, in ms, that keeps events
// for a time, which is as long as the longest at least.
func NewWindows(keep int64, lengths ...int64) *Windows {
	return &Windows{entities: map[string]*windowed{}, lengths: lengths, keep: keep}
}

// Take adds an amount of a key, in minor units, at a time no earlier than those before, and
// writes count and mean, in units, of each window to x.
func (w *Windows) Take(key []byte, t, amount int64, x []float32) {
	n := w.entities[string(key)]
	if n == nil {
		k := len(w.lengths)
		n = &windowed{heads: make([]int, k), counts: make([]int64, k), sums: make([]int64, k)}
		w.entities[string(key)] = n
	}
	n.events = append(n.events, amountAt{t, amount})
	for i, length := range w.lengths {
		n.counts[i]++
		n.sums[i] += amount
		for n.events[n.heads[i]].time <= t-length {
			n.counts[i]--
			n.sums[i] -= n.events[n.heads[i]].amount
			n.heads[i]++
		}
		x[2*i] = float32(n.counts[i])
		x[2*i+1] = float32(float64(n.sums[i]) / float64(n.counts[i]*100))
	}
	drop := 0
	for drop < len(n.events) && n.events[drop].time <= t-w.keep {
		drop++
	}
	if drop > len(n.events)/2 {
		n.events = append(n.events[:0], n.events[drop:]...)
		for i := range n.heads {
			n.heads[i] -= drop
		}
	}
}
