// Package cuda scores on a GPU, and on the CPU wherever that is faster or the GPU has
// failed: the same bits either way, so that no decision depends on which it was, but
// where float16 arithmetic is asked for.
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
// and rows of edge values. A machine without a GPU, a driver or enough of either says so
// once, and the CPU serves.
//
// # Bits that go wrong while a GPU serves
//
// One row in 64 that the GPU scores is scored by the CPU too, while the GPU is at it, and
// compared before a score of the batch is handed out; where they differ the CPU scores the
// whole batch, and the worker is replaced. Of a large batch it is fewer, as many as the CPU
// scores in a quarter of the time that the GPU takes, and one at least. The rows are taken
// in turn through the places of a batch.
//
// So where every score comes out wrong, this is found in the first batch of 64 rows or
// more, none of whose scores is used, and in at most 64/n batches of n rows where they are
// smaller. A score that is wrong in one place only, of batches of n rows that are all of
// one size, is found within 64 of them, or at the latest, where one row of each is audited,
// within n. Where a share p of the scores is wrong at random it is found by a rows audited
// with a probability of 1-(1-p)^a: of one in a thousand, by 4,600 of them at 99 in 100,
// which are 300,000 rows in batches of 64.
//
// One row beside a batch of 64 took 1.4 us of CPU for a network of 64 by 64 and 8 members,
// where the batch would have taken 75 us, and 8.3 of 568 us for one of 256 by 256. A 64th
// alone would hold a fast GPU up: for that network a core scores 120,000 rows a second.
//
// Beside that, now and then a batch is scored on both (see router.go), for what it costs,
// and compared as well.
//
// # float16
//
// With Config.Half a model is packed for the tensor cores, which are faster by far where
// an ensemble is large. Its scores differ from the CPU's by no more than
// scoring.HalfBound, which is computed for a row, and the golden rows are held to that in
// place of the bits; an audit to what the median of them is allowed, or the row's own
// bound. So a device that gives wrong bits and stays as near as half precision would is
// not found out, in this arithmetic. The scorer says of each call in which arithmetic its
// scores are ([Scorer.Half]): what the CPU scored, be it for a fault or because it is done
// there first, is float32, and a matrix is all of one. A model without a second hidden
// layer has no matrix for tensor cores, and is scored in float32 on the GPU.
//
// # Words
//
//	slot    room for a model on the device; there are three, taken in order of opening
//	lane    room for a batch on its way; there are two, and one for golden rows
//	fault   why a worker is not used any more; link.Class says which kinds there are
//	probe   a batch, or its first rows, that is scored on the slower back end too
//	audit   rows that the GPU scores and the CPU too, to compare them
//
// The kernels and the layout of models and batches are scoring/cuda/kernels; the calls of
// the driver scoring/cuda/driver. scoring/cuda/fakedriver is a driver in C for tests
// where there is no GPU.
package cuda
