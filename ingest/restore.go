package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/ingest/pages"
	"github.com/weir-risk/weir/schemas"
)

// A fold is a state that follows the ledger, with what was decided and is not
// known to have been published: alerts and dead letters beyond the marks.
type fold struct {
	node    *Node
	shard   int32
	state   *State
	folder  Folder
	reader  *kafka.LedgerReader
	pending []unsettled
	saved   int64 // the ledger offset of the snapshot that it began with

	others *others
	missed *kafka.LedgerBatch // read and not folded: the context ended before the other shards were

	progress atomic.Int64 // see noteProgress
}

type unsettled struct {
	offset int64 // in the ledger
	value  []byte
}

func (f *fold) close() {
	f.reader.Close()
	f.others.close()
}

// restore builds the state from the newest good snapshot and the ledger after
// it. A snapshot that cannot be used is passed over by name.
func (n *Node) restore(ctx context.Context) (*fold, error) {
	// Whether it can be folded, the reader says.
	err := n.checkLedger(ctx, math.MaxInt64, n.Status().Ledger)
	if err != nil {
		return nil, err
	}
	if err := n.warnOfLoss(ctx); err != nil {
		return nil, err
	}
	if n.away {
		n.set(func(s *Status) { s.Reason = "folds the ledger" })
	}
	f := &fold{node: n, shard: n.Shard, folder: Folder{lookout: &n.lookout}}
	f.folder.past.add(n.Before...)
	if f.state, err = n.newestSnapshot(ctx); err != nil {
		return nil, err
	}
	f.saved = f.state.Chain.Offset
	f.others = newOthers(n.log, n.Topics.Decisions, f.state, &f.folder.past)
	f.reader = kafka.NewLedgerReader(n.log, n.Topics.Decisions, f.shard, f.state.Chain)
	end, err := n.ledgerEnd(ctx)
	if err == nil {
		err = n.checkLast(ctx, end)
	}
	if err == nil {
		err = f.until(ctx, end)
	}
	if err == nil {
		err = n.checkState(f.state)
	}
	if err != nil {
		f.close()
		return nil, fmt.Errorf("fold %s from %d: %w", n.Topics.Decisions, f.state.Chain.Offset, err)
	}
	n.away = false
	n.Log.Info("ledger folded", "from", f.saved, "to", f.state.Chain.Offset)
	return f, nil
}

// ledgerEnd returns where the ledger ends, and sees that it holds the decision of the
// newest alert. A ledger that was emptied while nothing ran looks like a new one, and its
// alerts would come at offsets that every reader of alerts has passed. The alert is looked
// up first: one that another node publishes meanwhile is of a decision behind that end.
func (n *Node) ledgerEnd(ctx context.Context) (int64, error) {
	alert, err := n.newestAlert(ctx)
	if err != nil {
		return 0, err
	}
	_, end, err := n.log.Offsets(ctx, n.Topics.Decisions, n.Shard)
	if err == nil && alert >= end {
		err = fmt.Errorf("%s holds the alert of ledger offset %d, the ledger ends at %d: %w", n.Topics.Alerts, alert, end, ErrTruncated)
	}
	return end, err
}

// newestAlert returns the ledger offset of the newest alert, -1 where there is none.
func (n *Node) newestAlert(ctx context.Context) (int64, error) {
	topic := n.Topics.Alerts
	start, stop, err := n.log.Offsets(ctx, topic, n.Shard)
	if err != nil {
		return -1, fmt.Errorf("look up the ends of %s: %w", topic, err)
	}
	if start == stop {
		return -1, nil
	}
	r, err := kafka.NewReader(n.log, topic, n.Shard, stop-1).Get(ctx, stop-1)
	if errors.Is(err, kafka.ErrOffsetOutOfRange) {
		return -1, nil // not a record of ours
	}
	if err != nil {
		return -1, fmt.Errorf("read the newest alert of %s: %w", topic, err)
	}
	if offset, ok := alertOffset(r.Key); ok {
		return offset, nil
	}
	return -1, nil
}

// alertOffset returns the ledger offset in an alert's id.
func alertOffset(id []byte) (int64, bool) {
	_, offset, ok := bytes.Cut(id, []byte("-"))
	n, err := strconv.ParseInt(string(offset), 10, 64)
	return n, ok && err == nil
}

// newestSnapshot returns the newest state that can be used, or a new one.
func (n *Node) newestSnapshot(ctx context.Context) (*State, error) {
	fresh := func() *State {
		s := NewState(n.Spec, n.Features)
		s.Others = beside(n.Shard, n.Shards)
		return s
	}
	if n.SnapshotDir == "" {
		return fresh(), nil
	}
	names, err := Snapshots(n.SnapshotDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		s, err := ReadSnapshot(name, n.Spec, n.Features, n.KeyCheck)
		if err == nil && !sameShards(s.Others, beside(n.Shard, n.Shards)) {
			err = fmt.Errorf("%w: it is not of shard %d of %d", ErrSnapshotForeign, n.Shard, n.Shards)
		}
		if err == nil {
			err = n.onChain(ctx, n.Shard, s.Chain)
		}
		for i := 0; err == nil && i < len(s.Others); i++ {
			err = n.onChain(ctx, s.Others[i].Shard, s.Others[i].Chain)
		}
		if err == nil {
			n.Log.Info("snapshot read", "file", name, "ledger_offset", s.Chain.Offset)
			return s, nil
		}
		if !errors.Is(err, ErrSnapshotDamaged) && !errors.Is(err, ErrSnapshotForeign) && !errors.Is(err, ErrSnapshotOffPath) {
			return nil, err
		}
		n.Log.Warn("snapshot passed over", "file", name, "cause", err)
	}
	return fresh(), nil
}

