package desk

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// nextTries is how often another alert is tried where somebody at another desk was
// faster, and nextSpread among how many more the choice is each time: of many who ask at
// once one takes the best, and the others must not all go for the second.
const (
	nextTries  = 5
	nextSpread = 8
)

// offer chooses what somebody should work on next: what a supervisor gave to them, or
// else the best alert that nobody works on. Nobody else here is offered it until release
// is called, so that of two who ask at once neither waits for the log to say no.
// alerts.ErrNoAlert is returned where there is nothing to do.
func (s *Server) offer(r *http.Request, try int) (i alerts.Item, release func(), err error) {
	given, err := s.options.View.Given(r.Context(), s.user(r).Name)
	if err == nil {
		if n := s.reserve([]alerts.Item{given}, 0); n == 0 {
			return given, s.releaser(&given), nil
		}
	} else if !errors.Is(err, alerts.ErrNoAlert) {
		return i, nil, err
	}
	open := alerts.Filter{Statuses: []alerts.Status{alerts.Open}}
	for limit := 4 + try*nextSpread; ; limit *= 4 {
		list, more, err := s.options.View.Items(r.Context(), open, s.options.Now().UnixMilli(), "", limit)
		if err != nil {
			return i, nil, err
		}
		if n := s.reserve(list, rand.IntN(min(1+try*nextSpread, max(1, len(list))))); n >= 0 {
			return list[n], s.releaser(&list[n]), nil
		}
		if more == "" {
			return i, nil, alerts.ErrNoAlert
		}
	}
}

// reserve takes the first alert of a list that is not offered to anybody, from one of
// them on, and returns which it is; -1 for none.
func (s *Server) reserve(list []alerts.Item, from int) int {
	s.offering.Lock()
	defer s.offering.Unlock()
	for n := range list {
		at := (from + n) % len(list)
		if id := string(list[at].ID); !s.offered[id] {
			s.offered[id] = true
			return at
		}
	}
	return -1
}

// releaser returns what gives an alert back.
func (s *Server) releaser(i *alerts.Item) func() {
	return func() {
		s.offering.Lock()
		defer s.offering.Unlock()
		delete(s.offered, string(i.ID))
	}
}

// next takes the next alert for who asks, and shows it.
func (s *Server) next(w http.ResponseWriter, r *http.Request) error {
	to := "/queue"
	for try := range nextTries {
		i, release, err := s.offer(r, try)
		if errors.Is(err, alerts.ErrNoAlert) {
			break
		}
		if err != nil {
			return fmt.Errorf("look for the next alert: %w", err)
		}
		err = s.do(r, &i, schemas.Disposition{Kind: schemas.Claimed, Previous: []byte(i.Last)})
		release()
		if err == nil {
			to = "/alerts/" + url.PathEscape(string(i.ID))
			break
		}
		if void := (voidError{}); !errors.As(err, &void) {
			return err
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// apiNext is next for programs.
func (s *Server) apiNext(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	o, err := s.once(r, body)
	if err != nil {
		return err
	}
	release := func() {}
	for try := range nextTries + 1 {
		if o.alert != "" {
			a, err := s.claim(r, &o)
			release()
			if a != nil && a.Err == "" || err != nil {
				return answerAction(w, a, err)
			}
		}
		var i alerts.Item
		i, release, err = s.offer(r, try)
		if errors.Is(err, alerts.ErrNoAlert) {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the next alert: %w", err)
		}
		if err := s.options.Accounts.choose(r.Context(), &o, string(i.ID)); err != nil {
			release()
			return err
		}
	}
	release()
	return problemf(http.StatusConflict, "Others were faster %d times in a row. Try again.", nextTries)
}

// claim takes the alert that was chosen, unless that was done before.
func (s *Server) claim(r *http.Request, o *once) (*alerts.Action, error) {
	if a, err := s.action(r, o.alert, o.id); a != nil || err != nil {
		return a, err
	}
	i, err := s.options.View.Item(alerts.Unblinded(r.Context()), o.alert)
	if err == nil {
		err = s.do(r, &i, schemas.Disposition{ID: o.id, Kind: schemas.Claimed, Previous: []byte(i.Last)})
	}
	if void := (voidError{}); errors.As(err, &void) {
		err = nil // somebody took it
	}
	if err != nil {
		return nil, err
	}
	return s.action(r, o.alert, o.id)
}
