package desk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// How sessions live. An id is replaced every rotateEvery, so that one that was copied
// is good for no longer. The browser may lose the answer that brings the new id, so
// the old one stays good until the new one is shown, and for grace longer, for the
// requests that were under way. Whoever holds the file writes when a session was used
// only every seenEvery: a write is a sync, and pages should not wait for one.
const (
	rotateEvery = 15 * time.Minute
	grace       = 30 * time.Second
	seenEvery   = time.Minute
	sessionsMax = 20 // of an account; the one not used for longest makes room
)

// sessionID is what a cookie holds. The file holds its SHA-256 only: who reads a
// backup cannot log in by it.
type sessionID [32]byte

func newSessionID() (id sessionID) {
	_, _ = rand.Read(id[:]) // it never fails, see crypto/rand
	return id
}

func (id sessionID) hash() []byte {
	h := sha256.Sum256(id[:])
	return h[:]
}

var cookieText = base64.RawURLEncoding.Strict()

func (id sessionID) String() string { return cookieText.EncodeToString(id[:]) }

// parseSessionID reads what String writes, and nothing else.
func parseSessionID(text string) (id sessionID, ok bool) {
	if len(text) != cookieText.EncodedLen(len(id)) {
		return id, false
	}
	b, err := cookieText.DecodeString(text)
	if err != nil || len(b) != len(id) { // the decoder passes line ends over
		return id, false
	}
	copy(id[:], b)
	return id, true
}

// Session is one log-in of a user.
type Session struct {
	User User
	row  int64
	// fresh is the id that the browser is to use from now on; nil where it keeps its.
	fresh *sessionID
}

// ErrNoSession says that nobody is logged in by this id.
var ErrNoSession = errors.New("there is no such session")

// voucher is the session at an identity provider that lets somebody in, and when it was
// vouched for; zero where a password does.
type voucher struct {
	sid string
	at  int64 // seconds since the Unix epoch
}

