package trainer

import (
	"math"
	"slices"

	"github.com/weir-risk/weir/scoring"
)

// The numbers of the encoding. Where edges lie decides what a network can see:
// on the Handbook stream average precision was .64 with none, .73 at the
// quantiles of all rows, .75 where half of them are the frauds' own.
const (
	edgeQuantiles = 17      // of each class, of which every second is an edge
	edgeRows      = 100_000 // of a class that are looked at
	edgeGap       = 1e-4    // of the range, below which two edges are one
	linearClip    = 5       // deviations up to which a column's linear term goes
)

// encoder is one column as the network sees it: a linear term and bins that
// rise from 0 to 1 between edges, of the column's standardised signed logarithm.
type encoder struct {
	input scoring.Input // without tables
	edges []float32
}

// encoders returns an encoder for each column of d that varies, each class giving so
// many edges; 0 is as many as edgeQuantiles says.
func encoders(d *Dataset, bins int) (list []encoder) {
	quantiles := edgeQuantiles
	if bins > 0 {
		quantiles = 2*bins - 1
	}
	for c := range d.Names {
		mean, std := moments(d, c, true)
		inv := float32(1 / (std + 0.001))
		if !(std > 0) {
			continue
		}
		e := encoder{input: scoring.Input{Column: c, Log: true, Mean: float32(mean), Inv: inv, Lo: -math.MaxFloat32, Hi: math.MaxFloat32}}
		e.edges = edges(e.quantiles(d, 0, quantiles), e.quantiles(d, 1, quantiles))
		// The bins see a value as it is: a share of fraud that is rare among all rows
		// lies far beyond where a linear term is of use.
		e.input.Lo, e.input.Hi = -linearClip, linearClip
		if n := len(e.edges); n > 0 {
			e.input.Lo, e.input.Hi = min(e.input.Lo, e.edges[0]), max(e.input.Hi, e.edges[n-1])
		}
		list = append(list, e)
	}
	return list
}

// quantiles returns every second of n quantiles of a class's values, in order.
func (e *encoder) quantiles(d *Dataset, class uint8, n int) (q []float32) {
	total := d.Frauds()
	if class == 0 {
		total = d.Rows() - total
	}
	step := max(1, (total+edgeRows-1)/edgeRows)
	var values []float32
	seen := 0
	for i, y := range d.Y {
		if y != class {
			continue
		}
		if seen++; seen%step != 0 {
			continue
		}
		if v := d.Row(i)[e.input.Column]; v == v {
			values = append(values, e.input.Standardise(v))
		}
	}
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	for k := 0; k < n; k += 2 {
		q = append(q, values[k*(len(values)-1)/(n-1)])
	}
	return q
}

// edges is the union of two lists, without those that lie too close together.
func edges(a, b []float32) (list []float32) {
	all := slices.Concat(a, b)
	slices.Sort(all)
	if len(all) == 0 {
		return nil
	}
	for _, v := range []float32{-linearClip, linearClip} {
		if all[0] < v && v < all[len(all)-1] {
			all = append(all, v) // where the linear term ends has to be an edge
		}
	}
	slices.Sort(all)
	gap := max(float32(edgeGap)*(all[len(all)-1]-all[0]), math.SmallestNonzeroFloat32)
	for _, v := range all {
		switch n := len(list); {
		case n == 0 || v-list[n-1] >= gap:
			list = append(list, v)
		case v == -linearClip || v == linearClip:
			list[n-1] = v
		}
	}
	return list
}

// segments is how many straight pieces the encoder has, that of a missing value
// not counted: below the first edge, between edges, and above the last.
func (e *encoder) segments() int { return len(e.edges) + 1 }

// start returns where segment s begins.
func (e *encoder) start(s int) float32 {
	if s == 0 {
		return e.input.Lo
	}
	return e.edges[s-1]
}

// linear reports whether the linear term changes within segment s.
func (e *encoder) linear(s int) bool {
	return s == 0 && e.input.Lo >= -linearClip || s > 0 && e.edges[s-1] >= -linearClip && e.edges[s-1] < linearClip
}

// clipped is what the linear term takes at z.
func clipped(z float32) float32 { return min(max(z, -linearClip), linearClip) }

// place returns the segment of a value and how far into it the value is;
// segments() where it is missing.
func (e *encoder) place(v float32) (segment int, u float32) {
	if v != v {
		return e.segments(), 0
	}
	z := e.input.Standardise(v)
	s, _ := slices.BinarySearchFunc(e.edges, z, func(edge, z float32) int {
		if edge <= z {
			return -1
		}
		return 1
	})
	return s, z - e.start(s)
}
