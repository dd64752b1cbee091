package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/ingest/history"
)

// deskReport says in the demo's --json line where its desk is, and how to log in.
type deskReport struct {
	URL      string    `json:"url"`
	Accounts []account `json:"accounts"`
	Password string    `json:"password"` // of all of them
}

// demoAccounts is the file of the demo's accounts: those of a desk whose data folder
// somebody names by mistake are not touched.
const demoAccounts = "demo-desk.db"

// openDesk makes the demo's desk, unless it is off, and who may log in there, and says
// so.
func (d *demo) openDesk(ctx context.Context) (err error) {
	if d.webFlags.off() {
		d.web = &openDesk{}
		return nil
	}
	d.memory = &demoPast{history.NewMemory(demoPayments), d.s}
	d.webFlags.lookup = d.memory
	d.webFlags.accounts, d.webFlags.knownAt = demoAccounts, func(int64) int64 { return d.live.clock.Load() }
	if d.web, err = d.s.openDesk(ctx, d.webFlags, d.spec); err != nil {
		return err
	}
	d.desk = &deskReport{URL: d.web.url, Password: newPassword()}
	for _, u := range []desk.User{
		{Name: "ana", Display: "Ana", Roles: desk.Roles(desk.Analyst)},
		{Name: "sam", Display: "Sam", Roles: desk.Roles(desk.Analyst, desk.Supervisor)},
	} {
		err := d.web.accounts.Add(ctx, u, d.desk.Password)
		if errors.Is(err, desk.ErrIsThere) { // of a demo before this one
			err = d.web.accounts.SetPassword(ctx, u.Name, d.desk.Password)
		}
		if err != nil {
			return errors.Join(err, d.web.close())
		}
		d.desk.Accounts = append(d.desk.Accounts, accountOf(&u))
	}
	d.env.printf("the desk      %s\n              log in as ana, an analyst, or sam, a supervisor, with the password\n              %s; what is closed there is learnt from\n", d.desk.URL, d.desk.Password)
	return nil
}

// runDesk serves the pages, and follows the topics from the present on: of the past, when
// rules decided, nobody has work left.
func (d *demo) runDesk(ctx context.Context) error {
	if d.desk == nil {
		<-ctx.Done()
		return nil
	}
	return together(ctx, append(d.web.roles, role{"", d.remember}, role{"", func(ctx context.Context) error {
		select {
		case <-d.live.begun:
		case <-ctx.Done():
			return nil
		}
		_, end, err := d.s.client.Offsets(ctx, d.s.topics.Alerts, 0)
		if err == nil {
			err = d.web.view.Reset(ctx) // of a demo before this one
		}
		if err == nil {
			err = d.web.view.Begin(ctx, alerts.Place{Topic: alerts.PlaceAlerts}, end)
		}
		if err != nil {
			return err
		}
		return d.web.Run(ctx)
	}})...)
}

// newPassword draws 80 bits, in a form that can be typed.
func newPassword() string {
	text := strings.ToLower(rand.Text())
	return fmt.Sprintf("%s-%s-%s-%s", text[:4], text[4:8], text[8:12], text[12:16])
}
