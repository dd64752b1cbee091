package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
)

// soakStep is the event time between two integers of a soak, ms: the windows of the spec
// slide over many times what they hold, so that the state comes to its size soon.
const soakStep = 10

// A soak writes integers at a rate while a ladder of faults goes on.
type soak struct {
	*ladder
	rate  int
	first int64                   // event time of integer 0
	next  [ladderPartitions]int64 // offset of the next record of each partition
	looks map[trait][]look
}

// TestSoak writes integers at a rate for a while, as they are due, to three scorers of which
// two are killed, stopped and paused, one is paused, and whose broker is killed: nothing is
// lost, every bit is right, and the memory of the one that is never started again, of the
// broker and of this process stays what it is. WEIR_SOAK is how long, WEIR_SOAK_RATE how
// many a second, and WEIR_FAULTS=0 has nothing happen.
func TestSoak(t *testing.T) {
	if os.Getenv("WEIR_PROVE") == "" && os.Getenv("WEIR_SOAK") == "" {
		t.Skip("takes half an hour: deploy/prove soak, or a time in WEIR_SOAK")
	}
	long, rate := time.Duration(sizeOf(1800, 60, briefly(4, 3)))*time.Second, sizeOf(50_000, 20_000, briefly(5_000, 1_000))
	if d, err := time.ParseDuration(os.Getenv("WEIR_SOAK")); err == nil {
		long = d
	}
	if text := os.Getenv("WEIR_SOAK_RATE"); text != "" {
		if _, err := fmt.Sscan(text, &rate); err != nil {
			t.Fatal(err)
		}
	}
	s := &soak{ladder: newLadder(t, 1), rate: rate, looks: make(map[trait][]look)}
	s.rows, s.spared = "4096", s.nodes[2]
	// The amounts grow for as long as it takes, and with them what a random network says:
	// alerts are a sample of one in a thousand, or most of what is decided would be.
	s.policy.Review, s.policy.Block = 2, 0
	s.snapshotEvery = int64(20 * rate)
	s.integers(0, "ladder", 1)
	s.first = s.now - int64(long.Seconds()*2+600)*int64(rate)*soakStep
	s.soak(long)
	s.flat(long)
	r := s.reader("ladder", 1)
	s.finish(r)
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		t.Logf("%-40s %4d times", what, s.counts[what])
	}
	s.takeOvers()
	s.alertsBelong(r)
	report := s.verified(s.brokers, "ladder")
	t.Logf("%d integers in %v; %d batches of %d writers are in the chain, %d were dropped", s.total, long, report.Batches, len(r.writers), report.Dropped)
}

// soak writes for so long, and does a fault every now and then.
func (s *soak) soak(long time.Duration) {
	s.t.Helper()
	for _, n := range s.nodes {
		s.start(n)
	}
	began := time.Now()
	fault, look, behind := began.Add(3*time.Second), began, int64(0)
	if long < 10*time.Second {
		fault = began.Add(500 * time.Millisecond)
	}
	for time.Since(began) < long {
		s.write(began)
		s.bring()
		now := time.Now()
		if now.After(fault) && os.Getenv("WEIR_FAULTS") != "0" {
			if what := s.fault(); what != "" {
				s.counts[what]++
				fault = time.Now().Add(s.between(0, 2*min(8*time.Second, long/6)))
			}
		}
		if now.After(look) {
			look = now.Add(time.Second)
			late := s.total - s.end()
			behind = max(behind, late)
			s.look(late < int64(s.rate))
		}
		time.Sleep(20 * time.Millisecond) // the embedded broker keeps 72 bytes a batch in memory
	}
	s.t.Logf("%.0f integers a second were written; at most %d were not decided yet", float64(s.total)/time.Since(began).Seconds(), behind)
}

// write writes what is due by now.
func (s *soak) write(began time.Time) {
	s.t.Helper()
	due := int64(time.Since(began).Seconds() * float64(s.rate))
	// A partition that could not be written while the broker was away is not left behind by
	// the others, or what it gets is too late.
	const round = 8_000
	due = min(due, ladderPartitions*(slices.Min(s.next[:])+round))
	now := time.Now().UnixMilli()
	for p := range int64(ladderPartitions) {
		var w kafka.BatchWriter
		n := int64(0)
		for i := s.next[p]*ladderPartitions + p; i < due && n < round; i += ladderPartitions {
			w.Append(nil, fmt.Appendf(nil, `{"id":"%d","n":%d,"t":%d,"c":"c%d","d":"d%d"}`, i, i, s.first+i*soakStep, i*7919%97, i*104729%13), now, nil)
			n++
		}
		if n > 0 && s.append(int32(p), &w, n) {
			s.next[p] += n
			s.total += n
		}
	}
}

// append appends records to a partition, which nobody else writes to; it reports whether
// they are there. While the broker is away they are not.
func (s *soak) append(p int32, w *kafka.BatchWriter, n int64) bool {
	s.t.Helper()
	topic := s.topics("ladder").Transactions
	batch, err := w.Finish(kafka.Snappy)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.log.Produce(s.t.Context(), topic, p, batch)
	for unknown := errors.Is(err, kafka.ErrUnknownOutcome); unknown; s.bring() {
		if _, end, err := s.log.Offsets(s.t.Context(), topic, p); err == nil {
			return end == s.next[p]+n
		}
	}
	return err == nil
}
