package cuda

import (
	"math"
	"math/bits"
	"time"
)

// Backend is what a batch is scored by.
type Backend uint8

// The back ends.
const (
	CPU Backend = iota
	GPU
	backends
)

// String names the back end as a metric's label does.
func (b Backend) String() string { return [backends]string{"cpu", "gpu"}[b] }

// other returns the one that it is not.
func (b Backend) other() Backend { return 1 - b }

// A router says which back end does a batch first, from what batches cost on both.
// It is arithmetic on measured times and reads no clock. One goroutine uses it.
//
// Batches are told apart by their size, in powers of two: small ones are done first on
// the CPU, whose cost grows with every row, and large ones on the GPU, whose cost
// hardly does. What a batch is expected to cost is the product of what its class costs,
// which moves slowly, and of how fast the back end is now, which all classes share and
// which moves quickly: a GPU that somebody else uses too is slow for every size.
//
// What is not used is not measured, so now and then a batch is scored on both: as
// often as costs a small part of the time, less often where one probe would hold a
// batch up for long.
type router struct {
	// class is what a batch costs in ns where pace is 1: for a row on the CPU, for a
	// whole batch on the GPU. 0 is not known.
	class  [backends][classes]float64
	pace   [backends]float64
	credit [classes]float64 // ns of probing that the class has earned
}

// classes are the sizes up to 1, 2, 4, ... 4096 rows.
const classes = 13

const (
	// followClass and followPace are the weights of a new measurement, of logarithms.
	// What is used is measured again at once; a probe has to count for more.
	followClass = 1. / 32
	followPace  = 1. / 8
	followProbe = 1. / 2
	// jump bounds how much slower one measurement can be taken to be than was expected,
	// so that a pause of the process does not send the next batches elsewhere. Nothing
	// is fast by accident.
	jump = 2
	// ahead is how much less the GPU has to cost: a tie is the CPU's.
	ahead = .98
	// probing is the part of the time that may go into probes, and probeLong the
	// length in ns from which they are made rarer by a factor of probeRare.
	probing   = .03
	probeLong = 2e6
	probeRare = 30
	// probePart bounds a probe of the CPU, which can be of the first rows only, by the
	// cost of the batch.
	probePart = .3
)

func classOf(rows int) int { return min(bits.Len(uint(rows-1)), classes-1) }

// nearest returns the class closest to that of a batch that was measured; false where
// none was.
func (r *router) nearest(b Backend, rows int) (int, bool) {
	at := classOf(rows)
	for away := range classes {
		for _, c := range [2]int{at - away, at + away} {
			if c >= 0 && c < classes && r.class[b][c] != 0 {
				return c, true
			}
		}
	}
	return 0, false
}

// estimate returns what a batch is expected to cost in ns, 0 where it is not known.
func (r *router) estimate(b Backend, rows int) float64 {
	c, ok := r.nearest(b, rows)
	if !ok {
		return 0
	}
	ns := r.class[b][c] * r.pace[b]
	if b == CPU {
		ns *= float64(rows)
	}
	return ns
}

// choose returns the back end for a batch, and how many of its rows to score on the
// other one too: 0 but for a probe.
func (r *router) choose(rows int) (b Backend, probe int) {
	cost := [backends]float64{r.estimate(CPU, rows), r.estimate(GPU, rows)}
	if cost[GPU] != 0 && cost[GPU] < ahead*cost[CPU] {
		b = GPU
	}
	need, probe := cost[b.other()], rows
	if b == GPU && need > probePart*cost[b] {
		probe = max(1, int(float64(rows)*probePart*cost[b]/need))
		need *= float64(probe) / float64(rows)
	}
	if need > probeLong {
		need *= probeRare
	}
	c := classOf(rows)
	if r.credit[c] += probing * cost[b]; r.credit[c] < need || need == 0 {
		return b, 0
	}
	r.credit[c] = 0
	return b, probe
}

// observe takes a measured time in; probe says that it was one.
func (r *router) observe(b Backend, rows int, took time.Duration, probe bool) {
	ns := max(1, float64(took))
	c, ok := r.nearest(b, rows)
	if !ok {
		r.pace[b] = 1
	}
	if at := classOf(rows); c != at || !ok {
		c = at
		if r.class[b][c] = ns / r.pace[b]; b == CPU {
			r.class[b][c] /= float64(rows)
		}
		return
	}
	off := math.Log2(min(jump, ns/r.estimate(b, rows)))
	pace := followPace
	if probe {
		pace = followProbe
	}
	r.pace[b] *= math.Exp2(pace * off)
	r.class[b][c] *= math.Exp2(followClass * off)
}

// forget drops what was measured of a back end: it is another one now.
func (r *router) forget(b Backend) { r.class[b] = [classes]float64{} }
