package cuda

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/weir-risk/weir/scoring/cuda/link"
)

// State is how a device stands.
type State uint8

// The states of a device. In all but Serving the CPU scores everything.
const (
	Starting State = iota // a worker is opening the device and shows its golden rows
	Serving               // batches go where they are done first
	Waiting               // a worker failed; another is started after a while
	Absent                // the machine has no GPU that can be used, and no try is made
	Closed
)

// String names the state as a metric's label does.
func (s State) String() string {
	return [...]string{"starting", "serving", "waiting", "absent", "closed"}[s]
}

// LatencyBounds are the upper bounds, in seconds, of the buckets of Latency.
var LatencyBounds = [...]float64{10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, .1, .2}

// Latency is a histogram of how long batches took.
type Latency struct {
	Count   uint64
	Sum     float64                    // seconds
	Buckets [len(LatencyBounds)]uint64 // batches within each bound, those within the bound before it included
}

// Stats is what a device counted, and how it stands.
type Stats struct {
	State  State
	Reason string // why it does not serve, if it does not
	Device Info   // of the worker that serves, or served last

	// Of each back end: what it scored, and what it was probed with beside that.
	Batches, Rows, Probes [backends]uint64
	Latency               [backends]Latency
	// Audits are rows on the GPU that were scored on the CPU too, and compared, probes
	// aside; Difference is the largest in what was compared, 0 in float32 arithmetic.
	Audits     uint64
	Difference float64
	// Fallbacks are batches that were begun on the GPU and scored on the CPU.
	Fallbacks uint64
	// Busy are batches that found every lane taken, and were scored on the CPU.
	Busy uint64
	// Faults are counted by class.
	Faults map[link.Class]uint64
	// Starts are workers that were started, Recoveries those that served after another
	// one had failed, and Recovery how long that took: the last one, and all.
	Starts, Recoveries      uint64
	Recovery, RecoveryTotal time.Duration
	// Models are those that are open, Loaded those of them that are on the device.
	Models, Loaded int
}

// Info is what is known of a device.
type Info struct {
	Name            string  `json:"name"`
	Ordinal         int     `json:"ordinal"`
	Count           int     `json:"devices"` // that the driver sees
	Capability      float64 `json:"compute_capability"`
	Processors      int     `json:"multiprocessors"`
	Driver          string  `json:"cuda_driver"` // the CUDA version that the driver is of
	Memory          uint64  `json:"memory_bytes"`
	Free            uint64  `json:"memory_free_bytes"`
	Pinned          bool    `json:"pinned"`           // the device reads batches where they are written
	CompiledKernels bool    `json:"compiled_kernels"` // came with weir; else the driver compiled them
}

// meter is what is counted while batches are scored.
type meter struct {
	batches, rows, probes [backends]atomic.Uint64
	nanos                 [backends]atomic.Uint64
	buckets               [backends][len(LatencyBounds) + 1]atomic.Uint64
	fallbacks, busy       atomic.Uint64
	audits, difference    atomic.Uint64 // difference: bits of a float64, which sort as it does
}

// differ takes in how far scores of the two back ends were apart.
func (m *meter) differ(d float64) {
	for now := math.Float64bits(d); ; {
		if most := m.difference.Load(); now <= most || m.difference.CompareAndSwap(most, now) {
			return
		}
	}
}

// scored counts batches of a back end.
func (m *meter) scored(b Backend, batches, rows int, took time.Duration) {
	m.batches[b].Add(uint64(batches))
	m.rows[b].Add(uint64(rows))
	m.nanos[b].Add(uint64(took))
	each, at := took.Seconds()/float64(batches), 0
	for at < len(LatencyBounds) && each > LatencyBounds[at] {
		at++
	}
	m.buckets[b][at].Add(uint64(batches))
}

// read puts what was counted into s.
func (m *meter) read(s *Stats) {
	for b := range backends {
		s.Batches[b], s.Rows[b], s.Probes[b] = m.batches[b].Load(), m.rows[b].Load(), m.probes[b].Load()
		l := &s.Latency[b]
		l.Sum = time.Duration(m.nanos[b].Load()).Seconds()
		for i := range m.buckets[b] {
			if l.Count += m.buckets[b][i].Load(); i < len(l.Buckets) {
				l.Buckets[i] = l.Count
			}
		}
	}
	s.Fallbacks, s.Busy = m.fallbacks.Load(), m.busy.Load()
	s.Audits, s.Difference = m.audits.Load(), math.Float64frombits(m.difference.Load())
}
