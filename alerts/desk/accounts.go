package desk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// AccountsConfig is what accounts go by; zeros stand for the defaults.
type AccountsConfig struct {
	Now  func() time.Time // time.Now
	Cost Cost             // of new passwords: DefaultCost
	// Idle ends a session that is not used for so long: 30 minutes. Much less, and an
	// analyst on the phone is logged out in the middle of a case.
	Idle time.Duration
	// Absolute ends a session that began so long ago, however much it is used: 12
	// hours, longer than a shift.
	Absolute time.Duration
	// By is who changes accounts outside of requests, as the audit log is to say it.
	By string
}

// Accounts are the accounts, sessions and lock-outs, durable in one file. All methods
// may be called at once, also by several processes on one file.
type Accounts struct {
	db      *sql.DB
	config  AccountsConfig
	dummy   passwordHash  // is tried where there is no account
	turns   chan struct{} // one for each password that is tried
	waiting atomic.Int32  // for a turn
	tries   tries
}

// The errors that callers look for.
var (
	ErrNoUser  = errors.New("there is no account of this name")
	ErrIsThere = errors.New("there is an account of this name already")
)

// turnsAtOnce bounds the passwords that are tried at once, each of which takes the
// memory of its cost, and waitingMax those that wait for their turn. At a quarter of a
// second each, on two cores, the last of them is answered within writeWithin.
const (
	turnsAtOnce = 2
	waitingMax  = 64
)

// OpenAccounts opens the accounts in a file, and makes it where it is missing.
func OpenAccounts(ctx context.Context, file string, c AccountsConfig) (*Accounts, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Minute
	}
	if c.Absolute == 0 {
		c.Absolute = 12 * time.Hour
	}
	if err := c.Cost.check(); err != nil {
		return nil, err
	}
	if c.Idle < 2*seenEvery || c.Absolute < c.Idle {
		return nil, fmt.Errorf("sessions end after %v unused and after %v at all: the first is %v or more, the second no less than it", c.Idle, c.Absolute, 2*seenEvery)
	}
	db, err := openDB(ctx, file)
	if err != nil {
		return nil, err
	}
	return &Accounts{db: db, config: c, dummy: passwordHash{cost: c.Cost}, turns: make(chan struct{}, turnsAtOnce)}, nil
}

// Close closes the file.
func (a *Accounts) Close() error { return a.db.Close() }

func (a *Accounts) now() int64 { return a.config.Now().UnixMilli() }

// Check says what is wrong with a new account and its password, if anything is; Add
// would say the same.
func (u *User) Check(password string) error {
	name, err := ParseName(u.Name)
	if err == nil {
		err = parsePassword(name, password)
	}
	if err == nil && u.Roles&everyone == 0 {
		err = errors.New("an account has one role or more")
	}
	if err == nil && u.Display != "" {
		err = parseDisplay(u.Display)
	}
	return err
}

