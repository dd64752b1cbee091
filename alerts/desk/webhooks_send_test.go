package desk

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhichAddressesArePublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "223.255.255.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.9.9.9": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "192.0.2.1": false, "192.0.0.170": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "::127.0.0.1": false, "fec0::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public is %v", text, got)
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// names is a server of names that gives each answer once, and the last one for good.
func names(t *testing.T, answers ...string) (*net.Resolver, *atomic.Int32) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	asked := new(atomic.Int32)
	go func() { // ends with the connection
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12
			for b[end] != 0 {
				end += int(b[end]) + 1
			}
			reply := append([]byte(nil), b[:min(n, end+5)]...)
			reply[2], reply[3], reply[7], reply[9], reply[11] = 0x81, 0x80, 0, 0, 0
			if binary.BigEndian.Uint16(reply[end+1:]) == 1 { // an address of IPv4
				i := min(int(asked.Add(1)), len(answers)) - 1
				ip := netip.MustParseAddr(answers[i]).As4()
				reply[7] = 1
				reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip[:]...)
			}
			_, _ = c.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}, asked
}

// TestANameThatLeadsElsewhereByThen: a name is public when somebody looks, and leads to
// this machine when the message is sent.
func TestANameThatLeadsElsewhereByThen(t *testing.T) {
	reached := new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		scheme string
		allow  []netip.Prefix
		want   string
	}{{"https", nil, "not public"}, {"http", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "not public"}, {"http", nil, "not public"}, {"http", loopback, ""}} {
		resolver, asked := names(t, "93.184.216.34", "127.0.0.1")
		if list, err := resolver.LookupHost(t.Context(), "rebind.example"); err != nil || list[0] != "93.184.216.34" {
			t.Fatal(list, err)
		}
		s := newSender(c.allow, resolver)
		got := s.send(t.Context(), &webhook{URL: c.scheme + "://rebind.example:" + port + "/"}, "msg_1", []byte("{}"), time.Now())
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) || asked.Load() < 2 {
			t.Errorf("%s, allowed %v: %q after %d questions", c.scheme, c.allow, got, asked.Load())
		}
		s.close()
	}
	if reached.Load() != 1 {
		t.Errorf("reached %d times, want 1: where it is allowed", reached.Load())
	}
	// Plain http is for what is allowed only, however public.
	resolver, _ := names(t, "93.184.216.34")
	if got := newSender(nil, resolver).send(t.Context(), &webhook{URL: "http://plain.example/"}, "msg_1", nil, time.Now()); !strings.Contains(got, "not public") {
		t.Errorf("plain http to a public address: %q", got)
	}
}

// TestWhatTheOtherSideMayDo: redirect, talk without end, say nothing.
func TestWhatTheOtherSideMayDo(t *testing.T) {
	reached := new(atomic.Int32)
	wrote := new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/reached", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/reached", func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for b := make([]byte, 64<<10); ; {
			n, err := w.Write(b)
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*answerHeaders))
	})
	quit := make(chan struct{})
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) { <-quit })
	mux.HandleFunc("/teapot", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("an inner secret"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(quit)
	s := newSender(loopback, nil)
	defer s.close()
	send := func(address string) string {
		return s.send(t.Context(), &webhook{URL: address}, "msg_1", []byte("{}"), time.Now())
	}
	if got := send(server.URL + "/redirect"); got != "answered 307 Temporary Redirect" || reached.Load() != 0 {
		t.Errorf("redirected: %q", got)
	}
	if got := send(server.URL + "/teapot"); got != "answered 418 I'm a teapot" {
		t.Errorf("refused: %q", got)
	}
	if got := send(server.URL + "/endless"); got != "" || wrote.Load() > 64<<20 {
		t.Errorf("endless: %q after %d bytes", got, wrote.Load())
	}
	if got := send(server.URL + "/headers"); got != "the connection failed" {
		t.Errorf("large headers: %q", got)
	}
	s.plain.Timeout = 50 * time.Millisecond
	if got := send(server.URL + "/silent"); got != "no answer within 15s" {
		t.Errorf("silent: %q", got)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if got := send(gone.URL); got != "nothing listens there" {
		t.Errorf("gone: %q", got)
	}
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	if got := send(secure.URL); got != "its certificate is not trusted" {
		t.Errorf("a certificate of its own: %q", got)
	}
}
