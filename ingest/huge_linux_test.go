package ingest

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// advised reports whether large pages were asked for where an address lies.
func advised(t *testing.T, at uintptr) bool {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip("this kernel does not tell: ", err)
	}
	defer f.Close()
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(s.Text(), "VmFlags:"); ok && inside {
			return strings.Contains(flags, " hg")
		}
	}
	return false
}

// TestHugePages looks where the kernel says what was asked of it.
func TestHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no large pages: ", err)
	}
	slab := make([]uint64, 1<<20)
	start := uintptr(unsafe.Pointer(unsafe.SliceData(slab)))
	HugePages(slab)
	for _, at := range []uintptr{start, start + 4<<20, start + 8<<20 - 1} {
		if !advised(t, at) {
			t.Errorf("not at byte %d of 8 MB", at-start)
		}
	}
	if slab[0]+slab[len(slab)-1] != 0 {
		t.Error("what was in it has changed")
	}
}
