package features

import "sync"

// index leads from the hash of a transaction's id to the home entities that
// keep an event of it: there may be several. It is a cache of the home rings,
// in tables by the top bits of the hash, so that none grows by much at a time.
type index struct {
	tables [Parts]idTable
	locks  [Parts]sync.Mutex // of the tables, where several goroutines load parts
}

// idTable is open addressing of (hash, reference + 1) pairs.
type idTable struct {
	slots []uint64
	count int
}

func (x *index) table(id uint64) *idTable { return &x.tables[id>>56] }

func (x *index) add(id, ref uint64) {
	t := x.table(id)
	if (t.count+1)*8 > len(t.slots)*3 {
		t.grow()
	}
	t.put(id, ref+1)
	t.count++
}

func (t *idTable) put(id, ref uint64) {
	mask := uint64(len(t.slots) - 1)
	i := id << 1 & mask
	for t.slots[i+1] != 0 {
		i = (i + 2) & mask
	}
	t.slots[i], t.slots[i+1] = id, ref
}

// grow doubles the table, at three quarters full.
func (t *idTable) grow() {
	old := t.slots
	t.slots = make([]uint64, max(32, 2*len(old)))
	for i := 0; i < len(old); i += 2 {
		if old[i+1] != 0 {
			t.put(old[i], old[i+1])
		}
	}
}

// next returns the reference of an entity that keeps the id, from slot i on,
// and where to go on; false when there is no more. Begin with [index.first].
func (x *index) next(id uint64, i int) (ref uint64, next int, ok bool) {
	t := x.table(id)
	if len(t.slots) == 0 {
		return 0, 0, false
	}
	mask := len(t.slots) - 1
	for {
		r := t.slots[i+1]
		if r == 0 {
			return 0, 0, false
		}
		at := i
		i = (i + 2) & mask
		if t.slots[at] == id {
			return r - 1, i, true
		}
	}
}

// first returns the slot where looking for an id begins.
func (x *index) first(id uint64) int {
	return int(id << 1 & uint64(len(x.table(id).slots)-1))
}

// holds says whether some entity keeps the id.
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
	mask := uint64(len(t.slots) - 1)
	i := id << 1 & mask
	for t.slots[i] != id || t.slots[i+1] != ref+1 {
		if t.slots[i+1] == 0 {
			return
		}
		i = (i + 2) & mask
	}
	t.count--
	for j := (i + 2) & mask; t.slots[j+1] != 0; j = (j + 2) & mask {
		if (j-t.slots[j]<<1)&mask >= (j-i)&mask {
			t.slots[i], t.slots[i+1] = t.slots[j], t.slots[j+1]
			i = j
		}
	}
	t.slots[i+1] = 0
}

func (x *index) bytes() (n int64) {
	for i := range x.tables {
		n += 8 * int64(cap(x.tables[i].slots))
	}
	return n
}
