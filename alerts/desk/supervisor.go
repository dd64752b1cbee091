package desk

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// overviewDays is how many days the charts of the supervisor's page go back.
const overviewDays = 30

// giveMax is how many cases of the queue are given to somebody at once.
const giveMax = 25

// eachMax is how many alerts one form acts on: each is a record that is waited for, and
// a browser waits for them all.
const eachMax = 200

// supervisorRoutes are those of the supervisor's page.
func (s *Server) supervisorRoutes() []route {
	read, acts := Roles(Supervisor, Auditor), Roles(Supervisor)
	return []route{
		{pattern: "GET /supervisor", roles: read, handle: s.supervisor, of: address, nav: "Supervisor"},
		{pattern: "POST /supervisor", roles: read, handle: s.searchTeam},
		{pattern: "GET /supervisor/people/{name}", roles: read, handle: s.person, of: address},
		{pattern: "POST /supervisor/assign", roles: acts, handle: s.assign},
		{pattern: "POST /supervisor/release", roles: acts, handle: s.release},
		{pattern: "POST /supervisor/verdict", roles: acts, handle: s.verdict},
	}
}

// supervisorPage is what supervisor.html shows.
type supervisorPage struct {
	Note                             string
	Acts                             bool // the reader may act, and not only look
	Open, Claimed, Late, LateSnoozed string
	Within                           string
	Oldest                           moment
	Proposed, Disputed               []verdictRow
	MoreProposed, MoreDisputed       int
	Backlog, Precision, Caught, Lost *chart
	Ages                             []ageRow
	Days                             []dayRow
	Team                             team
	Give                             giveForm
	Looks, Kappa, Agree              string
	Agreement                        alerts.Agreement
	AgreementDays                    int
}

// verdictRow is an alert that waits for a supervisor's word.
type verdictRow struct {
	ID, Amount, Who, Merchant, Previous string
	First, Second                       string // who said what
	Age, Since                          string
	Fraud                               bool // what was proposed
	Own                                 bool // it waits for another than the reader
}

type ageRow struct {
	Age string
	alerts.Band
}

type dayRow struct{ Day, Closed, Fraud, Share, Late, Caught string }

// supervisorTold is what the page says after an action, by the word in its address.
var supervisorTold = map[string]string{
	"given": "Given: %d.", "taken": "Taken back: %d.", "done": "Done.",
	"none": "Nothing of it could be done: others were faster, or nothing is left. This is how it stands now.",
}

// note is what came of the action before.
func note(q url.Values) string {
	text, word := supervisorTold[q.Get("told")], q.Get("told")
	if n, err := strconv.Atoi(q.Get("n")); err == nil && strings.Contains(text, "%d") {
		return fmt.Sprintf(text, n)
	}
	if text == "" || strings.Contains(text, "%d") {
		return whyWords[word]
	}
	return text
}

// supervisor shows how the desk does, and what waits for a supervisor's word.
func (s *Server) supervisor(w http.ResponseWriter, r *http.Request) error {
	now, u := s.options.Now().UnixMilli(), s.user(r)
	o, err := s.options.View.Overview(r.Context(), now, overviewDays)
	var users []User
	if err == nil {
		users, err = s.options.Accounts.Users(r.Context())
	}
	if err != nil {
		return fmt.Errorf("read the overview: %w", err)
	}
	p := supervisorPage{Note: note(r.URL.Query()), Acts: u.Roles.Any(Roles(Supervisor)), Open: count(o.Figures.Open), Claimed: count(o.Figures.Claimed),
		Late: count(o.Late), Within: span(s.within()), MoreProposed: o.NumProposed - len(o.Proposed), MoreDisputed: o.NumDisputed - len(o.Disputed),
		Agreement: o.Agreement, AgreementDays: alerts.AgreementDays, Looks: count(o.Agreement.Looks())}
	if o.LateSnoozed > 0 {
		p.LateSnoozed = count(o.LateSnoozed)
	}
	p.Oldest = momentOf(o.OldestOpen, now)
	for i := range o.Proposed {
		p.Proposed = append(p.Proposed, proposedRow(&o.Proposed[i], u.Name, now))
	}
	for i := range o.Disputed {
		p.Disputed = append(p.Disputed, disputedRow(&o.Disputed[i], u.Name, now))
	}
	p.charts(&o, s.options.Base)
	p.agreement(o.Agreement)
	p.Team = s.team(&o, users, r.URL.Query(), now)
	p.Give = giveForm{Alert: r.URL.Query().Get("alert"), People: people(users)}
	return s.page(w, r, http.StatusOK, "supervisor", p)
}

