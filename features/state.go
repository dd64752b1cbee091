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
	h := n.h
	for g := range win.groups {
		grp := &win.groups[g]
		if row[grp.word]&grp.mask != grp.mask {
			continue
		}
		for i := range grp.sums {
			s := &grp.sums[i]
			v := row[s.col]
			if s.nullable && v == absentNumber {
				continue
			}
			switch s.op {
			case sumCount, sumPresent:
				h[s.at]++
			case sumValue:
				addWord(h[s.at:s.at+2], int64(v))
			default:
				n.addMore(s, row, pos, where)
			}
		}
	}
}

// addMore adds a row to a sum of the rarer kinds.
func (n *entity) addMore(s *sum, row []uint64, pos uint32, where int) {
	h, v := n.h[s.at:], row[s.col]
	switch s.op {
	case sumLn:
		addWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		addWords(h, q[:], len(q))
	case sumMin:
		addMin(h, int64(v))
	case sumMax:
		addMax(h, int64(v))
	case sumFraud:
		h[0] += row[0] & labelMask >> labelShift >> 1
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
	h := n.h
	for g := range win.groups {
		grp := &win.groups[g]
		if row[grp.word]&grp.mask != grp.mask {
			continue
		}
		for i := range grp.sums {
			s := &grp.sums[i]
			v := row[s.col]
			if s.nullable && v == absentNumber {
				continue
			}
			switch s.op {
			case sumCount, sumPresent:
				h[s.at]--
			case sumValue:
				subWord(h[s.at:s.at+2], int64(v))
			default:
				n.removeMore(s, row, pos, where)
			}
		}
	}
}

// removeMore takes a row out of a sum of the rarer kinds.
func (n *entity) removeMore(s *sum, row []uint64, pos uint32, where int) {
	h, v := n.h[s.at:], row[s.col]
	switch s.op {
	case sumLn:
		subWord(h, lnFixed(int64(v)))
	case sumSquare:
		q := square(int64(v))
		subWords(h, q[:], len(q))
	case sumMin, sumMax:
		removeEdge(h, int64(v))
	case sumFraud:
		h[0] -= row[0] & labelMask >> labelShift >> 1
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
