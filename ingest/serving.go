package ingest

import (
	"context"
	"io"

	"github.com/weir-risk/weir/scoring"
)

// slot is one of the slots of models.
type slot uint8

// The champion decides. The challenger scores the same vectors in the same step,
// and its scores are written beside the champion's; nothing is done by them, unless
// its slot gives it a share of the cards: for these it decides, and the champion's
// scores are beside its own.
const (
	champion slot = iota
	challenger
	numSlots
)

func (k slot) String() string { return [numSlots]string{"champion", "challenger"}[k] }

// A serving is a bundle and the scorer that holds its model; the zero one is none.
type serving struct {
	bundle *scoring.Bundle
	scorer scoring.Scorer
	offset int64   // of the slot's record in models, -1 where the bundle came from a file
	share  float32 // of the cards that a challenger decides for
	past   bool    // the champion before this one, which scores on beside it for a while
}

// hash returns the bundle's hash, zero where there is none.
func (s *serving) hash() (hash [32]byte) {
	if s.bundle != nil {
		hash = s.bundle.Hash
	}
	return hash
}

// open opens a bundle that models holds, for serving: as [Models.Open] does, and then on
// the back end that the node is to use.
func (n *Node) open(ctx context.Context, m *Models, hash [32]byte) (*scoring.Bundle, scoring.Scorer, error) {
	b, s, err := m.Open(ctx, hash, n.Spec.Hash)
	if err != nil || n.NewScorer == nil {
		return b, s, err
	}
	if s, err = n.NewScorer(b); err != nil {
		return nil, nil, err
	}
	if err := b.SelfTest(s); err != nil {
		n.closeScorer(s)
		return nil, nil, err
	}
	return b, s, nil
}

// closeScorer closes a scorer that holds more than memory.
func (n *Node) closeScorer(s scoring.Scorer) {
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			n.Log.Warn("a scorer could not be closed", "error", err)
		}
	}
}

// Use makes the node decide with a bundle from its next step on.
func (n *Node) Use(b *scoring.Bundle, s scoring.Scorer) {
	n.serve(champion, serving{bundle: b, scorer: s, offset: -1})
}

// Shadow makes a bundle the challenger from the next step on; nil is none.
func (n *Node) Shadow(b *scoring.Bundle, s scoring.Scorer) {
	n.serve(challenger, serving{bundle: b, scorer: s, offset: -1})
}

// serve fills a slot from the next step on.
func (n *Node) serve(k slot, s serving) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.put(k, s)
}

// put is serve for who holds the lock. It closes the scorer that was there.
func (n *Node) put(k slot, s serving) {
	if was := n.served[k].scorer; was != nil && was != s.scorer {
		n.closeScorer(was)
	}
	n.served[k] = s
	n.Metrics.Model.Reset()
	for k := range numSlots {
		if b := n.served[k].bundle; b != nil {
			n.Metrics.Model.WithLabelValues(k.String(), hex32(b.Hash)).Set(1)
		}
	}
}

// serves returns what is in the slots. A challenger that became the champion
// challenges nobody.
func (n *Node) serves() [numSlots]serving {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.served
	if all[challenger].hash() == all[champion].hash() {
		all[challenger] = serving{}
	}
	return all
}

// Champion returns the hash of the bundle that decides from the next step on;
// zero is none.
func (n *Node) Champion() [32]byte { return n.hashOf(champion) }

// Challenger returns the hash of the bundle that is in the challenger's slot; zero
// is none.
func (n *Node) Challenger() [32]byte { return n.hashOf(challenger) }

func (n *Node) hashOf(k slot) [32]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.served[k].hash()
}

// endShadow takes out a challenger that failed while it served; the ledger says
// that it is gone.
func (n *Node) endShadow(failed serving, cause error) {
	n.mu.Lock()
	if n.served[challenger].bundle == failed.bundle {
		n.put(challenger, serving{})
	}
	n.mu.Unlock()
	n.refusal(challenger, failed.hash(), cause)
}
