package alerts

import (
	"context"
	"math"
)

// reader is somebody who may yet be asked for a second look at what is closed.
type reader struct {
	who string
	now int64 // ms since the Unix epoch
}

type readerKey struct{}

// ReadBy returns a context in which views keep from somebody what would sway a second
// look of theirs, at a time: of an alert that waits for it they tell neither its verdict
// nor what others did with it ([InSecondLook] stands in its place), and no filter finds
// it, since which filters do would tell the same. The context carries it so that no page
// and no program's answer can forget to ask for it.
func ReadBy(ctx context.Context, who string, now int64) context.Context {
	return context.WithValue(ctx, readerKey{}, reader{who, now})
}

// Unblinded returns a context in which views tell all that they know: for what is done
// with an alert, and not shown of it.
func Unblinded(ctx context.Context) context.Context {
	return context.WithValue(ctx, readerKey{}, nil)
}

// readerOf is the one of a context, if it has one.
func readerOf(ctx context.Context) (r reader, ok bool) {
	r, ok = ctx.Value(readerKey{}).(reader)
	return r, ok
}

// drawn reports whether an alert is one of the share of the closed ones that get a second
// look, and had none. Two have said the same already of what was escalated, and a
// supervisor of what is settled.
func (s *State) drawn(share float64) bool {
	return s.Status.Closed() && s.Review.By == "" && !s.Escalated && !s.Settled && float64(s.Closing.Draw) < share*(1<<32)
}

// hides reports whether the verdict of a drawn closing is kept from somebody. It is so
// from the closing on, before anybody can be asked for the second look.
func (c *closing) hides(who uint32, now int64) bool {
	return c.look && c.by != who && now-c.at <= LooksWithin.Milliseconds()
}

// awaits reports whether a closed alert waits for a second look by somebody: not by who
// closed it, and not before that can be undone no more.
func (c *closing) awaits(who uint32, now int64) bool {
	return c.hides(who, now) && now-c.at > UndoMs
}

// Awaits reports whether an alert waits for a second look by somebody.
func (v *View) Awaits(id, who string, now int64) bool {
	return v.closing(id, func(m *memory, c *closing) bool { return c.awaits(m.numberOf(who), now) })
}

// Hides reports whether the verdict on an alert is kept from the reader of a context.
func (v *View) Hides(ctx context.Context, id string) bool {
	r, ok := readerOf(ctx)
	return ok && v.closing(id, func(m *memory, c *closing) bool { return c.hides(m.numberOf(r.who), r.now) })
}

// closing asks something of how an alert was closed; of one that is not the answer is no.
func (v *View) closing(id string, ask func(*memory, *closing) bool) bool {
	key, err := parseID(id)
	v.mu.RLock()
	defer v.mu.RUnlock()
	m := v.memory
	i, ok := m.byKey[key]
	return err == nil && ok && m.rows[i].status.Closed() && ask(m, &m.tally.closed[m.tally.place[i]])
}

// numberOf is somebody's number, or one that nobody has.
func (m *memory) numberOf(who string) uint32 {
	if number, ok := m.owners.number[who]; ok {
		return number
	}
	return math.MaxUint32
}

// blind takes from a state what the reader of a context is not to know of it. It looks at
// the state itself, and not into memory, which may be of a moment before.
func (v *View) blind(ctx context.Context, s *State) bool {
	r, ok := readerOf(ctx)
	if !ok {
		return false
	}
	v.mu.RLock()
	share := v.goals.Looks
	v.mu.RUnlock()
	if !s.drawn(share) || s.Closing.By == r.who || r.now-s.Closing.At > LooksWithin.Milliseconds() {
		return false
	}
	*s = State{Status: InSecondLook}
	return true
}
