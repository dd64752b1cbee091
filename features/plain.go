package features

import "math/bits"

// plain is a window that keeps only how many events it holds and the sum of
// one of their numbers, without where clause or reversals. Most windows are,
// so they are moved here without asking each row what it is.
type plain struct {
	count, value int // in the head; 0 none
	col          int // of the number, where there is one
}

// plainOf returns what a window keeps if it is plain, otherwise nil.
func (k *kind) plainOf(win *window) *plain {
	if k.undoable || len(win.groups) != 1 || win.groups[0].where >= 0 {
		return nil
	}
	p := &plain{}
	for _, s := range win.groups[0].sums {
		switch {
		case s.op == sumCount:
			p.count = s.at
		case s.op == sumValue && !s.nullable && p.value == 0:
			p.value, p.col = s.at, s.col
		default:
			return nil
		}
	}
	return p
}

// plainSum is what a plain window holds, taken out of the head to be counted
// in registers.
type plainSum struct{ count, low, high uint64 }

func (p *plain) load(h []uint64) (s plainSum) {
	if p.count > 0 {
		s.count = h[p.count]
	}
	if p.value > 0 {
		s.low, s.high = h[p.value], h[p.value+1]
	}
	return s
}

func (p *plain) store(h []uint64, s plainSum) {
	if p.count > 0 {
		h[p.count] = s.count
	}
	if p.value > 0 {
		h[p.value], h[p.value+1] = s.low, s.high
	}
}

func (s *plainSum) add(v uint64) {
	var c uint64
	s.count++
	s.low, c = bits.Add64(s.low, v, 0)
	s.high += uint64(int64(v)>>63) + c
}

func (s *plainSum) remove(v uint64) {
	var c uint64
	s.count--
	s.low, c = bits.Sub64(s.low, v, 0)
	s.high -= uint64(int64(v)>>63) + c
}

// plainValue returns what the row at pos adds to the sum, if there is one.
func (n *entity) plainValue(p *plain, pos uint32) uint64 {
	if p.value == 0 {
		return 0
	}
	return n.rowAt(pos)[p.col]
}

// forwardPlain is forward for a plain window of an entity without buckets.
func (n *entity) forwardPlain(win *window, end uint32) {
	p := win.plain
	stamps, mask := n.stamps()
	lo, hi := n.bounds(win)
	cut, due := n.at-win.delay, int64(never)
	sum := p.load(n.h)
	for ; hi != end; hi++ {
		if t := timeOf(stamps[hi&mask]); t > cut {
			due = t + win.delay
			break
		}
		sum.add(n.plainValue(p, hi))
	}
	cut -= win.length
	for ; lo != hi && !win.all; lo++ {
		if t := timeOf(stamps[lo&mask]); t > cut {
			due = min(due, t+win.reach)
			break
		}
		sum.remove(n.plainValue(p, lo))
	}
	p.store(n.h, sum)
	n.moved(win, lo, hi, due)
}
