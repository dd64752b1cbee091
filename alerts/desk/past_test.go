package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// fakePast is a history of which a test says what it answers.
type fakePast struct {
	payments []history.Payment
	days     []history.Day
	err      error
	hold     chan struct{} // answers come once it is closed; nil at once
	asked    chan history.PaymentQuery
}

func (f *fakePast) Record(context.Context, int32, int64) (history.Record, error) {
	return history.Record{}, history.ErrNoRecord
}

// Payments pays no attention to its context, as a store that dials.
func (f *fakePast) Payments(_ context.Context, q history.PaymentQuery) ([]history.Payment, error) {
	select {
	case f.asked <- q:
	default:
	}
	if f.hold != nil {
		<-f.hold
	}
	return f.payments, f.err
}

func (f *fakePast) Days(context.Context, history.DayQuery) ([]history.Day, error) {
	return f.days, f.err
}

// payment is one of a card, some hours before now.
func (f *floor) payment(hours, amount int64, merchant string) history.Payment {
	p := history.Payment{Offset: 1_000_000 + hours, Tx: schemas.Transaction{Time: f.clock().Add(-time.Duration(hours) * time.Hour).UnixMilli(), Amount: amount, AmountBase: amount}}
	p.Text[schemas.ID], p.Text[schemas.Merchant], p.Text[schemas.Currency] = fmt.Sprintf("tx-%d", hours), merchant, "EUR"
	return p
}

// TestTheCaseShowsWhatWasPaid has a card with many payments, known fraud among them,
// and a payment that raised an alert, which the history has too.
func TestTheCaseShowsWhatWasPaid(t *testing.T) {
	f := newFloor(t)
	past := &fakePast{asked: make(chan history.PaymentQuery, 1)}
	f.server.options.History, f.server.options.Sources = past, []schemas.LabelSource{schemas.Analyst, schemas.Chargeback}
	other, id := f.raise("card-a", "shop", 1200, .4), f.raise("card-a", "shop", 90000, .9)
	for k := range int64(pastPayments) {
		past.payments = append(past.payments, f.payment(2+k, 1000+k, "grocer"))
	}
	past.payments[3].Labels = []schemas.Label{{Source: schemas.Chargeback, Verdict: schemas.LabelFraud, Version: 1, KnownAt: f.clock().UnixMilli(), FraudType: []byte("stolen")}}
	past.payments[4].Labels = []schemas.Label{{Source: schemas.Chargeback, Verdict: schemas.LabelFraud, Version: 1}, {Source: schemas.Analyst, Verdict: schemas.LabelGenuine, Version: 1}}
	past.payments[5].Tx.Status = schemas.Declined
	past.payments[6].Verdict.Outcome = schemas.Duplicate
	past.payments[7].Offset, past.payments[7].Tx = 0, schemas.Transaction{Time: f.clock().Add(-time.Minute).UnixMilli(), Amount: 1200, AmountBase: 1200} // the other alert's
	day := startOfDay(f.clock().UnixMilli()) - 3*dayMs
	past.days = []history.Day{{Day: day, Payments: 1400, Frauds: 8}, {Day: day + dayMs, Payments: 600}}
	page := f.analyst("ann", Analyst).do("GET", "/alerts/"+id, nil)
	page.shows(t, "Payments of 30 days", "497 payments without alert", "2 alerts", "1 known to be fraud", "this alert", "usual: half lie between",
		"known by chargeback: fraud (stolen), of the 10.03 EUR to grocer", "10.05 EUR to grocer, declined", "8 of 2,000 payments known to be fraud, 0.4 %", "8 of 1,400 payments known to be fraud",
		"This alert was raised", "/alerts/"+other, "This one: 900.00 EUR to shop", "more payments of the month")
	if n := strings.Count(page.body, `href="/alerts/`+other+`"`); n != 2 {
		t.Errorf("the other alert is linked %d times, want once in the picture and once in the timeline", n)
	}
	if n := len(page.body); n > 60_000 {
		t.Errorf("the page has %d bytes", n)
	}
	q := <-past.asked
	if q.Field != schemas.Card || q.Value != "card-a" || q.To-q.From != plotDays*dayMs+1 || q.To != f.clock().UnixMilli()+1 {
		t.Errorf("asked for %+v", q)
	}
}

// TestPaymentsAreNoMarkup puts markup into what the history says.
func TestPaymentsAreNoMarkup(t *testing.T) {
	f := newFloor(t)
	const evil = `"><script>alert(1)</script>`
	past := &fakePast{payments: []history.Payment{f.payment(2, 100, evil)}}
	past.payments[0].Labels = []schemas.Label{{Source: schemas.Chargeback, Verdict: schemas.LabelFraud, Version: 1, FraudType: []byte(evil + "4111111111111111")}}
	f.server.options.History = past
	page := f.analyst("ann", Analyst).do("GET", "/alerts/"+f.raise("card-a", "shop", 1000, .9), nil)
	if page.shows(t, "&lt;script&gt;alert(1)"); strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "4111111111111111") {
		t.Error(page.body)
	}
}

// TestAPageDoesNotWaitForTheHistory has one that does not answer, one that fails, and
// none: the page shows what the view knows and says what is missing.
func TestAPageDoesNotWaitForTheHistory(t *testing.T) {
	f := newFloor(t)
	f.raise("card-a", "shop", 1200, .4)
	id := f.raise("card-a", "shop", 90000, .9)
	ann := f.analyst("ann", Analyst)
	ann.do("GET", "/alerts/"+id, nil).is(t, http.StatusOK, "weir desk --history URL", "Amounts of the alerts")
	past := &fakePast{hold: make(chan struct{})}
	f.server.options.History, f.server.options.HistoryWithin = past, 2*time.Millisecond
	for range pastAtOnce + 3 { // also once all who may ask wait
		ann.do("GET", "/alerts/"+id, nil).is(t, http.StatusOK, "did not answer in time", "Amounts of the alerts")
	}
	close(past.hold)
	f.server.options.HistoryWithin = time.Minute
	if page := ann.do("GET", "/alerts/"+id, nil).is(t, http.StatusOK); strings.Contains(page.body, "in time") {
		t.Error("a history that is back is not asked")
	}
	f.server.options.History = &fakePast{err: errors.New("disk on fire")}
	page := ann.do("GET", "/alerts/"+id, nil).is(t, http.StatusOK, "could not be read", "Amounts of the alerts")
	if strings.Contains(page.body, "fire") || !strings.Contains(f.world.log.String(), "disk on fire") {
		t.Errorf("the page tells the cause, or the log does not: %s", f.world.log.String())
	}
}
