package decode

import (
	"encoding/binary"
	"math/bits"
)

// table finds the number of a name. It is made once and never changed; slots are
// four times the names or more, so that most lookups compare once or not at all.
type table struct {
	names []string
	slots []uint16 // 1 + the first name whose hash falls here
	chain []uint16 // 1 + the next name of the same slot
	shift uint
}

func newTable(names []string) table {
	width := bits.Len(uint(4 * len(names)))
	t := table{names: names, slots: make([]uint16, 1<<width), chain: make([]uint16, len(names)), shift: 64 - uint(width)}
	for k, name := range names {
		slot := &t.slots[mix([]byte(name))>>t.shift]
		t.chain[k], *slot = *slot, uint16(k+1)
	}
	return t
}

// find returns the number of key, -1 where it is none of the names.
func (t *table) find(key []byte) int {
	for k := t.slots[mix(key)>>t.shift]; k != 0; k = t.chain[k-1] {
		if t.names[k-1] == string(key) {
			return int(k) - 1
		}
	}
	return -1
}

// mix hashes a key: it looks at the length and at up to eight bytes of either end.
func mix(key []byte) uint64 {
	n := len(key)
	x := uint64(n) * 0x9e3779b97f4a7c15
	switch {
	case n >= 8:
		x ^= binary.LittleEndian.Uint64(key) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(key[n-8:]), 29)
	case n >= 4:
		x ^= uint64(binary.LittleEndian.Uint32(key)) | uint64(binary.LittleEndian.Uint32(key[n-4:]))<<32
	case n > 0:
		x ^= uint64(key[0]) | uint64(key[n/2])<<8 | uint64(key[n-1])<<16
	}
	x *= 0xd6e8feb86659fd93
	return x ^ x<<31
}
