package kernels_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// How much the tests of the kernels do: at full size in the part gpu of .ci/run, at
// the size of the proof in deploy/prove.
var (
	atFull  = os.Getenv("WEIR_GPU") != "" || atProof
	atProof = os.Getenv("WEIR_PROVE") != ""
)

// scaled is how many rows to score: few, or as many as it takes.
func scaled(quick, full int) int {
	if atFull {
		return full
	}
	return quick
}

// shippedShape is about the network that the trainer ships: as many columns as
// the Handbook's features, each a table, two hidden layers of 64, 8 members.
var shippedShape = scoringtest.Shape{Columns: 53, Hidden: []int{64, 64}, Members: 8, Tables: 4, Log: 4, Scale: 1}

// random makes a model and rows of a seed.
func random(seed uint64, shape scoringtest.Shape, rows int) (*scoring.Model, scoring.Matrix) {
	r := rand.New(rand.NewPCG(seed, 24))
	m := scoringtest.Model(r, shape)
	return m, scoringtest.Rows(r, rows, m.Columns)
}

// shape is a model and a grid.
type shape struct {
	name         string
	shape        scoringtest.Shape
	rows, blocks int
}

// shapesF32 and shapesF16 take every way through the kernels.
var (
	shapesF32 = []shape{
		{"two columns a thread", scoringtest.Shape{Columns: 9, Hidden: []int{64, 30}, Members: 3, Tables: 3, Log: 2, Scale: 1}, 70, 64},
		{"four columns a thread", scoringtest.Shape{Columns: 5, Hidden: []int{300, 20}, Members: 2, Tables: 2, Scale: 1}, 13, 2},
		{"eight columns a thread", scoringtest.Shape{Columns: 5, Hidden: []int{20, 600, 40}, Members: 2, Tables: 2, Scale: 1}, 9, 2},
		{"more members than the stack has rows", scoringtest.Shape{Columns: 3, Hidden: []int{520, 7}, Members: 11, Tables: 2, Scale: 1}, 3, 2},
		{"no hidden layer", scoringtest.Shape{Columns: 7, Members: 16, Tables: 2, Log: 1, Scale: 1}, 40, 2},
		{"inputs in portions", scoringtest.Shape{Columns: 60, Hidden: []int{20}, Members: 1, Tables: 2, Log: 1, Scale: 1}, 150, 1},
		{"a full stack", scoringtest.Shape{Columns: 4, Hidden: []int{64, 16}, Members: 64, Tables: 2, Scale: 1}, 192, 5},
		{"subnormal sums", scoringtest.Shape{Columns: 9, Hidden: []int{33, 17}, Members: 2, Tables: 2, Scale: 0x1p-130}, 20, 4},
		{"the widest layer", scoringtest.Shape{Columns: 2, Hidden: []int{kernels.WidthMax, 16}, Members: 2, Tables: 2, Scale: 1}, 5, 3},
	}
	shapesF16 = []shape{
		{"warps of 32 columns", scoringtest.Shape{Columns: 9, Hidden: []int{64, 64}, Members: 8, Tables: 3, Log: 2, Scale: 1}, 70, 2},
		{"odd widths", scoringtest.Shape{Columns: 9, Hidden: []int{70, 33, 90}, Members: 3, Tables: 3, Log: 2, Scale: 1}, 60, 1},
		{"a full stack", scoringtest.Shape{Columns: 3, Hidden: []int{256, 256}, Members: 8, Tables: 3, Scale: 1}, 9, 2},
		{"warps of 64 columns", scoringtest.Shape{Columns: 3, Hidden: []int{20, 300, 20}, Members: 2, Tables: 3, Log: 2, Scale: 1}, 20, 2},
		{"warps of 128 columns", scoringtest.Shape{Columns: 3, Hidden: []int{20, 600, 32}, Members: 2, Tables: 3, Scale: 1}, 9, 2},
		{"more members than the stack has rows", scoringtest.Shape{Columns: 3, Hidden: []int{20, 520, 7}, Members: 20, Tables: 2, Scale: 1}, 2, 2},
		{"inputs in portions", scoringtest.Shape{Columns: 60, Hidden: []int{20, 16}, Members: 1, Tables: 2, Log: 1, Scale: 1}, 130, 1},
		{"subnormal sums", scoringtest.Shape{Columns: 9, Hidden: []int{33, 17}, Members: 2, Tables: 2, Scale: 0x1p-130}, 20, 4},
		{"the widest layer", scoringtest.Shape{Columns: 2, Hidden: []int{16, kernels.WidthMax, 16}, Members: 1, Tables: 2, Scale: 1}, 3, 3},
	}
)

// TestCode looks at what the driver will be handed.
func TestCode(t *testing.T) {
	for c, machine := range map[*code][]byte{inF32: kernels.Cubin(), inF16: kernels.CubinF16()} {
		for _, want := range []string{".version 8.0\n", ".target sm_80\n", ".entry " + c.entry + "("} {
			if !bytes.Contains(c.ptx, []byte(want)) {
				t.Errorf("%s: the PTX has no %q", c.entry, want)
			}
		}
		for _, not := range []string{".ftz", ".approx", ".full", ".local", "call"} {
			if bytes.Contains(c.ptx, []byte(not)) {
				t.Errorf("%s: the PTX has %q", c.entry, not)
			}
		}
		if !bytes.HasPrefix(machine, []byte("\x7fELF")) || !bytes.Contains(machine, []byte(".text."+c.entry)) {
			t.Errorf("%s: the cubin is none, or has no such kernel", c.entry)
		}
		module, err := c.module()
		if err != nil {
			t.Fatal(err)
		}
		if k := module.Kernel(c.entry); k.Threads() != c.threads || k.Shared() > 48<<10 {
			t.Errorf("%s: blocks of %d threads, %d bytes of shared memory", c.entry, k.Threads(), k.Shared())
		}
	}
}

