package link

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// New makes a page and the file to hand to a worker; the file is closed by who
// called. half says that models may come for the float16 kernel too.
func New(device int, half bool) (*Page, *os.File, error) {
	fd, err := unix.MemfdCreate("weir-gpu", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "weir-gpu")
	if err := f.Truncate(Size); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("size the page: %w", err)
	}
	// What cannot shrink cannot fault on who reads it.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("seal the page: %w", err)
	}
	p, err := mapped(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	p.version, p.Control.Device = version, uint32(device)
	if half {
		p.Control.Half = 1
	}
	return p, f, nil
}

// Open maps the page that a worker was handed.
func Open(f *os.File) (*Page, error) {
	p, err := mapped(f)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func mapped(f *os.File) (*Page, error) {
	memory, err := unix.Mmap(int(f.Fd()), 0, int(Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the page: %w", err)
	}
	return over(memory), nil
}

// Close gives the memory back. Nothing of the page may be used after it.
func (p *Page) Close() error { return unix.Munmap(p.memory) }

// The operations of a futex between processes; the private ones are not.
const (
	futexWait = 0
	futexWake = 1
)

// Wait waits until the word is no longer old, and returns what it is: old where that
// does not come within limit. It looks at the word for spin before it sleeps.
func (w *Word) Wait(old uint32, spin, limit time.Duration) uint32 {
	if v := w.v.Load(); v != old {
		return v
	}
	start := time.Now()
	for n := 1; spin > 0; n++ {
		if v := w.v.Load(); v != old {
			return v
		}
		if n&63 == 0 && time.Since(start) > spin {
			break
		}
	}
	for {
		left := limit - time.Since(start)
		if left <= 0 {
			return w.v.Load()
		}
		ts := unix.NsecToTimespec(int64(left))
		// Its errors are a changed word, a signal and the time: each is seen here.
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&w.v)), futexWait, uintptr(old), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if v := w.v.Load(); v != old {
			return v
		}
	}
}

// wake wakes all who sleep on a word: nobody may be there twice, but a test may.
func wake(v *atomic.Uint32) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(v)), futexWake, 1<<30, 0, 0, 0)
}
