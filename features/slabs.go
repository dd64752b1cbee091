package features

// Slabs calls yield with the memory that the state is in: what is in use of it, not its
// room to grow. The slices must not be kept.
func (e *Engine) Slabs(yield func(words []uint64)) {
	for _, k := range e.kinds {
		for i := range k.parts {
			p := &k.parts[i]
			yield(p.table)
			yield(p.heads)
			yield(p.rows.words)
			yield(p.side.words)
		}
	}
	for i := range e.index.tables {
		yield(e.index.tables[i].slots)
	}
}
