package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// The errors that end an ownership. After ErrOverwritten the owner rebuilds its
// state from the ledger and decides again; the others are for a person.
var (
	ErrOverwritten = errors.New("another writer's batch was taken first")
	ErrTruncated   = errors.New("the ledger ends before what was acknowledged: it was truncated or recreated")
)

// A flight is one step on its way into the ledger. Two of them exist: one is
// decided while the other is in flight.
type flight struct {
	out     output
	facts   schemas.Facts
	batch   kafka.BatchWriter
	headers []kafka.Header
	scratch []byte
	bytes   []byte // the record batch as sent, and sent again
	// For the metrics, once it is durable: the source records' places and
	// outcomes, the counts and the ledger offset after the step.
	places   []schemas.Place
	verdicts []schemas.Verdict
	labels   int
	counts   Counts
	end      int64
	shard    int32
	// When its step began and was decided, for metrics and spans.
	began, decided time.Time
}

// A publisher appends flights to the ledger, in order, one request in flight,
// and counts as decided only what the one reader would take. It runs in a
// goroutine of its own, which [owner] starts and waits for.
type publisher struct {
	node   *Node
	shard  int32
	at     atomic.Pointer[schemas.Anchor] // the last batch taken
	flying chan *flight                   // from the decider
	free   chan *flight                   // back to it
	after  *follower                      // what is published after a decision is durable

	assigned time.Time // when the group gave the shard; zero once the first decision is told of
}

// run publishes until flying is closed, or until an error.
func (p *publisher) run(ctx context.Context) error {
	for {
		select {
		case f, ok := <-p.flying:
			if !ok {
				return nil
			}
			if err := p.publish(ctx, f); err != nil {
				return err
			}
			// Before what follows from it: who sees that everything is acknowledged
			// finds all of it counted.
			p.node.published(f)
			p.tookOver(f)
			if err := p.after.add(ctx, f.end-int64(f.facts.Records), &f.out); err != nil {
				return err
			}
			p.free <- f
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tookOver tells, once, how long the first transaction that this owner decides had to
// wait for it: since the group gave it the shard, or since the transaction came.
func (p *publisher) tookOver(f *flight) {
	if p.assigned.IsZero() || len(f.places) == 0 {
		return
	}
	waits := p.assigned
	if came := time.UnixMilli(f.places[0].Timestamp); came.After(waits) {
		waits = came
	}
	d := max(0, p.node.Now().Sub(waits))
	p.node.Metrics.TakeOver.Observe(d.Seconds())
	p.node.Log.Info("took over", "assigned", p.assigned, "seconds", d.Seconds())
	p.assigned = time.Time{}
}

// publish sends one batch until it is taken. A request whose fate is unknown is
// looked up in the log before the same bytes are sent again.
func (p *publisher) publish(ctx context.Context, f *flight) error {
	p.node.enter(Unacknowledged)
	defer p.node.leave(Unacknowledged)
	for attempt := 0; ; attempt++ {
		at := *p.at.Load()
		base, err := p.node.log.Produce(ctx, p.node.Topics.Decisions, p.shard, f.bytes)
		if err == nil && base == at.Offset {
			p.taken(f, base)
			return nil
		}
		if err == nil && base < at.Offset {
			return fmt.Errorf("append to %s: offset %d answered where %d is next: %w", p.node.Topics.Decisions, base, at.Offset, ErrTruncated)
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.node.retried(err)
			if kafka.Classify(err) == kafka.Stop {
				return fmt.Errorf("append %d records to %s: %w", f.facts.Records, p.node.Topics.Decisions, err)
			}
			if err := p.node.pause(ctx, attempt); err != nil {
				return err
			}
		}
		found, err := p.settle(ctx, f, at)
		if err != nil || found {
			return err
		}
	}
}

func (p *publisher) taken(f *flight, base int64) {
	f.end = base + int64(f.facts.Records)
	p.at.Store(&schemas.Anchor{Offset: f.end, Head: f.facts.ID})
}

// settle reads the ledger from the last batch taken to its end and reports
// whether f is in it. What an intruder appended is either dropped by the reader
// or was taken first; then f is void.
func (p *publisher) settle(ctx context.Context, f *flight, at schemas.Anchor) (found bool, err error) {
	_, end, err := p.node.log.Offsets(ctx, p.node.Topics.Decisions, p.shard)
	if err != nil {
		if kafka.Classify(err) == kafka.Stop {
			return false, fmt.Errorf("look up the end of %s: %w", p.node.Topics.Decisions, err)
		}
		return false, nil // the broker is away: the caller sends again, and looks again
	}
	if end < at.Offset {
		return false, fmt.Errorf("%s ends at %d where %d is next: %w", p.node.Topics.Decisions, end, at.Offset, ErrTruncated)
	}
	r := kafka.NewLedgerReader(p.node.log, p.node.Topics.Decisions, p.shard, at)
	defer r.Close()
	for r.Position() < end {
		b, err := r.Next(ctx, end)
		if err != nil {
			return false, fmt.Errorf("read back %s from %d: %w", p.node.Topics.Decisions, at.Offset, err)
		}
		if b == nil {
			return false, nil
		}
		if !b.Taken {
			continue
		}
		if b.Facts.ID != f.facts.ID {
			return false, fmt.Errorf("at ledger offset %d, writer %x: %w", b.Base, b.Facts.ID.Writer, ErrOverwritten)
		}
		p.taken(f, b.Base)
		return true, nil
	}
	return false, nil
}

// backoff is how long to wait before attempt n+1.
func backoff(n int) time.Duration { return min(time.Second, 5*time.Millisecond<<min(n, 8)) }
