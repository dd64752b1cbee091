package ingest

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
)

// simBound is within what virtual time everything is decided, alerted and ready once
// the faults have ended: three session times for a group to find out who is dead, as
// long again where the embedded broker forgot one, and what a stalled request waits.
const simBound = time.Minute

// A simRecord is a record on its way into a source topic.
type simRecord struct {
	topic     string
	partition int32
	value     []byte
	at        int64
}

// stream draws the records of a seed: payments, some of them twice, what cannot be read,
// and labels of earlier payments.
func (s *sim) stream() (list []simRecord) {
	w, r := s.w, s.r
	cfg := simulate.DefaultConfig()
	cfg.Seed, cfg.Customers, cfg.Merchants, cfg.Terminals, cfg.Devices, cfg.Days = s.seed, 40, 20, 30, 60, 0
	cfg.FraudShare = 0.02
	bank, err := simulate.New(cfg)
	w.must(err)
	for _, rate := range cfg.Rates() {
		w.rate(&rate)
	}
	var tx simulate.Transaction
	for range 100 + r.IntN(250) {
		if !bank.Next(&tx) {
			break
		}
		p := int32(int(tx.Customer) % s.parts)
		rec := simRecord{w.topics.Transactions, p, tx.AppendJSON(nil), tx.Sent}
		list = append(list, rec)
		switch k := r.IntN(40); {
		case k < 2:
			list = append(list, rec)
		case k < 3:
			list = append(list, simRecord{w.topics.Transactions, p, []byte("{"), tx.Sent})
		case k < 8:
			l := simulate.Label{Number: tx.Number, Time: tx.Time, KnownAt: tx.Sent + r.Int64N(60_000), Verdict: schemas.LabelFraud, Source: schemas.Analyst, Version: 1}
			list = append(list, simRecord{w.topics.Labels, 0, l.AppendJSON(nil), l.KnownAt})
		}
	}
	return list
}

// write writes records into their topics.
func (s *sim) write(list []simRecord) {
	defer s.look()()
	s.event("%d records are written", len(list))
	feeds := make(map[string]*feed)
	for _, r := range list {
		key := fmt.Sprint(r.topic, r.partition)
		if feeds[key] == nil {
			feeds[key] = &feed{}
			defer feeds[key].send(s.w, r.topic, r.partition)
		}
		feeds[key].add(r.value, r.at)
		if r.topic == s.w.topics.Transactions {
			s.written++
		}
	}
}

// writeSome writes the next records of the stream.
func (s *sim) writeSome() {
	if k := min(len(s.rest), 1+s.r.IntN(20)); k > 0 {
		s.write(s.rest[:k])
		s.rest = s.rest[k:]
	}
}

// run runs the simulation: the faults, what must hold while they go on, and what must
// become true once they have ended.
func (s *sim) run() {
	s.rest = s.stream()
	before := s.r.IntN(len(s.rest) / 2)
	s.write(s.rest[:before])
	s.rest = s.rest[before:]
	last := s.holdBack()
	for _, n := range s.nodes {
		s.later(s.upto(2*time.Second), n.restart)
	}
	s.faults(true)
	end := time.Now().Add(5*time.Second + s.upto(25*time.Second))
	// The rest of the stream comes while they go on, and a little of it after them: where
	// nothing comes, nobody misses a decider whom the embedded broker forgot to miss.
	var next func()
	next = func() {
		s.writeSome()
		s.later(s.upto(4*time.Second), next)
	}
	s.later(0, next)
	s.torment(end)
	s.safe()
	s.heal()
	s.write(append(s.rest, last...))
	s.recover()
	s.stopAll()
	s.settled()
}

// holdBack takes the last transaction of each partition out of the rest of the stream.
func (s *sim) holdBack() (last []simRecord) {
	held := make(map[int32]bool)
	for i := len(s.rest) - 1; i >= 0; i-- {
		if r := s.rest[i]; r.topic == s.w.topics.Transactions && !held[r.partition] {
			held[r.partition] = true
			last = append(last, r)
			s.rest = slices.Delete(s.rest, i, i+1)
		}
	}
	return last
}

