package desk

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/weir-risk/weir/schemas"
)

// webhookRoutes are those of the settings of webhooks.
func (s *Server) webhookRoutes() []route {
	who := Roles(Supervisor)
	return []route{
		{pattern: "GET /webhooks", roles: who, handle: s.webhooksPage, of: address, nav: "Webhooks"},
		{pattern: "POST /webhooks", roles: who, handle: s.addWebhook},
		{pattern: "POST /webhooks/{id}", roles: who, handle: s.changeWebhook},
	}
}

// deadShown is how many dead letters of a webhook a page shows.
const deadShown = 50

// webhooksPage is what webhooks.html shows.
type webhooksPage struct {
	Note, Wrong, Secret, URL string
	Hooks                    []webhookRow
	Events                   []hookChoice
}

type webhookRow struct {
	webhook
	Host, LastTime, LastAgo string
	Letters                 []letterRow
	More                    int // dead letters that are not shown
}

type letterRow struct {
	Row                                int64
	Event, Alert, Time, Clock, Failure string
	Attempts                           int
}

type hookChoice struct {
	Name, Words string
	Here        bool
}

// webhooksPage shows the webhooks.
func (s *Server) webhooksPage(w http.ResponseWriter, r *http.Request) error {
	return s.showWebhooks(w, r, http.StatusOK, webhooksPage{})
}

// showWebhooks shows them with what came of a change.
func (s *Server) showWebhooks(w http.ResponseWriter, r *http.Request, status int, p webhooksPage) error {
	now := s.options.Now().UnixMilli()
	if p.Events == nil {
		p.Events = hookChoices([]string{"alert.raised", "alert.closed", "alert.undone"})
	}
	hooks, err := s.options.Accounts.webhooks(r.Context(), 0)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		row := webhookRow{webhook: h, Host: hostOf(h.URL)}
		if h.Last > 0 {
			row.LastTime, row.LastAgo = fullTime(h.Last), ago(h.Last, now)
		}
		letters, err := s.options.Accounts.deliveries(r.Context(), h.ID, true, deadShown)
		if err != nil {
			return err
		}
		for _, d := range letters {
			row.Letters = append(row.Letters, letterRow{d.row, d.Event, d.Alert, fullTime(d.Made), clock(d.Made, now), d.Failure, d.Attempts})
		}
		row.More = h.Dead - len(letters)
		p.Hooks = append(p.Hooks, row)
	}
	return s.page(w, r, status, "webhooks", p)
}

func hookChoices(here []string) (list []hookChoice) {
	for _, e := range hookEvents {
		list = append(list, hookChoice{e.Name, e.Words, slices.Contains(here, e.Name)})
	}
	return list
}

// addWebhook makes a webhook, and shows its secret this once.
func (s *Server) addWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problemf(http.StatusBadRequest, "The form was not understood. Load the page anew and try again.")
	}
	p := webhooksPage{URL: r.PostForm.Get("url"), Events: hookChoices(r.PostForm["event"])}
	h := webhook{By: s.user(r).Name}
	if h.URL, p.Wrong = parseHookURL(p.URL, len(*s.sender.allow.Load()) > 0); p.Wrong != "" {
		return s.showWebhooks(w, r, http.StatusBadRequest, p)
	}
	for _, e := range p.Events {
		if e.Here {
			h.Events = append(h.Events, e.Name)
		}
	}
	if len(h.Events) == 0 {
		p.Wrong = "Say what it is to be sent: one event or more."
		return s.showWebhooks(w, r, http.StatusBadRequest, p)
	}
	if ok, why := s.options.Desk.Ready(); !ok {
		return problemf(http.StatusServiceUnavailable, "The desk is still reading what happened before (%s), and a webhook begins where it ends. Try again in a minute.", why)
	}
	from, err := s.places(r.Context())
	if err == nil {
		err = s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditChanged, Of: []byte("webhook at " + hostOf(h.URL)), Detail: []byte("added")})
	}
	if err == nil {
		err = s.options.Accounts.addWebhook(r.Context(), &h, from)
	}
	if err != nil {
		return err
	}
	s.pokeHooks()
	return s.showWebhooks(w, r, http.StatusOK, webhooksPage{Secret: secretText(h.secret), Note: fmt.Sprintf("Webhook %d sends from now on.", h.ID)})
}

// pokeHooks says that webhooks have changed.
func (s *Server) pokeHooks() {
	select {
	case s.hooked <- struct{}{}:
	default:
	}
}

// changeWebhook does with a webhook, or with its dead letters, what a form says.
func (s *Server) changeWebhook(w http.ResponseWriter, r *http.Request) error {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	letter, _ := strconv.ParseInt(r.PostFormValue("letter"), 10, 64) // 0 is all of them
	what, a, ctx := r.PostFormValue("do"), s.options.Accounts, r.Context()
	h, err := a.webhook(ctx, id)
	if err != nil {
		return err
	}
	change, ok := map[string]func() error{
		"test":    func() error { return nil },
		"enable":  func() error { return a.enableWebhook(ctx, id, true) },
		"disable": func() error { return a.enableWebhook(ctx, id, false) },
		"delete":  func() error { return a.deleteWebhook(ctx, id) },
		"retry":   func() error { return a.retryDead(ctx, id, letter) },
		"discard": func() error { return a.discardDead(ctx, id, letter) },
	}[what]
	if !ok {
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done. Load the page anew and try again.")
	}
	if err := s.audit(ctx, schemas.AuditEntry{What: schemas.AuditChanged, Of: fmt.Appendf(nil, "webhook %d at %s", id, hostOf(h.URL)), Detail: []byte(what)}); err != nil {
		return err
	}
	if what == "test" {
		failure, err := s.test(ctx, &h)
		if err != nil {
			return err
		}
		if failure != "" {
			return s.showWebhooks(w, r, http.StatusOK, webhooksPage{Wrong: fmt.Sprintf("The test of webhook %d was not taken: %s.", id, failure)})
		}
		return s.showWebhooks(w, r, http.StatusOK, webhooksPage{Note: fmt.Sprintf("Webhook %d took the test.", id)})
	}
	if err := change(); err != nil {
		return err
	}
	s.pokeHooks()
	http.Redirect(w, r, "/webhooks", http.StatusSeeOther)
	return nil
}
