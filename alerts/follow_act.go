package alerts

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

// wait is somebody who waits for what becomes of a disposition.
type wait struct{ settled chan Settled } // has room for the one

// Act appends a disposition to the topic and returns once it has come back through the
// fold: what became of it. Its ID and At are filled in where they are empty, TxID
// always. It is tried until the context ends, which leaves open whether it counts; to
// act again with the same ID does nothing twice and says what became of the first.
// ErrNoAlert is wrapped where the view does not hold the alert.
func (d *Desk) Act(ctx context.Context, x schemas.Disposition) (Settled, error) {
	item, err := d.view.Item(ctx, string(x.AlertID))
	if err != nil {
		return Settled{}, fmt.Errorf("act: %w", err)
	}
	x.TxID = item.Text[schemas.ID]
	if len(x.ID) == 0 {
		var id [16]byte
		_, _ = rand.Read(id[:]) // it never fails
		x.ID = hex.AppendEncode(nil, id[:])
	}
	if x.At == 0 {
		x.At = d.Now().UnixMilli()
	}
	value := schemas.AppendDispositionJSON(nil, &x)
	var again schemas.Disposition
	if err := schemas.ParseDisposition(value, &again); err != nil {
		return Settled{}, fmt.Errorf("act on alert %s: %w", x.AlertID, err)
	}
	w := &wait{make(chan Settled, 1)}
	id := string(x.ID)
	d.expect(id, w)
	defer d.forget(id, w)
	// It is waited for by now: either the fold had passed it before, or it is told.
	s, done, err := d.view.settled(ctx, string(x.AlertID), id)
	if err == nil && !done {
		s, err = d.send(ctx, &x, value, w)
	}
	if err != nil {
		return Settled{}, fmt.Errorf("act on alert %s: %w", x.AlertID, err)
	}
	if s.Err == nil && (s.State.Status.Closed() || x.Kind == schemas.Undone) {
		d.own(s.ID) // it may have made one
	}
	return s, nil
}

// send appends a disposition and waits until it was folded. A request whose outcome is
// not known is sent again: the fold passes an id over that it has seen.
func (d *Desk) send(ctx context.Context, x *schemas.Disposition, value []byte, w *wait) (Settled, error) {
	var b kafka.BatchWriter
	b.Append(x.AlertID, value, d.Now().UnixMilli(), nil)
	batch, err := b.Finish(kafka.None)
	if err != nil {
		return Settled{}, err
	}
	for attempt := 0; ; attempt++ {
		_, err := d.log.Produce(ctx, d.Topics.Dispositions, 0, batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil || kafka.Classify(err) == kafka.Stop {
			return Settled{}, err
		}
		select {
		case s := <-w.settled:
			return s, nil
		case <-d.After(backoff(attempt)):
		case <-ctx.Done():
			return Settled{}, errors.Join(err, ctx.Err())
		}
	}
	select {
	case s := <-w.settled:
		return s, nil
	case <-ctx.Done():
		return Settled{}, fmt.Errorf("wait for it to come back: %w", ctx.Err())
	}
}

func (d *Desk) expect(id string, w *wait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[id] = append(d.waiting[id], w)
}

func (d *Desk) forget(id string, w *wait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var left []*wait
	for _, other := range d.waiting[id] {
		if other != w {
			left = append(left, other)
		}
	}
	if d.waiting[id] = left; left == nil {
		delete(d.waiting, id)
	}
}

// settled returns what became of an action that was folded before. The state is the
// alert's now.
func (v *View) settled(ctx context.Context, alertID, id string) (s Settled, done bool, err error) {
	key, err := parseID(alertID)
	if err != nil {
		return s, false, err
	}
	var void string
	err = v.reader.QueryRowContext(ctx, `SELECT void FROM actions WHERE key = ? AND id = ?`, key, id).Scan(&void)
	if errors.Is(err, sql.ErrNoRows) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("look up action %s: %w", id, err)
	}
	state, err := stateOf(ctx, v.reader, key)
	return Settled{ID: id, AlertID: alertID, State: state, Err: voidError(void)}, true, err
}

// voidError is the error of a text that one was kept as.
func voidError(text string) error {
	if text == "" {
		return nil
	}
	for _, err := range []error{ErrStale, ErrOwned, ErrClosed, ErrNothing, ErrSameEyes, ErrNoUndo} {
		if strings.HasPrefix(text, err.Error()) {
			return err
		}
	}
	return errors.New(text)
}

// Event is something that happened to an alert. It is of Kind "arrived" or "changed".
type Event struct {
	Kind    string
	AlertID string
	Lost    bool // events before this one were lost, because the reader was slow
}

// eventsMax bounds the events that a subscriber has not read yet: more than a page
// shows, so whoever lost some looks at the view again.
const eventsMax = 256

// subscriber is one reader of events; its fields are guarded by Desk.mu.
type subscriber struct {
	events chan Event
	lost   bool
}

// Subscribe returns events from now on, until cancel is called. A slow reader loses
// events, and is told with the next one that it gets.
func (d *Desk) Subscribe() (events <-chan Event, cancel func()) {
	s := &subscriber{events: make(chan Event, eventsMax)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readers[s] = struct{}{}
	return s.events, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.readers, s)
	}
}

// tell tells those who wait, subscribed or publish what was folded.
func (d *Desk) tell(f *Folded) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range f.Settled {
		for _, w := range d.waiting[s.ID] {
			select {
			case w.settled <- s:
			default: // it was told
			}
		}
	}
	for r := range d.readers {
		for _, id := range f.Arrived {
			r.send(Event{Kind: "arrived", AlertID: id})
		}
		for _, s := range f.Settled {
			if s.Err == nil {
				r.send(Event{Kind: "changed", AlertID: s.AlertID})
			}
		}
	}
	if f.Labels > 0 {
		d.remind()
	}
}

func (r *subscriber) send(e Event) {
	e.Lost = r.lost
	select {
	case r.events <- e:
		r.lost = false
	default:
		r.lost = true
	}
}
