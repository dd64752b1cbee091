package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda"
	"github.com/weir-risk/weir/trainer"
)

var deviceCommand = &command{
	name: "device", summary: "say which devices can score here, and what a batch costs on each", json: true,
	about: `Opens each NVIDIA GPU as weir up and weir score do, and says what was found, or why it
will not do: the driver has to be r525 or later, the GPU of compute capability 8.0 or
later. Then it scores batches of several sizes on the CPU and on each GPU, and prints
what one costs, as a step of the scorer sees it, the hand-over to the GPU's process
included. The scores of a GPU are compared with the CPU's, bit for bit.

Without --bundle it measures a network of 64 features and two layers of 256 that nobody
trained. It exits with 1 where --device cuda asks for a GPU that does not score.
WEIR_LIBCUDA names another library than libcuda.so.1.`,
	examples: []string{"weir device", "weir device --bundle model.weir", "weir device --device cuda:1 --json"},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		d := &deviceRun{device: addDevice(fs)}
		fs.StringVar(&d.bundle, "bundle", "", "bundle `FILE` whose model is measured")
		return func(ctx context.Context, e *env, _ []string) error { return d.run(ctx, e) }
	},
}

// deviceRun is one run of weir device, and its report.
type deviceRun struct {
	device *deviceFlags
	bundle string

	model   *scoring.Model
	scorers []*cuda.Scorer

	CPU    string       `json:"cpu"`
	Reason string       `json:"reason,omitempty"` // why there is no GPU
	GPUs   []gpuFound   `json:"gpus"`
	Costs  []deviceCost `json:"costs"`
}

