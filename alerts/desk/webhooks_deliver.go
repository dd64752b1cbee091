package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// hookEvent is one of what a webhook may be sent.
type hookEvent struct{ Name, Words string }

// hookEvents are all of them.
var hookEvents = []hookEvent{
	{"alert.raised", "an alert came"}, {"alert.claimed", "somebody took it"}, {"alert.released", "somebody put it back"},
	{"alert.noted", "somebody noted something (the note is not sent)"}, {"alert.escalated", "somebody escalated it"}, {"alert.snoozed", "somebody put it off"},
	{"alert.proposed", "somebody proposed to close it, a second person decides"}, {"alert.closed", "it was closed"}, {"alert.undone", "somebody took the last action back"},
	{"alert.assigned", "a supervisor gave it to somebody"}, {"alert.reviewed", "a second person looked at it again"}, {"alert.settled", "a supervisor had the last word on it"},
}

// eventOf is the name of what happened.
func eventOf(h *alerts.Happening) string {
	switch {
	case h.Action == nil:
		return "alert.raised"
	case h.Action.Kind == schemas.ReviewedFraud || h.Action.Kind == schemas.ReviewedGenuine:
		return "alert.reviewed"
	case h.Action.Kind == schemas.SettledFraud || h.Action.Kind == schemas.SettledGenuine:
		return "alert.settled"
	case h.Action.Kind != schemas.ClosedFraud && h.Action.Kind != schemas.ClosedGenuine:
		return "alert." + h.Action.Kind.String()
	case h.Decided:
		return "alert.closed"
	}
	return "alert.proposed"
}

// hookBody is what is sent, as openapi.json describes it.
type hookBody struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

type hookData struct {
	AlertID string     `json:"alert_id"`
	Alert   *apiAlert  `json:"alert"`  // null where the view does not hold it
	Action  *apiAction `json:"action"` // null where it was raised
}

// When an attempt that failed is made again: after retryFirst, and each time retryTimes
// as long, for some 27 hours in all; then the delivery is a dead letter.
const (
	attemptsMax = 8
	retryFirst  = 5 * time.Second
	retryTimes  = 5
)

// retryAfter is the pause after so many attempts that failed, give or take a fifth, so
// that what failed at one time does not come again at one time.
func retryAfter(attempts int) time.Duration {
	d := retryFirst
	for range attempts - 1 {
		d *= retryTimes
	}
	return time.Duration(float64(d) * (.8 + .4*rand.Float64()))
}

const (
	sendAtOnce   = 8           // attempts of one webhook
	happenedMax  = 100         // are looked at in one go
	lookEvery    = time.Minute // at what another process may have changed
	failedPauses = 5 * time.Second
)

// attempt is what came of one.
type attempt struct {
	delivery
	failure string
	again   int64
	dead    bool
}

