//go:build amd64 && !purego

package cpu_test

import (
	"testing"

	sys "golang.org/x/sys/cpu"

	"github.com/weir-risk/weir/scoring/cpu"
)

func TestAssemblyIsUsedWhereTheProcessorHasIt(t *testing.T) {
	want := "go"
	if sys.X86.HasAVX2 && sys.X86.HasFMA {
		want = "avx2"
	}
	s, err := cpu.New(dense(5, 7, 1))
	if err != nil {
		t.Fatal(err)
	}
	if s.Backend() != want {
		t.Fatalf("back end %q, want %q", s.Backend(), want)
	}
}
