package history_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weir-risk/weir/ingest/history"
)

// A cutter is a proxy that breaks a connection off at the answer which it was
// told to: what was asked has been carried out by then, or will be, and whoever
// asked does not learn of it.
type cutter struct {
	t        testing.TB
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	left   int // answers until the cut; negative is never
	cut    bool
	closed bool
}

func newCutter(t testing.TB, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{t: t, listener: l, server: server, conns: map[net.Conn]bool{}, left: -1}
	c.wg.Go(c.serve)
	t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		c.closed = true
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.server)
		if err != nil || !c.keep(client, server) {
			_ = client.Close()
			continue
		}
		c.wg.Go(func() {
			_, _ = io.Copy(server, client) // ends when either side does
			_ = server.Close()
		})
		c.wg.Go(func() {
			defer client.Close()
			defer server.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := server.Read(buf)
				if err != nil || !c.pass() {
					return
				}
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
}

func (c *cutter) keep(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if c.closed {
			_ = conn.Close()
		}
		c.conns[conn] = true
	}
	return !c.closed
}

// pass reports whether an answer goes through.
func (c *cutter) pass() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 {
		return true
	}
	c.left--
	c.cut = c.cut || c.left < 0
	return c.left >= 0
}

// arm makes the cutter break the connection at answer n from now on, from 0, and
// reports whether it had done so before.
func (c *cutter) arm(n int) (cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut, c.left, c.cut = c.cut, n, false
	return cut
}

// server returns the address in a URL, and the URL with another.
func swap(t testing.TB, from, to string) (address, swapped string) {
	t.Helper()
	u, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	address = u.Host
	u.Host = to
	return address, u.String()
}

// TestAnAnswerThatIsLostDoublesNothing writes block after block, and breaks the
// connection at a later answer each time, until a block is written before the
// break comes: so every answer of a write is lost once. Every other time a new
// store goes on, as after a crash.
func TestAnAnswerThatIsLostDoublesNothing(t *testing.T) {
	at := clickhouseURL(t)
	if at == "" {
		t.Skip("needs ClickHouse: SQLite has no connection that could break")
	}
	server, _ := swap(t, at, "")
	c := newCutter(t, server)
	_, through := swap(t, at, c.listener.Addr().String())
	s := open(t, through)
	l := newLedger(t, 11)
	lost := 0
	for n := 0; ; n++ {
		kept := int64(50 * n)
		l.decisions(50)
		l.label("tx-1", 0, 2, 1, l.now)
		first := len(l.batches) - 2
		c.arm(n)
		err := s.Write(t.Context(), l.block(first, first+2))
		cut := c.arm(-1)
		if err != nil && history.Classify(err) != history.Retry {
			t.Fatalf("a lost answer is not worth a retry: %v", err)
		}
		if err != nil {
			lost++
			if n%2 == 1 {
				s = open(t, through)
			}
			begun(t, s, l, kept)
			write(t, s, l.block(first, first+2))
		}
		l.at(s, l.next)
		if !cut {
			break
		}
	}
	t.Logf("%d answers were lost and seen", lost)
	if lost < 4 {
		t.Fatal("the connection was not broken in the middle of a write")
	}
	l.same(s, 0, len(l.batches))
	l.once(s)
}

// begun fails the test if any row of the last block is in the store, which held
// kept decisions before it, and neither is the block whole nor does the store
// say where it ends: whoever goes on could cut it elsewhere, under other tokens.
func begun(t *testing.T, s history.Store, l *ledger, kept int64) {
	t.Helper()
	p, err := s.Position(t.Context(), history.Ledger, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Begun != 0 && p.Begun != l.next || p.Begun == 0 && c.Decisions > kept && p.Offset < l.next {
		t.Fatalf("%d decisions of a block to %d are in; one to %d was begun", c.Decisions-kept, l.next, p.Begun)
	}
}

// TestASmallQuestionIsAskedAgain breaks the connection at a later answer each
// time, until a question is answered before the break comes.
func TestASmallQuestionIsAskedAgain(t *testing.T) {
	at := clickhouseURL(t)
	if at == "" {
		t.Skip("needs ClickHouse: SQLite has no connection that could break")
	}
	server, _ := swap(t, at, "")
	c := newCutter(t, server)
	_, through := swap(t, at, c.listener.Addr().String())
	s := open(t, through)
	l := newLedger(t, 13)
	l.decisions(50)
	write(t, s, l.block(0, 1))
	for n := 0; ; n++ {
		c.arm(n)
		l.at(s, l.next)
		if !c.arm(-1) {
			if n == 0 {
				t.Fatal("the connection was not broken")
			}
			return
		}
	}
}

// A restartable server is a ClickHouse of the test's own.
type server struct {
	t    testing.TB
	port string
}

// newServer starts a server on a port that is free, with the script that
// deployments use for trials.
func newServer(t testing.TB) *server {
	t.Helper()
	if os.Getenv("WEIR_CLICKHOUSE") == "" {
		t.Skip("needs ClickHouse")
	}
	s := &server{t: t, port: freePorts(t)}
	t.Cleanup(func() { s.run("wipe") })
	s.run("start")
	return s
}

// freePorts returns a port that is free together with the next one.
func freePorts(t testing.TB) string {
	for range 100 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := a.Addr().(*net.TCPAddr).Port
		b, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		_ = a.Close()
		if err == nil {
			_ = b.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no two free ports beside each other")
	return ""
}

func (s *server) run(command string) {
	s.t.Helper()
	out, err := exec.Command("../../deploy/clickhouse/clickhouse", command, s.port).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s ClickHouse: %v\n%s", command, err, out)
	}
}

// TestTheServerIsKilledAndComesBack writes while the server is killed, stopped
// and started again: what it acknowledged stays, what is sent again is kept once.
func TestTheServerIsKilledAndComesBack(t *testing.T) {
	srv := newServer(t)
	s := open(t, "clickhouse://127.0.0.1:"+srv.port+"/weir")
	l := newLedger(t, 12)
	for i, end := range []string{"kill", "stop", "kill"} {
		for range 3 {
			l.decisions(2000)
			write(t, s, l.block(len(l.batches)-1, len(l.batches)))
		}
		srv.run(end)
		l.decisions(2000)
		b := l.block(len(l.batches)-1, len(l.batches))
		for range 4 { // idle connections fail one by one, then the dial does
			if err := s.Write(t.Context(), b); err == nil || history.Classify(err) != history.Retry {
				t.Fatalf("round %d: a write to a server that is gone gives %v", i, err)
			}
		}
		srv.run("start")
		var err error
		for range 4 {
			if err = s.Write(t.Context(), b); err == nil {
				break
			}
			if history.Classify(err) != history.Retry {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Fatalf("round %d: a server that is back does not take a block: %v", i, err)
		}
	}
	l.same(s, 0, len(l.batches))
	l.once(s)
}

// TestWrongPasswordStops has the server refuse the password: trying again does
// not help, and the error does not tell it.
func TestWrongPasswordStops(t *testing.T) {
	at := clickhouseURL(t)
	if at == "" {
		t.Skip("needs ClickHouse")
	}
	u, _ := url.Parse(at)
	u.User = url.User("default")
	s, err := history.Open(t.Context(), u.String(), history.Options{Password: "squeamish"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Migrate(t.Context())
	if err == nil || history.Classify(err) != history.Stop || strings.Contains(err.Error(), "squeamish") {
		t.Fatalf("a wrong password gives %v", err)
	}
	if _, err := s.Counts(t.Context()); err == nil || errors.Is(err, history.ErrOlder) {
		t.Fatalf("counting with a wrong password gives %v", err)
	}
}
