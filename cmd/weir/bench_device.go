package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cuda"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

var benchDevice = &command{
	name: "bench device", summary: "the GPU beside the CPU: bits, latency and rows a second of batches, models swapped under load", json: true,
	about: `Two networks that nobody trained: shipped has the shape of those that weir train makes,
wide two layers of 256; both have 8 members. Each is scored on the GPU that --device
names and, in the same run, on one core. Compared are the bits of --rows rows. The
latency of a batch runs from its rows in the scorer's memory to its scores there: copy,
hand-over to the GPU's process, launch and answer. Rows a second are with every lane
full, as weir score fills them, the probes of the router included. Then --swaps bundles
replace one another while batches are scored, each compared with its own model's bits.

With --load a batch of the first of --tiers is scored over and over for so long, as weir
score does it, while whoever likes disturbs the GPU or its process, and nothing else is
measured: what counts is that each score is right, and how late the last one was.

With --arithmetic float16 the GPU scores on its tensor cores. Then a score is wrong that
is off by 1e-3 or more from the CPU's, and the largest difference is measured.
It exits with 1 where --device cuda asks for a GPU that does not score, where a bit
differs, and where the GPU fails outside --load; what is measured by then is reported.`,
	examples: []string{
		"weir bench device --device cuda --json",
		"weir bench device --device cuda --rows 10000000 --seconds 5",
		"weir bench device --device cuda --networks shipped --tiers 1024 --load 10s",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &gpuBench{device: addDevice(fs)}
		b.device.addArithmetic(fs, "arithmetic", "`ARITHMETIC` of the GPU: float32 or float16")
		fs.IntVar(&b.rows, "rows", 1_000_000, "`NUMBER` of rows whose bits are compared")
		fs.Float64Var(&b.seconds, "seconds", 2, "`SECONDS` for each latency and each rate")
		fs.IntVar(&b.swaps, "swaps", 100, "`NUMBER` of bundles that are swapped")
		fs.DurationVar(&b.load, "load", 0, "score for so much `TIME` as weir score does, and measure nothing else")
		fs.StringVar(&b.networkNames, "networks", "shipped,wide", "`LIST` of the networks that are measured")
		fs.StringVar(&b.tierNames, "tiers", "64,256,1024,4096", "`LIST` of sizes of batches")
		return func(ctx context.Context, e *env, _ []string) error { return b.run(ctx, e) }
	},
}

// gpuBench is one run of the measurement, and its report.
type gpuBench struct {
	device                  *deviceFlags
	rows, swaps             int
	seconds                 float64
	load                    time.Duration
	networkNames, tierNames string
	tiers                   []int
	gpu                     *cuda.Device // nil: the CPU alone is measured

	GPU      *cuda.Info   `json:"gpu,omitempty"`
	Reason   string       `json:"reason,omitempty"` // why there is no GPU
	Module   string       `json:"kernel_module,omitempty"`
	Kernel   string       `json:"arithmetic"` // of the GPU
	CPU      string       `json:"cpu"`
	Cores    int          `json:"cores"`
	Program  version      `json:"program"`
	Networks []gpuNetwork `json:"networks"`
	Error    string       `json:"error,omitempty"` // why the rest was not measured
}

// gpuNetwork is a network and what was measured of it.
type gpuNetwork struct {
	Name    string `json:"name"`
	Columns int    `json:"columns"`
	Hidden  []int  `json:"hidden"`
	Members int    `json:"members"`
	model   *scoring.Model

	Bits  *gpuBits  `json:"bits,omitempty"`
	Tiers []gpuTier `json:"tiers,omitempty"`
	Swaps *gpuSwaps `json:"swaps,omitempty"`
	Load  *gpuLoad  `json:"load,omitempty"`
}

// benchNetworks are the networks that can be measured: the first has about as many
// columns as the payments spec has features.
var benchNetworks = []gpuNetwork{
	{Name: "shipped", Columns: 64, Hidden: []int{64, 64}, Members: 8},
	{Name: "wide", Columns: 64, Hidden: []int{256, 256}, Members: 8},
}

func (b *gpuBench) run(ctx context.Context, e *env) error {
	if err := b.choose(); err != nil {
		return err
	}
	program, err := versionOf()
	if err != nil {
		return err
	}
	b.Kernel = b.device.arithmetic.String()
	b.CPU, b.Cores, b.Program, b.Module = program.Backend, runtime.GOMAXPROCS(0), program, kernelModule()
	if err := b.open(ctx, e); err != nil {
		return err
	}
	if b.gpu != nil {
		defer b.gpu.Close()
	}
	b.printMachine(e)
	wrong := b.device.device.gpu && b.GPU == nil
	for i := range b.Networks {
		if wrong {
			break
		}
		n := &b.Networks[i]
		n.model = ensemble(1, n.Columns, n.Members, n.Hidden...)
		err := b.measure(ctx, e, n)
		n.print(e)
		if err != nil { // what was measured until then is reported
			b.Error = fmt.Sprintf("%s network: %v", n.Name, err)
			fmt.Fprintf(e.stderr, "weir bench device: %s\n", b.Error)
		}
		wrong = n.wrong() > 0 || err != nil
	}
	if err := e.report(b); err != nil {
		return err
	}
	if wrong {
		return errFound
	}
	return nil
}

