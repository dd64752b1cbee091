package desk

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// TestEachRoleOnEachRoute walks the table: who may gets an answer, who may not gets
// 403, and who is nobody is sent to the log-in.
func TestEachRoleOnEachRoute(t *testing.T) {
	for role := Role(0); role <= NumRoles; role++ { // the last one is nobody
		w := newWorld(t)
		who, roles := "nobody", RoleSet(0)
		if role < NumRoles {
			who, roles = role.String(), Roles(role)
			w.add("ann", role)
		}
		for i, rt := range w.server.table {
			method, pattern, _ := strings.Cut(rt.pattern, " ")
			target := wildcard.ReplaceAllStringFunc(pattern, func(s string) string {
				if s == "{$}" {
					return ""
				}
				return "0-0"
			})
			b := w.browser()
			if b.address = fmt.Sprintf("198.51.100.%d:40000", i); role < NumRoles {
				b.enters("ann")
			}
			if target == "/events" && rt.roles.Any(roles) {
				continue // goes on as long as its reader: TestWhatArrivesIsTold
			}
			var form url.Values
			if method == http.MethodPost {
				form = url.Values{}
			}
			got := b.do(method, target, form)
			what := fmt.Sprintf("%s on %s: status %d", who, rt.pattern, got.StatusCode)
			to, _, _ := strings.Cut(got.Header.Get("Location"), "?")
			refused := strings.Contains(got.body, "Your roles")
			switch {
			case rt.roles == public || rt.roles.Any(roles):
				if refused || got.StatusCode == http.StatusUnauthorized || got.StatusCode >= 500 {
					t.Errorf("%s: who may is refused", what)
				}
			case roles != 0:
				if !refused || got.StatusCode != http.StatusForbidden || w.lastEntry().What != schemas.AuditDenied {
					t.Errorf("%s: who may not is let through", what)
				}
			case isAPI(httptest.NewRequest(method, target, nil)):
				if got.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s: nobody is let through", what)
				}
			default:
				if got.StatusCode != http.StatusSeeOther || to != "/login" {
					t.Errorf("%s: nobody is let through", what)
				}
			}
		}
	}
}

// TestTheTableIsWhatThereIs: nothing else is served, to anybody.
func TestTheTableIsWhatThereIs(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst, Supervisor, ModelOwner, Auditor)
	in := w.browser().enters("ann")
	for _, b := range []*browser{w.browser(), in} {
		for _, target := range []string{"/nothing", "/api/nothing", "/static/", "/static/desk.css", "/templates/layout.html", "/login/", "/.git/config"} {
			b.get(target).is(t, http.StatusNotFound)
		}
		b.do("POST", "/", url.Values{}).is(t, http.StatusNotFound)
		b.do("DELETE", "/login", nil).is(t, http.StatusNotFound)
		b.get("/logout").is(t, http.StatusNotFound) // or a picture in a mail logs out
	}
	if !in.in() {
		t.Error("logged out by the way")
	}
}

// TestGuard holds one route to its roles.
func TestGuard(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.add("sue", Supervisor, Analyst)
	ran := 0
	for _, path := range []string{"/team", "/api/v1/team"} {
		w.route(route{pattern: "GET " + path, roles: Roles(Supervisor), handle: func(rw http.ResponseWriter, r *http.Request) error {
			ran++
			_, err := fmt.Fprint(rw, w.server.user(r).Name)
			return err
		}})
	}
	ann, sue := w.browser().enters("ann"), w.browser().enters("sue")
	ann.get("/team").is(t, http.StatusForbidden, "Your roles (analyst) do not allow this")
	if e := w.lastEntry(); e.What != schemas.AuditDenied || string(e.Who) != "ann" || string(e.Of) != "GET /team" {
		t.Errorf("audited is %+v", e)
	}
	ann.get("/api/v1/team").is(t, http.StatusForbidden, `"detail":"Your roles`)
	a := w.browser().get("/api/v1/team").is(t, http.StatusUnauthorized, `"status":401`)
	if a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v", a.Header)
	}
	if a := w.browser().do("POST", "/logout", nil).is(t, http.StatusSeeOther); a.Header.Get("Location") != "/login" {
		t.Errorf("a form without a session leads to %q", a.Header.Get("Location"))
	}
	if ran != 0 {
		t.Fatal("the handler ran for who may not")
	}
	sue.get("/team").is(t, http.StatusOK, "sue")
	// Roles that are taken away are gone with the next request.
	if err := w.accounts.SetRoles(t.Context(), "sue", Roles(Analyst)); err != nil {
		t.Fatal(err)
	}
	sue.get("/team").is(t, http.StatusForbidden)
	if ran != 1 {
		t.Errorf("the handler ran %d times", ran)
	}
}