// TestKernelsTakeEveryWay compares the scores of the code that ships with the CPU's,
// and launches twice on one scratch.
func TestKernelsTakeEveryWay(t *testing.T) {
	for _, c := range []*code{inF32, inF16} {
		for i, s := range c.cases {
			if testing.Short() && s.rows > 100 {
				continue
			}
			m, x := random(uint64(i), s.shape, s.rows)
			d := c.device(t, m)
			for range 2 {
				got, err := d.launch(x, s.blocks, nil)
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				c.compare(t, got, want(t, m, x), s.name)
			}
		}
	}
}

// TestRandomModels draws models and rows, edge values among them.
func TestRandomModels(t *testing.T) {
	rows, per := 0, scaled(12, 250)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 23))
		m := scoringtest.Model(r, scoringtest.RandomShape(r))
		x := scoringtest.Rows(r, per, m.Columns)
		inF32.compare(t, inF32.device(t, m).score(x, 64), want(t, m, x), fmt.Sprint("seed ", seed))
		rows += x.Rows
	}
	t.Logf("%d rows of 40 random models: the CPU's bits", rows)
}

// TestShippedNetwork scores with a network of the shipped size, on the grid of
// the tier that its rows are for.
func TestShippedNetwork(t *testing.T) {
	rows := scaled(40, 500)
	if atProof {
		rows = 10_000
	}
	m, x := random(100, shippedShape, rows)
	d, all := inF32.device(t, m), want(t, m, x)
	for from := 0; from < rows; {
		to := min(rows, from+4096)
		part := scoring.Matrix{Data: x.Data[from*x.Cols : to*x.Cols], Rows: to - from, Cols: x.Cols}
		inF32.compare(t, d.score(part, 4096), all[from:to], "shipped")
		from = to
	}
	t.Logf("%d rows of the shipped network: the CPU's bits", rows)
}

// TestSizes scores batches around a tier's size, with one, eight and sixteen members, on
// that tier's grid and a larger one's.
func TestSizes(t *testing.T) {
	sizes := []int{1, 63, 64, 65}
	if atFull {
		sizes = append(sizes, 255, 256, 257, 1024)
	}
	for _, members := range []int{1, 8, 16} {
		shape := scoringtest.Shape{Columns: 6, Hidden: []int{24, 24}, Members: members, Tables: 2, Log: 1, Scale: 1}
		m, x := random(uint64(200+members), shape, slices.Max(sizes))
		d, all := inF32.device(t, m), want(t, m, x)
		for _, rows := range sizes {
			for _, tier := range []int{64, 4096} {
				if testing.Short() && tier != 64 {
					continue
				}
				got := d.score(scoring.Matrix{Data: x.Data[:rows*x.Cols], Rows: rows, Cols: x.Cols}, tier)
				inF32.compare(t, got, all[:rows], fmt.Sprintf("%d rows, %d members, grid of %d", rows, members, tier))
			}
		}
	}
}

// TestNoRows wants an empty batch to be answered.
func TestNoRows(t *testing.T) {
	m, x := random(300, shippedShape, 0)
	if _, err := inF32.device(t, m).launch(x, 64, nil); err != nil {
		t.Error(err)
	}
}

// TestOrderDoesNotMatter begins the blocks in other orders, and on other grids.
func TestOrderDoesNotMatter(t *testing.T) {
	m, x := random(400, scoringtest.Shape{Columns: 6, Hidden: []int{24, 24}, Members: 4, Tables: 2, Scale: 1}, scaled(90, 1500))
	d, all := inF32.device(t, m), want(t, m, x)
	r := rand.New(rand.NewPCG(400, 25))
	for _, blocks := range []int{1, 2, 7, 33} {
		for range 3 {
			got, err := d.launch(x, blocks, r.Perm(blocks))
			if err != nil {
				t.Fatal(err)
			}
			inF32.compare(t, got, all, fmt.Sprint(blocks, " blocks"))
		}
	}
}

// TestEdgesOfFunctions scores what is nothing but sigmoid(x), or sigmoid of a
// logarithm, for values of all sizes.
func TestEdgesOfFunctions(t *testing.T) {
	r := rand.New(rand.NewPCG(500, 26))
	for _, log := range []bool{false, true} {
		m := &scoring.Model{Columns: 1, Members: 1, Width: 1, Bias: []float32{0}}
		m.Inputs = []scoring.Input{{Log: log, Inv: 1, Lo: -90, Hi: 90, Slope: []float32{-1}}}
		x := scoringtest.Rows(r, scaled(2000, 60_000), 1)
		for i := range x.Data {
			if i%3 == 0 {
				x.Data[i] *= 30
			}
		}
		inF32.compare(t, inF32.device(t, m).score(x, 4096), want(t, m, x), fmt.Sprint("logarithm ", log))
	}
}
