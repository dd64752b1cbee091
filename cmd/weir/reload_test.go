package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// serialOf is the serial number of the certificate that a new connection is shown.
func serialOf(t *testing.T, at string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}) // which one it is is the question
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A reloaded is a weir up that runs by weir.yaml, and is sent SIGHUP.
type reloaded struct{ *process }

// write writes the file.
func (r *reloaded) write(text string) {
	r.t.Helper()
	if err := os.WriteFile("weir.yaml", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// reloadedFile is a file that is right.
func reloadedFile(level, prefix, within string, approvals int) string {
	return fmt.Sprintf("data: data\nlog: {format: json, level: %s}\nmetrics: {listen: 127.0.0.1:0}\nkafka: {topic-prefix: %s}\n"+
		"desk: {web: 127.0.0.1:0, tls-cert: desk.crt, tls-key: desk.key, within: %s, approvals: %d}\n", level, prefix, within, approvals)
}

// hangUp sends the signal and waits for what the log says then.
func (r *reloaded) hangUp(msg string) map[string]any {
	r.t.Helper()
	r.forget()
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
	r.until(msg, func() bool { return r.said(msg) != nil })
	return r.said(msg)
}

// tells fails unless the log said a line with some attributes.
func (r *reloaded) tells(msg string, attributes map[string]any) {
	r.t.Helper()
	said := r.said(msg)
	for key, want := range attributes {
		if said == nil || !strings.Contains(fmt.Sprint(said[key]), fmt.Sprint(want)) {
			r.t.Errorf("of %q the log says %v, want %s %v", msg, said, key, want)
		}
	}
}

const notReloaded = "settings are not reloaded: the old ones go on"

// TestReload sends a weir up that runs SIGHUP: what may change is changed, what may not is
// named, and a file or a certificate that is wrong leaves all as it was.
func TestReload(t *testing.T) {
	makeFiles(t)
	r := &reloaded{process: &process{t: t}}
	r.write(reloadedFile("info", "a.", "1h", 2))
	r.process = start(t, "up", "--config", "weir.yaml", "--approvals", "2")
	r.until("a desk", func() bool { return r.said("serves the desk") != nil })
	at := strings.TrimPrefix(r.said("serves the desk")["address"].(string), "https://")
	r.tells("settings", map[string]any{"file": "weir.yaml", "of_file": 9, "of_flags": 1})
	if n := serialOf(t, at); n != 1 {
		t.Fatalf("certificate %d", n)
	}

	r.write(reloadedFile("debug", "b.", "5m", 1))
	writePair(t, "desk", 2)
	r.hangUp("settings reloaded")
	r.tells("settings reloaded", map[string]any{"changed": 2, "need_restart": 1})
	r.tells("setting changed: needs a restart", map[string]any{"key": "kafka.topic-prefix"})
	r.tells("setting changed in the file only", map[string]any{"key": "desk.approvals", "in_force": fromFlag})
	r.tells("setting changed", map[string]any{"key": "desk.within", "from": "1h", "to": "5m"})
	if n := serialOf(t, at); n != 2 {
		t.Errorf("certificate %d after it was renewed", n)
	}
	// The server of the pages tells of connections that are no TLS to those who debug.
	c, err := net.Dial("tcp", at)
	if err == nil {
		_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		defer c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.until("a line for who debugs", func() bool { return r.level("DEBUG") })

	r.write("log: {level: loud}\nkafka: {topic-prefx: c.}\n")
	r.hangUp(notReloaded)
	r.tells(notReloaded, map[string]any{"cause": "2 mistakes", "file": "weir.yaml"})
	r.tells("settings are wrong", map[string]any{"place": "weir.yaml:2:9", "hint": "topic-prefix"})
	if err := os.Remove("weir.yaml"); err != nil {
		t.Fatal(err)
	}
	r.hangUp(notReloaded)
	r.write(reloadedFile("info", "b.", "5m", 1))
	if err := os.WriteFile("desk.crt", []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangUp(notReloaded)
	r.tells(notReloaded, map[string]any{"cause": "desk.crt"})
	if r.said("setting changed") != nil || serialOf(t, at) != 2 {
		t.Error("a part of what is wrong was taken")
	}
	writePair(t, "desk", 3)
	if r.hangUp("settings reloaded"); serialOf(t, at) != 3 {
		t.Error("it does not take what is right after what was wrong")
	}
	r.stop()
}
