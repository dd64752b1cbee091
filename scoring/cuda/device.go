package cuda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// Config says how a device is used. The zero Config is the first GPU, worked by this
// program's own gpu-worker.
type Config struct {
	// Ordinal is the number of the GPU, as CUDA counts.
	Ordinal int
	// Persist has a machine without a GPU that can be used tried again, as one whose
	// GPU failed is.
	Persist bool
	// Always sends every batch to the GPU while it serves, be it faster or not.
	Always bool
	// Half has the models scored in float16 arithmetic, on tensor cores, that have a
	// matrix for them (scoring.Halved). What the CPU scores is float32 all the same.
	Half bool
	// Deadline is how long a batch may take on the GPU before the CPU scores it and the
	// worker is replaced; 0 is DeadlineDefault.
	Deadline time.Duration
	// StartWithin is how long a worker may take to open the device, or to take a model;
	// 0 is StartDefault.
	StartWithin time.Duration
	// BackOff is the longest wait before a failed worker is replaced; 0 is BackOffDefault.
	BackOff time.Duration
	// Command is the worker's, nil for this program's.
	Command []string
	// Env is what the worker finds in its environment besides what CUDA looks at.
	Env []string
	Log *slog.Logger
}

// What a Config that says nothing means.
const (
	DeadlineDefault = 50 * time.Millisecond
	StartDefault    = 30 * time.Second
	BackOffDefault  = time.Minute
)

const (
	// backOffFirst is the wait before a worker that failed again at once is replaced; it
	// doubles with each failure. The first one is replaced at once.
	backOffFirst = 100 * time.Millisecond
	// settled is how long a worker has to serve for its failure to be a first one.
	settled = 2 * time.Second
	// wrongMax is how often a model's golden rows may come out wrong, each time on a
	// fresh worker and beside another model's that are right, before it is left to the
	// CPU.
	wrongMax = 3
)

// A Device is a GPU in the hands of a worker process, with the models that are to be
// scored there. It outlives its workers: one that fails is replaced while the CPU goes
// on. Its methods may be called by any goroutine.
type Device struct {
	cfg    Config
	change chan struct{} // there may be something to load
	stop   chan struct{}
	ended  chan struct{}
	once   sync.Once
	meter  meter
	spin   time.Duration

	mu      sync.Mutex
	serving *process // nil: the CPU scores
	models  []*Scorer
	moved   chan struct{} // closed and made anew when the state changes
	stats   Stats         // all but what the meter counts
}

// Open begins to use a device: a worker is started, and what it is to score is scored
// by the CPU until it is ready. Close ends it.
func Open(cfg Config) *Device {
	if cfg.Deadline == 0 {
		cfg.Deadline = DeadlineDefault
	}
	if cfg.StartWithin == 0 {
		cfg.StartWithin = StartDefault
	}
	if cfg.BackOff == 0 {
		cfg.BackOff = BackOffDefault
	}
	if cfg.Command == nil {
		cfg.Command = []string{"/proc/self/exe", "gpu-worker"}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Device{cfg: cfg, change: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}), moved: make(chan struct{}), spin: spin()}
	d.stats.Faults = make(map[link.Class]uint64)
	go d.run() // ends with Close, which waits for it
	return d
}

// spin is how long an answer is looked for before sleeping on it: a wake-up costs more
// than a small batch does, but a core that spins is a core less where there are few.
func spin() time.Duration {
	if runtime.GOMAXPROCS(0) < 4 {
		return 0
	}
	return 50 * time.Microsecond
}

// Close ends the worker and waits for its end. The scorers go on, on the CPU.
func (d *Device) Close() error {
	d.once.Do(func() { close(d.stop) })
	<-d.ended
	return nil
}

// Stats returns what was counted, and how the device stands.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	s.Faults = make(map[link.Class]uint64, len(d.stats.Faults))
	for c, n := range d.stats.Faults {
		s.Faults[c] = n
	}
	s.Models = len(d.models)
	for _, m := range d.models {
		if d.serving != nil && m.on == d.serving {
			s.Loaded++
		}
	}
	d.mu.Unlock()
	d.meter.read(&s)
	return s
}

