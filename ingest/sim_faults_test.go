package ingest

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// simAnswers are the errors that brokers give, by the request; each is as likely as the
// seed says. A request that timed out, or was appended to too few replicas, was carried
// out all the same.
var simAnswers = []struct {
	key    kmsg.Key
	err    *kerr.Error
	topics func(*sim) []string // nil: of any, or of none
}{
	{kmsg.Produce, kerr.NotLeaderForPartition, written},
	{kmsg.Produce, kerr.RequestTimedOut, written},
	{kmsg.Produce, kerr.NotEnoughReplicas, written},
	{kmsg.Produce, kerr.NotEnoughReplicasAfterAppend, written},
	{kmsg.Produce, kerr.KafkaStorageError, written},
	{kmsg.Fetch, kerr.NotLeaderForPartition, nil},
	{kmsg.Fetch, kerr.UnknownTopicOrPartition, nil},
	{kmsg.Fetch, kerr.KafkaStorageError, nil},
	{kmsg.ListOffsets, kerr.NotLeaderForPartition, nil},
	{kmsg.ListOffsets, kerr.LeaderNotAvailable, nil},
	{kmsg.Metadata, kerr.LeaderNotAvailable, nil},
	{kmsg.FindCoordinator, kerr.CoordinatorNotAvailable, nil},
	{kmsg.JoinGroup, kerr.CoordinatorLoadInProgress, nil},
	{kmsg.JoinGroup, kerr.NotCoordinator, nil},
	{kmsg.JoinGroup, kerr.UnknownMemberID, nil},
	{kmsg.SyncGroup, kerr.RebalanceInProgress, nil},
	{kmsg.SyncGroup, kerr.UnknownMemberID, nil},
	{kmsg.Heartbeat, kerr.RebalanceInProgress, nil},
	{kmsg.Heartbeat, kerr.UnknownMemberID, nil},
	{kmsg.Heartbeat, kerr.IllegalGeneration, nil},
	{kmsg.Heartbeat, kerr.NotCoordinator, nil},
	{kmsg.OffsetCommit, kerr.NotCoordinator, nil},
	{kmsg.OffsetCommit, kerr.RequestTimedOut, nil},
	{kmsg.LeaveGroup, kerr.NotCoordinator, nil},
}

// written are the topics that nodes write.
func written(s *sim) []string {
	return []string{s.w.topics.Decisions, s.w.topics.Alerts, s.w.topics.DLQ}
}

// injectFaults has the brokers answer so, once the faults begin.
func (s *sim) injectFaults() {
	for _, a := range simAnswers {
		topics := []string{""}
		if a.topics != nil {
			topics = a.topics(s)
		}
		name := fmt.Sprintf("%s %s", a.key.Name(), a.err.Message)
		// Most seeds know few kinds, and some of these come often.
		if s.r.IntN(3) == 0 {
			s.fault[name] = 0.001 * float64(1+s.r.IntN(100))
		}
		for _, topic := range topics {
			s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{a.key}, Topic: topic, Err: a.err, Count: -1,
				When: func(kmsg.Request) bool { return s.answers(name) }})
		}
	}
}

// answers draws whether a broker gives such an answer now.
func (s *sim) answers(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faulty || s.looks || s.luck.Float64() >= s.fault[name] {
		return false
	}
	s.trace.line("answer " + name)
	return true
}

// stumble draws how long a process does nothing.
func (s *sim) stumble(phase Phase) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faulty || s.luck.Float64() >= 0.02 {
		return 0
	}
	d := time.Duration(s.luck.ExpFloat64() * float64(40*time.Millisecond))
	s.trace.line(fmt.Sprintf("stumble %v %v", phase, d))
	return d
}

// faults begin or end: what brokers and the network do by chance.
func (s *sim) faults(on bool) {
	s.event("faults %v", on)
	s.mu.Lock()
	s.faulty = on
	s.mu.Unlock()
	s.net.mu.Lock()
	s.net.faulty = on
	s.net.mu.Unlock()
}

// A simEvil is something that is done to the nodes or their brokers.
type simEvil struct {
	weight int
	do     func(*sim)
}

var simEvils = []simEvil{
	{6, (*sim).killOne},
	{3, (*sim).stopOne},
	{4, (*sim).freezeOne},
	{5, (*sim).cutOne},
	{3, (*sim).severOne},
	{8, (*sim).strandOne},
	{2, (*sim).fallOne},
	{3, (*sim).moveOne},
	{1, (*sim).rehash},
	{2, (*sim).swap},
}

// A simDue is what is to be done at a time.
type simDue struct {
	at time.Time
	do func()
}

// later does something after a while, at the end of the faults at the latest.
func (s *sim) later(d time.Duration, do func()) {
	due := simDue{time.Now().Add(d), do}
	at := len(s.due)
	for at > 0 && s.due[at-1].at.After(due.at) {
		at--
	}
	s.due = slices.Insert(s.due, at, due)
}

// upto draws a duration.
func (s *sim) upto(most time.Duration) time.Duration { return time.Duration(s.r.Int64N(int64(most))) }

// torment does one thing after another until a time, and then undoes what is left.
func (s *sim) torment(until time.Time) {
	total := 0
	for _, e := range simEvils {
		total += e.weight
	}
	pace := 100*time.Millisecond + s.upto(1500*time.Millisecond)
	var next func()
	next = func() {
		k := s.r.IntN(total)
		for _, e := range simEvils {
			if k -= e.weight; k < 0 {
				e.do(s)
				break
			}
		}
		if s.r.IntN(3) == 0 {
			s.glimpse()
		}
		s.later(time.Duration(s.r.ExpFloat64()*float64(pace)), next)
	}
	s.later(0, next)
	for len(s.due) > 0 && s.due[0].at.Before(until) {
		d := s.due[0]
		s.due = s.due[1:]
		time.Sleep(time.Until(d.at))
		d.do()
	}
	time.Sleep(time.Until(until))
}

