package alerts

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weir-risk/weir/ingest/kafka"
)

// Follow folds the topics audit and dispositions into the trail until the context
// ends, which is a clean stop and no error. It tries again whatever fails.
func (t *Trail) Follow(ctx context.Context, log *kafka.Client, c Config) error {
	s := &source{c, log, t}
	s.repeat(ctx, "audit trail", func(_, why string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.halted = why
	}, func(ctx context.Context, on func()) error { return t.session(ctx, s, on) })
	return nil
}

// Ready reports whether the trail has caught up with the topics; if not, why.
func (t *Trail) Ready() (bool, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.halted == "", t.halted
}

// session follows the topics from where the trail is, until an error.
func (t *Trail) session(ctx context.Context, s *source, on func()) error {
	tapes, err := t.begin(ctx, s)
	if errors.Is(err, errRecreated) {
		s.Log.Warn("the audit trail is folded anew", "cause", err)
		if err = t.Reset(ctx); err == nil {
			tapes, err = t.begin(ctx, s)
		}
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.behind, t.halted = len(tapes), "behind the log"
	t.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, tape := range tapes {
		wg.Go(func() {
			cancel(tape.follow(ctx, func(rs []Record) error { return t.take(ctx, s, tape, rs) }, func() error {
				t.mu.Lock()
				t.behind--
				last := t.behind == 0
				t.mu.Unlock()
				if last {
					on()
				}
				return nil
			}))
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// begin opens the topics where the trail is. errRecreated is wrapped where one of them
// is another than the trail was folded from.
func (t *Trail) begin(ctx context.Context, s *source) (tapes []*tape, err error) {
	for _, of := range []struct{ place, topic string }{{PlaceAudit, s.Topics.Audit}, {PlaceDispositions, s.Topics.Dispositions}} {
		topic, err := s.known(ctx, of.place, of.topic)
		if err != nil {
			return nil, err
		}
		if topic.Partitions != 1 {
			return nil, fmt.Errorf("%s has %d partitions, and the order of what was done needs one: %w", of.topic, topic.Partitions, ErrTopic)
		}
		tape, err := s.tape(ctx, of.topic, Place{Topic: of.place})
		if err != nil {
			return nil, err
		}
		tapes = append(tapes, tape)
	}
	return tapes, nil
}

// take folds records of a tape.
func (t *Trail) take(ctx context.Context, s *source, tape *tape, rs []Record) error {
	f, err := t.Fold(ctx, tape.place.Topic, rs)
	for _, cause := range f.Causes {
		s.Log.Error("record cannot be read and is passed over", "topic", tape.topic, "cause", cause)
	}
	if more := f.Malformed - len(f.Causes); more > 0 {
		s.Log.Error("more records cannot be read and are passed over", "topic", tape.topic, "partition", tape.place.Partition, "records", more)
	}
	return err
}
