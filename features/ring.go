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
	at      int64    // the time that its windows are at: the newest event's between two rows
	hi      uint32   // position one past the last row that windows without a delay hold
	next    uint32   // what hi will be, while the windows move
	stamp   uint64   // of the current row, as it will be placed, and its columns
	row     []uint64
	ref     int
	part    int
	present bool
	late    bool
}

func timeOf(stamp uint64) int64 { return int64(stamp >> timeShift) }

// undone says whether a reversal hides a row, from whatever time on. A bucket keeps its
// number where other rows keep facts.
func undone(stamp uint64) bool { return stamp&(undoneBit|bucketBit) == undoneBit }

// span returns the positions of the rows: first, and one past the last.
// Positions count up for ever and wrap.
func (n *entity) span() (start, end uint32) {
	return uint32(n.h[headSpan] >> 32), uint32(n.h[headSpan])
}

func (n *entity) setSpan(start, end uint32) {
	n.h[headSpan] = uint64(start)<<32 | uint64(end)
}

// stamps returns the stamps of all the ring, and what a position is masked with to find
// its own. They lie together, before the columns: moving a window by an hour is then to
// walk a line or two of memory.
func (n *entity) stamps() (stamps []uint64, mask uint32) {
	d := n.h[headRing]
	rows := uint64(1) << (d & 63)
	return n.p.rows.words[d>>6 : d>>6+rows : d>>6+rows], uint32(rows - 1)
}

// stampAt returns the stamp of the row at position pos, to be read or changed.
func (n *entity) stampAt(pos uint32) *uint64 {
	d := n.h[headRing]
	return &n.p.rows.words[int(d>>6)+int(pos&(uint32(1)<<(d&63)-1))]
}

// rowAt returns the columns of the row at position pos, from 1: what is at 0 is another's.
func (n *entity) rowAt(pos uint32) []uint64 {
	d := n.h[headRing]
	rows, width := uint32(1)<<(d&63), n.k.stride-1
	o := int(d>>6) + int(rows) - 1 + int(pos&(rows-1))*width
	return n.p.rows.words[o : o+width+1 : o+width+1]
}

// bits returns the predicates of the row at pos, among other facts.
func (n *entity) bits(stamp uint64, pos uint32) uint64 {
	if n.k.colPred == 0 {
		return stamp
	}
	return n.rowAt(pos)[n.k.colPred]
}

// setRow writes the row at pos.
func (n *entity) setRow(pos uint32, stamp uint64, columns []uint64) {
	*n.stampAt(pos) = stamp
	row := n.rowAt(pos)
	for i := 1; i < len(columns); i++ { // a call to copy costs more than the few words
		row[i] = columns[i]
	}
}

func (n *entity) newest() int64 { return int64(n.h[headNewest]) }

// visible says whether queries at n.at see the row at pos: it is not undone by then.
func (n *entity) visible(stamp uint64, pos uint32) bool {
	return !undone(stamp) || n.at < int64(n.rowAt(pos)[n.k.colUndo])
}

// open points the view at the entity with the reference.
func (n *entity) open(k *kind, part, ref int) {
	n.k, n.part, n.ref = k, part, ref
	n.p = &k.parts[part]
	n.h = n.p.heads[ref*k.head : (ref+1)*k.head : (ref+1)*k.head]
	n.at, n.hi = n.newest(), uint32(n.h[headSpan])
}

// firstAfter returns the position of the first row later than t.
func (n *entity) firstAfter(t int64) uint32 {
	lo, hi := n.span()
	stamps, mask := n.stamps()
	for lo != hi {
		mid := lo + (hi-lo)/2
		if timeOf(stamps[mid&mask]) > t {
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
	pos, t := end, timeOf(n.stamp)
	if n.late {
		pos = n.firstAfter(t)
		for i := end; i != pos; i-- {
			n.setRow(i, *n.stampAt(i - 1), n.rowAt(i-1))
		}
	}
	n.setRow(pos, n.stamp, n.row)
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
	from, to := n.p.rows.words[d>>6:], n.p.rows.words[at:]
	old, next, width := 1<<class, 1<<(class+by), k.stride-1
	start, end := n.span()
	for pos := start; pos != end; pos++ {
		i, j := int(pos)&(old-1), int(pos)&(next-1)
		to[j] = from[i]
		copy(to[next+j*width:next+(j+1)*width], from[old+i*width:old+(i+1)*width])
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
		stamp := *n.stampAt(start)
		if t := timeOf(stamp); t > cut {
			n.h[headDue] = uint64(t + k.keep)
			break
		}
		n.leave(stamp, start)
		if stamp&bucketBit != 0 {
			n.dropBucket()
		} else if k.home {
			e.dead = append(e.dead, n.rowAt(start)[k.colID], n.reference())
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
func (n *entity) leave(stamp uint64, pos uint32) {
	k := n.k
	if !k.hasAll {
		return
	}
	for w := range k.windows {
		if win := &k.windows[w]; win.all {
			if n.visible(stamp, pos) {
				n.remove(win, stamp, pos, head)
			}
			n.h[win.edge] = n.h[win.edge]>>32<<32 | uint64(pos+1)
		}
	}
	if undone(stamp) {
		return
	}
	for i := range k.tallies {
		if t := &k.tallies[i]; t.base > 0 {
			n.settle(t, stamp, pos)
		}
	}
}

// reference names the entity in the index of transactions.
func (n *entity) reference() uint64 { return uint64(n.part)<<32 | uint64(n.ref) }