// choose reads the lists of the flags.
func (b *gpuBench) choose() error {
	if b.rows < 0 || b.seconds <= 0 || b.swaps < 0 || b.load < 0 || b.device.deadline <= 0 {
		return usagef("--seconds and --device-deadline are above 0, --rows, --swaps and --load not below")
	}
	for name := range strings.SplitSeq(b.networkNames, ",") {
		i := slices.IndexFunc(benchNetworks, func(n gpuNetwork) bool { return n.Name == name })
		if i < 0 {
			return usagef("--networks: there is no network %q, only shipped and wide", name)
		}
		b.Networks = append(b.Networks, benchNetworks[i])
	}
	for text := range strings.SplitSeq(b.tierNames, ",") {
		rows, err := strconv.Atoi(text)
		if err != nil || rows < 1 || rows > link.RowsMax {
			return usagef("--tiers: %q is not from 1 to %d", text, link.RowsMax)
		}
		b.tiers = append(b.tiers, rows)
	}
	return nil
}

// kernelModule says which module of the system drives the GPU, as far as it says so.
func kernelModule() string {
	text, _ := os.ReadFile("/proc/driver/nvidia/version")
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.Join(strings.Fields(strings.TrimPrefix(line, "NVRM version:")), " ")
}

// open opens the GPU that the flags name; b.gpu stays nil where there is none.
func (b *gpuBench) open(ctx context.Context, e *env) error {
	which := b.device.device
	switch {
	case which.auto && !e.mayHaveGPU():
		b.Reason = "this machine has no NVIDIA GPU"
		return nil
	case !which.auto && !which.gpu:
		b.Reason = "--device cpu"
		return nil
	}
	// What was found is printed; the log is for what goes wrong.
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d := cuda.Open(cuda.Config{Ordinal: which.ordinal, Always: true, Half: b.device.arithmetic.half, Deadline: b.device.deadline, Log: log})
	if err := d.Await(ctx, cuda.Serving, cuda.Waiting, cuda.Absent); err != nil {
		d.Close()
		return err
	}
	st := d.Stats()
	if st.State != cuda.Serving {
		b.Reason = st.Reason
		d.Close()
		return nil
	}
	b.gpu, b.GPU = d, &st.Device
	return nil
}

// measure measures one network.
func (b *gpuBench) measure(ctx context.Context, e *env, n *gpuNetwork) (err error) {
	if b.load > 0 {
		if b.gpu == nil {
			return fmt.Errorf("--load needs a GPU: %s", b.Reason)
		}
		n.Load, err = b.underLoad(ctx, e, n.model)
		return err
	}
	if b.gpu != nil && b.rows > 0 {
		if n.Bits, err = b.compareBits(ctx, n.model); err != nil || n.Bits.Differences > 0 {
			return err
		}
	}
	for _, rows := range b.tiers {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := b.tier(n.model, rows)
		if err != nil {
			return fmt.Errorf("%d rows: %w", rows, err)
		}
		n.Tiers = append(n.Tiers, t)
	}
	if b.gpu != nil && b.swaps > 0 {
		n.Swaps, err = b.swap(ctx, n)
	}
	return err
}

// wrong counts what may not be: bits that differ, and batches that failed.
func (n *gpuNetwork) wrong() int {
	count := 0
	if n.Bits != nil {
		count += n.Bits.Differences
	}
	if n.Swaps != nil {
		count += n.Swaps.Failed + n.Swaps.Wrong
	}
	if n.Load != nil {
		count += n.Load.Wrong
	}
	return count
}

func (b *gpuBench) printMachine(e *env) {
	e.printf("weir  %s %s, engine %.12s, %s\n", b.Program.Version, b.Program.Revision, b.Program.Engine, b.Program.Go)
	e.printf("CPU   %s, %d cores\n", b.CPU, b.Cores)
	if b.GPU == nil {
		e.printf("GPU   none: %s\n", b.Reason)
		return
	}
	e.printf("GPU   %d: %s, compute capability %.1f, driver of CUDA %s %s\n", b.GPU.Ordinal, b.GPU.Name, b.GPU.Capability, b.GPU.Driver, b.Module)
}

func (n *gpuNetwork) print(e *env) {
	e.printf("\n%s: %d columns, hidden %v, %d members\n", n.Name, n.Columns, n.Hidden, n.Members)
	if s := n.Bits; s != nil {
		e.printf("%s rows in %.1f s: %d scores are wrong, the largest difference is %.2g\n", thousands(int64(s.Rows)), s.Seconds, s.Differences, s.Largest)
	}
	if len(n.Tiers) > 0 {
		e.printf("%6s  %-4s %10s %10s %10s %14s\n", "rows", "", "p50 us", "p99 us", "p99.9 us", "rows/s")
	}
	for _, t := range n.Tiers {
		if t.GPU != nil {
			t.GPU.print(e, t.Rows, "GPU")
		}
		t.CPU.print(e, t.Rows, "CPU")
	}
	if s := n.Swaps; s != nil {
		e.printf("%d bundles swapped over %d batches of %d rows: %d failed, %d wrong; p99 %.1f us, without swaps %.1f us; a bundle on the GPU after %.1f ms\n",
			s.Swaps, s.Batches, s.Rows, s.Failed, s.Wrong, s.During.P99, s.Without.P99, s.LoadP50)
	}
	if l := n.Load; l != nil {
		e.printf("%d batches of %d rows, %d of them on the GPU: %d wrong, %d fell to the CPU, faults %v, the GPU back %d times, last after %.0f ms; the longest batch %.1f ms\n",
			l.Batches, l.Rows, l.OnGPU, l.Wrong, l.Fallbacks, l.Faults, l.Recoveries, l.Recovery, l.Longest)
	}
}

func (f *gpuFigures) print(e *env, rows int, name string) {
	e.printf("%6d  %-4s %10.1f %10.1f %10.1f %14s\n", rows, name, f.P50, f.P99, f.P999, thousands(int64(f.Rate)))
}
