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

// shipped is the module that ships, for the simulator.
var shipped = sync.OnceValues(func() (*ptxsim.Module, error) { return ptxsim.Parse(string(kernels.PTX())) })

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

func newDevice(t testing.TB, m *scoring.Model) *device {
	t.Helper()
	module, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	image, err := kernels.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, module.Kernel(kernels.Entry), kernels.Threads, image, m.Columns)
}

func put(t testing.TB, k *ptxsim.Kernel, threads int, image []byte, columns int) *device {
	t.Helper()
	if k == nil {
		t.Fatal("the module has no such kernel")
	}
	d := &device{t: t, kernel: k, threads: threads, memory: new(ptxsim.Memory), columns: columns}
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

func same(t testing.TB, got, want []float32, about string) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: row %d of %d scores %s (%g), want %s (%g)", about, i, len(want),
				scoringtest.Hex(got[i]), got[i], scoringtest.Hex(want[i]), want[i])
		}
	}
}
