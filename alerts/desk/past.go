package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// past is what the history says around an alert.
type past struct {
	from, to int64             // ms; what the picture shows
	payments []history.Payment // of the case's entity, the newest first
	days     []history.Day     // of whoever got the money
	missing  string            // what of it is not there, why, and what to do; empty for nothing
}

// pastRoutes is what the history adds to a case, where its page did not wait for it: a
// page of its own, from which a script takes it into the case.
func (s *Server) pastRoutes() []route {
	return []route{{pattern: "GET /alerts/{id}/history", roles: desk, handle: s.pastPage, of: address}}
}

// pastPart is what history and alerts together say of what happened around one.
type pastPart struct {
	ID        string
	Later     bool // the history has not answered yet
	Plot      *plot
	Missing   string // what the history did not say, and why
	OtherSide string // of the rate below the picture
	Timeline  []timelineRow
	Earlier   int // payments of the picture that the timeline leaves out
}

// pastPart puts together what is known; nil is of a history that has not answered yet.
func (s *Server) pastPart(ctx context.Context, i *alerts.Item, known *past, now int64) (p pastPart, err error) {
	entity, value := i.Case()
	related, err := s.options.View.Related(ctx, entity, value, relatedMax)
	if err != nil {
		return p, err
	}
	p.ID, p.OtherSide = string(i.ID), otherSide(i)
	if p.Later = known == nil; p.Later {
		known = &past{}
	}
	marks := s.marks(ctx, known, related, i)
	if p.Missing = known.missing; !p.Later {
		p.Plot = plotAmounts(marks, known.days, s.options.Base, known.from, known.to, now)
	}
	if p.Plot != nil && p.Plot.Rate != nil {
		p.Plot.Rate.Of = p.OtherSide
	}
	p.Timeline, p.Earlier, err = s.timeline(ctx, i, marks, now)
	return p, err
}

// pastPage shows that alone, once the history has answered or had its time.
func (s *Server) pastPage(w http.ResponseWriter, r *http.Request) error {
	i, err := s.item(r)
	if err != nil {
		return err
	}
	now := s.options.Now().UnixMilli()
	q := s.question(r.Context(), &i, now)
	defer s.forget(string(i.ID), q)
	select {
	case <-q.done:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	p := struct {
		Amount, Who string
		Past        pastPart
	}{Amount: money(i.Tx.Amount, string(i.Text[schemas.Currency]))}
	_, p.Who = i.Case()
	if p.Past, err = s.pastPart(r.Context(), &i, &q.past, now); err != nil {
		return fmt.Errorf("read around alert %s: %w", i.ID, err)
	}
	return s.page(w, r, http.StatusOK, "history", p)
}

// A question is what the history is asked around one alert. It goes on where a page left
// without the answer, so that what the page loads next has not to ask again. It is of no
// reader: what is kept from one is left out where it is shown.
type question struct {
	done chan struct{} // closed once past is there
	past past
}

// questionKept is for how long an answer that came too late for a page waits for whoever
// loads it.
const questionKept = 5 * time.Second

// question asks the history around an alert, or joins whoever does already.
func (s *Server) question(ctx context.Context, i *alerts.Item, now int64) *question {
	id := string(i.ID)
	s.asked.Lock()
	defer s.asked.Unlock()
	if q := s.questions[id]; q != nil {
		return q
	}
	q := &question{done: make(chan struct{})}
	q.past.from, q.past.to = plotSpan(i, now)
	s.questions[id] = q
	from, to, began := q.past.from, q.past.to, time.Now()
	go func() { // ends when the history had its time, which is none where there is no history
		q.past = s.pastOf(context.WithoutCancel(ctx), i, from, to+1)
		q.past.from, q.past.to = from, to
		s.slow.Store(time.Since(began) > s.options.HistoryAtOnce)
		close(q.done)
	}()
	time.AfterFunc(s.options.HistoryWithin+questionKept, func() { s.forget(id, q) })
	return q
}

// forget makes the next who asks ask anew.
func (s *Server) forget(id string, q *question) {
	s.asked.Lock()
	defer s.asked.Unlock()
	if s.questions[id] == q {
		delete(s.questions, id)
	}
}

// answered returns what was answered by a time; nil where nothing was, and then whoever
// asks next finds it. Where the last answer took longer than a page waits, this one does
// not wait at all.
func (s *Server) answered(id string, q *question, by <-chan time.Time) *past {
	if !s.slow.Load() {
		select {
		case <-q.done:
		case <-by:
		}
	}
	select {
	case <-q.done:
		s.forget(id, q)
		return &q.past
	default:
		return nil
	}
}

// The bounds of what a page asks the history for: a picture of a month, and as many
// questions at a time as it answers without making all of them wait.
const (
	pastPayments = 500
	pastAtOnce   = 8
)

// pastOf asks the history what is around an alert. It waits for the answer no longer
// than Options.HistoryWithin: a page without it is better than none.
func (s *Server) pastOf(ctx context.Context, i *alerts.Item, from, to int64) past {
	store := s.options.History
	if store == nil {
		return past{missing: "This desk was given no history, so it knows alerts alone, and not what else was paid: weir desk --history URL names one."}
	}
	p, err := ask(ctx, s, func(ctx context.Context) (past, error) { return s.askPast(ctx, store, i, from, to), nil })
	if err != nil {
		return past{missing: pastLate}
	}
	return p
}

// errLate is of a history that did not answer in time.
var errLate = errors.New("the history did not answer in time")

// ask asks the history something, and waits for its answer no longer than
// Options.HistoryWithin.
func ask[T any](ctx context.Context, s *Server, question func(context.Context) (T, error)) (T, error) {
	// The store may not look at the context while it dials, so it is waited for apart.
	ctx, cancel := context.WithTimeout(ctx, s.options.HistoryWithin)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	var none T
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		return none, errLate
	}
	answers := make(chan answer, 1)
	go func() { // ends when the store gives up, which the context tells it to
		defer func() { <-s.asking }()
		value, err := question(ctx)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, errLate
	}
}

