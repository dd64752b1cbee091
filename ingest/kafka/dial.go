package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/sasl"
)

// A TLS record that says why a connection ends begins with these bytes. A
// broker that speaks TLS sends it to a client that does not.
const (
	tlsAlert = 21
	tlsMajor = 3
)

var (
	errWantsTLS = fmt.Errorf("%w: it speaks TLS on this port and this client does not: set TLS", ErrRefused)
	errShut     = errors.New("the broker closed a new connection: it may ask for TLS or for SASL")
)

// dial opens a connection to a broker and proves to it who this client is.
func (c *Client) dial(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	raw, err := c.connect(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", addr, err)
	}
	cn := newConn(raw)
	if c.options.SASL != nil {
		if err := cn.authenticate(ctx, addr, c.options); err != nil {
			cn.close()
			return nil, fmt.Errorf("authenticate to broker %s by SASL %s: %w", addr, c.options.SASL.Name(), err)
		}
		if cn.watch(context.Background()) { // the context above ends as dialling does
			cn.close()
			return nil, fmt.Errorf("authenticate to broker %s: %w", addr, ctx.Err())
		}
	}
	return cn, nil
}

// connect opens a connection with TLS where it is asked for. The group's
// connections are opened by it too.
func (c *Client) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := c.options.Dial(ctx, network, addr)
	if err != nil || c.options.TLS == nil {
		return raw, err
	}
	secure := tls.Client(raw, tlsFor(c.options.TLS, addr))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		// A broker without TLS waits for the rest of what it takes for a request, or
		// hangs up.
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("TLS handshake: does the broker speak TLS on this port? %w", err)
		}
		return nil, explain(err, ctx)
	}
	return secure, nil
}

func tlsFor(config *tls.Config, addr string) *tls.Config {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return config
}

// explain says what to do about an error of a connection, and that the context
// ended where that is why.
func explain(err error, ctx context.Context) error {
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case ctx.Err() != nil:
		if errors.Is(err, ctx.Err()) {
			return err
		}
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.As(err, &authority):
		return fmt.Errorf("%w: %w: give the file of the authority that signed the broker's certificate", ErrRefused, err)
	case errors.As(err, &record):
		return fmt.Errorf("%w: %w: the broker does not speak TLS on this port", ErrRefused, err)
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert
		return fmt.Errorf("%w: %w: the broker may ask for a client's certificate of an authority that it knows", ErrRefused, err)
	}
	return err
}

// authenticate carries out the exchange of SaslHandshake version 1 and
// SaslAuthenticate version 1. kafka-go's own waits without a deadline, drops the
// broker's words, and does not learn when the session ends.
func (cn *conn) authenticate(ctx context.Context, addr string, o Options) error {
	host, port, _ := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	state, message, err := o.SASL.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number}))
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	b := appendString(cn.begin(17, 1, o.ClientID, false), o.SASL.Name())
	raw, err := cn.roundTrip(ctx, b, nil, o.Timeout)
	if err != nil {
		return fmt.Errorf("name the mechanism: %w", err)
	}
	a := &answer{b: raw}
	if code := a.int16(); code != 0 || a.bad {
		return fmt.Errorf("%w: it does not offer the mechanism (code %d)", ErrRefused, code)
	}
	for done := false; !done; {
		b = cn.begin(36, 1, o.ClientID, false)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(message))), message...)
		challenge, err := cn.challenge(ctx, b, o.Timeout)
		if err != nil {
			return err
		}
		if done, message, err = state.Next(ctx, challenge); err != nil {
			return fmt.Errorf("%w: the broker does not know this password: %w", ErrRefused, err)
		}
	}
	return nil
}

// challenge sends one message of the exchange and returns the broker's.
func (cn *conn) challenge(ctx context.Context, b []byte, timeout time.Duration) ([]byte, error) {
	raw, err := cn.roundTrip(ctx, b, nil, timeout)
	clear(cn.out) // it may hold the password
	if err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("the broker closed the connection, as some do on a wrong user or password: check both: %w", err)
		}
		return nil, err
	}
	a := &answer{b: raw}
	code, words := a.int16(), a.string()
	n := a.int32()
	message := a.take(max(0, int(n)))
	lifetime := a.int64()
	switch {
	case code != 0:
		return nil, fmt.Errorf("%w: check user and password: %q (code %d)", ErrRefused, words, code)
	case a.bad:
		return nil, errShort
	case lifetime > 0:
		// A session that is asked for shortly before its end would break while
		// a request is on its way.
		cn.expiry = time.Now().Add(time.Duration(lifetime) * time.Millisecond * 4 / 5)
	}
	return message, nil
}
