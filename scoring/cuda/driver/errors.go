package driver

import (
	"errors"
	"fmt"
)

// Why there is no driver to call.
var (
	ErrNoLibrary = errors.New("no NVIDIA driver")
	ErrNoSymbol  = errors.New("the NVIDIA driver lacks functions that weir calls")
	// ErrUnsupported is that of a build without purego.
	ErrUnsupported = errors.New("this build of weir has no GPU support")
)

// Error is a CUresult other than success.
type Error struct {
	Call string
	Code int
}

// The results that are told apart; cuda.h names them CUDA_ERROR_....
const (
	OutOfMemory = 2
	StubLibrary = 34
	OldDriver   = 35
	NoDevice    = 100
	BadDevice   = 101
	NoImage     = 209
	NewPTX      = 222
	NotReady    = 600
	LaunchFault = 719
	Mismatch    = 803
)

var names = map[int]string{
	1: "invalid value", OutOfMemory: "out of memory", 3: "not initialised", 4: "shutting down",
	StubLibrary: "a stub stands in for the driver", OldDriver: "driver too old", NoDevice: "no device", BadDevice: "no such device",
	200: "invalid kernel image", 201: "invalid context", NoImage: "no kernel for this GPU", 214: "uncorrectable memory error",
	218: "invalid PTX", NewPTX: "PTX newer than the driver", 400: "invalid handle", 500: "not found", NotReady: "not ready",
	700: "illegal address", 701: "too many resources for a launch", 702: "launch timed out", 709: "context destroyed", 710: "assertion",
	712: "memory is pinned already", 714: "hardware stack error", 715: "illegal instruction", 716: "misaligned address",
	717: "invalid address space", 718: "invalid program counter", LaunchFault: "launch failed", 800: "not permitted",
	801: "not supported", 802: "system not ready", Mismatch: "driver and kernel module differ", 804: "forward compatibility is not supported",
	999: "unknown error",
}

func (e *Error) Error() string {
	name, ok := names[e.Code]
	if !ok {
		name = "error"
	}
	return fmt.Sprintf("%s: %s (%d)", e.Call, name, e.Code)
}

// Code returns the CUresult that an error is of, 0 where it is of none.
func Code(err error) int {
	if e, ok := err.(*Error); ok { // the usual case, which allocates nothing
		return e.Code
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// Lost reports whether the error has cost the process its device: every later call
// in it fails, and only another process can go on.
func Lost(err error) bool {
	switch Code(err) {
	case 4, 214, 700, 702, 709, 710, 714, 715, 716, 717, 718, LaunchFault, 999:
		return true
	}
	return false
}
