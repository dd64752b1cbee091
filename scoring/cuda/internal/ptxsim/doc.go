// Package ptxsim runs PTX on a machine without a GPU, to test kernels by the very
// code that ships.
//
// [Parse] turns a module's text into kernels, [Memory] is a device's memory, and
// [Kernel.Launch] runs a grid: out come the bytes that a GPU would leave in
// memory, or an error that names kernel, block, thread and instruction. It is for tests
// only, and knows the instructions that weir's kernels are compiled to; another
// one is an error when the module is parsed.
//
// # What it finds
//
//   - An access outside every allocation, in the wrong address space, or not
//     aligned; a store to memory that is only read, and the reverse.
//   - A read of shared memory that nobody wrote, and of a register on a path on which
//     nothing was written to it.
//   - A race in shared memory: two threads, one of them writing, at one word with no
//     barrier of the block between them, in whatever order they came.
//   - A race in global memory: a word that one thread writes is no other
//     thread's in the launch, atomics apart.
//   - A barrier that not all of a block's threads reach, and an instruction of a
//     whole warp to which its threads do not come together.
//   - What tells the host that a batch is done, and does so too early: an atomic while
//     a thread of the block has stores that no fence of the system has made
//     visible, a store of another thread behind its block's atomic, and any store
//     behind that to memory marked [Signal].
//
// # How
//
// A warp runs as one: an instruction is a closure over all lanes that are on, and
// where they part, those that are behind go first. Registers are assigned to
// slots by liveness, so that a warp's live values stay in the cache. Blocks run
// on all processors. Arithmetic is float32 with subnormals, each operation
// rounded once, and a NaN result is the GPU's; nothing is approximated, so an
// instruction that a GPU approximates is not simulated.
//
// Not modelled: time, the weakness of the memory model beyond the rules above,
// the assembler that makes machine code of PTX.
package ptxsim
