package desk

import (
	"bytes"
	"cmp"
	_ "embed" // the document
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// apiRoutes are those of programs. What each takes and answers is in openapi.json.
func (s *Server) apiRoutes() []route {
	return []route{
		{pattern: "GET /api/v1/openapi.json", roles: public, handle: s.apiDocument},
		{pattern: "GET /api/v1/alerts", roles: desk, handle: s.apiAlerts, of: address},
		{pattern: "GET /api/v1/alerts/{id}", roles: desk, handle: s.apiAlert, of: address},
		{pattern: "POST /api/v1/alerts/{id}/actions", roles: workers, handle: s.apiAct},
		{pattern: "POST /api/v1/next", roles: workers, handle: s.apiNext},
		{pattern: "GET /api/v1/cases", roles: desk, handle: s.apiCases, of: address},
		{pattern: "GET /api/v1/figures", roles: desk, handle: s.apiFigures, of: address},
	}
}

//go:embed openapi.json
var openAPIFile []byte

// openAPI is the document as it is served: an alert's facts are what the topic alerts
// holds, so their schema is the published one.
var openAPI = sync.OnceValue(func() []byte {
	var doc, facts map[string]any
	published, _ := schemas.JSONSchema("alert")
	if err := errors.Join(json.Unmarshal(openAPIFile, &doc), json.Unmarshal(published, &facts)); err != nil {
		panic("BUG: " + err.Error())
	}
	delete(facts, "$schema")
	delete(facts, "$id")
	doc["components"].(map[string]any)["schemas"].(map[string]any)["Facts"] = facts
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return text
})

// apiDocument says what there is.
func (s *Server) apiDocument(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	_, err := w.Write(openAPI())
	return err
}

// apiProblem is an error as programs get it (RFC 9457).
type apiProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Action string `json:"action,omitempty"` // id of the one that did not count
}

func sendProblem(w http.ResponseWriter, p apiProblem) {
	p.Title = http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // where the program is gone, nobody reads it
}

// sendJSON sends an answer.
func sendJSON(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // where the program is gone, nobody reads it
	return nil
}

// The bounds of a list.
const (
	apiLimit    = 50
	apiLimitMax = 200
)

// apiKeys are what a list may be asked with.
var apiKeys = []string{"status", "min", "amount", "reason", "channel", "text", "entity", "value", "cursor", "limit"}

// apiFilter reads the filter of a list. Unlike a page, which shows what it was asked
// for, it takes nothing that it does not understand.
func (s *Server) apiFilter(r *http.Request) (f alerts.Filter, after alerts.Cursor, limit int, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return f, "", 0, problemf(http.StatusBadRequest, "The query could not be read.")
	}
	wrong := func(key, want string) error {
		return problemf(http.StatusBadRequest, "%s is not understood: %s", key, want)
	}
	limit = apiLimit
	for key, values := range q {
		v := values[0]
		if hidden := schemas.HideCards([]byte(v)); string(hidden) != v {
			return f, "", 0, errCard
		}
		var bad error
		switch n, numberErr := strconv.ParseFloat(v, 64); {
		case !slices.Contains(apiKeys, key) || len(values) > 1 || v == "":
			err = wrong(fmt.Sprintf("%.40q", key), "a list is asked with "+strings.Join(apiKeys, ", ")+", each once and not empty.")
		case key == "min" && !(numberErr == nil && n > 0 && n <= 100):
			err = wrong(key, "a probability in per cent, above 0.")
		case key == "amount" && !(numberErr == nil && n > 0 && n < 1e15):
			err = wrong(key, "an amount of the base currency, above 0.")
		case key == "status" && !slices.ContainsFunc(queueStates, func(c queueState) bool { return c.value == v }):
			err = wrong(key, "one of open, claimed, snoozed, escalated, proposed, fraud, genuine.")
		case key == "limit":
			if limit, bad = strconv.Atoi(v); bad != nil || limit < 1 || limit > apiLimitMax {
				err = wrong(key, "1 to "+strconv.Itoa(apiLimitMax)+".")
			}
		case (key == "entity" || key == "value") && (!q.Has("entity") || !q.Has("value")):
			err = wrong(key, "entity and value belong together.")
		case key == "entity":
			if _, ok := schemas.ParseTextField(v); !ok {
				err = wrong(key, alerts.ErrFilter.Error()+".")
			}
		}
		if err != nil {
			return f, "", 0, err
		}
	}
	f, _ = s.filterOf(q)
	return f, alerts.Cursor(q.Get("cursor")), limit, nil
}

// listed says what is wrong with what a list was asked for.
func listed(err error) error {
	for _, known := range []error{alerts.ErrCursor, alerts.ErrFilter, alerts.ErrWide} {
		if errors.Is(err, known) {
			return problemf(http.StatusBadRequest, "Not listed: %v.", known)
		}
	}
	return err
}

// apiAlerts lists the alerts of a filter by rank.
func (s *Server) apiAlerts(w http.ResponseWriter, r *http.Request) error {
	f, after, limit, err := s.apiFilter(r)
	if err != nil {
		return err
	}
	now := s.options.Now().UnixMilli()
	items, next, err := s.options.View.Items(r.Context(), f, now, after, limit)
	if err != nil {
		return listed(err)
	}
	list := make([]apiAlert, 0, len(items))
	for i := range items {
		list = append(list, apiAlertOf(&items[i], now))
	}
	return sendJSON(w, map[string]any{"alerts": list, "next": orNull(string(next))})
}

