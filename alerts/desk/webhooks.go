package desk

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/weir-risk/weir/alerts"
)

// webhook says which events are sent where. Its deliveries are rows beside it: each
// goes when the other side has taken it, or stays as a dead letter.
type webhook struct {
	ID      int64
	URL     string
	Events  []string
	Enabled bool
	By      string
	Created int64
	Last    int64  // of the last attempt, ms since the Unix epoch; 0 for none
	Failure string // of it; empty where it was taken
	secret  []byte
	// Pending are the deliveries that are to be tried, Dead those that are given up.
	Pending, Dead int
}

// The bounds of webhooks. One with pendingMax deliveries waits with making more, and
// one with deadMax dead letters too, until somebody looks: nothing is thrown away,
// since what happened stays in the topics.
const (
	webhooksMax = 20
	urlMax      = 2048
	pendingMax  = 1000
	deadMax     = 10000
)

var (
	errNoWebhook = problemf(http.StatusNotFound, "There is no such webhook, or no such delivery. Somebody else may have deleted it; load the page anew.")
	errManyHooks = problemf(http.StatusBadRequest, "There are %d webhooks, and no more are taken. Delete one first.", webhooksMax)
)

// secretText is how a secret is shown, as the Standard Webhooks have it.
func secretText(secret []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(secret) }

// parseHookURL checks where a webhook leads, or says what is wrong with it. Where that is in the network is seen when
// a connection is made: a name may lead elsewhere by then.
func parseHookURL(text string, plain bool) (address, wrong string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > urlMax || u.Hostname() == "" || u.Fragment != "" || strings.ContainsAny(text, " \t\r\n"):
		return "", "That is no address such as https://host/path."
	case u.User != nil:
		return "", "An address with a password in it is not taken: messages are signed instead."
	case u.Scheme != "https" && (u.Scheme != "http" || !plain):
		return "", "An address begins with https://. Plain http is for networks that --webhooks-allow names."
	}
	return u.String(), ""
}

// addWebhook makes a webhook that sends what happens behind the positions.
func (a *Accounts) addWebhook(ctx context.Context, h *webhook, from map[place]int64) error {
	h.secret = make([]byte, 32)
	_, _ = rand.Read(h.secret) // it never fails, see crypto/rand
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO webhooks (url, events, secret, enabled, by, created_ms, last_ms, last)
			SELECT ?, ?, ?, 1, ?, ?, 0, '' WHERE (SELECT count(*) FROM webhooks) < ?`, h.URL, strings.Join(h.Events, ","), h.secret, h.By, a.now(), webhooksMax)
		if err == nil {
			err = one(done, errManyHooks)
		}
		if err == nil {
			h.ID, err = done.LastInsertId()
		}
		for p, at := range from {
			if err == nil {
				err = setPosition(ctx, tx, h.ID, p, at)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add webhook: %w", err)
	}
	return nil
}

// place is a partition of a topic that has an id: another topic of the name is another
// place.
type place struct {
	alerts.Place
	id [16]byte
}

func setPosition(ctx context.Context, tx *sql.Tx, hook int64, p place, at int64) error {
	_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO webhook_positions (webhook, topic, part, id, at) VALUES (?, ?, ?, ?, ?)`, hook, p.Topic, p.Partition, p.id[:], at)
	return err
}

// position returns where a webhook is in a place, -1 at its beginning.
func (a *Accounts) position(ctx context.Context, hook int64, p place) (at int64, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT at FROM webhook_positions WHERE webhook = ? AND topic = ? AND part = ? AND id = ?`, hook, p.Topic, p.Partition, p.id[:]).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return -1, nil
	}
	return at, err
}

const hookColumns = `webhook, url, events, secret, enabled, by, created_ms, last_ms, last,
	(SELECT count(*) FROM deliveries d WHERE d.webhook = webhooks.webhook AND NOT dead), (SELECT count(*) FROM deliveries d WHERE d.webhook = webhooks.webhook AND dead)`

// webhooks returns all webhooks, or the one of an id that is not 0.
func (a *Accounts) webhooks(ctx context.Context, id int64) (list []webhook, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT `+hookColumns+` FROM webhooks WHERE ? IN (0, webhook) ORDER BY webhook`, id)
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var h webhook
		var events string
		if err := rows.Scan(&h.ID, &h.URL, &events, &h.secret, &h.Enabled, &h.By, &h.Created, &h.Last, &h.Failure, &h.Pending, &h.Dead); err != nil {
			return nil, fmt.Errorf("list webhooks: %w", err)
		}
		h.Events = strings.Split(events, ",")
		list = append(list, h)
	}
	return list, rows.Err()
}

