package alerts

import (
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
	open   []pending // in no order
	closed []closing // the same
	place  []int32   // of each row, in the one or the other
	days   map[int64]*day
	// disputed are the rows of which a supervisor has yet to say which verdict holds.
	disputed map[int32]struct{}
}

// pending is an alert that is not closed: 32 bytes in a row, because the figures of all
// pages walk them.
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

func newTally(g Goals) *tally {
	return &tally{Goals: g, days: make(map[int64]*day), disputed: make(map[int32]struct{})}
}

// arrive takes a row that is new, and open.
func (t *tally) arrive(i int32, r *row) {
	t.place = append(t.place, int32(len(t.open)))
	t.open = append(t.open, pending{raised: r.raised, row: i})
}

// drop takes away what a row adds.
func (t *tally) drop(i int32, r *row) {
	at := t.place[i]
	if !r.status.Closed() {
		last := len(t.open) - 1
		t.open[at] = t.open[last]
		t.place[t.open[at].row] = at
		t.open = t.open[:last]
		return
	}
	t.count(&t.closed[at], -1)
	last := len(t.closed) - 1
	t.closed[at] = t.closed[last]
	t.place[t.closed[at].row] = at
	t.closed = t.closed[:last]
}

// take adds a row that has come to a state.
func (t *tally) take(i int32, r *row, s *State, nameOf func(string) uint32) {
	if !s.Status.Closed() {
		t.place[i] = int32(len(t.open))
		t.open = append(t.open, pending{raised: r.raised, until: r.until, row: i, owner: r.owner, status: r.status, escalated: r.escalated,
			given: s.Status == Claimed && s.Since == 0})
		return
	}
	c := closing{at: s.Closing.At, amount: r.amount, reviewed: s.Review.At, row: i, by: nameOf(s.Closing.By), draw: s.Closing.Draw,
		took: binOf(s.Closing.Took), fraud: s.Status == Fraud, first: s.Closing.Fraud, seen: s.Review.By != "", second: s.Review.Fraud,
		disputed: s.Disputed(),
		// Two have said the same already of what was escalated, and a supervisor of what is settled.
		eligible: s.Review.By == "" && !s.Escalated && !s.Settled}
	t.place[i] = int32(len(t.closed))
	t.closed = append(t.closed, c)
	t.add(&t.closed[t.place[i]], r)
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
	f := Figures{Closed: int64(len(t.closed))}
	for i := range t.open {
		f.count(&t.open[i], now)
	}
	return f
}

func (f *Figures) count(w *pending, now int64) {
	if w.escalated {
		f.Escalated++
	}
	switch w.at(now) {
	case Snoozed:
		f.Snoozed++
		return
	case Claimed:
		f.Claimed++
	default:
		f.Open++
	}
	if f.OldestOpen == 0 || w.raised < f.OldestOpen {
		f.OldestOpen = w.raised
	}
}
