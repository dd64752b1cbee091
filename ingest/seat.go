package ingest

import (
	"context"
	"sync"

	"github.com/weir-risk/weir/ingest/kafka"
)

// A Seat is a process's one place in the consumer group, where it has a node for each
// shard: the group deals out the shards to processes. It joins with the first node that
// wants to, and leaves with the last one that goes. The zero Seat is free.
type Seat struct {
	mu     sync.Mutex
	member *kafka.Member
	nodes  int
}

// take returns the membership, made by join where there is none. The node gives it back
// by the function that is returned, which may be called again; cleanly where it has
// nothing left to do, and otherwise since it cannot go on: then the process gives up all
// its shards, so that others get the one which this node could not decide.
func (s *Seat) take(join func() (*kafka.Member, error)) (*kafka.Member, func(cleanly bool), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.member == nil {
		m, err := join()
		if err != nil {
			return nil, nil, err
		}
		s.member, s.nodes = m, 0
	}
	m := s.member
	s.nodes++
	var once sync.Once
	return m, func(cleanly bool) { once.Do(func() { s.giveBack(m, cleanly) }) }, nil
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
		return n.Seat.take(join)
	}
	m, err := join()
	if err != nil {
		return nil, nil, err
	}
	var once sync.Once
	return m, func(bool) { once.Do(m.Close) }, nil
}