// webhook returns one; errNoWebhook where there is none.
func (a *Accounts) webhook(ctx context.Context, id int64) (h webhook, err error) {
	list, err := a.webhooks(ctx, id)
	if err == nil && (len(list) == 0 || id == 0) {
		err = errNoWebhook
	}
	if err != nil {
		return h, err
	}
	return list[0], nil
}

// enableWebhook makes a webhook send, or wait.
func (a *Accounts) enableWebhook(ctx context.Context, id int64, enabled bool) error {
	return a.changeHook(ctx, `UPDATE webhooks SET enabled = ? WHERE webhook = ?`, enabled, id)
}

// deleteWebhook deletes a webhook and what it had to deliver.
func (a *Accounts) deleteWebhook(ctx context.Context, id int64) error {
	return a.changeHook(ctx, `DELETE FROM webhooks WHERE webhook = ?`, id)
}

// retryDead has dead letters of a webhook tried again from the first attempt on: one,
// or all where delivery is 0.
func (a *Accounts) retryDead(ctx context.Context, hook, delivery int64) error {
	return a.changeHook(ctx, `UPDATE deliveries SET dead = 0, attempts = 0, due_ms = ? WHERE webhook = ? AND ? IN (0, delivery) AND dead`, a.now(), hook, delivery)
}

// discardDead throws dead letters away, as retryDead has them tried again.
func (a *Accounts) discardDead(ctx context.Context, hook, delivery int64) error {
	return a.changeHook(ctx, `DELETE FROM deliveries WHERE webhook = ? AND ? IN (0, delivery) AND dead`, hook, delivery)
}

func (a *Accounts) changeHook(ctx context.Context, text string, args ...any) error {
	done, err := a.db.ExecContext(ctx, text, args...)
	if err == nil {
		err = one(done, errNoWebhook)
	}
	if err != nil {
		return fmt.Errorf("change webhook: %w", err)
	}
	return nil
}

// delivery is one event on its way to one webhook.
type delivery struct {
	row      int64
	ID       string // webhook-id: the same however often it is sent
	Event    string
	Alert    string
	body     []byte
	Made     int64
	Due      int64
	Attempts int
	Failure  string
}

// deliveries returns the first so many of a webhook, dead ones or those that are due.
func (a *Accounts) deliveries(ctx context.Context, hook int64, dead bool, limit int) (list []delivery, err error) {
	due := a.now()
	if dead {
		due = 1 << 62
	}
	rows, err := a.db.QueryContext(ctx, `SELECT delivery, id, event, alert, body, made_ms, due_ms, attempts, failure FROM deliveries
		WHERE webhook = ? AND dead = ? AND due_ms <= ? ORDER BY due_ms, delivery LIMIT ?`, hook, dead, due, limit)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d delivery
		if err := rows.Scan(&d.row, &d.ID, &d.Event, &d.Alert, &d.body, &d.Made, &d.Due, &d.Attempts, &d.Failure); err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// nextDue returns when a delivery of a webhook is due next, 0 for none.
func (a *Accounts) nextDue(ctx context.Context, hook int64) (at int64, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT coalesce(min(due_ms), 0) FROM deliveries WHERE webhook = ? AND NOT dead`, hook).Scan(&at)
	return at, err
}

// addDeliveries keeps what is to be sent, and that it was looked at: both or neither.
func (a *Accounts) addDeliveries(ctx context.Context, hook int64, p place, at int64, list []delivery) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		for _, d := range list {
			_, err := tx.ExecContext(ctx, `INSERT INTO deliveries (webhook, id, event, alert, body, made_ms, due_ms, attempts, failure, dead)
				VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', 0) ON CONFLICT DO NOTHING`, hook, d.ID, d.Event, d.Alert, d.body, a.now(), a.now())
			if err != nil {
				return err
			}
		}
		return setPosition(ctx, tx, hook, p, at)
	})
	if err != nil {
		return fmt.Errorf("keep %d deliveries: %w", len(list), err)
	}
	return nil
}

// settleDeliveries keeps what came of attempts: what was taken goes.
func (a *Accounts) settleDeliveries(ctx context.Context, hook int64, tried []attempt) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		for _, t := range tried {
			text, args := `DELETE FROM deliveries WHERE delivery = ?`, []any{t.row}
			if t.failure != "" {
				text, args = `UPDATE deliveries SET attempts = ?, failure = ?, due_ms = ?, dead = ? WHERE delivery = ?`, []any{t.Attempts + 1, t.failure, t.again, t.dead, t.row}
			}
			if _, err := tx.ExecContext(ctx, text, args...); err != nil {
				return err
			}
		}
		last := tried[len(tried)-1]
		_, err := tx.ExecContext(ctx, `UPDATE webhooks SET last_ms = ?, last = ? WHERE webhook = ?`, a.now(), last.failure, hook)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what came of %d deliveries: %w", len(tried), err)
	}
	return nil
}
