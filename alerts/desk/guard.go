package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// bodyMax bounds what a request may bring. The largest is a note.
const bodyMax = 64 << 10

// problem is an error that a page says: its text is for whoever reads it.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

// problemf makes the error of a page that says what is wrong and what to do.
func problemf(status int, format string, a ...any) error {
	return &problem{status, fmt.Sprintf(format, a...)}
}

// ServeHTTP is what every request passes.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &tracked{ResponseWriter: rw}
	s.headers(w.Header())
	r = r.WithContext(context.WithValue(r.Context(), requesterKey{}, &requester{address: s.address(r).String()}))
	r.Body = http.MaxBytesReader(rw, r.Body, bodyMax)
	defer func() {
		if p := recover(); p != nil {
			s.panicked(w, r, p)
		}
	}()
	if err := s.protection.Check(r); err != nil {
		s.fail(w, r, problemf(http.StatusForbidden, "This request came from another site, so nothing was done. Open the desk itself and do it there."))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// tracked knows whether an answer has begun, and how.
type tracked struct {
	http.ResponseWriter
	begun  bool
	status int // 0 where nobody named one
}

func (t *tracked) WriteHeader(status int) {
	t.begun, t.status = true, status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	t.begun = true
	return t.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// policy lets a page load its own files and send its own forms, and nothing else: text
// that gets into a page as markup in spite of all has nothing to run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// headers sets what every answer carries; a handler may set others.
func (s *Server) headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	// With no-referrer a browser sends forms with "Origin: null". Over TLS it says by
	// Sec-Fetch-Site that they are ours; without, the origin is all there is to see.
	h.Set("Referrer-Policy", "same-origin")
	if s.options.TLS {
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
}

// guard lets requests of a route through to its handler, if they may.
func (s *Server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.options.Now()
		defer func() {
			p := recover()
			status := http.StatusOK
			if t, ok := w.(*tracked); ok && t.status > 0 {
				status = t.status
			}
			if p != nil {
				status = http.StatusInternalServerError
			}
			s.options.Metrics.answered(r, &rt, status, s.options.Now().Sub(began))
			if p != nil {
				panic(p)
			}
		}()
		err := s.admit(w, r, &rt)
		if err == nil {
			err = rt.handle(w, s.blinded(r))
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// admit finds who makes a request, sees that they may, and writes that they do.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, rt *route) error {
	if rt.roles == public {
		return nil
	}
	who := s.resume
	if isAPI(r) && r.Header.Get("Authorization") != "" {
		who = s.letIn
	}
	if err := who(w, r, rt); err != nil {
		return err
	}
	q := requesterOf(r.Context())
	if !rt.roles.Any(q.user.Roles) {
		err := s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditDenied, Of: []byte(r.Method + " " + r.URL.Path)})
		if err != nil {
			return err
		}
		return problemf(http.StatusForbidden, "Your roles (%s) do not allow this. Whoever gives out accounts can change them.", q.user.Roles.Words())
	}
	if rt.of == nil {
		return nil
	}
	act := rt.act
	if act == 0 {
		act = schemas.AuditViewed
	}
	return s.audit(r.Context(), schemas.AuditEntry{What: act, Of: []byte(rt.of(r))})
}

// resume finds who makes a request by the cookie of a session.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, rt *route) error {
	id := s.cookie(r)
	if id == nil {
		return ErrNoSession
	}
	session, err := s.options.Accounts.resume(r.Context(), *id, rt.passive)
	if err != nil {
		return err
	}
	if session.fresh != nil {
		s.setCookie(w, session.fresh)
	}
	q := requesterOf(r.Context())
	q.session, q.user = session, &session.User
	return nil
}

// user returns who is logged in; behind the guard, except on public routes, never nil.
func (s *Server) user(r *http.Request) *User { return requesterOf(r.Context()).user }

// isAPI reports whether a program asks, which wants JSON and no pages.
func isAPI(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// fail answers a request that did not work out.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	var long *http.MaxBytesError
	switch {
	case errors.Is(err, ErrNoSession) && !isAPI(r):
		to := url.URL{Path: "/login"}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			if next := localPath(r.URL.RequestURI()); next != "/" {
				to.RawQuery = url.Values{"next": {next}}.Encode()
			}
		}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return
	case errors.Is(err, ErrNoSession):
		w.Header().Set("WWW-Authenticate", "Bearer")
		p = &problem{http.StatusUnauthorized, "Nobody is let in by this: send a token as \"Authorization: Bearer weir_...\", or the cookie of a session."}
	case errors.As(err, &p):
	case errors.As(err, &long):
		p = &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("This is more than the %d bytes that a request may bring. Nothing was done.", long.Limit)}
	case errors.Is(err, errAudit):
		s.options.Log.Error("audit log away", "route", r.Pattern, "cause", err)
		p = &problem{http.StatusServiceUnavailable, "The audit log could not be written. What it has no entry of is not shown and not done, so this was refused; nothing is lost. Try again in a minute. If it stays so, tell whoever runs weir that the topic audit takes no records."}
	case r.Context().Err() != nil:
		return // nobody is there to read it
	default:
		s.options.Log.Error("request failed", "route", r.Pattern, "cause", err)
		p = &problem{http.StatusInternalServerError, internal}
	}
	s.say(w, r, p)
}

const internal = "Something went wrong in the desk, and is in its log. What you did before is safe. Go back and look whether this was done too; if not, try once more, and then tell whoever runs weir."

// say sends a problem.
func (s *Server) say(w http.ResponseWriter, r *http.Request, p *problem) {
	if t, ok := w.(*tracked); ok && t.begun {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	if isAPI(r) {
		sendProblem(w, apiProblem{Type: "about:blank", Status: p.status, Detail: p.text})
		return
	}
	err := s.page(w, r, p.status, "problem", map[string]any{"Title": http.StatusText(p.status), "Text": p.text})
	if err != nil {
		s.options.Log.Error("problem not shown", "route", r.Pattern, "cause", err)
		http.Error(w, p.text, p.status)
	}
}

// panicked answers a request whose handler has panicked. What the request held is not
// logged: it may be a password.
func (s *Server) panicked(w *tracked, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.options.Log.Error("panic", "route", r.Pattern, "cause", fmt.Sprint(p), "stack", string(debug.Stack()))
	s.say(w, r, &problem{http.StatusInternalServerError, internal})
}
