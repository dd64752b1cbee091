package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/weir-risk/weir/ingest/broker"
)

// A background is weir in this process, beside the test.
type background struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan int // its exit code

	mu     sync.Mutex
	stderr strings.Builder
}

// inBackground runs weir with the words of a command line until stop, or until the
// test ends.
func inBackground(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{t: t, cancel: cancel, done: make(chan int, 1)}
	e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: b, lookup: func(string) (string, bool) { return "", false }}
	go func() { // ends with stop
		b.done <- run(ctx, args, e)
		close(b.done)
	}()
	t.Cleanup(b.stop)
	return b
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stderr.Write(p)
}

func (b *background) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stderr.String()
}

// stop ends weir as Ctrl-C does; it may be called again.
func (b *background) stop() {
	b.cancel()
	if code, ok := <-b.done; ok && code != exitOK {
		b.t.Errorf("exit code %d\n%s", code, b.said())
	}
}

// ends waits until weir ends by itself, with a code and words on stderr.
func (b *background) ends(code int, words ...string) {
	b.t.Helper()
	select {
	case got := <-b.done:
		called{got, "", b.said()}.fails(b.t, code, words...)
	case <-time.After(30 * time.Second):
		b.t.Fatalf("weir runs\n%s", b.said())
	}
}

// until waits for a condition.
func (b *background) until(what string, cond func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited in vain for %s\n%s", what, b.said())
		}
	}
}

var servesAt = regexp.MustCompile(`serves metrics" address=(\S+)`)

// get asks weir's own server, and waits until there is one.
func (b *background) get(path string) (code int, body string) {
	b.t.Helper()
	var at string
	b.until("an address", func() bool {
		if m := servesAt.FindStringSubmatch(b.said()); m != nil {
			at = m[1]
		}
		return at != ""
	})
	return get(b.t, "http://"+at+path)
}

func get(t testing.TB, url string) (code int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestWhatAScorerSaysOfItself asks a scorer how it is, and then one that halts: its
// ledger was begun with another spec.
func TestWhatAScorerSaysOfItself(t *testing.T) {
	kafka, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	args := []string{"score", "--kafka", kafka.Addr(), "--data", t.TempDir(), "--listen", "127.0.0.1:0"}
	right := inBackground(t, args...)
	right.until("an owner", func() bool {
		code, body := right.get("/readyz")
		var is struct {
			Ready, Owner bool
			Reason       string
			Ledger       int64 `json:"ledger_offset"`
		}
		if err := json.Unmarshal([]byte(body), &is); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if is.Ready != (code == http.StatusOK) || is.Ready != (is.Reason == "") || !is.Ready && code != http.StatusServiceUnavailable {
			t.Fatalf("code %d, %s", code, body)
		}
		return is.Owner && is.Ledger > 0 // the ledger is begun
	})
	if code, body := right.get("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d, %q", code, body)
	}
	if code, _ := right.get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("profiles are served beside the metrics: code %d", code)
	}
	_, metrics := right.get("/metrics")
	isProper(t, metrics)
	for _, line := range []string{"weir_owner 1", "weir_step_seconds_count ", "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("/metrics does not say %q", line)
		}
	}
	right.stop()

	halted := inBackground(t, append(args, "--spec", "handbook")...)
	halted.until("a halt", func() bool {
		code, body := halted.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "decided with another spec")
	})
	if code, _ := halted.get("/healthz"); code != http.StatusOK {
		t.Errorf("a halted scorer is not alive: code %d", code)
	}
	_, metrics = halted.get("/metrics")
	isProper(t, metrics)
	if !strings.Contains(metrics, "\nweir_halted{reason=\"ledger_spec\"} 1\n") || !strings.Contains(metrics, "\nweir_owner 0\n") {
		t.Errorf("the metrics of a halted scorer are\n%s", metrics)
	}
}

// isProper holds what /metrics says to Prometheus' own parser and rules.
func isProper(t *testing.T, metrics string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(metrics)).Lint()
	if err != nil {
		t.Errorf("%v in\n%s", err, metrics)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestProfilesAreOfThisMachine holds --pprof to loopback addresses.
func TestProfilesAreOfThisMachine(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "localhost:6060", "[::1]:6060"} {
		if err := loopback(addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	_, address := brokerWith(t, "decisions")
	for _, addr := range []string{"0.0.0.0:6060", ":6060", "[::]:6060", "10.0.0.1:6060", "weir.example:6060"} {
		if loopback(addr) == nil {
			t.Errorf("%s is taken", addr)
		}
		call(t, "check", "--pprof", addr).fails(t, exitFailed, "--pprof", "127.0.0.1")
		refused := inBackground(t, "score", "--kafka", address, "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--pprof", addr)
		refused.ends(exitUsage, "--pprof", "127.0.0.1")
	}
	at, stop, err := serveProfiles("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if code, body := get(t, "http://"+at+"/debug/pprof/goroutine?debug=1"); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("code %d, %.100q", code, body)
	}
	if code, _ := get(t, "http://"+at+"/metrics"); code != http.StatusNotFound {
		t.Errorf("metrics are served beside the profiles: code %d", code)
	}
}

// TestListenInUse names the flag and a remedy where another weir has the port.
func TestListenInUse(t *testing.T) {
	_, address := brokerWith(t, "decisions")
	at, stop, err := (&monitorFlags{listen: "127.0.0.1:0"}).serveMetrics(slog.Default(), prometheus.NewRegistry(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	call(t, "score", "--kafka", address, "--data", t.TempDir(), "--listen", at).fails(t, exitFailed, "--listen", at, "port 0")
}

// TestARollbackKeyIsTrustedByTheScorers refuses one at the start that every node would
// refuse when it is needed.
func TestARollbackKeyIsTrustedByTheScorers(t *testing.T) {
	dir := t.TempDir()
	own, _, err := loadOrMakeKey(filepath.Join(dir, "own.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadOrMakeKey(filepath.Join(dir, "other.key")); err != nil {
		t.Fatal(err)
	}
	trust := []ed25519.PublicKey{own.Public().(ed25519.PublicKey)}
	for _, c := range []struct {
		file  string
		watch time.Duration
		want  ed25519.PrivateKey
		fails string
	}{
		{"", time.Hour, nil, ""},
		{"own.key", time.Hour, own, ""},
		{"other.key", time.Hour, nil, "not among those that are trusted"},
		{"none.key", time.Hour, nil, "--rollback-key"},
		{"own.key", -1, nil, "--watch"},
	} {
		f := &scoreFlags{watch: c.watch}
		if c.file != "" {
			f.rollbackKey = filepath.Join(dir, c.file)
		}
		key, err := f.rollback(trust)
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) || !bytes.Equal(key, c.want) {
			t.Errorf("%q, %v: %v", c.file, c.watch, err)
		}
	}
}
