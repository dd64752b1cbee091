package ingest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A followUp is what has to be published once decisions are durable: their
// alerts and the dead letters of rejected records.
type followUp struct {
	upto   int64 // the ledger offset up to which this settles everything
	alerts []alertRecord
	arena  []byte // what alerts hold
	dead   []schemas.Place
	reason []schemas.Reason
}

type alertRecord struct {
	offset   int64 // of the decision in the ledger
	from, to int   // its JSON in arena
}

func (u *followUp) reset() {
	u.alerts, u.arena, u.dead, u.reason = u.alerts[:0], u.arena[:0], u.dead[:0], u.reason[:0]
}

// A follower publishes alerts and dead letters of decisions that were taken, in
// the order of the ledger, one request in flight. Its queue is bounded and
// blocks whoever adds: a lost alert is a loss, so nothing is dropped to keep
// up. It runs in a goroutine of its own, which [owner] starts and waits for.
type follower struct {
	node  *Node
	shard int32
	queue chan *followUp
	spare chan *followUp
	dead  deadLetters
	mark  atomic.Int64 // everything up to this ledger offset is acknowledged
	entry schemas.Entry
	batch kafka.BatchWriter
	key   []byte
}

func newFollower(n *Node, shard int32, mark int64) *follower {
	f := &follower{node: n, shard: shard, dead: deadLetters{node: n}, queue: make(chan *followUp, 4), spare: make(chan *followUp, 6)}
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
	if len(out.alerts) > 0 {
		f.node.enter(Unalerted)
	}
	for _, i := range out.alerts {
		if err := u.alert(f.shard, base+int64(i), out.record(int(i)), &f.entry); err != nil {
			return err
		}
	}
	for _, i := range out.dead {
		if err := u.letter(out.record(int(i)), &f.entry); err != nil {
			return err
		}
	}
	return f.put(ctx, u)
}

func (f *follower) put(ctx context.Context, u *followUp) error {
	select {
	case f.queue <- u:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// alert adds the alert of the decision that value holds.
func (u *followUp) alert(shard int32, offset int64, value []byte, e *schemas.Entry) error {
	if err := schemas.ParseEntry(value, e); err != nil {
		return fmt.Errorf("parse own decision %d: %w", offset, err)
	}
	from := len(u.arena)
	u.arena = schemas.AppendAlertJSON(u.arena, &e.Decision, shard, offset)
	u.alerts = append(u.alerts, alertRecord{offset: offset, from: from, to: len(u.arena)})
	return nil
}

// letter adds the dead letter of the rejected record that value speaks of.
func (u *followUp) letter(value []byte, e *schemas.Entry) error {
	if err := schemas.ParseEntry(value, e); err != nil {
		return fmt.Errorf("parse own decision: %w", err)
	}
	u.dead = append(u.dead, e.Decision.Place)
	u.reason = append(u.reason, e.Decision.Reason)
	return nil
}

// run publishes until the queue is closed, or until an error.
func (f *follower) run(ctx context.Context) error {
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
			select {
			case f.spare <- u:
			default: // what a take-over put in front came from outside the pool
			}
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

func (f *follower) publish(ctx context.Context, u *followUp) error {
	for from := 0; from < len(u.alerts); {
		f.batch.Reset()
		n := 0
		for _, a := range u.alerts[from:min(from+alertsPerBatch, len(u.alerts))] {
			if f.batch.Len() >= alertBytes {
				break
			}
			f.key = schemas.AppendAlertID(f.key[:0], f.shard, a.offset)
			f.batch.Append(f.key, u.arena[a.from:a.to], f.node.Now().UnixMilli(), nil)
			n++
		}
		if err := f.node.produce(ctx, f.node.Topics.Alerts, f.shard, &f.batch); err != nil {
			return fmt.Errorf("publish %d alerts: %w", n, err)
		}
		f.node.Metrics.alerted(n)
		from += n
	}
	return f.dead.publish(ctx, u.dead, u.reason)
}
