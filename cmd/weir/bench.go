package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

var benchCommand = &command{
	name: "bench", args: "KIND [flags]", summary: "measure weir on this machine",
	about: `Starts what it needs: an embedded broker in memory and in a process of its own,
on another core where there is one, and the processes that it measures. CPU is
the kernel's account of the measured process alone; nothing is read from a clock
but rates and latencies. Without a KIND it lists them.`,
	examples: []string{
		"weir bench                            # the kinds of measurement",
		"weir bench peers --records 100000     # a quick look",
		"weir bench latency --help",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error { return runBench },
}

// benchKinds are the measurements, each a command of its own.
func benchKinds() []*command {
	return []*command{benchPipeline, benchLatency, benchPeers, benchFeatures, benchScore, benchConsume, benchHistoryCommand, benchRestart, benchDesk, benchDevice}
}

func runBench(_ context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return usagef("there is no measurement %q; weir bench lists them", args[0])
	}
	e.printf("%s", benchOverview())
	return nil
}

func benchOverview() string {
	var b strings.Builder
	b.WriteString("Usage: weir bench KIND [flags]\n")
	for _, k := range benchKinds() {
		fmt.Fprintf(&b, "\n%s: %s\n", strings.TrimPrefix(k.name, "bench "), k.summary)
		for _, x := range k.examples {
			fmt.Fprintf(&b, "  %s\n", x)
		}
	}
	return b.String()
}
