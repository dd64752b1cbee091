package main

import "golang.org/x/sys/unix"

// diskRoom returns the bytes of the file system of a folder, and how many of them this
// process may still take.
func diskRoom(folder string) (size, free uint64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return 0, 0, false
	}
	return s.Blocks * uint64(s.Bsize), s.Bavail * uint64(s.Bsize), true
}
