package ingest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// A stopwatch notes how long steps take.
type stopwatch struct {
	mu    sync.Mutex
	began time.Time
	times []time.Duration
}

func (s *stopwatch) probe(p Phase, in bool) {
	if p != Stepping {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if in {
		s.began = time.Now()
		return
	}
	s.times = append(s.times, time.Since(s.began))
}

// take returns the times since it was called last.
func (s *stopwatch) take() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.times
	s.times = nil
	return list
}

// A stream sends payments without an end, a thousand ahead of what is decided.
type stream struct {
	w       *world
	source  *customersSource
	decided func() int64
	sent    atomic.Int64
}

func (s *stream) run(ctx context.Context) error {
	const ahead, batch = 1000, 100
	var b kafka.BatchWriter
	for ctx.Err() == nil {
		if s.sent.Load()-s.decided() > ahead {
			<-s.w.nap()
			continue
		}
		b.Reset()
		for range batch {
			s.source.append(&b)
		}
		set, err := b.Finish(kafka.LZ4)
		if err == nil {
			_, err = s.w.log.Produce(context.WithoutCancel(ctx), s.w.topics.Transactions, 0, set)
		}
		if err != nil {
			return err
		}
		s.sent.Add(batch)
	}
	return nil
}

// swapsAtOnce is how many swaps a test makes, in rounds of how many, and after how many
// decisions.
func swapsAtOnce() (swaps, round int, warm int64) {
	switch {
	case testing.Short():
		return 8, 4, 20
	case os.Getenv("WEIR_KAFKA") != "":
		return 200, 20, 200
	}
	return 1000, 20, 200
}

// TestSwapsUnderLoad has a node that never pauses take one champion after another
// from models, and now and then a challenger: no batch of the ledger is of two
// champions, none is missing, and every bit can be recomputed. How long steps took
// with and without swaps is logged; a machine that others use holds no bound.
func TestSwapsUnderLoad(t *testing.T) {
	swaps, round, warm := swapsAtOnce()
	w := newWorld(t, "payments", 1)
	key := testKey(t, 1)
	trust := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	var bundles []*scoring.Bundle
	for i := range 5 {
		data, b := w.sealed(uint64(i), key)
		w.model("bundle/"+hex32(b.Hash), data)
		bundles = append(bundles, b)
	}
	w.point("champion", hex32(bundles[0].Hash), key)
	watch := &stopwatch{}
	var steps, open atomic.Int64
	l := w.liveWith(trust, func(c *Config) {
		c.RowsMax, c.Probe = 16, watch.probe
		c.NewScorer = func(b *scoring.Bundle) (scoring.Scorer, error) { return newClosing(b, &open) }
		c.OnPublished = func([]schemas.Place, []schemas.Verdict) { steps.Add(1) }
	})
	ctx, stop := context.WithCancel(t.Context())
	s := &stream{w: w, source: newSource("payments", 200, time.Second), decided: func() int64 { return l.node.Status().Counts.Decisions() }}
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	pass := func(n int64) {
		upto := steps.Load() + n
		w.until(func() string { return "steps go on" }, func() bool { return steps.Load() >= upto })
	}
	pass(warm) // windows fill, buffers grow
	const seed = 3
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var calm, busy []time.Duration // taking turns, since the machine has other work
	for i := range swaps {
		if i%round == 0 {
			watch.take()
			pass(warm)
			calm = append(calm, watch.take()...)
		}
		next := bundles[(i+1)%3]
		if r.IntN(5) == 0 {
			w.point("challenger", hex32(bundles[3+r.IntN(2)].Hash), key)
		}
		w.point("champion", hex32(next.Hash), key)
		w.until(func() string { return fmt.Sprintf("swap %d is loaded", i) }, func() bool { return l.node.Champion() == next.Hash })
		pass(3) // two steps may have been decided already
		if i%round == round-1 {
			busy = append(busy, watch.take()...)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.decided(s.sent.Load())
	l.stop()
	report := w.verifyModels(trust).Report
	if report.SourceRecords != s.sent.Load() || report.Decisions != s.sent.Load() || report.Scored != report.Decisions {
		t.Errorf("%d records sent: %+v", s.sent.Load(), report)
	}
	took := w.checkSwaps()
	if n := open.Load(); took["champion"] != swaps+1 || took["challenger"] == 0 || n < 1 || n > int64(numSlots) {
		t.Errorf("the ledger took %v, want %d champions; %d scorers are open", took, swaps+1, n)
	}
	logSteps(t, "without swaps", calm)
	logSteps(t, fmt.Sprintf("with %d swaps", swaps), busy)
}

// A closing is a scorer that has to be closed, once.
type closing struct {
	scoring.Scorer
	open   *atomic.Int64
	closed atomic.Bool
}

func newClosing(b *scoring.Bundle, open *atomic.Int64) (scoring.Scorer, error) {
	s, err := cpu.New(b.Model)
	open.Add(1)
	return &closing{Scorer: s, open: open}, err
}

func (c *closing) Close() error {
	if c.closed.Swap(true) {
		return errors.New("closed twice")
	}
	c.open.Add(-1)
	return nil
}

func logSteps(t *testing.T, what string, list []time.Duration) {
	slices.Sort(list)
	at := func(share float64) time.Duration { return list[int(share*float64(len(list)-1))] }
	t.Logf("%d steps %s: p50 %v, p99 %v, p99.9 %v", len(list), what, at(.5), at(.99), at(.999))
}

// checkSwaps sees that every batch is of one champion and one challenger, those
// that it begins with, and counts what slots took.
func (w *world) checkSwaps() map[string]int {
	w.t.Helper()
	took := make(map[string]int)
	var champion, challenger [32]byte
	var e schemas.Entry
	for _, b := range w.batches() {
		for i, v := range b.values {
			w.must(schemas.ParseEntry(v, &e))
			switch d := &e.Decision; {
			case e.Kind == schemas.EntryBundle:
				took[string(e.Bundle.Slot)]++
				if i > 1 {
					w.t.Fatalf("batch at %d: record %d swaps the %s", b.base, i, e.Bundle.Slot)
				}
				if string(e.Bundle.Slot) == "champion" {
					champion = e.Bundle.Hash
				} else {
					challenger = e.Bundle.Hash
				}
			case e.Kind == schemas.EntryDecision && (b.facts.Bundle != champion || d.Bundle != schemas.HashPrefix(champion) || d.Challenger != schemas.HashPrefix(challenger)):
				w.t.Fatalf("batch at %d of champion %.8x: record %d is decided by %x and challenged by %x, want %.8x and %.8x",
					b.base, b.facts.Bundle, i, d.Bundle, d.Challenger, champion, challenger)
			}
		}
	}
	return took
}
