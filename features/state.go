package features

// blankSum writes a sum of no events.
func blankSum(h []uint64, op sumOp) {
	switch op {
	case sumMin:
		h[0] = noMin
	case sumMax:
		h[0] = noMax
	case sumLast, sumFirst:
		h[0] = foundNone
	}
}

// add puts the visible row at pos into the sums of a window.
func (n *entity) add(win *window, stamp uint64, pos uint32, where int) {
	if stamp&bucketBit != 0 {
		n.addBucket(win, stamp)
		return
	}
	n.addTo(&win.change, stamp, pos, where)
}

// addTo puts the visible row at pos, no bucket, into sums.
func (n *entity) addTo(x *changes, stamp uint64, pos uint32, where int) {
	h := n.h
	for _, at := range x.counts {
		h[at]++
	}
	if x.plain {
		return
	}
	bits := n.bits(stamp, pos)
	for i := range x.facts {
		c := &x.facts[i]
		if bits&c.mask != c.mask {
			continue
		}
		switch c.op {
		case sumCount:
			h[c.at]++
		case sumFraud:
			h[c.at] += stamp & labelMask >> labelShift >> 1
		case sumRun:
			addRun(h[c.at:], stamp, where)
		case sumLast:
			addLast(h[c.at:], pos, where)
		case sumFirst:
			addFirst(h[c.at:], pos, where)
		}
	}
	if !x.reads {
		return
	}
	row := n.rowAt(pos)
	for i := range x.values {
		c := &x.values[i]
		addWord(h[c.at:], int64(row[c.col]))
	}
	for i := range x.others {
		c, v := &x.others[i], row[x.others[i].col]
		if bits&c.mask == c.mask && !(c.nullable && v == absentNumber) {
			n.addValue(c, v)
		}
	}
}

// addValue adds a number or text to a sum.
func (n *entity) addValue(c *change, v uint64) {
	h := n.h[c.at:]
	switch c.op {
	case sumPresent:
		h[0]++
	case sumValue:
		addWord(h, int64(v))
	case sumLn:
		addWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		addWords(h, q[:], len(q))
	case sumMin:
		addMin(h, int64(v))
	case sumMax:
		addMax(h, int64(v))
	case sumDistinct:
		n.addDistinct(h, v)
	}
}

// remove takes the row at pos, which the window's sums hold, out of them.
func (n *entity) remove(win *window, stamp uint64, pos uint32, where int) {
	if stamp&bucketBit != 0 {
		n.removeBucket(win, stamp)
		return
	}
	h, x := n.h, &win.change
	for _, at := range x.counts {
		h[at]--
	}
	if x.plain {
		return
	}
	bits := n.bits(stamp, pos)
	for i := range x.facts {
		c := &x.facts[i]
		if bits&c.mask != c.mask {
			continue
		}
		switch c.op {
		case sumCount:
			h[c.at]--
		case sumFraud:
			h[c.at] -= stamp & labelMask >> labelShift >> 1
		case sumRun:
			removeRun(h[c.at:], stamp, where)
		case sumLast:
			removeLast(h[c.at:], pos, where)
		case sumFirst:
			removeFirst(h[c.at:], pos, where)
		}
	}
	if !x.reads {
		return
	}
	row := n.rowAt(pos)
	for i := range x.values {
		c := &x.values[i]
		subWord(h[c.at:], int64(row[c.col]))
	}
	for i := range x.others {
		c, v := &x.others[i], row[x.others[i].col]
		if bits&c.mask == c.mask && !(c.nullable && v == absentNumber) {
			n.removeValue(c, v)
		}
	}
}

// removeValue takes a number or text out of a sum.
func (n *entity) removeValue(c *change, v uint64) {
	h := n.h[c.at:]
	switch c.op {
	case sumPresent:
		h[0]--
	case sumValue:
		subWord(h, int64(v))
	case sumLn:
		subWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		subWords(h, q[:], len(q))
	case sumMin, sumMax:
		removeEdge(h, int64(v))
	case sumDistinct:
		n.removeDistinct(h, v)
	}
}

// matches says whether a group takes an event of the row at pos: a bucket, if it
// holds one.
func (n *entity) matches(grp *group, stamp uint64, pos uint32) bool {
	if stamp&bucketBit == 0 {
		return n.bits(stamp, pos)&grp.mask == grp.mask
	}
	return n.bucketHolds(grp.where, stamp)
}
