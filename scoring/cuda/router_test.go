package cuda

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// world is how long batches take in a simulation, in ns.
type world struct {
	cpuBatch, cpuRow, gpuBatch, gpuRow float64
	factor                             [backends]float64 // by which a back end is slower than at first
}

func (w *world) cost(b Backend, rows int) float64 {
	if b == CPU {
		return w.factor[CPU] * (w.cpuBatch + w.cpuRow*float64(rows))
	}
	return w.factor[GPU] * (w.gpuBatch + w.gpuRow*float64(rows))
}

// seed measures both back ends as it is done before a model serves.
func seed(r *router, w *world) {
	for _, rows := range seedRows {
		r.observe(CPU, rows, time.Duration(w.cost(CPU, rows)), false)
		r.observe(GPU, rows, time.Duration(w.cost(GPU, rows)), false)
	}
}

// play runs a router for n batches and returns how long they took, and how long with
// the better back end for each batch. turn changes the world before batch i; noise is
// the spread of a measured time about its cost.
func play(r *rand.Rand, n int, w world, noise float64, rows func() int, turn func(i int, w *world)) (took, best float64, probes [backends]int) {
	var router router
	w.factor = [backends]float64{1, 1}
	measure := func(b Backend, rows int, probe bool) float64 {
		ns := w.cost(b, rows) * math.Exp(noise*r.NormFloat64())
		if r.IntN(200) == 0 {
			ns *= 10 // a pause
		}
		router.observe(b, rows, time.Duration(ns), probe)
		return ns
	}
	seed(&router, &w)
	for i := range n {
		turn(i, &w)
		rows := rows()
		b, probe := router.choose(rows)
		ns := measure(b, rows, false)
		took += ns
		// What the better one would have taken, with the same noise.
		best += ns / w.cost(b, rows) * min(w.cost(CPU, rows), w.cost(GPU, rows))
		if probe > 0 {
			probes[b.other()]++
			took += measure(b.other(), probe, true)
		}
	}
	return took, best, probes
}

// TestRouterIsNearTheBetterBackEnd plays sequences with costs that stay, drift and
// jump, and compares with who knows the costs.
func TestRouterIsNearTheBetterBackEnd(t *testing.T) {
	usual := world{cpuBatch: 1e3, cpuRow: 16e3, gpuBatch: 25e3, gpuRow: 30}
	even := world{cpuBatch: 1e3, cpuRow: 400, gpuBatch: 25e3, gpuRow: 30}
	slow := world{cpuBatch: 1e3, cpuRow: 100, gpuBatch: 200e3, gpuRow: 120}
	stay := func(int, *world) {}
	drift := func(r *rand.Rand) func(int, *world) {
		return func(i int, w *world) {
			for b := range w.factor {
				step := math.Exp(.01 * r.NormFloat64())
				w.factor[b] = min(max(w.factor[b]*step, .1), 10)
			}
		}
	}
	jumps := func(r *rand.Rand) func(int, *world) {
		return func(i int, w *world) {
			if i%5000 == 4999 {
				w.factor[r.IntN(int(backends))] = math.Exp(r.NormFloat64())
			}
		}
	}
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 11))
		mixed := func() int { return 1 + r.IntN(1<<(1+r.IntN(12))) }
		for _, c := range []struct {
			name  string
			w     world
			turn  func(int, *world)
			rows  func() int
			noise float64
		}{
			{"as usual", usual, stay, mixed, .2},
			{"even", even, stay, mixed, .2},
			{"a slow GPU", slow, stay, mixed, .2},
			{"drift", even, drift(r), mixed, .2},
			{"drift at one size", even, drift(r), func() int { return 64 }, .3},
			{"jumps", even, jumps(r), mixed, .2},
			{"jumps at one size", usual, jumps(r), func() int { return 1 }, .2},
		} {
			took, best, probes := play(r, 40_000, c.w, c.noise, c.rows, c.turn)
			t.Logf("seed %d, %s: %.1f%% over the better, probes %v", seed, c.name, 100*(took/best-1), probes)
			if took > 1.1*best {
				t.Errorf("seed %d, %s: %.1f%% over the better back end", seed, c.name, 100*(took/best-1))
			}
		}
	}
}

