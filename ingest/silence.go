package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNobodyDecides ends a standby's membership; it joins again.
var ErrNobodyDecides = errors.New("the group gave the shard to a member that does not decide")

// silencesMax is how many session times records may wait while the ledger
// stands still. An owner that lives writes within milliseconds; one that takes a
// large snapshot or restores its state may need a session time or two.
const silencesMax = 3

// noticeSilence watches for the shard being in dead hands while n stands by, and
// then returns ErrNobodyDecides: leaving the group and joining it again makes
// the coordinator ask every member whether it is there. A coordinator times the
// dead out itself, but the embedded one forgets to where a member dies between
// its join and the answer.
//
// Before the group has answered there is nobody whom it gave the shard to: a broker
// that forms a group anew takes its time.
func (n *Node) noticeSilence(ctx context.Context, f *fold, joined func() bool) error {
	every := n.Membership.Session
	if every == 0 {
		every = 6 * time.Second
	}
	silences, before := 0, int64(-1)
	for {
		select {
		case <-n.After(every):
		case <-ctx.Done():
			return nil
		}
		if !joined() {
			silences, before = 0, -1
			continue
		}
		end, err := n.written(ctx)
		if err != nil {
			continue // the broker is away: so is the group
		}
		waiting, err := n.waiting(ctx, f.progress.Load())
		if err != nil || !waiting || end != before {
			silences, before = 0, end
			continue
		}
		if silences++; silences == silencesMax {
			return fmt.Errorf("%s stands at %d while records wait: %w", n.Topics.Decisions, end, ErrNobodyDecides)
		}
	}
}

// written returns how much there is of the ledger, all shards together: one that is
// ahead of another waits for it, and is not in dead hands.
func (n *Node) written(ctx context.Context) (sum int64, err error) {
	for shard := range n.Shards {
		_, end, err := n.log.Offsets(ctx, n.Topics.Decisions, shard)
		if err != nil {
			return 0, err
		}
		sum += end
	}
	return sum, nil
}

// waiting reports whether the source holds more than the given sum of next
// offsets says.
func (n *Node) waiting(ctx context.Context, progress int64) (bool, error) {
	t, err := n.log.Describe(ctx, n.Topics.Transactions)
	if err != nil {
		return false, err
	}
	for p := range int32(t.Partitions) {
		if !ownsPartition(p, n.Shard, n.Shards) {
			continue
		}
		_, end, err := n.log.Offsets(ctx, n.Topics.Transactions, p)
		if err != nil {
			return false, err
		}
		progress -= end
	}
	return progress < 0, nil
}

// noteProgress keeps the sum of the next source offsets for noticeSilence, which
// runs beside the fold.
func (f *fold) noteProgress() {
	sum := int64(0)
	for _, p := range f.state.Progress[Transactions] {
		sum += p.Offset + 1
	}
	f.progress.Store(sum)
}
