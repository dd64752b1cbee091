package desk

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrVouched says that an account has neither password nor roles of the desk's own.
var ErrVouched = errors.New("an identity provider vouches for this account: its password is there, and its roles follow from its groups there")

// accountOf returns the account of a person. Where there is none yet it returns the one
// that admit will make, of generation 0.
func (a *Accounts) accountOf(ctx context.Context, who person) (u User, err error) {
	err = scanUser(a.db.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE issuer = ? AND subject = ?`, who.issuer, who.subject).Scan, &u)
	if errors.Is(err, sql.ErrNoRows) {
		u = User{Issuer: who.issuer, Subject: who.subject}
		u.Name, err = a.freeName(ctx, who)
	}
	if err != nil {
		return u, fmt.Errorf("look up subject %s of %s: %w", who.subject, who.issuer, err)
	}
	if u.Display = displayOf(who.display); u.Display == "" {
		u.Display = u.Name
	}
	return u, nil
}

// namesMax bounds the people of one name.
const namesMax = 1000

// freeName returns a name for the account of a person: what the person is called at the
// provider, or that and a number where another account is called so, whoever made it.
func (a *Accounts) freeName(ctx context.Context, who person) (string, error) {
	base := nameOf(who)
	for i := 1; i <= namesMax; i++ {
		name := base
		if i > 1 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		_, err := a.User(ctx, name)
		if errors.Is(err, ErrNoUser) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%d accounts are called %s", namesMax, base)
}

// nameOf makes a name of an account of what somebody is called.
func nameOf(who person) string {
	name := strings.Map(func(r rune) rune {
		if r = unicode.ToLower(r); r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._@", r) {
			return r
		}
		return '-'
	}, who.name)
	name = strings.TrimLeft(name, "._-@")
	name = strings.TrimRight(name[:min(len(name), nameMax-len("-1000"))], "-")
	if name == "" {
		sum := sha256.Sum256([]byte(who.issuer + "\x00" + who.subject))
		name = "user-" + hex.EncodeToString(sum[:6])
	}
	return name
}

// unseen are characters that do not show, by which a text reads as another.
func unseen(r rune) bool { return !unicode.IsPrint(r) }

// displayOf makes what pages call a person of what a provider does; empty where nothing
// is left.
func displayOf(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unseen(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text))
	for i := range text {
		if i > displayMax-4 {
			return text[:i]
		}
	}
	return text
}

// admit gives an account the roles and the display name that a provider says it has
// now, and makes it where there is none. What changed since accountOf refuses it.
func (a *Accounts) admit(ctx context.Context, u User) (User, error) {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		detail, err := a.enrol(ctx, tx, &u)
		if err == nil && detail != "" {
			err = a.post(ctx, tx, changed(u.Name, detail+", as "+u.Issuer+" says"))
		}
		return err
	})
	if err != nil {
		return u, fmt.Errorf("admit %s: %w", u.Name, err)
	}
	return u, nil
}

// enrol does, and returns what of it is for the audit log: empty where roles and account
// are what they were.
func (a *Accounts) enrol(ctx context.Context, tx *sql.Tx, u *User) (detail string, err error) {
	now, before := a.now(), ""
	var done sql.Result
	if u.generation == 0 {
		u.generation, detail = 1, "made, as "+u.Roles.Words()
		done, err = tx.ExecContext(ctx, `INSERT INTO users (name, display, roles, disabled, password, generation, created_ms, changed_ms, issuer, subject)
			VALUES (?, ?, ?, 0, '', 1, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, u.Name, u.Display, u.Roles.String(), now, now, u.Issuer, u.Subject)
	} else {
		err = tx.QueryRowContext(ctx, `SELECT roles FROM users WHERE issuer = ? AND subject = ?`, u.Issuer, u.Subject).Scan(&before)
		if before != u.Roles.String() {
			detail = "roles " + u.Roles.Words()
		}
		if err == nil {
			done, err = tx.ExecContext(ctx, `UPDATE users SET display = ?, changed_ms = iif(roles = ?, changed_ms, ?), roles = ?
				WHERE issuer = ? AND subject = ? AND generation = ? AND NOT disabled`,
				u.Display, u.Roles.String(), now, u.Roles.String(), u.Issuer, u.Subject, u.generation)
		}
	}
	if err == nil {
		err = one(done, fmt.Errorf("%w: the account was changed meanwhile", ErrRefused))
	}
	return detail, err
}

// expel ends the sessions of somebody who is let in no more, and keeps out whoever is
// about to get one.
func (a *Accounts) expel(ctx context.Context, name string) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE users SET generation = generation + 1 WHERE name = ?`, name)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE user = ?`, name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("end sessions of %s: %w", name, err)
	}
	return nil
}
