package features

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// largePages has the memory in large pages, as a node has it.
func largePages(o Options) Options {
	const page = 2 << 20
	o.Huge = func(words []uint64) {
		from := uintptr(unsafe.Pointer(unsafe.SliceData(words)))
		to := (from + uintptr(8*len(words)) + page - 1) &^ (page - 1)
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from&^(page-1), to-from&^(page-1), unix.MADV_HUGEPAGE)
	}
	return o
}
