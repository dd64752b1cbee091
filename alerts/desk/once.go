package desk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// keysFor is how long an Idempotency-Key is remembered: a client that tries again
// after a week does so knowingly.
const keysFor = 7 * 24 * time.Hour

// keyMax bounds an Idempotency-Key.
const keyMax = 255

// once is a request that is to act once, however often it is sent.
type once struct {
	user, key string
	// id is the action's: it follows from the user, the key and what was asked, so that
	// the log itself knows a request that comes again, whatever was lost in between.
	id    []byte
	alert string // that the request before this one acted on; empty for none
	kept  bool   // it came with a key
}

// errOtherBody is of a key that came with another request before.
var errOtherBody = problemf(http.StatusUnprocessableEntity, "This Idempotency-Key was sent with another request before. Nothing was done: a new request takes a new key.")

// once reads the Idempotency-Key of a request and remembers what is asked under it. A
// request without one is a new one each time.
func (s *Server) once(r *http.Request, body []byte) (o once, err error) {
	o.user, o.key = s.user(r).Name, r.Header.Get("Idempotency-Key")
	if o.key == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // it never fails, see crypto/rand
		o.id = hex.AppendEncode(nil, id[:])
		return o, nil
	}
	if len(o.key) > keyMax {
		return o, problemf(http.StatusBadRequest, "An Idempotency-Key has %d bytes at most. Nothing was done.", keyMax)
	}
	h := sha256.New()
	for _, part := range []string{o.user, o.key, r.URL.Path, string(body)} {
		_ = binary.Write(h, binary.BigEndian, int64(len(part))) // a hash takes all
		_, _ = h.Write([]byte(part))
	}
	sum := h.Sum(nil)
	o.id, o.kept = hex.AppendEncode(nil, sum[:16]), true
	o.alert, err = s.options.Accounts.remember(r.Context(), o.user, o.key, sum)
	return o, err
}

// remember keeps what somebody asked under a key, and returns the alert that was
// chosen for it before. errOtherBody is of a key that has another one.
func (a *Accounts) remember(ctx context.Context, user, key string, body []byte) (alert string, err error) {
	now := a.now()
	_, err = a.db.ExecContext(ctx, `DELETE FROM requests WHERE at_ms <= ?`, now-keysFor.Milliseconds())
	if err == nil {
		_, err = a.db.ExecContext(ctx, `INSERT INTO requests (user, key, body, alert, at_ms) VALUES (?, ?, ?, '', ?) ON CONFLICT DO NOTHING`, user, hashOf(key), body, now)
	}
	var before []byte
	if err == nil {
		err = a.db.QueryRowContext(ctx, `SELECT body, alert FROM requests WHERE user = ? AND key = ?`, user, hashOf(key)).Scan(&before, &alert)
	}
	if err != nil {
		return "", fmt.Errorf("remember a request of %s: %w", user, err)
	}
	if string(before) != string(body) {
		return "", errOtherBody
	}
	return alert, nil
}

// choose makes an alert the one that a request acts on, before it does, and returns
// which one it is: of two that come at once, one chooses.
func (a *Accounts) choose(ctx context.Context, o *once, alert string) error {
	if !o.kept {
		o.alert = alert
		return nil
	}
	_, err := a.db.ExecContext(ctx, `UPDATE requests SET alert = ? WHERE user = ? AND key = ? AND alert = ?`, alert, o.user, hashOf(o.key), o.alert)
	if err == nil {
		err = a.db.QueryRowContext(ctx, `SELECT alert FROM requests WHERE user = ? AND key = ?`, o.user, hashOf(o.key)).Scan(&o.alert)
	}
	if err != nil {
		return fmt.Errorf("remember a request of %s: %w", o.user, err)
	}
	return nil
}
