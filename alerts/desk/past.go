package desk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// past is what the history says around an alert.
type past struct {
	payments []history.Payment // of the case's entity, the newest first
	days     []history.Day     // of whoever got the money
	missing  string            // what of it is not there, why, and what to do; empty for nothing
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
	pastLate = "The history did not answer in time, so payments that raised no alert are not shown. Load the page anew in a while; if it stays so, tell whoever runs weir."
	pastAway = "The history could not be read, so payments that raised no alert are not shown. The desk's log says why. Nothing is lost: load the page anew in a while."
)

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
		for k := range p.payments {
			// What became known of a payment may be the verdict that is kept from the reader.
			if x := &p.payments[k]; len(x.Labels) > 0 && s.options.View.Hides(ctx, string(schemas.AppendAlertID(nil, x.Shard, x.Offset))) {
				x.Labels = nil
			}
		}
	}
	both.Wait()
	switch err = errors.Join(err, daysErr); {
	case err == nil:
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

// marks puts the history's payments and the alerts together, the newest first.
func (s *Server) marks(p *past, related []alerts.Item, this *alerts.Item) []mark {
	var list []mark
	at := make(map[string]int)
	for k := range p.payments {
		x := &p.payments[k]
		if !moves(x.Verdict) {
			continue
		}
		m := mark{id: string(schemas.AppendAlertID(nil, x.Shard, x.Offset)), at: x.Tx.Time, tx: x.Tx, currency: x.Text[schemas.Currency], prob: x.Prob,
			labels: x.Labels, known: history.Winner(x.Labels, s.options.Sources)}
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
