package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-risk/weir/alerts/desk"
)

// tokenTold is what is told of a token; Token only when it is made.
type tokenTold struct {
	Number  int64    `json:"number"`
	User    string   `json:"user"`
	For     string   `json:"for"`
	Roles   []string `json:"roles"`
	Made    string   `json:"made"`
	Expires string   `json:"expires"`
	Used    string   `json:"used,omitempty"` // to the minute
	Revoked string   `json:"revoked,omitempty"`
	Token   string   `json:"token,omitempty"`
}

func tokenToldOf(t *desk.Token, text string) tokenTold {
	at := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	return tokenTold{t.ID, t.User, t.Name, t.Roles.Names(), at(t.Created), at(t.Expires), at(t.Used), at(t.Revoked), text}
}

// token makes a token and shows it, this once.
func (u *userRun) token(ctx context.Context, e *env, name string) error {
	roles, err := desk.ParseRoles(u.roles)
	if err != nil {
		return err
	}
	t, text, err := u.accounts.AddToken(ctx, desk.Token{User: name, Name: u.purpose, Roles: roles, Expires: time.Now().Add(u.expires.Duration).UnixMilli()})
	if err != nil {
		return err
	}
	told := tokenToldOf(&t, text)
	if !e.json {
		e.printf("%s\ntoken %d of %s for %s, until %s; it is not shown again\n", text, t.ID, t.User, t.Name, told.Expires)
	}
	return e.report(told)
}

// tokens lists all tokens.
func (u *userRun) tokens(ctx context.Context, e *env) error {
	all, err := u.accounts.Tokens(ctx)
	if err != nil {
		return err
	}
	list := []tokenTold{}
	for i := range all {
		list = append(list, tokenToldOf(&all[i], ""))
	}
	if e.json {
		return e.report(list)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NUMBER\tUSER\tFOR\tROLES\tEXPIRES\tUSED\tREVOKED")
	for _, t := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Number, t.User, t.For, strings.Join(t.Roles, ","), t.Expires, t.Used, t.Revoked)
	}
	return w.Flush()
}

// revoke makes a token good for nothing.
func (u *userRun) revoke(ctx context.Context, e *env, number string) error {
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return usagef("revoke takes the number of a token, which weir user tokens lists, not %q", number)
	}
	if err := u.accounts.RevokeToken(ctx, id); err != nil {
		return err
	}
	if !e.json {
		e.printf("token %d lets nobody in any more\n", id)
	}
	return e.report(map[string]int64{"revoked": id})
}
