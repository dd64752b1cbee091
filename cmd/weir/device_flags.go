package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cuda"
)

// deviceFlags say what scores.
type deviceFlags struct {
	device     deviceChoice
	deadline   time.Duration
	arithmetic arithmeticChoice
	always     bool // every batch, be it faster on the GPU or not
}

// addArithmetic declares in which arithmetic a GPU scores.
func (f *deviceFlags) addArithmetic(fs *flag.FlagSet, name, usage string) {
	f.arithmetic.flag = "--" + name
	fs.Var(&f.arithmetic, name, usage)
}

// arithmeticChoice is the value of a flag that is float32 or float16.
type arithmeticChoice struct {
	half bool
	flag string
}

func (c *arithmeticChoice) String() string {
	if c.half {
		return "float16"
	}
	return "float32"
}

// Set takes float32 or float16.
func (c *arithmeticChoice) Set(text string) error {
	if text != "float32" && text != "float16" {
		return fmt.Errorf("%q is neither float32 nor float16", text)
	}
	c.half = text == "float16"
	return nil
}

func addDevice(fs *flag.FlagSet) *deviceFlags {
	d := &deviceFlags{device: deviceChoice{auto: true}}
	fs.Var(&d.device, "device", "`WHICH` device scores: auto is each batch where it is done first, the CPU or a GPU that\nwill do; cpu; cuda or cuda:N is GPU number N, for every batch while it works. The bits of\na score are the same, and the CPU stands in (weir device says what there is)")
	fs.DurationVar(&d.deadline, "device-deadline", cuda.DeadlineDefault, "`TIME` that the GPU has for a batch, before the CPU scores it and the GPU is\nstarted anew")
	return d
}

// deviceChoice is the value of --device.
type deviceChoice struct {
	auto, gpu bool
	ordinal   int
}

func (c *deviceChoice) String() string {
	switch {
	case c.auto:
		return "auto"
	case c.gpu && c.ordinal > 0:
		return "cuda:" + strconv.Itoa(c.ordinal)
	case c.gpu:
		return "cuda"
	}
	return "cpu"
}

// Set takes auto, cpu, cuda or cuda:N.
func (c *deviceChoice) Set(text string) error {
	kind, number, numbered := strings.Cut(text, ":")
	*c = deviceChoice{auto: kind == "auto", gpu: kind == "cuda"}
	var err error
	if numbered {
		c.ordinal, err = strconv.Atoi(number)
	}
	if !c.auto && !c.gpu && kind != "cpu" || numbered && !c.gpu || err != nil || c.ordinal < 0 {
		return fmt.Errorf("%q is none of auto, cpu, cuda and cuda:N", text)
	}
	return nil
}

// gpuFiles are what a machine with an NVIDIA GPU has, one of them: of a server, of a
// module on a board, and of Windows' Linux.
var gpuFiles = []string{"/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg", "/proc/driver/nvidia/version"}

// mayHaveGPU reports whether it is worth a process to look for a GPU.
func (e *env) mayHaveGPU() bool {
	if _, named := e.lookup("WEIR_LIBCUDA"); named {
		return true
	}
	for _, name := range gpuFiles {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// open begins to use the GPU that the flags ask for, nil where that is none. Whoever
// calls it closes it.
func (f *deviceFlags) open(e *env, log *slog.Logger) (*cuda.Device, error) {
	switch {
	case f.deadline <= 0:
		return nil, usagef("--device-deadline %v: longer than 0", f.deadline)
	case f.device.auto && !e.mayHaveGPU():
		log.Info("scoring on the CPU: this machine has no NVIDIA GPU")
		return nil, nil
	case !f.device.auto && !f.device.gpu && f.arithmetic.half:
		return nil, usagef("%s float16 is a GPU's, and --device is cpu", f.arithmetic.flag)
	case !f.device.auto && !f.device.gpu:
		return nil, nil
	}
	return cuda.Open(cuda.Config{Ordinal: f.device.ordinal, Persist: f.device.gpu, Always: f.device.gpu || f.always, Half: f.arithmetic.half, Deadline: f.deadline, Log: log}), nil
}

// openDevice begins to use the GPU that the flags ask for. It is closed with the service.
func (s *service) openDevice(f *deviceFlags) (err error) {
	if s.device, err = f.open(s.env, s.log); s.device != nil {
		s.registry.MustRegister(&gpuMetrics{s.device})
		if f.arithmetic.half {
			s.log.Warn("the GPU scores in float16 arithmetic, and each decision says so: its score can be verified to a bound, and not to the bit")
		}
	}
	return err
}

// newScorer makes what a node scores a bundle with: nil where that is the CPU alone.
func (s *service) newScorer() func(*scoring.Bundle) (scoring.Scorer, error) {
	if s.device == nil {
		return nil
	}
	return func(b *scoring.Bundle) (scoring.Scorer, error) { return s.device.Scorer(b.Model, b.SelfTestRows) }
}
