package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealth asks roles that are well, that are not ready, that are ill and that are not
// there.
func TestHealth(t *testing.T) {
	ill := false
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if ill {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"ready":false,"reason":"starting"}`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(at)

	if c := call(t, "health", "--listen", at).succeeds(t); c.stdout != "ok\n" {
		t.Errorf("it prints %q", c.stdout)
	}
	for _, all := range []string{":" + port, "0.0.0.0:" + port} {
		call(t, "health", "--listen", all).succeeds(t)
	}
	call(t, "health", "--listen", at, "--ready").fails(t, exitFailed, "503", "/readyz")

	var a healthAnswer
	c := call(t, "health", "--listen", at, "--ready", "--json").fails(t, exitFailed)
	if err := json.Unmarshal([]byte(c.stdout), &a); err != nil || a.OK || a.Status != http.StatusServiceUnavailable {
		t.Errorf("%s: %v", c.stdout, err)
	}
	if m, ok := a.Answer.(map[string]any); !ok || m["reason"] != "starting" {
		t.Errorf("the answer is %v", a.Answer)
	}

	ill = true
	call(t, "health", "--listen", at).fails(t, exitFailed, "500")
	server.Close()
	call(t, "health", "--listen", at).fails(t, exitFailed, "nobody answers")
	call(t, "health", "--listen", "9464").fails(t, exitUsage, "--listen")
}

// TestHealthOfUp asks a weir that runs, as a container's health check does.
func TestHealthOfUp(t *testing.T) {
	up := inBackground(t, "up", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--web", "off")
	up.get("/healthz") // it is up
	at := servesAt.FindStringSubmatch(up.said())[1]
	call(t, "health", "--listen", at).succeeds(t)
	up.until("it is ready", func() bool { return call(t, "health", "--listen", at, "--ready").code == exitOK })
}
