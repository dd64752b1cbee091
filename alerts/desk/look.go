package desk

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// lookRoutes are those of second looks.
func (s *Server) lookRoutes() []route {
	return []route{
		// Which alert it is going to be is audited where it is shown.
		{pattern: "GET /second-looks", roles: workers, handle: s.looks, of: address, nav: "Second looks"},
		{pattern: "GET /second-looks/{id}", roles: workers, handle: s.look, of: address},
		{pattern: "POST /second-looks/{id}", roles: workers, handle: s.lookAgain},
	}
}

// lookPage is what look.html shows: of an alert only what there was before anybody had
// given a verdict on it.
type lookPage struct {
	Note                               string // what came of the action before
	ID, Amount, Who, Merchant, Channel string
	Time, Clock, Ago                   string
	Likely, Prob                       string
	Reasons                            []reasonRow
	NoReasons                          string
	Plot                               *plot
	Others                             []timelineRow
	Facts                              []fact
	Previous                           string
	// Once the reader has given their verdict: what both said.
	Given         bool
	First, Second string
	Agree         bool
	Waiting       int // for the reader, this one too
}

// looks leads to the next second look, or says that none waits.
func (s *Server) looks(w http.ResponseWriter, r *http.Request) error {
	id, _ := s.options.View.SecondLook(s.user(r).Name, s.options.Now().UnixMilli())
	if id == "" {
		return s.page(w, r, http.StatusOK, "look", lookPage{})
	}
	http.Redirect(w, r, "/second-looks/"+url.PathEscape(id), http.StatusSeeOther)
	return nil
}

// look shows a closed alert to a second person, without what the first one said. Who is
// not to look at it is led to its own page, which then has no more to hide.
func (s *Server) look(w http.ResponseWriter, r *http.Request) error {
	id, who, now := r.PathValue("id"), s.user(r).Name, s.options.Now().UnixMilli()
	i, err := s.find(r, id)
	if err != nil {
		return err
	}
	given := i.Review.By == who
	if !given && !s.options.View.Awaits(id, who, now) && !s.options.View.Hides(r.Context(), id) {
		http.Redirect(w, r, "/alerts/"+url.PathEscape(id), http.StatusSeeOther)
		return nil
	}
	p, err := s.lookPage(r, &i, given)
	if err != nil {
		return fmt.Errorf("read around alert %s: %w", i.ID, err)
	}
	return s.page(w, r, http.StatusOK, "look", p)
}

// lookPage gathers what is shown of an alert that is looked at again.
func (s *Server) lookPage(r *http.Request, i *alerts.Item, given bool) (lookPage, error) {
	now := s.options.Now().UnixMilli()
	entity, value := i.Case()
	p := lookPage{Note: told(r.URL.Query().Get("told"), i, s.user(r).Name, now), ID: string(i.ID), Amount: money(i.Tx.Amount, string(i.Text[schemas.Currency])), Who: value, Merchant: otherSide(i),
		Channel: string(i.Text[schemas.Channel]), Time: fullTime(i.Tx.Time), Clock: clock(i.Tx.Time, now), Ago: agoOf(i, now),
		Likely: likely(i.Prob), Prob: percent(i.Prob), Reasons: reasonRows(i.Reasons), NoReasons: withoutReasons(i), Facts: factsOf(i), Previous: i.Last}
	_, p.Waiting = s.options.View.SecondLook(s.user(r).Name, now)
	if given {
		p.Given, p.Agree = true, i.Review.Fraud == i.Closing.Fraud
		p.First, p.Second = i.Closing.By+" said "+verdictWord(i.Closing.Fraud), verdictWord(i.Review.Fraud)
		return p, nil
	}
	related, err := s.options.View.Related(r.Context(), entity, value, relatedMax)
	if err != nil {
		return p, err
	}
	blind := *i
	blind.State = alerts.State{Status: alerts.InSecondLook} // whoever leads the desk is told all else
	for k := range related {
		if string(related[k].ID) == string(i.ID) {
			related[k] = blind
		}
	}
	// Of the alerts alone: what the history knows of this payment may be the verdict.
	from, to := plotSpan(&blind, now)
	p.Plot = plotAmounts(s.marks(r.Context(), &past{}, related, &blind), nil, s.options.Base, from, to, now)
	for k := range related {
		o := &related[k]
		if string(o.ID) == string(i.ID) {
			continue
		}
		p.Others = append(p.Others, timelineRow{at: o.Tx.Time, Time: fullTime(o.Tx.Time), Clock: clock(o.Tx.Time, now), Text: money(o.Tx.Amount, string(o.Text[schemas.Currency])) +
			" to " + otherSide(o) + ", " + percent(o.Prob) + ", " + statusWords(o.State, now)})
	}
	slices.SortStableFunc(p.Others, func(a, b timelineRow) int { return cmp.Compare(b.at, a.at) })
	return p, nil
}

// lookAgain takes the verdict of a second look.
func (s *Server) lookAgain(w http.ResponseWriter, r *http.Request) error {
	id, u, now := r.PathValue("id"), s.user(r), s.options.Now().UnixMilli()
	kind, _ := schemas.ParseDispositionKind(r.PostFormValue("kind"))
	if kind != schemas.ReviewedFraud && kind != schemas.ReviewedGenuine {
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done.")
	}
	i, err := s.find(r, id)
	if err != nil {
		return err
	}
	to := "/second-looks/" + url.PathEscape(id)
	// A second look is given, not taken: whoever may choose which ones to look at would
	// look at those of whom they like.
	switch view := s.options.View; {
	case view.Awaits(id, u.Name, now):
		err = s.send(r, &i, schemas.Disposition{AlertID: i.ID, TxID: i.Text[schemas.ID], Kind: kind, By: []byte(u.Name), At: now, Previous: []byte(r.PostFormValue("previous"))})
	case view.Hides(r.Context(), id):
		to += "?told=early"
	}
	var void voidError
	if errors.As(err, &void) {
		to, err = to+"?told="+whyNot(void.error), nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// blinded is a request as views answer it: what waits for the second look of who makes it
// is told without its verdict, whatever it asks for. Whoever leads the desk or audits it
// is told all.
func (s *Server) blinded(r *http.Request) *http.Request {
	u := s.user(r)
	if u == nil || !u.Roles.Any(Roles(Analyst)) || u.Roles.Any(Roles(Supervisor, Auditor)) {
		return r
	}
	return r.WithContext(alerts.ReadBy(r.Context(), u.Name, s.options.Now().UnixMilli()))
}
