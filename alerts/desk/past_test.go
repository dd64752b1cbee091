package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
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
	id := f.raise("card-a", "shop", 1000, .9)
	ann := f.analyst("ann", Analyst)
	for _, path := range []string{"", "/history"} {
		page := ann.get("/alerts/" + id + path)
		inert(t, path, page.body)
		if page.shows(t, "&lt;script&gt;alert(1)"); strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "4111111111111111") {
			t.Error(page.body)
		}
	}
}

// TestAPageDoesNotWaitForTheHistory has one that does not answer, one that fails, and
// none: the page shows what the view knows, and where it did not wait, what the history
// adds is behind a link, which says what is missing once the history had its time.
func TestAPageDoesNotWaitForTheHistory(t *testing.T) {
	f := newFloor(t)
	f.raise("card-a", "shop", 1200, .4)
	id := f.raise("card-a", "shop", 90000, .9)
	ann := f.analyst("ann", Analyst)
	ann.get("/alerts/"+id).is(t, http.StatusOK, "weir desk --history URL", "Amounts of the alerts")
	past := &fakePast{hold: make(chan struct{})}
	f.server.options.History, f.server.options.HistoryAtOnce, f.server.options.HistoryWithin = past, time.Millisecond, 2*time.Millisecond
	for range pastAtOnce + 3 { // also once all who may ask wait
		ann.get("/alerts/"+id).is(t, http.StatusOK, "This one: 900.00 EUR", "This alert was raised", "Fraud <kbd>f</kbd>")
		ann.get("/alerts/"+id+"/history").is(t, http.StatusOK, "did not answer in time", "Amounts of the alerts", "This one: 900.00 EUR")
	}
	close(past.hold)
	f.server.options.HistoryAtOnce, f.server.options.HistoryWithin = time.Minute, time.Minute
	for _, path := range []string{"", "/history"} {
		ann.get("/alerts/"+id+path).is(t, http.StatusOK).lacks(t, "in time")
	}
	f.server.options.History = &fakePast{err: errors.New("disk on fire")}
	for _, path := range []string{"", "/history"} {
		ann.get("/alerts/"+id+path).is(t, http.StatusOK, "could not be read", "Amounts of the alerts").lacks(t, "fire")
	}
	if !strings.Contains(f.world.log.String(), "disk on fire") {
		t.Errorf("the log does not tell the cause: %s", f.world.log.String())
	}
}

// TestWhatComesLaterIsLoadedApart has a history that answers only once the page is there.
// What the page names, by a link that needs no script, is then what it would have shown,
// without a second question; it is audited as what it is.
func TestWhatComesLaterIsLoadedApart(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 90000, .9)
	ann, aud := f.analyst("ann", Analyst), f.analyst("aud", Auditor)
	past := &fakePast{hold: make(chan struct{}), asked: make(chan history.PaymentQuery, 9), payments: []history.Payment{f.payment(2, 1234, "grocer")}, days: []history.Day{}}
	f.server.options.History, f.server.options.HistoryAtOnce, f.server.options.HistoryWithin = past, time.Millisecond, time.Minute
	page := ann.get("/alerts/"+id).is(t, http.StatusOK, "still being looked up").lacks(t, "12.34 EUR", "<svg class=\"plot\"")
	link := regexp.MustCompile(`<a href="([^"]+)" data-later>`).FindStringSubmatch(page.body)
	if link == nil {
		t.Fatal(page.body)
	}
	close(past.hold)
	if a := aud.get(link[1]).is(t, http.StatusOK, `<div id="past">`, "12.34 EUR to grocer", "1 payment without alert", "/alerts/"+id).lacks(t, "being looked up"); a.Header.Get("Content-Security-Policy") != policy {
		t.Errorf("%v", a.Header)
	}
	if e := f.lastEntry(); e.What != schemas.AuditViewed || string(e.Who) != "aud" || string(e.Of) != "/alerts/"+id+"/history" {
		t.Errorf("audited as %+v", e)
	}
	if n := len(past.asked); n != 1 {
		t.Errorf("the history was asked %d times", n)
	}
	// It took so long that the next page does not wait for it, until it is soon again.
	past.hold, f.server.options.HistoryAtOnce = make(chan struct{}), time.Minute
	ann.get("/alerts/"+id).is(t, http.StatusOK, "still being looked up")
	close(past.hold)
	ann.get(link[1]).is(t, http.StatusOK, "12.34 EUR to grocer")
	ann.get("/alerts/"+id).is(t, http.StatusOK, "12.34 EUR to grocer", "1 payment without alert").lacks(t, "being looked up")
	if n := len(past.asked); n != 3 {
		t.Errorf("the history was asked %d times: what is shown is of then", n)
	}
}

// TestAHistoryThatIsBehindSaysSo: a payment without which the history is cannot be its
// newest.
func TestAHistoryThatIsBehindSaysSo(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 90000, .9)
	x, ann := f.item(id), f.analyst("ann", Analyst)
	past := &fakePast{payments: []history.Payment{f.payment(2, 1234, "grocer")}}
	f.server.options.History = past
	const words = "does not have this payment"
	ann.get("/alerts/"+id).is(t, http.StatusOK, words, "12.34 EUR to grocer")
	past.payments = append(past.payments, history.Payment{Shard: x.Shard, Offset: x.Offset, Tx: x.Tx})
	ann.get("/alerts/"+id).is(t, http.StatusOK, "12.34 EUR to grocer").lacks(t, words)
	past.payments = nil
	for k := range int64(pastPayments) { // so many after it that it was not asked for
		past.payments = append(past.payments, history.Payment{Offset: 1000 + k, Tx: schemas.Transaction{Time: x.Tx.Time + pastPayments - 1 - k, Amount: 1, AmountBase: 1}})
	}
	ann.get("/alerts/"+id).is(t, http.StatusOK).lacks(t, words)
}
