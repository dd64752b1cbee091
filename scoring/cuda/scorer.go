package cuda

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// Scorer scores with one model, each batch on the back end that does it first; it
// implements [scoring.Scorer]. Use it in one goroutine at a time; Close may be called by
// any, at any time, and leaves a scorer that uses the CPU.
type Scorer struct {
	device *Device
	model  *scoring.Model
	cpu    *cpu.Scorer
	half   bool               // in float16 arithmetic, on the GPU
	bound  *scoring.HalfBound // of that
	golden *golden
	router router
	audit  audit
	other  []float32     // scores of a probe or an audit
	halved bool          // of float16 arithmetic are the last scores
	tried  chan struct{} // closed once the supervisor has had its try

	// The rest is the device's, under its lock.
	on     *process // whose device holds the model
	slot   int
	fresh  bool                         // it is there since the last batch, and cost is what it was measured at
	cost   [len(seedRows)]time.Duration // of the supervisor until fresh is set
	barred string                       // why it is never put on a device
	wrong  int
	closed bool
	busy   bool // a batch of it is on the device
	told   bool // tried is closed
}

var (
	_ scoring.Halved = (*Scorer)(nil)
	_ io.Closer      = (*Scorer)(nil)
)

// tell closes tried, once.
func (s *Scorer) tell() {
	if !s.told {
		s.told = true
		close(s.tried)
	}
}

// Close gives the model's slot on the device back.
func (s *Scorer) Close() error {
	d := s.device
	d.mu.Lock()
	s.closed = true
	for i, m := range d.models {
		if m == s {
			d.models = append(d.models[:i], d.models[i+1:]...)
			break
		}
	}
	if !s.busy {
		s.release()
	}
	d.mu.Unlock()
	d.tell()
	return nil
}

// release frees the slot that the model is in; d.mu is held.
func (s *Scorer) release() {
	if s.on != nil {
		s.on.slots[s.slot] = nil
		s.on = nil
	}
}

// A visit is the time that a scorer spends in a worker's page.
type visit struct {
	w     *process
	slot  int
	lanes [servingLanes]int
	n     int // lanes
}

// enter takes lanes of the worker that holds the model, one or up to as many as there
// are batches; w is nil where there is none, or no lane.
func (s *Scorer) enter(batches int) (v visit) {
	d := s.device
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.serving
	if w == nil || s.on != w || s.closed {
		return v
	}
	for lane := range w.lanes {
		if !w.lanes[lane] && v.n < batches {
			w.lanes[lane] = true
			v.lanes[v.n] = lane
			v.n++
		}
	}
	if v.n == 0 {
		d.meter.busy.Add(1)
		return v
	}
	w.users++
	v.w, v.slot, s.busy = w, s.slot, true
	return v
}

// leave gives the lanes back.
func (s *Scorer) leave(v *visit) {
	d := s.device
	d.mu.Lock()
	for _, lane := range v.lanes[:v.n] {
		v.w.lanes[lane] = false
	}
	v.w.users--
	s.busy = false
	if s.closed {
		s.release()
	}
	over, closed := v.w.over, s.closed
	d.mu.Unlock()
	if over {
		d.unmap(v.w)
	}
	if closed {
		d.tell()
	}
}

// learn takes over what the device was measured at when the model came there.
func (s *Scorer) learn() {
	d := s.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if !s.fresh {
		return
	}
	s.fresh = false
	s.router.forget(GPU)
	for i, rows := range seedRows {
		s.router.observe(GPU, min(rows, link.RowsOf(s.model.Columns)), s.cost[i], false)
	}
}

// Score implements [scoring.Scorer]. Its only error is scoring.ErrMatrix: what the
// device does not score the CPU does, to the same bits.
func (s *Scorer) Score(x scoring.Matrix, out []float32) error {
	if err := s.fits(x, out); err != nil {
		return err
	}
	if x.Rows == 0 {
		return nil
	}
	s.halved = false
	s.learn()
	each := min(x.Rows, link.RowsOf(x.Cols))
	batches := (x.Rows + each - 1) / each
	to, probe := s.router.choose(each)
	if s.device.cfg.Always {
		to = GPU
	}
	var v visit
	switch {
	case to == GPU:
		v = s.enter(batches)
	case probe > 0:
		v = s.enter(1)
	}
	if v.w == nil {
		return s.onCPU(x, out, each)
	}
	defer s.leave(&v)
	if to == CPU {
		if err := s.onCPU(x, out, each); err != nil {
			return err
		}
		s.probeGPU(&v, part(x, 0, probe), out)
		return nil
	}
	s.audit.next(x.Rows, s.router.auditMost(each, len(s.other)))
	start := time.Now()
	done, fault := s.onGPU(&v, x, out)
	took := time.Since(start)
	if fault == nil && !s.confirm(x, out, probe) {
		done, fault = 0, errWrongBits
	}
	if fault != nil && s.half {
		done = 0 // all of a matrix is of one arithmetic
	}
	if done > 0 {
		n := (done + each - 1) / each
		s.device.meter.scored(GPU, n, done, took)
		s.router.observe(GPU, each, took/time.Duration(n), false)
	}
	if fault == nil {
		s.halved = s.half
		return nil
	}
	s.device.withdraw(v.w)
	v.w.fail(fault)
	rest := part(x, done, x.Rows-done)
	s.device.meter.fallbacks.Add(uint64((rest.Rows + each - 1) / each))
	return s.onCPU(rest, out[done:], min(each, rest.Rows))
}

// Half implements [scoring.Halved].
func (s *Scorer) Half() bool { return s.halved }

