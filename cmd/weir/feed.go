package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
)

// A feed writes a simulated bank's records into Kafka, as the bank's own systems
// would: transactions by their customer's partition, labels as they become
// known, before the transactions of that moment. One goroutine uses it.
type feed struct {
	bank   *simulate.Bank
	log    *kafka.Client
	topics schemas.Topics
	labels kafka.BatchWriter
	parts  []kafka.BatchWriter
	counts []int   // records in parts
	sent   []int64 // offset of the next record of each partition
	known  int     // records in labels
	tx     simulate.Transaction
	label  simulate.Label
	buf    []byte
	total  int64 // transactions drawn
	start  int64 // of the bank's first day, ms
	told   int64 // labels drawn
	// Truth, if set, is told of every transaction before it is sent.
	truth func(*simulate.Transaction)
	// Stamp, if set, is told where each transaction will be and when it was due.
	stamp func(partition int, offset int64)
	now   func() int64 // the records' Kafka timestamps, ms
}

func newFeed(ctx context.Context, bank *simulate.Bank, log *kafka.Client, topics schemas.Topics) (*feed, error) {
	t, err := log.Describe(ctx, topics.Transactions)
	if err != nil {
		return nil, err
	}
	f := &feed{bank: bank, log: log, topics: topics, parts: make([]kafka.BatchWriter, t.Partitions), counts: make([]int, t.Partitions), sent: make([]int64, t.Partitions),
		start: bank.Now(), now: func() int64 { return time.Now().UnixMilli() }}
	for p := range f.sent {
		if _, f.sent[p], err = log.Offsets(ctx, topics.Transactions, int32(p)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// rates writes the bank's exchange rates.
func (f *feed) rates(ctx context.Context, cfg *simulate.Config) error {
	var w kafka.BatchWriter
	for _, c := range cfg.Currencies {
		if c.Code == cfg.BaseCurrency {
			continue // no rate is needed, and none is taken
		}
		w.Append([]byte(c.Code), c.AppendRate(nil), time.Now().UnixMilli(), nil)
	}
	return f.send(ctx, f.topics.Rates, 0, &w)
}

// drawSpan is how much of the bank's time is drawn at once, ms. Partitions are
// sent one after another, and a reader that does not lag sees them as far apart:
// beyond the spec's late_max that would be late.
const drawSpan = 3_600_000

// drawHour takes up to n transactions from the bank, no more than an hour of its
// time, and reports whether there are more.
func (f *feed) drawHour(n int) bool {
	if n == 0 || !f.draw(1) {
		return n == 0
	}
	for first := f.bank.Now(); n > 1 && f.bank.Now()-first < drawSpan; n-- {
		if !f.draw(1) {
			return false
		}
	}
	return true
}

// draw takes n transactions from the bank and reports whether there are more.
func (f *feed) draw(n int) bool {
	for range n {
		if !f.bank.Next(&f.tx) {
			return false
		}
		now := f.now()
		for f.bank.NextLabel(&f.label) {
			f.buf = f.label.AppendJSON(f.buf[:0])
			f.labels.Append(f.label.AppendID(nil), f.buf, now, nil)
			f.known++
			f.told++
		}
		if f.truth != nil {
			f.truth(&f.tx)
		}
		f.buf = f.tx.AppendCustomer(f.buf[:0])
		p := partitionOf(f.buf, len(f.parts))
		if f.stamp != nil {
			f.stamp(p, f.sent[p]+int64(f.counts[p]))
		}
		key := len(f.buf)
		f.buf = f.tx.AppendJSON(f.buf)
		f.parts[p].Append(f.buf[:key], f.buf[key:], now, nil)
		f.counts[p]++
		f.total++
	}
	return true
}

// flush sends what was drawn: transactions before the labels of that time, since
// a label about one of them is known after it.
func (f *feed) flush(ctx context.Context) error {
	for p := range f.parts {
		if f.counts[p] == 0 {
			continue
		}
		if err := f.send(ctx, f.topics.Transactions, int32(p), &f.parts[p]); err != nil {
			return err
		}
		f.sent[p] += int64(f.counts[p])
		f.counts[p] = 0
	}
	if f.known > 0 {
		if err := f.send(ctx, f.topics.Labels, 0, &f.labels); err != nil {
			return err
		}
		f.known = 0
	}
	return nil
}

func (f *feed) send(ctx context.Context, topic string, partition int32, w *kafka.BatchWriter) error {
	batch, err := w.Finish(kafka.Snappy)
	if err != nil {
		return err
	}
	if _, err := f.log.Produce(ctx, topic, partition, batch); err != nil {
		return fmt.Errorf("write to %s partition %d: %w", topic, partition, err)
	}
	w.Reset()
	return nil
}
