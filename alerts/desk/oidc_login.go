package desk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/weir-risk/weir/schemas"
)

// oidcRoutes are those of the log-in at an identity provider. It begins with a link and
// not with a form: what a form leads to may be on no other site (form-action).
func (s *Server) oidcRoutes() []route {
	return []route{
		{pattern: "GET /login/oidc", roles: public, handle: s.oidcBegin},
		{pattern: "GET " + callbackPath, roles: public, handle: s.oidcCallback},
		{pattern: "POST " + logoutPath, roles: public, handle: s.oidcLogout},
	}
}

// A flow is one log-in at a provider that is under way, told by a secret that only the
// browser has that began it. What the provider is told and sends back follows from the
// secret and does not tell it, so that nothing is kept here: an answer that comes by
// another browser, or a second time, has no secret to match.
type flow struct{ secret sessionID }

func (f flow) derive(purpose string) string {
	m := hmac.New(sha256.New, f.secret[:])
	m.Write([]byte(purpose))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (f flow) state() string    { return f.derive("weir oidc state") }
func (f flow) nonce() string    { return f.derive("weir oidc nonce") }
func (f flow) verifier() string { return f.derive("weir oidc verifier") }

// flowWithin is how long somebody may take to log in at the provider.
const flowWithin = 10 * time.Minute

func (s *Server) flowCookieName() string { return s.cookieName() + "-oidc" }

// setFlow gives the browser the secret of a flow, and where it is to lead; the empty
// value takes it away. The answer comes by a link from another site, which is why the
// cookie is lax.
func (s *Server) setFlow(w http.ResponseWriter, value string) {
	c := &http.Cookie{Name: s.flowCookieName(), Value: value, Path: "/", HttpOnly: true, Secure: s.options.TLS,
		SameSite: http.SameSiteLaxMode, MaxAge: int(flowWithin / time.Second)}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// flow returns what setFlow gave the browser.
func (s *Server) flow(r *http.Request) (f flow, next string, ok bool) {
	found := r.CookiesNamed(s.flowCookieName())
	if len(found) != 1 {
		return f, "/", false
	}
	secret, lead, _ := strings.Cut(found[0].Value, ".")
	f.secret, ok = parseSessionID(secret)
	path, err := base64.RawURLEncoding.DecodeString(lead)
	if err != nil {
		return f, "/", false
	}
	return f, localPath(string(path)), ok
}

// oidcBegin sends a browser to the provider.
func (s *Server) oidcBegin(w http.ResponseWriter, r *http.Request) error {
	if s.provider == nil {
		return noProvider
	}
	next := localPath(r.URL.Query().Get("next"))
	d, err := s.provider.discover(r.Context())
	if err != nil {
		return s.oidcFailed(w, r, "", next, err)
	}
	f := flow{newSessionID()}
	s.setFlow(w, f.secret.String()+"."+base64.RawURLEncoding.EncodeToString([]byte(next)))
	http.Redirect(w, r, d.oauth.AuthCodeURL(f.state(), oidc.Nonce(f.nonce()), oauth2.S256ChallengeOption(f.verifier())), http.StatusSeeOther)
	return nil
}

var noProvider = problemf(http.StatusNotFound, "There is no identity provider to log in at. Log in by password.")

// oidcCallback lets somebody in whom the provider has sent back.
func (s *Server) oidcCallback(w http.ResponseWriter, r *http.Request) error {
	if s.provider == nil {
		return noProvider
	}
	f, next, ok := s.flow(r)
	q := r.URL.Query()
	ok = ok && len(q["state"]) == 1 && subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.state())) == 1
	bucket := bucketOf(s.address(r))
	if !ok {
		// Any page can make a browser ask for this one, which must not use up what a log-in
		// from there needs.
		bucket += " stale"
	}
	if taken, err := s.takeLogin(w, r, bucket, loginForm{Next: next}); !taken {
		return err
	}
	if !ok {
		return s.oidcFailed(w, r, "", "/", stale)
	}
	s.setFlow(w, "") // once
	// Who hangs up before the answer has tried all the same, and it is audited.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	who, err := s.oidcAnswer(r.Context(), f, q)
	if err != nil {
		return s.oidcFailed(w, r, "", next, err)
	}
	u, err := s.vouched(r.Context(), who)
	if err != nil {
		return s.oidcFailed(w, r, u.Name, next, err)
	}
	err = s.audit(r.Context(), schemas.AuditEntry{Who: []byte(u.Name), What: schemas.AuditLoggedIn,
		Detail: fmt.Appendf(nil, "subject %s of %s, as %s", who.subject, who.issuer, u.Roles)})
	if err != nil {
		return err
	}
	var id sessionID
	if u, err = s.options.Accounts.admit(r.Context(), u); err == nil {
		id, err = s.options.Accounts.begin(r.Context(), u, who.voucher, requesterOf(r.Context()).address, s.cookie(r))
	}
	if errors.Is(err, ErrRefused) {
		return s.oidcFailed(w, r, u.Name, next, &denial{"Your account was changed, or you were logged out, meanwhile. Try once more.", err.Error()})
	}
	if err != nil {
		return err
	}
	s.buckets.give(bucket)
	s.setCookie(w, &id)
	http.Redirect(w, r, s.landing(next, &u), http.StatusSeeOther)
	return nil
}

