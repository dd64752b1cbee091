package ingest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a large page of the processors that weir runs on: of arm64
// with small pages of 4 kB too.
const hugePage = 2 << 20

// HugePages asks the kernel for large pages where a slab of memory lies
// (see [features.Options]). A kernel that gives none, or gives them unasked, is as good:
// nothing but speed depends on it.
func HugePages(words []uint64) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(words)))
	to := (from + uintptr(8*len(words)) + hugePage - 1) &^ (hugePage - 1)
	from &^= hugePage - 1
	// The whole of the pages at its ends: what lies beside it is the heap's as well, and
	// slabs are often smaller. unix.Madvise takes a slice, which may not reach out of
	// what was allocated.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
}
