package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// errAudit says that the audit log did not take an entry: what it is about is not
// shown and not done.
var errAudit = errors.New("the audit log could not be written")

// requester is what the guard knows of whoever makes a request.
type requester struct {
	user    *User // nil on public routes
	session Session
	address string
	token   string // name of the token that let it in; empty for a session
}

type requesterKey struct{}

func requesterOf(ctx context.Context) *requester {
	q, ok := ctx.Value(requesterKey{}).(*requester)
	if !ok {
		panic("BUG: a handler runs outside the guard")
	}
	return q
}

// audit writes an entry to the audit log and returns once it is durable. Handlers
// call it before they write anything, and return its error. It fills in ID, At, Who
// and Address where they are empty.
func (s *Server) audit(ctx context.Context, e schemas.AuditEntry) error {
	q := requesterOf(ctx)
	if len(e.ID) == 0 {
		e.ID = entryID()
	}
	if e.At == 0 {
		e.At = s.options.Now().UnixMilli()
	}
	if len(e.Who) == 0 && q.user != nil {
		e.Who = []byte(q.user.Name)
	}
	if len(e.Who) == 0 {
		e.Who = []byte(schemas.AuditNobody)
	}
	if len(e.Detail) == 0 && q.token != "" {
		e.Detail = []byte("by token " + q.token)
	}
	if len(e.Address) == 0 {
		e.Address = []byte(q.address)
	}
	if err := s.options.Audit(ctx, e); err != nil {
		s.options.Metrics.auditErrors.Inc()
		return fmt.Errorf("%w: %w", errAudit, err)
	}
	switch e.What {
	case schemas.AuditLoggedIn:
		s.options.Metrics.logins.WithLabelValues("let_in").Inc()
	case schemas.AuditLoginFailed:
		s.options.Metrics.logins.WithLabelValues("refused").Inc()
	}
	return nil
}

// The bounds of writing one entry: a page that nobody waits for any more is no help.
const (
	auditAttempts = 3
	auditWait     = 5 * time.Second
	auditPause    = 100 * time.Millisecond // before the second attempt, then twice as long
)

// AuditTo returns what writes entries to a topic, acks=all, as [Options.Audit] wants
// it. An entry whose answer was lost is written again, so that it may be there twice,
// under one id.
func AuditTo(log *kafka.Client, topic string) func(context.Context, schemas.AuditEntry) error {
	return func(ctx context.Context, e schemas.AuditEntry) error {
		ctx, cancel := context.WithTimeout(ctx, auditWait)
		defer cancel()
		var w kafka.BatchWriter
		w.Append(e.Who, schemas.AppendAuditJSON(nil, &e), e.At, nil)
		batch, err := w.Finish(kafka.None)
		for attempt := 0; err == nil; attempt++ {
			if _, err = log.Produce(ctx, topic, 0, batch); err == nil {
				return nil
			}
			if attempt+1 == auditAttempts || kafka.Classify(err) == kafka.Stop {
				break
			}
			select {
			case <-time.After(auditPause << attempt):
				err = nil
			case <-ctx.Done():
			}
		}
		return fmt.Errorf("write audit entry to %s: %w", topic, err)
	}
}