// oidcAnswer makes of what the provider sent who it is.
func (s *Server) oidcAnswer(ctx context.Context, f flow, q url.Values) (person, error) {
	d, err := s.provider.discover(ctx)
	if err != nil {
		return person{}, err
	}
	// Whose answer it is, before anything in it counts: a code of one provider must
	// not be sent to another.
	if iss := q["iss"]; len(iss) > 1 || len(iss) == 1 && iss[0] != s.provider.config.Issuer || len(iss) == 0 && d.names {
		return person{}, unchecked("the answer is of another provider")
	}
	if q.Has("error") {
		code := errorCode(q.Get("error"))
		return person{}, &denial{"The identity provider did not let you in (" + code + ").", "the provider says " + code}
	}
	if len(q["code"]) != 1 || q.Get("code") == "" {
		return person{}, unchecked("not one code in the answer")
	}
	return s.provider.redeem(ctx, d, f, q.Get("code"))
}

// errorCode is a code of OAuth as it may be shown: a word, not what anybody writes
// into a link.
func errorCode(text string) string {
	if len(text) > 64 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" || text == "" {
		return "no known code"
	}
	return text
}

// vouched returns the account of a person, as it will be once the person is in.
func (s *Server) vouched(ctx context.Context, who person) (User, error) {
	u, err := s.options.Accounts.accountOf(ctx, who)
	if err != nil {
		return u, err
	}
	roles := s.provider.config.roles(who.groups)
	switch {
	case roles == 0:
		// What the person may no more ends now, in other browsers too.
		if u.generation > 0 {
			if err := s.options.Accounts.expel(ctx, u.Name); err != nil {
				return u, err
			}
		}
		return u, &denial{"You are known to " + s.provider.name() + ", but none of your groups there may work at this desk. Whoever gives out its groups can change that.",
			fmt.Sprintf("no group of subject %s of %s has a role here; the groups are %q", who.subject, who.issuer, who.groups)}
	case u.Disabled:
		return u, &denial{"Your account at this desk is disabled. Whoever gives out accounts can help.", "disabled"}
	}
	u.Roles = roles
	return u, nil
}

// A denial is why somebody is not let in: what the page says, and what the audit log.
type denial struct{ page, why string }

func (d *denial) Error() string { return ErrRefused.Error() + ": " + d.why }

// unchecked makes the denial of an answer that does not pass the checks.
func unchecked(format string, a ...any) error {
	return &denial{"The answer of the identity provider did not pass the checks, so nobody was let in. Try once more; if it stays so, tell whoever runs weir: the audit log says why.", fmt.Sprintf(format, a...)}
}

var stale = &denial{"This log-in was not begun in this browser, was finished before, or took longer than 10 minutes. Begin it again.",
	"the answer of the identity provider is to no log-in of this browser"}

// oidcFailed says why nobody was let in, to the audit log and on the page. Where the
// provider is away nobody has tried.
func (s *Server) oidcFailed(w http.ResponseWriter, r *http.Request, name, next string, err error) error {
	var d *denial
	form := loginForm{Next: next}
	switch {
	case errors.As(err, &d):
		s.options.Log.Warn("log-in refused", "provider", s.provider.config.Issuer, "cause", d.why)
		if err := s.audit(r.Context(), schemas.AuditEntry{Who: []byte(name), What: schemas.AuditLoginFailed, Detail: []byte(d.Error())}); err != nil {
			return err
		}
		form.Wrong = d.page
		if d != stale {
			// There the person is in still, and would come back as the same one.
			form.Out = s.provider.logoutURL()
		}
		return s.loginForm(w, r, http.StatusForbidden, form)
	case errors.Is(err, errAway):
		s.options.Log.Error("identity provider away", "provider", s.provider.config.Issuer, "cause", err)
		form.Wrong = "The identity provider " + s.provider.name() + " cannot be reached. Try again in a minute."
		if s.passwords() {
			form.Wrong += " Whoever has a password at this desk can log in by it."
		}
		w.Header().Set("Retry-After", "60")
		return s.loginForm(w, r, http.StatusServiceUnavailable, form)
	}
	return err
}

// passwords reports whether anybody may log in by password.
func (s *Server) passwords() bool {
	return s.options.PasswordsOf == nil || len(s.options.PasswordsOf) > 0
}

// byPassword reports whether an account may log in by password.
func (s *Server) byPassword(name string) bool {
	return s.options.PasswordsOf == nil || slices.Contains(s.options.PasswordsOf, name)
}
