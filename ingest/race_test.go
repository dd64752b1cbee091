//go:build race

package ingest

// Under the race detector a sync.Pool drops what it is given at random, and the
// codecs' encoders and decoders are in pools: the tests that count allocations
// still walk the same code, and allow for that.
const raced = true
