package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// joinSteps bounds a join to a broker that lives, 18 s of a session of 6 s: one that
// forms a group anew answers nobody before group.initial.rebalance.delay.ms, 3 s by
// default. The embedded broker never answers where it forgot that a member died.
const joinSteps = 9

// leaveGrace is how long a join is waited for when the membership has ended: whoever is
// answered can leave, and who is not stays behind in a group that waits for them.
const leaveGrace = 4 * time.Second

// joinGroup is the number of the request in the protocol.
const joinGroup = 11

// A groupConn is a connection of a membership. kafka-go gives a join no longer than a
// rebalance takes, and cannot be told otherwise without slower rebalances and
// heartbeats. Whoever gave up would leave a member behind that nobody is any more, for
// which the group waits then; so a join is waited for as long as the broker answers
// others.
type groupConn struct {
	net.Conn
	member  context.Context // ends a join that waits
	step    time.Duration   // until the broker is asked whether it lives
	lives   func() bool
	stop    func() bool
	joining atomic.Int64 // since when a join waits, Unix ns; 0: none does
}

func newGroupConn(raw net.Conn, member context.Context, step time.Duration, lives func() bool) *groupConn {
	c := &groupConn{Conn: raw, member: member, step: step, lives: lives}
	c.stop = context.AfterFunc(member, func() {
		if c.joining.Load() != 0 {
			_ = raw.SetReadDeadline(time.Now().Add(leaveGrace))
		}
	})
	return c
}

// Write notes whether what is written is a whole request to join.
func (c *groupConn) Write(b []byte) (int, error) {
	since := int64(0)
	if len(b) >= 6 && int(binary.BigEndian.Uint32(b)) == len(b)-4 && binary.BigEndian.Uint16(b[4:]) == joinGroup {
		since = time.Now().UnixNano()
	}
	c.joining.Store(since)
	return c.Conn.Write(b)
}

// Read reads. The answer to a join is waited for beyond the deadline.
func (c *groupConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		since := c.joining.Load()
		switch {
		case n > 0 || since == 0 || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case c.member.Err() != nil || time.Since(time.Unix(0, since)) > joinSteps*c.step || !c.lives():
			return n, err
		}
		if err := c.SetReadDeadline(time.Now().Add(c.step)); err != nil {
			return 0, err
		}
	}
}

// SetReadDeadline sets the deadline of what is read; a join gets little time once the
// membership has ended.
func (c *groupConn) SetReadDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); err != nil || c.joining.Load() == 0 || c.member.Err() == nil {
		return err
	}
	return c.Conn.SetReadDeadline(time.Now().Add(leaveGrace))
}

// Close closes the connection.
func (c *groupConn) Close() error {
	c.stop()
	return c.Conn.Close()
}
