package desk

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// Options are what a [Server] needs.
type Options struct {
	Log      *slog.Logger
	Now      func() time.Time
	Accounts *Accounts // of the caller, who closes them
	// Audit writes an entry to the audit log and returns once it is durable, see
	// [AuditTo].
	Audit func(context.Context, schemas.AuditEntry) error
	// TLS says that browsers reach the desk by https, whether it or a proxy speaks
	// it: cookies are then sent over nothing else.
	TLS bool
	// Proxies are the networks whose X-Forwarded-For is believed.
	Proxies []netip.Prefix

	View *alerts.View // what pages show
	Desk *alerts.Desk // what acts
	// Trail is what the page of the audit log shows.
	Trail *alerts.Trail
	// Models are what the page of the models shows and changes; nil where there is none.
	Models Models
	// Approvals is how many model owners a change of the champion needs: 2, or 1.
	Approvals int
	// Base is the currency of the spec's sums, Groups are its groups of features.
	Base   string
	Groups []string
	// Within is how long an alert may wait.
	Within time.Duration
	// OIDC is the identity provider where people log in; nil: there is none.
	OIDC *OIDC
	// PasswordsOf are the accounts that may log in by password, nil: all that have one.
	// With a provider, one or two for when it is away are enough.
	PasswordsOf []string
	// SecondLooks is the share of the closed alerts that a second person looks at.
	SecondLooks float64
	// ActWithin is how long a browser waits for what came of an action, 10 s if it is 0:
	// less than a connection may take, so that there is an answer.
	ActWithin time.Duration
	// WebhooksAllow are the networks beside the public internet that webhooks may lead
	// to, plain http included.
	WebhooksAllow []netip.Prefix

	History       history.Lookup        // where payments are looked up; nil where there is none
	Sources       []schemas.LabelSource // of labels, the strongest first, as the spec has them
	HistoryWithin time.Duration         // how long the history may take to answer, 1 s if it is 0
	// HistoryAtOnce is how long a case waits for it, 15 ms if it is 0, and not at all while
	// it takes longer; what the history says later is loaded apart.
	HistoryAtOnce time.Duration
	Receipts      Receipts // what proves decisions
	Metrics       *Metrics // nil: nobody reads them
}

// Server is the web application. It may serve many requests at once.
type Server struct {
	options     Options
	table       []route
	mux         *http.ServeMux
	protection  *http.CrossOriginProtection
	pages       map[string]*template.Template
	assets      *assets
	buckets     buckets
	provider    *provider // nil where there is none
	sender      *sender
	limits      atomic.Pointer[Limits]
	hooked      chan struct{}        // holds one where webhooks have changed
	asking      chan struct{}        // held by who asks the history
	asked       sync.Mutex           // guards questions
	questions   map[string]*question // by alert
	slow        atomic.Bool          // the history took longer for its last answer than a page waits
	settling    sync.Mutex           // held by who carries out proposals
	recomputing chan struct{}        // held by who recomputes a decision
	offering    sync.Mutex
	offered     map[string]bool // ids of alerts that somebody is just taking
}

// New makes a server.
func New(o Options) (*Server, error) {
	if o.Log == nil || o.Now == nil || o.Accounts == nil || o.Audit == nil || o.View == nil || o.Desk == nil || o.Trail == nil {
		return nil, errors.New("make desk: log, clock, accounts, audit log, view, desk and trail are all needed")
	}
	if o.ActWithin == 0 {
		o.ActWithin = 10 * time.Second
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if o.HistoryWithin == 0 {
		o.HistoryWithin = time.Second
	}
	if o.HistoryAtOnce == 0 {
		o.HistoryAtOnce = 15 * time.Millisecond
	}
	if o.Receipts.Within == 0 {
		o.Receipts.Within = 20 * time.Second
	}
	s := &Server{options: o, asking: make(chan struct{}, pastAtOnce), questions: make(map[string]*question), recomputing: make(chan struct{}, 1), offered: make(map[string]bool),
		mux: http.NewServeMux(), protection: http.NewCrossOriginProtection()}
	if o.OIDC != nil {
		if err := o.OIDC.Check(o.TLS); err != nil {
			return nil, fmt.Errorf("make desk: %w", err)
		}
		s.provider = newProvider(*o.OIDC, o.Now)
	}
	if o.OIDC == nil && !s.passwords() {
		return nil, errors.New("make desk: without an identity provider and without passwords nobody gets in")
	}
	s.sender, s.hooked = newSender(o.WebhooksAllow, nil), make(chan struct{}, 1)
	var err error
	if s.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("make desk: %w", err)
	}
	if s.pages, err = loadPages(s.assets); err != nil {
		return nil, fmt.Errorf("make desk: %w", err)
	}
	s.table = s.routes()
	s.SetLimits(Limits{o.Within, o.SecondLooks, o.Approvals, o.WebhooksAllow})
	for _, rt := range s.table {
		method, path, _ := strings.Cut(rt.pattern, " ")
		if method == "" || !strings.HasPrefix(path, "/") || rt.handle == nil || rt.roles == 0 {
			return nil, fmt.Errorf("make desk: the route %q lacks its method, its path, its roles or its handler", rt.pattern)
		}
		s.mux.Handle(rt.pattern, s.guard(rt))
	}
	s.mux.Handle("/", s.guard(route{roles: public, handle: func(http.ResponseWriter, *http.Request) error {
		return problemf(http.StatusNotFound, "There is no such page. The address may be mistyped, or the page is gone.")
	}}))
	return s, nil
}

// The bounds of a connection. A page is small and is made in milliseconds: whoever
// takes longer than this is no browser, or has lost the network. A handler that streams
// moves its own deadline with [http.ResponseController].
const (
	headerMax    = 32 << 10
	headerWithin = 5 * time.Second
	readWithin   = 15 * time.Second
	writeWithin  = 30 * time.Second
	idleWithin   = 2 * time.Minute
)

// HTTPServer returns a server of HTTP for a handler, with the desk's bounds.
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, MaxHeaderBytes: headerMax, ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin,
		WriteTimeout: writeWithin, IdleTimeout: idleWithin, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}
