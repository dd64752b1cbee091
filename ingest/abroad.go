package ingest

import (
	"context"
	"math"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// An abroad is what an owner sees of the other shards while it decides its own: what
// they decided, as their ledgers say, and while it catches up what they have yet to
// decide, as their source partitions say. The goroutine of the merger owns it; a reader
// of each ledger and one that looks ahead hand over to it.
type abroad struct {
	*others
	node    *Node
	skew    int64 // ms of event time that the shard may be ahead of another, see Config.SkewMax
	strict  bool  // it may not be ahead at all, whatever the skew
	parts   []*distant
	arrived chan *parcel
	ask     chan *glance
	back    chan *glance
	// What the next record may come after, as holds found last: the key of the first
	// record that another shard has waiting, and its partition.
	limit     int64
	limitPart int32
}

// A distant is a source partition of another shard.
type distant struct {
	partition int32
	other     int   // in State.Others
	start     int64 // its end when the ownership began
	high      int64 // its end as last seen
	keys      []int64
	offsets   []int64 // of the records ahead that were looked at; keys are their merge keys
	asked     bool    // somebody looks
	looked    time.Time
}

// A parcel is a batch of another shard's ledger on its way to the merger.
type parcel struct {
	other  int
	base   int64
	id     schemas.BatchID
	arena  []byte
	ends   []int
	values [][]byte
	free   chan<- *parcel
}

// parcels is how many batches of each other shard may be on their way.
const parcels = 3

// A glance is a look at what a distant partition has ahead.
type glance struct {
	d       *distant
	from    int64
	maxTime int64
	keys    []int64
	offsets []int64
	high    int64
}

// newAbroad returns the view of the other shards from a state that is about to decide;
// nil where there are none. Each fetcher of parcels runs until the context ends.
func (o *owner) newAbroad(past *pastSpecs) *abroad {
	s, n := o.state, o.node
	in := newOthers(n.log, n.Topics.Decisions, s, past)
	if in == nil {
		return nil
	}
	a := &abroad{others: in, node: n, skew: n.SkewMax.Milliseconds(), strict: n.Strict, limit: math.MaxInt64}
	for p, end := range o.view.ends[Transactions] {
		shard := int32(p) % n.Shards
		for i := range s.Others {
			if s.Others[i].Shard == shard {
				a.parts = append(a.parts, &distant{partition: int32(p), other: i, start: end, high: end})
			}
		}
	}
	a.arrived = make(chan *parcel, parcels*len(s.Others))
	a.ask, a.back = make(chan *glance, len(a.parts)), make(chan *glance, len(a.parts))
	return a
}

// run reads the other shards' ledgers, and looks ahead in their partitions, until the
// context ends or an error that trying again does not mend.
func (a *abroad) run(ctx context.Context, g *group, cancel context.CancelCauseFunc) {
	for i := range a.ahead {
		r := kafka.NewLedgerReader(a.log, a.topic, a.ahead[i].Shard, a.ahead[i].Chain)
		g.start(cancel, func() error {
			defer r.Close()
			return a.follow(ctx, i, r)
		})
	}
	g.start(cancel, func() error { return a.lookAhead(ctx) })
}

// follow hands over what another shard decides, as it is written.
func (a *abroad) follow(ctx context.Context, i int, r *kafka.LedgerReader) error {
	free := make(chan *parcel, parcels)
	for range parcels {
		free <- &parcel{other: i, free: free}
	}
	for {
		b, err := r.Follow(ctx)
		if err != nil {
			return err
		}
		if b == nil || !b.Taken {
			continue
		}
		var p *parcel
		select {
		case p = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.pack(b)
		a.arrived <- p // never blocks: it holds all parcels there are
	}
}

func (p *parcel) pack(b *kafka.LedgerBatch) {
	p.base, p.id = b.Base, b.Facts.ID
	p.arena, p.ends, p.values = p.arena[:0], p.ends[:0], p.values[:0]
	for _, v := range b.Values {
		p.arena = append(p.arena, v...)
		p.ends = append(p.ends, len(p.arena))
	}
	from := 0
	for _, to := range p.ends {
		p.values = append(p.values, p.arena[from:to:to])
		from = to
	}
}

// take gathers a parcel.
func (a *abroad) take(p *parcel) error {
	err := a.gather(p.other, p.base, p.id, p.values)
	p.free <- p
	return err
}

// lookAhead looks at what partitions have ahead, one after the other, as it is asked.
func (a *abroad) lookAhead(ctx context.Context) error {
	rows := newRowReader(a.node.Spec, a.node.Tokens, a.node.Wire)
	var scratch schemas.Batch
	var raw []byte
	for attempt := 0; ; {
		var g *glance
		select {
		case g = <-a.ask:
		case <-ctx.Done():
			return ctx.Err()
		}
		for {
			var err error
			raw, err = a.glance(ctx, g, &rows, &scratch, raw)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				attempt = 0
				break
			}
			if kafka.Classify(err) == kafka.Stop {
				return err
			}
			a.node.retried(err)
			if err := a.node.pause(ctx, attempt); err != nil {
				return err
			}
			attempt++
		}
		a.back <- g // never blocks: one of each partition is under way
	}
}

// glance looks once. What cannot be read is nobody's who catches up: whose partition it
// is halts for it.
func (a *abroad) glance(ctx context.Context, g *glance, rows *rowReader, scratch *schemas.Batch, raw []byte) ([]byte, error) {
	in := &a.node.Spec.Input
	answer, raw, err := a.node.log.Fetch(ctx, kafka.FetchRequest{Topic: a.node.Topics.Transactions, Partition: g.d.partition,
		Offset: g.from, MinBytes: 1, MaxBytes: a.node.FetchBytes}, raw)
	if err != nil {
		return raw, err
	}
	g.keys, g.offsets, g.high = g.keys[:0], g.offsets[:0], answer.LastStableOffset
	last := g.maxTime
	var records kafka.Records
	records.Reset(&answer, g.from)
	for records.Next() {
		r := records.Record()
		scratch.Reset(len(in.OwnText), len(in.OwnNumber))
		i := scratch.Add(schemas.Place{Partition: g.d.partition, Offset: r.Offset, Timestamp: r.Timestamp})
		if _, err := rows.read(ctx, scratch, i, r.Key, r.Value); err != nil {
			return raw, err
		}
		if moves(scratch.Verdict[i]) {
			last = max(last, scratch.Tx[i].Time)
		}
		g.keys, g.offsets = append(g.keys, last), append(g.offsets, r.Offset)
	}
	return raw, nil
}

// saw takes in what a glance brought.
func (a *abroad) saw(g *glance, now time.Time) {
	d := g.d
	d.asked, d.looked = false, now
	d.high = g.high
	d.keys, d.offsets = g.keys, g.offsets
	if len(d.keys) == 0 { // nothing that can be read: it is not waited for
		d.start, d.high = min(d.start, g.from), min(d.high, g.from)
	}
}

// next drops what was decided of a distant partition, and returns what is next there.
func (a *abroad) next(d *distant) int64 {
	next := a.ahead[d.other].next(d.partition)
	for len(d.offsets) > 0 && d.offsets[0] < next {
		d.keys, d.offsets = d.keys[1:], d.offsets[1:]
	}
	return next
}

// look has somebody look at what a partition has ahead.
func (a *abroad) look(d *distant, next int64) {
	if d.asked {
		return
	}
	d.asked = true
	a.ask <- &glance{d: d, from: next, maxTime: a.ahead[d.other].maxTime(d.partition)}
}

// holds reports whether the next record of a cursor has to wait for another shard: while
// the shard catches up it comes no more than skew after the first record that another
// one has waiting. It sets the limit for what follows.
func (a *abroad) holds(first *cursor, behind bool, now time.Time, again time.Duration) (wait bool) {
	a.limit, a.limitPart = math.MaxInt64, 0
	for _, d := range a.parts {
		next := a.next(d)
		if next >= d.start && !behind {
			continue
		}
		if next >= d.start && next >= d.high {
			// More may have been written meanwhile.
			if now.Sub(d.looked) >= again {
				a.look(d, next)
			}
			continue
		}
		if len(d.keys) == 0 {
			a.look(d, next)
			wait = true
			continue
		}
		if d.keys[0] < a.limit {
			a.limit, a.limitPart = d.keys[0], d.partition
		}
	}
	if a.limit != math.MaxInt64 && !a.strict {
		a.limit += a.skew
	}
	return wait || !a.allows(first)
}

// allows reports whether the next record of a cursor may come before what the other
// shards have waiting.
func (a *abroad) allows(c *cursor) bool {
	key := c.key()
	switch {
	case key != a.limit:
		return key < a.limit
	case !a.strict || c.class < Transactions:
		return true
	}
	return c.partition < a.limitPart
}

// owes reports whether transactions of other shards that were written before the next
// label of a cursor, and come before it, are not decided yet as far as is known here.
func (a *abroad) owes(c *cursor) bool {
	ends := c.head().ends
	if len(ends) == 0 {
		return false
	}
	for _, d := range a.parts {
		if next := a.next(d); next < ends[d.partition] && (len(d.keys) == 0 || d.keys[0] < c.key()) {
			return true
		}
	}
	return false
}
