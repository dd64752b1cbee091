package desk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// relatedMax is how many alerts of an entity a case shows.
const relatedMax = 100

// plotDays is over how many days the picture of a case goes.
const plotDays = 30

// casePage is what case.html shows.
type casePage struct {
	Note                                 string // what came of the action before
	ID, Amount, Who, Merchant, Channel   string
	Time, Clock, Ago                     string
	Likely, Prob, State, Class, Label    string
	Age, Within, Left, Until             string
	Late, Quick, Open, Mine, MayEscalate bool
	Works, May                           bool   // who looks at it acts on alerts, and may on this one
	Owner                                string // who works on it
	UndoMs                               int64  // for how long the last action can be undone; 0 if it cannot
	Next                                 string // the page of the best alert besides, "" where there is none
	Reasons                              []reasonRow
	NoReasons                            string
	Past                                 pastPart
	Related                              []relatedGroup
	Facts                                []fact
	Codes                                []reasonCode
	Snoozes                              any
	Previous                             string
	Lead                                 bool   // the reader may assign it
	Other                                string // the other verdict, which the reader may settle it as
}

// reasonRow is one group of features that moved the score.
type reasonRow struct {
	Group   string
	Words   []string
	Width   int // of the bar, in hundredths of the widest
	Share   string
	Against bool
}

type fact struct{ Name, Value string }

// A reasonCode is why somebody closes an alert, as the desk's list has it.
type reasonCode struct{ Code, Words string }

var reasonCodes = []reasonCode{
	{"customer_denies", "customer says it was not them"}, {"card_lost", "card lost or stolen"}, {"account_taken", "account taken over"},
	{"merchant_compromised", "merchant or terminal compromised"}, {"card_testing", "card testing"},
	{"customer_confirms", "customer says it was them"}, {"usual_for_customer", "usual for this customer"}, {"merchant_error", "merchant's mistake"},
}

// otherSide is who gets the money: a merchant, or whose account it goes to.
func otherSide(i *alerts.Item) string {
	return cmp.Or(string(i.Text[schemas.Merchant]), string(i.Text[schemas.Counterparty]))
}

// errNoAlert is of an address that names none.
func errNoAlert(id string) error {
	return problemf(http.StatusNotFound, "There is no alert %.40q. The link may be mistyped, or of another weir. If the desk was started just now, it may not have read of it yet: load the page again in a minute.", schemas.HideCards([]byte(id)))
}

// find returns an alert as it stands, to act on it; what is shown of one is in item.
func (s *Server) find(r *http.Request, id string) (alerts.Item, error) {
	return s.lookUp(alerts.Unblinded(r.Context()), id)
}

// lookUp returns an alert.
func (s *Server) lookUp(ctx context.Context, id string) (alerts.Item, error) {
	i, err := s.options.View.Item(ctx, id)
	if errors.Is(err, alerts.ErrNoAlert) {
		return i, errNoAlert(id)
	}
	if err != nil {
		return i, fmt.Errorf("read the alert: %w", err)
	}
	return i, nil
}

// item returns the alert that a path names, to be shown with all that was said of it:
// errBlind where it waits for the reader's second look.
func (s *Server) item(r *http.Request) (alerts.Item, error) {
	i, err := s.lookUp(r.Context(), r.PathValue("id"))
	if err == nil && i.Status == alerts.InSecondLook {
		err = errBlind
	}
	return i, err
}

// errBlind is of an alert whose verdict is not shown yet.
var errBlind = problemf(http.StatusConflict, "This alert waits for your second look, so what was said of it is not shown before you have given your verdict: /second-looks has it.")

