package features

// rowsMinLog is the exponent of the rows of a new entity's ring: four rows, so
// that what is seen once costs little.
const rowsMinLog = 2

// entity is a view of one entity while a row, label or reversal is taken. It
// is good until another entity is added to the part.
type entity struct {
	k       *kind
	p       *part
	h       []uint64 // its head
	at      int64    // the time that its windows are at
	row     []uint64 // the current row, as it will be placed
	ref     int
	part    int
	present bool
	late    bool
}

func rowTime(row []uint64) int64 { return int64(row[0] >> timeShift) }

// span returns the positions of the rows: first, and one past the last.
// Positions count up for ever and wrap.
func (n *entity) span() (start, end uint32) {
	return uint32(n.h[headSpan] >> 32), uint32(n.h[headSpan])
}

func (n *entity) setSpan(start, end uint32) {
	n.h[headSpan] = uint64(start)<<32 | uint64(end)
}

// at position pos.
func (n *entity) rowAt(pos uint32) []uint64 {
	d := n.h[headRing]
	mask := uint32(1)<<(d&63) - 1
	o := int(d>>6) + int(pos&mask)*n.k.stride
	return n.p.rows.words[o : o+n.k.stride : o+n.k.stride]
}

func (n *entity) newest() int64 { return int64(n.h[headNewest]) }

// visible says whether queries at n.at see the row: it is not undone by then.
func (n *entity) visible(row []uint64) bool {
	return n.k.colUndo == 0 || n.at < int64(row[n.k.colUndo])
}

// open points the view at the entity with the reference.
func (n *entity) open(k *kind, part, ref int) {
	n.k, n.part, n.ref = k, part, ref
	n.p = &k.parts[part]
	n.h = n.p.heads[ref*k.head : (ref+1)*k.head : (ref+1)*k.head]
	n.at = n.newest()
}

// firstAfter returns the position of the first row later than t.
func (n *entity) firstAfter(t int64) uint32 {
	lo, hi := n.span()
	for lo != hi {
		mid := lo + (hi-lo)/2
		if rowTime(n.rowAt(mid)) > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// place puts n.row into the ring: in event-time order, behind those of the
// same time. The windows must be at the row's time; then they hold the row. It
// reports whether rows had to be merged to make room.
func (n *entity) place(e *Engine) (merged bool) {
	start, end := n.span()
	if int(end-start) == 1<<(n.h[headRing]&63) {
		if int(end-start) >= n.k.rowsMax {
			n.coarsen(e)
			merged = true
		} else {
			n.resize(+1)
		}
		start, end = n.span()
	}
	pos, t := end, rowTime(n.row)
	if n.late {
		pos = n.firstAfter(t)
		for i := end; i != pos; i-- {
			copy(n.rowAt(i), n.rowAt(i-1))
		}
	}
	row := n.rowAt(pos)
	for i, w := range n.row { // a call to copy costs more than the few words
		row[i] = w
	}
	n.setSpan(start, end+1)
	n.h[headNewest] = uint64(max(n.newest(), t))
	n.enter(pos)
	return merged
}

// resize moves the ring to a block of twice (+1) or half (-1) the rows.
func (n *entity) resize(by int) {
	k, class := n.k, int(n.h[headRing]&63)
	at := n.p.ring(k, class+by)
	d := n.h[headRing] // where the ring is now
	old, next := uint32(1)<<class-1, uint32(1)<<(class+by)-1
	start, end := n.span()
	words := n.p.rows.words
	for i := start; i != end; i++ {
		from, to := int(d>>6)+int(i&old)*k.stride, int(at)+int(i&next)*k.stride
		copy(words[to:to+k.stride], words[from:from+k.stride])
	}
	n.p.rows.give(d>>6, k.stride, class)
	n.h[headRing] = at<<6 | uint64(class+by)
}

// evict lets go of the rows that are keep or more behind the newest. What no
// reversal undid goes into the base of windows over all. The windows must be
// at the newest event's time.
func (n *entity) evict(e *Engine) {
	k := n.k
	if n.h[headNewest] < n.h[headDue] {
		return
	}
	start, end := n.span()
	cut, first := n.newest()-k.keep, start
	n.h[headDue] = never
	for start != end {
		row := n.rowAt(start)
		if t := rowTime(row); t > cut {
			n.h[headDue] = uint64(t + k.keep)
			break
		}
		n.leave(row, start)
		if row[0]&bucketBit != 0 {
			n.dropBucket()
		} else if k.home {
			e.dead = append(e.dead, row[k.colID], n.reference())
		}
		start++
		n.setSpan(start, end)
	}
	if start == first {
		return
	}
	for class := int(n.h[headRing] & 63); class > rowsMinLog && int(end-start)*4 <= 1<<class; class-- {
		n.resize(-1)
	}
}

// leave takes the first row out of the windows over all, into their base.
func (n *entity) leave(row []uint64, pos uint32) {
	k := n.k
	if !k.hasAll {
		return
	}
	for w := range k.windows {
		if win := &k.windows[w]; win.all {
			if n.visible(row) {
				n.remove(win, row, pos, head)
			}
			_, hi := n.bounds(win)
			n.setBounds(win, pos+1, hi)
		}
	}
	if k.colUndo > 0 && row[k.colUndo] != uint64(neverUndone) {
		return
	}
	for i := range k.tallies {
		if t := &k.tallies[i]; t.base > 0 {
			n.settle(t, row)
		}
	}
}

// reference names the entity in the index of transactions.
func (n *entity) reference() uint64 { return uint64(n.part)<<32 | uint64(n.ref) }
