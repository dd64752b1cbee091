package kafka

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/sasl"
)

// Options say how to reach a cluster.
type Options struct {
	Brokers  []string    // host:port, at least one
	TLS      *tls.Config // nil: no TLS
	SASL     sasl.Mechanism
	ClientID string
	// Timeout bounds one request, the wait at the broker aside. Shorter would
	// give a broker that elects a leader up for dead; the default is 10 s.
	Timeout time.Duration
	// Dial opens a connection, before TLS; nil is net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// conn is one connection to a broker. The requests of the hot path are written
// and read here, with one buffer each, because kafka-go decodes every record as
// it reads.
type conn struct {
	raw    net.Conn
	probe  func() bool // whether it is open and has nothing to read
	out    []byte
	in     []byte // short answers are read into it
	head   [8]byte
	next   int32     // correlation id
	idle   time.Time // since when it waits for the next request
	expiry time.Time // when the broker ends the session; zero is never
	// The context whose end cuts a request short, and what ends that. They stay
	// from request to request, since most come with the same context.
	done <-chan struct{}
	stop func() bool
}

func newConn(raw net.Conn) *conn { return &conn{raw: raw, probe: newProbe(raw)} }

func (cn *conn) close() {
	if cn.stop != nil {
		cn.stop()
	}
	_ = cn.raw.Close()
}

// quiet reports whether the connection can carry another request: it is open,
// nothing comes that nobody asked for, and no context has cut it short.
func (cn *conn) quiet() bool {
	select {
	case <-cn.done:
		return false
	default:
		return cn.probe()
	}
}

// watch has the end of ctx cut the wait for an answer short. It reports whether
// the context before it has ended, which may cut this request short at any time.
func (cn *conn) watch(ctx context.Context) (spent bool) {
	if cn.done == ctx.Done() {
		return false
	}
	if cn.stop != nil && !cn.stop() {
		return true
	}
	cn.done = ctx.Done()
	// A read whose deadline lies in the past fails at once.
	cn.stop = context.AfterFunc(ctx, func() { _ = cn.raw.SetDeadline(time.Unix(1, 0)) })
	return false
}

// begin starts a request of an API; flexible ones carry a tag section in their
// header (kafka.apache.org/protocol#protocol_messages).
func (cn *conn) begin(api, version int16, client string, flexible bool) []byte {
	cn.next++
	b := binary.BigEndian.AppendUint32(cn.out[:0], 0)
	b = binary.BigEndian.AppendUint16(b, uint16(api))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(cn.next))
	b = appendString(b, client)
	if flexible {
		b = append(b, 0)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// answerMax bounds what an answer may claim to be.
const answerMax = 512 << 20

// roundTrip sends the request in b and reads the answer into buf, which is
// grown where it is too small. The connection is of no use after an error,
// which wraps ErrUnknownOutcome where the request may have been carried out: a
// broker carries out only what it has read to its last byte.
func (cn *conn) roundTrip(ctx context.Context, b, buf []byte, timeout time.Duration) ([]byte, error) {
	cn.out = b
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if cn.watch(ctx) {
		return buf, fmt.Errorf("send the request: %w", net.ErrClosed)
	}
	if err := cn.raw.SetDeadline(time.Now().Add(timeout)); err != nil {
		return buf, fmt.Errorf("send the request: %w", err)
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return buf, fmt.Errorf("send the request: %w", ctx.Err())
	}
	if _, err := cn.raw.Write(b); err != nil {
		return buf, fmt.Errorf("send the request: %w", explain(err, ctx))
	}
	head := &cn.head
	if n, err := io.ReadFull(cn.raw, head[:]); err != nil {
		if n >= 2 && head[0] == tlsAlert && head[1] == tlsMajor {
			return buf, errWantsTLS
		}
		if cn.next == 1 && errors.Is(err, io.EOF) {
			return buf, fmt.Errorf("%w: %w: %w", ErrUnknownOutcome, errShut, err)
		}
		return buf, fmt.Errorf("%w: %w", ErrUnknownOutcome, explain(err, ctx))
	}
	if head[0] == tlsAlert && head[1] == tlsMajor {
		return buf, errWantsTLS
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > answerMax {
		return buf, fmt.Errorf("%w: an answer of %d bytes", ErrUnknownOutcome, size)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != cn.next {
		return buf, fmt.Errorf("%w: an answer to request %d, not %d", ErrUnknownOutcome, got, cn.next)
	}
	buf, err := readFull(cn.raw, buf, int(size)-4)
	if err != nil {
		return buf, fmt.Errorf("%w: %w", ErrUnknownOutcome, explain(err, ctx))
	}
	return buf, nil
}

// readFull reads n bytes into buf, which grows as they come: what an answer
// claims to be is not believed beyond a few times what there is.
func readFull(r io.Reader, buf []byte, n int) ([]byte, error) {
	const stepMin = 1 << 20
	for buf = buf[:0]; len(buf) < n; {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(n-len(buf), max(stepMin, len(buf))))
		}
		have := len(buf)
		buf = buf[:min(n, cap(buf))]
		if k, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf[:have+k], err
		}
	}
	return buf, nil
}

// answer reads the fields of an answer; bad is set at the first that is not
// there, and everything after it reads as zero.
type answer struct {
	b   []byte
	bad bool
}

var errShort = errors.New("the broker's answer is cut short")

func (a *answer) take(n int) []byte {
	if n < 0 || n > len(a.b) {
		a.bad, a.b = true, nil
		return nil
	}
	b := a.b[:n:n]
	a.b = a.b[n:]
	return b
}

func (a *answer) int16() int16 {
	if b := a.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (a *answer) int32() int32 {
	if b := a.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (a *answer) int64() int64 {
	if b := a.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (a *answer) string() []byte { return a.take(max(0, int(a.int16()))) }

// uvarint, array, compact and tags are of the flexible versions.
func (a *answer) uvarint() int {
	v, k := binary.Uvarint(a.b)
	if k <= 0 || v > answerMax {
		a.bad, a.b = true, nil
		return 0
	}
	a.b = a.b[k:]
	return int(v)
}

// array returns the length of an array, each element of which takes a byte or
// more: a longer one is a lie that would be walked for minutes.
func (a *answer) array() int {
	n := max(0, a.uvarint()-1)
	if n > len(a.b) {
		a.bad, a.b = true, nil
		return 0
	}
	return n
}

func (a *answer) compact() []byte { return a.take(max(0, a.uvarint()-1)) }

func (a *answer) tags() {
	for range a.uvarint() {
		a.uvarint()
		a.take(a.uvarint())
		if a.bad {
			return
		}
	}
}
