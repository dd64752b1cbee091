package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Member is one node's membership of the group that shares the shards out.
// Membership says who should decide; what was decided, the chain says alone.
//
// A rebalance does not take a shard from its holder: whoever joins makes every
// member join again, and if that alone took the shards away, two nodes would
// take them from each other for ever. A holder says what it holds as it joins
// again, gets it back, and goes on meanwhile; it stops where the new generation
// gives the shard to another, where it could not join, and where that takes so
// long that the group may have given it up.
type Member struct {
	group *kafkago.ConsumerGroup
	name  string
	topic string
	grace time.Duration   // to join again, once a generation has ended
	late  *time.Timer     // fires when it is over
	ctx   context.Context // ends with the membership
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu         sync.Mutex
	generation int32          // the last one joined
	shards     map[int32]bool // what it gave this member
	current    bool           // it has not ended
	held       map[int32]hold
	refused    error         // why the last attempt to join failed, if that is for good
	changed    chan struct{} // closed when the above changes
}

// A hold ends when the shard is lost.
type hold struct {
	ctx  context.Context
	lose context.CancelCauseFunc
}

// GroupOptions say how quickly a dead member is noticed.
type GroupOptions struct {
	// Session is after how long of silence the group gives a member's shards
	// away. Brokers allow no less than 6 s by default, which is ours.
	Session time.Duration
	// Heartbeat is how often a member speaks, and so how soon it learns that
	// others have come or gone; the default is 500 ms, an eighth of Session the
	// most, see Join.
	Heartbeat time.Duration
}

func (o GroupOptions) withDefaults() GroupOptions {
	if o.Session == 0 {
		o.Session = 6 * time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 500 * time.Millisecond
	}
	o.Heartbeat = min(o.Heartbeat, o.Session/8)
	return o
}

// Join joins the group over the partitions of topic. It returns at once; Wait
// says what came of it.
func Join(ctx context.Context, c *Client, name, topic string, o GroupOptions) (*Member, error) {
	o = o.withDefaults()
	// Whoever joins is answered once every member has joined, and a dead one is
	// waited for as long as the rebalance may take: a third of the session. The
	// grace is longer, so that a standby's death takes nothing from the holder. A
	// heartbeat that gets no answer for a third, and then the grace, still end a
	// hold within the session, before the group gives the shard to another.
	m := &Member{name: name, topic: topic, grace: o.Session / 2, held: make(map[int32]hold), changed: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(ctx)
	g, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: name, Brokers: c.options.Brokers, Dialer: c.groupDialer(m.ctx, topic, o.Session/3), Topics: []string{topic},
		GroupBalancers: []kafkago.GroupBalancer{sticky{m.claim}}, Timeout: o.Session / 3,
		HeartbeatInterval: o.Heartbeat, SessionTimeout: o.Session, RebalanceTimeout: o.Session / 3,
		JoinGroupBackoff: 500 * time.Millisecond, WatchPartitionChanges: false,
	})
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("join group %s: %w", name, err)
	}
	m.group = g
	m.late = time.AfterFunc(time.Hour, func() { m.lose(ErrLostShard, func(int32) bool { return !m.current }) })
	m.late.Stop()
	m.wg.Go(m.run) // ends with m.ctx; Close waits
	return m, nil
}

// groupDialer dials for kafka-go, which authenticates without a deadline: the
// connection is closed where that takes longer than dialling may. A join ends with the
// member's context; step is how long a broker may take to show that it lives.
func (c *Client) groupDialer(member context.Context, topic string, step time.Duration) *kafkago.Dialer {
	return &kafkago.Dialer{ClientID: c.options.ClientID, SASLMechanism: c.options.SASL, Timeout: c.options.Timeout,
		DialFunc: func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw, err := c.connect(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { // kafka-go cancels ctx once it has authenticated
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					_ = raw.Close()
				}
			})
			return newGroupConn(raw, member, step, func() bool {
				ctx, cancel := context.WithTimeout(member, step)
				defer cancel()
				_, err := c.metadata(ctx, addr, topic)
				return err == nil || errors.Is(err, ErrUnknownTopic)
			}), nil
		}}
}

// Close leaves the group and waits until nothing of the membership is left.
// What was held is lost before the group hears of it.
func (m *Member) Close() {
	m.stop()
	_ = m.group.Close()
	m.wg.Wait()
	m.late.Stop()
}