// TestCSRF: what another site makes a browser send is not done.
func TestCSRF(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	done := 0
	w.route(route{pattern: "POST /close", roles: everyone, handle: func(http.ResponseWriter, *http.Request) error { done++; return nil }})
	f := func(status int, header ...string) {
		t.Helper()
		for _, target := range []string{"/close", "/login", "/logout"} {
			b := w.browser().enters("ann")
			for i := 0; i < len(header); i += 2 {
				b.header[header[i]] = header[i+1]
			}
			before := done
			a := b.do("POST", target, url.Values{"name": {"ann"}, "password": {password}})
			if (a.StatusCode == http.StatusForbidden) != (status == http.StatusForbidden) {
				t.Errorf("%s %q: status %d", target, header, a.StatusCode)
			}
			if target == "/close" && (done != before) == (status == http.StatusForbidden) {
				t.Errorf("%q: done is %v", header, done != before)
			}
			clear(b.header)
			if status == http.StatusForbidden && !b.in() {
				t.Errorf("%s %q: logged out", target, header)
			}
		}
	}
	f(http.StatusForbidden, "Sec-Fetch-Site", "cross-site")
	f(http.StatusForbidden, "Sec-Fetch-Site", "same-site")
	f(http.StatusForbidden, "Origin", "https://evil.example")
	f(http.StatusForbidden, "Origin", "null")
	f(http.StatusOK, "Sec-Fetch-Site", "same-origin")
	f(http.StatusOK, "Sec-Fetch-Site", "same-origin", "Origin", "null") // as with no-referrer
	f(http.StatusOK, "Origin", "http://example.com")                    // the host of httptest
	f(http.StatusOK)
}

// TestHeaders are on every answer, whatever it is.
func TestHeaders(t *testing.T) {
	for _, tls := range []bool{false, true} {
		w := newWorld(t, func(o *Options) { o.TLS = tls })
		w.add("ann", Analyst)
		w.route(route{pattern: "GET /broken", roles: everyone, handle: func(http.ResponseWriter, *http.Request) error { return errors.New("broken") }})
		w.route(route{pattern: "GET /team", roles: Roles(Supervisor), handle: w.server.start})
		b := w.browser().enters("ann")
		cross := w.browser()
		cross.header["Sec-Fetch-Site"] = "cross-site"
		for status, a := range map[int]answer{200: b.get("/"), 303: w.browser().get("/"), 403: b.get("/team"), 404: b.get("/nothing"), 500: b.get("/broken"),
			-403: cross.login("ann", password)} {
			a.is(t, max(status, -status))
			want := map[string]string{
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
				"X-Content-Type-Options":  "nosniff", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Strict-Transport-Security": "",
			}
			if tls {
				want["Referrer-Policy"], want["Strict-Transport-Security"] = "no-referrer", "max-age=63072000"
			}
			for k, v := range want {
				if got := a.Header.Get(k); got != v {
					t.Errorf("TLS %v, status %d: %s is %q, want %q", tls, status, k, got, v)
				}
			}
			if !strings.Contains(a.Header.Get("Permissions-Policy"), "camera=()") {
				t.Errorf("Permissions-Policy is %q", a.Header.Get("Permissions-Policy"))
			}
		}
	}
}

// TestXSSInNames: what people are called is text.
func TestXSSInNames(t *testing.T) {
	w := newWorld(t)
	const evil = `<script>alert(1)</script>"><img src=x onerror=alert(1)>`
	if err := w.accounts.Add(t.Context(), User{Name: "eve", Display: evil, Roles: Roles(Analyst)}, password); err != nil {
		t.Fatal(err)
	}
	b := w.browser().enters("eve")
	for _, a := range []answer{b.get("/").is(t, http.StatusOK, "&lt;script&gt;alert(1)"), w.browser().login(evil, password).is(t, http.StatusForbidden, "&lt;script&gt;alert(1)"),
		b.get("/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E").is(t, http.StatusOK)} {
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img") {
			t.Errorf("markup in %s", a.body)
		}
	}
}

