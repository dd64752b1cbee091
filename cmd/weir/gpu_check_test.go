package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gpuCheck runs deploy/gpu-check.sh with this program for weir, and reads its reports.
func gpuCheck(t *testing.T, wantCode int) (report gpuReport, text string) {
	t.Helper()
	out := t.TempDir()
	c := exec.Command("../../deploy/gpu-check.sh", "--small", "--out", out)
	c.Env = append(os.Environ(), "WEIR="+os.Args[0], "WEIR_TEST_PHASES="+filepath.Join(t.TempDir(), "phases"))
	said, _ := c.CombinedOutput() // its exit code is looked at
	t.Logf("%s", said)
	if code := c.ProcessState.ExitCode(); code != wantCode {
		t.Errorf("exit code %d", code)
	}
	files, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(file) == ".txt" {
			text = string(data)
		} else if err := json.Unmarshal(data, &report); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
	}
	return report, text
}

// gpuReport is what the check writes.
type gpuReport struct {
	Date, Device string
	Fake, Small  bool
	Rows         []struct{ Name, Bar, Measured, Verdict, Reason string }
	Runs         map[string]json.RawMessage
}

// TestGPUCheck runs the check of a machine with a GPU on the fake driver.
func TestGPUCheck(t *testing.T) {
	needsDriver(t)
	r, text := gpuCheck(t, 0)
	if fake := r.Device == "Fake GPU"; r.Fake != fake || fake != strings.Contains(text, "\nTHE FAKE DRIVER") || !r.Small || r.Date == "" {
		t.Errorf("%+v\n%s", r, text)
	}
	want := []string{"a GPU that scores", "bits of the shipped network", "tensor cores: largest difference, shipped", "bundles swapped under load, shipped", "the GPU's process killed", "the GPU's process stopped",
		"an illegal address", "all are decided, --device cuda"}
	for _, row := range r.Rows {
		if row.Verdict == "passed" {
			want = slices.DeleteFunc(want, func(name string) bool { return name == row.Name })
		}
		if row.Name == "" || row.Bar == "" || row.Measured == "" || row.Verdict != "passed" && (row.Verdict != "not run" || row.Reason == "") || !strings.Contains(text, row.Name) {
			t.Errorf("%+v", row)
		}
	}
	if len(want) > 0 || r.Runs["bench"] == nil || r.Runs["killed"] == nil {
		t.Errorf("did not pass: %q; runs %d", want, len(r.Runs))
	}
}

// TestGPUCheckWithoutGPU has no driver.
func TestGPUCheckWithoutGPU(t *testing.T) {
	needsDriver(t)
	t.Setenv("WEIR_LIBCUDA", "/none/libcuda.so.1")
	r, text := gpuCheck(t, 1)
	if len(r.Rows) != 1 || r.Rows[0].Verdict != "failed" || !strings.Contains(r.Rows[0].Reason, "/none/libcuda.so.1") || r.Device != "" || r.Fake {
		t.Errorf("%+v\n%s", r, text)
	}
}
