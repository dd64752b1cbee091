package trainer

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// rivals draws rows of cards over days, and two models that see the rows' true
// logits with noise of their own: the less, the better. Frauds come in bursts on
// a card, so that rows of a card go together.
func rivals(seed uint64, rows int, noise [2]float64) (d *Dataset, models [2]Judged) {
	r := rand.New(rand.NewPCG(seed, 7))
	d = NewDataset([]string{"x"})
	models = [2]Judged{{Name: "champion", Review: .3}, {Name: "challenger", Review: .3}}
	bad := make(map[uint64]float64)
	for i := range rows {
		card := uint64(1 + r.IntN(rows/8))
		if _, known := bad[card]; !known {
			bad[card] = 1.5 * r.NormFloat64()
		}
		z := -4.5 + bad[card] + 1.5*r.NormFloat64()
		fraud := r.Float64() < sigmoid(z)
		d.AddCard([]float32{0}, fraud, int64(i)*10*dayMs/int64(rows)+dayMs/3, 100+int64(math.Exp(8+r.NormFloat64())), card)
		for m := range models {
			p := float32(sigmoid(z + noise[m]*r.NormFloat64()))
			models[m].Prob = append(models[m].Prob, p)
		}
	}
	for m := range models {
		models[m].Rank = models[m].Prob
	}
	return d, models
}

// someContest is small, with ties, weights, cards of nobody, and two segments.
func someContest(r *rand.Rand) (*contest, [2]*Judged, GateOptions) {
	d, scores := queueWorld(r)
	for d.Frauds() == 0 {
		d, scores = queueWorld(r)
	}
	a, b := Judged{Prob: scores, Review: .5}, Judged{Review: 300}
	for i := range scores {
		p := float32(r.IntN(20)) / 32
		b.Prob, b.Rank = append(b.Prob, p), append(b.Rank, p*float32(d.AmountBase[i]))
	}
	a.Rank = a.Prob
	models := [2]*Judged{&a, &b}
	o := GateOptions{PerDay: 6 * r.Float64(), Cards: r.IntN(2) == 0, Segments: []Segment{AmountBands(d, 0), Hours(d)}}
	return newContest(models, d, &o), models, o
}

// within returns what of d, and of a model's list, is in a scope.
func (c *contest) within(scope int, weight []float32, list []float32) (values []float32, y []uint8, w []float32) {
	for i := range list {
		in := scope == 0
		for s := range c.segments {
			in = in || c.base[s]+int(c.segments[s].Of[i]) == scope
		}
		if in && weight[i] > 0 {
			values, y, w = append(values, list[i]), append(y, c.held.Y[i]), append(w, weight[i])
		}
	}
	return values, y, w
}

// reviewedOf walks the days' items one by one: what a desk of a capacity sees,
// where each row counts as its weight says.
func reviewedOf(d *Dataset, m *Judged, o *GateOptions, weight []float32) (precision, caught float64) {
	type item struct {
		best          float32
		first         int
		weight        float64
		fraud         bool
		money         float64
		day, card, no int64
	}
	var list []*item
	total := 0.0
	for i := range d.Y {
		k := item{best: m.Rank[i], first: i, day: floorDiv(d.Time[i], dayMs), card: int64(d.Card[i]), weight: float64(weight[i])}
		if !o.Cards || k.card == 0 {
			k.no = int64(i + 1)
		}
		p := &k
		if n := slices.IndexFunc(list, func(o *item) bool { return o.day == k.day && o.card == k.card && o.no == k.no }); n >= 0 {
			p = list[n]
			p.best, p.weight = max(p.best, k.best), min(p.weight, k.weight)
		} else {
			list = append(list, p)
		}
		if d.Y[i] != 0 {
			p.fraud = true
			p.money += float64(weight[i]) * float64(d.AmountBase[i])
			total += float64(weight[i]) * float64(d.AmountBase[i])
		}
	}
	slices.SortStableFunc(list, func(a, b *item) int {
		if a.day != b.day {
			return int(a.day - b.day)
		}
		return int(math.Copysign(1, float64(b.best-a.best))) * min(1, int(math.Abs(float64(b.best-a.best))*1e6))
	})
	capacity := dayCapacity(d, o.PerDay)
	reviewed, hits := 0.0, 0.0
	for _, k := range list {
		day := k.day - list[0].day
		take := min(k.weight, capacity[day])
		capacity[day] -= take
		reviewed += take
		if k.fraud {
			hits += take
		}
		if take > 0 {
			caught += k.money * take / k.weight
		}
	}
	return hits / reviewed, caught / total
}

