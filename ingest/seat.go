package ingest

import (
	"context"
	"sync"

	"github.com/weir-risk/weir/ingest/kafka"
)

// A Seat is a process's one place in the consumer group, where it has a node for each
// shard: the group deals out the shards to processes. It joins once all of them could
// decide, for any shard may be given to it, and leaves with the last one that goes. The
// zero Seat is free.
type Seat struct {
	mu     sync.Mutex
	member *kafka.Member
	nodes  int    // of the member
	wait   int    // for the others of the process
	party  *party // of those who wait; nil while nobody does
}

// A party is the nodes that wait for the last one of their process.
type party struct {
	member *kafka.Member // once it is there
	come   chan struct{} // closed then
}

// take returns the membership, made by join once so many nodes want it. The node gives it
// back by the function that is returned, which may be called again; cleanly where it has
// nothing left to do, and otherwise since it cannot go on: then the process gives up all
// its shards, so that others get the one which this node could not decide.
func (s *Seat) take(ctx context.Context, of int, join func() (*kafka.Member, error)) (*kafka.Member, func(cleanly bool), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.member, error(nil)
	switch {
	case m != nil:
		s.nodes++
	case s.wait+1 < of:
		s.wait++
		if m = s.await(ctx); m == nil {
			s.wait--
			return nil, nil, ctx.Err()
		}
	default:
		if m, err = join(); err != nil {
			return nil, nil, err
		}
		s.member, s.nodes, s.wait = m, s.wait+1, 0
		if s.party != nil {
			s.party.member = m
			close(s.party.come)
			s.party = nil
		}
	}
	var once sync.Once
	return m, func(cleanly bool) { once.Do(func() { s.giveBack(m, cleanly) }) }, nil
}

// await waits, without the lock, until the process has a membership, in which the node is
// counted then; nil where the context ends before.
func (s *Seat) await(ctx context.Context) *kafka.Member {
	if s.party == nil {
		s.party = &party{come: make(chan struct{})}
	}
	p := s.party
	s.mu.Unlock()
	select {
	case <-p.come:
	case <-ctx.Done():
	}
	s.mu.Lock()
	return p.member
}

// resign gives up the membership of a process of which a node cannot even stand by. A nil
// Seat is that of one node, which has none then.
func (s *Seat) resign() {
	if s == nil {
		return
	}
	s.mu.Lock()
	m := s.member
	s.member = nil
	s.mu.Unlock()
	if m != nil {
		m.Resign()
	}
}

func (s *Seat) giveBack(m *kafka.Member, cleanly bool) {
	s.mu.Lock()
	if s.member != m { // another node has given it up
		s.mu.Unlock()
		return
	}
	s.nodes--
	if cleanly && s.nodes > 0 {
		s.mu.Unlock()
		return
	}
	s.member = nil
	s.mu.Unlock()
	if cleanly {
		m.Close()
	} else {
		m.Resign()
	}
}

// join takes the node's place in the group, with others of its process where it has a
// [Seat] with them.
func (n *Node) join(ctx context.Context) (*kafka.Member, func(cleanly bool), error) {
	join := func() (*kafka.Member, error) {
		return kafka.Join(ctx, n.log, n.Group, n.Topics.Decisions, n.Membership)
	}
	if n.Seat != nil {
		n.Metrics.halted("")
		n.set(func(s *Status) { s.Reason = "waits for the other shards of its process" })
		return n.Seat.take(ctx, int(n.Shards), join)
	}
	m, err := join()
	if err != nil {
		return nil, nil, err
	}
	var once sync.Once
	return m, func(bool) { once.Do(m.Close) }, nil
}
