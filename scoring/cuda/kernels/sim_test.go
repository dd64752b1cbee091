package kernels_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/internal/ptxsim"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// code is a kernel as it ships, and how to use it.
type code struct {
	entry   string
	threads int
	ptx     []byte
	pack    func(*scoring.Model) ([]byte, error)
	cases   []shape
	// off is how far a score may be from the CPU's; 0 means the same bits.
	off    float64
	module func() (*ptxsim.Module, error)
}

var (
	inF32 = newCode(kernels.Entry, kernels.Threads, kernels.PTX(), kernels.Pack, shapesF32, 0)
	inF16 = newCode(kernels.EntryF16, kernels.ThreadsF16, kernels.PTXF16(), kernels.PackF16, shapesF16, 1e-3)
)

func newCode(entry string, threads int, ptx []byte, pack func(*scoring.Model) ([]byte, error), cases []shape, off float64) *code {
	c := &code{entry: entry, threads: threads, ptx: ptx, pack: pack, cases: cases, off: off}
	c.module = sync.OnceValues(func() (*ptxsim.Module, error) { return ptxsim.Parse(string(ptx)) })
	return c
}

// wrong returns what is wrong with scores, or nothing, and the largest difference.
func (c *code) wrong(got, want []float32) (found string, most float64) {
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if most = max(most, d); c.off == 0 && math.Float32bits(got[i]) != math.Float32bits(want[i]) || !(d <= c.off) {
			return fmt.Sprintf("row %d of %d scores %s (%g), want %s (%g)", i, len(want),
				scoringtest.Hex(got[i]), got[i], scoringtest.Hex(want[i]), want[i]), most
		}
	}
	return "", most
}

// compare fails the test where scores are wrong, and returns the largest difference.
func (c *code) compare(t testing.TB, got, want []float32, about string) float64 {
	t.Helper()
	found, most := c.wrong(got, want)
	if found != "" {
		t.Fatalf("%s: %s", about, found)
	}
	return most
}

// device launches a kernel on the simulator as the host does on a GPU.
type device struct {
	t       testing.TB
	kernel  *ptxsim.Kernel
	threads int
	memory  *ptxsim.Memory
	model   uint64
	scratch uint64
	seq     uint64
	columns int
}

// device puts a model on a device.
func (c *code) device(t testing.TB, m *scoring.Model) *device {
	t.Helper()
	module, err := c.module()
	if err != nil {
		t.Fatal(err)
	}
	return c.deviceOf(t, module, m)
}

// deviceOf is device with another module's kernel.
func (c *code) deviceOf(t testing.TB, module *ptxsim.Module, m *scoring.Model) *device {
	t.Helper()
	image, err := c.pack(m)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, kernel: module.Kernel(c.entry), threads: c.threads, memory: new(ptxsim.Memory), columns: m.Columns}
	if d.kernel == nil {
		t.Fatalf("the module has no %s", c.entry)
	}
	addr, data := d.memory.Alloc(len(image), ptxsim.ReadOnly)
	copy(data, image)
	d.model = addr
	d.scratch, _ = d.memory.Alloc(kernels.ScratchBytes, ptxsim.ReadWrite)
	return d
}

// launch scores rows on a grid. It fails the test where what a kernel has to
// leave alone has changed.
func (d *device) launch(x scoring.Matrix, blocks int, order []int) ([]float32, error) {
	d.seq += 1<<40 + 7
	batch, data := d.memory.Alloc(kernels.HeaderBytes+4*len(x.Data), ptxsim.ReadOnly)
	kernels.PutHeader(data, d.model, x.Rows, d.columns, d.seq)
	for i, v := range x.Data {
		binary.LittleEndian.PutUint32(data[kernels.HeaderBytes+4*i:], math.Float32bits(v))
	}
	out, scores := d.memory.Alloc(4*x.Rows, ptxsim.WriteOnly)
	done, word := d.memory.Alloc(8, ptxsim.Signal)
	for i := range scores {
		scores[i] = 0xff // NaN
	}
	err := d.kernel.Launch(d.memory, ptxsim.Launch{
		Blocks: blocks, Threads: d.threads, Args: []uint64{batch, d.scratch, out, done}, Order: order,
	})
	if got := binary.LittleEndian.Uint64(word); err == nil && got != d.seq {
		err = fmt.Errorf("done is %d, want %d", got, d.seq)
	}
	for _, at := range []uint64{batch, out, done} {
		d.memory.Free(at)
	}
	list := make([]float32, x.Rows)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(scores[4*i:]))
	}
	return list, err
}

// score is launch on the grid of a tier.
func (d *device) score(x scoring.Matrix, tier int) []float32 {
	d.t.Helper()
	list, err := d.launch(x, kernels.Grid(tier), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// want returns the scores of the CPU.
func want(t testing.TB, m *scoring.Model, x scoring.Matrix) []float32 {
	t.Helper()
	s, err := cpu.New(m)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, x.Rows)
	if err := s.Score(x, out); err != nil {
		t.Fatal(err)
	}
	return out
}
