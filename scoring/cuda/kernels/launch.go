package kernels

import "encoding/binary"

// Of a launch.
const (
	// Entry is the float32 kernel's name in its module, Threads the size of a block.
	Entry   = "weir_score_f32"
	Threads = 128
	// EntryF16 and ThreadsF16 are the tensor-core kernel's.
	EntryF16   = "weir_score_f16"
	ThreadsF16 = 256
	// ScratchBytes is the device memory that launches which never overlap share,
	// zero before the first.
	ScratchBytes = 256
	// HeaderBytes is the size of a batch's header.
	HeaderBytes = 64
)

// blocksMax is four blocks on each of an H100's 132 processors: as many as
// registers and shared memory hold at once.
const blocksMax = 528

// Grid returns the number of blocks that serves up to so many rows fast.
func Grid(rows int) int { return min(max(rows, 1), blocksMax) }

// PutHeader writes a batch's header into the first HeaderBytes of b: model is the
// device address of the model's image.
func PutHeader(b []byte, model uint64, rows, columns int, seq uint64) {
	b = b[:HeaderBytes]
	clear(b)
	binary.LittleEndian.PutUint64(b, model)
	binary.LittleEndian.PutUint32(b[8:], uint32(rows))
	binary.LittleEndian.PutUint32(b[12:], uint32(columns))
	binary.LittleEndian.PutUint64(b[16:], seq)
}