// gpuFound is one GPU.
type gpuFound struct {
	cuda.Info
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// deviceCost is what a batch costs, in microseconds: the median of many.
type deviceCost struct {
	Rows int       `json:"rows"`
	CPU  float64   `json:"cpu_us"`
	GPUs []float64 `json:"gpu_us"` // of each GPU that scores
}

// measuredRows are the sizes that are measured: small ones, and the tiers.
var measuredRows = []int{1, 16, 64, 256, 1024, 4096}

func (d *deviceRun) run(ctx context.Context, e *env) error {
	if err := d.load(); err != nil {
		return err
	}
	s, err := cpu.New(d.model)
	if err != nil {
		return err
	}
	d.CPU = s.Backend()
	devices, err := d.open(ctx, e)
	defer func() {
		for _, device := range devices {
			device.Close()
		}
	}()
	if err == nil {
		err = d.measure(s)
	}
	if err != nil {
		return err
	}
	if !e.json {
		d.print(e)
	}
	if err := e.report(d); err != nil {
		return err
	}
	if d.device.device.gpu && len(d.scorers) == 0 {
		return errFound
	}
	return nil
}

// load makes the model that is measured.
func (d *deviceRun) load() error {
	if d.bundle == "" {
		d.model = trainer.RandomModel(1, 64, 256, 256, 1)
		return nil
	}
	data, err := os.ReadFile(d.bundle)
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	b, _, err := readAnyBundle(bundleFile{d.bundle, data}) // nothing is decided by it
	if err != nil {
		return err
	}
	d.model = b.Model
	return nil
}

// open opens the GPUs that the flags name: one, or all there are.
func (d *deviceRun) open(ctx context.Context, e *env) (devices []*cuda.Device, err error) {
	// What is found is printed; the log is for what goes wrong on the way.
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	which := d.device.device
	switch {
	case which.auto && !e.mayHaveGPU():
		d.Reason = "this machine has no NVIDIA GPU"
		return nil, nil
	case !which.auto && !which.gpu:
		d.Reason = "--device cpu"
		return nil, nil
	}
	for n, count := which.ordinal, 1; n < count || n == which.ordinal; n++ {
		device := cuda.Open(cuda.Config{Ordinal: n, Deadline: max(d.device.deadline, time.Second), Log: log})
		devices = append(devices, device)
		if err := device.Await(ctx, cuda.Serving, cuda.Waiting, cuda.Absent); err != nil {
			return devices, err
		}
		st := device.Stats()
		if st.State != cuda.Serving {
			d.Reason = st.Reason
			d.GPUs = append(d.GPUs, gpuFound{cuda.Info{Ordinal: n}, st.State.String(), st.Reason})
			return devices, nil
		}
		scorer, err := device.Scorer(d.model, nil)
		if err != nil {
			return devices, err
		}
		d.GPUs = append(d.GPUs, gpuFound{st.Device, st.State.String(), ""})
		d.scorers = append(d.scorers, scorer)
		if which.auto {
			count = st.Device.Count
		}
	}
	return devices, nil
}

// measure scores batches of each size on each back end.
func (d *deviceRun) measure(s *cpu.Scorer) error {
	most := measuredRows[len(measuredRows)-1]
	x := scoring.Matrix{Data: make([]float32, most*d.model.Columns), Cols: d.model.Columns}
	for i := range x.Data {
		x.Data[i] = float32(i*7919%2003)/1000 - 1
	}
	want, out := make([]float32, most), make([]float32, most)
	for _, x.Rows = range measuredRows {
		c := deviceCost{Rows: x.Rows, GPUs: []float64{}}
		var err error
		if c.CPU, err = typical(func() (time.Duration, error) {
			start := time.Now()
			err := s.Score(x, want)
			return time.Since(start), err
		}); err != nil {
			return err
		}
		for n, scorer := range d.scorers {
			us, err := typical(func() (time.Duration, error) { return scorer.Measure(cuda.GPU, x, out) })
			if err != nil {
				return fmt.Errorf("GPU %d: %w", d.GPUs[n].Ordinal, err)
			}
			if !slices.Equal(out[:x.Rows], want[:x.Rows]) { // no score is NaN or a zero with a sign
				return fmt.Errorf("GPU %d scores %d rows otherwise than the CPU", d.GPUs[n].Ordinal, x.Rows)
			}
			c.GPUs = append(c.GPUs, us)
		}
		d.Costs = append(d.Costs, c)
	}
	return nil
}

// typical returns the median of what f took, in microseconds, of up to 200 runs within
// half a second.
func typical(f func() (time.Duration, error)) (float64, error) {
	var list []time.Duration
	for start := time.Now(); len(list) < 200 && (len(list) < 3 || time.Since(start) < time.Second/2); {
		took, err := f()
		if err != nil {
			return 0, err
		}
		list = append(list, took)
	}
	slices.Sort(list)
	return float64(list[len(list)/2]) / 1000, nil
}

func (d *deviceRun) print(e *env) {
	e.printf("CPU     %s\n", d.CPU)
	if len(d.GPUs) == 0 {
		e.printf("GPU     none: %s\n", d.Reason)
	}
	for _, g := range d.GPUs {
		if g.Reason != "" {
			e.printf("GPU %-3d does not score: %s\n", g.Ordinal, g.Reason)
			continue
		}
		e.printf("GPU %-3d %s, compute capability %.1f, %d multiprocessors, %.1f GiB (%.1f free)\n",
			g.Ordinal, g.Name, g.Capability, g.Processors, float64(g.Memory)/(1<<30), float64(g.Free)/(1<<30))
		kernels, memory := "compiled by the driver", "copied to where it reads them"
		if g.CompiledKernels {
			kernels = "as they come with weir"
		}
		if g.Pinned {
			memory = "read where they are written"
		}
		e.printf("        driver of CUDA %s; kernels %s; batches %s\n", g.Driver, kernels, memory)
	}
	e.printf("\nWhat a batch costs, in microseconds:\n\n%8s %12s", "rows", "CPU")
	for n := range d.scorers {
		e.printf(" %12s", fmt.Sprintf("GPU %d", d.GPUs[n].Ordinal))
	}
	for _, c := range d.Costs {
		e.printf("\n%8d %12.1f", c.Rows, c.CPU)
		for _, us := range c.GPUs {
			e.printf(" %12.1f", us)
		}
	}
	e.printf("\n")
}
