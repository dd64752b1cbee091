// Package worker is the process that holds the GPU: weir gpu-worker, which weir
// starts from its own binary and talks to as scoring/cuda/link says. An image says itself
// for which of the two kernels it is; that of float16 is loaded where the page asks for it.
//
// [Main] opens the device ([driver.Load] and what follows), tells the scorer that it
// is ready, and then has two threads: one launches batches and looks for their end, one
// puts models into their slots. All memory is taken and every graph is built before the
// first batch; nothing is allocated, freed or unloaded while batches run, since the
// driver would wait for them.
//
// A batch is one graph launch: the kernel reads header and rows where the scorer wrote
// them, in pinned memory, and writes the scores and then the batch's number there. The
// thread looks at that number, and asks the driver for errors every few thousand looks.
// Whatever error comes, the process answers with it and ends: it is cheap to replace
// and, after most errors of CUDA, cannot go on.
package worker