// alert shows one alert, and what is known around it.
func (s *Server) alert(w http.ResponseWriter, r *http.Request) error {
	i, err := s.item(r)
	if errors.Is(err, errBlind) {
		to := url.URL{Path: "/second-looks/" + r.PathValue("id"), RawQuery: r.URL.RawQuery} // which says why an action did not count
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	p, err := s.casePage(r, &i)
	if err != nil {
		return fmt.Errorf("read around alert %s: %w", i.ID, err)
	}
	return s.page(w, r, http.StatusOK, "case", p)
}

// agoMax is how long after its payment an alert may be raised for the two to be of one
// time: payments come late by days at most.
const agoMax = 7 * 24 * time.Hour

// agoOf is how long ago the payment was; empty of a stream that is replayed or simulated,
// whose payments were years ago although its alerts are new.
func agoOf(i *alerts.Item, now int64) string {
	if time.Duration(i.Raised-i.Tx.Time)*time.Millisecond > agoMax {
		return ""
	}
	return ago(i.Tx.Time, now)
}

// casePage gathers what is shown of an alert. The history is asked first and waited for
// last, and no longer than Options.HistoryAtOnce.
func (s *Server) casePage(r *http.Request, i *alerts.Item) (casePage, error) {
	now, u := s.options.Now().UnixMilli(), s.user(r)
	asked, enough := s.question(r.Context(), i, now), time.NewTimer(s.options.HistoryAtOnce)
	defer enough.Stop()
	who := u.Name
	status := i.At(now)
	waits := time.Duration(now-i.Raised) * time.Millisecond
	entity, value := i.Case()
	p := casePage{Note: told(r.URL.Query().Get("told"), i, who, now), ID: string(i.ID), Amount: money(i.Tx.Amount, string(i.Text[schemas.Currency])),
		Who: value, Merchant: otherSide(i), Channel: string(i.Text[schemas.Channel]),
		Time: fullTime(i.Tx.Time), Clock: clock(i.Tx.Time, now), Ago: agoOf(i, now), Label: labelWords(i),
		Likely: likely(i.Prob), Prob: percent(i.Prob), State: statusWords(i.State, now), Class: status.String(),
		Age: span(max(waits, 0)), Within: span(s.within()), Until: fullTime(i.Raised + s.within().Milliseconds()),
		Quick: i.Quick, Open: !status.Closed(), Mine: i.Owner == who, MayEscalate: !i.Escalated,
		Works: u.Roles.Any(workers), May: mayDecide(u, i, now), Owner: i.Owner, Reasons: reasonRows(i.Reasons), NoReasons: withoutReasons(i),
		Codes: reasonCodes, Snoozes: snoozes, Previous: i.Last}
	p.Left, p.Late = left(waits, s.within())
	if i.Before != nil && i.LastBy == who {
		p.UndoMs = max(0, i.LastAt+alerts.UndoMs-now)
	}
	if u.Roles.Any(Roles(Supervisor)) {
		p.Lead = p.Open
		p.Other = map[alerts.Status]string{alerts.Fraud: "genuine", alerts.Genuine: "fraud"}[status]
	}
	if err := s.besides(r, i, &p); err != nil {
		return p, err
	}
	p.Facts = factsOf(i)
	var err error
	if p.Related, err = s.related(r.Context(), i, entity, now); err != nil {
		return p, err
	}
	p.Past, err = s.pastPart(r.Context(), i, s.answered(p.ID, asked, enough.C), now)
	return p, err
}

// besides finds the alert that whoever works on this one would be given next, so that a
// browser can have it before it is asked for.
func (s *Server) besides(r *http.Request, i *alerts.Item, p *casePage) error {
	if !p.Works {
		return nil
	}
	next, err := s.options.View.Best(r.Context(), alerts.Filter{}, s.options.Now().UnixMilli(), string(i.ID))
	switch {
	case err == nil:
		p.Next = "/alerts/" + string(next.ID)
	case errors.Is(err, alerts.ErrNoAlert):
		return nil
	}
	return err
}

// reasonRows are the reasons as bars, the widest one whole.
func reasonRows(reasons []schemas.AlertReason) (rows []reasonRow) {
	most := float32(0)
	for _, r := range reasons {
		most = max(most, r.Logit, -r.Logit)
	}
	for _, r := range reasons {
		row := reasonRow{Group: string(r.Group), Against: r.Logit < 0, Share: "moves the odds " + factor(r.Logit)}
		if most > 0 {
			row.Width = int(100 * max(r.Logit, -r.Logit) / most)
		}
		for _, w := range r.Words {
			row.Words = append(row.Words, string(w))
		}
		rows = append(rows, row)
	}
	return rows
}

// withoutReasons says why an alert has no reasons of a model.
func withoutReasons(i *alerts.Item) string {
	switch {
	case i.Verdict.Outcome == schemas.Unscored:
		return "Not scored: " + i.Verdict.Reason.String() + "."
	case i.Verdict.Outcome == schemas.Degraded:
		return "No model could score it; the rules decided (" + i.Verdict.Reason.String() + ")."
	case i.ReviewProb > 0 && i.Score < i.Threshold:
		return "Drawn at random, to see what the model does not."
	}
	return "The model gave no reasons."
}

// factsOf lists all that the alert says of the transaction.
func factsOf(i *alerts.Item) (list []fact) {
	for f, text := range i.Text {
		if len(text) > 0 {
			list = append(list, fact{schemas.TextField(f).String(), string(text)})
		}
	}
	number := func(name string, x float32) {
		list = append(list, fact{name, strconv.FormatFloat(float64(x), 'g', -1, 32)})
	}
	list = append(list, fact{"type", i.Tx.Type.String()}, fact{"status", i.Tx.Status.String()}, fact{"outcome", i.Verdict.Outcome.String()}, fact{"action", i.Action.String()})
	number("score", i.Score)
	number("probability", i.Prob)
	number("threshold", i.Threshold)
	number("rank", i.Rank)
	number("review probability", i.ReviewProb)
	return append(list, fact{"bundle", strconv.FormatUint(i.Bundle, 16)},
		fact{"ledger", "partition " + strconv.Itoa(int(i.Shard)) + ", offset " + strconv.FormatInt(i.Offset, 10)},
		fact{"source", "partition " + strconv.Itoa(int(i.Source.Partition)) + ", offset " + strconv.FormatInt(i.Source.Offset, 10)})
}
