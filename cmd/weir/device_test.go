package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-risk/weir/scoring/cuda"
)

func TestDeviceChoice(t *testing.T) {
	for text, want := range map[string]deviceChoice{
		"auto": {auto: true}, "cpu": {}, "cuda": {gpu: true}, "cuda:0": {gpu: true}, "cuda:12": {gpu: true, ordinal: 12},
	} {
		var c deviceChoice
		if err := c.Set(text); err != nil || c != want {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
		if again := new(deviceChoice); again.Set(c.String()) != nil || *again != c {
			t.Errorf("%q is written %q", text, c.String())
		}
	}
	for _, text := range []string{"", "gpu", "cpu:1", "auto:0", "cuda:", "cuda:-1", "cuda:x", "CUDA"} {
		if err := new(deviceChoice).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestDeviceWithoutGPU measures the CPU, and says why there is no GPU.
func TestDeviceWithoutGPU(t *testing.T) {
	var r deviceRun
	var out, stderr bytes.Buffer
	e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }}
	if code := run(t.Context(), []string{"device", "--device", "cpu", "--json"}, e); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.CPU == "" || r.Reason != "--device cpu" || len(r.Costs) != len(measuredRows) || r.Costs[0].CPU <= 0 || r.Costs[5].Rows != 4096 {
		t.Errorf("%+v", r)
	}
}

// fixedStats is a device that says always the same.
type fixedStats cuda.Stats

func (f *fixedStats) Stats() cuda.Stats { return cuda.Stats(*f) }

// TestEveryGPUMetricIsDocumented compares what is collected with the list in the comment of
// gpuMetrics, both ways, and has Prometheus' linter look at it.
func TestEveryGPUMetricIsDocumented(t *testing.T) {
	source, err := os.ReadFile("device_metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(weir_\w+)`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	s := &fixedStats{State: cuda.Serving, Device: cuda.Info{Name: "a GPU", Driver: "13.0", Capability: 9}, Models: 2, Loaded: 1}
	s.Batches[cuda.GPU], s.Latency[cuda.GPU].Count = 7, 7
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&gpuMetrics{s})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		got = append(got, f.GetName())
	}
	if !slices.Equal(got, want) {
		t.Errorf("documented are\n%q, collected\n%q", want, got)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP weir_gpu_batches_total Batches scored.
# TYPE weir_gpu_batches_total counter
weir_gpu_batches_total{backend="cpu"} 0
weir_gpu_batches_total{backend="gpu"} 7
`), "weir_gpu_batches_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// needsDriver skips a test where there is no driver, be it a fake one.
func needsDriver(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_LIBCUDA") == "" {
		t.Skip("WEIR_LIBCUDA names no driver; make gpu builds one and runs this")
	}
}

// TestDeviceOnADriver has weir device find a GPU, and measure it.
func TestDeviceOnADriver(t *testing.T) {
	needsDriver(t)
	p := start(t, "device", "--json")
	var r deviceRun
	p.done <- <-p.done // it has ended
	if err := json.Unmarshal(p.stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s\n%s", err, p.stdout.String(), p.logged())
	}
	if len(r.GPUs) == 0 || r.GPUs[0].State != "serving" || r.GPUs[0].Name == "" || len(r.Costs) != len(measuredRows) || len(r.Costs[0].GPUs) == 0 || r.Costs[0].GPUs[0] <= 0 {
		t.Errorf("%+v", r)
	}
}

// metric returns a sample of what the process says at /metrics; 0 where there is none.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	at, _ := p.said("serves metrics")["address"].(string)
	if at == "" {
		return 0
	}
	_, text := get(p.t, "http://"+at+"/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// strikes are what can strike in the fake driver, as scoring/cuda/fakedriver counts them.
// Wrong bits while it serves are left out: they cannot be known at once.
var strikes = map[uint32]string{1: "launch", 2: "sticky", 3: "hang", 4: "crash", 5: "out of memory", 7: "device lost"}

// strike arms a fault of the fake driver for the n-th batch from now, by the file that it
// shares with the tests.
func strike(control []byte, fault uint32, n uint64) {
	launched := binary.LittleEndian.Uint64(control)
	binary.LittleEndian.PutUint32(control[16:], fault)
	binary.LittleEndian.PutUint64(control[8:], launched+n)
}

// TestGPUFaultsChangeNoDecision scores a stream with weir score --device cuda while the GPU
// fails in every way: nothing is degraded, and weir verify, which scores on the CPU, finds
// the same bits.
func TestGPUFaultsChangeNoDecision(t *testing.T) {
	needsDriver(t)
	name := filepath.Join(t.TempDir(), "control")
	mapWord(name) // makes the file
	control := mapped(t, name)
	t.Setenv("CUDA_FAKE_CONTROL", name)
	w := newCrashWorld(t, kafkaForTest(t))
	w.snapshotEvery = 10_000
	w.load(0, 4, "gpu")
	p := start(t, append(w.flags("gpu", filepath.Join(w.dir, "gpu")), "--kafka", w.brokers, "--device", "cuda", "--device-deadline", "300ms")...)
	p.until("the GPU", func() bool { return p.metric(`weir_gpu_models{where="device"}`) == 1 })
	f := w.feed(w.topics("gpu"))
	grow := func() {
		t.Helper()
		for w.total += 3000; f.total < w.total; {
			f.drawHour(min(2000, int(w.total-f.total)))
			if err := f.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.until("decisions", func() bool { return w.progress("gpu") >= w.total })
	}
	grow()
	for fault, name := range strikes {
		before := p.metric("weir_gpu_recoveries_total")
		strike(control, fault, 2)
		grow()
		p.until("recovery from "+name, func() bool { return p.metric("weir_gpu_recoveries_total") > before })
		// Who fails again at once is left alone for longer and longer.
		back := time.Now()
		p.until("worker that has settled", func() bool { return time.Since(back) > 2*time.Second })
	}
	grow()
	t.Logf("%g batches on the GPU, %g on the CPU, %g fallbacks, recovered in %.3f s on average", p.metric(`weir_gpu_batches_total{backend="gpu"}`),
		p.metric(`weir_gpu_batches_total{backend="cpu"}`), p.metric("weir_gpu_fallbacks_total"),
		p.metric("weir_gpu_recovery_seconds_total")/p.metric("weir_gpu_recoveries_total"))
	if p.metric(`weir_gpu_batches_total{backend="gpu"}`) < 20 || p.metric("weir_gpu_fallbacks_total") < float64(len(strikes)) {
		t.Errorf("the GPU had hardly a part in it")
	}
	if r := w.finish(p, "gpu"); r.Degraded != 0 || r.Scored == 0 {
		t.Errorf("%+v", r)
	}
	w.verified(w.brokers, "gpu")
}

// TestGPUFloat16IsVerifiedToABound has a GPU score a stream in float16 arithmetic, and fail:
// the decisions of the CPU are float32, all others say that they are not, and weir verify
// holds each of these to its bound.
func TestGPUFloat16IsVerifiedToABound(t *testing.T) {
	needsDriver(t)
	name := filepath.Join(t.TempDir(), "control")
	mapWord(name) // makes the file
	control := mapped(t, name)
	t.Setenv("CUDA_FAKE_CONTROL", name)
	w := newCrashWorld(t, kafkaForTest(t))
	w.snapshotEvery, w.hidden = 10_000, []int{32, 24}
	w.load(0, 4, "half")
	p := start(t, append(w.flags("half", filepath.Join(w.dir, "half")), "--kafka", w.brokers, "--device", "cuda", "--device-deadline", "300ms", "--device-arithmetic", "float16")...)
	p.until("the GPU", func() bool { return p.metric(`weir_gpu_models{where="device"}`) == 1 })
	f := w.feed(w.topics("half"))
	grow := func() {
		t.Helper()
		for w.total += 3000; f.total < w.total; {
			f.drawHour(min(2000, int(w.total-f.total)))
			if err := f.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.until("decisions", func() bool { return w.progress("half") >= w.total })
	}
	grow()
	strike(control, 4, 2)
	grow()
	p.until("recovery", func() bool { return p.metric("weir_gpu_recoveries_total") > 0 })
	grow()
	rows, audits, off := p.metric(`weir_gpu_rows_total{backend="gpu"}`), p.metric("weir_gpu_audits_total"), p.metric("weir_gpu_difference")
	if r := w.finish(p, "half"); r.Degraded != 0 || r.Scored == 0 {
		t.Errorf("%+v", r)
	}
	r := w.verified(w.brokers, "half")
	t.Logf("%g rows on the GPU, %g audited, at most %g apart; verified: %d at most %g apart", rows, audits, off, r.Float16, r.Difference)
	if r.Float16 == 0 || r.Float16 >= r.Scored || float64(r.Float16) > rows || r.Difference == 0 || off == 0 || r.Difference > .01 {
		t.Errorf("%+v", r)
	}
}

// mapped maps a file's first page.
func mapped(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(page) })
	return page
}
