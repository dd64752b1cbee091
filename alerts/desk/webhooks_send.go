package desk

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// The bounds of one attempt.
const (
	sendWithin    = 15 * time.Second
	answerMax     = 64 << 10 // of an answer's body, which nobody reads
	answerHeaders = 16 << 10
)

// sender sends messages to webhooks.
type sender struct {
	allow         atomic.Pointer[[]netip.Prefix]
	secure, plain *http.Client
}

// newSender makes a sender that reaches what is public, and the networks that are
// allowed. Plain http it speaks with those only.
func newSender(allow []netip.Prefix, resolver *net.Resolver) *sender {
	s := &sender{}
	s.allow.Store(&allow)
	client := func(may func(netip.Addr) bool) *http.Client {
		// The address is looked at when the connection is made, by its number: a name
		// that led elsewhere a moment before does not help.
		d := &net.Dialer{Timeout: sendWithin, Resolver: resolver, Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !may(at.Addr()) {
				return fmt.Errorf("%w: %s", errAddress, address)
			}
			return nil
		}}
		return &http.Client{
			Timeout: sendWithin,
			// No proxy: it would make the connection, and nobody would look.
			Transport: &http.Transport{DialContext: d.DialContext, TLSHandshakeTimeout: sendWithin, ResponseHeaderTimeout: sendWithin,
				MaxResponseHeaderBytes: answerHeaders, MaxIdleConnsPerHost: sendAtOnce, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	s.plain = client(s.allowed)
	s.secure = client(func(a netip.Addr) bool { return s.allowed(a) || isPublic(a) })
	return s
}

// close closes the connections that are kept.
func (s *sender) close() {
	s.plain.CloseIdleConnections()
	s.secure.CloseIdleConnections()
}

// errAddress is of a webhook that leads where it may not.
var errAddress = errors.New("the address is not public")

func (s *sender) allowed(a netip.Addr) bool {
	for _, p := range *s.allow.Load() {
		if p.Contains(a.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// notPublic are the networks of IPv4 that are no hosts of the internet (the registry of
// special-purpose addresses, RFC 6890), and those of IPv6 within 2000::/3, which all
// that are stand in. Through some of them one reaches IPv4 (6to4, Teredo).
var notPublic = func() (list []netip.Prefix) {
	for _, text := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}()

var globalIPv6 = netip.MustParsePrefix("2000::/3")

// isPublic reports whether an address is of a host of the internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() && !globalIPv6.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a.WithZone("")) {
			return false
		}
	}
	return a.IsValid()
}

// sign signs a message as the Standard Webhooks have it.
func sign(secret []byte, id string, at int64, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%d.", id, at)
	_, _ = h.Write(body) // a hash takes all
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// send makes one attempt. It returns why the message was not taken, in words that hold
// nothing of what the other side said: it may be one that should not be asked.
func (s *sender) send(ctx context.Context, h *webhook, id string, body []byte, now time.Time) (failure string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return "its address cannot be used"
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "weir-webhooks/1")
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("webhook-signature", sign(h.secret, id, now.Unix(), body))
	client := s.secure
	if r.URL.Scheme != "https" {
		client = s.plain
	}
	a, err := client.Do(r)
	if err != nil {
		return unsent(err)
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(a.Body, answerMax)) // so that the connection can be used again
	if a.StatusCode/100 != 2 {
		return fmt.Sprintf("answered %d %s", a.StatusCode, http.StatusText(a.StatusCode))
	}
	return ""
}

// unsent says what kept a message from an answer, without its address.
func unsent(err error) string {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var at *url.Error
	switch {
	case errors.Is(err, errAddress):
		return "it leads to an address that is not public; --webhooks-allow can allow its network"
	case errors.As(err, &at) && at.Timeout():
		return fmt.Sprintf("no answer within %v", sendWithin)
	case errors.As(err, &name):
		return "its name leads nowhere"
	case errors.As(err, &certificate):
		return "its certificate is not trusted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	}
	return "the connection failed"
}
