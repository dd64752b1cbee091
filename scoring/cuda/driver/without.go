//go:build !linux || !(amd64 || arm64) || nogpu

package driver

// Load returns ErrUnsupported.
func Load(path string) (*Library, error) { return nil, ErrUnsupported }

// Call returns ErrUnsupported.
func (f *Func) Call(args ...uintptr) error { return ErrUnsupported }
