package features

import "github.com/weir-risk/weir/schemas"

// look takes the rows ahead of row i one stage further each, so that the memory's answers
// overlap with each other and with the taking of rows. Each stage asks for what the next
// one hangs on; nothing is changed, and an entity not found now may be there when its row
// comes.
func (e *Engine) look(b *schemas.Batch, i int) {
	if i%buryRows == 0 {
		e.bury()
	}
	if j := i + 4*stageRows; j < b.Len() {
		e.hashRow(b, j, j%lookedRows)
		e.lookUp(j % lookedRows)
	}
	if j := i + 3*stageRows; j >= 0 && j < b.Len() {
		e.lookAt(j % lookedRows)
	}
	if j := i + 2*stageRows; j >= 0 && j < b.Len() {
		e.lookInto(j%lookedRows, uint64(b.Tx[j].Time))
	}
	if j := i + stageRows; j >= 0 && j < b.Len() {
		e.lookBehind(j%lookedRows, uint64(b.Tx[j].Time))
	}
}

// buryRows is how many rows are taken between two buryings: the memory's answers overlap.
const buryRows = 32

// hashRow hashes the texts of row i, and the keys that they make.
func (e *Engine) hashRow(b *schemas.Batch, i, c int) {
	hashes := e.hashes[c*len(e.fields) : (c+1)*len(e.fields)]
	for f := range e.fields {
		hashes[f] = e.hashField(b, i, e.fields[f])
	}
	for k := range e.kinds {
		e.keys[c*len(e.kinds)+k] = e.keyOf(hashes, e.keyFields[k])
	}
	if e.spec.Home >= 0 {
		e.ids[c] = e.hashID(b.Bytes(i, schemas.ID))
	}
}

// lookUp asks for the slots of the tables where a row's keys and id are.
func (e *Engine) lookUp(c int) {
	for k, key := range e.keys[c*len(e.kinds) : (c+1)*len(e.kinds)] {
		if t := e.kinds[k].parts[key>>56].table; len(t) > 0 {
			prefetch(&t[key&uint64(len(t)-1)])
		}
	}
	if e.spec.Home >= 0 {
		if t := e.index.table(e.ids[c]); len(t.slots) > 0 {
			prefetch(&t.slots[t.home(t.word(e.ids[c], 0))])
		}
	}
}

// lookAt finds a row's entities by what their tables say, and asks for their heads.
func (e *Engine) lookAt(c int) {
	refs := e.refs[c*len(e.kinds) : (c+1)*len(e.kinds)]
	for k, key := range e.keys[c*len(e.kinds) : (c+1)*len(e.kinds)] {
		kd := e.kinds[k]
		p := &kd.parts[key>>56]
		refs[k] = p.guess(key)
		if refs[k] >= 0 {
			prefetchAll(p.heads[refs[k]*kd.head : (refs[k]+1)*kd.head])
		}
	}
}

// lookInto asks for the rows that a row at t moves in its entities.
func (e *Engine) lookInto(c int, t uint64) {
	refs := e.refs[c*len(e.kinds) : (c+1)*len(e.kinds)]
	for k, ref := range refs {
		if ref < 0 {
			continue
		}
		kd, key := e.kinds[k], e.keys[c*len(e.kinds)+k]
		p := &kd.parts[key>>56]
		if p.heads[ref*kd.head] != key {
			ref = p.find(key, kd.head)
			refs[k] = ref
		}
		if ref >= 0 {
			kd.warm(p, ref, t)
		}
	}
}

// lookBehind asks for the slots of the distinct values that a row at t adds, and that leave.
func (e *Engine) lookBehind(c int, t uint64) {
	hashes := e.hashes[c*len(e.fields) : (c+1)*len(e.fields)]
	for k, ref := range e.refs[c*len(e.kinds) : (c+1)*len(e.kinds)] {
		if kd := e.kinds[k]; ref >= 0 && len(kd.tables) > 0 {
			kd.warmTables(&kd.parts[e.keys[c*len(e.kinds)+k]>>56], ref, t, hashes)
		}
	}
}

// warm asks for the rows that an event at t moves: the one that it will be, and
// those that leave the entity's ring and windows, with the stamp of the row
// behind each, which says when that one leaves.
func (k *kind) warm(p *part, ref int, t uint64) {
	h := p.heads[ref*k.head : (ref+1)*k.head]
	d, span := h[headRing], h[headSpan]
	ring, mask := p.rows.words[d>>6:], uint32(1)<<(d&63)-1
	next, few := uint32(span)&mask, mask < stampsAtOnce
	if few {
		prefetchAll(ring[:mask+1])
	} else {
		prefetch(&ring[next])
	}
	k.warmColumns(ring, next, mask)
	if t >= h[headDue] {
		first := uint32(span >> 32)
		if !few {
			prefetchBoth(&ring[first&mask], &ring[(first+1)&mask])
		}
		if k.home || k.hasAll {
			k.warmColumns(ring, first, mask)
		}
	}
	for w, edge := range h[k.edges : k.edges+len(k.windows)] {
		if t>>dueShift >= edge>>32 {
			lo := uint32(edge)
			if !few {
				prefetchBoth(&ring[lo&mask], &ring[(lo+1)&mask])
			}
			if k.windows[w].change.reads {
				k.warmColumns(ring, lo, mask)
			}
		}
	}
}