// TestRouterNoticesARecovery has a GPU that was slow get fast again, which only probes
// can show.
func TestRouterNoticesARecovery(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 12))
	w := world{cpuRow: 1e3, gpuBatch: 25e3}
	gone, back := 0, 0
	var router router
	w.factor = [backends]float64{1, 1}
	seed(&router, &w)
	for i := range 60_000 {
		switch i {
		case 1000:
			w.factor[GPU] = 20
		case 20_000:
			w.factor[GPU] = 1
		}
		b, probe := router.choose(128)
		router.observe(b, 128, time.Duration(w.cost(b, 128)*math.Exp(.1*r.NormFloat64())), false)
		if probe > 0 {
			router.observe(b.other(), probe, time.Duration(w.cost(b.other(), probe)), true)
		}
		if i > 1000 && i < 20_000 && b == CPU && gone == 0 {
			gone = i
		}
		if i > 20_000 && b == GPU && back == 0 {
			back = i
		}
	}
	t.Logf("left after %d batches, back after %d", gone-1000, back-20_000)
	if gone == 0 || gone > 1100 || back == 0 {
		t.Errorf("left at batch %d, back at %d", gone, back)
	}
}

func TestRouterGivesTiesToTheCPU(t *testing.T) {
	var r router
	for rows := 1; rows <= 4096; rows *= 2 {
		r.observe(CPU, rows, time.Duration(1000*rows), false)
		r.observe(GPU, rows, time.Duration(1000*rows), false)
		if b, _ := r.choose(rows); b != CPU {
			t.Errorf("%d rows of the same cost go to the %v", rows, b)
		}
	}
	r.forget(GPU)
	if b, probe := r.choose(4096); b != CPU || probe != 0 {
		t.Errorf("a back end that was never measured is chosen: %v, %d", b, probe)
	}
}

// TestRouterBoundsProbes: a probe holds no batch up for long, whichever back end is the
// slow one.
func TestRouterBoundsProbes(t *testing.T) {
	var r router
	r.observe(CPU, 4096, 65*time.Millisecond, false)
	r.observe(GPU, 4096, 100*time.Microsecond, false)
	if rows, ns := probes(t, &r, GPU, 10_000); rows == 0 || ns > .031*10_000*100e3 {
		t.Errorf("probes of %d rows, %g ns in all", rows, ns)
	}
	r = router{}
	r.observe(CPU, 4096, time.Millisecond, false)
	r.observe(GPU, 4096, 45*time.Millisecond, false) // it is as good as hung
	if rows, ns := probes(t, &r, CPU, 100_000); rows == 0 || ns > .0011*100_000*1e6 {
		t.Errorf("probes of %d rows, %g ns in all", rows, ns)
	}
}

// probes plays n batches of 4096 rows, all of which belong to one back end, and returns
// the rows and the cost of the other one's probes.
func probes(t *testing.T, r *router, want Backend, n int) (rows int, ns float64) {
	t.Helper()
	for range n {
		b, probe := r.choose(4096)
		if b != want {
			t.Fatal("the slow back end is chosen")
		}
		if probe > 0 {
			rows += probe
			cost := r.estimate(b.other(), probe)
			ns += cost
			if part := cost / r.estimate(b, 4096); b == GPU && part > .31 {
				t.Fatalf("a probe of %d rows costs %g of the batch", probe, part)
			}
			r.observe(b.other(), probe, time.Duration(cost), true)
		}
	}
	return rows, ns
}

// TestAuditsHoldNoBatchUp has the CPU score in the meantime what it can in a quarter of
// what the GPU takes, and never nothing.
func TestAuditsHoldNoBatchUp(t *testing.T) {
	for _, c := range []struct {
		cpu, gpu time.Duration // a row, a batch
		want     int
	}{{time.Microsecond, 100 * time.Microsecond, 25}, {8 * time.Microsecond, 40 * time.Microsecond, 1}, {30 * time.Microsecond, 20 * time.Microsecond, 1}, {time.Microsecond, time.Second, 50}} {
		var r router
		if got := r.auditMost(1024, 50); got != 50 {
			t.Errorf("%d rows where nothing is known", got)
		}
		r.observe(CPU, 1, c.cpu, false)
		r.observe(GPU, 1024, c.gpu, false)
		if got := r.auditMost(1024, 50); got != c.want {
			t.Errorf("%v a row, %v a batch: %d rows, want %d", c.cpu, c.gpu, got, c.want)
		}
	}
}
