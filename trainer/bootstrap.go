package trainer

import (
	"cmp"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// The figures that models are compared by.
const (
	figureMoney = iota
	figurePrecision
	figureAP
	figureAlerts
	figureCalibration
	numFigures
)

// contest is two models on the same rows, laid out so that all figures can be
// had again for other weights of the cards: everything is sorted once, and a
// draw of the bootstrap is one pass over the sorted rows. Scope 0 is all rows,
// and each value of a segment is one more.
type contest struct {
	held     *Dataset
	segments []Segment
	base     []int // the first scope of each segment
	scopes   int

	cluster  []int32 // of each row: its card
	clusters int
	capacity []float64 // of each day
	days     float64

	frauds []fraudRow
	queues [2]queue
	curves [][2]curve // of each scope
}

// fraudRow is a fraud whose money there is to catch.
type fraudRow struct {
	row, cluster int32
	money        float64
}

// queue is a model's items as the desk works through them: day by day, the best
// first.
type queue struct {
	entries []entry
	ends    []int32 // of each day, in entries
	frauds  []fraudRow
	alerts  []bool // of each entry: the model sends it to review
}

type entry struct {
	cluster  int32
	row      int32 // the one that ranks highest
	weight   float32
	from, to int32 // its frauds
}

// curve is the rows of a scope by a model's probability, falling: among equals,
// genuine rows first. Runs cut it up.
type curve struct {
	clusters []int32
	runs     []run
}

// run is rows of one class and weight in a row. Frauds count once all rows that
// rank as high are counted, so a run of them ends where their probability does.
type run struct {
	end    int32 // the row after its last
	weight float64
	prob   float64 // the mean
	fraud  bool
	step   bool // average precision takes a step where it ends
	bin    bool // a bin of the calibration error ends with it
}

// lanes is how many draws are computed at once. How often a card counts in each
// is a byte of one word, so that one addition counts a row for all of them; sums
// of bytes hold for bytesMax rows, and sums of these in 16 bits for runMax.
const (
	lanes    = 8
	timesMax = 8
	bytesMax = 255 / timesMax
	runMax   = (1<<16 - 1) / timesMax
)

// newDesk is a contest without models: who works, when, and what there is to
// catch.
func newDesk(held *Dataset, segments []Segment, perDay float64) *contest {
	c := &contest{held: held, segments: segments, scopes: 1, days: days(held), capacity: dayCapacity(held, perDay)}
	for _, s := range c.segments {
		c.base = append(c.base, c.scopes)
		c.scopes += len(s.Values)
	}
	c.cluster, c.clusters = clusters(held)
	for i, y := range held.Y {
		if y != 0 {
			c.frauds = append(c.frauds, fraudRow{int32(i), c.cluster[i], money(held, i)})
		}
	}
	return c
}

func newContest(models [2]*Judged, held *Dataset, o *GateOptions) *contest {
	c := newDesk(held, o.Segments, o.PerDay)
	it := newItems(held, o.Cards)
	c.curves = make([][2]curve, c.scopes)
	for m := range models {
		c.queues[m] = c.newQueue(it, models[m])
		order := c.order(models[m].Prob)
		c.curves[0][m] = c.newCurve(order, models[m].Prob)
		for s := range c.segments {
			for v, part := range c.segments[s].parts(order) {
				c.curves[c.base[s]+v][m] = c.newCurve(part, models[m].Prob)
			}
		}
	}
	return c
}

// clusters numbers the cards; a row of nobody known is a cluster of its own.
func clusters(d *Dataset) (cluster []int32, n int) {
	cluster = make([]int32, d.Rows())
	at := make(map[uint64]int32)
	for i, card := range d.Card {
		k, known := at[card]
		if card == 0 || !known {
			k = int32(n)
			n++
			at[card] = k
		}
		cluster[i] = k
	}
	return cluster, n
}

// dayCapacity is what the desk can review on each day that the rows touch: less
// where they cover a part of it only.
func dayCapacity(d *Dataset, perDay float64) (list []float64) {
	from, to := d.Time[0], d.Time[d.Rows()-1]+1
	for day := floorDiv(from, dayMs); day*dayMs < to; day++ {
		share := float64(min(to, (day+1)*dayMs)-max(from, day*dayMs)) / dayMs
		list = append(list, perDay*share)
	}
	return list
}

func (c *contest) newQueue(it *items, m *Judged) (q queue) {
	best, row := it.best(m.Rank)
	order := ranking(best)
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(it.day[a], it.day[b]) })
	frauds := make([][2]int32, len(best)) // of each item, in byItem
	byItem := slices.Clone(c.frauds)
	slices.SortStableFunc(byItem, func(a, b fraudRow) int { return cmp.Compare(it.of[a.row], it.of[b.row]) })
	for n, f := range byItem {
		k := it.of[f.row]
		if frauds[k][1] == 0 {
			frauds[k][0] = int32(n)
		}
		frauds[k][1] = int32(n + 1)
	}
	q.frauds = byItem
	q.ends = make([]int32, len(c.capacity))
	for n, k := range order {
		q.entries = append(q.entries, entry{c.cluster[row[k]], row[k], float32(it.weight[k]), frauds[k][0], frauds[k][1]})
		q.alerts = append(q.alerts, best[k] >= m.Review)
		q.ends[it.day[k]] = int32(n + 1)
	}
	for day := 1; day < len(q.ends); day++ { // one without rows ends where it begins
		q.ends[day] = max(q.ends[day], q.ends[day-1])
	}
	return q
}

