package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveMetrics answers /metrics, /healthz and /readyz, and pprof on a port of its own
// where one is asked for: profiles tell more than a bank's monitoring needs to see. It
// returns the address in use and a function that
// ends both servers. Ready says whether what arrives now is dealt with now, and
// what /readyz tells of it.
func (m *monitorFlags) serveMetrics(log *slog.Logger, reg *prometheus.Registry, ready func() (bool, any)) (string, func(), error) {
	m.log = log
	if err := m.check(); err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, body := ready()
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(body)
	})
	at, stop, err := listen(m.listen, mux, m.tls())
	if err != nil {
		return "", nil, fmt.Errorf("--listen: %w", err)
	}
	if m.pprof == "" {
		return at, stop, nil
	}
	_, stopDebug, err := serveProfiles(m.pprof)
	if err != nil {
		stop()
		return "", nil, err
	}
	return at, func() { stop(); stopDebug() }, nil
}

// serveProfiles answers pprof's questions on addr, which must be of this machine
// alone. It returns the address in use and a function that ends the server.
func serveProfiles(addr string) (string, func(), error) {
	if err := loopback(addr); err != nil {
		return "", nil, usagef("--pprof: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	at, stop, err := listen(addr, mux, nil)
	if err != nil {
		return "", nil, fmt.Errorf("--pprof: %w", err)
	}
	return at, stop, nil
}

// loopback sees that an address can be reached from this machine only.
func loopback(addr string) error {
	if err := hostPort(addr); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not of this machine alone; profiles show what is in memory: 127.0.0.1:PORT", addr)
	}
	return nil
}

// listen serves h on addr, over TLS where it is told how, until the returned function is
// called, which waits
// for the requests that are being answered.
func listen(addr string, h http.Handler, over *tls.Config) (string, func(), error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", nil, fmt.Errorf("%w: name another, or port 0 for one that the system chooses", err)
	}
	if err != nil {
		return "", nil, err
	}
	if over != nil {
		over.NextProtos = []string{"h2", "http/1.1"}
		l = tls.NewListener(l, over)
	}
	// What a stranger's connection died of is no news of this process.
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	go func() { // ends when the server is shut down below
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("BUG: serve %s: %v", addr, err))
		}
	}()
	return l.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
		<-done
	}, nil
}
