package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"
)

// TestBenchDeviceOnTheCPU measures the CPU where there is no GPU.
func TestBenchDeviceOnTheCPU(t *testing.T) {
	got := benchJSON(t, "device", "--device", "cpu", "--networks", "shipped", "--tiers", "64", "--seconds", "0.01", "--json")
	networks, _ := got["networks"].([]any)
	if len(networks) != 1 || got["gpu"] != nil || got["reason"] != "--device cpu" {
		t.Fatalf("%v", got)
	}
	tier := networks[0].(map[string]any)["tiers"].([]any)[0].(map[string]any)
	positive(t, tier["cpu"].(map[string]any), "batches", "p50_us", "p99_us", "p999_us", "rows_per_s")
	if tier["gpu"] != nil {
		t.Errorf("a GPU was measured: %v", tier)
	}
}

// TestBenchNetworksAreValid makes the networks that are measured.
func TestBenchNetworksAreValid(t *testing.T) {
	for _, n := range benchNetworks {
		if err := ensemble(1, n.Columns, n.Members, n.Hidden...).Validate(); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
}

// ended waits for the process and returns its exit code.
func (p *process) ended() int {
	err := <-p.done
	p.done <- err
	return p.cmd.ProcessState.ExitCode()
}

// TestBenchDeviceWithoutDriver says what is missing.
func TestBenchDeviceWithoutDriver(t *testing.T) {
	t.Setenv("WEIR_LIBCUDA", "/none/libcuda.so.1")
	p := start(t, "bench", "device", "--device", "cuda", "--json")
	if code := p.ended(); code != exitFailed || !strings.Contains(p.stdout.String(), "/none/libcuda.so.1") {
		t.Errorf("exit code %d: %s\n%s", code, p.stdout.String(), p.logged())
	}
}

// TestBenchDeviceFindsWrongBits has the fake driver score wrong in the middle.
func TestBenchDeviceFindsWrongBits(t *testing.T) {
	needsDriver(t)
	name := filepath.Join(t.TempDir(), "control")
	mapWord(name) // makes the file
	control := mapped(t, name)
	t.Setenv("CUDA_FAKE_CONTROL", name)
	strike(control, 6, 9) // behind the golden rows
	p := start(t, "bench", "device", "--device", "cuda", "--device-deadline", "30s", "--networks", "shipped", "--tiers", "64", "--seconds", "0.01",
		"--rows", "40000", "--swaps", "0", "--json")
	code := p.ended()
	var r gpuBench
	if err := json.Unmarshal(last(p.stdout.Bytes()), &r); err != nil {
		t.Fatalf("%v: %s\n%s", err, p.stdout.String(), p.logged())
	}
	if code != exitFailed || len(r.Networks) != 1 || r.Networks[0].Bits == nil || r.Networks[0].Bits.Differences == 0 || len(r.Networks[0].Tiers) > 0 {
		t.Errorf("exit code %d: %s\n%s", code, p.stdout.String(), p.logged())
	}
}

// last returns the last line.
func last(text []byte) []byte {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return []byte(lines[len(lines)-1])
}

// TestBenchDeviceInFloat16 measures the tensor cores of the fake driver: near, not the same,
// and where they are far off it says so.
func TestBenchDeviceInFloat16(t *testing.T) {
	needsDriver(t)
	name := filepath.Join(t.TempDir(), "control")
	mapWord(name) // makes the file
	control := mapped(t, name)
	t.Setenv("CUDA_FAKE_CONTROL", name)
	args := []string{"bench", "device", "--device", "cuda", "--device-deadline", "30s", "--arithmetic", "float16", "--networks", "shipped", "--tiers", "64",
		"--seconds", "0.01", "--rows", "8000", "--swaps", "1", "--json"}
	read := func(p *process) (r gpuBench) {
		if err := json.Unmarshal(last(p.stdout.Bytes()), &r); err != nil {
			t.Fatalf("%v: %s\n%s", err, p.stdout.String(), p.logged())
		}
		return r
	}
	p := start(t, args...)
	code := p.ended()
	if r := read(p); code != exitOK || r.Kernel != "float16" || r.Networks[0].Bits.Differences != 0 || r.Networks[0].Bits.Largest <= 0 || r.Networks[0].Tiers[0].GPU.Rate <= 0 {
		t.Errorf("exit code %d: %s", code, p.stdout.String())
	}
	p = start(t, args...)
	launched := (*int64)(unsafe.Pointer(&control[0]))
	before := atomic.LoadInt64(launched)
	p.until("golden rows", func() bool { return atomic.LoadInt64(launched) > before+goldenBatches })
	control[28] = 2 // each score
	code = p.ended()
	if r := read(p); code != exitFailed || r.Networks[0].Bits == nil || r.Networks[0].Bits.Differences == 0 || r.Networks[0].Bits.Largest < halfWrong {
		t.Errorf("exit code %d: %s", code, p.stdout.String())
	}
}
