package desk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// Token lets a program in, for an account and with some of its roles, until it
// expires. The text that does so is shown once, when it is made; the file holds its
// SHA-256 only.
type Token struct {
	ID      int64
	User    string
	Name    string  // what it is for
	Roles   RoleSet // of the account's at most these, whatever it has later
	Created int64   // ms since the Unix epoch, as the rest
	Expires int64
	Used    int64 // to the minute; 0 for never
	Revoked int64 // 0 where it is not
}

// tokenPrefix begins every token, so that tools which look for secrets in files know
// one when they see it.
const tokenPrefix = "weir_"

// TokenMax is how long a token may be good for: whoever needs it longer shows once a
// year that there still is somebody.
const TokenMax = 400 * 24 * time.Hour

// ErrNoToken says that there is no such token, or that it is revoked already.
var ErrNoToken = errors.New("there is no token of this number that is not revoked")

// AddToken makes a token of the User, Name, Roles and Expires that are given, and
// returns it with its text, which is kept nowhere.
func (a *Accounts) AddToken(ctx context.Context, t Token) (Token, string, error) {
	u, err := a.User(ctx, t.User)
	if err == nil {
		err = parseDisplay(t.Name)
	}
	t.User, t.Created = u.Name, a.now()
	switch {
	case err != nil:
	case t.Roles == 0 || t.Roles&^u.Roles != 0:
		err = fmt.Errorf("a token has one or more of the account's roles (%s), not %s", u.Roles, t.Roles&^u.Roles)
	case t.Expires <= t.Created || t.Expires > t.Created+TokenMax.Milliseconds():
		err = fmt.Errorf("a token expires within %d days", TokenMax/(24*time.Hour))
	}
	if err != nil {
		return t, "", fmt.Errorf("make token: %w", err)
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails, see crypto/rand
	text := tokenPrefix + cookieText.EncodeToString(secret[:])
	err = transaction(ctx, a.db, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO tokens (hash, user, name, roles, created_ms, expires_ms, used_ms, revoked_ms)
			VALUES (?, ?, ?, ?, ?, ?, 0, 0)`, hashOf(text), t.User, t.Name, t.Roles.String(), t.Created, t.Expires)
		if err == nil {
			t.ID, err = done.LastInsertId()
		}
		if err == nil {
			err = a.post(ctx, tx, changed(t.User, fmt.Sprintf("token %d made, for %s, as %s", t.ID, t.Name, t.Roles.Words())))
		}
		return err
	})
	if err != nil {
		return t, "", fmt.Errorf("make token of %s: %w", t.User, err)
	}
	return t, text, nil
}

// hashOf is what is kept of a token or of an Idempotency-Key.
func hashOf(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

const tokenColumns = `token, user, tokens.name, tokens.roles, tokens.created_ms, expires_ms, used_ms, revoked_ms`

// scanToken takes the tokenColumns, and what follows them into more.
func scanToken(scan func(...any) error, t *Token, more ...any) error {
	var roles string
	if err := scan(append([]any{&t.ID, &t.User, &t.Name, &roles, &t.Created, &t.Expires, &t.Used, &t.Revoked}, more...)...); err != nil {
		return err
	}
	var err error
	t.Roles, err = ParseRoles(roles)
	return err
}

// Tokens returns all tokens, also those that are good for nothing any more, in the
// order in which they were made.
func (a *Accounts) Tokens(ctx context.Context) (list []Token, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT `+tokenColumns+` FROM tokens ORDER BY token`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t Token
		if err := scanToken(rows.Scan, &t); err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// RevokeToken makes a token good for nothing, from the next request on.
func (a *Accounts) RevokeToken(ctx context.Context, id int64) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		var user string
		err := tx.QueryRowContext(ctx, `UPDATE tokens SET revoked_ms = ? WHERE token = ? AND revoked_ms = 0 RETURNING user`, a.now(), id).Scan(&user)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNoToken
		}
		if err == nil {
			err = a.post(ctx, tx, changed(user, fmt.Sprintf("token %d revoked", id)))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke token %d: %w", id, err)
	}
	return nil
}

// byToken returns the account that a token lets in, with the roles that both have.
// With an error that is ErrRefused comes the account that was tried, if there is one.
func (a *Accounts) byToken(ctx context.Context, text string) (u User, t Token, err error) {
	var roles string
	err = scanToken(a.db.QueryRowContext(ctx, `SELECT `+tokenColumns+`, users.name, display, users.roles, disabled FROM tokens
		JOIN users ON users.name = tokens.user WHERE hash = ?`, hashOf(text)).Scan, &t, &u.Name, &u.Display, &roles, &u.Disabled)
	if errors.Is(err, sql.ErrNoRows) {
		return u, t, fmt.Errorf("%w: no such token", ErrRefused)
	}
	if err == nil {
		u.Roles, err = ParseRoles(roles)
	}
	if err != nil {
		return u, t, fmt.Errorf("look up token: %w", err)
	}
	u.Roles &= t.Roles
	now := a.now()
	for why, so := range map[string]bool{"revoked": t.Revoked != 0, "expired": now >= t.Expires, "the account is disabled": u.Disabled} {
		if so {
			return u, t, fmt.Errorf("%w: token %d: %s", ErrRefused, t.ID, why)
		}
	}
	if now >= t.Used+seenEvery.Milliseconds() {
		if _, err := a.db.ExecContext(ctx, `UPDATE tokens SET used_ms = max(used_ms, ?) WHERE token = ?`, now, t.ID); err != nil {
			return u, t, fmt.Errorf("use token %d: %w", t.ID, err)
		}
	}
	return u, t, nil
}

// letIn finds who makes a request of a program by its token. Tokens that are none are
// audited and bounded as log-ins are; a good one costs nothing, so that nobody keeps a
// program out who shares its address.
func (s *Server) letIn(w http.ResponseWriter, r *http.Request, _ *route) error {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	var u User
	var t Token
	err := fmt.Errorf("%w: no bearer token", ErrRefused)
	if strings.EqualFold(scheme, "Bearer") {
		u, t, err = s.options.Accounts.byToken(r.Context(), strings.TrimSpace(text))
	}
	q := requesterOf(r.Context())
	switch {
	case err == nil:
		q.user, q.token = &u, t.Name
		return nil
	case !errors.Is(err, ErrRefused):
		return err
	}
	if wait := s.buckets.take(bucketOf(s.address(r)), s.options.Now().UnixMilli()); wait > 0 {
		s.options.Metrics.logins.WithLabelValues("limited").Inc()
		seconds := int((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		return problemf(http.StatusTooManyRequests, "There were too many wrong tokens from this address. Try again in %d s.", seconds)
	}
	if err := s.audit(r.Context(), schemas.AuditEntry{Who: []byte(u.Name), What: schemas.AuditLoginFailed, Detail: []byte(err.Error())}); err != nil {
		return err
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return problemf(http.StatusUnauthorized, "This token lets nobody in. It may be mistyped, expired or revoked, or its account is disabled; weir user token makes another.")
}
