package features

// An Image is the state of an engine as it was at one moment, taken part by part
// while rows, labels and reversals go on. An entity that is about to change, and
// whose part is not taken yet, is written down first: so the parts are of one
// moment, and the engine stands still for one part at a time. The goroutine that
// uses the engine uses its image. Its memory is kept for the next moment.
type Image struct {
	e     *Engine
	next  int      // the part to be taken next; Parts once all are
	count []int    // entities at the moment, by kind and part
	first []int    // bit of each kind's and part's first entity
	bits  []uint64 // the entities that were written down before they changed
	kept  [Parts][]keptEntity
	arena []byte // what was written down

	// Of the part being taken.
	refs  []int
	found map[uint64]int // in kept, by kind and reference
}

// keptEntity is an entity as it was: arena[from:to].
type keptEntity struct{ kind, ref, from, to int }

// Image fixes the state of this moment in m, whose parts are then to be taken
// one after another. An engine has one image at a time: one that is not finished
// is given up.
func (e *Engine) Image(m *Image) {
	m.e, e.image = e, m
	m.next, m.arena = 0, m.arena[:0]
	m.count, m.first = m.count[:0], m.first[:0]
	bits := 0
	for _, k := range e.kinds {
		for p := range k.parts {
			m.count = append(m.count, k.parts[p].count)
			m.first = append(m.first, bits)
			bits += k.parts[p].count
		}
	}
	words := (bits + 63) / 64
	if cap(m.bits) < words {
		m.bits = make([]uint64, words)
	}
	m.bits = m.bits[:words]
	clear(m.bits)
	for p := range m.kept {
		m.kept[p] = m.kept[p][:0]
	}
}

// Taken reports whether all parts are.
func (m *Image) Taken() bool { return m.next == Parts }

// AppendPart appends the next part, in the form of [Engine.AppendPart]. There
// must be one.
func (m *Image) AppendPart(dst []byte) []byte {
	if m.found == nil {
		m.found = make(map[uint64]int)
	}
	clear(m.found)
	for i, x := range m.kept[m.next] {
		m.found[uint64(x.kind)<<32|uint64(x.ref)] = i
	}
	dst = append(dst, partVersion(m.e.spec))
	for _, k := range m.e.kinds {
		dst = m.appendKind(dst, k)
	}
	if m.next++; m.next == Parts && m.e.image == m {
		m.e.image = nil
	}
	return dst
}

func (m *Image) appendKind(dst []byte, k *kind) []byte {
	at := k.index*Parts + m.next
	m.refs = k.inOrder(m.refs, m.next, m.count[at])
	dst = beginKind(dst, len(m.refs))
	for _, ref := range m.refs {
		if bit := m.first[at] + ref; m.bits[bit>>6]>>(bit&63)&1 != 0 {
			x := &m.kept[m.next][m.found[uint64(k.index)<<32|uint64(ref)]]
			dst = append(dst, m.arena[x.from:x.to]...)
			continue
		}
		var n entity
		n.open(k, m.next, ref)
		dst = n.append(dst)
	}
	return dst
}

// keep writes down an entity that is about to change.
func (m *Image) keep(n *entity) {
	at := n.k.index*Parts + n.part
	if n.part < m.next || n.ref >= m.count[at] {
		return // taken already, or not there at the moment
	}
	bit := m.first[at] + n.ref
	if m.bits[bit>>6]>>(bit&63)&1 != 0 {
		return
	}
	m.bits[bit>>6] |= 1 << (bit & 63)
	from := len(m.arena)
	m.arena = n.append(m.arena)
	m.kept[n.part] = append(m.kept[n.part], keptEntity{n.k.index, n.ref, from, len(m.arena)})
}

// touch is called before an entity's bytes change.
func (e *Engine) touch(n *entity) {
	if e.image != nil {
		e.image.keep(n)
	}
}