// Add makes an account, which is called by its name where no other name is given.
func (a *Accounts) Add(ctx context.Context, u User, password string) error {
	if err := u.Check(password); err != nil {
		return fmt.Errorf("add account: %w", err)
	}
	name, _ := ParseName(u.Name) // Check has
	if u.Display == "" {
		u.Display = name
	}
	h := newHash(password, a.config.Cost)
	now := a.now()
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO users (name, display, roles, disabled, password, generation, created_ms, changed_ms)
			VALUES (?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT DO NOTHING`, name, u.Display, u.Roles.String(), u.Disabled, h.String(), now, now)
		if err == nil {
			err = one(done, ErrIsThere)
		}
		if err == nil {
			err = a.post(ctx, tx, changed(name, "made, as "+u.Roles.Words()))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	return nil
}

// changed is the entry of the audit log that says that an account was.
func changed(name, detail string) schemas.AuditEntry {
	return schemas.AuditEntry{What: schemas.AuditChanged, Of: []byte("account " + name), Detail: []byte(detail)}
}

// one returns otherwise unless a statement has changed a row.
func one(done sql.Result, otherwise error) error {
	n, err := done.RowsAffected()
	if err == nil && n == 0 {
		err = otherwise
	}
	return err
}

// Users returns all accounts by name.
func (a *Accounts) Users(ctx context.Context) (list []User, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT `+userColumns+` FROM users ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u User
		if err := scanUser(rows.Scan, &u); err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		list = append(list, u)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// User returns one account, ErrNoUser where there is none.
func (a *Accounts) User(ctx context.Context, name string) (u User, err error) {
	if name, err = ParseName(name); err == nil {
		err = scanUser(a.db.QueryRowContext(ctx, `SELECT `+userColumns+` FROM users WHERE name = ?`, name).Scan, &u)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNoUser
	}
	if err != nil {
		return u, fmt.Errorf("look up account %s: %w", name, err)
	}
	return u, nil
}

const userColumns = `users.name, users.display, users.roles, users.disabled, users.generation, ifnull(users.issuer, ''), ifnull(users.subject, '')`

// scanUser takes the userColumns, and what follows them into more.
func scanUser(scan func(...any) error, u *User, more ...any) error {
	var roles string
	if err := scan(append([]any{&u.Name, &u.Display, &roles, &u.Disabled, &u.generation, &u.Issuer, &u.Subject}, more...)...); err != nil {
		return err
	}
	var err error
	u.Roles, err = ParseRoles(roles)
	return err
}

// SetRoles gives an account other roles, from its next request on.
func (a *Accounts) SetRoles(ctx context.Context, name string, roles RoleSet) error {
	if roles&everyone == 0 {
		return errors.New("an account has one role or more; weir user disable keeps somebody out")
	}
	if err := a.ours(ctx, name); err != nil {
		return err
	}
	return a.change(ctx, name, false, `roles = ?`, roles.String(), "roles "+roles.Words())
}

// SetDisabled keeps somebody out, and ends the sessions, or lets them in again, and
// ends a lock-out.
func (a *Accounts) SetDisabled(ctx context.Context, name string, disabled bool) error {
	detail := "enabled"
	if disabled {
		detail = "disabled"
	}
	return a.change(ctx, name, true, `disabled = ?`, disabled, detail)
}

// SetPassword gives an account another password, and ends its sessions and a
// lock-out.
func (a *Accounts) SetPassword(ctx context.Context, name, password string) error {
	name, err := ParseName(name)
	if err == nil {
		err = parsePassword(name, password)
	}
	if err == nil {
		err = a.ours(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	h := newHash(password, a.config.Cost)
	return a.change(ctx, name, true, `password = ?`, h.String(), "another password")
}

// ours returns an error where an identity provider vouches for an account: with a
// password, or roles from here, whoever leaves the bank would keep them.
func (a *Accounts) ours(ctx context.Context, name string) error {
	u, err := a.User(ctx, name)
	if err == nil && u.Issuer != "" {
		err = fmt.Errorf("%s: %w (%s)", u.Name, ErrVouched, u.Issuer)
	}
	return err
}

// change changes a column of an account. Where what let the user in so far does so no
// more, the sessions end, and the generation keeps out whoever is between giving the
// old password and getting a session. The detail is for the audit log.
func (a *Accounts) change(ctx context.Context, name string, out bool, set string, value any, detail string) error {
	name, err := ParseName(name)
	if err != nil {
		return err
	}
	err = transaction(ctx, a.db, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE users SET `+set+`, generation = generation + ?, changed_ms = ? WHERE name = ?`, value, out, a.now(), name)
		if err == nil {
			err = one(done, ErrNoUser)
		}
		if err == nil && out {
			_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE user = ?`, name)
		}
		if err == nil && out {
			_, err = tx.ExecContext(ctx, `DELETE FROM lockouts WHERE name = ?`, name)
		}
		if err == nil {
			err = a.post(ctx, tx, changed(name, detail))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("change account %s: %w", name, err)
	}
	a.tries.forget(name)
	return nil
}
