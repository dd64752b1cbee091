package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Earliest makes a [Reader] begin where the partition does.
const Earliest = -2

// Reader reads the committed records of one partition, in order. It is for one
// goroutine.
type Reader struct {
	client    *Client
	topic     string
	id        [16]byte // the topic's, once something was read: no other is read on
	partition int32
	position  int64
	got       int64 // the offset after the record that Get returned last, 0 before
	raw       []byte
	records   Records
	answer    FetchAnswer
}

// The sizes of a Reader's fetches. A larger fetch would not read faster, and is
// held in memory twice.
const (
	readerBytes = 4 << 20
	readerWait  = 250 * time.Millisecond
)

// NewReader returns a reader that begins at an offset, or at [Earliest].
func NewReader(c *Client, topic string, partition int32, offset int64) *Reader {
	return &Reader{client: c, topic: topic, partition: partition, position: offset}
}

// Close ends the reader; it holds nothing that outlives its last call.
func (r *Reader) Close() {}

// Position returns the offset of the next fetch.
func (r *Reader) Position() int64 { return r.position }

// Next returns the records of the next fetch, to be walked before Next is
// called again; nil where the position has come to end. A reader that never
// ends has end at the largest int64 and may get an empty set.
func (r *Reader) Next(ctx context.Context, end int64) (*Records, error) {
	if r.position >= 0 {
		r.position = max(r.position, r.records.next)
	}
	if r.position == Earliest {
		err := again(ctx, func() (err error) {
			r.position, err = r.client.offset(ctx, r.topic, r.partition, readUncommitted, first)
			return err
		})
		if err != nil {
			r.position = Earliest
			return nil, err
		}
	}
	if r.position >= end {
		return nil, nil
	}
	wait := readerWait
	if end <= r.answer.HighWatermark {
		wait = 0 // what lies before the end is there, or held back
	}
	if err := r.fetch(ctx, wait); err != nil {
		return nil, err
	}
	// Nothing is left below the end but what an open transaction holds back,
	// or what compaction took: the caller does not wait for either.
	if len(r.answer.Records) == 0 && end <= r.answer.HighWatermark && r.position < end {
		return nil, nil
	}
	r.records.Reset(&r.answer, r.position)
	return &r.records, nil
}

// fetch fetches at the position, again where that may help.
func (r *Reader) fetch(ctx context.Context, wait time.Duration) error {
	return again(ctx, func() (err error) {
		r.answer, r.raw, err = r.client.Fetch(ctx, FetchRequest{Topic: r.topic, ID: r.id, Partition: r.partition,
			Offset: r.position, MaxWait: wait, MinBytes: 1, MaxBytes: readerBytes}, r.raw)
		if err == nil {
			r.id = r.answer.ID
		}
		return err
	})
}

// readAttempts bounds how often a read is tried while the broker is away: with
// the pauses between them about 8 s.
const readAttempts = 20

// again repeats a read until it succeeds or another try cannot help.
func again(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || ctx.Err() != nil || Classify(err) == Stop || attempt == readAttempts {
			return errors.Join(err, ctx.Err())
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// Get reads the one record at an offset; the slices are good until the next
// call. Offsets that ascend are read in one pass. ErrOffsetOutOfRange is wrapped
// where the log does not hold the offset.
func (r *Reader) Get(ctx context.Context, offset int64) (*Record, error) {
	if r.got > 0 && r.got <= offset {
		for r.records.Next() && r.records.Record().Offset < offset {
		}
		if r.records.Err() == nil && r.records.Record().Offset == offset {
			r.got = offset + 1
			return r.records.Record(), nil
		}
	}
	r.position, r.records.next, r.got = offset, offset, 0
	if err := r.fetch(ctx, 0); err != nil {
		return nil, err
	}
	r.records.Reset(&r.answer, offset)
	if r.records.Next() && r.records.Record().Offset == offset {
		r.got = offset + 1
		return r.records.Record(), nil
	}
	if err := r.records.Err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s partition %d offset %d: %w", r.topic, r.partition, offset, ErrOffsetOutOfRange)
}
