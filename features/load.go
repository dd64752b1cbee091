package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrPart is wrapped by the errors of [Engine.LoadPart]: the bytes are no part
// of this spec's state.
var ErrPart = errors.New("not a part of this state")

// loadRowsMax bounds the rows of an entity that is loaded: the largest budget.
const loadRowsMax = entityRowsMax

// bucketWeightMax bounds the events of a bucket that is loaded, so that no sum
// of them overflows.
const bucketWeightMax = 1 << 40

// bornMax is how many words of ids and references go into one table of the
// index at a time: so many that the memory's answers overlap.
const bornMax = 128

// A Loader fills an engine with parts. Several may work at once, each in a
// goroutine of its own and on other parts, while nothing else uses the engine:
// what they share, the index of transactions, has a lock for each table, which
// is taken once for many entries. Its scratch is about 270 kB.
type Loader struct {
	e      *Engine
	loaded []uint64        // sums of an entity's buckets
	ids    int             // of the part
	born   [Parts][]uint64 // pairs of id and reference that are not in the index yet, by its table
}

// NewLoader returns a Loader of the engine.
func (e *Engine) NewLoader() *Loader { return &Loader{e: e} }

// reader takes apart the bytes of a part. After the first mistake everything
// that it returns is 0.
type reader struct {
	b   []byte
	bad string // what was wrong first
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.b = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is cut off or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a number is cut off or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) word() uint64 {
	if len(r.b) < 8 {
		r.fail("a hash is cut off")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// LoadPart replaces part 0..Parts-1 of the state by bytes that AppendPart made
// under the same spec and key. On an error, which wraps [ErrPart], the part is
// empty. [Loader.Load] does the same beside others.
func (e *Engine) LoadPart(part int, data []byte) error {
	return e.NewLoader().Load(part, data)
}

// Load replaces a part as [Engine.LoadPart] does. It keeps nothing of data.
func (l *Loader) Load(part int, data []byte) error {
	l.dropPart(part)
	l.ids = 0
	r := &reader{b: data}
	if version := partVersion(l.e.spec); len(data) == 0 || data[0] != version {
		return fmt.Errorf("load part %d: %w: not of version %d", part, ErrPart, version)
	}
	r.b = data[1:]
	for _, k := range l.e.kinds {
		l.loadKind(r, k, part)
	}
	for table := range l.born {
		l.enrol(table)
	}
	if home := l.e.spec.Home; part == 0 && home >= 0 && l.e.kinds[home].parts[0].count >= sampled {
		l.e.index.reserve(l.ids) // ids are spread evenly, and the other parts will bring as many
	}
	if len(r.b) > 0 {
		r.fail("bytes follow the end")
	}
	if r.bad != "" {
		l.dropPart(part)
		return fmt.Errorf("load part %d: %w: %s", part, ErrPart, r.bad)
	}
	return nil
}

// dropPart forgets a part.
func (l *Loader) dropPart(part int) {
	for _, k := range l.e.kinds {
		p := &k.parts[part]
		for ref := 0; k.home && ref < p.count; ref++ {
			var n entity
			n.open(k, part, ref)
			start, end := n.span()
			for pos := start; pos != end; pos++ {
				if *n.stampAt(pos)&bucketBit == 0 {
					l.bury(n.rowAt(pos)[k.colID], n.reference())
				}
			}
		}
		p.clear()
	}
}

// bury takes an entry out of the index.
func (l *Loader) bury(id, ref uint64) {
	lock := &l.e.index.locks[id>>56]
	lock.Lock()
	defer lock.Unlock()
	l.e.index.remove(id, ref)
}

// sampled is how many entities tell how large the others are.
const sampled = 16

// entityBytesMin is the least that an entity takes in a part: its key, the number of its
// rows, and one of them.
const entityBytesMin = 8 + 1 + 2

// rowBytesMin is the least that a row takes in a part, buckets aside.
func (k *kind) rowBytesMin() int { return 2 + len(k.numbers) + 8*len(k.hashes) }

func (l *Loader) loadKind(r *reader, k *kind, part int) {
	last, count := uint64(0), r.uvarint()
	if count > uint64(len(r.b))/entityBytesMin {
		r.fail("the number of entities is out of bounds")
		return
	}
	k.parts[part].reserve(k, int(count), 0)
	for i := range count {
		if r.bad != "" {
			return
		}
		if i == sampled && count > 4*sampled { // the others will be about as large
			rows := len(k.parts[part].rows.words)
			k.parts[part].reserve(k, 0, min(rows/sampled*int(count)*17/16, rows+len(r.b)/k.rowBytesMin()*k.stride*2))
		}
		key := r.word()
		if r.bad != "" || key <= last || key>>56 != uint64(part) {
			r.fail("entities are out of order or of another part")
			return
		}
		last = key
		l.loadEntity(r, k, part, key)
	}
}

// bear notes an entry of the index.
func (l *Loader) bear(id, ref uint64) {
	table := int(id >> 56)
	l.ids++
	if l.born[table] == nil {
		l.born[table] = make([]uint64, 0, bornMax)
	}
	l.born[table] = append(l.born[table], id, ref)
	if len(l.born[table]) == bornMax {
		l.enrol(table)
	}
}

// enrol puts what was noted for a table of the index into it.
func (l *Loader) enrol(table int) {
	pairs := l.born[table]
	if len(pairs) == 0 {
		return
	}
	x := &l.e.index
	x.locks[table].Lock()
	defer x.locks[table].Unlock()
	l.e.prefetchIDs(pairs)
	for i := 0; i < len(pairs); i += 2 {
		x.add(pairs[i], pairs[i+1])
	}
	l.born[table] = pairs[:0]
}

// loadEntity reads one entity and adds it.
func (l *Loader) loadEntity(r *reader, k *kind, part int, key uint64) {
	rows := r.uvarint()
	if rows == 0 || rows > loadRowsMax || rows > uint64(len(r.b)) {
		r.fail("an entity's number of rows is out of bounds")
		return
	}
	ref := k.parts[part].add(k, key, max(rowsMinLog, log2(int(rows))))
	var n entity
	n.open(k, part, ref)
	for i := range k.tallies {
		if t := &k.tallies[i]; t.base > 0 {
			r.words(n.h[t.base : t.base+t.words])
		}
	}
	l.loaded = l.loaded[:0]
	time := int64(0)
	for i := range uint32(rows) {
		step, facts := r.uvarint(), r.uvarint()
		if r.bad != "" || step >= timeMax || time+int64(step) >= timeMax {
			r.fail("a row's time is out of bounds")
			break
		}
		time += int64(step)
		n.setSpan(0, i+1)
		if facts == bucketBit {
			l.loadBucket(r, &n, i, time)
			continue
		}
		*n.stampAt(i) = uint64(time)<<timeShift | facts
		l.loadColumns(r, &n, i, facts)
	}
	if first := timeOf(*n.stampAt(0)); r.bad == "" && first <= time-k.keep {
		r.fail("a row is older than what is kept")
	}
	n.h[headNewest] = uint64(time)
	if count := len(l.loaded) / k.bucket; count > 0 {
		n.h[headCoarse] = n.newBuckets(count)
		copy(n.p.side.words[n.h[headCoarse]>>coarseAt:], l.loaded)
	}
	if r.bad == "" {
		n.rebuild(time)
	}
}

func (r *reader) words(into []uint64) {
	for i := range into {
		into[i] = uint64(r.varint())
	}
}

// loadBucket reads a bucket's sums; they go to their block when all are there.
func (l *Loader) loadBucket(r *reader, n *entity, pos uint32, time int64) {
	made := len(l.loaded) / n.k.bucket
	if made > bucketIndex {
		r.fail("too many buckets")
		return
	}
	n.setBucket(pos, uint64(time)<<timeShift|bucketBit|uint64(made))
	at := len(l.loaded)
	for range n.k.bucket {
		l.loaded = append(l.loaded, uint64(r.varint()))
	}
	if w := l.loaded[at]; w == 0 || w > bucketWeightMax {
		r.fail("a bucket's number of events is out of bounds")
	}
}

// loadColumns reads a row but for its stamp, whose facts it looks at.
func (l *Loader) loadColumns(r *reader, n *entity, pos uint32, facts uint64) {
	k, row := n.k, n.rowAt(pos)
	predicates := uint64(1)<<len(l.e.spec.Predicates) - 1
	if k.colPred > 0 {
		row[k.colPred] = r.uvarint()
		if row[k.colPred] > predicates {
			r.fail("a row has where clauses that the spec has not")
		}
		predicates = 0
	}
	if facts&labelMask == labelMask || facts&^labelMask&^predicates != 0 {
		r.fail("a row's facts are out of bounds")
		return
	}
	if k.colUndo > 0 {
		if v := r.uvarint(); v > math.MaxInt64 {
			r.fail("a reversal's time is out of bounds")
		} else if v > 0 {
			*n.stampAt(pos) |= undoneBit
			row[k.colUndo] = v - 1
		}
	}
	for i := range k.numbers {
		c := &k.numbers[i]
		row[c.at] = uint64(r.varint())
		if v := int64(row[c.at]); (v > numberMax || v < -numberMax) && !(c.nullable && row[c.at] == absentNumber) {
			r.fail("a row's number is out of bounds")
		}
	}
	for _, col := range k.hashes {
		row[col] = r.word()
	}
	if k.home {
		row[k.colLabels] = r.uvarint()
		if r.bad == "" {
			l.bear(row[k.colID], n.reference())
		}
	}
}
