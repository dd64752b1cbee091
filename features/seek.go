package features

// Where in a window a row comes or goes: sums that depend on the order of the
// rows need to know.
const (
	tail   = iota // newest end
	head          // oldest end
	middle        // undone or brought back where it is
)

func (n *entity) bounds(win *window) (lo, hi uint32) {
	return uint32(n.h[win.at] >> 32), uint32(n.h[win.at])
}

func (n *entity) setBounds(win *window, lo, hi uint32) {
	n.h[win.at] = uint64(lo)<<32 | uint64(hi)
}

// seek moves the windows to time t, forwards or backwards, row by row: every
// sum is an integer, so the way does not matter.
func (n *entity) seek(t int64) {
	k := n.k
	if k.undoable && (t >= int64(n.h[headNext]) || t < int64(n.h[headPrev])) {
		n.toggle(t)
	}
	forward := t >= n.at
	n.at = t
	start, end := n.span()
	for w := range k.windows {
		win := &k.windows[w]
		lo, hi := n.bounds(win)
		if forward && win.plain != nil && n.h[headCoarse] == 0 {
			n.forwardPlain(win, lo, hi, end)
		} else if forward {
			n.forward(win, lo, hi, end)
		} else {
			n.backward(win, lo, hi, start)
		}
	}
}

func (n *entity) forward(win *window, lo, hi, end uint32) {
	cut := n.at - win.delay
	was := uint64(lo)<<32 | uint64(hi)
	for hi != end {
		row := n.rowAt(hi)
		if rowTime(row) > cut {
			break
		}
		if n.visible(row) {
			n.add(win, row, hi, tail)
		}
		hi++
	}
	if !win.all {
		cut -= win.length
		for lo != hi {
			row := n.rowAt(lo)
			if rowTime(row) > cut {
				break
			}
			// The bounds say what a window still holds to whoever looks.
			if n.visible(row) {
				n.remove(win, row, lo, head)
			}
			lo++
		}
	}
	if now := uint64(lo)<<32 | uint64(hi); now != was {
		n.h[win.at] = now
	}
}

func (n *entity) backward(win *window, lo, hi, start uint32) {
	cut := n.at - win.delay
	if !win.all {
		for lo != start {
			row := n.rowAt(lo - 1)
			if rowTime(row) <= cut-win.length {
				break
			}
			lo--
			if n.visible(row) {
				n.add(win, row, lo, head)
			}
		}
	}
	for hi != lo {
		row := n.rowAt(hi - 1)
		if rowTime(row) <= cut {
			break
		}
		hi--
		if n.visible(row) {
			n.remove(win, row, hi, tail)
		}
	}
	n.setBounds(win, lo, hi)
}

// enter adds the row at pos, just placed, to the windows without a delay. They
// are at its time, so it is the newest that they hold.
func (n *entity) enter(pos uint32) {
	k := n.k
	row := n.rowAt(pos)
	for w := range k.windows {
		win := &k.windows[w]
		if win.delay != 0 {
			continue
		}
		if win.plain != nil {
			n.enterPlain(win.plain)
		} else if n.visible(row) {
			n.add(win, row, pos, tail)
		}
		n.h[win.at]++
		if uint32(n.h[win.at]) == 0 {
			n.h[win.at] -= 1 << 32 // the position wrapped: take back the carry
		}
	}
}

// toggle takes out of the windows what is undone between their time and t, or
// brings it back where t is earlier, and notes the next such times.
func (n *entity) toggle(t int64) {
	k := n.k
	start, end := n.span()
	next, prev := int64(neverUndone), int64(0)
	for pos := start; pos != end; pos++ {
		row := n.rowAt(pos)
		r := int64(row[k.colUndo])
		if r == neverUndone {
			continue
		}
		if r > t {
			next = min(next, r)
		} else {
			prev = max(prev, r)
		}
		if was, is := n.at < r, t < r; was != is {
			n.flip(row, pos, is)
		}
	}
	n.h[headNext], n.h[headPrev] = uint64(next), uint64(prev)
}

// flip takes the row at pos out of the windows that hold it, or back in.
func (n *entity) flip(row []uint64, pos uint32, in bool) {
	for w := range n.k.windows {
		win := &n.k.windows[w]
		lo, hi := n.bounds(win)
		if pos-lo >= hi-lo {
			continue
		}
		if in {
			n.add(win, row, pos, middle)
		} else {
			n.remove(win, row, pos, middle)
		}
	}
}
