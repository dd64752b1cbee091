package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var servesDeskAt = regexp.MustCompile(`serves the desk" address=(\S+)`)

// desk waits for the address of the desk's pages.
func (b *background) desk() (at string) {
	b.t.Helper()
	b.until("a desk", func() bool {
		if m := servesDeskAt.FindStringSubmatch(b.said()); m != nil {
			at = m[1]
		}
		return at != ""
	})
	return at
}

// TestUpServesTheDesk logs somebody in at the desk of weir up, by the account that its
// log says how to make.
func TestUpServesTheDesk(t *testing.T) {
	data := t.TempDir()
	up := inBackground(t, "up", "--data", data, "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0")
	at := up.desk()
	var remedy string
	up.until("how to make an account", func() bool {
		if m := regexp.MustCompile(`remedy="(weir user add [^"]+)"`).FindStringSubmatch(up.said()); m != nil {
			remedy = m[1]
		}
		return remedy != ""
	})
	// What the log says works as it is written, but for the name.
	words := strings.Fields(strings.ReplaceAll(remedy, "NAME", "ann"))[1:]
	callWith(t, testPassword, nil, words...).succeeds(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	in, err := client.PostForm(at+"/login", url.Values{"name": {"ann"}, "password": {testPassword}})
	if err != nil {
		t.Fatal(err)
	}
	in.Body.Close()
	if in.StatusCode != http.StatusSeeOther || len(in.Cookies()) != 1 {
		t.Errorf("log-in: %s", in.Status)
	}
	up.stop()

	again := inBackground(t, "up", "--data", data, "--listen", "127.0.0.1:0", "--web", "localhost:0")
	again.desk()
	again.get("/healthz") // it is up
	again.stop()
	if strings.Contains(again.said(), "weir user add") {
		t.Errorf("it says how to make an account where there is one\n%s", again.said())
	}
	call(t, "up", "--data", data, "--web", "0.0.0.0:0").fails(t, exitUsage, "--web", "--tls-cert")
}

// TestUpWithoutTheDesk has none where it is off, and weir desk has no such word.
func TestUpWithoutTheDesk(t *testing.T) {
	up := inBackground(t, "up", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--web", "off")
	if code, _ := up.get("/healthz"); code != http.StatusOK {
		t.Errorf("code %d", code)
	}
	up.stop()
	if strings.Contains(up.said(), "desk") {
		t.Errorf("there is a desk\n%s", up.said())
	}
	call(t, "desk", "--kafka", "127.0.0.1:1", "--web", "off").fails(t, exitUsage, "--web")
}

// TestDeskTakesAnotherPort where the default is taken and the desk is one role of
// several; on its own, or where somebody asked for the port, that is an error.
func TestDeskTakesAnotherPort(t *testing.T) {
	// Whether this takes the port, or whoever has it does: it is taken.
	if first, err := (&deskFlags{web: webDefault}).listen(t.Context()); err == nil {
		defer first.Close()
	}
	other, err := (&deskFlags{web: webDefault, beside: true}).listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, f := range []deskFlags{{web: webDefault}, {web: other.Addr().String(), beside: true}} {
		if l, err := f.listen(t.Context()); err == nil {
			l.Close()
			t.Errorf("%+v: the port was taken twice", f)
		} else if !strings.Contains(err.Error(), "--web: ") || !strings.Contains(err.Error(), "port 0") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
