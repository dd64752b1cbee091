//go:build dst

package ingest

import (
	"fmt"
	_ "unsafe" // for go:linkname
)

// simState is the runtime's, which deploy/dst patches.
//
//go:linkname simState runtime.simState
var simState uint64

// kfakeRandom is how much of what kfake drew in advance is spent.
//
//go:linkname kfakeRandom github.com/twmb/franz-go/pkg/kfake.randPoolAt
var kfakeRandom int

// seedRuntime has the runtime draw from a seed, and nothing interrupt what runs; 0 ends it.
func seedRuntime(seed uint64) {
	kfakeRandom = 4 << 10
	if seed != 0 {
		seed = seed*0x9e3779b97f4a7c15 | 1
	}
	simState = seed
}

// simReplay says how a seed is run again.
func simReplay(seed uint64) string {
	return fmt.Sprintf("make dst WEIR_SEED=%d WEIR_SEEDS=1", seed)
}

// simBlock returns the seed to begin with: a seed comes to the same where its process
// has come to it by those of its block, as deploy/dst deals them out.
func simBlock(seed uint64) uint64 {
	const block = 20
	return seed - (seed-1)%block
}

// simSay tells deploy/dst of a seed that has passed.
func simSay(format string, args ...any) { fmt.Printf(format+"\n", args...) }
