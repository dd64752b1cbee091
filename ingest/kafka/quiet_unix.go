//go:build unix

package kafka

import (
	"net"
	"syscall"
	"time"
)

// newProbe returns a function that reports whether a connection that waits is
// open and has nothing to read: what is there between requests is the broker's
// goodbye.
func newProbe(c net.Conn) func() bool {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	if known, ok := c.(interface{ Quiet() bool }); ok { // a connection that is no socket
		return known.Quiet
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return func() bool { return false }
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	var b [1]byte
	open := false
	look := func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	}
	return func() bool {
		open = false
		// An old deadline would end the look.
		return c.SetReadDeadline(time.Time{}) == nil && raw.Read(look) == nil && open
	}
}
