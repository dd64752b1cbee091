package desk

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// A route is one line of the table of what there is.
type route struct {
	pattern string  // of http.ServeMux, with its method
	roles   RoleSet // who may; public: anybody, without a session
	handle  handler
	// of names what a request looks at, for the audit log: the guard writes the entry
	// before the handler runs. Nil where there is nothing to see.
	of func(*http.Request) string
	// passive is of requests that a browser makes without its user: a stream, a poll.
	// They keep no session from ending.
	passive bool
	// file is of what is no page, and is not counted as one.
	file bool
	// act is what of is audited as, where it is not AuditViewed.
	act schemas.AuditAct
	// nav is what the page is called in the header of every page, for those who may
	// see it; empty for what is not linked from there.
	nav string
}

// handler answers a request, or returns an error and has written nothing.
type handler func(http.ResponseWriter, *http.Request) error

// public is of routes that need no session.
const public RoleSet = 1 << 7

// routes is the table.
func (s *Server) routes() []route {
	return slices.Concat([]route{
		{pattern: "GET /login", roles: public, handle: s.loginPage},
		{pattern: "POST /login", roles: public, handle: s.login},
		// Passive: a session that ends needs no other id.
		{pattern: "POST /logout", roles: everyone, handle: s.logout, passive: true},
		{pattern: "POST /logout-everywhere", roles: everyone, handle: s.logoutEverywhere, passive: true},
		{pattern: "GET /static/{name}", roles: public, handle: s.static, file: true},
		{pattern: "GET /{$}", roles: everyone, handle: s.start},
		{pattern: "GET /keys", roles: everyone, handle: s.keys},
		{pattern: "GET /queue", roles: desk, handle: s.queue, of: address, nav: "Queue"},
		{pattern: "POST /queue", roles: desk, handle: s.search},
		{pattern: "GET /alerts/{id}", roles: desk, handle: s.alert, of: address},
		{pattern: "POST /alerts/{id}/act", roles: workers, handle: s.act},
		{pattern: "GET /events", roles: desk, handle: s.events, passive: true},
		{pattern: "POST /next", roles: workers, handle: s.next},
	},
		s.lookRoutes(),
		s.supervisorRoutes(),
		s.modelRoutes(),
		s.trailRoutes(),
		s.oidcRoutes(),
		s.apiRoutes(),
		s.webhookRoutes(),
		s.viewRoutes(),
		s.printRoutes(),
		s.pastRoutes(),
		s.receiptRoutes(),
	)
}

// A link leads to a page from the header of every other one.
type link struct {
	Path, Name string
	Here       bool // it leads to the page that it stands on
}

// nav are the pages that somebody may see, in the order of the table.
func (s *Server) nav(u *User, here string) (list []link) {
	for _, rt := range s.table {
		if _, path, _ := strings.Cut(rt.pattern, " "); rt.nav != "" && rt.roles.Any(u.Roles) {
			list = append(list, link{path, rt.nav, path == here})
		}
	}
	return list
}

// desk are those who see alerts.
const desk = RoleSet(1<<Analyst | 1<<Supervisor | 1<<Auditor)

// workers are those who act on them.
const workers = RoleSet(1<<Analyst | 1<<Supervisor)

// address is what a request looks at: its path and query, of which an address that
// somebody made by hand may hold a card number.
func address(r *http.Request) string {
	text := r.URL.Path
	if query, err := url.QueryUnescape(r.URL.RawQuery); query != "" && err == nil {
		text += "?" + query
	}
	return string(schemas.HideCards([]byte(text)))
}

// keys is the page that says which key does what.
func (s *Server) keys(w http.ResponseWriter, r *http.Request) error {
	return s.page(w, r, http.StatusOK, "keys", nil)
}

// start is the first page.
func (s *Server) start(w http.ResponseWriter, r *http.Request) error {
	return s.page(w, r, http.StatusOK, "start", nil)
}