// heal undoes all that was done.
func (s *sim) heal() {
	s.faults(false)
	s.due = nil
	for _, h := range s.net.hosts {
		h.fall(false)
	}
	for _, p := range s.all {
		p.freeze(false)
	}
	for _, n := range s.nodes {
		n.restart()
	}
}

// restart starts a node once what ran before has ended.
func (n *simNode) restart() {
	if n.proc != nil {
		return
	}
	if n.last != nil {
		select {
		case <-n.last.done:
		default:
			n.s.later(50*time.Millisecond, n.restart)
			return
		}
	}
	n.start()
}

// running picks a node that runs, nil where none does.
func (s *sim) running() *simNode {
	list := slices.DeleteFunc(slices.Clone(s.nodes), func(n *simNode) bool { return n.proc == nil })
	if len(list) == 0 {
		return nil
	}
	return list[s.r.IntN(len(list))]
}

// owner picks a node that decides, nil where none does.
func (s *sim) owner() *simNode {
	for _, n := range s.nodes {
		if n.proc != nil && slices.ContainsFunc(n.proc.nodes, func(n *Node) bool { return n.Status().Owner }) {
			return n
		}
	}
	return nil
}

func (s *sim) killOne() {
	n := s.running()
	if n == nil {
		return
	}
	n.kill()
	if k := s.r.IntN(8); k < 2 {
		n.spoil(k == 0)
	}
	s.later(s.upto(2*time.Second), n.restart)
}

func (s *sim) stopOne() {
	if n := s.running(); n != nil {
		n.stop()
		s.later(s.upto(2*time.Second), n.restart)
	}
}

func (s *sim) freezeOne() {
	if n := s.running(); n != nil {
		p, d := n.proc, s.upto(3*simSession)
		s.event("freeze %s for %v", p.name, d)
		p.freeze(true)
		s.later(d, func() { p.freeze(false) })
	}
}

// cutOne parts a node from the brokers: both ways, or what it sends, or what it is sent.
func (s *sim) cutOne() {
	if n := s.running(); n != nil {
		p, ways, d := n.proc, 1+s.r.IntN(3), s.upto(2*simSession)
		s.event("cut %s, ways %b, for %v", p.name, ways, d)
		for way := range 2 {
			if ways&(1<<way) != 0 {
				p.link.set(way, true)
				s.later(d, func() { p.link.set(way, false) })
			}
		}
	}
}

// strandOne has a batch of an owner arrive after the group has given its shard away: the
// owner is killed, frozen or parted from the brokers as soon as it has sent it.
func (s *sim) strandOne() {
	if n := s.owner(); n != nil {
		s.strand(n)
		return
	}
	s.later(300*time.Millisecond, func() { // once there is one
		if n := s.owner(); n != nil {
			s.strand(n)
		}
	})
}

func (s *sim) strand(n *simNode) {
	p, how, d := n.proc, s.r.IntN(3), simSession*3/2+s.upto(2*simSession)
	s.event("the next batch of %s comes late, with %d records left", p.name, len(s.rest))
	s.writeSome() // for it to decide
	p.link.delayed(d)
	looks := 0
	var look func()
	look = func() {
		if looks++; n.proc != p || looks > 400 {
			return
		}
		if !p.link.delayed(d) {
			s.later(5*time.Millisecond, look)
			return
		}
		p.link.delayed(0)
		s.event("strand %s for %v", p.name, d)
		switch how {
		case 0:
			n.kill()
			s.later(s.upto(2*simSession), n.restart)
		case 1:
			p.freeze(true)
			s.later(d, func() { p.freeze(false) })
		default:
			p.link.set(up, true)
			s.later(d, func() { p.link.set(up, false) })
		}
	}
	s.later(5*time.Millisecond, look)
}

func (s *sim) severOne() {
	if n := s.running(); n != nil {
		s.event("sever %s", n.proc.name)
		n.proc.link.sever(false)
	}
}

func (s *sim) fallOne() {
	addr := s.brokers[s.r.IntN(len(s.brokers))]
	h, d := s.net.hosts[addr], s.upto(simSession)
	s.event("%s falls for %v", addr, d)
	h.fall(true)
	s.later(d, func() { h.fall(false) })
}

// moveOne gives a partition another leader.
func (s *sim) moveOne() {
	t := s.w.topics
	topic := []string{t.Decisions, t.Decisions, t.Alerts, t.Transactions, t.Labels, t.DLQ, t.Models}[s.r.IntN(7)]
	partition, to := int32(0), int32(s.r.IntN(len(s.brokers)))
	if topic == t.Decisions || topic == t.Alerts {
		partition = s.r.Int32N(s.w.shards)
	}
	s.event("%s-%d moves to %d", topic, partition, to)
	s.w.must(s.cluster.MoveTopicPartition(topic, partition, to))
}

func (s *sim) rehash() {
	s.event("coordinators move")
	s.cluster.RehashCoordinators()
}

// swap points the champion's slot at another bundle.
func (s *sim) swap() {
	if s.trust == nil {
		return
	}
	defer s.look()()
	b := s.others[s.r.IntN(len(s.others))]
	s.event("champion %.8x", b.bundle.Hash)
	s.w.publish("champion", b.data, b.bundle.Hash, testKey(s.w.t, 1))
}
