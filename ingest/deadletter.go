package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// deadLetters publishes rejected records to the dead-letter topic: their own
// bytes, or where the spec has secret fields only where they are and what their
// bytes hash to, since whatever could not be decoded may hold a card number.
// The bytes are read from the source again: rejected records are rare, and so
// the way is the same live and after a crash. The follower's goroutine uses it.
type deadLetters struct {
	node       *Node
	partitions int // of the topic, 0 before it was asked
	room       int // bytes of a batch
	readers    map[int32]*kafka.Reader
	batch      kafka.BatchWriter
	count      int // records in batch
}

// letterMax bounds a batch of several letters.
const letterMax = 256 << 10

// publish publishes the dead letters of one step, those of a partition in the
// order of its log.
func (d *deadLetters) publish(ctx context.Context, places []schemas.Place, reasons []schemas.Reason) error {
	if len(places) == 0 {
		return nil
	}
	if err := d.ask(ctx); err != nil {
		return err
	}
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[a].Partition, places[b].Partition) })
	for k, i := range order {
		if k > 0 && places[i].Partition != places[order[k-1]].Partition {
			if err := d.flush(ctx, places[order[k-1]].Partition); err != nil {
				return err
			}
		}
		if err := d.add(ctx, places[i], reasons[i]); err != nil {
			return err
		}
	}
	return d.flush(ctx, places[order[len(order)-1]].Partition)
}

// ask looks up what the topic is like.
func (d *deadLetters) ask(ctx context.Context) error {
	if d.partitions > 0 {
		return nil
	}
	topic := d.node.Topics.DLQ
	t, err := d.node.log.Describe(ctx, topic)
	if err != nil {
		return fmt.Errorf("describe %s: %w", topic, err)
	}
	if d.room, err = d.node.log.MessageMax(ctx, topic); err != nil {
		return fmt.Errorf("look up max.message.bytes of %s: %w", topic, err)
	}
	d.partitions, d.readers = t.Partitions, make(map[int32]*kafka.Reader)
	return nil
}

func (d *deadLetters) add(ctx context.Context, p schemas.Place, reason schemas.Reason) error {
	n := d.node
	if d.readers[p.Partition] == nil {
		d.readers[p.Partition] = kafka.NewReader(n.log, n.Topics.Transactions, p.Partition, p.Offset)
	}
	r, err := d.readers[p.Partition].Get(ctx, p.Offset)
	if err != nil && !errors.Is(err, kafka.ErrOffsetOutOfRange) && unreadable(err) == nil {
		return fmt.Errorf("read rejected record %d of partition %d again: %w", p.Offset, p.Partition, err)
	}
	// Where the source no longer has it, or in pieces, the place and the reason remain.
	var key, value []byte
	if err == nil {
		key, value = r.Key, r.Value
	}
	headers := letterHeaders(n.Topics.Transactions, p, reason, value, err == nil)
	// A record that came compressed may be larger than what the topic takes, and
	// one record must not stop the stream.
	size := len(key) + len(value) + 1024
	if !n.Spec.Input.DLQ || size > d.room {
		key, value, size = nil, nil, 1024
	}
	if d.count > 0 && d.batch.Len()+size > min(letterMax, d.room) {
		if err := d.flush(ctx, p.Partition); err != nil {
			return err
		}
	}
	// A time that the source's topic took this one may refuse, for as long as it is far ahead.
	d.batch.Append(key, value, min(p.Timestamp, n.Now().UnixMilli()), headers)
	d.count++
	return nil
}

// flush publishes what is in the batch. The topic may have fewer partitions than
// the source.
func (d *deadLetters) flush(ctx context.Context, partition int32) error {
	if err := d.node.produce(ctx, d.node.Topics.DLQ, partition%int32(d.partitions), &d.batch); err != nil {
		return fmt.Errorf("publish %d dead letters: %w", d.count, err)
	}
	d.node.Metrics.Dead.Add(float64(d.count))
	d.batch.Reset()
	d.count = 0
	return nil
}

// letterHeaders says what is known of a dead letter without its bytes.
func letterHeaders(topic string, p schemas.Place, r schemas.Reason, value []byte, read bool) []kafka.Header {
	h := []kafka.Header{
		{Key: []byte("weir-reason"), Value: []byte(r.String())},
		{Key: []byte("weir-topic"), Value: []byte(topic)},
		{Key: []byte("weir-partition"), Value: strconv.AppendInt(nil, int64(p.Partition), 10)},
		{Key: []byte("weir-offset"), Value: strconv.AppendInt(nil, p.Offset, 10)},
	}
	if read {
		sum := sha256.Sum256(value)
		h = append(h, kafka.Header{Key: []byte("weir-sha256"), Value: fmt.Appendf(nil, "%x", sum)})
	}
	return h
}
