package ingest

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A simNet is a network in memory. What a seed decides of it: how long each piece of
// what is sent takes, which connection breaks and at which byte, and which stalls. All
// that waits for it waits durably, as testing/synctest has it.
type simNet struct {
	mu     sync.Mutex
	r      *rand.Rand
	faulty bool // whether connections break and stall
	hosts  map[string]*simHost
	conns  int
	trace  *simTrace
}

// A simHost listens: a broker.
type simHost struct {
	net    *simNet
	addr   string
	down   bool
	closed bool
	wait   []*simConn // dialled and not accepted
	cond   *sync.Cond
	open   []*simConn
}

// A simLink is what lies between one process and the brokers.
type simLink struct {
	net   *simNet
	name  string
	clean bool    // neither late nor broken: that of whoever looks on
	cut   [2]bool // what goes up, or comes down, does not arrive until it is healed
	dead  bool    // its process is gone
	conns []*simConn
	late  time.Duration // by how much the next batch that is sent comes late; 0: it does not
}

// The directions of a link.
const (
	up = iota
	down
)

func newSimNet(r *rand.Rand, trace *simTrace) *simNet {
	return &simNet{r: r, hosts: make(map[string]*simHost), trace: trace}
}

// listen is what kfake listens by.
func (n *simNet) listen(_, addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &simHost{net: n, addr: fmt.Sprintf("10.0.0.%d:9092", len(n.hosts)+1), cond: sync.NewCond(&n.mu)}
	n.hosts[h.addr] = h
	return h, nil
}

type simAddr string

func (simAddr) Network() string  { return "tcp" }
func (a simAddr) String() string { return string(a) }

func (h *simHost) Addr() net.Addr { return simAddr(h.addr) }

func (h *simHost) Accept() (net.Conn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for len(h.wait) == 0 && !h.closed {
		h.cond.Wait()
	}
	if h.closed {
		return nil, net.ErrClosed
	}
	c := h.wait[0]
	h.wait = h.wait[1:]
	return c, nil
}

func (h *simHost) Close() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.closed = true
	h.cond.Broadcast()
	for _, c := range h.open {
		c.reset()
	}
	return nil
}

// fall takes a broker down, or up again.
func (h *simHost) fall(down bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.down = down
	for _, c := range h.open {
		if down && !c.link.clean {
			c.reset()
		}
	}
}

func (n *simNet) link(name string) *simLink { return &simLink{net: n, name: name} }

// chance draws from the network's source.
func (n *simNet) chance(p float64) bool { return n.r.Float64() < p }

// delay draws how long something is on its way.
func (l *simLink) delay() time.Duration {
	n := l.net
	if l.clean {
		return 0
	}
	d := 50*time.Microsecond + time.Duration(n.r.ExpFloat64()*float64(300*time.Microsecond))
	if n.faulty && n.chance(0.02) {
		d += time.Duration(n.r.Int64N(int64(300 * time.Millisecond)))
	}
	if n.faulty && n.chance(0.002) {
		d += time.Duration(n.r.Int64N(int64(3 * time.Second)))
	}
	return d
}

// dial opens a connection. What does not answer is waited for until ctx ends.
func (l *simLink) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n := l.net
	n.mu.Lock()
	d := l.delay()
	n.mu.Unlock()
	for {
		if d > 0 {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		c, err := l.connect(addr)
		if c != nil || err != nil {
			return c, err
		}
		d = 100 * time.Millisecond // it is sent again
	}
}

// connect returns neither a connection nor an error where nothing answers.
func (l *simLink) connect(addr string) (net.Conn, error) {
	n := l.net
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr]
	switch {
	case l.dead:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	case l.cut[up] || l.cut[down]:
		return nil, nil
	case h == nil || h.down && !l.clean || h.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	n.conns++
	a, b := &simPipe{cond: sync.NewCond(&n.mu), way: up}, &simPipe{cond: sync.NewCond(&n.mu), way: down}
	client := &simConn{link: l, id: n.conns, in: b, out: a, local: simAddr(fmt.Sprintf("%s:%d", l.name, n.conns)), remote: simAddr(addr)}
	server := &simConn{link: l, id: n.conns, in: a, out: b, local: client.remote, remote: client.local}
	client.peer, server.peer = server, client
	l.conns, h.open, h.wait = append(l.conns, client), append(h.open, server), append(h.wait, server)
	h.cond.Broadcast()
	l.trace("dial", n.conns, 0, nil)
	return client, nil
}

