package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/weir-risk/weir/alerts/desk"
)

var userCommand = &command{
	name: "user", args: "add | disable | enable | password | roles | token NAME, or ls, tokens, revoke NUMBER, backup FILE",
	summary: "say who may work at the desk, and as what", json: true,
	about: `Accounts are kept in desk.db in the data folder, which a running desk may have open
at the same time. Names are ASCII letters, digits and . _ - @, and capitals do not
count. The roles are analyst (works on alerts), supervisor (assigns, approves, sees how
the desk does), model-owner (says which model decides) and auditor (sees who saw and did
what); an account may have several.

add and password ask for the password twice on a terminal; otherwise they read it from
--password-file, or one line from stdin. It is never an argument, which every user of the
machine could read. It has 12 characters or more.

disable keeps somebody out, and password sets another password; both end the user's
sessions at once. enable lets somebody in again; it also ends the lock-out that wrong
passwords bring. roles gives other roles, from the next request on. An account is never
deleted: the audit log names it.

Each change, and each backup, is an entry of the audit log. It waits in desk.db until it
is there: with --kafka it is written at once, otherwise by the desk.

People who log in at an identity provider (weir desk --oidc-issuer) have accounts without a
password, made at their first log-in; ls says where each is from. Their roles follow from
their groups there, so that only disable and enable change them.

token makes what lets a program in at /api/v1/ in the account's name, with no more than
the roles that --role names, until --expires is over. It is shown once and kept nowhere.
tokens lists them, and revoke makes one good for nothing, from the next request on.

backup writes a copy of accounts, tokens and lock-outs, without sessions, into a file that is not
there yet, while the desk runs. To restore, put it in the place of desk.db while no desk
runs, and remove desk.db-wal and desk.db-shm.`,
	examples: []string{
		"weir user add ann --role analyst",
		"weir user add bob --role analyst,supervisor --display 'Bob Jones' --password-file bob.txt",
		"weir user add eve --role auditor --kafka 127.0.0.1:9092",
		"weir user ls",
		"weir user ls --data /var/lib/weir --json",
		"weir user password ann",
		"weir user roles ann --role analyst,auditor",
		"weir user disable bob",
		"weir user enable bob",
		"weir user token ann --role analyst --for 'nightly report' --expires 90d",
		"weir user tokens",
		"weir user revoke 3",
		"weir user backup /backups/desk-2026-05-01.db",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		u := &userRun{kafka: addKafka(fs)}
		fs.StringVar(&u.data, "data", "weir-data", "`FOLDER` that holds desk.db")
		fs.StringVar(&u.roles, "role", "", "`ROLE,...` of the account: analyst, supervisor, model-owner, auditor")
		fs.StringVar(&u.display, "display", "", "what pages call the person: a `TEXT` (the name if not given)")
		fs.StringVar(&u.passwordFile, "password-file", "", "`FILE` that holds the password, and that only its owner may read")
		fs.StringVar(&u.purpose, "for", "", "what a token is for: a `TEXT`")
		fs.Var(&u.expires, "expires", "`TIME` after which a token is good for nothing, such as 90d")
		return u.run
	},
}

// userRun is one run of the command.
type userRun struct {
	data, roles, display, passwordFile string
	kafka                              *kafkaFlags
	purpose                            string // of a token
	expires                            span

	accounts *desk.Accounts
}

// run does what the first word says with what follows it.
func (u *userRun) run(ctx context.Context, e *env, args []string) error {
	verb, name := "", ""
	if len(args) > 0 {
		verb = args[0]
	}
	if len(args) > 1 {
		name = args[1]
	}
	for _, v := range []struct {
		name string
		args int
		run  func() error
	}{
		{"add", 2, func() error { return u.add(ctx, e, name) }},
		{"ls", 1, func() error { return u.list(ctx, e) }},
		{"disable", 2, func() error { return u.change(ctx, e, name, u.accounts.SetDisabled(ctx, name, true)) }},
		{"enable", 2, func() error { return u.change(ctx, e, name, u.accounts.SetDisabled(ctx, name, false)) }},
		{"password", 2, func() error { return u.password(ctx, e, name) }},
		{"roles", 2, func() error { return u.setRoles(ctx, e, name) }},
		{"token", 2, func() error { return u.token(ctx, e, name) }},
		{"tokens", 1, func() error { return u.tokens(ctx, e) }},
		{"revoke", 2, func() error { return u.revoke(ctx, e, name) }},
		{"backup", 2, func() error { return u.backup(ctx, e, name) }},
	} {
		if v.name != verb || v.args != len(args) {
			continue
		}
		if err := u.check(verb); err != nil {
			return err
		}
		if err := u.open(ctx, verb == "add"); err != nil {
			return err
		}
		err := v.run()
		if u.accounts != nil {
			u.tell(ctx, e)
			err = errors.Join(err, u.accounts.Close())
		}
		return err
	}
	return usagef("weir user add NAME, ls, disable NAME, enable NAME, password NAME, roles NAME, token NAME, tokens, revoke NUMBER, or backup FILE")
}

