package desk

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Log-ins of one address: bucketSize at once, and then one every bucketEvery. A
// whole office may come from one address, so one that succeeds is given back.
const (
	bucketSize  = 30
	bucketEvery = 2 * time.Second
)

// buckets hold for each address how many log-ins it may still try, as the time at
// which it would have them all.
type buckets struct {
	mu   sync.Mutex
	full bounded[int64]
}

// take takes one, or says how long to wait.
func (b *buckets) take(address string, now int64) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := max(b.full.get(address), now) + bucketEvery.Milliseconds()
	if over := full - now - bucketSize*bucketEvery.Milliseconds(); over > 0 {
		return time.Duration(over) * time.Millisecond
	}
	b.full.put(address, full)
	return 0
}

// give gives one back.
func (b *buckets) give(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full.put(address, b.full.get(address)-bucketEvery.Milliseconds())
}

// address returns where a request comes from. What a proxy says is believed only of
// the proxies that are named.
func (s *Server) address(r *http.Request) netip.Addr {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := at.Addr().Unmap()
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && s.proxy(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr.WithZone("")
}

func (s *Server) proxy(addr netip.Addr) bool {
	for _, p := range s.options.Proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// bucketOf returns whose bucket an address takes from: an IPv6 network's, since
// whoever has one address of it has them all.
func bucketOf(addr netip.Addr) string {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
