package kafka

import (
	"encoding/binary"
	"slices"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
)

// sticky divides the shards evenly and leaves each with the member that holds
// it, as far as that is even. The group's members send their claims as they
// join; the one that the brokers chose divides.
type sticky struct {
	claim func() (generation int32, shards []int32)
}

// ProtocolName names the rule: only members that know it join the group.
func (sticky) ProtocolName() string { return "weir-sticky" }

// UserData encodes the claims of this member: the generation that gave it its
// shards, and the shards.
func (s sticky) UserData() ([]byte, error) {
	generation, shards := s.claim()
	b := binary.BigEndian.AppendUint32(nil, uint32(generation))
	for _, shard := range shards {
		b = binary.BigEndian.AppendUint32(b, uint32(shard))
	}
	return b, nil
}

// A claimant is a member with what it says it holds. Where two say so of the
// same shard, one has not heard of a later generation.
type claimant struct {
	id         string
	generation int32
	claims     []int32
	given      int
}

func claimants(members []kafkago.GroupMember) []*claimant {
	var list []*claimant
	for _, m := range members {
		c := &claimant{id: m.ID}
		if b := m.UserData; len(b) >= 4 {
			c.generation = int32(binary.BigEndian.Uint32(b))
			for b = b[4:]; len(b) >= 4; b = b[4:] {
				c.claims = append(c.claims, int32(binary.BigEndian.Uint32(b)))
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *claimant) int { return strings.Compare(a.id, b.id) })
	return list
}

// AssignGroups divides the partitions of the one topic of the group.
func (sticky) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	out := make(kafkago.GroupMemberAssignments)
	list := claimants(members)
	for _, c := range list {
		out[c.id] = make(map[string][]int)
	}
	if len(list) == 0 {
		return out
	}
	slices.SortFunc(partitions, func(a, b kafkago.Partition) int { return a.ID - b.ID })
	q := quota{len(partitions) / len(list), len(partitions) % len(list)}
	give := func(c *claimant, p kafkago.Partition) {
		c.given++
		out[c.id][p.Topic] = append(out[c.id][p.Topic], p.ID)
	}
	var rest []kafkago.Partition
	for _, p := range partitions {
		if c := holder(list, int32(p.ID)); c != nil && q.allows(c) {
			give(c, p)
		} else {
			rest = append(rest, p)
		}
	}
	for _, p := range rest {
		give(slices.MinFunc(list, func(a, b *claimant) int { return a.given - b.given }), p)
	}
	return out
}

// A quota is how many shards each member may keep, and how many may keep one
// more.
type quota struct{ each, more int }

func (q *quota) allows(c *claimant) bool {
	if c.given == q.each && q.more > 0 {
		q.more--
		return true
	}
	return c.given < q.each
}

// holder returns who holds a shard, nil where nobody does.
func holder(list []*claimant, shard int32) *claimant {
	var best *claimant
	for _, c := range list {
		if slices.Contains(c.claims, shard) && (best == nil || c.generation > best.generation) {
			best = c
		}
	}
	return best
}
