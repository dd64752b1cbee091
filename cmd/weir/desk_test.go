package main

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/weir-risk/weir/ingest/broker"
)

// firstMatch keeps what a service logs, and hands out the first match of a pattern.
type firstMatch struct {
	mu      sync.Mutex
	text    bytes.Buffer
	pattern *regexp.Regexp
	found   chan string
}

func (m *firstMatch) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text.Write(b)
	if at := m.pattern.FindSubmatch(m.text.Bytes()); at != nil {
		select {
		case m.found <- string(at[1]):
		default: // once
		}
	}
	return len(b), nil
}

// TestDesk starts weir desk, logs somebody in whom weir user made, looks at the queue,
// and stops it as Ctrl-C does.
func TestDesk(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	data := t.TempDir()
	secret := filepath.Join(data, "secret")
	if err := os.WriteFile(secret, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "user", "add", "ann", "--role", "analyst", "--password-file", secret, "--data", data).succeeds(t)
	call(t, "desk", "--kafka", b.Addr(), "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--trust", filepath.Join(data, "none.pem")).
		fails(t, exitFailed, "none.pem")
	log := &firstMatch{pattern: regexp.MustCompile(`address=(http://\S+)`), found: make(chan string, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := &env{stdin: strings.NewReader(""), stdout: log, stderr: log, lookup: func(string) (string, bool) { return "", false }}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"desk", "--kafka", b.Addr(), "--data", data, "--web", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, e)
	}()
	var at string
	select {
	case at = <-log.found:
	case code := <-ended:
		t.Fatalf("exit code %d\n%s", code, &log.text)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	in, err := client.PostForm(at+"/login", url.Values{"name": {"ann"}, "password": {"correct horse battery"}})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Body.Close()
	if in.StatusCode != http.StatusSeeOther || len(in.Cookies()) != 1 {
		t.Fatalf("log-in: %s", in.Status)
	}
	r, err := http.NewRequestWithContext(ctx, "GET", at+"/queue", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(in.Cookies()[0])
	queue, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Body.Close()
	var page bytes.Buffer
	if _, err := page.ReadFrom(queue.Body); err != nil || !strings.Contains(page.String(), "No open alerts.") {
		t.Errorf("%v: %s", err, &page)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d\n%s", code, &log.text)
	}
}

// TestDeskKeepsPasswordsOffTheNetwork: what other machines can reach needs TLS.
func TestDeskKeepsPasswordsOffTheNetwork(t *testing.T) {
	call(t, "desk", "--kafka", "127.0.0.1:1", "--web", "0.0.0.0:8464").fails(t, exitUsage, "--web 0.0.0.0:8464", "--tls-cert")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--tls-cert", "a.pem").fails(t, exitUsage, "belong together")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--within", "0s").fails(t, exitUsage, "--within")
	call(t, "desk", "--kafka", "127.0.0.1:1", "--second-looks", "5").fails(t, exitUsage, "--second-looks 5")
}
