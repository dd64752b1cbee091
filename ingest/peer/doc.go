// Package peer is what weir measures itself against: the service that a good Go
// engineer writes in a day for the same work. It reads transactions with
// kafka-go's group Reader, decodes them with encoding/json, keeps the Handbook's
// windows in maps of sorted slices, scores with gonum, writes decisions as JSON with
// kafka-go's Writer in batches of 1,000 or 5 ms, and commits its offsets each
// second. It is fast for what it is and wrong in the usual ways: partitions
// drift apart on catch-up, which only the delay of the Handbook's terminal windows
// hides; a crash decides twice; ids that nobody labels stay in memory.
//
// One goroutine reads, one decides and writes. It is not part of the service.
package peer