func rowOf(i *alerts.Item) verdictRow {
	_, value := i.Case()
	return verdictRow{ID: string(i.ID), Amount: money(i.Tx.Amount, string(i.Text[schemas.Currency])), Who: short(value), Merchant: short(otherSide(i)), Previous: i.Last}
}

func proposedRow(i *alerts.Item, reader string, now int64) verdictRow {
	row := rowOf(i)
	row.Fraud, row.Own = i.Status == alerts.ProposedFraud, i.By == reader
	row.First = i.By + " says " + verdictWord(row.Fraud)
	row.Age, row.Since = span(max(0, time.Duration(now-i.Raised)*time.Millisecond)), fullTime(i.Raised)
	return row
}

func disputedRow(i *alerts.Item, reader string, now int64) verdictRow {
	row := rowOf(i)
	row.First, row.Second = i.Closing.By+" said "+verdictWord(i.Closing.Fraud), i.Review.By+" says "+verdictWord(i.Review.Fraud)
	row.Own = i.Closing.By == reader || i.Review.By == reader
	row.Age, row.Since = span(max(0, time.Duration(now-i.Review.At)*time.Millisecond)), fullTime(i.Review.At)
	return row
}

func verdictWord(fraud bool) string {
	if fraud {
		return "fraud"
	}
	return "genuine"
}

// charts draws the pictures, and writes the tables beneath them.
func (p *supervisorPage) charts(o *alerts.Overview, base string) {
	var ages []string
	kinds := []series{{Name: "open", Class: "open"}, {Name: "claimed", Class: "claimed"}, {Name: "snoozed", Class: "snoozed"}, {Name: "escalated", Class: "escalated"}}
	for i, b := range o.Backlog {
		ages = append(ages, ageWords(i))
		p.Ages = append(p.Ages, ageRow{ages[i], b})
		for k, n := range []int64{b.Open, b.Claimed, b.Snoozed, b.Escalated} {
			kinds[k].Values = append(kinds[k].Values, n)
		}
	}
	p.Backlog = stacks("backlog", "Backlog by age", ages, kinds)
	var precision []share
	var caught, late []float64
	digits, ok := schemas.CurrencyDigits([]byte(base))
	if !ok {
		digits = 2
	}
	for _, d := range o.Days {
		precision = append(precision, share{d.Fraud, d.Closed})
		caught, late = append(caught, float64(d.Caught)), append(late, float64(d.Late))
		row := dayRow{Day: dayName(d.Begins), Closed: count(d.Closed), Fraud: count(d.Fraud), Late: count(d.Late), Caught: money(d.Caught, base)}
		if d.Closed > 0 {
			row.Share = fmt.Sprintf("%.0f %%", 100*float64(d.Fraud)/float64(d.Closed))
		}
		p.Days = append(p.Days, row)
	}
	slices.Reverse(p.Days)
	unit := 1.0
	for range digits {
		unit *= 10
	}
	first := o.Days[0].Begins
	p.Precision = shares("precision", "Closed alerts that were fraud", first, precision)
	p.Caught = bars("caught", "Money caught a day, "+base, first, scaled(caught, unit), "fraud", brief)
	p.Lost = bars("late", "Closed late a day", first, late, "late", brief)
}

func scaled(values []float64, unit float64) []float64 {
	for i := range values {
		values[i] /= unit
	}
	return values
}

// ageWords names a band of ages.
func ageWords(i int) string {
	switch {
	case i == 0:
		return "under " + span(alerts.Ages[0])
	case i == len(alerts.Ages):
		return "over " + span(alerts.Ages[i-1])
	}
	return "to " + span(alerts.Ages[i])
}

// agreement says how far two who look at the same alert say the same.
func (p *supervisorPage) agreement(a alerts.Agreement) {
	if a.Looks() == 0 {
		return
	}
	p.Agree, p.Kappa = fmt.Sprintf("%.0f %%", 100*a.Share()), "not defined: all of one kind"
	if k := a.Kappa(); k == k {
		p.Kappa = strconv.FormatFloat(k, 'f', 2, 64)
	}
}

// assign gives somebody one alert, or the open alerts of the best cases of the queue.
func (s *Server) assign(w http.ResponseWriter, r *http.Request) error {
	users, err := s.options.Accounts.Users(r.Context())
	if err != nil {
		return err
	}
	to := r.PostFormValue("to")
	if !slices.ContainsFunc(users, func(u User) bool { return u.Name == to && works(&u) }) {
		return problemf(http.StatusBadRequest, "Alerts are given to an analyst or a supervisor whose account is not disabled. Choose one of the list, or write the account's name as the page of the team has it.")
	}
	var list []alerts.Item
	if id := strings.TrimSpace(r.PostFormValue("alert")); id != "" {
		i, err := s.find(r, id)
		if err != nil {
			return err
		}
		list = append(list, i)
	} else if list, err = s.bestCases(r); err != nil {
		return err
	}
	return s.each(w, r, list, backTo(r), "given", schemas.Disposition{Kind: schemas.Assigned, To: []byte(to)})
}