const (
	pastLate   = "The history did not answer in time, so payments that raised no alert are not shown. Load the page anew in a while; if it stays so, tell whoever runs weir."
	pastAway   = "The history could not be read, so payments that raised no alert are not shown. The desk's log says why. Nothing is lost: load the page anew in a while."
	pastNone   = "There is no history yet, so payments that raised no alert are not shown: weir record writes it, and then it is here."
	pastBehind = "The history does not have this payment, so others around it may be missing too. It may be written in a moment: load the page anew. If it stays so, the history is behind, or does not go back so far."
)

// has reports whether an alert's own payment is there, or older than the oldest that was
// asked for.
func (p *past) has(i *alerts.Item) bool {
	if n := len(p.payments); n == pastPayments && p.payments[n-1].Tx.Time >= i.Tx.Time {
		return true
	}
	return slices.ContainsFunc(p.payments, func(x history.Payment) bool { return x.Shard == i.Shard && x.Offset == i.Offset })
}

func (s *Server) askPast(ctx context.Context, store history.Lookup, i *alerts.Item, from, to int64) (p past) {
	entity, value := i.Case()
	var err, daysErr error
	var both sync.WaitGroup // a store takes most of its time to begin, so both begin at once
	if field := otherField(i); field != schemas.ID {
		both.Go(func() {
			p.days, daysErr = store.Days(ctx, history.DayQuery{Field: field, Value: string(i.Text[field]), From: startOfDay(from), To: to, Sources: s.options.Sources})
		})
	}
	if entity != schemas.ID {
		p.payments, err = store.Payments(ctx, history.PaymentQuery{Field: entity, Value: value, From: from, To: to, Limit: pastPayments})
	}
	both.Wait()
	switch err = errors.Join(err, daysErr); {
	case err == nil && entity != schemas.ID && !p.has(i):
		p.missing = pastBehind
	case err == nil:
	case errors.Is(err, history.ErrNone):
		p.missing = pastNone
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		p.missing = pastLate
	default:
		s.options.Log.Warn("history away", "alert", string(i.ID), "cause", err)
		p.missing = pastAway
	}
	return p
}

const dayMs = 24 * int64(time.Hour/time.Millisecond)

func startOfDay(ms int64) int64 { return ms - ((ms%dayMs)+dayMs)%dayMs }

// otherField is by which field whoever gets the money is known; ID where by none.
func otherField(i *alerts.Item) schemas.TextField {
	for _, f := range []schemas.TextField{schemas.Merchant, schemas.Counterparty} {
		if len(i.Text[f]) > 0 {
			return f
		}
	}
	return schemas.ID
}

// A mark is one payment in the picture and the timeline: of the history, of the alerts,
// or of both.
type mark struct {
	id           string // of its alert, and of its place in the ledger
	at           int64
	tx           schemas.Transaction
	currency, to string
	prob         float32
	item         *alerts.Item // nil where it raised no alert
	this         bool
	known        schemas.Label // what counts of what is known
	labels       []schemas.Label
}

// fraud reports whether it is known to be one, by a label or an analyst.
func (m *mark) fraud() bool {
	return m.known.Verdict == schemas.LabelFraud || m.item != nil && m.item.Status == alerts.Fraud
}

// marks puts the history's payments and the alerts together, the newest first, for the
// reader of a context: what became known of a payment may be the verdict that is kept from
// them.
func (s *Server) marks(ctx context.Context, p *past, related []alerts.Item, this *alerts.Item) []mark {
	var list []mark
	at := make(map[string]int)
	for k := range p.payments {
		x := &p.payments[k]
		if !moves(x.Verdict) {
			continue
		}
		m := mark{id: string(schemas.AppendAlertID(nil, x.Shard, x.Offset)), at: x.Tx.Time, tx: x.Tx, currency: x.Text[schemas.Currency], prob: x.Prob}
		if len(x.Labels) > 0 && !s.options.View.Hides(ctx, m.id) {
			m.labels, m.known = x.Labels, history.Winner(x.Labels, s.options.Sources)
		}
		if m.to = x.Text[schemas.Merchant]; m.to == "" {
			m.to = x.Text[schemas.Counterparty]
		}
		at[m.id] = len(list)
		list = append(list, m)
	}
	for k := range related {
		o := &related[k]
		n, ok := at[string(o.ID)]
		if !ok {
			n = len(list)
			list = append(list, mark{id: string(o.ID), at: o.Tx.Time, tx: o.Tx, currency: string(o.Text[schemas.Currency]), to: otherSide(o), prob: o.Prob})
		}
		list[n].item, list[n].this = o, string(o.ID) == string(this.ID)
	}
	return list
}

// moves reports whether a decision is of a payment: what was only folded, came twice or
// could not be read is none.
func moves(v schemas.Verdict) bool {
	return v.Outcome <= schemas.Degraded || v.Outcome == schemas.Unscored && v.Flags&schemas.FoldOnly == 0
}