// Await waits until the device is in one of some states.
func (d *Device) Await(ctx context.Context, states ...State) error {
	for {
		d.mu.Lock()
		state, reason, moved := d.stats.State, d.stats.Reason, d.moved
		d.mu.Unlock()
		if slices.Contains(states, state) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the GPU is %v (%s): %w", state, reason, ctx.Err())
		case <-moved:
		}
	}
}

// move changes the state.
func (d *Device) move(to State, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.State, d.stats.Reason = to, reason
	close(d.moved)
	d.moved = make(chan struct{})
}

// run is the supervisor: it alone starts and ends workers and loads models.
func (d *Device) run() {
	// The workers die with this thread; it ends with the goroutine.
	runtime.LockOSThread()
	defer close(d.ended)
	defer d.move(Closed, "")
	var failedAt time.Time // when the last worker that served failed
	failures, reason := 0, ""
	for {
		d.move(Starting, reason)
		began := time.Now()
		w, err := d.open()
		if err == nil {
			d.serve(w, failedAt)
			err = d.watch(w)
			failedAt = time.Now()
			if failedAt.Sub(began) > settled {
				failures = 0
			}
		}
		if w != nil {
			d.discard(w)
		}
		if errors.Is(err, errStopped) {
			return
		}
		f := d.failed(err)
		failures, reason = failures+1, f.Text
		if !d.wait(f, failures, failedAt.IsZero()) {
			return
		}
	}
}

// open starts a worker and gives it the models that are open. The worker is returned
// with an error too, where there is one to be ended.
func (d *Device) open() (*process, error) {
	w, err := spawn(&d.cfg)
	if err != nil {
		return nil, faultf(link.Start, "%v", err)
	}
	d.mu.Lock()
	d.stats.Starts++
	d.mu.Unlock()
	if err := w.ready(d.cfg.StartWithin, d.stop); err != nil {
		return w, err
	}
	return w, d.load(w, true)
}

// serve lets batches go to a worker.
func (d *Device) serve(w *process, failedAt time.Time) {
	d.mu.Lock()
	i := &w.page.Info
	d.stats.Device = Info{
		Name: i.DeviceName(), Ordinal: d.cfg.Ordinal, Count: int(i.Count), Capability: float64(i.Major) + float64(i.Minor)/10, Processors: int(i.Processors),
		Driver: fmt.Sprintf("%d.%d", i.Driver/1000, i.Driver%1000/10), Memory: i.Memory, Free: i.Free, Pinned: i.Pinned == 1, CompiledKernels: i.Binary == 1,
	}
	info := d.stats.Device
	d.serving = w
	if !failedAt.IsZero() {
		d.stats.Recoveries++
		d.stats.Recovery = time.Since(failedAt)
		d.stats.RecoveryTotal += d.stats.Recovery
	}
	recovery := d.stats.Recovery
	d.mu.Unlock()
	d.move(Serving, "")
	if failedAt.IsZero() {
		d.cfg.Log.Info("the GPU scores", "device", info.Name, "cuda", info.Driver, "compute_capability", info.Capability, "pinned", info.Pinned)
	} else {
		d.cfg.Log.Info("the GPU scores again", "device", info.Name, "after", recovery)
	}
}

// watch loads what comes, until the worker fails.
func (d *Device) watch(w *process) error {
	for {
		select {
		case <-d.stop:
			return errStopped
		case <-w.failed:
			return w.fault
		case <-d.change:
			if err := d.load(w, false); err != nil {
				return err
			}
		}
	}
}

// discard ends a worker. Nobody comes into its page any more; the last one who is in it
// gives it back.
func (d *Device) discard(w *process) {
	d.withdraw(w)
	w.end()
	d.mu.Lock()
	w.over = true
	d.mu.Unlock()
	d.unmap(w)
}

