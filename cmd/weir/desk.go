package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/alerts/desk"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
)

var deskCommand = &command{
	name: "desk", summary: "serve the pages where analysts work through the alerts", json: true,
	about: `Follows the topics alerts and dispositions into a view of its own, desk-view.db in the
data folder, and audit into audit-view.db beside it; both can be deleted at any time and
come back the same. Accounts are in desk.db there, which weir user writes, and are worth
a backup. What an analyst does is a record of dispositions before the page says so;
closing an alert makes a label, once. Who saw what is in audit before it is shown. What
payments came before an alert is looked up in the history that weir record writes.
Where no broker answers at the start it waits for one, alive and not ready, and serves
no pages; a wrong password, certificate or right ends it.

Programs ask at /api/v1/ what pages show, and act by it, with a token that weir user token
makes; /api/v1/openapi.json describes it. Supervisors set up at /webhooks which systems
are told what happens: each message comes once or more, with a signature, whatever
crashes. Webhooks lead to the public internet, and to the networks of --webhooks-allow.

Pages are served on this machine alone unless --web says otherwise, and then over TLS:
with --tls-cert and --tls-key, or behind a proxy that speaks it, which --behind-tls says.

People log in by password (weir user), at an identity provider (--oidc-issuer), or both.
Who comes from there for the first time gets an account; its roles follow from the
person's groups there at each log-in, and weir user disable keeps somebody out for good.
An account is told by issuer and subject: a name that is taken already gets a number.
Name an account in --local-login for when the provider is away. A provider whose
certificate a bank signs itself is believed where SSL_CERT_FILE names the authority.

The page of the models shows what the topic of models holds, and how it does by the
history. With --signing-key FILE, a key that the scorers trust, model owners promote and
roll back there: one proposes, another approves, or one alone with --approvals 1.`,
	examples: []string{
		"weir desk --kafka 127.0.0.1:9092    # http://127.0.0.1:8464; weir user add says who may log in",
		"weir desk --kafka k1:9092 --web 0.0.0.0:8443 --tls-cert desk.crt --tls-key desk.key",
		"weir desk --kafka k1:9092 --spec bank.spec --within 15m --history clickhouse://ch1:9000/weir",
		"weir desk --kafka k1:9092 --web 127.0.0.1:8464 --behind-tls \\\n" +
			"      --public-url https://desk.bank.example --oidc-issuer https://id.bank.example/realms/staff \\\n" +
			"      --oidc-client-id weir --oidc-client-secret-file oidc.secret --local-login root \\\n" +
			"      --oidc-role fraud-analysts=analyst --oidc-role fraud-leads=analyst,supervisor",
		"weir desk --kafka k1:9092 --history clickhouse://127.0.0.1:9000/weir --signing-key models.key",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		service, sp, d := addService(fs), addSpec(fs, "payments"), addDesk(fs, false)
		h := addHistory(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			if err := d.check(); err != nil {
				return err
			}
			s, err := service.open(ctx, e, 8, d.rights, roleDesk)
			if err != nil {
				return err
			}
			defer s.close()
			if d.past, err = openDeskHistory(ctx, e, h, service.data); err != nil {
				return err
			}
			defer d.past.Close()
			return s.desk(ctx, d, *sp)
		}
	},
}

// webDefault is where a desk is served.
const webDefault = "127.0.0.1:8464"

// deskFlags are what the desk takes beside a service's.
type deskFlags struct {
	web               string
	certFile, keyFile string
	behindTLS         bool
	within            time.Duration
	oidc              *oidcFlags
	webhooks          *networks
	looks             float64
	models            deskModelFlags

	accounts string            // the file of accounts in the data folder
	knownAt  func(int64) int64 // see alerts.Config
	// beside is of a desk that is one role of several: it may be off, and where the
	// default port is taken another one will do.
	beside bool
	past   history.Store                   // nil for none; whoever opened it closes it
	lookup history.Lookup                  // where payments are looked up, where that is not past
	around func(http.Handler) http.Handler // what measures the pages; nil for nothing
}

func addDesk(fs *flag.FlagSet, beside bool) *deskFlags {
	d, usage := &deskFlags{accounts: "desk.db", oidc: addOIDC(fs), webhooks: addWebhooks(fs), beside: beside}, "`HOST:PORT` of the pages; port 0 is one that the system chooses"
	if beside {
		usage = "`HOST:PORT` of the desk's pages; port 0 is one that the system chooses, as is the default\nwhere that is taken; off is no desk"
	}
	fs.StringVar(&d.web, "web", webDefault, usage)
	fs.StringVar(&d.certFile, "tls-cert", "", "PEM `FILE` with the certificate of the pages, and those that vouch for it")
	fs.StringVar(&d.keyFile, "tls-key", "", "PEM `FILE` with its private key")
	fs.BoolVar(&d.behindTLS, "behind-tls", false, "a proxy in front speaks TLS: cookies are sent over nothing else")
	addLooks(fs, &d.looks)
	fs.DurationVar(&d.within, "within", time.Hour, "`TIME` that an alert may wait before it is late")
	d.models.add(fs, beside)
	return d
}

// off reports whether there is to be no desk.
func (d *deskFlags) off() bool { return d.beside && d.web == "off" }