// Resign does as Close for a member that cannot go on: what was held is lost, and no
// clean stop.
func (m *Member) Resign() {
	m.mu.Lock()
	m.current, m.shards = false, nil
	m.mu.Unlock()
	m.lose(ErrLostShard, func(int32) bool { return true })
	m.Close()
}

// run takes the generations as they come.
func (m *Member) run() {
	for {
		gen, err := m.group.Next(m.ctx)
		switch {
		case m.ctx.Err() != nil || errors.Is(err, kafkago.ErrGroupClosed):
			// The holds are ending with m.ctx. To end them as lost, should this
			// goroutine be the first, would make a clean stop one that leaves
			// undone what it should end.
			m.lose(context.Cause(m.ctx), func(int32) bool { return true })
			return
		case errors.Is(err, kafkago.RebalanceInProgress):
			// Others came while this member joined: kafka-go joins again.
		case err != nil:
			m.failed(err)
		default:
			m.joined(gen)
		}
	}
}

// joined takes what a generation gives.
func (m *Member) joined(gen *kafkago.Generation) {
	m.mu.Lock()
	m.generation, m.current, m.refused = gen.ID, true, nil
	m.shards = make(map[int32]bool)
	for _, p := range gen.Assignments[m.topic] {
		m.shards[int32(p.ID)] = true
	}
	shards := m.shards
	m.mu.Unlock()
	m.lose(ErrLostShard, func(shard int32) bool { return !shards[shard] })
	m.wg.Add(1)
	gen.Start(func(ctx context.Context) { // ends with the generation, which Close ends at the latest
		defer m.wg.Done()
		<-ctx.Done()
		m.ended(gen.ID)
	})
}

// ended gives the member its grace to join again once a generation has ended.
func (m *Member) ended(generation int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generation == generation {
		m.current = false
		m.late.Reset(m.grace)
	}
}

// failed gives up what is held after an attempt to join failed: kafka-go leaves
// the group before it tries again, and others get the shards. It waits its
// backoff meanwhile, which is all there is to do while the group's coordinator
// is away or not yet made (codes 14, 15 and 16).
func (m *Member) failed(err error) {
	m.mu.Lock()
	m.current, m.shards, m.refused = false, nil, nil
	if Classify(named(err)) == Stop || errors.Is(err, kafkago.SASLAuthenticationFailed) {
		m.refused = fmt.Errorf("%w: %w", ErrRefused, lackingGroup(lacking(err, Describe, m.topic), Read, m.name))
	}
	m.mu.Unlock()
	m.lose(ErrLostShard, func(int32) bool { return true })
}

// lose ends the holds that which picks, for a cause, and wakes those who wait.
func (m *Member) lose(cause error, which func(shard int32) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for shard, h := range m.held {
		if which(shard) {
			h.lose(cause)
			delete(m.held, shard)
		}
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// claim says what this member was given last, and when, for the next division.
func (m *Member) claim() (generation int32, shards []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.shards {
		shards = append(shards, s)
	}
	return m.generation, shards
}

// Joined reports whether the group has answered this member, and no rebalance goes on.
func (m *Member) Joined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// Wait waits until the group gives this member the shard. The context that it
// returns ends, with ErrLostShard as its cause, when the group takes it away.
// ErrRefused is wrapped where the brokers do not let this member join.
func (m *Member) Wait(ctx context.Context, shard int32) (context.Context, error) {
	for {
		m.mu.Lock()
		changed, refused := m.changed, m.refused
		h, ok := m.held[shard]
		if !ok && m.current && m.shards[shard] && m.ctx.Err() == nil {
			h.ctx, h.lose = context.WithCancelCause(m.ctx)
			m.held[shard], ok = h, true
		}
		if !ok {
			m.refused = nil // told once; the next Wait waits for the next attempt
		}
		m.mu.Unlock()
		switch {
		case ok:
			return h.ctx, nil
		case refused != nil:
			return nil, fmt.Errorf("wait for shard %d: %w", shard, refused)
		}
		select {
		case <-changed:
		case <-m.ctx.Done():
			return nil, fmt.Errorf("wait for shard %d: %w", shard, m.ctx.Err())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
