package main

import (
	"context"
	"flag"
	"os"

	"github.com/weir-risk/weir/scoring/cuda/worker"
)

var gpuWorkerCommand = &command{
	name: "gpu-worker", summary: "hold the GPU for another weir, which starts this", hidden: true,
	about: `Weir starts this itself, with shared memory as descriptor 3, and ends it. The driver of
the GPU is loaded in it and nowhere else, so that what goes wrong there costs weir a
process that can be replaced. WEIR_LIBCUDA names another library than libcuda.so.1.`,
	examples: []string{"weir gpu-worker"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, _ []string) error {
			library, _ := e.lookup("WEIR_LIBCUDA")
			if _, err := os.Stat("/proc/self/fd/3"); err != nil {
				return usagef("weir starts this itself, with shared memory as descriptor 3")
			}
			return exitCode(worker.Main(library))
		}
	},
}