func (l *simLink) trace(what string, conn, n int, data []byte) {
	if !l.clean {
		l.net.trace.add(l.name, what, conn, n, data)
	}
}

// set cuts or heals a direction; what was sent meanwhile arrives late.
func (l *simLink) set(way int, cut bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.cut[way] = cut
	for _, c := range l.conns {
		c.in.cond.Broadcast()
		c.out.cond.Broadcast()
	}
}

// sever breaks the connections there are. Where the process is gone it opens no other,
// while what it had sent may still arrive, as it does on a real network.
func (l *simLink) sever(dead bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.dead = l.dead || dead
	for _, c := range l.conns {
		if !dead {
			c.reset()
			continue
		}
		c.in.broken = true
		c.in.cond.Broadcast()
		c.out.end()
	}
	l.conns = nil
}

// delayed has the next batch that is sent come so late, and reports whether the one before
// is on its way.
func (l *simLink) delayed(d time.Duration) (before bool) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	before = l.late == 0
	l.late = d
	return before
}

// A simPipe is one direction of a connection.
type simPipe struct {
	cond    *sync.Cond
	way     int
	pieces  []simPiece
	last    time.Time // when the newest piece arrives
	ended   bool      // nothing comes after the pieces
	broken  bool      // nothing comes any more
	stalled bool      // nothing arrives any more, and nobody is told
}

type simPiece struct {
	at   time.Time
	data []byte
}

func (p *simPipe) end() {
	p.ended = true
	p.cond.Broadcast()
}

func (p *simPipe) push(data []byte, d time.Duration) {
	at := time.Now().Add(d)
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.pieces = append(p.pieces, simPiece{at, append([]byte(nil), data...)})
	p.wake(at)
}

// wake wakes who waits at a time.
func (p *simPipe) wake(at time.Time) {
	d := time.Until(at)
	if d <= 0 {
		p.cond.Broadcast()
		return
	}
	time.AfterFunc(d, func() {
		p.cond.L.Lock()
		defer p.cond.L.Unlock()
		p.cond.Broadcast()
	})
}

// A simConn is one end of a connection.
type simConn struct {
	link          *simLink
	id            int
	in, out       *simPipe
	peer          *simConn
	local, remote simAddr
	closed        bool
	limit         [2]time.Time // deadlines of reading and of writing
}

func (c *simConn) LocalAddr() net.Addr  { return c.local }
func (c *simConn) RemoteAddr() net.Addr { return c.remote }

// reset breaks both directions at once.
func (c *simConn) reset() {
	for _, p := range []*simPipe{c.in, c.out} {
		p.broken = true
		p.cond.Broadcast()
	}
}