func sameShards(a, b []Other) bool {
	return slices.EqualFunc(a, b, func(x, y Other) bool { return x.Shard == y.Shard })
}

// onChain checks that the batch which ends at a snapshot's position in a shard is the
// one that the snapshot was made after.
func (n *Node) onChain(ctx context.Context, shard int32, at schemas.Anchor) error {
	if at.Offset == 0 {
		return nil
	}
	start, end, err := n.log.Offsets(ctx, n.Topics.Decisions, shard)
	if err != nil {
		return err
	}
	if at.Offset > end {
		return fmt.Errorf("snapshot is at ledger offset %d, the ledger ends at %d: %w", at.Offset, end, ErrTruncated)
	}
	if at.Offset-1 < start {
		return fmt.Errorf("ledger begins at %d, after the snapshot's position %d: %w", start, at.Offset, ErrSnapshotOffPath)
	}
	facts, err := kafka.FactsAt(ctx, n.log, n.Topics.Decisions, shard, at.Offset-1)
	if err != nil {
		return err
	}
	if facts.ID != at.Head {
		return fmt.Errorf("ledger offset %d is of batch %x, the snapshot's is %x: %w", at.Offset-1, facts.ID, at.Head, ErrSnapshotOffPath)
	}
	return nil
}

// until folds the ledger up to an offset.
func (f *fold) until(ctx context.Context, end int64) error {
	if f.missed != nil {
		if err := f.take(ctx, f.missed); err != nil {
			return err
		}
	}
	for f.reader.Position() < end {
		b, err := f.reader.Next(ctx, end)
		if err != nil {
			return err
		}
		if b == nil {
			return nil
		}
		if err := f.take(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// take folds one batch of the ledger, if the chain takes it.
func (f *fold) take(ctx context.Context, b *kafka.LedgerBatch) error {
	if !b.Taken {
		return nil
	}
	f.missed = b
	if err := f.others.upto(ctx, f.state, b.Facts.Shards); err != nil {
		return err
	}
	f.missed = nil
	switch err := f.folder.Fold(f.state, &b.Facts, b.Base, b.Values); {
	case errors.Is(err, ErrOtherSpec):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	mark := min(f.state.AlertsMark, f.state.DeadMark)
	keep := f.pending[:0]
	for _, u := range f.pending {
		if u.offset > mark {
			keep = append(keep, u)
		}
	}
	f.pending = keep
	for _, i := range f.folder.calls {
		if offset := b.Base + int64(i); offset > mark {
			f.pending = append(f.pending, unsettled{offset: offset, value: append([]byte(nil), b.Values[i]...)})
		}
	}
	return nil
}

// followUps returns what has to be published again before anything new is.
func (f *fold) followUps() []*followUp {
	var list []*followUp
	for len(f.pending) > 0 {
		u := &followUp{}
		batch := f.pending[:min(alertsPerBatch, len(f.pending))]
		f.pending = f.pending[len(batch):]
		for _, p := range batch {
			u.upto = p.offset
			u.add(p.offset, p.value)
		}
		list = append(list, u)
	}
	if f.state.Chain.Offset > 0 {
		list = append(list, &followUp{upto: f.state.Chain.Offset - 1})
	}
	return list
}

// standBy folds the ledger as it is written until the group gives this node
// the shard, and then to the ledger's end. It is ready from the start: one that could not
// take over does not come here.
func (n *Node) standBy(ctx context.Context, f *fold, m *kafka.Member) (context.Context, error) {
	n.calm()
	follow, stop := context.WithCancel(ctx)
	defer stop()
	var held context.Context
	var joinErr error
	done := make(chan struct{})
	go func() { // ends with the standby: Wait returns when follow is cancelled
		defer close(done)
		held, joinErr = m.Wait(follow, f.shard)
		n.assigned = n.Now()
		stop()
	}()
	f.noteProgress()
	silent := make(chan error, 1)
	go func() { // ends with the standby
		err := n.noticeSilence(follow, f, m.Joined)
		stop()
		silent <- err
	}()
	err := f.follow(follow)
	stop()
	<-done
	if silence := <-silent; silence != nil && held == nil && ctx.Err() == nil {
		return nil, silence
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case joinErr != nil && !errors.Is(joinErr, context.Canceled):
		return nil, fmt.Errorf("wait for the shard: %w", joinErr)
	case !errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("follow %s: %w", n.Topics.Decisions, err)
	case held == nil:
		return nil, fmt.Errorf("wait for the shard: %w", kafka.ErrLostShard)
	}
	_, end, err := n.log.Offsets(held, n.Topics.Decisions, f.shard)
	if err == nil {
		err = f.until(held, end)
	}
	if err == nil {
		err = n.checkState(f.state)
	}
	if err == nil {
		err = f.tell()
	}
	return held, err
}

// tell says how far the ledger is folded.
func (f *fold) tell() error {
	f.node.Metrics.Position.Set(float64(f.state.Chain.Offset))
	f.node.set(func(s *Status) { s.Counts, s.Ledger = f.state.Counts, f.state.Chain.Offset })
	return f.node.measureDue(f.state, pages.Busy)
}

// follow folds the ledger as it is written, until the context ends, which is its
// error then.
func (f *fold) follow(ctx context.Context) error {
	for {
		b, err := f.reader.Follow(ctx)
		if err != nil {
			return err
		}
		if b == nil {
			if err := f.node.measureDue(f.state, pages.Busy); err != nil {
				return err
			}
			continue
		}
		if err := f.take(ctx, b); err != nil {
			return err
		}
		if err := f.node.checkState(f.state); err != nil {
			return err
		}
		f.noteProgress()
		if err := f.tell(); err != nil {
			return err
		}
	}
}
