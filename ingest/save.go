package ingest

import (
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/features"
)

// A saver makes an owner's snapshots, one at a time. The state's bytes are made
// part by part between steps, by the owner, and are those of the moment at which
// the snapshot was begun; a goroutine writes and syncs them meanwhile. Every
// snapshot that is begun is ended by finish, whatever becomes of the ownership: it
// holds what was taken, and the next start has less to fold.
type saver struct {
	node  *Node
	at    atomic.Int64 // the ledger offset of the newest snapshot
	image features.Image
	free  chan []byte   // a few parts that were written, to be used again
	ready chan []byte   // parts on their way to the file; closed once all are
	done  chan struct{} // closed once the last one begun is written, or cannot be
}

func newSaver(n *Node, at int64) *saver {
	s := &saver{node: n, done: make(chan struct{}), free: make(chan []byte, partsSpare)}
	s.at.Store(at)
	n.Metrics.SnapAt.Set(float64(at))
	close(s.done)
	return s
}

// partsSpare is how many parts' memory is kept between them. Whichever part comes next is
// made in any of it, so that each grows to the largest there is, which is nearly all of a
// state with one very busy merchant. A disk that keeps up leaves no more than a few to be
// written; what a slower one piles up goes to the collector.
const partsSpare = 4

// making reports whether parts are still to be made.
func (s *saver) making() bool { return s.ready != nil }

// busy reports whether a snapshot is being made or written.
func (s *saver) busy() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// begin begins a snapshot of a state that holds only what was taken. No other may
// be being made or written.
func (s *saver) begin(state *State) {
	n, began := s.node, s.node.Now()
	header, err := headerOf(state, n.KeyCheck)
	if err != nil {
		s.failed(err)
		return
	}
	n.enter(Snapshotting)
	state.Engine.Image(&s.image)
	s.ready, s.done = make(chan []byte, features.Parts), make(chan struct{})
	go func(at int64, ready <-chan []byte, done chan<- struct{}) { // ends once the file is there; own waits for it
		defer close(done)
		defer n.leave(Snapshotting)
		name, size, err := writeSnapshot(n.SnapshotDir, at, header, ready, s.free)
		if err != nil {
			s.failed(err)
			return
		}
		s.written(name, at, size, began)
	}(state.Chain.Offset, s.ready, s.done)
}

// parts makes the next n parts, or those that are left. It never waits for the
// disk: as many may be on their way as there are.
func (s *saver) parts(n int) {
	for ; n > 0 && s.making(); n-- {
		var buf []byte
		select {
		case buf = <-s.free:
		default:
		}
		s.ready <- s.image.AppendPart(buf[:0])
		if s.image.Taken() {
			close(s.ready)
			s.ready = nil
		}
	}
}

// finish makes what is left of the snapshot in work and returns once it is
// written, or cannot be.
func (s *saver) finish() {
	s.parts(features.Parts)
	<-s.done
}

func (s *saver) written(name string, at, size int64, began time.Time) {
	n := s.node
	s.at.Store(at)
	n.Metrics.SnapWrite.Observe(n.Now().Sub(began).Seconds())
	n.Metrics.SnapBytes.Set(float64(size))
	n.Metrics.Snapshot.Set(float64(n.Now().Unix()))
	n.Metrics.SnapAt.Set(float64(at))
	n.Log.Info("snapshot written", "file", name, "ledger_offset", at)
}

// failed says that a snapshot could not be written. A full disk must not stop the
// stream: the next try comes after as many records again.
func (s *saver) failed(err error) {
	s.node.Metrics.SnapErrors.Inc()
	s.node.Log.Error("snapshot not written", "cause", err)
}