func (c *simConn) Read(b []byte) (int, error) {
	n, p := c.link.net, c.in
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := time.Now()
		held := p.stalled || c.link.cut[p.way]
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case p.broken:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		case !c.limit[0].IsZero() && !now.Before(c.limit[0]):
			return 0, os.ErrDeadlineExceeded
		case !held && len(p.pieces) > 0 && !p.pieces[0].at.After(now):
			k := copy(b, p.pieces[0].data)
			if p.pieces[0].data = p.pieces[0].data[k:]; len(p.pieces[0].data) == 0 {
				p.pieces = p.pieces[1:]
			}
			return k, nil
		case !held && len(p.pieces) == 0 && p.ended:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (c *simConn) Write(b []byte) (int, error) {
	l, n, p := c.link, c.link.net, c.out
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case !c.limit[1].IsZero() && !time.Now().Before(c.limit[1]):
		return 0, os.ErrDeadlineExceeded
	case p.broken || c.peer.closed || p.way == up && l.dead:
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	l.trace([2]string{"up", "down"}[p.way], c.id, len(b), b)
	if p.way == up && l.late > 0 && len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == 0 { // Produce
		l.trace("late", c.id, len(b), nil)
		p.push(b, l.late)
		l.late = 0
		return len(b), nil
	}
	if n.faulty && !l.clean && n.chance(0.004) {
		return c.lose(b)
	}
	if n.faulty && !l.clean && n.chance(0.1) { // in two pieces
		k := n.r.IntN(len(b) + 1)
		p.push(b[:k], l.delay())
		p.push(b[k:], l.delay())
		return len(b), nil
	}
	p.push(b, l.delay())
	return len(b), nil
}

// lose loses a part of what is written, or all, with the connection or without a word.
func (c *simConn) lose(b []byte) (int, error) {
	l, n, p := c.link, c.link.net, c.out
	k := n.r.IntN(len(b) + 1)
	switch n.r.IntN(4) {
	case 0: // neither end hears of the other again
		l.trace("stall", c.id, k, nil)
		p.push(b[:k], l.delay())
		c.in.stalled, p.stalled = true, true
		return len(b), nil
	case 1: // the writer knows
		l.trace("break", c.id, k, nil)
		c.reset()
		return k, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	case 2: // all of it arrives, and no answer does
		l.trace("answerless", c.id, len(b), nil)
		p.push(b, l.delay())
		p.ended = true
		c.in.broken = true
		c.in.cond.Broadcast()
		return len(b), nil
	}
	l.trace("lose", c.id, k, nil)
	d := l.delay()
	p.push(b[:k], d)
	p.ended = true
	time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		c.in.broken = true
		c.in.cond.Broadcast()
	})
	return len(b), nil
}

// Close lets arrive what was sent.
func (c *simConn) Close() error {
	c.link.net.mu.Lock()
	defer c.link.net.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.in.cond.Broadcast()
	c.out.end()
	return nil
}

func (c *simConn) SetDeadline(t time.Time) error {
	c.deadline(0, t)
	c.deadline(1, t)
	return nil
}

func (c *simConn) SetReadDeadline(t time.Time) error  { c.deadline(0, t); return nil }
func (c *simConn) SetWriteDeadline(t time.Time) error { c.deadline(1, t); return nil }

func (c *simConn) deadline(which int, t time.Time) {
	c.link.net.mu.Lock()
	defer c.link.net.mu.Unlock()
	c.limit[which] = t
	if which == 0 && !t.IsZero() {
		c.in.wake(t)
	}
}

// Quiet reports whether the connection is open and has nothing to read.
func (c *simConn) Quiet() bool {
	c.link.net.mu.Lock()
	defer c.link.net.mu.Unlock()
	p := c.in
	held := p.stalled || c.link.cut[p.way]
	arrived := len(p.pieces) > 0 && !p.pieces[0].at.After(time.Now()) || len(p.pieces) == 0 && p.ended
	return !c.closed && !p.broken && (held || !arrived)
}

// A simTrace is what happened, in order: a hash of all of it, and the end of it in words.
type simTrace struct {
	mu    sync.Mutex
	hash  uint64
	count int
	lines []string
	whole bool // all of it is kept
}

// simLines is how many lines of a trace are kept for whoever has to read it.
const simLines = 400

func (t *simTrace) add(who, what string, conn, n int, data []byte) {
	t.line(fmt.Sprintf("%s %s conn %d, %d bytes %08x", who, what, conn, n, crc32.Checksum(data, castagnoli)))
}

func (t *simTrace) line(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = fmt.Sprintf("%.6f %s", time.Since(simEpoch).Seconds(), s)
	for i := range len(s) { // FNV-1a
		t.hash = (t.hash ^ uint64(s[i])) * 1099511628211
	}
	t.count++
	t.keep(s)
}

// say keeps words that are no part of the trace.
func (t *simTrace) say(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(fmt.Sprintf("%.6f %s", time.Since(simEpoch).Seconds(), s))
}

func (t *simTrace) keep(s string) {
	if len(t.lines) == simLines && !t.whole {
		t.lines = append(t.lines[:0], t.lines[simLines/2:]...)
	}
	t.lines = append(t.lines, s)
}

// simEpoch is when the clocks of testing/synctest begin.
var simEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
