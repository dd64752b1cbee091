package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/alerts/desk"
)

// benchHeader says what a request is measured as.
const benchHeader = "Weir-Bench"

// deskBegun is what a desk that is measured says when it is ready.
type deskBegun struct {
	Address     string  `json:"address"`
	FoldSeconds float64 `json:"fold_seconds"`
	FoldCPU     float64 `json:"fold_cpu_seconds"`
}

// deskMeasured is what it says in the end: how many microseconds its handler took, by
// the header of the requests.
type deskMeasured struct {
	Took map[string][]int32 `json:"took_us"`
	RSS  int64              `json:"rss_bytes"`
}

// timed is a handler that is measured.
type timed struct {
	http.Handler
	mu   sync.Mutex
	took map[string][]int32
}

func (t *timed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began, what := time.Now(), r.Header.Get(benchHeader)
	t.Handler.ServeHTTP(w, r)
	us := int32(min(time.Since(began).Microseconds(), 1<<30))
	t.mu.Lock()
	defer t.mu.Unlock()
	if what != "" {
		t.took[what] = append(t.took[what], us)
	}
}

// desk is weir desk, as it is measured.
func (r *benchWork) desk(ctx context.Context, e *env) (err error) {
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if r.profile != "" {
		f, err := os.Create(r.profile)
		if err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	topics := r.kafka.topics()
	sp, err := loadSpec("payments")
	if err != nil {
		return err
	}
	view, err := alerts.OpenView(ctx, filepath.Join(r.data, "desk-view.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	accounts, err := desk.OpenAccounts(ctx, filepath.Join(r.data, "desk.db"), desk.AccountsConfig{Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, accounts.Close()) }()
	trail, err := alerts.OpenTrail(ctx, filepath.Join(r.data, "audit-view.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	c := alerts.Config{Log: log, Now: time.Now, After: time.After, Topics: topics}
	d := alerts.New(r.client, view, c)
	web, err := desk.New(desk.Options{Log: log, Now: time.Now, Accounts: accounts, Audit: desk.AuditTo(r.client, topics.Audit),
		View: view, Desk: d, Trail: trail, Base: string(sp.Base), Groups: sp.Groups(), Within: time.Hour})
	if err != nil {
		return err
	}
	t := &timed{Handler: web, took: make(map[string][]int32)}
	err = together(ctx, role{"", d.Run}, role{"", func(ctx context.Context) error { return trail.Follow(ctx, r.client, c) }}, role{"", func(ctx context.Context) error { return r.serveTimed(ctx, e, t, d, log) }})
	if err != nil {
		return err
	}
	line, err := json.Marshal(deskMeasured{t.took, usageNow().RSS})
	if err != nil {
		return fmt.Errorf("encode the measurement: %w", err)
	}
	e.printf("%s\n", line)
	return nil
}

// serveTimed waits until the view is folded, says so, and serves pages until the context
// ends.
func (r *benchWork) serveTimed(ctx context.Context, e *env, t *timed, d *alerts.Desk, log *slog.Logger) error {
	began, before := time.Now(), usageNow()
	for ok := false; !ok; ok, _ = d.Ready() {
		if wait(ctx, 5*time.Millisecond) != nil {
			return nil
		}
	}
	begun := deskBegun{FoldSeconds: time.Since(began).Seconds(), FoldCPU: usageNow().CPUSeconds - before.CPUSeconds}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the desk: %w", err)
	}
	server := desk.HTTPServer(t, log)
	server.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // ends with Close
	begun.Address = l.Addr().String()
	line, err := json.Marshal(begun)
	if err != nil {
		return fmt.Errorf("encode the address: %w", err)
	}
	e.printf("%s\n", line)
	select {
	case err := <-ended:
		return fmt.Errorf("serve the desk: %w", err)
	case <-ctx.Done():
		return server.Close()
	}
}