// errWrongBits is the fault of a device that goes wrong while it serves.
var errWrongBits = faultf(link.WrongBits, "a batch on the GPU scored otherwise than on the CPU")

// ErrNotServing says that the GPU does not score with this model now.
var ErrNotServing = errors.New("the GPU does not score with this model now")

// Measure scores rows on a back end of the caller's choice and returns how long that
// took: with the other's cost, what the router weighs. Its errors are those of Score, and
// ErrNotServing or a [Fault] where the GPU did not score them.
func (s *Scorer) Measure(b Backend, x scoring.Matrix, out []float32) (time.Duration, error) {
	if b == CPU {
		start := time.Now()
		err := s.cpu.Score(x, out)
		return time.Since(start), err
	}
	if err := s.fits(x, out); err != nil {
		return 0, err
	}
	start := time.Now()
	v := s.enter(servingLanes)
	if v.w == nil {
		return 0, ErrNotServing
	}
	defer s.leave(&v)
	s.audit.rows = 0
	if _, f := s.onGPU(&v, x, out); f != nil {
		s.device.withdraw(v.w)
		v.w.fail(f)
		return 0, f
	}
	return time.Since(start), nil
}

// fits returns an error where a matrix does not fit the model, or the scores their place.
func (s *Scorer) fits(x scoring.Matrix, out []float32) error {
	if x.Cols != s.model.Columns || x.Rows < 0 || len(x.Data) < x.Rows*x.Cols || len(out) < x.Rows {
		return fmt.Errorf("%d rows of %d columns in %d numbers, scores for %d, model of %d columns: %w",
			x.Rows, x.Cols, len(x.Data), len(out), s.model.Columns, scoring.ErrMatrix)
	}
	return nil
}

// onCPU scores on the CPU; each is the size of a batch.
func (s *Scorer) onCPU(x scoring.Matrix, out []float32, each int) error {
	start := time.Now()
	if err := s.cpu.Score(x, out); err != nil {
		return err
	}
	took, batches := time.Since(start), (x.Rows+each-1)/each
	s.device.meter.scored(CPU, batches, x.Rows, took)
	s.router.observe(CPU, each, took/time.Duration(batches), false)
	return nil
}

// onGPU scores on the device, with a batch in flight in each lane of the visit, and
// returns how many rows it has scored: all of them, or those before the fault. The CPU
// scores the rows of the audit meanwhile.
func (s *Scorer) onGPU(v *visit, x scoring.Matrix, out []float32) (done int, f *Fault) {
	var before [servingLanes]uint32
	var since [servingLanes]time.Time
	each, page := link.RowsOf(x.Cols), v.w.page
	for sent, first, flying := 0, 0, 0; done < x.Rows; {
		for flying < v.n && sent < x.Rows {
			at := (first + flying) % v.n
			n := min(each, x.Rows-sent)
			copy(page.Rows(v.lanes[at]), x.Data[sent*x.Cols:(sent+n)*x.Cols])
			since[at] = time.Now()
			before[at] = v.w.submit(v.lanes[at], v.slot, n)
			sent, flying = sent+n, flying+1
		}
		if done == 0 && s.audit.rows > 0 {
			if s.cpu.Score(part(x, s.audit.from, s.audit.rows), s.other) != nil {
				s.audit.rows = 0 // x fits the model, or it would not be here
			}
		}
		lane, n := v.lanes[first], min(each, x.Rows-done)
		if f := v.w.collect(lane, before[first], s.device.spin, s.device.cfg.Deadline-time.Since(since[first])); f != nil {
			return done, f
		}
		for i, p := range page.Scores(lane)[:n] {
			if !(p >= 0 && p <= 1) {
				return done, faultf(link.WrongBits, "the GPU gave %g for a score", p)
			}
			out[done+i] = p
		}
		done, flying, first = done+n, flying-1, (first+1)%v.n
	}
	return done, nil
}

// confirm compares what the GPU gave with the rows of the audit, and of the probe where
// there is one, and reports whether it is right.
func (s *Scorer) confirm(x scoring.Matrix, out []float32, probe int) bool {
	if a := &s.audit; a.rows > 0 {
		s.device.meter.audits.Add(uint64(a.rows))
		if !s.agree(part(x, a.from, a.rows), out[a.from:], s.other) {
			return false
		}
	}
	return probe == 0 || s.probeCPU(part(x, 0, probe), out)
}

// probeGPU scores rows on the device that the CPU has scored, for what it costs; and
// compares.
func (s *Scorer) probeGPU(v *visit, x scoring.Matrix, want []float32) {
	start := time.Now()
	s.audit.rows = 0
	_, f := s.onGPU(v, x, s.other)
	if f == nil {
		s.router.observe(GPU, x.Rows, time.Since(start), true)
		s.device.meter.probes[GPU].Add(1)
		if !s.agree(x, s.other, want) {
			f = errWrongBits
		}
	}
	if f != nil {
		s.device.withdraw(v.w)
		v.w.fail(f)
	}
}

// probeCPU scores rows on the CPU that the device has scored, for what it costs, and
// reports whether the scores are the same.
func (s *Scorer) probeCPU(x scoring.Matrix, want []float32) bool {
	start := time.Now()
	if s.cpu.Score(x, s.other) != nil {
		return true // x fits the model, or it would not be here
	}
	s.router.observe(CPU, x.Rows, time.Since(start), true)
	s.device.meter.probes[CPU].Add(1)
	return s.agree(x, want, s.other)
}

// same compares bits.
func same(a, b []float32) bool {
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
