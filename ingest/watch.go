package ingest

import (
	"context"
	"errors"
	"fmt"
)

// Load reads models to its end and makes the node decide with the champion. A
// champion that cannot serve is refused: it is logged and counted, and the one
// before it, if any, stays.
func (n *Node) Load(ctx context.Context, m *Models) error {
	n.trust = m.trust
	if err := m.Read(ctx); err != nil {
		return fmt.Errorf("read the models: %w", err)
	}
	n.promote(ctx, m)
	return nil
}

// Watch makes the node decide with every new champion, until the context ends.
// It runs beside [Node.Run], which swaps between two steps.
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
			n.promote(ctx, m)
		}
	}
}

// promote loads the champion where it is another than the one that decides.
func (n *Node) promote(ctx context.Context, m *Models) {
	hash := m.Champion()
	now, _ := n.bundle()
	if hash == [32]byte{} || now != nil && now.Hash == hash || hash == n.refused {
		return
	}
	b, s, err := m.Open(ctx, hash, n.Spec.Hash)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrModelsAway):
		n.retried(err) // Watch comes by here again
	case err != nil:
		n.refused = hash
		n.Metrics.Refused.Inc()
		n.Log.Error("champion refused", "bundle", hex32(hash), "cause", err)
	default:
		n.refused = [32]byte{}
		n.Use(b, s)
		n.Log.Info("champion loaded", "bundle", hex32(hash), "name", b.Name)
	}
}
