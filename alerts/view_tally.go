package alerts

import (
	"container/heap"
	"math"
	"time"
)

// Goals are what the figures of a view are measured by. They are no part of the fold:
// the figures are made anew where they change.
type Goals struct {
	Within time.Duration // how long an alert may wait; 0 for as long as it likes
	Looks  float64       // share of the closed alerts that get a second look
}

// tally is what figures are made of, kept up to date row by row, so that no page walks
// the alerts that are done with. It is a function of the rows and their states: what a
// row adds is taken away again before it changes.
type tally struct {
	Goals
	open    []pending // neither snoozed nor closed, in no order
	snoozed []pending // the same
	closed  []closing // the same
	place   []int32   // of each row, in one of these
	// How many there are of each status, and of what is escalated and not closed.
	statuses  [NumStatuses]int64
	escalated int64
	oldest    oldest
	newest    int64 // when the last one was raised
	days      map[int64]*day
	// disputed are the rows of which a supervisor has yet to say which verdict holds.
	disputed map[int32]struct{}
}

// pending is an alert that is not closed: 32 bytes in a row, because an overview walks
// them all.
type pending struct {
	raised, until int64
	row           int32
	owner         uint32
	status        Status
	escalated     bool
	given         bool // to its owner, who has not begun
}

// at is the status at a time, as of [State.At].
func (w *pending) at(now int64) Status { return w.status.at(w.until, now) }

// closing is an alert that is closed.
type closing struct {
	at, amount int64
	reviewed   int64 // when it had its second look
	row        int32
	by         uint32
	draw       uint32
	took       uint8 // its bin, see binOf; 0 where that is not known
	fraud      bool  // as it stands
	first      bool  // as it was closed
	seen       bool  // it had a second look
	second     bool  // what that said
	disputed   bool
	eligible   bool // for a second look, if its draw is low enough
	late, look bool // as the goals have it
}

// day is what was closed on one day (UTC) and still is, and the second looks of it.
type day struct {
	closed, fraud, late int64
	caught              int64       // sum of what is closed as fraud, in the base currency
	pairs               [2][2]int64 // second looks by the first verdict and their own, 1 for fraud
	work                map[uint32]*work
	looks               map[int32]struct{} // rows that wait for a second look
}

// work is what one person closed on one day.
type work struct {
	closed, fraud, timed int64
	took                 [bins]uint32
}

// dayMs is a day, which begins at midnight UTC, as all times of the desk are given.
const dayMs = int64(24 * time.Hour / time.Millisecond)

func dayOf(ms int64) int64 { return int64(math.Floor(float64(ms) / float64(dayMs))) }

// oldest finds the row of open that was raised first. It is a heap, in which a row that
// is open no more stays until it comes to the top.
type oldest struct {
	heap []raised
	in   []bool // by row
}

type raised struct {
	at  int64
	row int32
}

// Len is for container/heap, as are the others.
func (o *oldest) Len() int           { return len(o.heap) }
func (o *oldest) Less(i, j int) bool { return o.heap[i].at < o.heap[j].at }
func (o *oldest) Swap(i, j int)      { o.heap[i], o.heap[j] = o.heap[j], o.heap[i] }

// Push adds a row.
func (o *oldest) Push(x any) { o.heap = append(o.heap, x.(raised)) }

// Pop takes the last row away.
func (o *oldest) Pop() any {
	last := o.heap[len(o.heap)-1]
	o.heap = o.heap[:len(o.heap)-1]
	return last
}

func newTally(g Goals) *tally {
	return &tally{Goals: g, days: make(map[int64]*day), disputed: make(map[int32]struct{})}
}

// arrive takes a row that is new, and open.
func (t *tally) arrive(i int32, r *row) {
	t.place, t.oldest.in = append(t.place, 0), append(t.oldest.in, false)
	t.newest = max(t.newest, r.raised)
	t.wait(pending{raised: r.raised, row: i})
}

// list is where a row of a status is, that is not closed.
func (t *tally) list(s Status) *[]pending {
	if s == Snoozed {
		return &t.snoozed
	}
	return &t.open
}

// wait adds a row that is not closed.
func (t *tally) wait(w pending) {
	list := t.list(w.status)
	t.place[w.row] = int32(len(*list))
	*list = append(*list, w)
	t.statuses[w.status]++
	t.escalated += int64(bit(w.escalated))
	if w.status != Snoozed && !t.oldest.in[w.row] {
		t.oldest.in[w.row] = true
		heap.Push(&t.oldest, raised{w.raised, w.row})
	}
}

// drop takes away what a row adds.
func (t *tally) drop(i int32, r *row) {
	t.statuses[r.status]--
	at := t.place[i]
	if r.status.Closed() {
		t.count(&t.closed[at], -1)
		last := len(t.closed) - 1
		t.closed[at] = t.closed[last]
		t.place[t.closed[at].row] = at
		t.closed = t.closed[:last]
		return
	}
	t.escalated -= int64(bit(r.escalated))
	list := t.list(r.status)
	last := len(*list) - 1
	(*list)[at] = (*list)[last]
	t.place[(*list)[at].row] = at
	*list = (*list)[:last]
}

