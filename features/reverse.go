package features

import "github.com/weir-risk/weir/schemas"

// reverse undoes the original of the reversal in row i, if it is kept, from
// the reversal's own time on.
func (e *Engine) reverse(b *schemas.Batch, i int) {
	original := b.Bytes(i, schemas.OriginalID)
	undone := false
	if e.spec.Home >= 0 && e.kinds[e.spec.Home].undoable && len(original) > 0 {
		t := b.Tx[i].Time
		e.each(e.hashID(original), func(n *entity, pos uint32) {
			undone = e.undo(n, pos, t) || undone
		})
	}
	if undone {
		e.counters.Reversals++
	} else {
		e.counters.Unmatched++
	}
}

// undo hides the event at pos of its home entity, and in its other entities,
// from queries at t or later. It reports false where it is hidden already.
func (e *Engine) undo(n *entity, pos uint32, t int64) bool {
	stamp := *n.stampAt(pos)
	if undone(stamp) {
		return false
	}
	e.touch(n)
	n.hide(pos, t)
	row, at := n.rowAt(pos), timeOf(stamp)
	id := row[n.k.colID] ^ n.h[headKey]
	for k, col := range n.k.colLink {
		if col == 0 || row[col] == 0 {
			continue
		}
		var other entity
		if p, ok := e.locate(&other, k, row[col], at, id); ok {
			e.touch(&other)
			other.hide(p, t)
		}
	}
	return true
}

// hide undoes the row at pos for queries at t or later.
func (n *entity) hide(pos uint32, t int64) {
	*n.stampAt(pos) |= undoneBit
	n.rowAt(pos)[n.k.colUndo] = uint64(t)
	if t > n.at {
		n.h[headNext] = uint64(min(int64(n.h[headNext]), t))
		return
	}
	n.h[headPrev] = uint64(max(int64(n.h[headPrev]), t))
	n.flip(pos, false)
}
