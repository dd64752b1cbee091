package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// A chunk is what one fetch brought from one source partition, decoded. Its
// fetcher fills it, the merger reads it and gives it back.
type chunk struct {
	cursor *cursor
	// What it holds, by class.
	rows   schemas.Batch
	labels []schemas.Label
	rates  []schemas.Rate
	arena  []byte // what labels and rates alias
	spans  []schemas.Span
	places []schemas.Place

	passed int64 // the offset of the last record of the fetch, malformed or not

	keys []int64 // the merge key's time of each record: the largest event time so far in the partition
	last []int64 // the offset of each record
	next int     // the first one not taken
	end  int64   // the position after the fetch
	high int64   // where the partition ended when it was fetched
	ends []int64 // of labels: where each partition of transactions ended once they were fetched
	free chan<- *chunk
}

func (c *chunk) reset(ownText, ownNumber int) {
	c.rows.Reset(ownText, ownNumber)
	c.labels, c.rates, c.arena = c.labels[:0], c.rates[:0], c.arena[:0]
	c.spans, c.places = c.spans[:0], c.places[:0]
	c.keys, c.last, c.next, c.ends = c.keys[:0], c.last[:0], 0, c.ends[:0]
}

// A cursor is the merger's view of one source partition.
type cursor struct {
	class     Class
	partition int32
	chunks    []*chunk // arrived and not used up, oldest first
	end       int64    // the position after the newest chunk
	high      int64    // the end of the partition as last seen
	start     int64    // its end when the merger began: catching up lasts until all are there
	seen      bool     // a fetch has come back
	passed    int64    // the offset of the last record that a fetch brought
	last      int64    // the largest key so far: what follows is no less

	// asked is when the fetcher began to wait for more, ns since the Unix epoch; 0
	// while it has records in hand, or no chunk to put them in. After an answer
	// without records it stays what it was.
	asked atomic.Int64
	// fetched is the position of the next fetch, for who measures what waits.
	fetched atomic.Int64
}

// waits reports whether records that may have to come first have not arrived. A
// transaction that is open holds back what lies behind it, for nobody knows how
// long: what cannot be read yet is not waited for.
func (c *cursor) waits(behind bool) bool {
	if c.head() != nil || c.seen && c.end >= c.high {
		return false
	}
	return c.end < c.start || behind && c.end < c.high
}

// owes reports whether transactions that were written before some labels have not
// arrived; ends are those of the labels' chunk.
func (c *cursor) owes(ends []int64) bool {
	return len(ends) > 0 && c.class == Transactions && c.head() == nil && c.end < ends[c.partition]
}

// head returns the chunk that holds the next record, nil where none has arrived.
func (c *cursor) head() *chunk {
	if len(c.chunks) == 0 {
		return nil
	}
	return c.chunks[0]
}

// key returns the merge key's time of the next record.
func (c *cursor) key() int64 { h := c.chunks[0]; return h.keys[h.next] }

// before is the order of the merge: time, then class, partition, and within a
// partition the order of the log.
func (c *cursor) before(o *cursor) bool {
	if a, b := c.key(), o.key(); a != b {
		return a < b
	}
	if c.class != o.class {
		return c.class < o.class
	}
	return c.partition < o.partition
}

// A merger joins the source partitions of a shard into one sequence by merge
// key. Live, it takes what has arrived and waits for nobody. Catching up, it
// takes the smallest key among all partitions that have records waiting, and so
// waits for a partition whose waiting records it has not yet seen: a replay
// gives the same sequence however the fetches fall.
//
// Whether records wait, the end of the partition tells, as far as it was there
// when the merger began. Of what is written later, in a stream that runs faster
// than it is decided, only the next answer does: a partition that lags by more
// than skew is given the time in which a broker with records answers.
//
// A label waits for every transaction that was written before it and comes first,
// however slow the broker is: one that is taken before its transaction is lost.
// Its chunk says how far the transactions have to be there.
type merger struct {
	cursors  []*cursor
	arrived  chan *chunk
	done     []*chunk      // used up by the step in work; given back at its end
	seen     int64         // the largest key of a transaction that has arrived
	skew     int64         // ms of event time beyond which a backlog is caught up in order
	answers  time.Duration // see Config.AnswerWait
	unmerged bool          // for the test that shows what the merge is for: take as it arrives

	abroad *abroad // the other shards; nil where there are none

	waited func() error // called each time that the merger has waited, unless nil

	now   func() time.Time // nil where nothing is ever asked
	after func(time.Duration) <-chan time.Time
}

