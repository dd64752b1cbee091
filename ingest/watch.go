package ingest

import (
	"context"
	"errors"
	"fmt"
)

// Load reads models to its end and fills the slots. A bundle that cannot serve is
// refused: it is logged and counted, and the one before it, if any, stays.
func (n *Node) Load(ctx context.Context, m *Models) error {
	n.trust = m.trust
	if err := m.Read(ctx); err != nil {
		return fmt.Errorf("read the models: %w", err)
	}
	n.fill(ctx, m)
	return nil
}

// Watch fills the slots with what models says, until the context ends. It runs
// beside [Node.Run], which swaps between two steps.
func (n *Node) Watch(ctx context.Context, m *Models) error {
	for attempt := 0; ; attempt++ {
		err := m.Follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.retried(fmt.Errorf("follow the models: %w", err))
			if n.pause(ctx, attempt) != nil {
				return nil
			}
		default:
			attempt = 0
			n.fill(ctx, m)
			n.rollBack(ctx, m)
			if n.Status().Owner {
				if err := m.Restate(ctx, n.Now()); err != nil {
					n.retried(err)
				}
			}
		}
	}
}

// fill fills the slots, and says what was refused.
func (n *Node) fill(ctx context.Context, m *Models) {
	n.sayRefused(m)
	for k := range numSlots {
		n.follow(ctx, m, k)
	}
}

// follow loads the bundle that a slot points at, where it is another than the one
// that serves and is not known to be bad.
func (n *Node) follow(ctx context.Context, m *Models, k slot) {
	want, ok := n.wanted(m, k)
	if !ok {
		return
	}
	hash := want.hash
	switch {
	case hash == n.hashOf(k):
		n.giveShare(want, k)
		return
	case hash == [32]byte{}:
		n.serve(k, serving{})
		n.Log.Info(k.String() + " ended")
		return
	}
	at := bundleRef{hash, m.offset(hash)}
	if at == n.refused[k] {
		return
	}
	b, s, err := n.open(ctx, m, hash)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrModelsAway):
		n.retried(err) // Watch comes by here again
	case err != nil:
		n.refused[k] = at
		n.refusal(k, hash, err)
	default:
		n.refused[k] = bundleRef{}
		n.serve(k, serving{b, s, want.offset, want.share, want.past})
		n.Log.Info(k.String()+" loaded", "bundle", hex32(hash), "name", b.Name, "share", want.share, "was_champion", want.past, "reason", want.reason)
	}
}

// A wish is what models says of a slot.
type wish struct {
	hash   [32]byte
	offset int64 // of the record that says so
	share  float32
	past   bool // see serving
	reason string
}

// wanted returns what models says should be in a slot; false where it says nothing.
// Where nobody challenges, the champion before this one does while it is watched.
func (n *Node) wanted(m *Models, k slot) (w wish, ok bool) {
	s, ok := m.Slots[k.String()]
	w = wish{hash: m.Hash(k.String()), offset: m.slotAt[k.String()], share: float32(s.Share), reason: s.Reason}
	if k != challenger || w.hash != [32]byte{} && w.hash != m.Champion() {
		return w, ok
	}
	if before := n.predecessor(m); before != [32]byte{} {
		return wish{hash: before, offset: m.slotAt[champion.String()], past: true, reason: "was champion"}, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return w, ok || n.served[challenger].past
}

// giveShare gives the bundle that is in a slot the share of cards that the slot says.
func (n *Node) giveShare(want wish, k slot) {
	n.mu.Lock()
	now := n.served[k]
	same := now.share == want.share
	if !same || now.past != want.past {
		now.share, now.offset, now.past = want.share, want.offset, want.past
		n.put(k, now)
	}
	n.mu.Unlock()
	if !same {
		n.Log.Info(k.String()+" is given a share of the cards", "bundle", hex32(now.hash()), "share", want.share)
	}
}

// resume makes the champion of the ledger the node's where it has none: the one
// that decided last goes on, whatever was wrong with what the slot points at now.
func (n *Node) resume(ctx context.Context, s *State) error {
	if n.Champion() != [32]byte{} || s.Champion == [32]byte{} || len(n.trust) == 0 {
		return nil
	}
	m := NewModels(n.log, n.Topics, n.trust)
	if err := m.Read(ctx); err != nil {
		return fmt.Errorf("read the models: %w", err)
	}
	b, scorer, err := n.open(ctx, m, s.Champion)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, ErrModelsAway)):
		return err
	case err != nil:
		n.refusal(champion, s.Champion, err)
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.served[champion].bundle == nil { // nothing better came meanwhile
		n.put(champion, serving{bundle: b, scorer: scorer, offset: -1})
		n.Log.Warn("the ledger's champion goes on deciding", "bundle", hex32(b.Hash), "name", b.Name)
	} else {
		n.closeScorer(scorer)
	}
	return nil
}