// TestNothingIsShownUnaudited: the entry is there before the handler runs, and where
// it cannot be written nothing is shown and nobody gets in.
func TestNothingIsShownUnaudited(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	ran := 0
	w.route(route{pattern: "GET /things/{id}", roles: everyone, of: func(r *http.Request) string { return r.PathValue("id") },
		handle: func(rw http.ResponseWriter, r *http.Request) error {
			if e := w.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "0-7" || string(e.Who) != "ann" {
				t.Errorf("before the handler the log has %+v", e)
			}
			ran++
			return w.server.start(rw, r)
		}})
	w.route(route{pattern: "GET /export", roles: everyone, act: schemas.AuditExported, of: func(*http.Request) string { return "cases" }, handle: w.server.start})
	b := w.browser().enters("ann")
	b.get("/things/0-7").is(t, http.StatusOK)
	b.get("/export").is(t, http.StatusOK)
	if e := w.lastEntry(); e.What != schemas.AuditExported || string(e.Of) != "cases" {
		t.Errorf("audited is %+v", e)
	}

	w.away = errors.New("no broker")
	b.get("/things/0-7").is(t, http.StatusServiceUnavailable, "audit log could not be written")
	if ran != 1 {
		t.Error("shown, and not audited")
	}
	for _, p := range []string{password, "wrong password"} {
		other := w.browser()
		other.login("ann", p).is(t, http.StatusServiceUnavailable)
		if other.cookie() != nil {
			t.Error("let in, and not audited")
		}
	}
	if !strings.Contains(w.log.String(), "no broker") {
		t.Errorf("the log does not say why: %s", w.log.String())
	}
	// A log-out is done all the same, and says so.
	thief := b.copied()
	b.do("POST", "/logout", nil).is(t, http.StatusServiceUnavailable, "You are logged out")
	if thief.in() {
		t.Error("the session goes on")
	}
}

// TestPanicIsAPage, and what the request held is not in the log.
func TestPanicIsAPage(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	w.route(route{pattern: "POST /break", roles: everyone, handle: func(_ http.ResponseWriter, r *http.Request) error {
		if err := r.ParseForm(); err != nil {
			return err
		}
		panic("it broke")
	}})
	w.route(route{pattern: "POST /fail", roles: everyone, handle: func(_ http.ResponseWriter, r *http.Request) error {
		return errors.New("it failed")
	}})
	b := w.browser().enters("ann")
	for target, cause := range map[string]string{"/break": "it broke", "/fail": "it failed"} {
		w.log.Reset()
		a := b.do("POST", target+"?card=4111111111111111", url.Values{"note": {"very secret"}}).is(t, http.StatusInternalServerError, "Something went wrong", "do")
		if strings.Contains(a.body, cause) {
			t.Errorf("the page tells what broke: %s", a.body)
		}
		for _, secret := range []string{"very", "4111", b.cookie().Value} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log holds %q: %s", secret, w.log.String())
			}
		}
		if !strings.Contains(w.log.String(), cause) || !strings.Contains(w.log.String(), target) {
			t.Errorf("the log does not say what broke: %s", w.log.String())
		}
	}
}

// TestHalfAnAnswerIsNone: what fails after it has begun is cut off.
func TestHalfAnAnswerIsNone(t *testing.T) {
	w := newWorld(t)
	for i, end := range []func() error{func() error { panic("it broke") }, func() error { return errors.New("it failed") }} {
		w.route(route{pattern: fmt.Sprintf("GET /half%d", i), roles: public, handle: func(rw http.ResponseWriter, _ *http.Request) error {
			fmt.Fprint(rw, "the first half")
			return end()
		}})
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("ends with %v", p)
				}
			}()
			w.browser().get(fmt.Sprintf("/half%d", i))
			t.Error("ends as if all were well")
		}()
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.browser().do("POST", "/login", url.Values{"name": {strings.Repeat("a", bodyMax)}}).is(t, http.StatusRequestEntityTooLarge, "65536 bytes")
}

// TestServerOfHTTPIsBounded: each bound is set, so that no connection is held for good.
func TestServerOfHTTPIsBounded(t *testing.T) {
	w := newWorld(t)
	h := HTTPServer(w.server, w.server.options.Log)
	if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.WriteTimeout <= 0 || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 || h.ErrorLog == nil || h.Handler != w.server {
		t.Errorf("%+v", h)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for _, without := range []func(*Options){func(o *Options) { o.Log = nil }, func(o *Options) { o.Now = nil }, func(o *Options) { o.Accounts = nil }, func(o *Options) { o.Audit = nil }} {
		o := w.server.options
		without(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