// begin makes a session for somebody who was let in, and ends the one of the id that
// the browser had before: an id that somebody planted there must not become a session.
// Nor must what the provider has ended while its answer was on its way.
func (a *Accounts) begin(ctx context.Context, u User, v voucher, address string, before *sessionID) (id sessionID, err error) {
	id = newSessionID()
	now := a.now()
	err = transaction(ctx, a.db, func(tx *sql.Tx) error {
		if before != nil {
			h := before.hash()
			if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE id = ? OR next = ? OR old = ?`, h, h, h); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE seen_ms <= ? OR began_ms <= ?`, now-a.config.Idle.Milliseconds(), now-a.config.Absolute.Milliseconds()); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, `INSERT INTO sessions (id, user, address, began_ms, seen_ms, drawn_ms, next_ms, old_ms, sid)
			SELECT ?, name, ?, ?, ?, ?, 0, 0, ? FROM users WHERE name = ? AND generation = ? AND NOT disabled AND NOT EXISTS (
				SELECT 1 FROM logouts l WHERE l.issuer = users.issuer AND l.at_s >= ? AND iif(l.sid = '', l.subject = users.subject, l.sid = ?))`,
			id.hash(), address, now, now, now, v.sid, u.Name, u.generation, v.at, v.sid)
		if err == nil {
			err = one(done, fmt.Errorf("%w: the account was changed meanwhile", ErrRefused))
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE session IN (SELECT session FROM sessions
				WHERE user = ? ORDER BY seen_ms DESC, session DESC LIMIT -1 OFFSET ?)`, u.Name, sessionsMax)
		}
		return err
	})
	if err != nil {
		return id, fmt.Errorf("begin session of %s: %w", u.Name, err)
	}
	return id, nil
}

// sessionRow is what the file holds of a session.
type sessionRow struct {
	id, next                         []byte
	began, seen, drawn, nextAt, till int64
}

// resume returns the session of an id, ErrNoSession where there is none or it has
// ended. A request that the browser makes by itself is passive: it does not keep the
// session from ending, and does not change its id.
func (a *Accounts) resume(ctx context.Context, id sessionID, passive bool) (s Session, err error) {
	now, h := a.now(), id.hash()
	var r sessionRow
	err = scanUser(a.db.QueryRowContext(ctx, `SELECT `+userColumns+`, session, id, next, began_ms, seen_ms, drawn_ms, next_ms, old_ms
		FROM sessions JOIN users ON users.name = sessions.user WHERE id = ? OR next = ? OR old = ?`, h, h, h).Scan,
		&s.User, &s.row, &r.id, &r.next, &r.began, &r.seen, &r.drawn, &r.nextAt, &r.till)
	if errors.Is(err, sql.ErrNoRows) {
		return s, ErrNoSession
	}
	if err != nil {
		return s, fmt.Errorf("look up session: %w", err)
	}
	current, next := string(r.id) == string(h), string(r.next) == string(h)
	switch {
	case s.User.Disabled, a.over(now, r.began, r.seen),
		!current && !next && now >= r.till:
		return s, ErrNoSession
	case passive:
		return s, nil
	}
	if err := a.use(ctx, &s, &r, now, current, next); err != nil {
		return s, fmt.Errorf("use session of %s: %w", s.User.Name, err)
	}
	return s, nil
}

// again returns the user of a session that was resumed some time ago, as the account is
// now, and ErrNoSession where the session has ended. Its id may be another by then.
func (a *Accounts) again(ctx context.Context, s Session) (u User, err error) {
	now := a.now()
	var began, seen int64
	err = scanUser(a.db.QueryRowContext(ctx, `SELECT `+userColumns+`, began_ms, seen_ms FROM sessions JOIN users ON users.name = sessions.user
		WHERE session = ? AND user = ?`, s.row, s.User.Name).Scan, &u, &began, &seen)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return u, ErrNoSession
	case err != nil:
		return u, fmt.Errorf("look up session of %s: %w", s.User.Name, err)
	case u.Disabled, a.over(now, began, seen):
		return u, ErrNoSession
	}
	return u, nil
}

// over reports whether a session is too old, or was not used for too long.
func (a *Accounts) over(now, began, seen int64) bool {
	return now >= began+a.config.Absolute.Milliseconds() || now >= seen+a.config.Idle.Milliseconds()
}

// use notes that a session is used, and replaces its id when that is due. Each
// statement says what it was decided on, so that of two requests at once one wins.
func (a *Accounts) use(ctx context.Context, s *Session, r *sessionRow, now int64, current, next bool) error {
	switch {
	case next: // the browser has the new id: it is the id
		_, err := a.db.ExecContext(ctx, `UPDATE sessions SET old = id, old_ms = ?, id = next, drawn_ms = ?, next = NULL, seen_ms = ?
			WHERE session = ? AND next = ?`, now+grace.Milliseconds(), now, now, s.row, r.next)
		return err
	case current && now >= r.drawn+rotateEvery.Milliseconds() && (r.next == nil || now >= r.nextAt+grace.Milliseconds()):
		id := newSessionID()
		done, err := a.db.ExecContext(ctx, `UPDATE sessions SET next = ?, next_ms = ?, seen_ms = ?
			WHERE session = ? AND id = ? AND next_ms = ?`, id.hash(), now, now, s.row, r.id, r.nextAt)
		if err == nil && one(done, ErrNoSession) == nil {
			s.fresh = &id
		}
		return err
	case now >= r.seen+seenEvery.Milliseconds():
		_, err := a.db.ExecContext(ctx, `UPDATE sessions SET seen_ms = max(seen_ms, ?) WHERE session = ?`, now, s.row)
		return err
	}
	return nil
}

// end ends one session.
func (a *Accounts) end(ctx context.Context, s Session) error {
	if _, err := a.db.ExecContext(ctx, `DELETE FROM sessions WHERE session = ? AND user = ?`, s.row, s.User.Name); err != nil {
		return fmt.Errorf("end session of %s: %w", s.User.Name, err)
	}
	return nil
}

// EndSessions logs somebody out everywhere.
func (a *Accounts) EndSessions(ctx context.Context, name string) error {
	if _, err := a.db.ExecContext(ctx, `DELETE FROM sessions WHERE user = ?`, name); err != nil {
		return fmt.Errorf("end sessions of %s: %w", name, err)
	}
	return nil
}

// cookieName is the name of the cookie. The prefix __Host- keeps other hosts of the
// bank's domain from setting one, but browsers take it over TLS only.
func (s *Server) cookieName() string {
	if s.options.TLS {
		return "__Host-weir"
	}
	return "weir"
}

// setCookie gives the browser an id; nil takes it away.
func (s *Server) setCookie(w http.ResponseWriter, id *sessionID) {
	c := &http.Cookie{Name: s.cookieName(), Path: "/", HttpOnly: true, Secure: s.options.TLS, SameSite: http.SameSiteLaxMode, MaxAge: -1}
	if id != nil {
		c.Value, c.MaxAge = id.String(), 0 // until the browser is closed
	}
	http.SetCookie(w, c)
}

// cookie returns the id that the browser has, nil where it has none. Of several
// cookies of the name none is believed: one of them somebody else has set.
func (s *Server) cookie(r *http.Request) *sessionID {
	found := r.CookiesNamed(s.cookieName())
	if len(found) != 1 {
		return nil
	}
	id, ok := parseSessionID(found[0].Value)
	if !ok {
		return nil
	}
	return &id
}
