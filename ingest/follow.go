package ingest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// A followUp is decisions that are durable and call for more: an alert, or the
// dead letter of a rejected record.
type followUp struct {
	upto  int64 // the ledger offset up to which this settles everything
	calls []call
	arena []byte    // their records
	busy  bool      // more waits to be decided
	at    time.Time // when it was queued
}

// A call is one such decision.
type call struct {
	offset   int64 // in the ledger
	from, to int   // its record in arena
}

func (u *followUp) reset() { u.calls, u.arena = u.calls[:0], u.arena[:0] }

// add appends a decision's record, which it copies.
func (u *followUp) add(offset int64, value []byte) {
	from := len(u.arena)
	u.arena = append(u.arena, value...)
	u.calls = append(u.calls, call{offset: offset, from: from, to: len(u.arena)})
}

// A follower publishes alerts and dead letters of decisions that were taken, in
// the order of the ledger, one request in flight. Its queue is bounded and
// blocks whoever adds: a lost alert is a loss, so nothing is dropped to keep
// up. It runs in a goroutine of its own, which [owner] starts and waits for.
type follower struct {
	node    *Node
	shard   int32
	backlog []*followUp // of whoever decided before; nobody waits for it who decides
	queue   chan *followUp
	spare   chan *followUp
	dead    deadLetters
	mark    atomic.Int64 // everything up to this ledger offset is acknowledged
	entry   schemas.Entry
	why     explainers
	// Of the followUp that is being published: alerts gathered for one request,
	// and what was rejected.
	batch   kafka.BatchWriter
	alerts  int
	key     []byte
	json    []byte
	places  []schemas.Place
	reasons []schemas.Reason
	spans   []trace.Span // of alerts that were gathered
}

// followQueue is how many batches may wait for their alerts: those of some tens of
// milliseconds, for as long as it takes to say why one alert was raised, so that
// nobody who decides waits for that.
const followQueue = 64

// busySteps is which part of the largest step says that there is a backlog: a scorer
// that keeps up takes what came in the last millisecond.
const busySteps = 4

func newFollower(n *Node, shard int32, mark int64) *follower {
	f := &follower{node: n, shard: shard, dead: deadLetters{node: n}, why: explainers{node: n}, queue: make(chan *followUp, followQueue), spare: make(chan *followUp, followQueue+2)}
	for range cap(f.spare) {
		f.spare <- &followUp{}
	}
	f.mark.Store(mark)
	return f
}

// add queues what the records of one taken batch call for; base is the ledger
// offset of its first record. The output may be reused when add returns.
func (f *follower) add(ctx context.Context, base int64, out *output) error {
	var u *followUp
	select {
	case u = <-f.spare:
	case <-ctx.Done():
		return ctx.Err()
	}
	u.reset()
	u.upto = base + int64(out.records()) - 1
	u.busy = out.records() >= f.node.RowsMax/busySteps
	if len(out.alerts) > 0 {
		f.node.enter(Unalerted)
	}
	for _, i := range out.alerts {
		u.add(base+int64(i), out.record(int(i)))
	}
	for _, i := range out.dead {
		u.add(base+int64(i), out.record(int(i)))
	}
	u.at = f.node.Now()
	select {
	case f.queue <- u:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run publishes until the queue is closed, or until an error.
func (f *follower) run(ctx context.Context) error {
	began := f.node.Now()
	for len(f.backlog) > 0 {
		u := f.backlog[0]
		f.backlog[0] = nil // or what is left of the list would keep all its records for as long as it decides
		f.backlog, u.at = f.backlog[1:], began
		if err := f.publish(ctx, u); err != nil {
			return err
		}
		f.mark.Store(u.upto)
	}
	for {
		select {
		case u, ok := <-f.queue:
			if !ok {
				return nil
			}
			if err := f.publish(ctx, u); err != nil {
				return err
			}
			f.mark.Store(u.upto)
			if len(f.queue) == 0 {
				f.node.leave(Unalerted)
			}
			f.spare <- u
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// alertsPerBatch and alertBytes bound one request. An alert takes 30 kB at
// most, and a topic takes 1 MB by default.
const (
	alertsPerBatch = 500
	alertBytes     = 512 << 10
)

// publish publishes what a followUp calls for. Alerts get their reasons here,
// behind the ledger: nobody waits for them who waits for a decision.
func (f *follower) publish(ctx context.Context, u *followUp) error {
	f.places, f.reasons = f.places[:0], f.reasons[:0]
	f.batch.Reset()
	f.alerts = 0
	for _, c := range u.calls {
		if err := schemas.ParseEntry(u.arena[c.from:c.to], &f.entry); err != nil {
			return fmt.Errorf("parse own decision %d: %w", c.offset, err)
		}
		d := &f.entry.Decision
		if d.Outcome == schemas.Rejected {
			f.places, f.reasons = append(f.places, d.Place), append(f.reasons, d.Reason)
		}
		if d.Action == schemas.Allow {
			continue
		}
		if f.alerts >= alertsPerBatch || f.batch.Len() >= alertBytes {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
		f.key = schemas.AppendAlertID(f.key[:0], f.shard, c.offset)
		reasons, quick := f.why.reasons(ctx, d, u.busy || len(f.queue)+len(f.backlog) > followQueue/2)
		f.json = schemas.AppendAlertJSON(f.json[:0], d, f.shard, c.offset, reasons, quick)
		f.batch.Append(f.key, f.json, f.node.Now().UnixMilli(), nil)
		f.alerts++
		if f.node.Trace.Sampled(&d.Place) {
			f.spans = append(f.spans, trace.Span{Kind: trace.Alert, Place: d.Place, Start: u.at})
		}
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	return f.dead.publish(ctx, f.places, f.reasons)
}

// flush sends the alerts that were gathered.
func (f *follower) flush(ctx context.Context) error {
	if f.alerts == 0 {
		return nil
	}
	if err := f.node.produce(ctx, f.node.Topics.Alerts, f.shard, &f.batch); err != nil {
		return fmt.Errorf("publish %d alerts: %w", f.alerts, err)
	}
	f.node.Metrics.alerted(f.alerts)
	f.batch.Reset()
	f.alerts = 0
	f.node.traceAlerts(f.spans)
	f.spans = f.spans[:0]
	return nil
}
