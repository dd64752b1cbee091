package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Member is one node's membership of the group that shares the shards out.
// Membership says who should decide; what was decided, the chain says alone.
type Member struct {
	group *kafkago.ConsumerGroup
	topic string
	wg    sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
}

// GroupOptions say how quickly a dead member is noticed.
type GroupOptions struct {
	// Session is after how long of silence the group gives a member's shards
	// away. Brokers allow no less than 6 s by default, which is ours.
	Session time.Duration
	// Heartbeat is how often a member speaks, and so how soon it learns that
	// it lost its shards; the default is 500 ms.
	Heartbeat time.Duration
}

// Join joins the group over the partitions of topic.
func Join(ctx context.Context, c *Client, name, topic string, o GroupOptions) (*Member, error) {
	if o.Session == 0 {
		o.Session = 6 * time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 500 * time.Millisecond
	}
	dialer := &kafkago.Dialer{ClientID: c.options.ClientID, DialFunc: c.connect, SASLMechanism: c.options.SASL, Timeout: c.options.Timeout}
	g, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: name, Brokers: c.options.Brokers, Dialer: dialer, Topics: []string{topic},
		HeartbeatInterval: o.Heartbeat, SessionTimeout: o.Session, RebalanceTimeout: o.Session,
		JoinGroupBackoff: 500 * time.Millisecond, WatchPartitionChanges: false,
	})
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", name, err)
	}
	m := &Member{group: g, topic: topic}
	m.ctx, m.stop = context.WithCancel(ctx)
	return m, nil
}

// Close leaves the group.
func (m *Member) Close() {
	m.stop()
	_ = m.group.Close()
	m.wg.Wait()
}

// Wait waits until the group gives this member the shard. The context that it
// returns ends, with ErrLostShard as its cause, when the group takes it away.
func (m *Member) Wait(ctx context.Context, shard int32) (context.Context, error) {
	for {
		gen, err := m.group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, kafkago.ErrGroupClosed):
			return nil, fmt.Errorf("wait for shard %d: %w", shard, err)
		case errors.Is(err, kafkago.SASLAuthenticationFailed), Classify(named(err)) == Stop:
			// Without this a member that may not join would wait for ever.
			return nil, fmt.Errorf("wait for shard %d: %w: %w", shard, ErrRefused, err)
		case err != nil:
			// The group's coordinator is away or not yet made (codes 14, 15 and
			// 16): kafka-go waits its backoff before it tries again.
			continue
		}
		held, lose := context.WithCancelCause(m.ctx)
		mine := false
		for _, p := range gen.Assignments[m.topic] {
			mine = mine || int32(p.ID) == shard
		}
		m.wg.Add(1)
		gen.Start(func(ctx context.Context) { // ends with the generation, which Close ends at the latest
			defer m.wg.Done()
			<-ctx.Done()
			lose(ErrLostShard)
		})
		if mine {
			return held, nil
		}
	}
}
