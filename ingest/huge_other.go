//go:build !linux

package ingest

// HugePages does nothing where the kernel cannot be asked for large pages.
func HugePages([]uint64) {}
