package desk

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// queueRows is how many cases a page shows: what an analyst scrolls through.
const queueRows = 50

// queuePage is what queue.html shows.
type queuePage struct {
	Figures         alerts.Figures
	Open            string // how many are open
	Oldest, Newest  moment // how long the oldest waits; when the last one came, where none does
	States, Reasons []choice
	Query           struct{ Min, Amount, Channel, Text string }
	Filtered        bool
	Behind          string // why what is shown may be old; empty where it is not
	Looks           int    // second looks that wait for the reader
	Here, After     string // this page, and the one behind it
	Cases           []queueRow
	Views           viewsBar
}

// choice is one of a list that a filter offers.
type choice struct {
	Value, Name string
	Here        bool
}

type queueRow struct {
	ID, Amount, Entity, Who, Merchant string
	Alerts                            int
	Likely, Prob, Why, State, Class   string
	Percent                           int
	Age, Left, Raised, Until          string // how long it has waited, and how long it may
	Late                              bool
}

// queueState is one of them.
type queueState struct {
	value, name string
	set         func(*alerts.Filter)
}

// queueStates are what the filter of states offers.
var queueStates = []queueState{
	{"", "to be done", func(*alerts.Filter) {}},
	{"open", "nobody's", func(f *alerts.Filter) { f.Statuses = []alerts.Status{alerts.Open} }},
	{"claimed", "being worked on", func(f *alerts.Filter) { f.Statuses = []alerts.Status{alerts.Claimed} }},
	{"snoozed", "put off", func(f *alerts.Filter) { f.Statuses = []alerts.Status{alerts.Snoozed} }},
	{"escalated", "escalated", func(f *alerts.Filter) { yes := true; f.Escalated = &yes }},
	{"proposed", "waits for a second person", func(f *alerts.Filter) {
		f.Statuses = []alerts.Status{alerts.ProposedFraud, alerts.ProposedGenuine}
	}},
	{"fraud", "closed as fraud", func(f *alerts.Filter) { f.Statuses = []alerts.Status{alerts.Fraud} }},
	{"genuine", "closed as genuine", func(f *alerts.Filter) { f.Statuses = []alerts.Status{alerts.Genuine} }},
}

// filterOf reads a filter from a page's query. What cannot be read filters nothing,
// and is shown as it was written.
func (s *Server) filterOf(q url.Values) (f alerts.Filter, filtered bool) {
	for _, state := range queueStates {
		if q.Get("status") == state.value {
			state.set(&f)
			filtered = filtered || state.value != ""
		}
	}
	if p, err := strconv.ParseFloat(q.Get("min"), 64); err == nil && p > 0 && p <= 100 {
		f.ProbMin, filtered = p/100, true
	}
	if a, err := strconv.ParseFloat(q.Get("amount"), 64); err == nil && a > 0 && a < 1e15 {
		digits, ok := schemas.CurrencyDigits([]byte(s.options.Base))
		if !ok {
			digits = 2
		}
		f.AmountMin, filtered = int64(math.Round(a*math.Pow10(digits))), true
	}
	for _, x := range []struct {
		to  *string
		key string
	}{{&f.Reason, "reason"}, {&f.Channel, "channel"}, {&f.Text, "text"}, {&f.EntityValue, "value"}} {
		*x.to = q.Get(x.key)
		filtered = filtered || *x.to != ""
	}
	if e, ok := schemas.ParseTextField(q.Get("entity")); ok {
		f.Entity = e
	}
	return f, filtered
}

// errCard is of a search for a card number: it would be in the browser's history, and
// alerts do not hold it.
var errCard = problemf(http.StatusBadRequest, "That looks like a card number. Alerts hold none, only the card's token: search for that, or for the customer. Nothing was kept of what you wrote.")

// search leads to the queue behind a filter, which comes in a form's body, so that a
// card number that somebody pastes gets into no address.
func (s *Server) search(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problemf(http.StatusBadRequest, "The form was not understood. Load the queue anew and try again.")
	}
	q := url.Values{}
	for _, key := range []string{"status", "min", "amount", "reason", "channel", "text"} {
		v := r.PostForm.Get(key)
		if hidden := schemas.HideCards([]byte(v)); string(hidden) != v {
			return errCard
		}
		if v != "" {
			q.Set(key, v)
		}
	}
	if len(q) == 0 {
		q.Set("status", "") // and not the view that the queue begins with
	}
	http.Redirect(w, r, "/queue?"+q.Encode(), http.StatusSeeOther)
	return nil
}