// apiCases lists the cases of a filter by the rank of their best alerts.
func (s *Server) apiCases(w http.ResponseWriter, r *http.Request) error {
	f, after, limit, err := s.apiFilter(r)
	if err != nil {
		return err
	}
	now := s.options.Now().UnixMilli()
	cases, next, err := s.options.View.Queue(r.Context(), f, now, after, limit)
	if err != nil {
		return listed(err)
	}
	list := make([]apiCase, 0, len(cases))
	for i := range cases {
		c := &cases[i]
		list = append(list, apiCase{apiEntity{c.Entity.String(), c.Value}, c.Alerts, c.Amount, apiTime(c.Oldest), apiAlertOf(&c.Best, now)})
	}
	return sendJSON(w, map[string]any{"cases": list, "next": orNull(string(next))})
}

// apiAlert answers with one alert and what was done with it.
func (s *Server) apiAlert(w http.ResponseWriter, r *http.Request) error {
	i, err := s.item(r)
	if err != nil {
		return err
	}
	a := apiAlertOf(&i, s.options.Now().UnixMilli())
	actions, err := s.options.View.Actions(r.Context(), string(i.ID))
	if err != nil {
		return err
	}
	a.Actions = make([]apiAction, 0, len(actions))
	for k := range actions {
		a.Actions = append(a.Actions, apiActionOf(&actions[k]))
	}
	return sendJSON(w, a)
}

// apiFigures answers with how many alerts there are.
func (s *Server) apiFigures(w http.ResponseWriter, r *http.Request) error {
	f, err := s.options.View.Figures(r.Context(), s.options.Now().UnixMilli())
	if err != nil {
		return err
	}
	a := apiFigures{Open: f.Open, Claimed: f.Claimed, Snoozed: f.Snoozed, Escalated: f.Escalated, Closed: f.Closed}
	if f.OldestOpen > 0 {
		a.OldestOpen = orNull(apiTime(f.OldestOpen))
	}
	return sendJSON(w, a)
}

// apiBody reads the JSON of a request into value, and returns its bytes.
func apiBody(r *http.Request, value any) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, problemf(http.StatusUnsupportedMediaType, "The body is to be application/json. Nothing was done.")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil || d.More() {
		return nil, problemf(http.StatusBadRequest, "The body is not the JSON object that /api/v1/openapi.json describes. Nothing was done.")
	}
	return body, nil
}

// apiAct does with an alert what a program says, and answers with what came of it.
func (s *Server) apiAct(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Kind, Note, Reason, Previous, For string }
	body, err := apiBody(r, &in)
	if err != nil {
		return err
	}
	kind, ok := schemas.ParseDispositionKind(in.Kind)
	until, snooze := snoozedUntil(cmp.Or(in.For, "4h"), s.options.Now())
	if !ok || kind > schemas.Undone || !snooze || len(in.Note) > schemas.NoteBytesMax || !knownReason(in.Reason) || kind == schemas.Noted && in.Note == "" || kind == schemas.Undone && in.Previous == "" {
		return problemf(http.StatusBadRequest, "The action is not one of those that /api/v1/openapi.json describes, so nothing was done. A note has %d bytes at most, and noted needs one; undone needs previous.", schemas.NoteBytesMax)
	}
	i, err := s.find(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	o, err := s.once(r, body)
	if err != nil {
		return err
	}
	if a, err := s.action(r, string(i.ID), o.id); a != nil || err != nil {
		return answerAction(w, a, err)
	}
	d := schemas.Disposition{ID: o.id, Kind: kind, Note: []byte(in.Note), Reason: []byte(in.Reason), Previous: []byte(in.Previous)}
	if kind == schemas.Snoozed {
		d.Until = until.UnixMilli()
	}
	err = s.do(r, &i, d)
	if void := (voidError{}); errors.As(err, &void) {
		err = nil // the log has it
	}
	if err != nil {
		return answerAction(w, nil, err)
	}
	a, err := s.action(r, string(i.ID), o.id)
	return answerAction(w, a, err)
}

// action looks an action of an alert up; nil where it has not seen it.
func (s *Server) action(r *http.Request, alert string, id []byte) (*alerts.Action, error) {
	list, err := s.options.View.Actions(r.Context(), alert)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if bytes.Equal(list[i].ID, id) {
			return &list[i], nil
		}
	}
	return nil, nil
}

// answerAction answers with an action as the log has it: the same whenever it is asked.
func answerAction(w http.ResponseWriter, a *alerts.Action, err error) error {
	switch {
	case err != nil:
		return err
	case a == nil:
		return errors.New("the view does not hold an action that it has folded")
	case a.Err != "":
		word := whyVoid(a.Err)
		sendProblem(w, apiProblem{Type: "urn:weir:problem:" + word, Status: http.StatusConflict, Detail: whyWords[word], Action: string(a.ID)})
		return nil
	}
	return sendJSON(w, apiActionOf(a))
}

// whyWords says why an action did not count, by the word for it: in the same words
// whenever it is asked.
var whyWords = map[string]string{
	"stale":   "Somebody else acted on the alert first, or previous is not its last action.",
	"closed":  "The alert was closed already.",
	"nothing": "That cannot be done with the alert as it stands.",
	"eyes":    "The same person gave a verdict on it before: another one has to give this one.",
	"undo":    "Too late to undo: only its author can, and within ten seconds.",
	"owner":   "Somebody else works on the alert. Nothing was done.",
}

// whyVoid is the word for why an action did not count, of the text that the view keeps.
func whyVoid(text string) string {
	for _, err := range []error{alerts.ErrStale, alerts.ErrOwned, alerts.ErrClosed, alerts.ErrSameEyes, alerts.ErrNoUndo} {
		if strings.HasPrefix(text, err.Error()) {
			return whyNot(err)
		}
	}
	return "nothing"
}
