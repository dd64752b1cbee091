package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
)

// errStopped ends a command that was asked to end before it had begun, since it waited
// for Kafka.
var errStopped = errors.New("stopped while it waited for Kafka")

// awaitEvery is how often a role that waits for Kafka asks again. Sooner would not find a
// broker that takes seconds to start much earlier.
const awaitEvery = 500 * time.Millisecond

// untilKafka does what asks something of Kafka, again and again until a broker answers: who
// starts everything at once starts some of it before the brokers. Meanwhile the process is
// alive and not ready, and says why in its log, once. What does not pass by itself, such as
// a password that is answered to be wrong, is an error at once. A broker that closes the
// connection instead cannot be told from one that ends: the log says what it may be.
func (s *service) untilKafka(ctx context.Context, ask func() error) error {
	err := ask()
	if err == nil || !kafka.Away(err) || ctx.Err() != nil {
		return err
	}
	brokers := s.flags.kafka.brokers
	var why atomic.Value
	why.Store(err.Error())
	registry := newRegistry(s.flags.data)
	for _, role := range s.roles {
		tellReady(registry, role, func() bool { return false })
	}
	at, stop, err := s.flags.serveMetrics(s.log, registry, func() (bool, any) {
		return false, map[string]any{"ready": false, "reason": "waits for Kafka at " + brokers + ": " + why.Load().(string)}
	})
	if err != nil {
		return err
	}
	defer stop()
	s.log.Warn("waits for Kafka", "brokers", brokers, "cause", why.Load(), "metrics", at,
		"remedy", "start a broker there, or name another by --kafka HOST:PORT; this goes on by itself once one answers")
	for {
		if sleep(ctx, awaitEvery) != nil {
			return errStopped
		}
		err := ask()
		switch {
		case ctx.Err() != nil:
			return errStopped
		case err == nil:
			s.log.Info("Kafka answers")
			return nil
		case !kafka.Away(err):
			return err
		}
		why.Store(err.Error())
	}
}
