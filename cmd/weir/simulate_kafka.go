package main

import (
	"context"
	"time"

	"github.com/weir-risk/weir/ingest/simulate"
)

// send lets the bank pay into Kafka, until its last day or the context ends; what
// was drawn by then is sent.
func (s *simulation) send(ctx context.Context, e *env, bank *simulate.Bank) (done simulated, err error) {
	client, err := s.kafka.client(e)
	if err != nil {
		return done, err
	}
	defer client.Close()
	topics := s.kafka.topics()
	if err := s.kafka.prepare(ctx, client, s.partitions, simulateRights(topics)); err != nil {
		return done, err
	}
	f, err := newFeed(ctx, bank, client, topics)
	if err != nil {
		return done, err
	}
	if err := f.rates(ctx, &s.bank); err != nil {
		return done, err
	}
	err = s.pace(ctx, e, f)
	done.Labels, done.Stopped = int(f.told), ctx.Err() != nil
	return done, err
}

// pace draws and sends at the speed asked for. A signal stops the drawing; a
// write that is under way ends first, so that what was counted was sent.
func (s *simulation) pace(ctx context.Context, e *env, f *feed) error {
	bar := newBar(e, "simulate")
	defer bar.end()
	start, span := s.bank.Start.UnixMilli(), int64(s.bank.Days)*24*time.Hour.Milliseconds()
	flush := func() error {
		bar.set(f.bank.Now()-start, span)
		return f.flush(context.WithoutCancel(ctx))
	}
	if s.live {
		return atLife(ctx, f, flush)
	}
	began := time.Now()
	for more := true; more && ctx.Err() == nil; {
		n := int64(drawAtOnce)
		if s.rate > 0 {
			n = min(n, int64(time.Since(began).Seconds()*s.rate)-f.total)
		}
		if n <= 0 {
			// Timers below a millisecond are late; a batch is better than a record at
			// a time.
			next := time.Duration(float64(f.total+1) / s.rate * float64(time.Second))
			_ = sleep(ctx, max(next-time.Since(began), 2*time.Millisecond)) // the loop looks at ctx
			continue
		}
		more = f.drawHour(int(n))
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// atLife sends each record at its own time, those that are due together at once.
func atLife(ctx context.Context, f *feed, flush func() error) error {
	for ctx.Err() == nil && f.draw(1) {
		early := time.Duration(f.bank.Now()-time.Now().UnixMilli()) * time.Millisecond
		if early <= 0 && f.waiting() < drawAtOnce {
			continue
		}
		_ = sleep(ctx, max(early, 0)) // what was drawn is sent all the same
		if err := flush(); err != nil {
			return err
		}
	}
	return flush()
}

// drawAtOnce is how many transactions are sent together at most: few enough for
// a batch of each partition to stay below a broker's usual megabyte.
const drawAtOnce = 1000

// waiting is how many transactions are drawn and not sent.
func (f *feed) waiting() int {
	n := 0
	for _, count := range f.counts {
		n += count
	}
	return n
}