// check refuses flags that a verb would pass over.
func (u *userRun) check(verb string) error {
	roles := verb == "add" || verb == "roles" || verb == "token"
	switch {
	case roles && u.roles == "":
		return usagef("--role says as what: analyst, supervisor, model-owner, auditor")
	case !roles && u.roles != "":
		return usagef("--role belongs to add, roles and token")
	case (verb == "token") != (u.purpose != "" && u.expires.Duration > 0) || verb != "token" && (u.purpose != "" || u.expires.set):
		return usagef("--for and --expires belong to token: what it is for, and how long it is good")
	case verb != "add" && u.display != "":
		return usagef("--display belongs to add")
	case verb != "add" && verb != "password" && u.passwordFile != "":
		return usagef("--password-file belongs to add and password")
	}
	if _, err := desk.ParseRoles(u.roles); roles && err != nil {
		return usagef("--role: %v", err)
	}
	return nil
}

// file is where accounts are.
func (u *userRun) file() string { return filepath.Join(u.data, "desk.db") }

// open opens the accounts. Only the first account makes the file, once it is known to be
// one: a folder that is mistyped must not look like a desk without users.
func (u *userRun) open(ctx context.Context, first bool) (err error) {
	if _, err := os.Stat(u.file()); errors.Is(err, fs.ErrNotExist) {
		if first {
			return nil
		}
		return fmt.Errorf("there are no accounts in %s; weir user add makes the first, --data names another folder", u.data)
	}
	u.accounts, err = desk.OpenAccounts(ctx, u.file(), desk.AccountsConfig{Now: time.Now, By: "weir user, " + operator()})
	return err
}

// begin makes the file of the first account.
func (u *userRun) begin(ctx context.Context) (err error) {
	if err := os.MkdirAll(u.data, 0o700); err != nil {
		return fmt.Errorf("make the folder of the accounts: %w", err)
	}
	u.accounts, err = desk.OpenAccounts(ctx, u.file(), desk.AccountsConfig{Now: time.Now, By: "weir user, " + operator()})
	return err
}

// operator is who runs the command, as far as the machine knows.
func operator() string {
	who := "user " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who += " on " + host
	}
	return who
}

// tell writes to the audit log what waits for it, where --kafka says where that is.
// What cannot be written now waits on: the change itself is done.
func (u *userRun) tell(ctx context.Context, e *env) {
	if u.kafka.brokers == "" {
		return
	}
	log, err := u.kafka.client(e)
	if err == nil {
		defer log.Close()
		err = u.accounts.Drain(ctx, desk.AuditTo(log, u.kafka.topics().Audit))
	}
	if err != nil {
		fmt.Fprintf(e.stderr, "the audit log could not be told yet; the desk will tell it what is in %s: %v\n", u.data, err)
	}
}

// account is what is told of an account.
type account struct {
	Name     string   `json:"name"`
	Display  string   `json:"display"`
	Roles    []string `json:"roles"`
	Disabled bool     `json:"disabled"`
	Issuer   string   `json:"issuer,omitempty"`  // the identity provider that vouches for the person
	Subject  string   `json:"subject,omitempty"` // who it is there
}

func accountOf(a *desk.User) account {
	return account{a.Name, a.Display, a.Roles.Names(), a.Disabled, a.Issuer, a.Subject}
}

