package desk

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/weir-risk/weir/schemas"
)

// logoutPath is where the provider says that it has ended a session: OpenID Connect
// Back-Channel Logout 1.0.
const logoutPath = "/login/oidc/logout"

// logoutWithin is for how long after it was made a token counts that ends sessions, and
// so for how long it is known again: providers send one at once.
const logoutWithin = 10 * time.Minute

// logoutEvent is what the events of such a token hold.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// oidcLogout ends the sessions that the provider says are over. It sends this itself, by
// no browser, so that there is nobody to see a page.
func (s *Server) oidcLogout(w http.ResponseWriter, r *http.Request) error {
	if s.provider == nil {
		return noProvider
	}
	// Only what is refused is taken from the bucket: a provider may end many at once.
	bucket, now := bucketOf(s.address(r))+" log-out", s.options.Now().UnixMilli()
	if wait := s.buckets.take(bucket, now); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		return problemf(http.StatusTooManyRequests, "Too many log-outs from this address were refused.")
	}
	s.buckets.give(bucket)
	names, err := s.vouchedOut(r)
	var d *denial
	switch {
	case errors.As(err, &d):
		s.buckets.take(bucket, now)
		s.options.Log.Warn("log-out refused", "provider", s.provider.config.Issuer, "cause", d.why)
		if err := s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditDenied, Of: []byte(r.Method + " " + r.URL.Path), Detail: []byte(d.why)}); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request"}`)) // who does not read it knows the status
		return nil
	case errors.Is(err, errAway):
		s.options.Log.Error("identity provider away", "provider", s.provider.config.Issuer, "cause", err)
		return problemf(http.StatusServiceUnavailable, "The provider's keys cannot be read now, so nobody was logged out. Try again in a minute.")
	case err != nil:
		return err
	}
	// It is done before it is audited, as every log-out is.
	for _, name := range names {
		err := s.audit(r.Context(), schemas.AuditEntry{Who: []byte(name), What: schemas.AuditLoggedOut, Detail: []byte("by " + s.provider.config.Issuer)})
		if err != nil {
			s.options.Log.Error("log-out not audited", "cause", err)
			return problemf(http.StatusServiceUnavailable, "The sessions are ended. The audit log could not be told.")
		}
	}
	return nil // 200, also where nobody was in
}

// vouchedOut ends the sessions of a request's token, and returns whose they were.
func (s *Server) vouchedOut(r *http.Request) ([]string, error) {
	if err := r.ParseForm(); err != nil {
		return nil, unchecked("the form cannot be read")
	}
	if len(r.PostForm["logout_token"]) != 1 {
		return nil, unchecked("not one logout_token in the form")
	}
	// Whoever hangs up has told it all the same.
	ctx := context.WithoutCancel(r.Context())
	t, err := s.provider.logoutToken(ctx, r.PostForm.Get("logout_token"))
	if err != nil {
		return nil, err
	}
	names, err := s.options.Accounts.vouchedOut(ctx, t)
	if errors.Is(err, errTold) {
		err = unchecked("%v", err)
	}
	return names, err
}

// logoutToken reads a token and checks it.
func (p *provider) logoutToken(ctx context.Context, raw string) (*oidc.LogoutToken, error) {
	d, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := d.verifier.VerifyLogout(ctx, raw)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // the library does not wrap it
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	if err != nil {
		return nil, unchecked("%v", err)
	}
	// What the library leaves to its caller.
	var claims struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	var header struct {
		Type string `json:"typ"`
	}
	first, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	switch now := p.now(); {
	case err != nil || json.Unmarshal(text, &header) != nil:
		return nil, unchecked("the token's header cannot be read")
	case !slices.Contains([]string{"", "jwt", "logout+jwt"}, strings.TrimPrefix(strings.ToLower(header.Type), "application/")):
		return nil, unchecked("a token of type %.40q ends no session", header.Type)
	case t.Claims(&claims) != nil || !bytes.HasPrefix(claims.Events[logoutEvent], []byte("{")):
		return nil, unchecked("its event is no object")
	case len(t.TokenID) > subjectMax || len(t.Subject) > subjectMax || len(t.SessionID) > subjectMax:
		return nil, unchecked("an id in it is too long")
	case t.IssuedAt.After(now.Add(skew)):
		return nil, unchecked("the token was issued at %s, which is to come: are the clocks right?", t.IssuedAt.UTC().Format(time.RFC3339))
	case t.IssuedAt.Before(now.Add(-logoutWithin)):
		return nil, unchecked("the token was issued at %s, more than %v ago", t.IssuedAt.UTC().Format(time.RFC3339), logoutWithin)
	}
	return t, nil
}

// errTold is of a token that came before.
var errTold = errors.New("the token was used before")

// vouchedOut ends the sessions that a token is about, and returns whose they were: the
// one of its sid, or all of its subject. Where it says both, those of the subject are
// ended too of which the provider never said which they are. It is remembered until the
// token is too old, so that neither it counts again nor a session begins that it ended.
func (a *Accounts) vouchedOut(ctx context.Context, t *oidc.LogoutToken) (names []string, err error) {
	err = transaction(ctx, a.db, func(tx *sql.Tx) error {
		now := a.now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM logouts WHERE until_ms < ?`, now); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, `INSERT INTO logouts (issuer, jti, subject, sid, at_s, until_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			t.Issuer, t.TokenID, t.Subject, t.SessionID, t.IssuedAt.Unix(), t.IssuedAt.Add(logoutWithin).UnixMilli())
		if err == nil {
			err = one(done, errTold)
		}
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `DELETE FROM sessions WHERE user IN (SELECT name FROM users WHERE issuer = ?1 AND (?2 = '' OR subject = ?2))
			AND (?3 = '' OR sid = ?3 OR sid = '' AND ?2 <> '') RETURNING user`, t.Issuer, t.Subject, t.SessionID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("end sessions of subject %s of %s: %w", t.Subject, t.Issuer, err)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