// order returns the rows by falling probability; among equals genuine rows come
// first.
func (c *contest) order(prob []float32) []int32 {
	order := make([]int32, len(prob))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if v := cmp.Compare(prob[b], prob[a]); v != 0 {
			return v
		}
		if v := cmp.Compare(c.held.Y[a], c.held.Y[b]); v != 0 {
			return v
		}
		return cmp.Compare(a, b)
	})
	return order
}

// parts deals out rows to the segment's values, in their order.
func (s *Segment) parts(order []int32) [][]int32 {
	parts := make([][]int32, len(s.Values))
	for _, i := range order {
		parts[s.Of[i]] = append(parts[s.Of[i]], i)
	}
	return parts
}

func (c *contest) newCurve(order []int32, prob []float32) (v curve) {
	total, sum := 0.0, 0.0
	for _, i := range order {
		total += float64(c.held.Weight[i])
	}
	v.clusters = make([]int32, 0, len(order))
	bins, start, expected := 0, 0, 0.0
	for n, i := range order {
		v.clusters = append(v.clusters, c.cluster[i])
		weight, fraud := float64(c.held.Weight[i]), c.held.Y[i] != 0
		sum += weight
		expected += float64(prob[i])
		r := run{end: int32(n + 1), weight: weight, fraud: fraud}
		more := n < len(order)-1
		tied := more && prob[order[n+1]] == prob[i]
		r.step = fraud && !tied
		r.bin = !tied && (!more || sum >= total*float64(bins+1)/reliabilityBins*(1-1e-12))
		if r.bin {
			bins++
		}
		if more && !r.step && !r.bin && n+1-start < runMax && c.alike(i, order[n+1]) {
			continue
		}
		// The mean in place of each row's own: of neighbours by probability, how often
		// they count has to do with it too little to matter.
		r.prob = expected / float64(n+1-start)
		v.runs = append(v.runs, r)
		start, expected = n+1, 0
	}
	return v
}

// alike reports whether two rows can be in one run.
func (c *contest) alike(i, j int32) bool {
	return c.held.Y[i] == c.held.Y[j] && c.held.Weight[i] == c.held.Weight[j]
}

// laneFigures is average precision and calibration error in each lane.
type laneFigures struct{ ap, calibration [lanes]float64 }

// figures computes them where each card counts as often as times says.
func (v *curve) figures(times []uint64) (f laneFigures) {
	type sums struct{ rows, hits, area, fresh, off, expected, seen float64 }
	var lane [lanes]sums
	at := int32(0)
	for n := range v.runs {
		r := &v.runs[n]
		even, odd := count(v.clusters[at:r.end], times)
		at = r.end
		for k := range lane {
			l := &lane[k]
			w := float64(even&0xffff) * r.weight
			even, odd = odd, even>>16
			l.rows += w
			l.expected += w * r.prob
			if r.fraud {
				l.fresh += w
				l.seen += w
			}
			if r.step && l.fresh > 0 {
				l.hits += l.fresh
				l.area += l.fresh * l.hits / l.rows
				l.fresh = 0
			}
			if r.bin {
				l.off += math.Abs(l.expected - l.seen)
				l.expected, l.seen = 0, 0
			}
		}
	}
	for k := range lane {
		f.ap[k], f.calibration[k] = lane[k].area/lane[k].hits, lane[k].off/lane[k].rows
	}
	return f
}

// count returns how often rows of these cards count: in 16 bits each, the lanes
// of even number and those of odd. A bootstrap spends its time here.
func count(clusters []int32, times []uint64) (even, odd uint64) {
	const mask = 0x00ff00ff00ff00ff
	for len(clusters) > 0 {
		n, sum := min(bytesMax, len(clusters)), uint64(0)
		for _, c := range clusters[:n] {
			sum += times[c]
		}
		even += sum & mask
		odd += sum >> 8 & mask
		clusters = clusters[n:]
	}
	return even, odd
}

// tally is what the desk's work comes to, by scope.
type tally struct {
	reviewed, hits, alerts, caught, money []float64
}

