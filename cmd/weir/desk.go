package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/alerts/desk"
)

var deskCommand = &command{
	name: "desk", summary: "serve the pages where analysts work through the alerts", json: true,
	about: `Follows the topics alerts and dispositions into a view of its own, desk-view.db in the
data folder, which can be deleted at any time and comes back the same; accounts are in
desk.db there, which weir user writes, and are worth a backup. What an analyst does is a
record of dispositions before the page says so; closing an alert makes a label, once. Who
saw what is in audit before it is shown.

Pages are served on this machine alone unless --web says otherwise, and then over TLS:
with --tls-cert and --tls-key, or behind a proxy that speaks it, which --behind-tls says.`,
	examples: []string{
		"weir desk --kafka 127.0.0.1:9092    # http://127.0.0.1:8464; weir user add says who may log in",
		"weir desk --kafka k1:9092 --web 0.0.0.0:8443 --tls-cert desk.crt --tls-key desk.key",
		"weir desk --kafka k1:9092 --spec bank.spec --within 15m",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		service, d := addService(fs), addDesk(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			if err := d.check(); err != nil {
				return err
			}
			s, err := service.open(ctx, e, 8)
			if err != nil {
				return err
			}
			defer s.close()
			return s.desk(ctx, d)
		}
	},
}

// deskFlags are what the desk takes beside a service's.
type deskFlags struct {
	spec              *string
	web               string
	certFile, keyFile string
	behindTLS         bool
	within            time.Duration
}

func addDesk(fs *flag.FlagSet) *deskFlags {
	d := &deskFlags{spec: addSpec(fs, "payments")}
	fs.StringVar(&d.web, "web", "127.0.0.1:8464", "`HOST:PORT` of the pages; port 0 is one that the system chooses")
	fs.StringVar(&d.certFile, "tls-cert", "", "PEM `FILE` with the certificate of the pages, and those that vouch for it")
	fs.StringVar(&d.keyFile, "tls-key", "", "PEM `FILE` with its private key")
	fs.BoolVar(&d.behindTLS, "behind-tls", false, "a proxy in front speaks TLS: cookies are sent over nothing else")
	fs.DurationVar(&d.within, "within", time.Hour, "`TIME` that an alert may wait before it is late")
	return d
}

// check sees that passwords do not cross a network in clear.
func (d *deskFlags) check() error {
	if (d.certFile == "") != (d.keyFile == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if d.within <= 0 {
		return usagef("--within %v: longer than 0", d.within)
	}
	if err := hostPort(d.web); err != nil {
		return usagef("--web: %v", err)
	}
	host, _, _ := net.SplitHostPort(d.web)
	if ip := net.ParseIP(host); d.certFile == "" && !d.behindTLS && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--web %s can be reached from other machines, so it needs --tls-cert and --tls-key, or --behind-tls where a proxy speaks TLS", d.web)
	}
	return nil
}

// desk serves the pages until the context ends.
func (s *service) desk(ctx context.Context, f *deskFlags) (err error) {
	sp, err := loadSpec(*f.spec)
	if err != nil {
		return err
	}
	view, err := alerts.OpenView(ctx, filepath.Join(s.flags.data, "desk-view.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	accounts, err := desk.OpenAccounts(ctx, filepath.Join(s.flags.data, "desk.db"), desk.AccountsConfig{Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, accounts.Close()) }()
	d := alerts.New(s.client, view, alerts.Config{Log: s.log, Now: time.Now, After: time.After, Topics: s.topics})
	web, err := desk.New(desk.Options{Log: s.log, Now: time.Now, Accounts: accounts, Audit: desk.AuditTo(s.client, s.topics.Audit),
		TLS: f.certFile != "" || f.behindTLS, View: view, Desk: d, Base: string(sp.Base), Groups: sp.Groups(), Within: f.within})
	if err != nil {
		return err
	}
	at, stop, err := serveMetrics(s.flags.listen, s.flags.pprof, s.registry, func() (bool, any) {
		ok, why := d.Ready()
		return ok, map[string]any{"ready": ok, "reason": why}
	})
	if err != nil {
		return err
	}
	defer stop()
	s.log.Info("serves metrics", "address", at)
	return together(ctx, role{"", d.Run}, role{"", func(ctx context.Context) error { return s.serveDesk(ctx, f, web) }})
}

// deskStop is how long requests in flight may take when the desk stops.
const deskStop = 5 * time.Second

// serveDesk answers browsers until the context ends.
func (s *service) serveDesk(ctx context.Context, f *deskFlags, web http.Handler) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.web)
	if err != nil {
		return fmt.Errorf("--web: %w", err)
	}
	server := desk.HTTPServer(web, s.log)
	server.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	scheme := "http"
	ended := make(chan error, 1)
	if f.certFile != "" {
		scheme = "https"
		go func() { ended <- server.ServeTLS(l, f.certFile, f.keyFile) }() // ends with Shutdown
	} else {
		go func() { ended <- server.Serve(l) }() // ends with Shutdown
	}
	s.log.Info("serves the desk", "address", scheme+"://"+l.Addr().String())
	select {
	case err := <-ended:
		return fmt.Errorf("serve the desk: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), deskStop)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(server.Close(), fmt.Errorf("stop the desk: %w", err))
	}
	return nil
}
