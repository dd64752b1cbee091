package peer

import "sort"

const day = 24 * 3600 * 1000 // ms

var lengths = [3]int64{1 * day, 7 * day, 30 * day}

const delay = 7 * day // of the terminals' windows

// keep is how long events are kept: the longest window, its delay, and what one
// partition may lag behind another.
const keep = 30*day + delay + 2*day

// An event is what the windows need of a transaction.
type event struct {
	time   int64
	amount float64
	fraud  bool
}

// A history is the events of one entity in the order of time.
type history []*event

// add puts an event in its place, which is nearly always the end, and drops
// what no window sees any more.
func (h *history) add(e *event) {
	list := append(*h, e)
	for i := len(list) - 1; i > 0 && list[i-1].time > e.time; i-- {
		list[i], list[i-1] = list[i-1], list[i]
	}
	if drop := list.after(e.time - keep); drop > len(list)/2 {
		list = append(list[:0], list[drop:]...)
	}
	*h = list
}

// after returns the index of the first event later than t.
func (h history) after(t int64) int {
	return sort.Search(len(h), func(i int) bool { return h[i].time > t })
}

// State is the peer's rolling state.
type State struct {
	customers map[string]*history
	terminals map[string]*history
	// byID finds a transaction for its label; early are the labels that came
	// before their transaction.
	byID  map[string]*event
	early map[string]bool
}

// NewState returns an empty state.
func NewState() *State {
	return &State{customers: map[string]*history{}, terminals: map[string]*history{}, byID: map[string]*event{}, early: map[string]bool{}}
}

// Features adds a transaction and writes the Handbook's 15 features to x.
func (s *State) Features(tx *Transaction, at int64, x []float32) {
	hour := at / 3600000 % 24
	weekday := (at/day + 3) % 7 // 0 is Monday
	x[0], x[1], x[2] = float32(tx.Amount), 0, 0
	if weekday >= 5 {
		x[1] = 1
	}
	if hour <= 6 {
		x[2] = 1
	}
	e := &event{time: at, amount: tx.Amount}
	if fraud, ok := s.early[tx.ID]; ok {
		e.fraud = fraud
		delete(s.early, tx.ID)
	} else {
		s.byID[tx.ID] = e
	}
	c, t := of(s.customers, tx.Customer), of(s.terminals, tx.Terminal)
	c.add(e)
	t.add(e)
	c.windows(at, x[3:9], func(e *event) float64 { return e.amount })
	t.windows(at-delay, x[9:15], func(e *event) float64 {
		if e.fraud {
			return 1
		}
		return 0
	})
}

func of(m map[string]*history, key string) *history {
	h := m[key]
	if h == nil {
		h = &history{}
		m[key] = h
	}
	return h
}

// windows writes the count and the mean of value over the windows that end at
// end.
func (h history) windows(end int64, x []float32, value func(*event) float64) {
	count, sum, w := 0, 0.0, 0
	for i := h.after(end) - 1; w < len(lengths); i-- {
		for w < len(lengths) && (i < 0 || h[i].time <= end-lengths[w]) {
			x[2*w], x[2*w+1] = float32(count), float32(sum/max(float64(count), 1))
			w++
		}
		if w < len(lengths) {
			count++
			sum += value(h[i])
		}
	}
}

// Label notes that a transaction was fraud, or was not.
func (s *State) Label(id string, fraud bool) {
	e, ok := s.byID[id]
	if !ok {
		s.early[id] = fraud
		return
	}
	e.fraud = fraud
	delete(s.byID, id)
}
