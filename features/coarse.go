package features

// Entities over their budget. When a ring is full, oldest events merge into
// buckets: rows of the ring whose sums lie beside it, one tally a where
// clause. A bucket is in a window as a whole, by the time of its last event,
// so what a window holds is wrong at its old end by at most one bucket; and a
// window over all is wrong in nothing but what its events' later labels and
// reversals would have changed, since a bucket has no ids.
//
// While buckets are at most a quarter of the ring, the oldest quarter of rows
// merges eight to one; beyond that neighbouring buckets merge, the light ones,
// until they are an eighth. So buckets are about as heavy as each other, and
// the error at the old end is sixteen rings' shares of what the window holds
// at most: 0.025 % with a budget of 65536.

const (
	mergeRows   = 8
	coarseLog   = 63 // mask of the block's class
	coarseOne   = 1 << 6
	coarseCount = (1<<26 - 1) &^ coarseLog
	coarseAt    = 32 // shift of the block's offset
	bucketIndex = 1<<20 - 1
)

// bucketOf returns the sums of a bucket.
func (n *entity) bucketOf(stamp uint64) []uint64 {
	at := n.h[headCoarse]>>coarseAt + (stamp&bucketIndex)*uint64(n.k.bucket)
	return n.p.side.words[at : at+uint64(n.k.bucket)]
}

// dropBucket frees the buckets' block with the last of them.
func (n *entity) dropBucket() {
	n.h[headCoarse] -= coarseOne
	if d := n.h[headCoarse]; d&coarseCount == 0 {
		n.p.side.give(d>>coarseAt, 1, int(d&coarseLog))
		n.h[headCoarse] = 0
	}
}

// setBucket makes the row at pos one that stands for a bucket.
func (n *entity) setBucket(pos uint32, stamp uint64) {
	*n.stampAt(pos) = stamp
	clear(n.rowAt(pos)[1:])
}

// newBuckets makes a block of count blank buckets and returns its descriptor.
func (n *entity) newBuckets(count int) uint64 {
	class := log2(max(count*n.k.bucket, 2))
	at := n.p.side.take(1, class)
	d := at<<coarseAt | uint64(count)*coarseOne | uint64(class)
	words := n.p.side.words[at : at+1<<class]
	clear(words)
	for i := range count {
		for t := range n.k.tallies {
			t := &n.k.tallies[t]
			t.blank(words[i*n.k.bucket+t.bucket:])
		}
	}
	return d
}

// crowd is what there is to merge in a full ring: the rows up to the last
// bucket, and how heavy a bucket of them may become.
type crowd struct {
	prefix  int // rows up to the last bucket
	buckets int
	weight  uint64 // events in the prefix
	limit   uint64
}

func (n *entity) crowd(start uint32, count int) (c crowd) {
	weight := uint64(0)
	for i := range count {
		stamp := *n.stampAt(start + uint32(i))
		weight += n.weight(stamp)
		if stamp&bucketBit != 0 {
			c.prefix, c.weight = i+1, weight
			c.buckets++
		}
	}
	// Buckets merge as long as two stay below the limit, so neighbours exceed
	// it and at most an eighth of the ring is buckets, give or take one.
	c.limit = 2 * (c.weight/uint64(count/8) + 1)
	return c
}

// weight is the number of events that a row stands for.
func (n *entity) weight(stamp uint64) uint64 {
	if stamp&bucketBit == 0 {
		return 1
	}
	return n.bucketOf(stamp)[0]
}

// until returns the end of the rows from i on that merge into one bucket.
func (n *entity) until(c crowd, start uint32, i int) int {
	weight := n.weight(*n.stampAt(start + uint32(i)))
	for i++; i < c.prefix; i++ {
		if weight += n.weight(*n.stampAt(start + uint32(i))); weight > c.limit {
			break
		}
	}
	return i
}

// coarsen makes room in a full ring.
func (n *entity) coarsen(e *Engine) {
	start, end := n.span()
	count := int(end - start)
	c := n.crowd(start, count)
	old, out, made := n.h[headCoarse], start, uint64(0)
	most := c.buckets + count/4/mergeRows + 1
	if c.prefix > count/4 {
		most = c.prefix
	}
	next := n.newBuckets(most)
	for i := 0; i < count; {
		j := i + 1
		switch stamp := *n.stampAt(start + uint32(i)); {
		case c.prefix > count/4 && i < c.prefix:
			j = n.until(c, start, i)
		case c.prefix <= count/4 && i >= c.prefix && i < c.prefix+count/4:
			j = min(i+mergeRows, c.prefix+count/4)
		case stamp&bucketBit == 0:
			n.setRow(out, stamp, n.rowAt(start+uint32(i)))
			out, i = out+1, j
			continue
		}
		last := n.merge(e, start+uint32(i), start+uint32(j), next>>coarseAt+made*uint64(n.k.bucket))
		n.setBucket(out, uint64(last)<<timeShift|bucketBit|made)
		made++
		out, i = out+1, j
	}
	if old != 0 {
		n.p.side.give(old>>coarseAt, 1, int(old&coarseLog))
	}
	n.h[headCoarse] = next&^coarseCount | made*coarseOne
	n.setSpan(start, out)
	n.rebuild(n.at)
}