// stampsAtOnce is how large a ring may be whose stamps are asked for all at once.
const stampsAtOnce = 32

// warmColumns asks for the columns of the row at pos.
func (k *kind) warmColumns(ring []uint64, pos, mask uint32) {
	if width := k.stride - 1; width > 0 {
		at := int(mask) + 1 + int(pos&mask)*width
		prefetchBoth(&ring[at], &ring[at+width-1])
	}
}

// warmTables is lookBehind for one entity.
func (k *kind) warmTables(p *part, ref int, t uint64, hashes []uint64) {
	h := p.heads[ref*k.head : (ref+1)*k.head]
	d := h[headRing]
	ring, mask := p.rows.words[d>>6:], uint32(1)<<(d&63)-1
	for i := range k.tables {
		x := &k.tables[i]
		table := h[x.at+1]
		if table == 0 {
			continue
		}
		slots, last := p.side.words[table&^found>>6:], uint64(1)<<(table&63)-1
		prefetch(&slots[2*(hashes[x.field]&last)])
		if edge := h[x.edge]; t>>dueShift >= edge>>32 {
			leaving := int(mask) + int(uint32(edge)&mask)*(k.stride-1)
			prefetch(&slots[2*(ring[leaving+x.col]&last)])
		}
	}
}

// step takes one row.
func (e *Engine) step(b *schemas.Batch, i, c int, x []float32, action *schemas.Action) {
	v, tx := &b.Verdict[i], &b.Tx[i]
	if tx.Time < 0 || tx.Time >= timeMax {
		*v = schemas.Verdict{Outcome: schemas.Rejected, Reason: schemas.AbsurdTime, Flags: v.Flags}
		return
	}
	if tx.Type == schemas.Reversal {
		e.reverse(b, i)
		v.Outcome, v.Reason, v.Flags = schemas.Unscored, schemas.NotScoredType, v.Flags|schemas.FoldOnly
		return
	}
	e.meet(c, tx.Time)
	content := uint64(0)
	if e.spec.Home >= 0 {
		content = e.content(b, i)
	}
	if r := e.repeated(e.ids[c], content, tx.Time); r != schemas.NoReason {
		v.Outcome, v.Reason = schemas.Duplicate, r
		return
	}
	if flags, ok := e.timely(tx.Time); ok {
		v.Flags |= flags
	} else {
		e.counters.TooLate++
		v.Outcome, v.Reason, v.Flags = schemas.Unscored, schemas.TooLate, v.Flags|schemas.Late
		return
	}
	e.prepare(b, i, c, content)
	bits := uint64(0)
	if e.spec.Scored[tx.Type] {
		bits = e.compute(b, i, x)
		if action != nil {
			*action = e.rule(b, i, x)
		}
	} else {
		v.Outcome, v.Reason, v.Flags = schemas.Unscored, schemas.NotScoredType, v.Flags|schemas.FoldOnly
		if e.fromVector {
			bits = e.compute(b, i, x)
		} else {
			bits = e.judge(b, i, nil)
		}
	}
	if e.place(bits) {
		v.Flags |= schemas.Approximate
	}
	if v.Flags&schemas.Approximate != 0 {
		e.counters.Approximate++
	}
}

// fold takes one row as it is recorded.
func (e *Engine) fold(b *schemas.Batch, i, c int, x []float32) {
	tx := &b.Tx[i]
	if tx.Time < 0 || tx.Time >= timeMax {
		return
	}
	if tx.Type == schemas.Reversal {
		e.reverse(b, i)
		return
	}
	e.meet(c, tx.Time)
	content := uint64(0)
	if e.spec.Home >= 0 {
		content = e.content(b, i)
	}
	e.prepare(b, i, c, content)
	e.place(e.judge(b, i, x))
}

// meet opens the views of a row's entities, as far as they are known.
func (e *Engine) meet(c int, t int64) {
	for k := range e.views {
		n, key := &e.views[k], e.keys[c*len(e.views)+k]
		n.present, n.ref, n.late = key != 0, -1, false
		if !n.present {
			continue
		}
		ref := e.refs[c*len(e.views)+k]
		if ref < 0 {
			ref = e.kinds[k].parts[key>>56].find(key, e.kinds[k].head)
		}
		if ref >= 0 {
			n.open(e.kinds[k], int(key>>56), ref)
			n.late = t < n.newest()
		}
	}
}

// timely says whether a row is in time, and what flags its lateness brings.
func (e *Engine) timely(t int64) (flags schemas.Flags, ok bool) {
	home := e.spec.Home
	byHome := home >= 0 && e.views[home].present
	for k := range e.views {
		n := &e.views[k]
		if !n.late {
			continue
		}
		flags |= schemas.Late
		if n.newest()-t <= e.spec.LateMax {
			continue
		}
		if k == home || !byHome {
			return 0, false
		}
		flags |= schemas.Approximate
	}
	return flags, true
}

