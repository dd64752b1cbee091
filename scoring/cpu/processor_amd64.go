//go:build !purego

package cpu

// The signatures of the kernels that there are several of: see their comments.
type (
	encodeKernel  func(u *float32, offset *int32, uStride int, inputs int, table *float32, slope int, c *float32, cStride int, rows int)
	sparseKernel  func(in *float32, inStride int, mask *uint64, maskStride int, w *float32, c *float32, cStride int, rows int, fresh int)
	productKernel func(a *float32, aStride int, inputs int, w *float32, wStride int, c *float32, cStride int, adapters *float32, width int, member *int)
)

// kernels are those for one kind of processor.
type kernels struct {
	name string
	// group is how many inputs prepare takes at once.
	group   int
	prepare func(x *float32, stream *float32, u *float32, offset *int32, groups, rows int)
	// strip is how many columns the widest of encoders and sparsers take; those that
	// take 32 columns come first, then 64 and so on.
	strip    int
	encoders []encodeKernel
	sparsers []sparseKernel
	// products by panels and rows; there are some of no fewer panels than fewest.
	products [5][]productKernel
	fewest   int
	// costs of an input to a row in each of the sparsers, where the dense product costs 10
	// for 32 columns: the fewer the columns, the longer each sum waits for itself.
	costs []int
}

// narrow are those for AVX2. Their costs were measured on Zen 4, 256 inputs and
// outputs, 0 to 70 % zeros; those of wide on Sapphire Rapids, 64 to 256 outputs.
var narrow = kernels{
	name: "avx2", group: 8, prepare: prepare, strip: 64,
	encoders: []encodeKernel{encode32, encode64},
	sparsers: []sparseKernel{sparse32, sparse64},
	products: [5][]productKernel{
		1: {3: gemm3x16, gemm4x16, gemm5x16, gemm6x16},
		2: {1: gemm1x32, gemm2x32, gemm3x32},
		4: {1: gemm1x64},
	},
	fewest: 1, costs: []int{14, 28},
}

// wide are those for AVX-512: a register is a panel, and there are twice as many.
var wide = kernels{
	name: "avx512", group: 16, prepare: prepareWide, strip: 128,
	encoders: []encodeKernel{encodeWide32, encodeWide64, encodeWide96, encodeWide128},
	sparsers: []sparseKernel{sparseWide32, sparseWide64, sparseWide96, sparseWide128},
	products: [5][]productKernel{
		2: {1: gemmWide1x32, gemmWide2x32, gemmWide3x32, gemmWide4x32, gemmWide5x32, gemmWide6x32,
			gemmWide7x32, gemmWide8x32, gemmWide9x32, gemmWide10x32, gemmWide11x32, gemmWide12x32},
		4: {1: gemmWide1x64, gemmWide2x64, gemmWide3x64},
	},
	fewest: 2, costs: []int{35, 38, 48, 57},
}
