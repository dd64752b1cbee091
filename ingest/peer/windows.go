package peer

const day = 24 * 3600 * 1000 // ms

// A customerEvent is what the customer's windows need.
type customerEvent struct {
	time   int64
	amount float64
}

// window is one running window over a slice of events.
type window struct {
	head  int
	count int
	sum   float64
}

type customer struct {
	events  []customerEvent
	windows [3]window
}

type terminalEvent struct {
	time  int64
	fraud bool
}

// terminal holds delayed windows: enter is where each begins to count.
type terminal struct {
	events  []terminalEvent
	enter   int
	windows [3]window
}

var lengths = [3]int64{1 * day, 7 * day, 30 * day}

// State is the peer's rolling state.
type State struct {
	customers map[string]*customer
	terminals map[string]*terminal
	// frauds are the labels that are known: the transaction's place.
	labels map[string]labelled
}

type labelled struct {
	terminal string
	index    int
}

// NewState returns an empty state.
func NewState() *State {
	return &State{customers: map[string]*customer{}, terminals: map[string]*terminal{}, labels: map[string]labelled{}}
}

// Features adds a transaction and writes the Handbook's 15 features to x.
func (s *State) Features(tx *Transaction, at int64, x []float32) {
	hour := at / 3600000 % 24
	weekday := (at/day + 3) % 7 // 0 is Monday
	x[0] = float32(tx.Amount)
	x[1], x[2] = 0, 0
	if weekday >= 5 {
		x[1] = 1
	}
	if hour <= 6 {
		x[2] = 1
	}
	s.customer(tx, at, x[3:9])
	s.terminal(tx, at, x[9:15])
}

func (s *State) customer(tx *Transaction, at int64, x []float32) {
	c := s.customers[tx.Customer]
	if c == nil {
		c = &customer{}
		s.customers[tx.Customer] = c
	}
	c.events = append(c.events, customerEvent{at, tx.Amount})
	for i, n := range lengths {
		w := &c.windows[i]
		w.count++
		w.sum += tx.Amount
		for c.events[w.head].time <= at-n {
			w.count--
			w.sum -= c.events[w.head].amount
			w.head++
		}
		x[2*i], x[2*i+1] = float32(w.count), float32(w.sum/float64(w.count))
	}
}

func (s *State) terminal(tx *Transaction, at int64, x []float32) {
	t := s.terminals[tx.Terminal]
	if t == nil {
		t = &terminal{}
		s.terminals[tx.Terminal] = t
	}
	s.labels[tx.ID] = labelled{tx.Terminal, len(t.events)}
	t.events = append(t.events, terminalEvent{time: at})
	edge := at - 7*day
	for t.enter < len(t.events) && t.events[t.enter].time <= edge {
		for i := range t.windows {
			t.windows[i].count++
			if t.events[t.enter].fraud {
				t.windows[i].sum++
			}
		}
		t.enter++
	}
	for i, n := range lengths {
		w := &t.windows[i]
		for w.head < t.enter && t.events[w.head].time <= edge-n {
			w.count--
			if t.events[w.head].fraud {
				w.sum--
			}
			w.head++
		}
		x[2*i], x[2*i+1] = float32(w.count), 0
		if w.count > 0 {
			x[2*i+1] = float32(w.sum / float64(w.count))
		}
	}
}

// Label notes that a transaction was fraud, or was not.
func (s *State) Label(id string, fraud bool) {
	at, ok := s.labels[id]
	if !ok {
		return
	}
	delete(s.labels, id)
	t := s.terminals[at.terminal]
	e := &t.events[at.index]
	if e.fraud == fraud {
		return
	}
	e.fraud = fraud
	if at.index >= t.enter {
		return
	}
	for i := range t.windows {
		if at.index >= t.windows[i].head {
			if fraud {
				t.windows[i].sum++
			} else {
				t.windows[i].sum--
			}
		}
	}
}
