package peer

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Consume is the consumer that weir's reader measures itself against: franz-go's, with
// the settings that it comes with, all partitions of a topic from their beginnings, and
// nothing done with a record but looking at its bytes. Each poll's records, at most
// 1,000, are told to read; it ends with the context, or an error.
func Consume(ctx context.Context, brokers []string, topic string, read func(records int, bytes int64)) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	defer c.Close()
	for {
		polled := c.PollRecords(ctx, batchMax)
		if ctx.Err() != nil {
			return nil
		}
		if err := polled.Err(); err != nil {
			return fmt.Errorf("poll %s: %w", topic, err)
		}
		records, bytes := 0, int64(0)
		for it := polled.RecordIter(); !it.Done(); {
			r := it.Next()
			records, bytes = records+1, bytes+int64(len(r.Key)+len(r.Value))
		}
		read(records, bytes)
	}
}