// queue shows the open alerts, a line each entity.
func (s *Server) queue(w http.ResponseWriter, r *http.Request) error {
	now, q := s.options.Now().UnixMilli(), r.URL.Query()
	for _, v := range q { // of an address that somebody made by hand
		if text := strings.Join(v, " "); shownText([]byte(text)) != text {
			return errCard
		}
	}
	var p queuePage
	var err error
	if p.Views, err = s.viewsBar(r); err != nil || s.beginsWith(w, r, &p.Views) {
		return err
	}
	var f alerts.Filter
	f, p.Filtered = s.filterOf(q)
	p.Query.Min, p.Query.Amount, p.Query.Channel, p.Query.Text = q.Get("min"), q.Get("amount"), q.Get("channel"), q.Get("text")
	for _, c := range queueStates {
		p.States = append(p.States, choice{c.value, c.name, c.value == q.Get("status")})
	}
	for _, name := range s.options.Groups {
		p.Reasons = append(p.Reasons, choice{name, name, name == q.Get("reason")})
	}
	cases, after, err := s.options.View.Queue(r.Context(), f, now, alerts.Cursor(q.Get("after")), queueRows)
	if err == nil {
		p.Figures, err = s.options.View.Figures(r.Context(), now)
	}
	if err != nil {
		return errQueue(err, f.Text)
	}
	if s.user(r).Roles.Any(workers) {
		_, p.Looks = s.options.View.SecondLook(s.user(r).Name, now)
	}
	p.Behind = s.options.Desk.Behind()
	p.Open = grouped(strconv.FormatInt(p.Figures.Open, 10))
	p.Oldest, p.Newest = momentOf(p.Figures.OldestOpen, now), momentOf(p.Figures.Newest, now)
	p.Here = "/queue?" + q.Encode()
	if after != "" {
		q.Set("after", string(after))
		p.After = "/queue?" + q.Encode()
	}
	for _, c := range cases {
		p.Cases = append(p.Cases, s.queueRow(&c, s.user(r).Name, now))
	}
	return s.page(w, r, http.StatusOK, "queue", p)
}

// errQueue says why a queue cannot be shown.
func errQueue(err error, text string) error {
	switch {
	case errors.Is(err, alerts.ErrWide):
		return problemf(http.StatusBadRequest, "Too many tokens and ids begin with %q. Type more letters of the one that you look for.", short(text))
	case errors.Is(err, alerts.ErrCursor):
		return problemf(http.StatusBadRequest, "The address of this page was not understood. Open the queue from its beginning.")
	}
	return fmt.Errorf("read the queue: %w", err)
}

// queueRow is the line of a case, for who looks at it.
func (s *Server) queueRow(c *alerts.Case, who string, now int64) queueRow {
	best := &c.Best
	row := queueRow{ID: string(best.ID), Amount: money(best.Tx.Amount, string(best.Text[schemas.Currency])), Entity: c.Entity.String(), Who: short(c.Value),
		Merchant: short(otherSide(best)), Alerts: c.Alerts, Likely: likely(best.Prob), Prob: percent(best.Prob), Percent: percentOf(best.Prob),
		State: statusWords(best.State, now), Class: best.At(now).String(), Raised: fullTime(c.Oldest)}
	if len(best.Reasons) > 0 && len(best.Reasons[0].Words) > 0 {
		row.Why = string(best.Reasons[0].Words[0])
	} else {
		row.Why = withoutReasons(best)
	}
	waits := time.Duration(now-c.Oldest) * time.Millisecond
	row.Age, row.Until = span(max(waits, 0)), fullTime(c.Oldest+s.within().Milliseconds())
	row.Left, row.Late = left(waits, s.within())
	if best.At(now) == alerts.Claimed && best.Owner == who {
		row.State = "yours"
	}
	return row
}

// percentOf is a probability as a meter takes it.
func percentOf(p float32) int {
	if p != p {
		return 0
	}
	return int(math.Round(float64(p) * 100))
}

// short is a token or an id as a line has room for it; the page of the case has all.
func short(value string) string {
	if len(value) > 20 {
		return value[:9] + "…" + value[len(value)-6:]
	}
	return value
}
