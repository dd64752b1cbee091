package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Offsets returns the offset of the first record of a partition and the one
// after its last. The end is the high watermark: what is not committed by all
// replicas does not count, what is of an open transaction does.
func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	// Brokers refuse to be asked for two offsets of a partition at once.
	if start, err = c.offset(ctx, topic, partition, readUncommitted, first); err != nil {
		return 0, 0, err
	}
	end, err = c.offset(ctx, topic, partition, readUncommitted, last)
	return start, end, err
}

// Readable returns the offset after the last record of a partition that can be
// read now: records of an open transaction, and what lies behind them, cannot.
func (c *Client) Readable(ctx context.Context, topic string, partition int32) (end int64, err error) {
	return c.offset(ctx, topic, partition, readCommitted, last)
}

// What ListOffsets is asked for: the isolation level, and which offset.
const (
	readUncommitted, readCommitted byte = 0, 1

	first, last int64 = -2, -1
)

// offset asks a partition's leader for one of its ends. kafka-go would go on
// asking a leader that was for some seconds.
func (c *Client) offset(ctx context.Context, topic string, partition int32, isolation byte, which int64) (offset int64, err error) {
	at, err := c.leader(ctx, topic, partition)
	if err != nil {
		return 0, err
	}
	cn, err := c.get(ctx, at.addr)
	if err == nil {
		b := cn.begin(2, 2, c.options.ClientID, false)
		cn.in, err = cn.roundTrip(ctx, appendListOffsets(b, topic, partition, isolation, which), cn.in, c.options.Timeout)
		if err == nil {
			offset, err = parseListOffsets(cn.in)
			err = lacking(err, Describe, topic)
		}
		c.put(at.addr, cn, err)
	}
	if err != nil {
		c.forget(topic, partition)
		return 0, fmt.Errorf("list offsets of %s partition %d: %w", topic, partition, err)
	}
	return offset, nil
}

// appendListOffsets appends the body of ListOffsets version 2.
func appendListOffsets(b []byte, topic string, partition int32, isolation byte, which int64) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(b, 0xffffffff) // not a replica
	b = append(b, isolation)
	b = be.AppendUint32(b, 1)
	b = appendString(b, topic)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(partition))
	return be.AppendUint64(b, uint64(which))
}

// parseListOffsets reads the answer of ListOffsets version 2.
func parseListOffsets(raw []byte) (int64, error) {
	a := &answer{b: raw}
	a.int32() // throttle
	if a.int32() != 1 {
		return 0, errShort
	}
	a.string() // topic
	if a.int32() != 1 {
		return 0, errShort
	}
	a.int32() // partition
	code := a.int16()
	a.int64() // timestamp
	offset := a.int64()
	if a.bad {
		return 0, errShort
	}
	return offset, protocolError(code)
}

// commitAttempts bounds how often a commit is tried while the group's
// coordinator is being found; with the pauses between them that is 10 s, more
// than a new broker takes to make its offsets topic.
const commitAttempts = 24

// CommitOffsets writes how far the partitions of a topic were read, for those
// who watch a group's lag; weir itself never reads it. Offsets are those of the
// next record, by partition. The group must have no members: Kafka refuses
// offsets without a membership while there is one, with ErrRefused, so progress
// is kept under another name than the group of [Join].
func (c *Client) CommitOffsets(ctx context.Context, group, topic string, offsets map[int32]int64) error {
	req := &kafkago.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: make(map[string][]kafkago.OffsetCommit, 1)}
	for p, o := range offsets {
		req.Topics[topic] = append(req.Topics[topic], kafkago.OffsetCommit{Partition: int(p), Offset: o})
	}
	for attempt := 1; ; attempt++ {
		err := c.commit(ctx, req)
		if err == nil {
			return nil
		}
		if errors.Is(err, kafkago.UnknownMemberId) {
			err = fmt.Errorf("%w: the group has members: commit under another group's name", ErrRefused)
		}
		if !coordinatorAway(err) || attempt == commitAttempts {
			return fmt.Errorf("commit %d offsets of %s for group %s: %w", len(offsets), topic, group, lackingGroup(lacking(named(err), Read, topic), Read, group))
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func (c *Client) commit(ctx context.Context, req *kafkago.OffsetCommitRequest) error {
	resp, err := c.admin.OffsetCommit(ctx, req)
	if err != nil {
		return err
	}
	for _, partitions := range resp.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return p.Error
			}
		}
	}
	return nil
}

// Committed returns the offsets that a group committed, by partition of a topic; one of
// which it committed none is not there.
func (c *Client) Committed(ctx context.Context, group, topic string, partitions int) (map[int32]int64, error) {
	req := &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: make([]int, partitions)}}
	for p := range partitions {
		req.Topics[topic][p] = p
	}
	resp, err := c.admin.OffsetFetch(ctx, req)
	if err == nil {
		err = resp.Error
	}
	if errors.Is(err, kafkago.GroupIdNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("committed offsets of %s of group %s: %w", topic, group, lackingGroup(named(err), Describe, group))
	}
	offsets := make(map[int32]int64)
	for _, p := range resp.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("committed offset of %s/%d of group %s: %w", topic, p.Partition, group, lacking(named(p.Error), Describe, topic))
		}
		if p.CommittedOffset >= 0 {
			offsets[int32(p.Partition)] = p.CommittedOffset
		}
	}
	return offsets, nil
}

// Members returns how many members a group has.
func (c *Client) Members(ctx context.Context, group string) (int, error) {
	resp, err := c.admin.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err == nil && len(resp.Groups) == 1 {
		err = resp.Groups[0].Error
	}
	if err != nil {
		return 0, fmt.Errorf("members of group %s: %w", group, lackingGroup(named(err), Describe, group))
	}
	members := 0
	for _, g := range resp.Groups {
		members += len(g.Members)
	}
	return members, nil
}

// coordinatorAway reports whether a group's coordinator is loading, not yet
// made, or another broker by now: codes 14, 15 and 16.
func coordinatorAway(err error) bool {
	return errors.Is(err, kafkago.GroupLoadInProgress) || errors.Is(err, kafkago.GroupCoordinatorNotAvailable) || errors.Is(err, kafkago.NotCoordinatorForGroup)
}

// pause waits before another attempt.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(min(500*time.Millisecond, 10*time.Millisecond<<min(attempt, 6)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
