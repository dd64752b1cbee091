package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// A group is goroutines of which the first to end with an error stops the
// rest. Whoever makes it waits for it.
type group struct{ wg sync.WaitGroup }

func (g *group) start(cancel context.CancelCauseFunc, f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			cancel(err)
		}
	})
}

func (g *group) wait() { g.wg.Wait() }

// pause waits before another attempt.
func (n *Node) pause(ctx context.Context, attempt int) error {
	select {
	case <-n.After(backoff(attempt)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) after(d time.Duration) <-chan time.Time { return n.After(d) }

func (n *Node) retried(err error) {
	n.Metrics.Retries.Inc()
	n.Log.Warn("tried again", "cause", err)
}

// malformed counts a label or a rate that is not taken. What it holds, and so what is
// wrong with it, is not logged where it could not be read: nobody knows what it is.
func (n *Node) malformed(topic string, p schemas.Place, err error) {
	n.Metrics.Malformed.WithLabelValues(topic).Inc()
	n.mu.Lock()
	if n.passedOver == nil {
		n.passedOver = make(map[string]int64)
	}
	n.passedOver[topic]++
	so := n.passedOver[topic]
	n.mu.Unlock()
	// A topic full of them must not fill the log: each is counted, the first ten
	// are named, and then every one whose number is a power of two.
	if so <= 10 || so&(so-1) == 0 {
		why := "it cannot be read"
		for _, said := range []error{errLabelAhead, errLabelLong, errLabelSecret} {
			if errors.Is(err, said) {
				why = said.Error()
			}
		}
		n.Log.Warn("record passed over", "topic", topic, "partition", p.Partition, "offset", p.Offset, "why", why, "so_far", so)
	}
}

// produce appends one batch to a topic, again and again until it is
// acknowledged: readers of these topics drop what comes twice.
func (n *Node) produce(ctx context.Context, topic string, partition int32, b *kafka.BatchWriter) error {
	bytes, err := b.Finish(n.Codec)
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		_, err := n.log.Produce(ctx, topic, partition, bytes)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if kafka.Classify(err) == kafka.Stop {
			return err
		}
		n.retried(err)
		if err := n.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// published counts a durable step.
func (n *Node) published(f *flight) {
	m, durable := n.Metrics, n.Now()
	now := durable.UnixMilli()
	for _, p := range f.places {
		m.Decision.Observe(float64(now-p.Timestamp) / 1000)
	}
	for _, v := range f.verdicts {
		m.decided(v)
	}
	m.Labels.Add(float64(f.labels))
	m.Position.Set(float64(f.end))
	n.set(func(s *Status) {
		s.Counts, s.Ledger = f.counts, f.end
		n.decided = append(n.decided[:0], f.facts.Sources...)
	})
	if len(f.out.traced) > 0 {
		n.traceDecisions(f, durable)
	}
	if n.OnPublished != nil {
		n.OnPublished(f.places, f.verdicts)
	}
}

// commit writes how far the source was decided into the group that lag dashboards
// watch, [ProgressGroup]; weir itself never reads it. What could not be written
// stays due. One commit is on its way at a time, so that no older one comes last.
func (n *Node) commit(ctx context.Context) error {
	select {
	case n.committing <- struct{}{}:
		defer func() { <-n.committing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	offsets := make(map[int32]int64)
	n.set(func(*Status) {
		for _, p := range n.decided {
			next := p.Offset + 1
			if was, ok := n.committed[p.Partition]; !ok || was != next {
				offsets[p.Partition] = next
			}
		}
	})
	if len(offsets) == 0 {
		return nil // nothing new
	}
	if err := n.log.CommitOffsets(ctx, ProgressGroup(n.Group), n.Topics.Transactions, offsets); err != nil {
		return err
	}
	maps.Copy(n.committed, offsets)
	return nil
}

// commitLast does as commit until it succeeds, the context ends, or a person has
// to mend something: after it nobody commits.
func (n *Node) commitLast(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		err := n.commit(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.retried(err)
		if kafka.Classify(err) == kafka.Stop || n.pause(ctx, attempt) != nil {
			return
		}
	}
}

// ProgressGroup is the consumer group whose offsets say how far a group of
// scorers has decided the source: another than their own, whose members read
// decisions and from whom Kafka takes no offsets of another topic.
func ProgressGroup(group string) string { return group + ".progress" }

// measureEvery is how often the state is measured: that takes a look at each of
// its parts.
const measureEvery = time.Second

// stateNearly is the share of its bound from which a state is said to be nearly
// as large as it may be: time enough to add memory.
const stateNearly = 0.9

// ErrStateFull halts a node whose state is larger than [Config.StateMax]. Nothing is
// lost: what was decided is in the ledger, and what was not waits in the source.
var ErrStateFull = errors.New("no room for the state: give the node more memory and a larger --state-max, or a spec with shorter windows or fewer entities")

// measureDue measures the state at most once in measureEvery. It is called while
// nothing comes too, or what a short burst left would not be known until the next. Rest is
// that between the pages that are gathered.
func (n *Node) measureDue(s *State, rest time.Duration) error {
	now := n.Now()
	if now.Sub(n.measured) < measureEvery {
		return nil
	}
	n.measured = now
	if n.pages != nil && s.Engine.Bytes() >= gatherMin {
		n.pages.Show(s.Engine.Slabs, rest)
	}
	return n.measure(s)
}

// gatherMin is the bytes of a state whose memory is gathered: a smaller one is in reach
// of the processor's caches.
const gatherMin = 64 << 20

// measure tells how large the state is, says in time that it is nearly as large as
// it may be, and fails where it is larger. To drop something would be no way out:
// what a node holds, and so what it decides, has to be a function of the ledger, on
// a machine of any size.
func (n *Node) measure(s *State) error {
	bytes, most := s.Engine.Bytes(), n.StateMax
	n.entities = s.Engine.Entities()
	n.Metrics.StateBytes.Set(float64(bytes))
	n.Metrics.Entities.Set(float64(n.entities))
	n.Metrics.SnapEvery.Set(float64(n.snapshotEvery()))
	if most > 0 && bytes > most {
		n.measured = time.Time{} // the next attempt is to know at once
		return fmt.Errorf("the state holds %d bytes, state-max is %d: %w", bytes, most, ErrStateFull)
	}
	nearly := most > 0 && float64(bytes) > stateNearly*float64(most)
	if nearly && !n.nearly {
		n.Log.Warn("state is nearly as large as it may be", "bytes", bytes, "state_max", most, "entities", n.entities)
	}
	n.nearly = nearly
	return nil
}
