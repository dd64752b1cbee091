package features

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Slabs of hugeMin words and more ask for huge pages: a state of gigabytes is
// read at random, and with small pages the walk to a page's address misses the
// caches as often as what lies there.
const (
	hugeMin  = 1 << 13
	hugePage = 2 << 20
)

// newWords returns n words of memory, none of them in use. The system is asked for
// huge pages before it is touched, for all that share its first and last page; a
// system that has none goes on with small ones.
func newWords(n int) []uint64 {
	s := make([]uint64, n)
	if n >= hugeMin {
		at := uintptr(unsafe.Pointer(&s[0])) &^ (hugePage - 1)
		end := (uintptr(unsafe.Pointer(&s[0])) + uintptr(8*n) + hugePage - 1) &^ (hugePage - 1)
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, at, end-at, unix.MADV_HUGEPAGE)
	}
	return s
}
