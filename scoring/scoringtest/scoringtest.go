package scoringtest

import (
	_ "embed" // the golden file
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

// GoldenCases is the number of models in the golden file, and GoldenRows the
// number of rows scored with each.
const (
	GoldenCases = 48
	GoldenRows  = 9
)

//go:embed testdata/golden.json
var golden []byte

// A Case is a model, rows and the bits of their scores. Model and rows follow
// from the seed.
type Case struct {
	Seed   uint64   `json:"seed"`
	Scores []string `json:"scores"` // bits in hexadecimal
}

// GoldenCase makes the model and the rows of a golden case.
func GoldenCase(seed uint64) (*scoring.Model, scoring.Matrix) {
	r := rand.New(rand.NewPCG(seed, 0))
	m := Model(r, RandomShape(r))
	return m, Rows(r, GoldenRows, m.Columns)
}

// Hex writes the bits of a score as the golden file does.
func Hex(v float32) string { return fmt.Sprintf("%08x", math.Float32bits(v)) }

// TestScorer holds a back end to the contract of [scoring.Scorer] and to the
// arithmetic of the package's doc.go: the golden bits, the bits of the pure-Go
// twin for random models, the same bits for any cut into batches, and the rest
// of what Score's comment promises. A scorer that is an io.Closer is closed.
func TestScorer(t *testing.T, open func(*scoring.Model) scoring.Scorer) {
	use := func(t *testing.T, m *scoring.Model) scoring.Scorer {
		t.Helper()
		s := open(m)
		if c, ok := s.(io.Closer); ok {
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		return s
	}
	t.Run("golden", func(t *testing.T) { testGolden(t, use) })
	t.Run("twin", func(t *testing.T) { testTwin(t, use) })
	t.Run("functions", func(t *testing.T) { testFunctions(t, use) })
	t.Run("cuts", func(t *testing.T) { testCuts(t, use) })
	t.Run("misfit", func(t *testing.T) { testMisfit(t, use) })
	t.Run("shared", func(t *testing.T) { testShared(t, use) })
	t.Run("allocate", func(t *testing.T) { testAllocate(t, use) })
}

type opener func(*testing.T, *scoring.Model) scoring.Scorer

func mustScore(t *testing.T, s scoring.Scorer, x scoring.Matrix) []float32 {
	t.Helper()
	out := make([]float32, x.Rows)
	if err := s.Score(x, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustTwin(t *testing.T, m *scoring.Model) scoring.Scorer {
	t.Helper()
	s, err := cpu.NewPureGo(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// equal compares bits; about says what was compared.
func equal(t *testing.T, got, want []float32, about string) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: row %d of %d scores %s (%g), want %s (%g)", about, i, len(want), Hex(got[i]), got[i], Hex(want[i]), want[i])
		}
	}
}

func testGolden(t *testing.T, use opener) {
	var cases []Case
	if err := json.Unmarshal(golden, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != GoldenCases {
		t.Fatalf("golden file has %d cases, want %d", len(cases), GoldenCases)
	}
	for _, c := range cases {
		m, x := GoldenCase(c.Seed)
		got := mustScore(t, use(t, m), x)
		for i, want := range c.Scores {
			if Hex(got[i]) != want {
				t.Fatalf("seed %d, row %d: %s, golden %s", c.Seed, i, Hex(got[i]), want)
			}
		}
	}
}

// testTwin compares whole batches with the twin, as many rows as the model is
// small.
func testTwin(t *testing.T, use opener) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := Model(r, RandomShape(r))
		x := Rows(r, 1+min(r.IntN(300), 400_000/work(m)), m.Columns)
		equal(t, mustScore(t, use(t, m), x), mustScore(t, mustTwin(t, m), x), fmt.Sprintf("seed %d, %s", seed, describe(m)))
	}
}

// testFunctions sweeps exp and log, whose last bits the other tests would not
// all see: through models that are nothing but sigmoid(x), and sigmoid of
// minus the logarithm of one of eight columns.
func testFunctions(t *testing.T, use opener) {
	const columns = 8
	r := rand.New(rand.NewPCG(10, 6))
	x := scoring.Matrix{Data: make([]float32, 60_000*columns), Rows: 60_000, Cols: columns}
	for i := range x.Data {
		x.Data[i] = unit(r) * 90
		if i%2 == 0 { // any size
			x.Data[i] = math.Float32frombits(r.Uint32N(math.Float32bits(math.MaxFloat32)))
		}
	}
	for c := range columns {
		for _, log := range []bool{false, true} {
			m := &scoring.Model{Columns: columns, Members: 1, Width: 1, Bias: []float32{0}}
			slope := float32(-1)
			if log {
				slope = -4 // far from where a sigmoid is flat, but not beyond its bounds
			}
			for i := range columns {
				in := scoring.Input{Column: i, Log: log, Inv: 1, Lo: -90, Hi: 90, Slope: []float32{0}}
				if i == c {
					in.Slope[0] = slope
				}
				m.Inputs = append(m.Inputs, in)
			}
			equal(t, mustScore(t, use(t, m), x), mustScore(t, mustTwin(t, m), x), fmt.Sprintf("column %d, logarithm %t", c, log))
		}
	}
}

// testCuts scores a matrix at once, and then cut, and row by row from behind.
func testCuts(t *testing.T, use opener) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := Model(r, RandomShape(r))
		s := use(t, m)
		x := Rows(r, 1+r.IntN(300), m.Columns)
		want, got := mustScore(t, s, x), make([]float32, x.Rows)
		score := func(from, to int) {
			part := scoring.Matrix{Data: x.Data[from*x.Cols : to*x.Cols], Rows: to - from, Cols: x.Cols}
			if err := s.Score(part, got[from:to]); err != nil {
				t.Fatal(err)
			}
		}
		for from := 0; from < x.Rows; {
			to := min(x.Rows, from+1+r.IntN(1+r.IntN(80)))
			score(from, to)
			from = to
		}
		equal(t, got, want, fmt.Sprintf("seed %d, cut, %s", seed, describe(m)))
		clear(got)
		for i := x.Rows - 1; i >= 0; i-- {
			score(i, i+1)
		}
		equal(t, got, want, fmt.Sprintf("seed %d, row by row, %s", seed, describe(m)))
	}
}

