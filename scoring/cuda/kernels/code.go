package kernels

import _ "embed" // the code

var (
	//go:embed f32.ptx
	ptx []byte
	//go:embed f32.sm_90.cubin
	cubin []byte
	//go:embed f16.ptx
	ptxF16 []byte
	//go:embed f16.sm_90.cubin
	cubinF16 []byte
)

// PTX returns the module of the float32 kernel for any GPU of compute capability
// 8.0 or later, which the driver compiles when it loads it: ISA 8.0, for drivers
// from r525 on.
func PTX() []byte { return ptx }

// Cubin returns the same module as machine code for GPUs of compute capability 9.0.
func Cubin() []byte { return cubin }

// PTXF16 is PTX of the tensor-core kernel.
func PTXF16() []byte { return ptxF16 }

// CubinF16 is Cubin of the tensor-core kernel.
func CubinF16() []byte { return cubinF16 }
