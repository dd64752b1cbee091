package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/kafka"
)

// demoPayments is how many payments the demo's desk looks around in: more than a month of
// its bank's.
const demoPayments = 500_000

// demoPast is where the demo's desk looks payments up. A store on disk would take a core
// for half a minute to catch up with the past, and a seventh of one from then on, beside
// what the demo is to show.
type demoPast struct {
	*history.Memory
	s *service
}

// Record implements [history.Lookup]: the ledger itself has it.
func (p *demoPast) Record(ctx context.Context, shard int32, offset int64) (history.Record, error) {
	b, err := kafka.BatchAt(ctx, p.s.client, p.s.topics.Decisions, shard, offset)
	if err != nil {
		return history.Record{}, err
	}
	if b == nil || offset < b.Base || offset-b.Base >= int64(len(b.Values)) {
		return history.Record{}, fmt.Errorf("%w: offset %d of shard %d", history.ErrNoRecord, offset, shard)
	}
	return history.Record{Offset: offset, Value: b.Values[offset-b.Base], Base: b.Base, Timestamp: b.Timestamp, Facts: b.Facts}, nil
}

// remember reads what is decided from when the past is: beside the learner, who reads the
// same by one processor before all of them learn, it delays nothing.
func (d *demo) remember(ctx context.Context) error {
	select {
	case <-d.paid:
	case <-ctx.Done():
		return nil
	}
	r := ingest.NewRecorder(d.s.client, d.memory.Memory, ingest.RecorderConfig{Topics: d.s.topics, Every: 200 * time.Millisecond, Now: time.Now, After: time.After,
		Log: d.s.log, Metrics: ingest.NewRecorderMetrics(d.s.registry)})
	return r.Run(ctx)
}
