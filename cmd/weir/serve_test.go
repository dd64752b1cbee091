package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestProfilesAreOfThisMachine holds --pprof to loopback addresses.
func TestProfilesAreOfThisMachine(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "localhost:6060", "[::1]:6060"} {
		if err := loopback(addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"0.0.0.0:6060", ":6060", "[::]:6060", "10.0.0.1:6060", "weir.example:6060"} {
		if loopback(addr) == nil {
			t.Errorf("%s is taken", addr)
		}
	}
	call(t, "check", "--pprof", ":6060").fails(t, exitFailed, "--pprof", "127.0.0.1")
}

// TestListenInUse names the flag and a remedy where another weir has the port.
func TestListenInUse(t *testing.T) {
	_, address := brokerWith(t, "decisions")
	at, stop, err := serveMetrics("127.0.0.1:0", "", prometheus.NewRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	call(t, "score", "--kafka", address, "--data", t.TempDir(), "--listen", at).fails(t, exitFailed, "--listen", at, "port 0")
}
