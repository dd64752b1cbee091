package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// oneAnswer serves one connection: it reads a request and answers with bytes,
// whatever was asked, and then closes.
func oneAnswer(t *testing.T, answer []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		var size [4]byte
		if _, err := io.ReadFull(raw, size[:]); err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, raw, int64(binary.BigEndian.Uint32(size[:])))
		_, _ = raw.Write(answer)
	}()
	return l.Addr().String()
}

func TestGarbageAnswersAreRefused(t *testing.T) {
	framed := func(correlation uint32, body ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
		return append(binary.BigEndian.AppendUint32(b, correlation), body...)
	}
	f := func(name, want string, answer []byte) {
		t.Helper()
		c := New(Options{Brokers: []string{oneAnswer(t, answer)}, Timeout: 5 * time.Second})
		defer c.Close()
		_, err := c.Describe(t.Context(), "t")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, want)
		}
	}
	f("nothing", "closed a new connection", nil)
	f("a web server", "an answer of", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f("half a header", "unexpected EOF", []byte{0, 0, 0, 9, 0})
	f("a broker with TLS", "set TLS", []byte{21, 3, 3, 0, 2, 2, 80})
	f("TLS and more", "set TLS", []byte{21, 3, 3, 0, 2, 2, 80, 21, 3, 3})
	f("a negative length", "an answer of", binary.BigEndian.AppendUint64(nil, 0xffffffff00000001))
	f("too short a length", "an answer of 3", binary.BigEndian.AppendUint64(nil, 3<<32|1))
	f("another request's", "an answer to request 7", framed(7, 0))
	f("cut short", "unexpected EOF", framed(1, 0, 0, 0, 0, 0)[:10])
	f("no body", "cut short", framed(1))
	f("zeros", "cut short", framed(1, make([]byte, 64)...))
	f("a huge array", "cut short", framed(1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f))
}

// TestAHugeClaimIsNotBelieved has a broker that claims an answer of 500 MB and
// sends ten bytes.
func TestAHugeClaimIsNotBelieved(t *testing.T) {
	raw := binary.BigEndian.AppendUint32(nil, 500<<20)
	raw = append(binary.BigEndian.AppendUint32(raw, 1), make([]byte, 10)...)
	c := New(Options{Brokers: []string{oneAnswer(t, raw)}})
	defer c.Close()
	cn, err := c.dial(t.Context(), c.options.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer cn.close()
	buf, err := cn.roundTrip(t.Context(), cn.begin(3, 12, "c", true), nil, time.Second)
	if !errors.Is(err, ErrUnknownOutcome) || cap(buf) > 4<<20 {
		t.Errorf("%v, with %d bytes allocated", err, cap(buf))
	}
}

// TestAConnectionIsNotUsedAfterItsContextEnded ends the context as the answer
// arrives: what cuts a wait short may run late, and would cut the next one.
func TestAConnectionIsNotUsedAfterItsContextEnded(t *testing.T) {
	c := New(Options{Brokers: []string{oneAnswer(t, []byte{0, 0, 0, 4, 0, 0, 0, 1})}})
	defer c.Close()
	addr := c.options.Brokers[0]
	cn, err := c.dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cn.raw = cancelAfterRead{cn.raw, cancel}
	if _, err := cn.roundTrip(ctx, cn.begin(3, 12, "c", true), nil, time.Second); err != nil {
		t.Fatal(err)
	}
	c.put(addr, cn, nil)
	if cn = c.waiting(addr); cn != nil && cn.quiet() {
		t.Error("the connection is used again")
	}
	if !cn.watch(t.Context()) {
		t.Error("another context is watched beside the one that ended")
	}
	cn.close()
}

type cancelAfterRead struct {
	net.Conn
	cancel func()
}

func (c cancelAfterRead) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.cancel()
	}
	return n, err
}

// TestQuietSeesAGoodbye closes the far end of a connection that waits.
func TestQuietSeesAGoodbye(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := near.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	quiet := newProbe(near)
	if !quiet() {
		t.Error("an open connection is not quiet")
	}
	if err := far.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	for deadline := time.Now().Add(10 * time.Second); quiet(); {
		if time.Now().After(deadline) {
			t.Fatal("a closed connection is quiet")
		}
	}
}

// TestAnUnsentRequestHasAKnownOutcome closes the socket before the request.
func TestAnUnsentRequestHasAKnownOutcome(t *testing.T) {
	c := New(Options{Brokers: []string{oneAnswer(t, nil)}})
	defer c.Close()
	cn, err := c.dial(t.Context(), c.options.Brokers[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = cn.raw.Close()
	_, err = cn.roundTrip(t.Context(), cn.begin(3, 12, "c", true), nil, time.Second)
	if err == nil || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
}
