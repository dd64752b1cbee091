// Package cuda scores on a GPU, and on the CPU wherever that is faster or the GPU has
// failed: the same bits either way, so that no decision depends on which it was.
//
// [Open] begins to use a [Device], [Device.Scorer] puts a model on it, and the [Scorer]
// keeps the contract of scoring.Scorer whatever happens to the GPU. A Device may be
// used by any goroutine, a Scorer by one at a time.
//
// # Who does what
//
// The driver runs in a process of its own, weir gpu-worker (scoring/cuda/worker), that
// scoring/cuda/link talks to over shared memory. A Device has one goroutine, the
// supervisor: it alone starts and ends workers, loads models into the slots of the
// device, and has their golden rows scored. Two more belong to each worker and end with
// it: one waits for the process, one puts what it says into the log. Batches are sent
// and awaited by the goroutine that calls Score. Close ends the supervisor, and it the
// worker; the worker ends by itself where weir was killed.
//
//	Score ── router ─┬─ CPU
//	                 └─ lane of the page ── worker ── graph launch ── kernel
//	                        └─ fault, or no answer within the deadline: CPU, and a new worker
//
// # What a fault costs
//
// A batch that meets a fault is scored by the CPU: late by no more than the deadline. The
// worker is not used again; the supervisor replaces it at once, and with growing pauses
// where that does not help. A worker takes traffic when it has scored the golden rows of
// each model, in batches of every size, to the bits of the CPU: the bundle's self-test
// and rows of edge values. Beside that, now and then a batch is scored on both (see
// router.go), for its cost; the two are compared too, so that a device that goes wrong
// while it serves is found within as many batches. A machine without a GPU, a driver or
// enough of either says so once, and the CPU serves.
//
// # Words
//
//	slot    room for a model on the device; there are three, taken in order of opening
//	lane    room for a batch on its way; there are two, and one for golden rows
//	fault   why a worker is not used any more; link.Class says which kinds there are
//	probe   a batch, or its first rows, that is scored on the slower back end too
//
// The kernels and the layout of models and batches are scoring/cuda/kernels; the calls of
// the driver scoring/cuda/driver. scoring/cuda/fakedriver is a driver in C for tests
// where there is no GPU.
package cuda
