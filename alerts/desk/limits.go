package desk

import (
	"net/netip"
	"time"

	"github.com/weir-risk/weir/alerts"
)

// Limits are those of the [Options] that may change while a desk serves, with the same
// meaning.
type Limits struct {
	Within        time.Duration
	SecondLooks   float64
	Approvals     int
	WebhooksAllow []netip.Prefix
}

// SetLimits has what is done from now on go by other limits. A change of the champion that
// waits for a second model owner goes on to wait.
func (s *Server) SetLimits(l Limits) {
	s.limits.Store(&l)
	s.sender.allow.Store(&l.WebhooksAllow)
	s.sender.close() // what is connected may lead to a network that is not allowed any more
	s.options.View.Measure(alerts.Goals{Within: l.Within, Looks: l.SecondLooks})
}

// within is how long an alert may wait.
func (s *Server) within() time.Duration { return s.limits.Load().Within }
