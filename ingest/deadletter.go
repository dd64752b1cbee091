package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// deadLetters publishes rejected records to the dead-letter topic: their own
// bytes, or where the spec has secret fields only where they are and what their
// bytes hash to, since whatever could not be decoded may hold a card number.
// The bytes are read from the source again: rejected records are rare, and so
// the way is the same live and after a crash.
func (n *Node) deadLetters(ctx context.Context, places []schemas.Place, reasons []schemas.Reason) error {
	if len(places) == 0 {
		return nil
	}
	var batch kafka.BatchWriter
	for i, p := range places {
		var key, value []byte
		r, err := kafka.NewReader(n.log, n.Topics.Transactions, p.Partition, p.Offset).Get(ctx, p.Offset)
		if err != nil && !errors.Is(err, kafka.ErrOffsetOutOfRange) {
			return fmt.Errorf("read rejected record %d of partition %d again: %w", p.Offset, p.Partition, err)
		}
		// Where the source no longer has it, the place and the reason remain.
		if err == nil {
			key, value = r.Key, r.Value
		}
		headers := letterHeaders(n.Topics.Transactions, p, reasons[i], value, err == nil)
		if !n.Spec.Input.DLQ {
			key, value = nil, nil
		}
		batch.Reset()
		batch.Append(key, value, p.Timestamp, headers)
		if err := n.produce(ctx, n.Topics.DLQ, p.Partition, &batch); err != nil {
			return fmt.Errorf("publish a dead letter: %w", err)
		}
		n.Metrics.Dead.Inc()
	}
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
