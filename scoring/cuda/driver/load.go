//go:build linux && (amd64 || arm64) && !nogpu

package driver

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// Load opens the library at a path, or libcuda.so.1 where the path is empty, and
// resolves every function. It calls none of them.
func Load(path string) (*Library, error) {
	if path == "" {
		path = "libcuda.so.1"
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoLibrary, err)
	}
	l := &Library{}
	var missing []string
	for _, s := range l.symbols() {
		address, err := purego.Dlsym(handle, s.name)
		if err != nil {
			missing = append(missing, s.name)
		}
		*s.f = Func{address, s.name, &Error{s.name, NotReady}}
	}
	if missing != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoSymbol, missing)
	}
	return l, nil
}

// Call calls the function. It allocates on failure only, which not to be ready is not, if
// args is a slice that the caller keeps.
func (f *Func) Call(args ...uintptr) error {
	switch r, _, _ := purego.SyscallN(f.address, args...); int32(r) {
	case 0:
		return nil
	case NotReady:
		return f.pending
	default:
		return &Error{f.name, int(int32(r))}
	}
}