// receive takes in what has arrived; where wait is set it waits for one chunk,
// or until a time is over.
func (m *merger) receive(ctx context.Context, wait bool, over <-chan time.Time) error {
	var parcels <-chan *parcel
	var glances <-chan *glance
	if m.abroad != nil {
		parcels, glances = m.abroad.arrived, m.abroad.back
	}
	for {
		if !wait {
			select {
			case c := <-m.arrived:
				m.add(c)
			case p := <-parcels:
				if err := m.abroad.take(p); err != nil {
					return err
				}
			case g := <-glances:
				m.abroad.saw(g, m.now())
			default:
				return nil
			}
			continue
		}
		select {
		case c := <-m.arrived:
			m.add(c)
			wait = false
		case p := <-parcels:
			if err := m.abroad.take(p); err != nil {
				return err
			}
			wait = false
		case g := <-glances:
			m.abroad.saw(g, m.now())
			wait = false
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idle reports whether nothing waits to be taken.
func (m *merger) idle() bool {
	if len(m.arrived) > 0 {
		return false
	}
	first, _ := m.least()
	return first == nil
}

func (m *merger) add(c *chunk) {
	at := c.cursor
	at.end, at.high, at.passed, at.seen = c.end, c.high, c.passed, true
	if len(c.keys) == 0 {
		c.free <- c
		return
	}
	at.chunks = append(at.chunks, c)
	at.last = c.keys[len(c.keys)-1]
	if at.class == Transactions { // rates may be dated ahead, which is no backlog
		m.seen = max(m.seen, c.keys[len(c.keys)-1])
	}
}

// least returns the cursor whose next record comes first, nil where nothing
// has arrived, and the one that comes second. Unmerged, none comes second: what has
// arrived is taken whole, or partitions that all arrive in time would be in order.
func (m *merger) least() (first, second *cursor) {
	for _, c := range m.cursors {
		switch {
		case c.head() == nil:
		case c.class == Labels && m.abroad != nil && m.abroad.owes(c):
			// It waits, and holds up nothing but what it brings.
		case first == nil:
			first = c
		case c.before(first):
			first, second = c, first
		case second == nil || c.before(second):
			second = c
		}
	}
	if m.unmerged {
		second = nil
	}
	return first, second
}

// mustWait reports whether the next record of a cursor has to wait for a partition
// that has records which have not arrived, or may have; then for how long, where
// that is known.
func (m *merger) mustWait(first *cursor) (wait bool, long time.Duration) {
	if m.unmerged {
		return false, 0
	}
	key, ends := first.key(), first.head().ends
	behind := m.seen-key > m.skew
	for _, c := range m.cursors {
		if c.waits(behind) || c.owes(ends) {
			return true, 0
		}
		if c.head() == nil && m.now != nil && max(m.seen, key)-c.last > m.skew {
			// One that is about to ask is waited for as if it had just asked.
			left := m.answers
			if asked, now := c.asked.Load(), m.now().UnixNano(); asked > now {
				// The clock was set back: it would be waited for as long as by how much.
				c.asked.CompareAndSwap(asked, now)
			} else if asked != 0 {
				left -= time.Duration(now - asked)
			}
			if left > 0 {
				wait, long = true, max(long, left)
			}
		}
	}
	if m.abroad != nil && m.abroad.holds(first, behind, m.now(), m.answers) {
		return true, 0
	}
	return wait, long
}

// take moves records in merge order into w until the step is full or nothing
// more may be taken now. Unless something has been taken it waits, or until more of
// other shards is gathered than is to be held.
func (m *merger) take(ctx context.Context, w *work) error {
	if err := m.receive(ctx, false, nil); err != nil {
		return err
	}
	for !w.full() {
		first, second := m.least()
		wait, long := first == nil, time.Duration(0)
		if !wait {
			wait, long = m.mustWait(first)
		}
		if !wait {
			m.run(w, first, second)
			continue
		}
		if w.records() > 0 {
			return nil
		}
		var over <-chan time.Time
		if long > 0 {
			over = m.after(long)
		}
		if m.abroad != nil && m.abroad.full() {
			return nil
		}
		err := m.receive(ctx, true, over)
		if err == nil && m.waited != nil {
			err = m.waited()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run moves records of first into w for as long as they come before second's.
func (m *merger) run(w *work, first, second *cursor) {
	h := first.head()
	for h.next < len(h.keys) && !w.full() {
		if second != nil && !first.before(second) || m.abroad != nil && !m.abroad.allows(first) {
			return
		}
		w.add(h, h.next)
		h.next++
	}
	if h.next == len(h.keys) {
		first.chunks = append(first.chunks[:0], first.chunks[1:]...)
		m.done = append(m.done, h)
	}
}

// pass moves the state over labels and rates that could not be read, once all
// that came before them was taken: they change nothing, but a node that begins
// after them need not look for them again.
func (m *merger) pass(s *State) {
	for _, c := range m.cursors {
		if c.class != Transactions && c.head() == nil && c.seen {
			at := s.At(c.class, c.partition)
			at.Offset = max(at.Offset, c.passed)
		}
	}
}

// release gives the chunks that the last step used up back to their fetchers.
func (m *merger) release() {
	for _, c := range m.done {
		c.free <- c
	}
	m.done = m.done[:0]
}
