package desk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The rule of lock-outs: after triesMax wrong passwords within triesWithin a name is
// locked for lockFirst, the next time in a row for twice as long, up to lockMax. Fewer
// tries, and people lock themselves out; a longer lock, and anybody can keep an
// analyst from work. An administrator lifts it with weir user enable.
const (
	triesMax    = 5
	triesWithin = 15 * time.Minute
	lockFirst   = 15 * time.Minute
	lockMax     = 4 * time.Hour
	// lockForgets is after how long without one lock-outs begin anew.
	lockForgets = 24 * time.Hour
	// lockoutsMax bounds the lock-outs of names that no account has. They are kept
	// like those of accounts, since how long the answer takes would tell which is which.
	lockoutsMax = 10000
)

// tries counts wrong passwords by name, in memory.
type tries struct {
	mu     sync.Mutex
	failed bounded[[]int64] // times, oldest first
}

// begin counts a try, before it is known whether it is a wrong one: many at once must
// not have more tries than one after the other. It reports whether there is one left.
func (t *tries) begin(name string, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	times := slices.DeleteFunc(t.failed.get(name), func(at int64) bool { return at <= now-triesWithin.Milliseconds() })
	ok := len(times) < triesMax
	if ok {
		times = append(times, now)
	}
	t.failed.put(name, times)
	return ok
}

// spent reports whether a name has no try left.
func (t *tries) spent(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failed.get(name)) >= triesMax
}

// forget begins anew for a name.
func (t *tries) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed.drop(name)
}

// boundedMax is how many entries a generation of a bounded map has.
const boundedMax = 10000

// bounded is a map that forgets what was not looked at for longest: when the young
// generation is full it becomes the old one, and what was old is gone.
type bounded[V any] struct {
	young, old map[string]V
}

func (b *bounded[V]) get(key string) V {
	if v, ok := b.young[key]; ok {
		return v
	}
	return b.old[key]
}

func (b *bounded[V]) put(key string, v V) {
	if _, ok := b.young[key]; !ok && len(b.young) >= boundedMax {
		b.old, b.young = b.young, nil
	}
	if b.young == nil {
		b.young = make(map[string]V)
	}
	b.young[key] = v
	delete(b.old, key)
}

func (b *bounded[V]) drop(key string) {
	delete(b.young, key)
	delete(b.old, key)
}

// The errors of a log-in.
var (
	// ErrRefused says that somebody is not let in. Its text says why, for the audit
	// log: who tries is told the same whatever it is.
	ErrRefused = errors.New("not let in")
	// ErrBusy says that too many passwords are being tried; it is so for everybody.
	ErrBusy = errors.New("too many log-ins at once")
)

// LogIn returns the account of a name and its password. Whatever is wrong costs the
// same: one try of a password. With an error that is ErrRefused comes the account that
// was tried, if there is one.
func (a *Accounts) LogIn(ctx context.Context, name, password string) (User, error) {
	if err := a.turn(ctx); err != nil {
		return User{}, err
	}
	defer func() { <-a.turns }()
	// From here on a try counts, also of somebody who hangs up.
	ctx = context.WithoutCancel(ctx)
	name, err := ParseName(name)
	if err != nil {
		a.dummy.is(password)
		return User{}, fmt.Errorf("%w: no name", ErrRefused)
	}
	now := a.now()
	locked, err := a.locked(ctx, name, now)
	if err != nil {
		return User{}, err
	}
	tried := !locked && a.tries.begin(name, now)
	if tried {
		// A lock-out begins the count anew, so one from between the two looks shows only
		// now.
		if locked, err = a.locked(ctx, name, now); err != nil {
			return User{}, err
		}
		tried = !locked
	}
	var u User
	var text string
	h := a.dummy
	err = scanUser(a.db.QueryRowContext(ctx, `SELECT `+userColumns+`, password FROM users WHERE name = ?`, name).Scan, &u, &text)
	known := err == nil
	if known && u.Issuer == "" {
		h, err = parseHash(text)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return User{}, fmt.Errorf("look up account %s: %w", name, err)
	}
	right := h.is(password) && u.Issuer == ""
	switch {
	case !tried:
		return u, fmt.Errorf("%w: locked after wrong passwords", ErrRefused)
	case !known || !right || u.Disabled:
		why := "wrong password"
		if !known {
			why = "no account of this name"
		} else if u.Disabled {
			why = "disabled"
		} else if u.Issuer != "" {
			why = "the account has no password: " + u.Issuer + " vouches for it"
		}
		if err := a.lock(ctx, name, now); err != nil {
			return u, err
		}
		return u, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	return u, a.welcome(ctx, name, password, h)
}

// turn waits for one of the turns.
func (a *Accounts) turn(ctx context.Context) error {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > waitingMax {
		return ErrBusy
	}
	select {
	case a.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// welcome is what is done for somebody who has given the right password.
func (a *Accounts) welcome(ctx context.Context, name, password string, h passwordHash) error {
	a.tries.forget(name)
	// What was dear enough once may be so no more, and only now is the password at
	// hand.
	raised := h
	if h.cost != a.config.Cost {
		raised = newHash(password, a.config.Cost)
	}
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM lockouts WHERE name = ?`, name); err != nil || raised == h {
			return err
		}
		// One that was changed meanwhile stays.
		_, err := tx.ExecContext(ctx, `UPDATE users SET password = ? WHERE name = ? AND password = ?`, raised.String(), name, h.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("let %s in: %w", name, err)
	}
	return nil
}

// locked reports whether a name is locked.
func (a *Accounts) locked(ctx context.Context, name string, now int64) (locked bool, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM lockouts WHERE name = ? AND until_ms > ?)`, name, now).Scan(&locked)
	if err != nil {
		return false, fmt.Errorf("look up lock-out of %s: %w", name, err)
	}
	return locked, nil
}

// lock locks a name that has no try left.
func (a *Accounts) lock(ctx context.Context, name string, now int64) error {
	if !a.tries.spent(name) {
		return nil
	}
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		var times int
		err := tx.QueryRowContext(ctx, `SELECT times FROM lockouts WHERE name = ? AND until_ms > ?`, name, now-lockForgets.Milliseconds()).Scan(&times)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		length := min(lockFirst<<min(times, 10), lockMax)
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO lockouts (name, until_ms, times) VALUES (?, ?, ?)`, name, now+length.Milliseconds(), times+1)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM lockouts WHERE name IN (SELECT name FROM lockouts
				WHERE name NOT IN (SELECT name FROM users) ORDER BY until_ms DESC LIMIT -1 OFFSET ?)`, lockoutsMax)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	a.tries.forget(name)
	return nil
}
