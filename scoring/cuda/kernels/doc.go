// Package kernels is the contract between the GPU's code and the host that
// launches it: how a model lies in device memory, how a batch does, and with
// what arguments a kernel is launched.
//
// In go a [scoring.Model] ([Pack] makes its image) and batches ([PutHeader]
// begins one); what is done with them on a device, and by which driver, is the
// host's part, scoring/cuda. The package has no clock and does no I/O.
//
// There are two kernels, each in a module of its own. weir_score_f32 ([PTX],
// [Cubin], [Entry], [Threads]) gives the bits that scoring/doc.go defines, and
// serves. weir_score_f16 ([PTXF16], [CubinF16], [EntryF16], [ThreadsF16]) rounds
// the inputs of matrices, and the matrices, to half precision, so that tensor
// cores multiply them: for backtests and large ensembles. Its scores differ by less
// than 1e-3 on networks of the size that ships, drawn and trained, usually by less
// than 1e-4. A deep network without an ensemble, or one whose outputs are large, can
// be off by more, so the difference is to be measured on a model's own rows, and no
// decision rests on it unasked. [scoring.HalfBound] is what it cannot exceed.
//
// The sources are f32.cu, f16.cu and common.cuh; compile.py compiles them.
//
// # Launch
//
//	weir_score_f32(const void *batch, void *scratch, float *out, unsigned long long *done)
//
// The grid is [Grid](rows, 1, 1), the block is ([Threads], 1, 1), and no dynamic
// shared memory is asked for. weir_score_f16 takes the same, with its own images and
// its own size of a block. Any grid of one block or more gives the same bits: blocks
// share out the rows that the batch's header names, so that a graph made for a
// tier of rows serves every smaller batch with that tier's grid, and [Grid] is
// only what is fast. The model's shape does not matter to the launch.
//
// scratch is [ScratchBytes] of device memory, zero before the first launch. The
// kernel leaves it as it found it, so it is never cleared again, and never used
// by two launches at once: one scratch for each batch in flight.
//
// The kernel writes the score of each row to out, and then, once every score can be
// seen by the host, the batch's seq to done. Both are meant to be mapped host
// memory, out with room for a float32 for each row, done 8-byte aligned. Nothing is written to out
// behind the batch's rows. A batch of 0 rows writes its seq and nothing else.
//
// # A batch
//
// One block of memory, little-endian, 16-byte aligned, that both sides read and
// only the host writes: a header of [HeaderBytes], and the rows.
//
//	byte  0  uint64  device address of the model's image
//	byte  8  uint32  rows
//	byte 12  uint32  columns, those of the model
//	byte 16  uint64  seq, which is written to done
//	byte 24          zero up to byte 64
//	byte 64  float32 rows x columns, row after row; NaN is missing
//
// The header names the model, so changing the model is writing another address
// into the next header. An image may be overwritten once every batch that named
// it is done.
//
// # The image of a model
//
// Little-endian, position independent, for an address that is a multiple of 256.
// It begins with 64 uint32; offsets are in bytes from the image's beginning and
// multiples of 256. A width is padded to a multiple of 16, and what is padded is
// zero: such columns end as h = 0 with a weight of 0.
//
//	word  0    0x72696577, the letters "weir"
//	word  1    format: 1 of Pack, 2 of PackF16
//	word  2    bytes of the image
//	word  3    columns of a row
//	word  4    inputs
//	word  5    W, the padded width of the encoding
//	word  6    members
//	word  7    hidden layers
//	word  8    steps of a bisection that tells the segments of any input apart:
//	           the smallest s such that no input has more than 2^s
//	word  9    the largest padded width of encoding and hidden layers
//	word 10    offset of the inputs
//	word 11    offset of the edges
//	word 12    offset of the table
//	word 13    offset of the output weights
//	word 14    offset of the biases
//	word 15    padded width of the last hidden layer, 0 where there is none
//	word 16+4l hidden layer l: its padded width, offset of its matrix (0 of the
//	           first), offset of its adapters, 0
//	word 48    zero up to word 64
//
// Inputs are 12 words each, in the order in which they are summed:
//
//	word 0  uint32   column
//	word 1  uint32   1 to take the signed logarithm first, else 0
//	word 2  uint32   place of Edges[0] among the edges, in words
//	word 3  uint32   segments n: 1 of a linear input
//	word 4  uint32   place of segment 0's row in the table, in rows
//	word 5  uint32   segment of a missing value: n, or 0 of a linear input
//	word 6  float32  u of a missing value: 0 unless the input is linear
//	word 7  float32  Mean
//	word 8  float32  Inv
//	word 9  float32  Lo
//	word 10 float32  Hi
//	word 11          zero
//
// A linear input is a table of one segment that begins at +0 and has a prefix of
// -0, since z - (+0) is z and acc + (-0) is acc, bit for bit. So every input is
//
//	b = how many j in 1..n-1 have Edges[j] <= z;  u = z - Edges[b]
//	missing: b = word 5, u = word 6
//	acc[j] = fma(u, slope[j], acc[j] + prefix[j]) of row word 4 + b
//
// The rest are float32:
//
//	edges     of the inputs one after another, n each
//	table     rows of 2W: prefix, then slope
//	matrix    of layer l: a row of its padded width for each padded input
//	adapters  of layer l: for each member S, B, and the R of the next layer
//	          (ones in the last), each of the layer's padded width
//	output    a row of the last layer's padded width for each member
//	biases    one for each member
//
// # The image of PackF16
//
// The same but for the matrices, which are of half precision and in the order in
// which tensor cores take them. Inputs and weights of a layer are scaled by powers
// of two such that neither overflows for any row ([scoring.Model.Reach]); the R
// before the matrix and the S behind it have the scales in them. The halves of
// a matrix of width W are, for each 16 inputs from i on, for each 16 columns from j on,
// for each lane of 32, for each word q of 4:
//
//	inputs i + 8*(q%2) + 2*(lane%4) and the next, of column j + 8*(q/2) + lane/4
package kernels
