package features

// blank writes a tally of no events.
func (t *tally) blank(words []uint64) {
	for i := range t.sums {
		s := &t.sums[i]
		w := words[s.rel : s.rel+tallyWords[s.op]]
		clear(w)
		switch s.op {
		case sumMin:
			w[0] = noMin
		case sumMax:
			w[0] = noMax
		}
	}
}

// settle adds a row that leaves the ring to a base in the head.
func (n *entity) settle(t *tally, stamp uint64, pos uint32) {
	base := n.h[t.base : t.base+t.words]
	if stamp&bucketBit != 0 {
		t.merge(base, n.bucketOf(stamp)[t.bucket:t.bucket+t.words])
		return
	}
	n.tally(t, base, stamp, pos)
}

// tally adds the row at pos to a tally. Rows may come in any order of time.
func (n *entity) tally(t *tally, words []uint64, stamp uint64, pos uint32) {
	if n.bits(stamp, pos)&t.mask != t.mask {
		return
	}
	row := n.rowAt(pos)
	since := t.since(words)
	for i := range t.sums {
		s := &t.sums[i]
		w, v := words[s.rel:s.rel+tallyWords[s.op]], row[s.col]
		if s.nullable && v == absentNumber && s.op != sumLatest {
			continue
		}
		switch s.op {
		case sumCount, sumPresent:
			w[0]++
		case sumValue:
			addWord(w, int64(v))
		case sumLn:
			addWord(w, lnFixed(int64(v)))
		case sumSquare:
			q := square(int64(v))
			addWords(w, q[:], len(q))
		case sumMin:
			addMin(w, int64(v))
		case sumMax:
			addMax(w, int64(v))
		case sumFraud:
			w[0] += stamp & labelMask >> labelShift >> 1
		case sumRun:
			addRun(w, stamp, tail)
		case sumLatest:
			if timeOf(stamp)+1 >= since {
				w[0] = v
			}
		case sumLast:
			w[0] = max(w[0], uint64(timeOf(stamp)+1))
		case sumFirst:
			if w[0] == 0 || uint64(timeOf(stamp)+1) < w[0] {
				w[0] = uint64(timeOf(stamp) + 1)
			}
		}
	}
}

// since returns the time + 1 of the tally's last event, where it keeps that; 0
// for none.
func (t *tally) since(words []uint64) int64 {
	for i := range t.sums {
		if t.sums[i].op == sumLast {
			return int64(words[t.sums[i].rel])
		}
	}
	return 0
}

// merge adds the tally at src, of events no earlier than those of dst.
func (t *tally) merge(dst, src []uint64) {
	later := t.since(src) >= t.since(dst)
	for i := range t.sums {
		s := &t.sums[i]
		n := tallyWords[s.op]
		d, w := dst[s.rel:s.rel+n], src[s.rel:s.rel+n]
		switch s.op {
		case sumMin:
			d[0] = uint64(min(int64(d[0]), int64(w[0])))
		case sumMax:
			d[0] = uint64(max(int64(d[0]), int64(w[0])))
		case sumRun:
			mergeRun(d, w)
		case sumLatest:
			if later && t.since(src) > 0 {
				d[0] = w[0]
			}
		case sumLast:
			d[0] = max(d[0], w[0])
		case sumFirst:
			if d[0] == 0 || w[0] != 0 && w[0] < d[0] {
				d[0] = w[0]
			}
		default:
			addWords(d, w, n)
		}
	}
}