// take adds a row that has come to a state.
func (t *tally) take(i int32, r *row, rows []row, s *State, nameOf func(string) uint32) {
	defer t.trim(rows)
	if !s.Status.Closed() {
		t.wait(pending{raised: r.raised, until: r.until, row: i, owner: r.owner, status: r.status, escalated: r.escalated,
			given: s.Status == Claimed && s.Since == 0})
		return
	}
	t.statuses[s.Status]++
	c := closing{at: s.Closing.At, amount: r.amount, reviewed: s.Review.At, row: i, by: nameOf(s.Closing.By), draw: s.Closing.Draw,
		took: binOf(s.Closing.Took), fraud: s.Status == Fraud, first: s.Closing.Fraud, seen: s.Review.By != "", second: s.Review.Fraud,
		disputed: s.Disputed(), eligible: s.drawn(math.Inf(1))}
	t.place[i] = int32(len(t.closed))
	t.closed = append(t.closed, c)
	t.add(&t.closed[t.place[i]], r)
}

// trim takes rows from the top of oldest that are not open any more.
func (t *tally) trim(rows []row) {
	for len(t.oldest.heap) > 0 {
		i := t.oldest.heap[0].row
		if s := rows[i].status; s != Snoozed && !s.Closed() {
			return
		}
		t.oldest.in[i] = false
		heap.Pop(&t.oldest)
	}
}

// add adds a closing.
func (t *tally) add(c *closing, r *row) {
	c.late = t.Within > 0 && c.at-r.raised > t.Within.Milliseconds()
	c.look = c.eligible && float64(c.draw) < t.Looks*(1<<32)
	t.count(c, 1)
}

// measure counts anew what is closed, by other goals.
func (t *tally) measure(g Goals, rows []row) {
	t.Goals, t.days, t.disputed = g, make(map[int64]*day), make(map[int32]struct{})
	for i := range t.closed {
		t.add(&t.closed[i], &rows[t.closed[i].row])
	}
}

// count adds a closing to the figures of its days, or with -1 takes it away.
func (t *tally) count(c *closing, n int64) {
	d := t.day(dayOf(c.at))
	w := d.work[c.by]
	if w == nil {
		w = &work{}
		d.work[c.by] = w
	}
	d.closed += n
	w.closed += n
	if c.first {
		w.fraud += n
	}
	if c.took > 0 {
		w.timed += n
		w.took[c.took] += uint32(n) // -1 wraps around and takes one away
	}
	if c.fraud {
		d.fraud += n
		d.caught += n * c.amount
	}
	if c.late {
		d.late += n
	}
	if c.seen {
		t.day(dayOf(c.reviewed)).pairs[bit(c.first)][bit(c.second)] += n
	}
	if c.look {
		member(d.looks, c.row, n > 0)
	}
	if c.disputed {
		member(t.disputed, c.row, n > 0)
	}
}

func (t *tally) day(of int64) *day {
	d := t.days[of]
	if d == nil {
		d = &day{work: make(map[uint32]*work), looks: make(map[int32]struct{})}
		t.days[of] = d
	}
	return d
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func member(set map[int32]struct{}, i int32, in bool) {
	if in {
		set[i] = struct{}{}
	} else {
		delete(set, i)
	}
}

// bins is how many there are of how long a closing took: four to each doubling, from
// one second to three days.
const bins = 74

// binOf is the bin of a time in ms, 0 of none.
func binOf(ms int64) uint8 {
	if ms <= 0 {
		return 0
	}
	return uint8(1 + min(4*math.Log2(max(1, float64(ms)/1000)), bins-2))
}

// median is the median of what was counted, to about a tenth: half way through its bin
// as far as the others in it go. It is 0 where nothing was.
func median(took *[bins]uint32) time.Duration {
	var n, below float64
	for _, k := range took {
		n += float64(k)
	}
	for b, k := range took {
		if below += float64(k); n > 0 && below >= n/2 {
			at := float64(b) - (below-n/2)/float64(k)
			return time.Duration(math.Exp2(at/4) * float64(time.Second))
		}
	}
	return 0
}

// figures counts what there is at a time.
func (t *tally) figures(now int64) Figures {
	f := Figures{Newest: t.newest, Closed: int64(len(t.closed)), Claimed: t.statuses[Claimed], Escalated: t.escalated, Open: int64(len(t.open)) - t.statuses[Claimed]}
	if len(t.oldest.heap) > 0 {
		f.OldestOpen = t.oldest.heap[0].at
	}
	for i := range t.snoozed {
		w := &t.snoozed[i]
		if w.at(now) == Snoozed {
			f.Snoozed++
			continue
		}
		f.Open++
		if f.OldestOpen == 0 || w.raised < f.OldestOpen {
			f.OldestOpen = w.raised
		}
	}
	return f
}
