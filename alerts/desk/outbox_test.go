package desk

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// drained are the entries that a drain writes, as "who of: detail".
func (w *world) drained() (list []string) {
	w.t.Helper()
	w.mu.Lock()
	before := len(w.entries)
	w.mu.Unlock()
	if err := w.server.chores(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries[before:] {
		list = append(list, string(e.Who)+" "+e.What.String()+" "+string(e.Of)+": "+string(e.Detail))
	}
	return list
}

// TestNoAccountChangesUnaudited makes every change that there is: each has its entry,
// and what fails has none.
func TestNoAccountChangesUnaudited(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.accounts.config.By = "weir user, root on host"
	w.add("ann", Analyst, Supervisor)
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, err := range []error{w.accounts.SetRoles(ctx, "Ann", Roles(ModelOwner)), w.accounts.SetPassword(ctx, "ann", password+"!"),
		w.accounts.SetDisabled(ctx, "ann", true), w.accounts.SetDisabled(ctx, "ann", false), w.accounts.Backup(ctx, copied)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{w.accounts.Add(ctx, User{Name: "ann", Roles: Roles(Auditor)}, password), w.accounts.SetRoles(ctx, "bob", Roles(Analyst)),
		w.accounts.SetPassword(ctx, "ann", "short"), w.accounts.SetDisabled(ctx, "bob", true), w.accounts.Backup(ctx, copied)} {
		if err == nil {
			t.Error("what must fail is done")
		}
	}
	const by = "; by weir user, root on host"
	want := []string{"? changed account ann: made, as analyst, supervisor" + by, "? changed account ann: roles model owner" + by, "? changed account ann: another password" + by,
		"? changed account ann: disabled" + by, "? changed account ann: enabled" + by, "? exported accounts: backed up" + by}
	if got := w.drained(); !slices.Equal(got, want) {
		t.Errorf("audited are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := w.drained(); len(got) > 0 {
		t.Errorf("audited again: %q", got)
	}
	w.route(route{pattern: "POST /promote-me", roles: everyone, handle: func(_ http.ResponseWriter, r *http.Request) error {
		return w.accounts.SetRoles(r.Context(), "bob", Roles(Auditor))
	}})
	w.add("bob", Analyst)
	w.drained()
	w.browser().enters("bob").do("POST", "/promote-me", nil)
	if got := w.drained(); !slices.Equal(got, []string{"bob changed account bob: roles auditor"}) || string(w.lastEntry().Address) != "192.0.2.1" {
		t.Errorf("within a request: %q from %s", got, w.lastEntry().Address)
	}
}

// TestTheOutboxLosesNothing has the log fail at every place, also after it took the
// entry: all come in their order, and what comes twice has one id.
func TestTheOutboxLosesNothing(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bob", "carl", "dora"}
	for _, name := range names {
		w.add(name, Analyst)
	}
	calls, seen, order := 0, map[string]bool{}, []string(nil)
	audit := func(_ context.Context, e schemas.AuditEntry) error {
		calls++
		if calls%3 == 1 {
			return errors.New("no broker")
		}
		if !seen[string(e.ID)] {
			seen[string(e.ID)] = true
			order = append(order, strings.TrimPrefix(string(e.Of), "account "))
		}
		if calls%3 == 2 {
			return errors.New("the answer was lost")
		}
		return nil
	}
	for range 3 * len(names) {
		if err := w.accounts.Drain(t.Context(), audit); err == nil {
			break
		}
		w.open() // a desk of its own each time
	}
	if !slices.Equal(order, names) || calls <= len(names) {
		t.Errorf("%d calls brought %q", calls, order)
	}
}

// TestTokensAndVouchedAccountsAreAudited: what lets a program in, and what an identity
// provider says of a person, where it changed something.
func TestTokensAndVouchedAccountsAreAudited(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("ann", Analyst, Supervisor)
	w.drained()
	token, _, err := w.accounts.AddToken(ctx, Token{User: "ann", Name: "nightly", Roles: Roles(Analyst), Expires: w.clock().Add(time.Hour).UnixMilli()})
	if err == nil {
		err = w.accounts.RevokeToken(ctx, token.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if w.accounts.RevokeToken(ctx, token.ID) == nil {
		t.Error("revoked twice")
	}
	who := person{issuer: "https://id.example", subject: "7", display: "Eve"}
	for _, roles := range []RoleSet{Roles(Auditor), Roles(Auditor), Roles(Analyst)} {
		u, err := w.accounts.accountOf(ctx, who)
		if err == nil {
			u.Roles = roles
			_, err = w.accounts.admit(ctx, u)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	u, err := w.accounts.accountOf(ctx, who)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"? changed account ann: token 1 made, for nightly, as analyst", "? changed account ann: token 1 revoked",
		"? changed account " + u.Name + ": made, as auditor, as https://id.example says", "? changed account " + u.Name + ": roles analyst, as https://id.example says"}
	if got := w.drained(); !slices.Equal(got, want) {
		t.Errorf("audited are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