func (u *userRun) add(ctx context.Context, e *env, name string) error {
	roles, err := desk.ParseRoles(u.roles)
	if err != nil {
		return err
	}
	// What is wrong with the name is said before a password is asked for.
	if _, err := desk.ParseName(name); err != nil {
		return usagef("%v", err)
	}
	if u.accounts != nil {
		if _, err := u.accounts.User(ctx, name); err == nil {
			return fmt.Errorf("%w; weir user password and weir user roles change it", desk.ErrIsThere)
		}
	}
	password, err := u.ask(ctx, e)
	if err != nil {
		return err
	}
	user := desk.User{Name: name, Display: u.display, Roles: roles}
	if err = user.Check(password); err == nil && u.accounts == nil {
		err = u.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("add account: %w", err)
	}
	return u.change(ctx, e, name, u.accounts.Add(ctx, user, password))
}

func (u *userRun) password(ctx context.Context, e *env, name string) error {
	if _, err := u.accounts.User(ctx, name); err != nil {
		return err
	}
	password, err := u.ask(ctx, e)
	if err != nil {
		return err
	}
	return u.change(ctx, e, name, u.accounts.SetPassword(ctx, name, password))
}

func (u *userRun) setRoles(ctx context.Context, e *env, name string) error {
	roles, err := desk.ParseRoles(u.roles)
	if err != nil {
		return err
	}
	return u.change(ctx, e, name, u.accounts.SetRoles(ctx, name, roles))
}

// change says what an account is after a change, unless that failed.
func (u *userRun) change(ctx context.Context, e *env, name string, err error) error {
	if err != nil {
		return err
	}
	a, err := u.accounts.User(ctx, name)
	if err != nil {
		return err
	}
	if !e.json {
		state := ""
		if a.Disabled {
			state = ", disabled"
		}
		e.printf("%s: %s%s\n", a.Name, strings.Join(a.Roles.Names(), ", "), state)
	}
	return e.report(accountOf(&a))
}

func (u *userRun) list(ctx context.Context, e *env) error {
	users, err := u.accounts.Users(ctx)
	if err != nil {
		return err
	}
	list := []account{}
	for i := range users {
		list = append(list, accountOf(&users[i]))
	}
	if e.json {
		return e.report(list)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tDISPLAY\tROLES\tSTATE\tLOG-IN")
	for _, a := range list {
		state := "enabled"
		if a.Disabled {
			state = "disabled"
		}
		from := "password"
		if a.Issuer != "" {
			from = a.Issuer
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Display, strings.Join(a.Roles, ","), state, from)
	}
	return w.Flush()
}

func (u *userRun) backup(ctx context.Context, e *env, file string) error {
	if err := u.accounts.Backup(ctx, file); err != nil {
		return err
	}
	if !e.json {
		e.printf("accounts are backed up in %s\n", file)
	}
	return e.report(map[string]string{"backup": file})
}

// ask gets a new password: from the file, by asking twice where a person sits at a
// terminal, or from the first line of stdin.
func (u *userRun) ask(ctx context.Context, e *env) (string, error) {
	if u.passwordFile != "" {
		b, err := readSecret(u.passwordFile)
		if err != nil {
			return "", err
		}
		return oneLine(bytes.NewReader(b))
	}
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return twice(e.stderr, func() ([]byte, error) { return hidden(ctx, int(f.Fd())) })
	}
	return oneLine(e.stdin)
}

// passwordLineMax bounds what is read as a password.
const passwordLineMax = 1024

// oneLine reads the one line that a stream holds.
func oneLine(r io.Reader) (string, error) {
	b, err := io.ReadAll(bufio.NewReader(io.LimitReader(r, passwordLineMax)))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line := chomp(b)
	if len(line) == 0 || bytes.IndexByte(line, '\n') >= 0 {
		return "", errors.New("read password: expected one line")
	}
	return string(line), nil
}

// hidden reads a line of a terminal without echo. Whoever stops weir while it waits
// has the echo back.
func hidden(ctx context.Context, fd int) ([]byte, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	var line []byte
	read := make(chan error, 1)
	go func() { // where the context ends first, it ends with the process
		typed, err := term.ReadPassword(fd)
		line = typed
		read <- err
	}()
	select {
	case err := <-read:
		return line, err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, state))
	}
}

// twice asks for a password twice, with no echo, so that one which was mistyped is
// not the one that counts.
func twice(w io.Writer, read func() ([]byte, error)) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(w, prompt)
		b, err := read()
		fmt.Fprintln(w)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return typed[0], nil
}
