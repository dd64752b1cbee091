package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// unreadable returns what err says of a record batch that cannot be read, nil
// where it says something else.
func unreadable(err error) *kafka.Unreadable {
	u, _ := errors.AsType[*kafka.Unreadable](err)
	return u
}

// stop ends the ownership at a batch of the source that cannot be read: once what
// the fetcher brought before it is decided, so that a gap can be written in its
// place.
func (f *fetcher) stop(ctx context.Context, u *kafka.Unreadable) error {
	select {
	case <-f.free: // the other chunk; one is in hand
	case <-ctx.Done():
		return ctx.Err()
	}
	found := unread{Gap: schemas.Gap{Partition: f.cursor.partition, From: f.position, To: u.Last, Topic: []byte(topicName(f.cursor.class))}, cause: u}
	if last, _, err := f.node.unreadTo(ctx, f.topic, found.Partition, found.From); err == nil && last >= found.From {
		found.To = last
	}
	f.node.set(func(*Status) { f.node.stuck = &found.Gap })
	f.halt(fmt.Errorf("%s: %w", f.topic, found.error()))
	<-ctx.Done()
	return ctx.Err()
}

// unread is records of a source that are there and cannot be read, as the gap that
// gives them up.
type unread struct {
	schemas.Gap
	cause error
}

// error says so, and what can be done.
func (u *unread) error() error {
	kind := ErrSourceCorrupt
	if errors.Is(u.cause, kafka.ErrOldFormat) {
		kind = ErrSourceOldFormat
	}
	return fmt.Errorf("partition %d: offsets %d to %d cannot be read: mend the topic, or %s gives them up: %w: %w", u.Partition, u.From, u.To, gapFlag(&u.Gap), kind, u.cause)
}

// unreadAt returns what is known not to be readable from an offset on, up to the
// offset -1 where nothing is.
func (v *view) unreadAt(c Class, partition int32, from int64) *unread {
	for i := range v.unread {
		if u := &v.unread[i]; gapClass(&u.Gap) == c && u.Partition == partition && u.From == from {
			return u
		}
	}
	return &unread{Gap: schemas.Gap{To: -1}}
}

// unreadTo returns up to where a partition cannot be read from an offset on, and
// why; the offset before it where it can.
func (n *Node) unreadTo(ctx context.Context, topic string, partition int32, from int64) (last int64, cause, err error) {
	last = from - 1
	_, end, err := n.log.Offsets(ctx, topic, partition)
	if err != nil {
		return last, nil, fmt.Errorf("look up the ends of %s partition %d: %w", topic, partition, err)
	}
	r := kafka.NewReader(n.log, topic, partition, from)
	defer r.Close()
	for at := from; ; {
		set, err := r.Next(ctx, end)
		if err != nil {
			return last, nil, fmt.Errorf("read %s partition %d at %d: %w", topic, partition, at, err)
		}
		if set == nil {
			return last, cause, nil
		}
		readable := set.Next()
		for ; !readable && unreadable(set.Err()) != nil; readable = set.Next() {
			u := unreadable(set.Err())
			if last = u.Last; cause == nil {
				cause = u
			}
			set.Skip()
		}
		if readable || set.NextOffset() <= at {
			return last, cause, nil
		}
		at = set.NextOffset()
	}
}

// probe looks at what an operator gives up, and at what stopped the ownership
// before: whether it cannot be read. Records that can be are given up by nobody.
func (n *Node) probe(ctx context.Context, v *view, s *State) error {
	gaps := slices.Clone(n.AcceptGaps)
	n.set(func(*Status) {
		if n.stuck != nil {
			gaps = append(gaps, *n.stuck)
		}
	})
	for i := range gaps {
		g := &gaps[i]
		c := gapClass(g)
		if g.Partition < 0 || int(g.Partition) >= len(v.starts[c]) || g.From > g.To ||
			g.From < max(v.next(s, c, g.Partition), v.starts[c][g.Partition]) || g.From >= v.ends[c][g.Partition] {
			continue
		}
		last, cause, err := n.unreadTo(ctx, v.topics[c].Name, g.Partition, g.From)
		if err != nil {
			return err
		}
		if cause != nil {
			v.unread = append(v.unread, unread{schemas.Gap{Partition: g.Partition, Topic: g.Topic, From: g.From, To: last}, cause})
		}
	}
	return nil
}
