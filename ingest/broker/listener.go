package broker

import (
	"net"
	"sync"
)

// listener knows the connections that it accepted, because kfake ends them some
// time after its Close has returned: until then a request might still be
// answered, or be cut off in a way that leaves its outcome open.
type listener struct {
	net.Listener
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return &accepted{c, l}, nil
}

// closeAll closes the connections that are open.
func (l *listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Close()
	}
}

type accepted struct {
	net.Conn
	l *listener
}

// Close closes the connection. closeAll waits for it: whatever is not in its list
// any more is closed.
func (a *accepted) Close() error {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	delete(a.l.open, a.Conn)
	return a.Conn.Close()
}