// recover waits until all is decided, alerted and ready.
func (s *sim) recover() {
	began := time.Now()
	last := "nothing"
	for time.Since(began) < simBound {
		for len(s.due) > 0 && !s.due[0].at.After(time.Now()) { // nodes that wait for their last life to end
			d := s.due[0]
			s.due = s.due[1:]
			d.do()
		}
		if last = s.lacks(); last == "" {
			s.event("recovered in %v", time.Since(began))
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.fail("%v after the faults have ended %s", simBound, last)
	s.w.t.FailNow()
}

// lacks says what is not yet as it has to become; "" is nothing.
func (s *sim) lacks() string {
	defer s.look()()
	all := int64(0)
	stands := make([]simStand, s.w.shards)
	for shard := range stands {
		stands[shard] = s.stand(int32(shard))
		all += stands[shard].decisions
	}
	if all < s.written {
		return fmt.Sprintf("%d of %d records are decided", all, s.written)
	}
	for shard, want := range stands {
		if what := s.shardLacks(int32(shard), want); what != "" {
			return fmt.Sprintf("of shard %d %s", shard, what)
		}
	}
	return ""
}

func (s *sim) shardLacks(shard int32, want simStand) string {
	owners := 0
	for _, n := range s.nodes {
		if n.proc == nil {
			return n.name + " is not started"
		}
		state := n.proc.nodes[shard].Status()
		switch {
		case !state.Ready:
			return fmt.Sprintf("%s is not ready: %s", n.name, state.Reason)
		case state.Ledger != want.end || state.Counts.Decisions() != want.decisions:
			return fmt.Sprintf("%s is at %d of %+v: %+v", n.name, state.Ledger, want, state.Counts)
		case state.Owner:
			owners++
		}
	}
	if owners != 1 {
		return fmt.Sprintf("%d nodes are the owner", owners)
	}
	last := int64(-1)
	for _, r := range s.w.records(s.w.topics.Alerts, shard) { // one of a dead owner's may come last
		offset, _ := alertOffset(r.Key)
		last = max(last, offset)
	}
	if last < want.alert {
		return fmt.Sprintf("the alert of %d is not published, of %d is", want.alert, last)
	}
	return ""
}

// A simStand is where the standing ledger of a shard is.
type simStand struct {
	end, decisions int64
	alert          int64 // the offset of the last decision that calls for one, -1 for none
}

func (s *sim) stand(shard int32) simStand {
	at := simStand{alert: -1}
	var e schemas.Entry
	for _, b := range s.w.batchesOf(shard) {
		at.end = b.base + int64(len(b.values))
		for i, v := range b.values {
			s.w.must(schemas.ParseEntry(v, &e))
			if e.Kind != schemas.EntryDecision {
				continue
			}
			at.decisions++
			if e.Decision.Action != schemas.Allow {
				at.alert = b.base + int64(i)
			}
		}
	}
	return at
}

func (s *sim) stopAll() {
	for _, n := range s.nodes {
		n.stop()
	}
	began := time.Now()
	for _, n := range s.nodes {
		select {
		case <-n.last.done:
		case <-time.After(simBound):
			s.fail("%s does not stop", n.last.name)
		}
	}
	s.event("stopped in %v", time.Since(began))
}

// safe sees that what is decided so far is right, while the faults go on.
func (s *sim) safe() {
	defer s.look()()
	r := s.w.audit().Report
	other := slices.DeleteFunc(r.First, func(f Finding) bool { return f.Kind == "lost" }) // what is not decided yet
	if r.Doubled != 0 || r.Different != 0 || len(other) != 0 {
		s.fail("while the faults go on: %+v", r)
	}
	s.glimpse()
}

// glimpse sees that what was acknowledged stands, and that no alert speaks of what does not.
func (s *sim) glimpse() {
	defer s.look()()
	s.acknowledgedStands()
	for shard := range s.w.shards {
		s.w.takeAlerts(shard)
	}
}

// settled sees that all is right at the end.
func (s *sim) settled() {
	defer s.look()()
	w := s.w
	v := w.audit()
	if !v.Report.OK() || v.Report.Decisions != s.written {
		s.fail("%d records, %+v", s.written, v.Report)
	}
	s.acknowledgedStands()
	s.w.checkAlerts()
	s.lettersStand()
	s.event("%d batches dropped", v.Report.Dropped)
	if w.shards > 1 { // what a shard holds is the fold of all; they have verified each other's
		return
	}
	_, end := w.ends(w.topics.Decisions, 0)
	whole := w.foldAll(end)
	sameState(w.t, "the verifier", v.State(), whole)
	for _, n := range s.nodes {
		names, err := Snapshots(n.folder(0))
		w.must(err)
		for _, name := range names {
			s.snapshotStands(n, name, end, whole)
		}
	}
}

// decided returns what the standing ledger says of each source record, and sees that it
// says it once, in the order of each partition, and passes none over.
func (s *sim) decided() map[[2]int64]schemas.Verdict {
	all := make(map[[2]int64]schemas.Verdict)
	next := make([]int64, s.parts)
	for shard := range s.w.shards {
		s.eachDecision(shard, func(d *schemas.Decision) {
			if d.Offset != next[d.Partition] || !ownsPartition(d.Partition, shard, s.w.shards) {
				s.fail("shard %d, partition %d: the ledger decides record %d where %d is next", shard, d.Partition, d.Offset, next[d.Partition])
			}
			next[d.Partition]++
			all[[2]int64{int64(d.Partition), d.Offset}] = d.Verdict
		})
	}
	return all
}

func (s *sim) eachDecision(shard int32, f func(*schemas.Decision)) {
	var e schemas.Entry
	for _, b := range s.w.batchesOf(shard) {
		for _, v := range b.values {
			s.w.must(schemas.ParseEntry(v, &e))
			if e.Kind == schemas.EntryDecision {
				f(&e.Decision)
			}
		}
	}
}

// acknowledgedStands sees that what was called durable stands.
func (s *sim) acknowledgedStands() {
	s.mu.Lock()
	acks := maps.Clone(s.acks)
	s.mu.Unlock()
	stands := s.decided()
	for place, ack := range acks {
		if v, ok := stands[place]; !ok || v != ack.verdict {
			s.fail("%s acknowledged %v of %v, and the ledger says %v (%v)", ack.by, ack.verdict, place, v, ok)
			return
		}
	}
}

// lettersStand sees that the dead letters are those of what was rejected.
func (s *sim) lettersStand() {
	want, got := make(map[string]bool), make(map[string]bool)
	for place, v := range s.decided() {
		if v.Outcome == schemas.Rejected {
			want[fmt.Sprintf("%d:%d", place[0], place[1])] = true
		}
	}
	for p := range int32(s.parts) {
		for _, r := range s.w.records(s.w.topics.DLQ, p) {
			got[header(&r, "weir-partition")+":"+header(&r, "weir-offset")] = true
		}
	}
	if !maps.Equal(want, got) {
		s.fail("dead letters are of %v, not of %v", got, want)
	}
}

// snapshotStands sees that a snapshot is of what was taken, and leads to what stands.
func (s *sim) snapshotStands(n *simNode, name string, end int64, whole *State) {
	w := s.w
	state, err := ReadSnapshot(name, w.spec, features.Options{}, 0)
	if errors.Is(err, ErrSnapshotDamaged) && n.spoiled[filepath.Base(name)] {
		return
	}
	w.must(err)
	sameState(w.t, "snapshot "+name, state, w.foldAll(state.Chain.Offset))
	w.foldOn(state, end)
	sameState(w.t, "the fold from "+name, state, whole)
}
