//go:build amd64 && !purego

package cpu_test

import (
	"math"
	"math/rand/v2"
	"testing"

	sys "golang.org/x/sys/cpu"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/scoringtest"
)

// TestEachAssemblyMeetsTheContract is of the kernels too that New does not take here.
func TestEachAssemblyMeetsTheContract(t *testing.T) {
	for _, name := range cpu.Kernels() {
		t.Run(name, func(t *testing.T) {
			scoringtest.TestScorer(t, func(m *scoring.Model) scoring.Scorer {
				s, err := cpu.NewBy(name, m)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func TestAssemblyIsUsedWhereTheProcessorHasIt(t *testing.T) {
	want := "go"
	if sys.X86.HasAVX2 && sys.X86.HasFMA {
		want = "avx2"
		if sys.X86.HasAVX512F {
			want = "avx512"
		}
	}
	s, err := cpu.New(dense(5, 7, 1))
	if err != nil {
		t.Fatal(err)
	}
	if s.Backend() != want {
		t.Fatalf("back end %q, want %q", s.Backend(), want)
	}
}

// TestInputsThatAreTheEncoding compares bits with the twin where a model's inputs are its
// encoding as they are, alone and behind others, and where one number is not of the identity.
func TestInputsThatAreTheEncoding(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 7))
		width := 1 + r.IntN(140)
		m := scoringtest.Model(r, scoringtest.Shape{Columns: width, Members: 1 + r.IntN(5), Hidden: []int{width, 1 + r.IntN(90)}, Scale: 1})
		m.Inputs = nil
		for j := range width {
			in := scoring.Input{Column: j, Mean: 0, Inv: 1, Lo: -4, Hi: 4, Missing: r.Float32(), Slope: make([]float32, width)}
			in.Slope[j] = 1
			m.Inputs = append(m.Inputs, in)
		}
		switch seed % 4 {
		case 1:
			m.Inputs[r.IntN(width)].Slope[r.IntN(width)] = .5
		case 2:
			other := scoring.Input{Column: 0, Inv: 1, Edges: []float32{-1}, Lo: -1, Hi: 1, Prefix: make([]float32, 2*width), Slope: make([]float32, 2*width)}
			m.Inputs = append([]scoring.Input{other}, m.Inputs...)
		}
		x := scoringtest.Rows(r, 1+r.IntN(40), width)
		x.Data[r.IntN(len(x.Data))] = float32(math.Copysign(0, -1))
		want, got := make([]float32, x.Rows), make([]float32, x.Rows)
		twin, err := cpu.NewPureGo(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := twin.Score(x, want); err != nil {
			t.Fatal(err)
		}
		for _, name := range cpu.Kernels() {
			s, err := cpu.NewBy(name, m)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Score(x, got); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
					t.Fatalf("seed %d, %s, width %d, row %d: %v, the twin has %v", seed, name, width, i, got[i], want[i])
				}
			}
		}
	}
}