// merge adds the rows from..to-1 to the blank bucket at offset at, and returns
// the time of the last. What is undone is left out.
func (n *entity) merge(e *Engine, from, to uint32, at uint64) (last int64) {
	k := n.k
	bucket := n.p.side.words[at : at+uint64(k.bucket)]
	for pos := from; pos != to; pos++ {
		stamp := *n.stampAt(pos)
		last = timeOf(stamp)
		if stamp&bucketBit != 0 {
			old := n.bucketOf(stamp)
			bucket[0] += old[0]
			for i := range k.tallies {
				t := &k.tallies[i]
				t.merge(bucket[t.bucket:t.bucket+t.words], old[t.bucket:t.bucket+t.words])
			}
			continue
		}
		bucket[0]++
		if k.home {
			e.dead = append(e.dead, n.rowAt(pos)[k.colID], n.reference())
		}
		if undone(stamp) {
			continue
		}
		for i := range k.tallies {
			t := &k.tallies[i]
			n.tally(t, bucket[t.bucket:t.bucket+t.words], stamp, pos)
		}
	}
	return last
}

// rebuild computes the windows afresh, at time t.
func (n *entity) rebuild(t int64) {
	k := n.k
	start, end := n.span()
	n.at, n.h[headDue] = t, 0
	n.hi, n.next = start, start
	if k.colUndo > 0 {
		next, prev := int64(neverUndone), int64(0)
		for pos := start; pos != end; pos++ {
			if !undone(*n.stampAt(pos)) {
				continue
			}
			if r := int64(n.rowAt(pos)[k.colUndo]); r > t {
				next = min(next, r)
			} else {
				prev = max(prev, r)
			}
		}
		n.h[headNext], n.h[headPrev] = uint64(next), uint64(prev)
	}
	for w := range k.windows {
		win := &k.windows[w]
		for g := range win.groups {
			for i := range win.groups[g].sums {
				s := &win.groups[g].sums[i]
				h := n.h[s.at : s.at+stateWords[s.op]]
				if s.op == sumDistinct {
					n.freeSlots(h)
				}
				copy(h, k.blank[s.at:])
			}
		}
		n.moved(win, start, start, 0)
		n.forward(win, end)
	}
	n.hi = n.next
}

// addBucket puts a bucket into the sums of a window.
func (n *entity) addBucket(win *window, stamp uint64) {
	for g := range win.groups {
		grp := &win.groups[g]
		t := n.k.tally(grp.where)
		b := n.bucketOf(stamp)[t.bucket : t.bucket+t.words]
		for i := range grp.sums {
			s := &grp.sums[i]
			h := n.h[s.at : s.at+stateWords[s.op]]
			switch s.op {
			case sumMin:
				addMin(h, int64(b[s.rel])>>1)
			case sumMax:
				addMax(h, int64(b[s.rel])>>1)
			case sumRun:
				h[0] += genuine(b[s.rel]) * runGenuine
				h[0] |= runStale
			case sumLast, sumFirst:
				h[0] = 0
			case sumLatest, sumDistinct:
			default:
				addWords(h, b[s.rel:], len(h))
			}
		}
	}
}

// removeBucket takes a bucket, which the window's sums hold, out of them.
func (n *entity) removeBucket(win *window, stamp uint64) {
	for g := range win.groups {
		grp := &win.groups[g]
		t := n.k.tally(grp.where)
		b := n.bucketOf(stamp)[t.bucket : t.bucket+t.words]
		for i := range grp.sums {
			s := &grp.sums[i]
			h := n.h[s.at : s.at+stateWords[s.op]]
			switch s.op {
			case sumMin, sumMax:
				removeEdge(h, int64(b[s.rel])>>1)
			case sumRun:
				h[0] -= genuine(b[s.rel]) * runGenuine
				h[0] |= runStale
			case sumLast, sumFirst:
				h[0] = 0
			case sumLatest, sumDistinct:
			default:
				subWords(h, b[s.rel:], len(h))
			}
		}
	}
}

// inBucket returns the first word of a sum of a bucket's tally.
func (n *entity) inBucket(where int, stamp uint64, want sum) uint64 {
	return n.wordsOf(where, stamp, want)[0]
}

func (n *entity) wordsOf(where int, stamp uint64, want sum) []uint64 {
	t := n.k.tally(where)
	for i := range t.sums {
		if t.sums[i].same(want) {
			return n.bucketOf(stamp)[t.bucket+t.sums[i].rel:]
		}
	}
	panic("BUG: a bucket lacks a sum")
}

// bucketHolds says whether a bucket holds an event that the clause takes.
func (n *entity) bucketHolds(where int, stamp uint64) bool {
	return n.inBucket(where, stamp, sum{op: sumCount}) > 0
}

// bucketLatest returns the value of a bucket's last event.
func (n *entity) bucketLatest(e *emitter, stamp uint64) uint64 {
	return n.inBucket(e.where, stamp, sum{op: sumLatest, col: e.col})
}

// bucketRun returns how many frauds end a bucket, the time + 1 of the first of
// them, and whether what came before it goes on the run.
func (n *entity) bucketRun(where int, stamp uint64) (frauds, first uint64, more bool) {
	w := n.wordsOf(where, stamp, sum{op: sumRun})
	return w[0] & runMask, w[1], genuine(w[0]) == 0
}

// searchBucket betters the extreme in best by a bucket's.
func (n *entity) searchBucket(e *emitter, best, stamp uint64) uint64 {
	if e.edgeOp == sumMin {
		return uint64(min(int64(best), int64(n.inBucket(e.where, stamp, sum{op: sumMin, col: e.col}))))
	}
	return uint64(max(int64(best), int64(n.inBucket(e.where, stamp, sum{op: sumMax, col: e.col}))))
}
