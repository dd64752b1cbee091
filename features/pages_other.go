//go:build !linux

package features

// newWords returns n words of memory.
func newWords(n int) []uint64 { return make([]uint64, n) }