// Deliver sends to the webhooks what happens, until the context ends.
//
// What happened is read from the view, which is a fold of the topics, from a position
// of each webhook. A delivery and the position behind it are kept in one transaction,
// and a delivery goes once the other side has taken it: whatever crashes, none is lost,
// and one that comes twice has the same webhook-id. One desk is to send for a file of
// accounts; two would send everything twice.
func (s *Server) Deliver(ctx context.Context) error {
	events, stop := s.options.Desk.Subscribe()
	defer stop()
	defer s.sender.close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wakes := make(map[int64]chan struct{})
	for {
		hooks, err := s.options.Accounts.webhooks(ctx, 0)
		if err != nil && ctx.Err() == nil {
			s.options.Log.Error("webhooks cannot be read", "cause", err)
		}
		for _, h := range hooks {
			if wakes[h.ID] == nil {
				wake := make(chan struct{}, 1)
				wakes[h.ID] = wake
				wg.Go(func() { s.deliverTo(ctx, h.ID, wake) })
			}
			select {
			case wakes[h.ID] <- struct{}{}:
			default:
			}
		}
		select {
		case <-events:
			drain(events)
		case <-s.hooked:
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

func drain(events <-chan alerts.Event) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// deliverTo sends to one webhook until it is gone: one that hangs holds no other up.
func (s *Server) deliverTo(ctx context.Context, hook int64, wake <-chan struct{}) {
	for {
		pause, err := s.round(ctx, hook)
		switch {
		case ctx.Err() != nil || errors.Is(err, errNoWebhook):
			return
		case err != nil:
			s.options.Log.Error("webhook held up; tried again", "webhook", hook, "cause", err)
			pause = failedPauses
		}
		select {
		case <-wake:
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// round sends to a webhook all that is due, and returns when to look again.
func (s *Server) round(ctx context.Context, hook int64) (time.Duration, error) {
	a := s.options.Accounts
	for {
		h, err := a.webhook(ctx, hook)
		if err != nil || !h.Enabled {
			return lookEvery, err
		}
		if err := s.gather(ctx, &h); err != nil {
			return 0, err
		}
		list, err := a.deliveries(ctx, hook, false, sendAtOnce)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			due, err := a.nextDue(ctx, hook)
			if due == 0 {
				return lookEvery, err
			}
			return min(lookEvery, max(0, time.Duration(due-s.options.Now().UnixMilli())*time.Millisecond)), err
		}
		tried := s.try(ctx, &h, list)
		s.options.Metrics.tried(tried)
		if len(tried) > 0 { // what was taken is not sent again because the desk stops
			if err := a.settleDeliveries(context.WithoutCancel(ctx), hook, tried); err != nil {
				return 0, err
			}
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
}

// gather makes deliveries of what happened since, as many as may wait.
func (s *Server) gather(ctx context.Context, h *webhook) error {
	places, err := s.places(ctx)
	if err != nil {
		return err
	}
	waiting := h.Pending
	for p, end := range places {
		at, err := s.options.Accounts.position(ctx, h.ID, p)
		for err == nil && at < end && waiting < pendingMax && h.Dead < deadMax {
			var list []alerts.Happening
			before := at
			if list, at, err = s.options.View.Since(ctx, p.Place, at, happenedMax); err != nil || at == before {
				break
			}
			var made []delivery
			for i := range list {
				if name := eventOf(&list[i]); slices.Contains(h.Events, name) && err == nil {
					var d delivery
					d, err = s.deliveryOf(ctx, name, &list[i])
					made = append(made, d)
				}
			}
			if err == nil {
				err = s.options.Accounts.addDeliveries(ctx, h.ID, p, at, made)
			}
			waiting += len(made)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// places are those that the view follows, and how far it is. A topic that was made anew
// is another place, which begins at its beginning.
func (s *Server) places(ctx context.Context) (map[place]int64, error) {
	ends, err := s.options.View.Ends(ctx)
	if err != nil {
		return nil, err
	}
	places := make(map[place]int64)
	for p, end := range ends {
		id, err := s.options.View.TopicID(ctx, p.Topic)
		if err != nil {
			return nil, err
		}
		if id != [16]byte{} {
			places[place{p, id}] = end
		}
	}
	return places, nil
}

// deliveryOf makes the message of what happened. It is made once, and sent as it is
// however often: the state in it is that of the time when it was made.
func (s *Server) deliveryOf(ctx context.Context, name string, h *alerts.Happening) (d delivery, err error) {
	data := hookData{AlertID: h.AlertID}
	i, err := s.options.View.Item(ctx, h.AlertID)
	if err == nil {
		a := apiAlertOf(&i, s.options.Now().UnixMilli())
		data.Alert = &a
	} else if !errors.Is(err, alerts.ErrNoAlert) {
		return d, err
	}
	at, action := i.Raised, ""
	if h.Action != nil {
		a := apiActionOf(&alerts.Action{Disposition: *h.Action})
		a.Note = nil
		data.Action, at, action = &a, h.Action.At, string(h.Action.ID)
	}
	body, err := json.Marshal(hookBody{name, apiTime(at), data})
	sum := sha256.Sum256([]byte(name + "\n" + h.AlertID + "\n" + action))
	return delivery{ID: "msg_" + hex.EncodeToString(sum[:16]), Event: name, Alert: h.AlertID, body: body}, err
}

// try makes an attempt of each delivery, all at once. Those that the end of the context
// has cut off are none.
func (s *Server) try(ctx context.Context, h *webhook, list []delivery) []attempt {
	tried := make([]attempt, len(list))
	var wg sync.WaitGroup
	for i, d := range list {
		wg.Go(func() {
			now := s.options.Now()
			t := attempt{delivery: d, failure: s.sender.send(ctx, h, d.ID, d.body, now)}
			if t.failure != "" {
				t.dead = d.Attempts+1 >= attemptsMax
				t.again = s.options.Now().Add(retryAfter(d.Attempts + 1)).UnixMilli()
			}
			tried[i] = t
		})
	}
	wg.Wait()
	tried = slices.DeleteFunc(tried, func(t attempt) bool { return t.failure != "" && ctx.Err() != nil })
	for _, t := range tried {
		if t.dead {
			s.options.Log.Warn("webhook delivery given up", "webhook", h.ID, "delivery", t.ID, "event", t.Event, "attempts", t.Attempts+1, "cause", t.failure)
		}
	}
	return tried
}

// test sends a message that says nothing, and returns what came of it.
func (s *Server) test(ctx context.Context, h *webhook) (failure string, err error) {
	now := s.options.Now()
	body, err := json.Marshal(hookBody{"webhook.test", apiTime(now.UnixMilli()), struct{}{}})
	if err != nil {
		return "", err
	}
	return s.sender.send(ctx, h, fmt.Sprintf("msg_test_%d_%d", h.ID, now.UnixMilli()), body, now), nil
}

// hostOf is what is told of where a webhook leads: what follows may be a secret.
func hostOf(text string) string {
	_, rest, _ := strings.Cut(text, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return host
}
