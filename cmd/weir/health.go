package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

var healthCommand = &command{
	name: "health", summary: "ask a running role whether it is well", json: true,
	about: `It asks /healthz where a role was started with --listen, or /readyz with --ready, prints
the answer and exits with 0 where it is a good one and with 1 otherwise. That is all a
container's health check needs, in an image that holds nothing but weir.

A role that cannot go on by itself is well and not ready: to start it again would change
nothing, and /readyz and weir_halted say what a person has to mend.`,
	examples: []string{
		"weir health",
		"weir health --ready",
		"weir health --listen 0.0.0.0:9465 --json",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		h := &health{}
		fs.StringVar(&h.listen, "listen", listenDefault, "`HOST:PORT` that the role was started with")
		fs.StringVar(&h.cert, "metrics-tls-cert", "", "PEM `FILE` with the certificate that the role was started with, where it has one: it is\nasked over TLS, and must show this one")
		fs.BoolVar(&h.ready, "ready", false, "ask also whether what arrives now is dealt with now")
		fs.DurationVar(&h.timeout, "timeout", 3*time.Second, "`TIME` to wait for the answer")
		return h.run
	},
}

// health is one run of the command.
type health struct {
	listen  string
	cert    string
	ready   bool
	timeout time.Duration
}

// healthAnswer is the command's --json line.
type healthAnswer struct {
	OK     bool   `json:"ok"`
	URL    string `json:"url"`
	Status int    `json:"status"`
	Answer any    `json:"answer"`
}

// healthBytesMax bounds what is read of an answer.
const healthBytesMax = 64 << 10

func (h *health) run(ctx context.Context, e *env, _ []string) error {
	url, err := h.url()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("--listen %q: %v", h.listen, err)
	}
	// What is asked is this machine: a proxy of the environment has no part in it.
	t := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	if h.cert != "" {
		if t.TLSClientConfig, err = pinned(h.cert); err != nil {
			return err
		}
	}
	client := &http.Client{Transport: t}
	r, err := client.Do(q)
	if err != nil {
		return fmt.Errorf("nobody answers: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, healthBytesMax))
	_ = r.Body.Close() // it was read
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if !e.json {
		e.printf("%s", body)
	}
	a := healthAnswer{OK: r.StatusCode == http.StatusOK, URL: url, Status: r.StatusCode}
	if json.Unmarshal(body, &a.Answer) != nil {
		a.Answer = string(body)
	}
	if err := e.report(a); err != nil {
		return err
	}
	if !a.OK {
		return fmt.Errorf("%s says %s", url, r.Status)
	}
	return nil
}

// url is what is asked.
func (h *health) url() (string, error) {
	at, err := reachable(h.listen)
	if err != nil {
		return "", usagef("--listen: %v", err)
	}
	path := "/healthz"
	if h.ready {
		path = "/readyz"
	}
	if h.cert != "" {
		return "https://" + at + path, nil
	}
	return "http://" + at + path, nil
}

// reachable returns where who listens at HOST:PORT is asked: who listens on every address
// of a machine, on its own.
func reachable(listen string) (string, error) {
	if err := hostPort(listen); err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(listen)
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
