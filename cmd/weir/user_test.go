package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
)

const testPassword = "correct horse battery"

// TestUser makes an account, looks at it, changes it and backs it up.
func TestUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	with := func(stdin string, args ...string) called {
		t.Helper()
		return callWith(t, stdin, nil, append([]string{"user"}, append(args, "--data", dir)...)...)
	}
	with("", "ls").fails(t, exitFailed, "weir user add makes the first")
	with("too short", "add", "ann", "--role", "analyst").fails(t, exitFailed, "at least 12")
	with("", "add", "ann", "--role", "analyst").fails(t, exitFailed, "expected one line")
	with(testPassword, "add", "ann", "--role", "analyst", "--display", " ").fails(t, exitFailed, "blank")
	with("", "ls").fails(t, exitFailed, "weir user add makes the first") // still: what failed left nothing
	if out := with(testPassword+"\n", "add", "Ann", "--role", "analyst, supervisor", "--display", "Ann Bo").succeeds(t).stdout; out != "ann: analyst, supervisor\n" {
		t.Errorf("add says %q", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "desk.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("desk.db: %v, %v", info, err)
	}
	with(testPassword, "add", "ANN", "--role", "analyst").fails(t, exitFailed, "already", "weir user password")
	with("too short", "add", "bob", "--role", "analyst").fails(t, exitFailed, "at least 12")
	with("", "add", "bob", "--role", "analyst").fails(t, exitFailed, "expected one line")
	with(testPassword+"\nmore", "add", "bob", "--role", "analyst").fails(t, exitFailed, "expected one line")

	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte(testPassword+" of bob\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	with("", "add", "bob", "--role", "auditor", "--password-file", secret).fails(t, exitFailed, "chmod 600")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	with("", "add", "bob", "--role", "auditor", "--password-file", secret).succeeds(t)
	if out := with("", "disable", "bob").succeeds(t).stdout; out != "bob: auditor, disabled\n" {
		t.Errorf("disable says %q", out)
	}
	var list []account
	if err := json.Unmarshal([]byte(with("", "ls", "--json").succeeds(t).stdout), &list); err != nil || len(list) != 2 ||
		list[0].Display != "Ann Bo" || strings.Join(list[0].Roles, "+") != "analyst+supervisor" || list[0].Disabled || !list[1].Disabled {
		t.Errorf("ls --json: %+v, %v", list, err)
	}
	if out := with("", "ls").succeeds(t).stdout; !strings.HasPrefix(out, "NAME") || !strings.Contains(out, "disabled") {
		t.Errorf("ls says %q", out)
	}
	with("", "enable", "bob").succeeds(t)
	with("", "roles", "bob", "--role", "model-owner").succeeds(t)
	with("another long password", "password", "bob").succeeds(t)
	with("another long password", "password", "carl").fails(t, exitFailed, "no account")
	if out := with("", "ls", "--json").succeeds(t).stdout; !strings.Contains(out, `{"name":"bob","display":"bob","roles":["model-owner"],"disabled":false}`) {
		t.Errorf("ls --json says %s", out)
	}

	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	with("", "backup", filepath.Join(copied, "desk.db")).succeeds(t)
	with("", "backup", filepath.Join(copied, "desk.db")).fails(t, exitFailed, "there already")
	if want, got := with("", "ls").stdout, call(t, "user", "ls", "--data", copied).succeeds(t).stdout; want != got {
		t.Errorf("the backup has\n%s\nwant\n%s", got, want)
	}
}

// TestUserIsAudited changes accounts while the log is away, and while it is there.
func TestUserIsAudited(t *testing.T) {
	log, address := brokerWith(t, "transactions")
	topics := schemas.DefaultTopics("")
	if err := log.Ensure(t.Context(), topics.Layouts(1)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	with := func(args ...string) called {
		t.Helper()
		return callWith(t, testPassword, nil, append([]string{"user", "--data", dir}, args...)...)
	}
	with("add", "ann", "--role", "analyst").succeeds(t)
	if out := with("disable", "ann", "--kafka", "127.0.0.1:1").succeeds(t); !strings.Contains(out.stderr, "the desk will tell it") {
		t.Errorf("nothing is said of a log that is away: %q", out.stderr)
	}
	with("roles", "ann", "--role", "auditor", "--kafka", address).succeeds(t)
	r := kafka.NewReader(log, topics.Audit, 0, 0)
	defer r.Close()
	var got []string
	for len(got) < 3 {
		records, err := r.Next(t.Context(), 3)
		if err != nil || records == nil {
			t.Fatal(got, err)
		}
		for records.Next() {
			var e schemas.AuditEntry
			if err := schemas.ParseAudit(records.Record().Value, &e); err != nil {
				t.Fatal(err)
			}
			what, by, _ := strings.Cut(string(e.Detail), "; by ")
			if got = append(got, string(e.Of)+": "+what); !strings.HasPrefix(by, "weir user, ") || len(by) < 14 {
				t.Errorf("it is said to be by %q", by)
			}
		}
	}
	if want := []string{"account ann: made, as analyst", "account ann: disabled", "account ann: roles auditor"}; !slices.Equal(got, want) {
		t.Errorf("audited are %q, want %q", got, want)
	}
}

func TestUserUsage(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{"", "add", "add ann", "add ann --role chief", "add a/b --role analyst", "ls ann", "ls --role analyst",
		"disable", "disable ann bob", "disable ann --display x", "enable ann --password-file x", "roles ann", "drop ann"} {
		callWith(t, testPassword, nil, append([]string{"user", "--data", dir}, strings.Fields(line)...)...).fails(t, exitUsage, "weir user --help")
	}
}

// TestPasswordIsAskedForTwice is what a terminal sees.
func TestPasswordIsAskedForTwice(t *testing.T) {
	f := func(want string, typed ...string) {
		t.Helper()
		var screen bytes.Buffer
		got, err := twice(&screen, func() ([]byte, error) {
			if len(typed) == 0 {
				return nil, errors.New("the terminal is gone")
			}
			line := typed[0]
			typed = typed[1:]
			return []byte(line), nil
		})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
		if strings.Contains(screen.String(), "secret") || !strings.HasPrefix(screen.String(), "Password: \n") {
			t.Errorf("the screen shows %q", screen.String())
		}
	}
	f("a secret", "a secret", "a secret")
	f("", "a secret", "another secret")
	f("", "a secret")
}

// TestUserToken makes a token, which is shown once, lists it and revokes it.
func TestUserToken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	with := func(stdin string, args ...string) called {
		t.Helper()
		return callWith(t, stdin, nil, append([]string{"user"}, append(args, "--data", dir)...)...)
	}
	with(testPassword, "add", "ann", "--role", "analyst").succeeds(t)
	made := with("", "token", "ann", "--role", "analyst", "--for", "nightly report", "--expires", "90d").succeeds(t).stdout
	text, _, _ := strings.Cut(made, "\n")
	if !strings.HasPrefix(text, "weir_") || !strings.Contains(made, "token 1 of ann for nightly report") {
		t.Errorf("token says %q", made)
	}
	var list []tokenTold
	out := with("", "tokens", "--json").succeeds(t).stdout
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].For != "nightly report" || strings.Contains(out, text) {
		t.Errorf("tokens --json: %s, %v", out, err)
	}
	with("", "revoke", "one").fails(t, exitUsage, "the number")
	with("", "revoke", "1").succeeds(t)
	with("", "revoke", "1").fails(t, exitFailed, "not revoked")
	if out := with("", "tokens").succeeds(t).stdout; !strings.HasPrefix(out, "NUMBER") || !strings.Contains(out, "nightly report") {
		t.Errorf("tokens says %q", out)
	}
	with("", "token", "ann", "--role", "auditor", "--for", "x", "--expires", "1d").fails(t, exitFailed, "of the account's roles")
	with("", "token", "ann", "--role", "analyst", "--for", "x", "--expires", "2000d").fails(t, exitFailed, "400 days")
	with("", "token", "ann", "--for", "x", "--expires", "1d").fails(t, exitUsage, "--role")
	with("", "token", "ann", "--role", "analyst", "--for", "x").fails(t, exitUsage, "--expires")
	with("", "ls", "--expires", "1d").fails(t, exitUsage, "belong to token")
}
