package features

import "sync"

// index leads from the hash of a transaction's id to the home entities that
// keep an event of it: there may be several. It is a cache of the home rings,
// in tables by the top bits of the hash, so that none grows by much at a time.
// A table keeps so few bits of a hash that others may look the same: the ring
// of the entity has the last word.
type index struct {
	tables [Parts]idTable
	locks  [Parts]sync.Mutex // of the tables, where several goroutines load parts
}

// idTable is open addressing of words: 24 bits of the hash, by which a word has its
// place, and 40 of the reference + 1; 0 is free. Its size is any number, since one that
// doubles is half empty on the average.
type idTable struct {
	slots []uint64
	count int
}

const (
	tagBits    = 24
	tagShift   = 64 - tagBits
	idSlotsMin = 16
	idSlotsMax = 1 << tagBits
)

func (x *index) table(id uint64) *idTable { return &x.tables[id>>56] }

// word returns what a table keeps for an id and a reference.
func (t *idTable) word(id, ref uint64) uint64 { return id<<tagShift | ref + 1 }

// home returns where looking for a word begins.
func (t *idTable) home(word uint64) int {
	return int(word >> tagShift * uint64(len(t.slots)) >> tagBits)
}

// after returns the slot after one.
func (t *idTable) after(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

func (x *index) add(id, ref uint64) {
	t := x.table(id)
	if (t.count+1)*5 > len(t.slots)*4 {
		t.grow(len(t.slots) + len(t.slots)/4)
	}
	t.put(t.word(id, ref))
	t.count++
}

func (t *idTable) put(word uint64) {
	i := t.home(word)
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = word
}

// grow makes the table that large.
func (t *idTable) grow(slots int) {
	old := t.slots
	t.slots = make([]uint64, min(max(idSlotsMin, slots), idSlotsMax))
	if len(t.slots) == len(old) {
		panic("BUG: four billion events in one engine")
	}
	for _, w := range old {
		if w != 0 {
			t.put(w)
		}
	}
}

// next returns the reference of an entity that may keep the id, from slot i on,
// and where to go on; false when there is no more. Begin with [index.first].
func (x *index) next(id uint64, i int) (ref uint64, next int, ok bool) {
	t := x.table(id)
	if len(t.slots) == 0 {
		return 0, 0, false
	}
	for {
		w := t.slots[i]
		if w == 0 {
			return 0, 0, false
		}
		i = t.after(i)
		if (w^id<<tagShift)>>tagShift == 0 {
			return w&(1<<tagShift-1) - 1, i, true
		}
	}
}

// first returns the slot where looking for an id begins.
func (x *index) first(id uint64) int {
	t := x.table(id)
	return t.home(t.word(id, 0))
}

// holds says whether some entity may keep the id.
func (x *index) holds(id, ref uint64) bool {
	for i := x.first(id); ; {
		r, next, ok := x.next(id, i)
		if !ok || r == ref {
			return ok
		}
		i = next
	}
}

// remove takes one entry of the id and entity out.
func (x *index) remove(id, ref uint64) {
	t := x.table(id)
	if len(t.slots) == 0 {
		return
	}
	word := t.word(id, ref)
	i := t.home(word)
	for t.slots[i] != word {
		if t.slots[i] == 0 {
			return
		}
		i = t.after(i)
	}
	t.count--
	for j := t.after(i); t.slots[j] != 0; j = t.after(j) {
		if t.between(t.home(t.slots[j]), j) >= t.between(i, j) {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
}

// between is how many slots after i slot j is.
func (t *idTable) between(i, j int) int {
	if j < i {
		return j + len(t.slots) - i
	}
	return j - i
}

// reserve makes room for so many entries in each table.
func (x *index) reserve(entries int) {
	for p := range x.tables {
		x.locks[p].Lock()
		if t := &x.tables[p]; entries*5/4+1 > len(t.slots) && entries*5/4 < idSlotsMax {
			t.grow(entries*5/4 + 1)
		}
		x.locks[p].Unlock()
	}
}

func (x *index) bytes() (n int64) {
	for i := range x.tables {
		n += 8 * int64(cap(x.tables[i].slots))
	}
	return n
}
