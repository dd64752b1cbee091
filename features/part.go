package features

import (
	"math/bits"
	"slices"
)

// Parts is the number of parts that the state is divided in, by the top eight
// bits of the hash of an entity's key.
const Parts = 256

// part holds the entities of one kind whose keys' hashes begin alike. Parts
// grow one by one, so no growth moves more than a few megabytes.
type part struct {
	table []uint64 // open addressing: 32 bits of the key's hash, then reference + 1; 0 is free
	heads []uint64 // one head after another, by reference
	count int      // entities
	rows  arena    // blocks of rows
	side  arena    // tables of distinct values, buckets
}

// arena deals out blocks of words in powers of two times a unit. A freed block
// holds in its first word where the next of its class is.
type arena struct {
	words []uint64
	free  [40]uint64 // offset + 1 of a free block by class
	freed int        // words of free blocks
}

// take returns the offset of a block of unit<<class words, their content
// undefined.
func (a *arena) take(unit, class int) uint64 {
	if at := a.free[class]; at > 0 {
		a.free[class] = a.words[at-1]
		a.freed -= unit << class
		return at - 1
	}
	at, n := len(a.words), unit<<class
	a.words = grown(a.words, n)
	return uint64(at)
}

// give frees a block.
func (a *arena) give(at uint64, unit, class int) {
	a.words[at] = a.free[class]
	a.free[class] = at + 1
	a.freed += unit << class
}

// ring returns the offset of a block for rows. Rings that grow leave blocks behind that
// are too small for those that come after them: where an eighth is free and nothing of
// it fits, the blocks in use move together instead of the memory growing. A small arena
// grows: it would do so again and again.
func (p *part) ring(k *kind, class int) uint64 {
	a, n := &p.rows, k.stride<<class
	if a.free[class] == 0 && len(a.words)+n > cap(a.words) && a.freed > max(len(a.words)/8, looseMin) {
		live := len(a.words) - a.freed
		next := make([]uint64, live+max(n, live/8))[:0]
		for ref := range p.count {
			h := p.heads[ref*k.head:]
			d := h[headRing]
			at, size := d>>6, uint64(k.stride)<<(d&63)
			h[headRing] = uint64(len(next))<<6 | d&63
			next = append(next, a.words[at:at+size]...)
		}
		*a = arena{words: next}
	}
	return a.take(k.stride, class)
}

// looseMin is how many free words are worth moving others for.
const looseMin = 1 << 10

// reserve makes room for entities, and words of rows.
func (p *part) reserve(k *kind, entities, rows int) {
	if more := entities*k.head - len(p.heads); more > 0 {
		p.heads = grown(p.heads, more)[:len(p.heads)]
	}
	for entities*4 > len(p.table)*3 {
		p.growTable(k.head)
	}
	if more := rows - len(p.rows.words); more > 0 {
		p.rows.words = grown(p.rows.words, more)[:len(p.rows.words)]
	}
}

// grown returns s with n more words. It grows by a half at least while small
// and by a quarter when large, since memory that waits for use is still paid for.
func grown(s []uint64, n int) []uint64 {
	if len(s)+n <= cap(s) {
		return s[:len(s)+n]
	}
	more := max(n, len(s)/2)
	if len(s) > 1<<14 {
		more = max(n, len(s)/4)
	}
	return slices.Grow(s, more)[:len(s)+n]
}

// find returns the reference of a key, or -1.
func (p *part) find(key uint64, head int) int {
	if len(p.table) == 0 {
		return -1
	}
	mask := uint64(len(p.table) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		w := p.table[i]
		if w == 0 {
			return -1
		}
		if ref := int(uint32(w)) - 1; w>>32 == key>>24&0xFFFFFFFF && p.heads[ref*head] == key {
			return ref
		}
	}
}

// guess returns the reference of the first entity whose key's hash may be
// key's, without a look at its head; -1 where there is none.
func (p *part) guess(key uint64) int {
	if len(p.table) == 0 {
		return -1
	}
	mask := uint64(len(p.table) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		w := p.table[i]
		if w == 0 || w>>32 == key>>24&0xFFFFFFFF {
			return int(uint32(w)) - 1
		}
	}
}

// add makes an entity for a key that is not there, with a ring of the class, and
// returns its reference.
func (p *part) add(k *kind, key uint64, class int) int {
	if (p.count+1)*4 > len(p.table)*3 {
		p.growTable(k.head)
	}
	ring := p.ring(k, class)
	ref := p.count
	p.count++
	p.heads = grown(p.heads, k.head)
	h := p.heads[ref*k.head:]
	copy(h, k.blank)
	h[headKey] = key
	h[headRing] = ring<<6 | uint64(class)
	p.put(key, ref)
	return ref
}

func (p *part) put(key uint64, ref int) {
	mask := uint64(len(p.table) - 1)
	i := key & mask
	for p.table[i] != 0 {
		i = (i + 1) & mask
	}
	p.table[i] = key>>24<<32 | uint64(ref+1)
}

// growTable doubles the table. The entities' heads hold their keys.
func (p *part) growTable(head int) {
	p.table = make([]uint64, max(16, 2*len(p.table)))
	for ref := range p.count {
		p.put(p.heads[ref*head], ref)
	}
}

// clear forgets everything and keeps the memory.
func (p *part) clear() {
	clear(p.table)
	p.heads, p.count = p.heads[:0], 0
	p.rows, p.side = arena{words: p.rows.words[:0]}, arena{words: p.side.words[:0]}
}

// bytes is the memory that the part holds.
func (p *part) bytes() int64 {
	return 8 * int64(cap(p.table)+cap(p.heads)+cap(p.rows.words)+cap(p.side.words))
}

// log2 returns the exponent of the smallest power of two that is at least n.
func log2(n int) int { return bits.Len(uint(max(n, 1) - 1)) }
