package desk

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestAccounts(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("Ann", Analyst, Supervisor)
	if err := w.accounts.Add(ctx, User{Name: "ann", Roles: Roles(Analyst)}, password); !errors.Is(err, ErrIsThere) {
		t.Errorf("a second account of one name: %v", err)
	}
	if err := w.accounts.Add(ctx, User{Name: "bob", Display: "Bob <b>", Roles: Roles(Auditor), Disabled: true}, password); err != nil {
		t.Fatal(err)
	}
	w.open()
	list, err := w.accounts.Users(ctx)
	want := []User{{Name: "ann", Display: "ann", Roles: Roles(Analyst, Supervisor), generation: 1}, {Name: "bob", Display: "Bob <b>", Roles: Roles(Auditor), Disabled: true, generation: 1}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := w.accounts.SetRoles(ctx, "ANN", Roles(ModelOwner)); err != nil {
		t.Error(err)
	}
	if err := w.accounts.SetDisabled(ctx, "bob", false); err != nil {
		t.Error(err)
	}
	if u, err := w.accounts.User(ctx, "ann"); err != nil || u.Roles != Roles(ModelOwner) || u.generation != 1 {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := w.accounts.User(ctx, "Bob"); err != nil || u.Disabled || u.generation != 2 {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, err := range []error{w.accounts.SetRoles(ctx, "carl", Roles(Analyst)), w.accounts.SetDisabled(ctx, "carl", true), w.accounts.SetPassword(ctx, "carl", password)} {
		if !errors.Is(err, ErrNoUser) {
			t.Errorf("a change of nobody: %v", err)
		}
	}
}

func TestAccountsRefuse(t *testing.T) {
	w := newWorld(t)
	f := func(u User, password, want string) {
		t.Helper()
		if err := w.accounts.Add(t.Context(), u, password); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %q: %v, want %q", u, password, err, want)
		}
	}
	analyst := Roles(Analyst)
	f(User{Name: "", Roles: analyst}, password, "1 to 64")
	f(User{Name: "-rf", Roles: analyst}, password, "no name")
	f(User{Name: "a/b", Roles: analyst}, password, "no name")
	f(User{Name: "\u212aelvin", Roles: analyst}, password, "no name") // a sign that small letters make a k
	f(User{Name: "ann"}, password, "one role or more")
	f(User{Name: "ann", Display: "a\u202eb", Roles: analyst}, password, "cannot be seen")
	f(User{Name: "ann", Display: "  ", Roles: analyst}, password, "blank")
	f(User{Name: "ann", Display: strings.Repeat("a", 129), Roles: analyst}, password, "1 to 128")
	f(User{Name: "ann", Roles: analyst}, "elevencharsx"[:11], "at least 12")
	f(User{Name: "ann", Roles: analyst}, strings.Repeat("ab", 129), "at most 256")
	f(User{Name: "ann", Roles: analyst}, "two lines\nof text", "one line")
	f(User{Name: "ann", Roles: analyst}, "aaaaaaaaaaaaaaaa", "again and again")
	f(User{Name: "annabella.jones", Roles: analyst}, "Annabella.Jones1", "little more")
	if err := w.accounts.SetRoles(t.Context(), "ann", 0); err == nil {
		t.Error("an account without roles is taken")
	}
	if list, err := w.accounts.Users(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("there are accounts: %v, %v", list, err)
	}
}

// TestAccountsAreDurableAndPrivate: FULL on every connection, in a file that others
// cannot read, nor what is beside it.
func TestAccountsAreDurableAndPrivate(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	var held []*sql.Conn
	for range 3 {
		c, err := w.accounts.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "secure_delete": "1"} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
			}
		}
	}
	for _, c := range held {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{w.file, w.file + "-wal", w.file + "-shm"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(file), info, err)
		}
	}
	if err := os.Chmod(w.file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAccounts(t.Context(), w.file, AccountsConfig{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	w := newWorld(t)
	if _, err := w.accounts.db.Exec(`PRAGMA user_version = 999`); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAccounts(t.Context(), w.file, AccountsConfig{}); err == nil || !strings.Contains(err.Error(), "a newer weir") {
		t.Errorf("got %v", err)
	}
}

func TestBackup(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("ann", Analyst)
	w.browser().enters("ann")
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := w.accounts.Backup(ctx, file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := w.accounts.Backup(ctx, file); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("over a file that is there: %v", err)
	}
	if err := w.accounts.Backup(ctx, filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("into a folder that is not there")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
	b, err := OpenAccounts(ctx, file, AccountsConfig{Now: w.clock, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var sessions int
	if err := b.db.QueryRow(`SELECT count(*) FROM sessions`).Scan(&sessions); err != nil || sessions != 0 {
		t.Errorf("the copy has %d sessions, %v", sessions, err)
	}
	if _, err := b.LogIn(ctx, "ann", password); err != nil {
		t.Errorf("the copy lets nobody in: %v", err)
	}
}

func TestPasswordHash(t *testing.T) {
	h := newHash(password, cheap)
	text := h.String()
	again, err := parseHash(text)
	if err != nil || again != h || !again.is(password) || again.is(password+" ") {
		t.Errorf("%s is read as %+v, %v", text, again, err)
	}
	if other := newHash(password, cheap); other.String() == text {
		t.Error("two hashes have one salt")
	}
	for _, wrong := range []string{"", "$", strings.Replace(text, "argon2id", "argon2i", 1), strings.Replace(text, "v=19", "v=18", 1),
		strings.Replace(text, "m=8", "m=4194304", 1), strings.Replace(text, "m=8", "m=08", 1), strings.Replace(text, "t=1", "t=0", 1),
		strings.Replace(text, "p=1", "p=0", 1), strings.Replace(text, "p=1", "p=257", 1), text + "A", text[:len(text)-2], text + "$"} {
		if _, err := parseHash(wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
	if err := DefaultCost.check(); err != nil {
		t.Error(err)
	}
}

// TestPasswordIsRaisedOnLogIn: what was hashed cheaply is hashed as it should be, once
// the password is at hand.
func TestPasswordIsRaisedOnLogIn(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	dearer := Cost{MemoryKiB: 16, Passes: 2, Lanes: 1}
	a, err := OpenAccounts(t.Context(), w.file, AccountsConfig{Now: w.clock, Cost: dearer})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	cost := func() Cost {
		t.Helper()
		var text string
		if err := a.db.QueryRow(`SELECT password FROM users`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		h, err := parseHash(text)
		if err != nil {
			t.Fatal(err)
		}
		return h.cost
	}
	if _, err := a.LogIn(t.Context(), "ann", "wrong"); !errors.Is(err, ErrRefused) || cost() != cheap {
		t.Errorf("a wrong password: %v, cost %+v", err, cost())
	}
	if _, err := a.LogIn(t.Context(), "ann", password); err != nil || cost() != dearer {
		t.Errorf("the right password: %v, cost %+v", err, cost())
	}
	if _, err := a.LogIn(t.Context(), "ann", password); err != nil {
		t.Errorf("after it was raised: %v", err)
	}
}

// TestFileHoldsNoSecret looks for the cookie and the password in the file.
func TestFileHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.add("ann", Analyst)
	b := w.browser().enters("ann")
	id, ok := parseSessionID(b.cookie().Value)
	if !ok {
		t.Fatalf("cookie %q", b.cookie().Value)
	}
	found := false
	for _, file := range []string{w.file, w.file + "-wal"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(text, id.hash())
		if bytes.Contains(text, id[:]) || bytes.Contains(text, []byte(id.String())) || bytes.Contains(text, []byte(password)) {
			t.Errorf("%s holds a secret", filepath.Base(file))
		}
	}
	if !found {
		t.Error("not even the hash is there: was this looked for in the right place?")
	}
}

func TestRoles(t *testing.T) {
	s, err := ParseRoles("auditor, analyst")
	if err != nil || s != Roles(Analyst, Auditor) || s.String() != "analyst,auditor" || s.Words() != "analyst, auditor" {
		t.Errorf("got %v, %v", s, err)
	}
	if !s.Any(Roles(Auditor, Supervisor)) || s.Any(Roles(Supervisor)) || everyone.String() != "analyst,supervisor,model-owner,auditor" || everyone.Any(public) {
		t.Error("sets of roles are wrong")
	}
	for _, text := range []string{"", "analyst,", "Analyst", "chief"} {
		if _, err := ParseRoles(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, text := range []string{"ann", "Ann.B-1@bank_x", "-a", "", "a b", "é", strings.Repeat("a", 65)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseName(text)
		if err != nil {
			return
		}
		if again, err := ParseName(name); err != nil || again != name {
			t.Errorf("%q becomes %q becomes %q, %v", text, name, again, err)
		}
		if name == "" || len(name) != len(text) || name != strings.ToLower(name) || strings.ContainsAny(name, "<>&\"'/\\ ?,:;=") || name[0] == '-' {
			t.Errorf("%q is taken as %q", text, name)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	h := newHash("x", cheap)
	f.Add(h.String())
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := parseHash(text); err == nil && (h.String() != text || h.cost.check() != nil) {
			t.Errorf("%q is read as %+v", text, h)
		}
	})
}

// TestAccountsConfig refuses sessions that cannot be kept.
func TestAccountsConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "desk.db")
	for _, c := range []AccountsConfig{{Idle: seenEvery}, {Idle: 2 * seenEvery, Absolute: seenEvery}, {Cost: Cost{MemoryKiB: 1, Passes: 1, Lanes: 1}}} {
		if a, err := OpenAccounts(context.Background(), file, c); err == nil {
			_ = a.Close()
			t.Errorf("%+v is taken", c)
		}
	}
}
