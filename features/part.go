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
}

// take returns the offset of a block of unit<<class words, their content
// undefined.
func (a *arena) take(unit, class int) uint64 {
	if at := a.free[class]; at > 0 {
		a.free[class] = a.words[at-1]
		return at - 1
	}
	at, n := len(a.words), unit<<class
	a.words = grown(a.words, n)
	return uint64(at)
}

// give frees a block.
func (a *arena) give(at uint64, class int) {
	a.words[at] = a.free[class]
	a.free[class] = at + 1
}

// grown returns s with n more words. It grows by a half at least while small
// and by an eighth when large, since memory that waits for use is still paid for.
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

// add makes an entity for a key that is not there and returns its reference.
func (p *part) add(k *kind, key uint64) int {
	if (p.count+1)*4 > len(p.table)*3 {
		p.growTable(k.head)
	}
	ref := p.count
	p.count++
	p.heads = grown(p.heads, k.head)
	h := p.heads[ref*k.head:]
	copy(h, k.blank)
	h[headKey] = key
	h[headRing] = p.rows.take(k.stride, rowsMinLog)<<6 | rowsMinLog
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
	p.rows.words, p.rows.free = p.rows.words[:0], [40]uint64{}
	p.side.words, p.side.free = p.side.words[:0], [40]uint64{}
}

// bytes is the memory that the part holds.
func (p *part) bytes() int64 {
	return 8 * int64(cap(p.table)+cap(p.heads)+cap(p.rows.words)+cap(p.side.words))
}

// log2 returns the exponent of the smallest power of two that is at least n.
func log2(n int) int { return bits.Len(uint(max(n, 1) - 1)) }