// check sees that passwords do not cross a network in clear.
func (d *deskFlags) check() error {
	if d.off() {
		return nil
	}
	if (d.certFile == "") != (d.keyFile == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if err := d.models.check(); err != nil {
		return err
	}
	if d.within <= 0 {
		return usagef("--within %v: longer than 0", d.within)
	}
	if err := checkLooks(d.looks); err != nil {
		return err
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
func (s *service) desk(ctx context.Context, f *deskFlags, specName string) (err error) {
	sp, err := loadSpec(specName)
	if err != nil {
		return err
	}
	d, err := s.openDesk(ctx, f, sp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	at, stop, err := s.flags.serveMetrics(s.log, s.registry, func() (bool, any) {
		ok, why := d.Ready()
		return ok, map[string]any{"ready": ok, "reason": why}
	})
	if err != nil {
		return err
	}
	defer stop()
	s.log.Info("serves metrics", "address", at)
	return together(ctx, role{"", d.run}, role{"", s.reloads.run})
}

// deskBeside makes the desk of a process that does more, and says in the log what a
// person needs to know to use it.
func (s *service) deskBeside(ctx context.Context, f *deskFlags, specName string) (*openDesk, error) {
	sp, err := loadSpec(specName)
	if err != nil {
		return nil, err
	}
	d, err := s.openDesk(ctx, f, sp)
	if err != nil {
		return nil, err
	}
	users, err := d.accounts.Users(ctx)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	if len(users) == 0 {
		s.log.Warn("nobody has an account at the desk", "remedy", "weir user add NAME --role analyst,supervisor --data "+s.flags.data)
	}
	return d, nil
}

// An openDesk is a desk that answers browsers once it runs.
type openDesk struct {
	*alerts.Desk
	url      string
	view     *alerts.View
	accounts *desk.Accounts
	roles    []role      // what it does beside following the topics
	closers  []io.Closer // what it holds, in the order in which it was opened
}

// openDesk makes the desk of a process: its view and its accounts, what follows the
// topics, the pages, and where they are served. Whoever calls it closes it.
func (s *service) openDesk(ctx context.Context, f *deskFlags, sp *spec.Spec) (_ *openDesk, err error) {
	d := &openDesk{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := os.MkdirAll(s.flags.data, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the desk: %w", err)
	}
	d.view, err = alerts.OpenView(ctx, filepath.Join(s.flags.data, "desk-view.db"))
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, d.view)
	d.accounts, err = desk.OpenAccounts(ctx, filepath.Join(s.flags.data, f.accounts), desk.AccountsConfig{Now: time.Now})
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, d.accounts)
	d.Desk = alerts.New(s.client, d.view, alerts.Config{Log: s.log, Now: time.Now, After: time.After, Topics: s.topics, KnownAt: f.knownAt, Trace: s.trace})
	trail, follow, err := s.trail(ctx)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, trail)
	models, err := s.deskModels(&f.models, f.past)
	if err != nil {
		return nil, err
	}
	options, err := s.deskOptions(f, sp, d)
	if err != nil {
		return nil, err
	}
	options.Trail, options.Models, options.Metrics = trail, models, desk.NewMetrics(s.registry)
	models.withReceipts(&options, sp)
	pages, err := desk.New(options)
	if err != nil {
		return nil, err
	}
	reloadLimits(s.reloads, pages)
	certificate, err := f.certificate(s.reloads)
	if err != nil {
		return nil, err
	}
	l, err := f.listen(ctx)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, l)
	d.url = f.scheme() + "://" + l.Addr().String()
	handler := http.Handler(pages)
	if f.around != nil {
		handler = f.around(pages)
	}
	serve := func(ctx context.Context) error { return f.serve(ctx, l, desk.HTTPServer(handler, s.log), certificate) }
	d.roles = []role{{"", pages.Run}, {"", pages.Deliver}, {"", pages.Measure}, follow, {"", models.run}, {"", serve}}
	tellReady(s.registry, roleDesk, func() bool { ok, _ := d.Ready(); return ok })
	s.log.Info("serves the desk", "address", d.url)
	return d, nil
}

// deskOptions are what the pages of a desk are made with, but for what has to be closed.
func (s *service) deskOptions(f *deskFlags, sp *spec.Spec, d *openDesk) (desk.Options, error) {
	options := desk.Options{
		Log:      s.log,
		Now:      time.Now,
		Accounts: d.accounts,
		Audit:    desk.AuditTo(s.client, s.topics.Audit),
		TLS:      f.certFile != "" || f.behindTLS,
		View:     d.view,
		Desk:     d.Desk,
		Base:     string(sp.Base),
		Groups:   sp.Groups(),
		Within:   f.within,

		Approvals:     f.models.approvals,
		SecondLooks:   f.looks,
		WebhooksAllow: *f.webhooks,
	}
	withHistory(&options, f.past, sp)
	if f.lookup != nil {
		options.History = f.lookup
	}
	if err := f.oidc.apply(s.env, &options); err != nil {
		return options, err
	}
	return options, nil
}

// run follows the topics and answers browsers until the context ends.
func (d *openDesk) run(ctx context.Context) error {
	return together(ctx, append(d.roles, role{"", d.Desk.Run})...)
}

// close closes what a desk holds, the last first.
func (d *openDesk) close() (err error) {
	for _, c := range slices.Backward(d.closers) {
		if closed := c.Close(); !errors.Is(closed, net.ErrClosed) { // the server closes its listener
			err = errors.Join(err, closed)
		}
	}
	return err
}
