// Package link is the memory that the scorer shares with its GPU worker, and the
// protocol of the two over it. The scorer's process makes a [Page] and hands it to
// the worker, a process of its own that holds the driver, so that a crash or a hang
// in there takes nobody else along.
//
// # What lies where
//
// A page is one sealed memfd, which neither side can shrink under the other:
//
//	Control           states and words, below
//	lanes             Lanes times {batch, scores, done word}, each part on its own pages
//	image             a model on its way to the device
//
// A lane holds one batch at a time: a header that the worker writes, behind it the
// rows that the scorer writes, [BatchBytes] in all; the scores of up to [RowsMax]
// rows; and the word in which the kernel says that it is done. All of it but the
// image is pinned and mapped into the device where the driver allows that, so that
// the scorer writes a batch there once and the device reads it where it lies.
//
// What the scorer writes is a copy of the step's matrix. The matrix itself does not lie
// in a page: the worker and the device can write to a page, and one that has gone mad may
// write anywhere in it, where the step's matrix is what the CPU scores in their place
// and what goes into the ledger. Features that were changed under way would be scored
// alike on both sides, and no audit would see it. That a failed GPU costs nothing but
// speed hangs on this copy. It takes 0.1 to 0.2 us for 64 rows of 64 columns, and 7 to 15
// ns a row for larger batches: a hundredth of what a row takes in all, or less.
//
// # Words
//
// Every word has one writer. One that is waited for is a futex, in a cache line of
// its own; who writes it wakes whoever sleeps on it. Plain fields belong to the side
// that is to move next, and what was written before a word is seen by who read it.
//
//	State     worker  Starting; then Ready, or Failed with Fault, and the process ends
//	Bell      scorer  counts requests of any lane: the worker sleeps on it
//	Request   scorer  of a lane: the batch's number, never 0 and never the one before;
//	                  nobody sleeps on it
//	Answer    worker  of a lane: the number again, when Fault and scores are written
//	Upload    scorer  counts models to be loaded: the worker's loader sleeps on it
//	Uploaded  worker  the count again, when the model is on the device, or Fault says why not
//
// # What happens
//
// The worker opens the device, loads the kernels, and says Ready. The scorer writes a
// model's image, names a slot of it, and counts Upload on; it may use the slot once
// Uploaded follows without a fault, and may not write another model into a slot that
// a batch still names. For a batch it takes a lane, writes the rows and the lane's
// fields, then Request, and rings. The worker launches, waits for the device's own
// done word, and answers.
//
// A fault in an answer is the worker's last word: it ends after it, and its state of
// the device with it. A worker that does not answer within the scorer's deadline is
// killed. Either way the page goes with it: a device that still writes into a dead
// worker's page must not meet the next one's batch, so the next worker gets a page
// of its own. Once a worker has ended the scorer writes Gone into the words that are
// waited for.
//
// The worker's standard input is a pipe that the scorer never writes to: it ends when
// the scorer does, however that ended, and the worker with it. What the worker says on
// its standard error goes into the scorer's log.
package link
