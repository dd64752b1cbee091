//go:build unix

package kafka

import (
	"net"
	"syscall"
	"time"
)

// quiet reports whether a connection that waits is open and has nothing to
// read: what is there between requests is the broker's goodbye.
func quiet(c net.Conn) bool {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok || c.SetReadDeadline(time.Time{}) != nil { // an old deadline would end the look
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return err == nil && open
}
