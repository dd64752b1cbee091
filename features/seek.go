package features

// Where in a window a row comes or goes: sums that depend on the order of the
// rows need to know.
const (
	tail   = iota // newest end
	head          // oldest end
	middle        // undone or brought back where it is
)

// dueShift is what a window's due time is kept without, so that it has room beside a
// position: the window may be looked at so much earlier, 2 s, and does not change then.
const (
	dueShift = 11
	dueMax   = 1<<32 - 1
)

// edgeOf returns the edge of a window.
func edgeOf(lo uint32, due int64) uint64 {
	return min(uint64(due)>>dueShift, dueMax)<<32 | uint64(lo)
}

// bounds returns the positions of the rows that a window holds: first, and one past the
// last, which for all windows without a delay is that of the view.
func (n *entity) bounds(win *window) (lo, hi uint32) {
	if hi = n.hi; win.end > 0 {
		hi = uint32(n.h[win.end])
	}
	return uint32(n.h[win.edge]), hi
}

// moved notes what a window holds now, and when it is due to move again.
func (n *entity) moved(win *window, lo, hi uint32, due int64) {
	n.h[win.edge] = edgeOf(lo, due)
	if win.end > 0 {
		n.h[win.end] = uint64(hi)
	} else {
		n.next = hi
	}
}

// seek moves the windows to time t, forwards or backwards, row by row: every
// sum is an integer, so the way does not matter.
func (n *entity) seek(t int64) {
	k := n.k
	if k.undoable && (t >= int64(n.h[headNext]) || t < int64(n.h[headPrev])) {
		n.toggle(t)
	}
	forward := t >= n.at
	n.at, n.next = t, n.hi
	start, end := n.span()
	if !forward {
		for w := range k.windows {
			lo, hi := n.bounds(&k.windows[w])
			n.backward(&k.windows[w], lo, hi, start)
		}
		n.hi = n.next
		return
	}
	simple := n.h[headCoarse] == 0
	for w, edge := range n.h[k.edges : k.edges+len(k.windows)] {
		if uint64(t)>>dueShift < edge>>32 { // as for most windows
			continue
		}
		if win := &k.windows[w]; simple && win.plain != nil {
			n.forwardPlain(win, end)
		} else {
			n.forward(win, end)
		}
	}
	n.hi = n.next
}

// forward moves a window to n.at, and notes when it is due to move again.
func (n *entity) forward(win *window, end uint32) {
	stamps, mask := n.stamps()
	lo, hi := n.bounds(win)
	cut, due := n.at-win.delay, int64(never)
	for ; hi != end; hi++ {
		stamp := stamps[hi&mask]
		if t := timeOf(stamp); t > cut {
			due = t + win.delay
			break
		}
		if n.visible(stamp, hi) {
			n.add(win, stamp, hi, tail)
		}
	}
	cut -= win.length
	for ; lo != hi && !win.all; lo++ {
		stamp := stamps[lo&mask]
		if t := timeOf(stamp); t > cut {
			due = min(due, t+win.reach)
			break
		}
		if n.visible(stamp, lo) {
			n.remove(win, stamp, lo, head)
		}
	}
	n.moved(win, lo, hi, due)
}

func (n *entity) backward(win *window, lo, hi, start uint32) {
	cut := n.at - win.delay
	if !win.all {
		for lo != start {
			stamp := *n.stampAt(lo - 1)
			if timeOf(stamp) <= cut-win.length {
				break
			}
			lo--
			if n.visible(stamp, lo) {
				n.add(win, stamp, lo, head)
			}
		}
	}
	for hi != lo {
		stamp := *n.stampAt(hi - 1)
		if timeOf(stamp) <= cut {
			break
		}
		hi--
		if n.visible(stamp, hi) {
			n.remove(win, stamp, hi, tail)
		}
	}
	n.moved(win, lo, hi, 0) // not known
}

// enter adds the row at pos, just placed, to the windows without a delay. They
// are at its time, so it is the newest that they hold.
func (n *entity) enter(pos uint32) {
	k, h := n.k, n.h
	n.addTo(&k.entrance, n.stamp, pos, tail)
	n.hi++
	t, edges := uint64(n.at), h[k.edges:k.edges+len(k.leads)]
	for w, lead := range k.leads {
		edge := edges[w]
		edges[w] = min(edge>>32, (t+lead)>>dueShift)<<32 | uint64(uint32(edge))
	}
	h[headDue] = min(h[headDue], t+uint64(k.keep))
}

// toggle takes out of the windows what is undone between their time and t, or
// brings it back where t is earlier, and notes the next such times.
func (n *entity) toggle(t int64) {
	k := n.k
	start, end := n.span()
	next, prev := int64(neverUndone), int64(0)
	for pos := start; pos != end; pos++ {
		if !undone(*n.stampAt(pos)) {
			continue
		}
		r := int64(n.rowAt(pos)[k.colUndo])
		if r > t {
			next = min(next, r)
		} else {
			prev = max(prev, r)
		}
		if was, is := n.at < r, t < r; was != is {
			n.flip(pos, is)
		}
	}
	n.h[headNext], n.h[headPrev] = uint64(next), uint64(prev)
}

// flip takes the row at pos out of the windows that hold it, or back in.
func (n *entity) flip(pos uint32, in bool) {
	stamp := *n.stampAt(pos)
	for w := range n.k.windows {
		win := &n.k.windows[w]
		lo, hi := n.bounds(win)
		if pos-lo >= hi-lo {
			continue
		}
		if in {
			n.add(win, stamp, pos, middle)
		} else {
			n.remove(win, stamp, pos, middle)
		}
	}
}