// prepare adds the entities that are new, moves the windows to the row's time
// and fills in the rows to be placed.
func (e *Engine) prepare(b *schemas.Batch, i, c int, content uint64) {
	t := b.Tx[i].Time
	keys := e.keys[c*len(e.views) : (c+1)*len(e.views)]
	for j := range e.views {
		n := &e.views[j]
		if !n.present {
			continue
		}
		if n.ref < 0 {
			part := int(keys[j] >> 56)
			n.open(n.k, part, n.k.parts[part].add(n.k, keys[j], rowsMinLog))
		}
		n.seek(t)
		e.fill(n, b, i, c, keys)
		if n.k.home {
			n.row[n.k.colContent] = content
		}
	}
}

// fill writes the current row of an entity, all but its predicates.
func (e *Engine) fill(n *entity, b *schemas.Batch, i, c int, keys []uint64) {
	k := n.k
	hashes := e.hashes[c*len(e.fields) : (c+1)*len(e.fields)]
	n.stamp = uint64(b.Tx[i].Time) << timeShift
	for f := range k.numbers {
		n.row[k.numbers[f].at] = number(b, i, k.numbers[f].ref)
	}
	for f := range k.texts {
		n.row[k.texts[f].at] = hashes[k.texts[f].field]
	}
	switch {
	case k.home:
		n.row[k.colID], n.row[k.colLabels] = e.ids[c], 0
		for other, col := range k.colLink {
			if col > 0 {
				n.row[col] = keys[other]
			}
		}
	case k.linked:
		// Two home entities may have events of one id; this tells them apart.
		n.row[k.colID] = e.ids[c] ^ keys[e.spec.Home]
	}
}

// compute fills x with the features of row i and returns its predicates.
func (e *Engine) compute(b *schemas.Batch, i int, x []float32) (bits uint64) {
	for k := range e.words {
		e.views[k].read(e.words[k], e.values, x)
	}
	return e.run(e.vector, b, i, x)
}

// judge returns the predicates of row i, whose features are x.
func (e *Engine) judge(b *schemas.Batch, i int, x []float32) (bits uint64) {
	return e.run(e.predicates, b, i, x)
}

// rule returns the action of the first fallback rule that holds for row i,
// which has just been computed.
func (e *Engine) rule(b *schemas.Batch, i int, x []float32) schemas.Action {
	for r := range e.rules {
		if e.run(e.rules[r], b, i, x) != 0 {
			return e.spec.Fallback[r].Action
		}
	}
	return schemas.Allow
}

// place puts the prepared rows into their entities' rings, moves the windows
// back to the newest event, and evicts. It reports whether an entity was
// coarse when the row was computed.
func (e *Engine) place(bits uint64) (coarse bool) {
	late := false
	for j := range e.views {
		n := &e.views[j]
		if !n.present {
			continue
		}
		k := e.kinds[j]
		if k.colPred > 0 {
			n.row[k.colPred] = bits
		} else {
			n.stamp |= bits
		}
		coarse = coarse || n.h[headCoarse] != 0
		late = late || n.late
		e.touch(n)
		if n.place(e) {
			e.counters.Merges++
		}
		if n.at != n.newest() {
			n.seek(n.newest())
		}
		n.evict(e)
		if k.home {
			e.index.add(n.row[k.colID], n.reference())
		}
	}
	e.counters.Rows++
	if late {
		e.counters.Late++
	}
	return coarse
}

// repeated says whether the home entity keeps an event of the id within the
// dedup window: Repeat, or Conflict if its content is another; else NoReason.
// The views must be open.
func (e *Engine) repeated(id, content uint64, t int64) schemas.Reason {
	if e.spec.Home < 0 {
		return schemas.NoReason
	}
	n := &e.views[e.spec.Home]
	if !n.present || n.ref < 0 || !e.index.holds(id, n.reference()) {
		return schemas.NoReason
	}
	start, end := n.span()
	for pos := end; pos != start; pos-- {
		stamp := *n.stampAt(pos - 1)
		if stamp&bucketBit != 0 || n.rowAt(pos - 1)[n.k.colID] != id {
			continue
		}
		if d := t - timeOf(stamp); d > e.spec.DedupWindow || -d > e.spec.DedupWindow {
			continue
		}
		if n.rowAt(pos - 1)[n.k.colContent] != content {
			e.counters.Conflicts++
			return schemas.Conflict
		}
		e.counters.Repeats++
		return schemas.Repeat
	}
	return schemas.NoReason
}

// bury takes what left the home rings out of the index, reading all of it
// first so that the memory's answers overlap.
func (e *Engine) bury() {
	e.prefetchIDs(e.dead)
	for i := 0; i < len(e.dead); i += 2 {
		e.index.remove(e.dead[i], e.dead[i+1])
	}
	e.dead = e.dead[:0]
}

// prefetchIDs asks for where the index has the ids of pairs of id and
// reference.
func (e *Engine) prefetchIDs(pairs []uint64) {
	for i := 0; i < len(pairs); i += 2 {
		if t := e.index.table(pairs[i]); len(t.slots) > 0 {
			prefetch(&t.slots[t.home(t.word(pairs[i], 0))])
		}
	}
}
