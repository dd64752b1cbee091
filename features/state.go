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
func (n *entity) add(win *window, row []uint64, pos uint32, where int) {
	if row[0]&bucketBit != 0 {
		n.addBucket(win, row, pos, where)
		return
	}
	n.addTo(&win.change, row, pos, where)
}

// addTo puts the visible row at pos, no bucket, into sums.
func (n *entity) addTo(x *changes, row []uint64, pos uint32, where int) {
	h := n.h
	for _, at := range x.counts {
		h[at]++
	}
	for i := range x.values {
		c := &x.values[i]
		addWord(h[c.at:], int64(row[c.col]))
	}
	for i := range x.others {
		c := &x.others[i]
		if row[c.word]&c.mask != c.mask {
			continue
		}
		v := row[c.col]
		if c.nullable && v == absentNumber {
			continue
		}
		switch c.op {
		case sumCount, sumPresent:
			h[c.at]++
		case sumValue:
			addWord(h[c.at:], int64(v))
		case sumFraud:
			h[c.at] += row[0] & labelMask >> labelShift >> 1
		default:
			n.addMore(c, row, pos, where)
		}
	}
}

// addMore adds a row to a sum of the rarer kinds.
func (n *entity) addMore(c *change, row []uint64, pos uint32, where int) {
	h, v := n.h[c.at:], row[c.col]
	switch c.op {
	case sumLn:
		addWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		addWords(h, q[:], len(q))
	case sumMin:
		addMin(h, int64(v))
	case sumMax:
		addMax(h, int64(v))
	case sumRun:
		addRun(h, row, where)
	case sumLast:
		addLast(h, pos, where)
	case sumFirst:
		addFirst(h, pos, where)
	case sumDistinct:
		n.addDistinct(h, v)
	}
}

// remove takes the row at pos, which the window's sums hold, out of them.
func (n *entity) remove(win *window, row []uint64, pos uint32, where int) {
	if row[0]&bucketBit != 0 {
		n.removeBucket(win, row, pos, where)
		return
	}
	h, x := n.h, &win.change
	for _, at := range x.counts {
		h[at]--
	}
	for i := range x.values {
		c := &x.values[i]
		subWord(h[c.at:], int64(row[c.col]))
	}
	for i := range x.others {
		c := &x.others[i]
		if row[c.word]&c.mask != c.mask {
			continue
		}
		v := row[c.col]
		if c.nullable && v == absentNumber {
			continue
		}
		switch c.op {
		case sumCount, sumPresent:
			h[c.at]--
		case sumValue:
			subWord(h[c.at:], int64(v))
		case sumFraud:
			h[c.at] -= row[0] & labelMask >> labelShift >> 1
		default:
			n.removeMore(c, row, pos, where)
		}
	}
}

// removeMore takes a row out of a sum of the rarer kinds.
func (n *entity) removeMore(c *change, row []uint64, pos uint32, where int) {
	h, v := n.h[c.at:], row[c.col]
	switch c.op {
	case sumLn:
		subWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		subWords(h, q[:], len(q))
	case sumMin, sumMax:
		removeEdge(h, int64(v))
	case sumRun:
		removeRun(h, row, where)
	case sumLast:
		removeLast(h, pos, where)
	case sumFirst:
		removeFirst(h, pos, where)
	case sumDistinct:
		n.removeDistinct(h, v)
	}
}

// matches says whether a group takes an event of the row: a bucket, if it
// holds one.
func (n *entity) matches(grp *group, row []uint64) bool {
	if row[0]&bucketBit == 0 {
		return row[grp.word]&grp.mask == grp.mask
	}
	return n.bucketHolds(grp.where, row)
}
