package pages

import "golang.org/x/sys/unix"

// gather gathers the huge page at an address, which is a multiple of its size; at once
// where it is one already. It fails where the system has none in one piece, does not know
// how, or not all of it is the program's.
func gather(page uintptr) error {
	if _, _, err := unix.Syscall(unix.SYS_MADVISE, page, size, unix.MADV_COLLAPSE); err != 0 {
		return err
	}
	return nil
}
