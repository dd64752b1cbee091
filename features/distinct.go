package features

// Distinct values. A window counts each value's events in a table of its own,
// so that an event costs the same whatever the window holds. The two words of
// the sum are the number of values, and where the table is: offset<<6 | log2
// of its slots, plus found. A slot is a value's hash (0 free) and its count.

const slotsMinLog = 2

func (n *entity) slots(d uint64) []uint64 {
	at := d &^ found >> 6
	return n.p.side.words[at : at+2<<(d&63)]
}

func (n *entity) addDistinct(h []uint64, v uint64) {
	if v == 0 {
		return
	}
	if h[1] == 0 {
		h[1] = n.newSlots(slotsMinLog)
	} else if size := uint64(1) << (h[1] & 63); (h[0]+1)*4 > size*3 {
		n.moveSlots(h, int(h[1]&63)+1)
	}
	t := n.slots(h[1])
	mask := uint64(len(t)/2 - 1)
	i := v & mask
	for t[2*i] != 0 && t[2*i] != v {
		i = (i + 1) & mask
	}
	if t[2*i] == 0 {
		t[2*i], t[2*i+1] = v, 0
		h[0]++
	}
	t[2*i+1]++
}

func (n *entity) removeDistinct(h []uint64, v uint64) {
	if v == 0 {
		return
	}
	t := n.slots(h[1])
	mask := uint64(len(t)/2 - 1)
	i := v & mask
	for t[2*i] != v {
		if t[2*i] == 0 {
			panic("BUG: a window lets go of a value it does not hold")
		}
		i = (i + 1) & mask
	}
	if t[2*i+1]--; t[2*i+1] > 0 {
		return
	}
	h[0]--
	// Close the gap: whatever follows without one moves up, unless that would
	// put it before its own place.
	for j := (i + 1) & mask; t[2*j] != 0; j = (j + 1) & mask {
		if (j-t[2*j])&mask >= (j-i)&mask {
			t[2*i], t[2*i+1] = t[2*j], t[2*j+1]
			i = j
		}
	}
	t[2*i] = 0
	if class := int(h[1] & 63); class > slotsMinLog && h[0]*8 < 1<<class {
		n.moveSlots(h, class-1)
	}
}

func (n *entity) newSlots(class int) uint64 {
	at := n.p.side.take(1, class+1)
	clear(n.p.side.words[at : at+2<<class])
	return found | at<<6 | uint64(class)
}

// moveSlots moves the table at h to one of another size.
func (n *entity) moveSlots(h []uint64, class int) {
	next := n.newSlots(class)
	from, to := n.slots(h[1]), n.slots(next)
	mask := uint64(len(to)/2 - 1)
	for i := 0; i < len(from); i += 2 {
		if from[i] == 0 {
			continue
		}
		j := from[i] & mask
		for to[2*j] != 0 {
			j = (j + 1) & mask
		}
		to[2*j], to[2*j+1] = from[i], from[i+1]
	}
	n.freeSlots(h)
	h[1] = next
}

func (n *entity) freeSlots(h []uint64) {
	if h[1] != 0 {
		n.p.side.give(h[1]&^found>>6, 1, int(h[1]&63)+1)
		h[1] = 0
	}
}

// distinct returns the number of values in the window. What buckets hold is
// not counted.
func (n *entity) distinct(e *emitter, self bool) float64 {
	h := n.h[e.dist.at : e.dist.at+2]
	v := n.row[e.col]
	if self && v != 0 && !n.holds(h, v) {
		return float64(h[0] + 1)
	}
	return float64(h[0])
}

func (n *entity) holds(h []uint64, v uint64) bool {
	if h[1] == 0 {
		return false
	}
	t := n.slots(h[1])
	mask := uint64(len(t)/2 - 1)
	i := v & mask
	for t[2*i] != 0 && t[2*i] != v {
		i = (i + 1) & mask
	}
	return t[2*i] == v
}