// A draw is the figures of rows whose weights are multiplied, each computed here
// by its definition.
func TestDrawsAreFiguresOfOtherWeights(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 8))
	same := func(a, b, near float64) bool { return math.Abs(a-b) < near || a != a && b != b }
	for range 40 {
		c, models, o := someContest(r)
		times := make([]uint64, c.clusters)
		table := poissonTable()
		for lane := 1; lane < lanes; lane++ { // the first lane has each card once
			drawTimes(times, lane, table, rand.NewPCG(r.Uint64(), 0))
		}
		for i := range times {
			times[i] |= 1
		}
		got := c.figures(times, newTally(c.scopes), lanes)
		for lane := range lanes {
			weight := slices.Clone(c.held.Weight)
			for i := range weight {
				weight[i] *= float32(times[c.cluster[i]] >> (8 * lane) & 0xff)
			}
			for s := range c.scopes {
				for m := range models {
					f := got[lane][(s*2+m)*numFigures:][:numFigures]
					prob, y, w := c.within(s, weight, models[m].Prob)
					if want := averagePrecision(prob, y, w); !same(f[figureAP], want, 1e-9) {
						t.Fatalf("seed %d: lane %d, scope %d, model %d: average precision %g, not %g", seed, lane, s, m, f[figureAP], want)
					}
					want := calibrationError(reliability(prob, y, w, w, reliabilityBins))
					if lane == 0 && len(prob) > 0 && !same(f[figureCalibration], want, 1e-6) {
						t.Fatalf("seed %d: scope %d, model %d: calibration error %g, not %g", seed, s, m, f[figureCalibration], want)
					}
				}
			}
			for m := range models {
				f := got[lane][m*numFigures:]
				precision, caught := reviewedOf(c.held, models[m], &o, weight)
				if !same(f[figurePrecision], precision, 1e-9) || !same(f[figureMoney], caught, 1e-9) {
					t.Fatalf("seed %d: lane %d, model %d: precision %g and money %g, not %g and %g", seed, lane, m, f[figurePrecision], f[figureMoney], precision, caught)
				}
			}
		}
	}
}

// The alerts of the model's own threshold, and the segments' parts of money, add
// up.
func TestScopesAddUp(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 9))
	for range 100 {
		c, models, o := someContest(r)
		once := make([]uint64, c.clusters)
		for i := range once {
			once[i] = 1
		}
		for m := range models {
			tally := newTally(c.scopes)
			c.work(&c.queues[m], once, 0, tally)
			it := newItems(c.held, o.Cards)
			best, _ := it.best(models[m].Rank)
			if want := it.reviewed(best, models[m].Review, c.held).items; tally.alerts[0] != want {
				t.Fatalf("seed %d: model %d: %g alerts, not %g", seed, m, tally.alerts[0], want)
			}
			for _, sum := range [][]float64{tally.reviewed, tally.hits, tally.alerts, tally.caught, tally.money} {
				for s := range c.segments {
					parts := 0.0
					for k := range c.segments[s].Values {
						parts += sum[c.base[s]+k]
					}
					if math.Abs(parts-sum[0]) > 1e-6*(1+sum[0]) {
						t.Fatalf("seed %d: model %d, segment %d: parts make %g of %g", seed, m, s, parts, sum[0])
					}
				}
			}
		}
	}
}

// Long runs of one card overflow no lane.
func TestCountHoldsTheMost(t *testing.T) {
	list := make([]int32, runMax)
	times := []uint64{0}
	for k := range lanes {
		times[0] |= uint64(1+k%timesMax) << (8 * k)
	}
	even, odd := count(list, times)
	for k := range lanes {
		sum := even
		if k%2 == 1 {
			sum = odd
		}
		if got, want := sum>>(16*(k/2))&0xffff, uint64(runMax*(1+k%timesMax)); got != want {
			t.Errorf("lane %d counts %d, not %d", k, got, want)
		}
	}
}

