package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsOverTLS serves the pages that say how a role is over TLS, asks them as
// weir health and weir status do, and renews the certificate under way.
func TestMetricsOverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "metrics.crt"), filepath.Join(dir, "metrics.key")
	writePair(t, filepath.Join(dir, "metrics"), 1)
	old, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(dir, "before.pem")
	if err := os.WriteFile(before, old, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &background{}
	m := &monitorFlags{listen: "127.0.0.1:0", certFile: cert, keyFile: key}
	at, stop, err := m.serveMetrics(slog.New(slog.NewTextHandler(log, nil)), newRegistry(""), func() (bool, any) { return true, map[string]any{"ready": true} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	call(t, "health", "--listen", at).fails(t, exitFailed, "400")
	call(t, "health", "--listen", at, "--metrics-tls-cert", cert, "--ready").succeeds(t)
	if c := call(t, "status", "--at", at); c.code == exitOK || strings.Contains(c.stdout, "go_goroutines") {
		t.Errorf("asked in clear, it answers: %+v", c)
	}
	var r statusReport
	c := call(t, "status", "--at", at, "--ca", cert, "--json")
	if err := json.Unmarshal([]byte(c.stdout), &r); err != nil || r.Nodes[0].Error != "it is no role of weir" { // the registry is empty
		t.Errorf("asked over TLS, it does not answer: %v, %+v", err, c)
	}

	if err := os.WriteFile(cert, old[:len(old)/2], 0o600); err != nil { // half written
		t.Fatal(err)
	}
	call(t, "health", "--listen", at, "--metrics-tls-cert", before).succeeds(t)
	if !strings.Contains(log.said(), "cannot be renewed") {
		t.Errorf("nobody says that the certificate is bad: %s", log.said())
	}

	writePair(t, filepath.Join(dir, "metrics"), 2)
	call(t, "health", "--listen", at, "--metrics-tls-cert", cert).succeeds(t)
	call(t, "health", "--listen", at, "--metrics-tls-cert", before).fails(t, exitFailed, "has another certificate than "+before)
	if c := call(t, "status", "--at", at, "--ca", before, "--json"); !strings.Contains(c.stdout, "certificate") {
		t.Errorf("one that nobody vouches for is believed: %+v", c)
	}
}

// TestMetricsCertificateThatWillNotDo is told at the start, and by weir check.
func TestMetricsCertificateThatWillNotDo(t *testing.T) {
	dir := t.TempDir()
	writePair(t, filepath.Join(dir, "one"), 1)
	writePair(t, filepath.Join(dir, "other"), 2)
	cert, other := filepath.Join(dir, "one.crt"), filepath.Join(dir, "other.key")
	for _, c := range []struct {
		cert, key, says string
	}{
		{cert, "", "belong together"},
		{"", other, "belong together"},
		{cert, other, "private key does not match"},
		{filepath.Join(dir, "none.pem"), other, "no such file"},
	} {
		m := &monitorFlags{listen: "127.0.0.1:0", certFile: c.cert, keyFile: c.key}
		if _, _, err := m.serveMetrics(slog.Default(), prometheus.NewRegistry(), nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
		call(t, "check", "--metrics-tls-cert", c.cert, "--metrics-tls-key", c.key).fails(t, exitFailed, c.says)
	}
}
