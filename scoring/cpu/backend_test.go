//go:build amd64 && !purego

package cpu_test

import (
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