// Nor does a run of equals, as long as they are.
func TestRunsHoldTheMost(t *testing.T) {
	d := NewDataset([]string{"x"})
	m := Judged{Prob: make([]float32, 20_000), Rank: make([]float32, 20_000)}
	for i := range m.Prob {
		d.AddCard([]float32{0}, i%4 == 0, int64(i), 1, 1)
		m.Prob[i] = .5
	}
	c := newContest([2]*Judged{&m, &m}, d, &GateOptions{PerDay: 1})
	times := []uint64{0x0808080808080808}
	f := c.curves[0][0].figures(times)
	for k := range lanes {
		if math.Abs(f.ap[k]-.25) > near || math.Abs(f.calibration[k]-.25) > near {
			t.Errorf("lane %d: average precision %g, calibration error %g", k, f.ap[k], f.calibration[k])
		}
	}
}

func TestDayCapacity(t *testing.T) {
	f := func(from, to int64, want ...float64) {
		t.Helper()
		d := NewDataset([]string{"x"})
		d.Add([]float32{0}, false, from, 0)
		d.Add([]float32{0}, false, to, 0)
		if got := dayCapacity(d, 40); !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-4 }) {
			t.Errorf("%v, not %v", got, want)
		}
	}
	f(0, dayMs-1, 40)
	f(0, 2*dayMs-1, 40, 40)
	f(dayMs/4, 2*dayMs+dayMs/2, 30, 40, 20)
	f(-dayMs/4, dayMs/4, 10, 10)
	f(dayMs/4, dayMs/2, 10)
}

func TestPoissonTable(t *testing.T) {
	table := poissonTable()
	mean, square, none := 0.0, 0.0, 0
	for _, v := range table {
		mean += float64(v) / (1 << 16)
		square += float64(v) * float64(v) / (1 << 16)
		if v == 0 {
			none++
		}
	}
	if math.Abs(mean-1) > 1e-4 || math.Abs(square-2) > 1e-3 || math.Abs(float64(none)/(1<<16)-math.Exp(-1)) > 1e-4 {
		t.Errorf("mean %g, mean of squares %g, %d zeros", mean, square, none)
	}
}

// The interval of a draw of cards is as wide as the figure varies between worlds
// drawn anew, which that of a draw of rows would not be, as frauds come in bursts.
func TestIntervalsAreAsWideAsWorldsVary(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 8
	}
	var differences []float64
	width := 0.0
	for k := range worlds {
		d, m := rivals(uint64(1000+k), 4000, [2]float64{1, 1})
		c := newContest([2]*Judged{&m[0], &m[1]}, d, &GateOptions{PerDay: 20, Cards: true})
		point, drawn := c.bootstrap(200, 1)
		v := contrasts(point, drawn, 0)[figureAP]
		differences = append(differences, v.Difference)
		width += (v.High - v.Low) / 3.92 / float64(worlds)
	}
	sum := 0.0
	for _, v := range differences {
		sum += v * v // the mean is 0
	}
	sd := math.Sqrt(sum / float64(worlds))
	if ratio := width / sd; ratio < .6 || ratio > 1.6 {
		t.Errorf("intervals say a deviation of %.4f, the worlds' is %.4f", width, sd)
	}
}

func TestDrawsDoNotDependOnProcessors(t *testing.T) {
	d, m := rivals(3, 3000, [2]float64{1, 1})
	o := GateOptions{PerDay: 20, Cards: true, Segments: []Segment{Hours(d)}}
	c := newContest([2]*Judged{&m[0], &m[1]}, d, &o)
	_, first := c.bootstrap(50, 1)
	procs := runtime.GOMAXPROCS(1)
	_, second := c.bootstrap(50, 1)
	runtime.GOMAXPROCS(procs)
	_, other := c.bootstrap(50, 2)
	for k := range first {
		if !slices.EqualFunc(first[k], second[k], func(a, b float64) bool { return a == b || a != a && b != b }) {
			t.Fatalf("draw %d differs", k)
		}
	}
	if slices.Equal(first[0], other[0]) {
		t.Error("another seed gives the same draw")
	}
}
