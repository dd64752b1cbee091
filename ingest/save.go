package ingest

import (
	"context"
	"sync/atomic"
	"time"
)

// A saver writes an owner's snapshots, one at a time: the owner stands still
// while the bytes are made, and decides on while they are written and synced, in
// a goroutine that [own] waits for.
type saver struct {
	node  *Node
	at    atomic.Int64 // the ledger offset of the newest snapshot
	image image
	done  chan struct{} // closed once the last one begun is written, or cannot be
}

func newSaver(n *Node, at int64) *saver {
	s := &saver{node: n, done: make(chan struct{})}
	s.at.Store(at)
	close(s.done)
	return s
}

// busy reports whether a snapshot is being written.
func (s *saver) busy() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// wait returns once nothing is being written, or with the context.
func (s *saver) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// save makes a snapshot of a state that holds only what was taken, and begins to
// write it. No other may be being written.
func (s *saver) save(state *State) {
	n, began := s.node, s.node.Now()
	n.enter(Snapshotting)
	n.measure(state)
	if err := s.image.take(state, n.KeyCheck); err != nil {
		s.failed(err)
		n.leave(Snapshotting)
		return
	}
	s.done = make(chan struct{})
	go func(done chan struct{}) { // ends once the file is there; own waits for it
		defer close(done)
		defer n.leave(Snapshotting)
		s.write(began)
	}(s.done)
}

// write puts the image on the disk. A full disk must not stop the stream: the
// metric and the log say it, and the next try comes after as many records again.
func (s *saver) write(began time.Time) {
	n := s.node
	name, err := s.image.write(n.SnapshotDir)
	if err != nil {
		s.failed(err)
		return
	}
	s.at.Store(s.image.at)
	n.Metrics.SnapWrite.Observe(n.Now().Sub(began).Seconds())
	n.Metrics.SnapBytes.Set(float64(s.image.size()))
	n.Metrics.Snapshot.Set(float64(n.Now().Unix()))
	n.Log.Info("snapshot written", "file", name, "ledger_offset", s.image.at)
}

func (s *saver) failed(err error) {
	s.node.Metrics.SnapErrors.Inc()
	s.node.Log.Error("snapshot not written", "cause", err)
}