// withdraw sends no more batches to a worker.
func (d *Device) withdraw(w *process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.serving == w {
		d.serving = nil
	}
}

// unmap gives the page of a worker that is over back, once nobody is in it.
func (d *Device) unmap(w *process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.over && w.users == 0 && w.page != nil {
		w.page.Close()
		w.page = nil
	}
}

// failed counts and says why there is no worker any more.
func (d *Device) failed(err error) *Fault {
	f := (*Fault)(nil)
	if !errors.As(err, &f) {
		f = faultf(link.Start, "%v", err)
	}
	d.mu.Lock()
	d.stats.Faults[f.Class]++
	d.mu.Unlock()
	return f
}

// wait waits before the next worker is started, and reports whether there is to be one.
// fresh says that none has served yet: a machine that has no GPU stays without.
func (d *Device) wait(f *Fault, failures int, fresh bool) bool {
	if fresh && f.Class.Lasting() && !d.cfg.Persist {
		d.cfg.Log.Info("scoring on the CPU: "+f.Text, "why", f.Class.String())
		d.move(Absent, f.Text)
		<-d.stop
		return false
	}
	pause := time.Duration(0)
	if failures > 1 || f.Class.Lasting() {
		pause = min(d.cfg.BackOff, backOffFirst<<min(failures-1, 20))
	}
	d.cfg.Log.Warn("the GPU failed: scoring on the CPU until it is back", "why", f.Class.String(), "error", f.Text, "next_try_in", pause)
	d.move(Waiting, f.Text)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return false
		case <-timer.C:
			return true
		case <-d.change: // it is loaded with the others
		}
	}
}

// inherited are the beginnings of the variables that the worker finds in its
// environment: what CUDA and the loader look at. Secrets of weir are not among them.
var inherited = []string{"CUDA_", "NVIDIA_", "LD_LIBRARY_PATH=", "HOME=", "TMPDIR=", "WEIR_LIBCUDA="}

// environment is the worker's.
func environment(more []string) []string {
	env := []string{"GOTRACEBACK=single"}
	for _, v := range os.Environ() {
		if slices.ContainsFunc(inherited, func(name string) bool { return strings.HasPrefix(v, name) }) {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// Scorer returns a scorer of a model, which is put on the device in the background, or,
// where the device serves, before Scorer returns. rows are those of the bundle's
// self-test, flat, or none: the device has to give their scores to the bit before it
// scores others, or within the bound of float16 arithmetic. Its errors are the model's; whatever the device does, the CPU scores.
func (d *Device) Scorer(m *scoring.Model, rows []float32) (*Scorer, error) {
	c, err := cpu.New(m)
	if err != nil {
		return nil, err
	}
	s := &Scorer{device: d, model: m, cpu: c, half: d.cfg.Half, other: make([]float32, link.RowsOf(m.Columns)), tried: make(chan struct{}), audit: audit{owed: auditEach - 1}}
	image, err := s.pack()
	if errors.Is(err, kernels.ErrNoProduct) {
		s.half = false
		image, err = s.pack()
	}
	if err != nil || len(image) > link.ImageBytes {
		s.barred = fmt.Sprintf("the model has no room on the GPU: %v, %d MiB", err, len(image)>>20)
		d.cfg.Log.Info("this model is scored on the CPU", "why", s.barred)
	}
	if s.half {
		s.bound = scoring.NewHalfBound(m)
	}
	if s.golden, err = newGolden(m, rows, c, s.bound, time.Now); err != nil {
		return nil, err
	}
	for i, rows := range seedRows {
		s.router.observe(CPU, rows, s.golden.cost[i], false)
	}
	d.mu.Lock()
	d.models = append(d.models, s)
	w := d.serving
	d.mu.Unlock()
	d.tell()
	if w != nil && s.barred == "" {
		select {
		case <-s.tried:
		case <-w.failed:
		case <-d.ended:
		}
	}
	return s, nil
}

// tell has the supervisor look at what there is to load.
func (d *Device) tell() {
	select {
	case d.change <- struct{}{}:
	default:
	}
}
