package ingest

import "strings"

// Phase is a set of things that an owner is in the middle of, one bit each: it
// does several at once. What a crash interrupts is told apart by them.
type Phase uint32

// The phases.
const (
	Joining        Phase = 1 << iota // from asking for membership to deciding
	Fetching                         // waiting for source records
	Stepping                         // deciding and encoding a step
	Unacknowledged                   // a batch is sent and its answer is not here
	Unalerted                        // decisions are durable and their alerts are not
	Snapshotting                     // a snapshot is being made or written
	numPhases      = 6
)

var phaseNames = [numPhases]string{"joining", "fetch", "step", "produced and not acknowledged", "acknowledged and no alert yet", "snapshot"}

func (p Phase) String() string {
	var names []string
	for i, name := range phaseNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// enter and leave tell whoever watches what the owner is in the middle of.
func (n *Node) enter(p Phase) {
	if n.Probe != nil {
		n.Probe(p, true)
	}
}

func (n *Node) leave(p Phase) {
	if n.Probe != nil {
		n.Probe(p, false)
	}
}