// testMisfit hands over matrices that do not fit, and outputs with room left.
func testMisfit(t *testing.T, use opener) {
	r := rand.New(rand.NewPCG(7, 3))
	m := Model(r, Shape{Columns: 5, Hidden: []int{7, 9}, Members: 2, Tables: 2, Scale: 1})
	s := use(t, m)
	x := Rows(r, 20, 5)
	f := func(name string, x scoring.Matrix, out int) {
		t.Helper()
		scores := slices.Repeat([]float32{-1}, out)
		if err := s.Score(x, scores); !errors.Is(err, scoring.ErrMatrix) {
			t.Errorf("%s: error %v, want ErrMatrix", name, err)
		}
		if slices.ContainsFunc(scores, func(v float32) bool { return v != -1 }) {
			t.Errorf("%s: scores were written", name)
		}
	}
	f("a column short", scoring.Matrix{Data: x.Data, Rows: 20, Cols: 4}, 20)
	f("a column long", scoring.Matrix{Data: x.Data, Rows: 10, Cols: 6}, 20)
	f("too few numbers", scoring.Matrix{Data: x.Data[:99], Rows: 20, Cols: 5}, 20)
	f("too short an output", x, 19)
	f("rows below zero", scoring.Matrix{Data: x.Data, Rows: -1, Cols: 5}, 20)

	before := slices.Clone(x.Data)
	out := slices.Repeat([]float32{-1}, 30)
	if err := s.Score(x, out); err != nil {
		t.Fatal(err)
	}
	equal(t, x.Data, before, "the matrix after Score")
	equal(t, out[20:], slices.Repeat([]float32{-1}, 10), "the output behind the rows")
	if err := s.Score(scoring.Matrix{Cols: 5}, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

// testShared runs two scorers of one model in turn.
func testShared(t *testing.T, use opener) {
	r := rand.New(rand.NewPCG(8, 4))
	m := Model(r, Shape{Columns: 11, Hidden: []int{33, 17}, Members: 3, Tables: 2, Log: 1, Scale: 1})
	a, b := use(t, m), use(t, m)
	x, y := Rows(r, 40, 11), Rows(r, 70, 11)
	wantX, wantY := mustScore(t, a, x), mustScore(t, a, y)
	for range 3 {
		equal(t, mustScore(t, b, y), wantY, "second scorer")
		equal(t, mustScore(t, a, x), wantX, "first scorer")
	}
}

func testAllocate(t *testing.T, use opener) {
	r := rand.New(rand.NewPCG(9, 5))
	m := Model(r, Shape{Columns: 9, Hidden: []int{20, 20}, Members: 4, Tables: 2, Log: 1, Scale: 1})
	s := use(t, m)
	x := Rows(r, 50, 9)
	out := make([]float32, x.Rows)
	if n := testing.AllocsPerRun(20, func() {
		if err := s.Score(x, out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations in a Score", n)
	}
}

// work is about how many multiplications a row takes.
func work(m *scoring.Model) int {
	n, before := len(m.Inputs)*m.Width, 0
	for _, h := range m.Hidden {
		n += m.Members * (before + 2) * h.Width
		before = h.Width
	}
	return n
}

func describe(m *scoring.Model) string {
	tables := 0
	for i := range m.Inputs {
		if !m.Inputs[i].Linear() {
			tables++
		}
	}
	text := fmt.Sprintf("%d columns, %d inputs, %d of them tables, %d members, layers", m.Columns, len(m.Inputs), tables, m.Members)
	for _, h := range m.Hidden {
		text += fmt.Sprintf(" %d", h.Width)
	}
	return text
}