func newTally(scopes int) *tally {
	list := func() []float64 { return make([]float64, scopes) }
	return &tally{list(), list(), list(), list(), list()}
}

// add adds to a scope's sum, and to those of a row's segments.
func (c *contest) add(sum []float64, row int32, v float64) {
	sum[0] += v
	for s := range c.segments {
		sum[c.base[s]+int(c.segments[s].Of[row])] += v
	}
}

// work has the desk review the best items of each day until the day's capacity
// is used up, in one lane; of the last item it may be a part.
func (c *contest) work(q *queue, times []uint64, lane int, t *tally) {
	for _, list := range [][]float64{t.reviewed, t.hits, t.alerts, t.caught, t.money} {
		clear(list)
	}
	often := func(cluster int32) float64 { return float64(times[cluster] >> (8 * lane) & 0xff) }
	for _, f := range c.frauds {
		c.add(t.money, f.row, f.money*often(f.cluster))
	}
	n := int32(0)
	for day, left := range c.capacity {
		for ; n < q.ends[day] && (left > 0 || q.alerts[n]); n++ {
			e := &q.entries[n]
			w := often(e.cluster) * float64(e.weight)
			if w == 0 {
				continue
			}
			if q.alerts[n] {
				c.add(t.alerts, e.row, w)
			}
			take := min(w, left)
			left -= take
			c.add(t.reviewed, e.row, take)
			if e.from == e.to {
				continue
			}
			c.add(t.hits, e.row, take)
			for _, f := range q.frauds[e.from:e.to] {
				c.add(t.caught, f.row, f.money*often(f.cluster)*take/w)
			}
		}
		n = q.ends[day]
	}
}

// figures returns the figures of both models in every scope, for each lane that
// is wanted: model m's figure f of scope s at (s*2+m)*numFigures+f. What cannot
// be told is NaN.
func (c *contest) figures(times []uint64, t *tally, wanted int) [][]float64 {
	out := make([][]float64, wanted)
	for k := range out {
		out[k] = make([]float64, c.scopes*2*numFigures)
		for m := range c.queues {
			c.work(&c.queues[m], times, k, t)
			for s := range c.scopes {
				f := out[k][(s*2+m)*numFigures:]
				f[figureMoney] = t.caught[s] / t.money[s]
				f[figurePrecision] = t.hits[s] / t.reviewed[s]
				f[figureAlerts] = t.alerts[s] / c.days
			}
		}
	}
	for s := range c.curves {
		for m := range c.curves[s] {
			list := c.curves[s][m].figures(times)
			for k := range out {
				f := out[k][(s*2+m)*numFigures:]
				f[figureAP], f[figureCalibration] = list.ap[k], list.calibration[k]
			}
		}
	}
	return out
}

// bootstrap returns the figures of the rows as they are, and those of draws in
// which each card counts as often as a Poisson number of mean 1 says: cards are
// what the desk meets anew, while the rows of one card go together. Each draw
// has a random source of its own, so the number of processors does not show.
func (c *contest) bootstrap(draws int, seed uint64) (point []float64, drawn [][]float64) {
	once := make([]uint64, c.clusters)
	for i := range once {
		once[i] = 1
	}
	point = c.figures(once, newTally(c.scopes), 1)[0]
	drawn = make([][]float64, draws)
	table := poissonTable()
	var wait sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), (draws+lanes-1)/lanes)
	for w := range workers {
		wait.Go(func() {
			times, t := make([]uint64, c.clusters), newTally(c.scopes)
			for k := w * lanes; k < draws; k += workers * lanes {
				n := min(lanes, draws-k)
				clear(times)
				for lane := range n {
					drawTimes(times, lane, table, rand.NewPCG(seed, uint64(k+lane)))
				}
				copy(drawn[k:], c.figures(times, t, n))
			}
		})
	}
	wait.Wait()
	return point, drawn
}

// poissonTable is the inverse of the distribution function of a Poisson number of
// mean 1, at 65,536 even steps, as far as timesMax.
func poissonTable() *[1 << 16]uint8 {
	var table [1 << 16]uint8
	k, p := 0, math.Exp(-1)
	sum := p
	for i := range table {
		for (float64(i)+.5)/(1<<16) > sum && k < timesMax {
			k++
			p /= float64(k)
			sum += p
		}
		table[i] = uint8(k)
	}
	return &table
}

// drawTimes draws how often each cluster counts in a lane, four from one random
// number.
func drawTimes(times []uint64, lane int, table *[1 << 16]uint8, r *rand.PCG) {
	bits := uint64(0)
	for i := range times {
		if i%4 == 0 {
			bits = r.Uint64()
		}
		times[i] |= uint64(table[bits&0xffff]) << (8 * lane)
		bits >>= 16
	}
}