// bestCases are the open alerts of the first cases of the queue: ten alerts of one card
// are one piece of work, and are not torn apart.
func (s *Server) bestCases(r *http.Request) (list []alerts.Item, err error) {
	n, err := strconv.Atoi(r.PostFormValue("n"))
	if err != nil || n < 1 || n > giveMax {
		return nil, problemf(http.StatusBadRequest, "Give 1 to %d cases at once, or one alert by its id.", giveMax)
	}
	now, open := s.options.Now().UnixMilli(), alerts.Filter{Statuses: []alerts.Status{alerts.Open}}
	cases, _, err := s.options.View.Queue(r.Context(), open, now, "", n)
	for i := range cases {
		f := open
		f.Entity, f.EntityValue = cases[i].Entity, cases[i].Value
		var part []alerts.Item
		if part, _, err = s.options.View.Items(r.Context(), f, now, "", relatedMax); err != nil {
			return nil, err
		}
		// An alert may name a card that is of another case, where it has a customer alone.
		list = append(list, slices.DeleteFunc(part, func(x alerts.Item) bool {
			entity, value := x.Case()
			return entity != cases[i].Entity || value != cases[i].Value
		})...)
	}
	return list, err
}

// release takes alerts back from whoever has them.
func (s *Server) release(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done.")
	}
	var list []alerts.Item
	for _, id := range r.PostForm["alert"] {
		i, err := s.find(r, id)
		if err != nil {
			return err
		}
		if i.Owner != "" {
			list = append(list, i)
		}
	}
	return s.each(w, r, list, backTo(r), "taken", schemas.Disposition{Kind: schemas.Released})
}

// backTo is the page that a form was on: the supervisor's, or that of somebody of the team.
func backTo(r *http.Request) string {
	if name := r.PostFormValue("of"); name != "" {
		return "/supervisor/people/" + url.PathEscape(name)
	}
	return "/supervisor"
}

// each does one thing with many alerts, eachMax at most, as they were when they were
// read. Those that somebody acts on meanwhile are left to them.
func (s *Server) each(w http.ResponseWriter, r *http.Request, list []alerts.Item, to, word string, d schemas.Disposition) error {
	done := 0
	list = list[:min(len(list), eachMax)]
	for i := range list {
		x := &list[i]
		d.AlertID, d.TxID, d.Previous = x.ID, x.Text[schemas.ID], []byte(x.Last)
		d.By, d.At = []byte(s.user(r).Name), s.options.Now().UnixMilli()
		err := s.send(r, x, d)
		var void voidError
		switch {
		case errors.As(err, &void):
		case err != nil && done > 0:
			return problemf(http.StatusServiceUnavailable, "%d of %d were done, and then the log did not answer. Look at the page again in a minute, and do the rest.", done, len(list))
		case err != nil:
			return err
		default:
			done++
		}
	}
	if done == 0 {
		word = "none"
	}
	http.Redirect(w, r, to+"?told="+word+"&n="+strconv.Itoa(done), http.StatusSeeOther)
	return nil
}

// verdict agrees to a proposal, or settles which of two verdicts holds.
func (s *Server) verdict(w http.ResponseWriter, r *http.Request) error {
	kind, _ := schemas.ParseDispositionKind(r.PostFormValue("kind"))
	switch kind {
	case schemas.ClosedFraud, schemas.ClosedGenuine, schemas.SettledFraud, schemas.SettledGenuine:
	default:
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done.")
	}
	id := r.PostFormValue("alert")
	i, err := s.find(r, id)
	if err == nil {
		err = s.do(r, &i, schemas.Disposition{Kind: kind, Note: []byte(r.PostFormValue("note")), Previous: []byte(r.PostFormValue("previous"))})
	}
	word := "done"
	var void voidError
	if errors.As(err, &void) {
		word, err = whyNot(void.error), nil
	}
	if err != nil {
		return err
	}
	to := "/supervisor"
	if r.PostFormValue("from") == "case" {
		to = "/alerts/" + url.PathEscape(id)
	}
	http.Redirect(w, r, to+"?told="+word, http.StatusSeeOther)
	return nil
}
