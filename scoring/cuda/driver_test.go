//go:build linux

package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring/cuda/link"
)

// needsDriver skips a test where there is no fake driver to fail: make gpu has one.
func needsDriver(t *testing.T) {
	t.Helper()
	if !onDriver {
		t.Skip("WEIR_LIBCUDA names no driver; make gpu builds one and runs this")
	}
}

// TestDriversThatWillNotDo are machines without what is needed: each is said in one line,
// and the CPU scores.
func TestDriversThatWillNotDo(t *testing.T) {
	needsDriver(t)
	lacking := filepath.Join(filepath.Dir(os.Getenv("WEIR_LIBCUDA")), "libcuda-lacking.so.1")
	for _, c := range []struct {
		name, env, says string
		class           link.Class
		absent          bool
	}{
		{"no library", "WEIR_LIBCUDA=/nowhere/libcuda.so.1", "no NVIDIA driver", link.NoLibrary, true},
		{"a function missing", "WEIR_LIBCUDA=" + lacking, "lacks functions that weir calls: [cuGraphUpload]", link.NoSymbol, true},
		{"no device", "CUDA_FAKE=no_device", "cuInit: no device (100)", link.NoDevice, true},
		{"an old driver", "CUDA_FAKE=old_driver", "r525 or later is needed; this one is of CUDA 11.8", link.OldDriver, true},
		{"an old device", "CUDA_FAKE=old_device", "8.0 or later is needed; Fake GPU has 7.0", link.TooOld, true},
		{"kernels refused", "CUDA_FAKE=bad_module", "cuModuleLoadData: invalid PTX (218)", link.Refused, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{Env: []string{c.env}})
			b.until(t, c.name, func(s Stats) bool { return s.Faults[c.class] > 0 && s.Reason != "" })
			if s := b.Stats(); !strings.Contains(s.Reason, c.says) {
				t.Errorf("%v: %q", s.Faults, s.Reason)
			}
			if c.absent {
				b.is(t, Absent)
				if n := strings.Count(b.log.String(), "scoring on the CPU"); n != 1 {
					t.Errorf("%d lines say that the CPU scores:\n%s", n, b.log)
				}
			}
			m := someModel(1)
			batches(t, m, 1, 1, 100)[0].score(t, b.scorer(t, m), make([]float32, 100))
		})
	}
	t.Run("no such device", func(t *testing.T) {
		b := newBench(t, Config{Ordinal: 3})
		b.is(t, Absent)
		if s := b.Stats(); s.Faults[link.NoDevice] != 1 || !strings.Contains(s.Reason, "number 3 of 1") {
			t.Errorf("%v: %q", s.Faults, s.Reason)
		}
	})
}

// TestDriversThatWillDo are devices that are worked otherwise.
func TestDriversThatWillDo(t *testing.T) {
	needsDriver(t)
	m := someModel(1)
	list, out := batches(t, m, 1, 50, 3000), make([]float32, 3000)
	for _, c := range []struct {
		env              string
		pinned, compiled bool
	}{{"", true, true}, {"no_pin", false, true}, {"ptx", true, false}} {
		b := newBench(t, Config{Always: true, Env: []string{"CUDA_FAKE=" + c.env}})
		s := b.scorer(t, m)
		b.serves(t)
		for _, one := range list {
			one.score(t, s, out)
		}
		st := b.Stats()
		if st.Batches[GPU] != uint64(len(list)) || st.Device.Pinned != c.pinned || st.Device.CompiledKernels != c.compiled {
			t.Errorf("%q: %+v", c.env, st)
		}
		if st.Device.Name != "Fake GPU" || st.Device.Driver != "13.0" || st.Device.Memory != 1<<33 || st.Device.Free != 1<<32 || st.Device.Processors != 132 {
			t.Errorf("%+v", st.Device)
		}
	}
}

// TestNoMemory has each allocation fail in turn, until there is none left that could.
func TestNoMemory(t *testing.T) {
	needsDriver(t)
	for n := 1; ; n++ {
		b := newBench(t, Config{Env: []string{fmt.Sprintf("CUDA_FAKE=oom:%d", n)}})
		b.is(t, Waiting, Serving)
		s := b.Stats()
		b.Close()
		if s.State == Serving {
			if n < link.Slots+link.Lanes {
				t.Errorf("only %d allocations can fail", n-1)
			}
			return
		}
		if s.Faults[link.OutOfMemory] == 0 || !strings.Contains(s.Reason, "out of memory (2)") {
			t.Errorf("allocation %d: %v %q", n, s.Faults, s.Reason)
		}
	}
}
