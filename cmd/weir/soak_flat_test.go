package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A look is what a process had of something, after so many millions of integers. Calm is
// one while the stream was no more than a second behind, and lines are laid through those:
// what catches up has larger steps, fetches and queues, and how often it does is chance.
type look struct {
	millions, mib float64
	calm          bool
}

// A trait is something of a process that must not grow with what it has done, each in
// a role of its own: who decides has more of it than who stands by, for fetches, steps
// and snapshots.
type trait struct{ who, what string }

const (
	resident = "resident"
	// heap is its heap as the collector left it last: what is resident turns with the
	// collector and with states that are rebuilt, by more than a leak adds in minutes.
	heap = "live heap"
)

// soakBars are how many MiB more there may be for a million integers, which is as many
// bytes for one. Each has a state of all that the windows hold after 0.7 million; from then
// on nothing of the scorer's is allowed to grow, and what the bars leave is for noise. The
// embedded broker has none: one that was killed reads all that it keeps into memory as it
// begins again, gigabytes, and keeps 72 bytes of each batch.
var soakBars = map[trait]float64{
	{"a scorer that decides", resident}:   1.5,
	{"a scorer that decides", heap}:       0.5,
	{"a scorer that stands by", resident}: 1.5,
	{"a scorer that stands by", heap}:     0.5,
	{"the broker", resident}:              math.Inf(1),
	{"the load", resident}:                0.5,
}

// soakWarm is when a soak is warm, in millions of integers, or after a quarter of it: the
// windows are full, and each buffer that is used again was once as large as it gets.
const soakWarm = 2.0

// look notes what the processes have: the scorer that is spared, the broker, which begins
// anew where it is killed, and this one.
func (s *soak) look(calm bool) {
	s.t.Helper()
	millions := float64(s.total) / 1e6
	note := func(who, what string, bytes float64) {
		if bytes > 0 {
			s.looks[trait{who, what}] = append(s.looks[trait{who, what}], look{millions, bytes / (1 << 20), calm})
		}
	}
	note("the load", resident, float64(memoryOf("self", "VmRSS")))
	if s.broker != nil && s.back.IsZero() {
		note("the broker", resident, float64(memoryOf(strconv.Itoa(s.broker.cmd.Process.Pid), "VmRSS")))
	}
	if n := s.spared; n.due.IsZero() && n.p.said("serves metrics") != nil {
		who := "a scorer that stands by"
		if n.p.metric("weir_owner") == 1 {
			who = "a scorer that decides"
		}
		note(who, resident, n.p.resident()*(1<<20))
		note(who, heap, n.p.metric("go_memstats_next_gc_bytes")/2) // the collector's goal is twice that
	}
}

// A growth is the straight line through looks.
type growth struct {
	looks        int     // calm ones
	mib, most    float64 // on the average of these, and at most of all
	slope, noise float64 // MiB for a million integers, and what chance makes of it: twice its standard error
}

// soakBlocks is how many points a line is laid through, each the mean of as many looks in a
// row: of two looks a second apart the second says little that the first did not.
const soakBlocks = 12

// growthOf lays a line through looks; false where they are too few.
func growthOf(list []look) (g growth, ok bool) {
	for _, l := range list {
		g.most = max(g.most, l.mib)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(l look) bool { return !l.calm })
	if g.looks = len(list); g.looks < 4*soakBlocks {
		return g, false
	}
	var x, y [soakBlocks]float64
	var mx, my float64
	for b := range soakBlocks {
		block := list[b*len(list)/soakBlocks : (b+1)*len(list)/soakBlocks]
		for _, l := range block {
			x[b], y[b] = x[b]+l.millions/float64(len(block)), y[b]+l.mib/float64(len(block))
		}
		mx, my = mx+x[b]/soakBlocks, my+y[b]/soakBlocks
	}
	var xx, xy, rest float64
	for b := range soakBlocks {
		xx, xy = xx+(x[b]-mx)*(x[b]-mx), xy+(x[b]-mx)*(y[b]-my)
	}
	g.mib, g.slope = my, xy/xx
	for b := range soakBlocks {
		off := y[b] - my - g.slope*(x[b]-mx)
		rest += off * off
	}
	g.noise = 2 * math.Sqrt(rest/(soakBlocks-2)/xx)
	return g, true
}

// flat fails the test where something grew by more than its bar, chance aside, or where a
// soak that is long enough cannot tell. A shorter one is judged by the heap alone: what is
// resident comes to what the collector allows within minutes, and creeps until then.
func (s *soak) flat(long time.Duration) {
	s.t.Helper()
	warm := max(soakWarm, float64(s.total)/1e6/4)
	for _, k := range slices.SortedFunc(maps.Keys(soakBars), func(a, b trait) int { return cmp.Compare(a.who+a.what, b.who+b.what) }) {
		list := s.looks[k]
		for len(list) > 0 && list[0].millions < warm {
			list = list[1:]
		}
		what, bar := fmt.Sprintf("%s, %s", k.who, k.what), soakBars[k]
		g, ok := growthOf(list)
		if !ok {
			if s.t.Logf("%-35s %d calm looks are too few to tell", what, g.looks); long >= 10*time.Minute && (k.who != "the broker" || s.broker != nil) {
				s.t.Errorf("of %s nothing is shown", what)
			}
			continue
		}
		s.t.Logf("%-35s %4.0f MiB, at most %4.0f; %+.2f ± %.2f MiB for a million transactions, the bar is %.1f", what, g.mib, g.most, g.slope, g.noise, bar)
		switch {
		case g.slope-g.noise > bar && (k.what == heap || long >= 10*time.Minute):
			s.t.Errorf("%s grew by %+.2f MiB for a million transactions", what, g.slope)
		case long >= 10*time.Minute && g.noise > bar:
			s.t.Errorf("%s: chance alone makes %.2f MiB for a million transactions", what, g.noise)
		}
	}
}

// TestGrowthIsToldFromTheCollectorsTurns lays lines through memory that goes up and down by
// 80 MiB as a collector has it, and through the same with a leak of two bytes a transaction.
func TestGrowthIsToldFromTheCollectorsTurns(t *testing.T) {
	for _, leak := range []float64{0, 2} {
		var list []look
		for i := range 1350 { // what half an hour at 50,000 a second leaves of its looks
			millions := 22.5 + float64(i)*0.05
			list = append(list, look{millions, 300 + float64(i*i%37)/37*80 + leak*millions, true})
		}
		g, ok := growthOf(list)
		if !ok || math.Abs(g.slope-leak) > g.noise || g.noise > 0.5 {
			t.Errorf("a leak of %g MiB for a million: %+v", leak, g)
		}
		if _, ok := growthOf(list[:4*soakBlocks-1]); ok {
			t.Error("a line through too few looks")
		}
	}
}
