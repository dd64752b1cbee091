package kernels

import _ "embed" // the code

var (
	//go:embed score.ptx
	ptx []byte
	//go:embed score.sm_90.cubin
	cubin []byte
)

// PTX returns the kernels' module for any GPU of compute capability 8.0 or later,
// which the driver compiles when it loads it: ISA 8.0, for drivers from r525 on.
func PTX() []byte { return ptx }

// Cubin returns the same module as machine code for GPUs of compute capability 9.0.
func Cubin() []byte { return cubin }
