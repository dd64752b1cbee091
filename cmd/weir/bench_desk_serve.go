package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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

func (t *timed) around(h http.Handler) http.Handler {
	t.Handler = h
	return t
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
	sp, err := loadSpec("payments")
	if err != nil {
		return err
	}
	t := &timed{took: make(map[string][]int32)}
	s := &service{flags: &serviceFlags{kafka: r.kafka, data: r.data}, env: e, log: log, client: r.client, topics: r.kafka.topics(), registry: prometheus.NewRegistry()}
	f := addDesk(flag.NewFlagSet("", flag.ContinueOnError), false)
	f.web, f.models.key, f.around = "127.0.0.1:0", filepath.Join(r.data, "signing.key"), t.around
	if f.past, err = openDeskHistory(ctx, e, &historyFlags{}, r.data); err != nil {
		return err
	}
	if f.past != nil {
		defer f.past.Close()
	}
	d, err := s.openDesk(ctx, f, sp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	begins := func(ctx context.Context) error { return r.begins(ctx, e, d) }
	if err := together(ctx, role{"", d.run}, role{"", begins}); err != nil {
		return err
	}
	line, err := json.Marshal(deskMeasured{t.took, usageNow().RSS})
	if err != nil {
		return fmt.Errorf("encode the measurement: %w", err)
	}
	e.printf("%s\n", line)
	return nil
}

// begins waits until the view is folded, says so, and where the pages are.
func (r *benchWork) begins(ctx context.Context, e *env, d *openDesk) error {
	began, before := time.Now(), usageNow()
	for ok := false; !ok; ok, _ = d.Ready() {
		if wait(ctx, 5*time.Millisecond) != nil {
			return nil
		}
	}
	line, err := json.Marshal(deskBegun{Address: strings.TrimPrefix(d.url, "http://"), FoldSeconds: time.Since(began).Seconds(), FoldCPU: usageNow().CPUSeconds - before.CPUSeconds})
	if err != nil {
		return fmt.Errorf("encode the address: %w", err)
	}
	e.printf("%s\n", line)
	<-ctx.Done()
	return nil
}
