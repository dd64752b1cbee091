package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// pathMax bounds where a log-in may lead.
const pathMax = 2048

// localPath returns text if it leads to a page of the desk, and "/" otherwise: what
// stands in a link to the log-in must not lead anywhere else. Browsers take \ for /,
// and pass tabs and line ends over, so that nothing but plain characters is taken.
func localPath(text string) string {
	if len(text) == 0 || len(text) > pathMax || text[0] != '/' || strings.HasPrefix(text, "//") {
		return "/"
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return "/"
	}
	return text
}

// landing is where a log-in leads that was not on its way anywhere: to the first page
// that somebody works on.
func (s *Server) landing(next string, u *User) string {
	if pages := s.nav(u, next); next == "/" && len(pages) > 0 {
		return pages[0].Path
	}
	return next
}

// loginForm is what the page of the log-in shows.
type loginForm struct {
	Name, Next, Wrong string

	Passwords bool   // there are people who log in by one
	Provider  string // what the identity provider is called; empty where there is none
	Out       string // where it ends its own session, which a log-out here has not done
}

// loginForm shows the page of the log-in.
func (s *Server) loginForm(w http.ResponseWriter, r *http.Request, status int, form loginForm) error {
	form.Passwords = s.passwords()
	form.Name = shownText([]byte(form.Name))
	if s.provider != nil {
		form.Provider = s.provider.name()
	}
	return s.page(w, r, status, "login", form)
}

// loginPage asks for name and password.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) error {
	form := loginForm{Next: localPath(r.URL.Query().Get("next"))}
	if s.provider != nil && r.URL.Query().Has("out") {
		form.Out = s.provider.logoutURL()
	}
	return s.loginForm(w, r, http.StatusOK, form)
}

// notLetIn is all that somebody is told whose log-in did not work, whatever it was.
const notLetIn = "Name and password do not match, or the account is locked or disabled. After several wrong passwords it is locked for a while. Whoever gives out accounts can help."

// login lets somebody in.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
			return err
		}
		return problemf(http.StatusBadRequest, "The form could not be read. Go back and try again.")
	}
	form := loginForm{Name: r.PostForm.Get("name"), Next: localPath(r.PostForm.Get("next"))}
	bucket := bucketOf(s.address(r))
	if taken, err := s.takeLogin(w, r, bucket, form); !taken {
		return err
	}
	u, err := s.options.Accounts.LogIn(r.Context(), strings.TrimSpace(form.Name), r.PostForm.Get("password"))
	// Who hangs up before the answer has tried all the same, and it is audited.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	switch {
	case errors.Is(err, ErrBusy):
		w.Header().Set("Retry-After", "10")
		form.Wrong = "Too many people log in at once. Try again in a few seconds."
		return s.loginForm(w, r, http.StatusServiceUnavailable, form)
	case errors.Is(err, ErrRefused):
		return s.refuse(w, r, u, err, form)
	case err != nil:
		return err
	case !s.byPassword(u.Name):
		return s.refuse(w, r, u, fmt.Errorf("%w: this account may not log in by password here", ErrRefused), form)
	}
	if err := s.audit(r.Context(), schemas.AuditEntry{Who: []byte(u.Name), What: schemas.AuditLoggedIn, Detail: []byte("password")}); err != nil {
		return err
	}
	id, err := s.options.Accounts.begin(r.Context(), u, voucher{}, requesterOf(r.Context()).address, s.cookie(r))
	if errors.Is(err, ErrRefused) {
		return s.refuse(w, r, u, err, form)
	}
	if err != nil {
		return err
	}
	s.buckets.give(bucket)
	s.setCookie(w, &id)
	http.Redirect(w, r, s.landing(form.Next, &u), http.StatusSeeOther)
	return nil
}

// takeLogin takes a log-in from a bucket, or says on the page that none is left there.
func (s *Server) takeLogin(w http.ResponseWriter, r *http.Request, bucket string, form loginForm) (bool, error) {
	wait := s.buckets.take(bucket, s.options.Now().UnixMilli())
	if wait <= 0 {
		return true, nil
	}
	s.options.Metrics.logins.WithLabelValues("limited").Inc()
	seconds := int((wait + time.Second - 1) / time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	form.Wrong = "There were too many log-ins from your address. Try again in " + strconv.Itoa(seconds) + " s."
	return false, s.loginForm(w, r, http.StatusTooManyRequests, form)
}

// refuse tells the audit log why somebody was not let in, and the browser that it is
// so.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, u User, why error, form loginForm) error {
	err := s.audit(r.Context(), schemas.AuditEntry{Who: []byte(u.Name), What: schemas.AuditLoginFailed, Detail: []byte(why.Error())})
	if err != nil {
		return err
	}
	form.Wrong = notLetIn
	return s.loginForm(w, r, http.StatusForbidden, form)
}

// logout ends the session.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	return s.leave(w, r, "", s.options.Accounts.end(r.Context(), requesterOf(r.Context()).session))
}

// logoutEverywhere ends all sessions of the user.
func (s *Server) logoutEverywhere(w http.ResponseWriter, r *http.Request) error {
	return s.leave(w, r, "everywhere", s.options.Accounts.EndSessions(r.Context(), s.user(r).Name))
}

// leave says what became of a log-out. It is done before it is audited: nobody is to
// stay logged in because the audit log is away.
func (s *Server) leave(w http.ResponseWriter, r *http.Request, detail string, err error) error {
	if err != nil {
		return err
	}
	s.setCookie(w, nil)
	if err := s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditLoggedOut, Detail: []byte(detail)}); err != nil {
		s.options.Log.Error("log-out not audited", "cause", err)
		return problemf(http.StatusServiceUnavailable, "You are logged out. The audit log could not be told; tell whoever runs weir that the topic audit takes no records.")
	}
	to := "/login"
	if s.user(r).Issuer != "" {
		to += "?out" // of the desk, and still in at the identity provider
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
