//go:build !dst

package ingest

import "fmt"

// seedRuntime does nothing where the runtime is Go's own: the order of goroutines that
// are ready at once, and of a map's keys, is then another each time.
func seedRuntime(uint64) {}

// simReplay says how a seed is run again.
func simReplay(seed uint64) string {
	return fmt.Sprintf("its goroutines ran in an order of Go's own; with one of the seed: make dst WEIR_SEED=%d WEIR_SEEDS=1", seed)
}

// simBlock returns the seed to begin with.
func simBlock(seed uint64) uint64 { return seed }

func simSay(string, ...any) {}
