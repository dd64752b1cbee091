package ingest

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
)

// wires are the connections of one node to a broker of either kind. A test may cut
// them, for good, and may hold back fetches.
type wires struct {
	mu      sync.Mutex
	open    []net.Conn
	severed bool
	held    int           // fetches that are held back
	release chan struct{} // closed when fetches go on; nil where none is held back
}

// A wire is one of them.
type wire struct {
	net.Conn
	of *wires
}

// NetConn lets the client look whether the connection is open.
func (w *wire) NetConn() net.Conn { return w.Conn }

func (w *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.severed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	w.open = append(w.open, c)
	return &wire{c, w}, nil
}

// cut breaks every connection, and lets no other be opened.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.severed = true
	for _, c := range w.open {
		_ = c.Close()
	}
}

// hold holds fetches back from the next one on, until release is closed.
func (w *wires) hold() (release chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.release = make(chan struct{})
	return w.release
}

// waiting returns how many fetches are held back.
func (w *wires) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// Write sends a request, which the client does by one call.
func (w *wire) Write(b []byte) (int, error) {
	const fetch = 1 // the API's key, behind the request's length
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == fetch {
		w.of.mu.Lock()
		release := w.of.release
		if release != nil {
			w.of.held++
		}
		w.of.mu.Unlock()
		if release != nil {
			<-release
		}
	}
	return w.Conn.Write(b)
}
