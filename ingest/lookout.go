package ingest

import (
	"container/heap"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// The limits of a lookout.
const (
	lookHours = 24 // a day that has only begun is like no day: at three in the morning it is night
	// lookRows is how many vectors of an hour are kept: 6,144 of a day, with which the
	// index of what did not move comes out at about .002. More cost memory and a look.
	lookRows = 256
	lookTurn = 32  // rows that are scored in one turn: a large network takes half a millisecond
	lookMin  = 200 // vectors of a day; of so few, chance alone moves the index by .05 in the mean

	// A look is at the columns, then at the scores, and then says what has moved.
	scoreTurns = (lookHours + 1) * lookRows / lookTurn

	hourMs = 3_600_000
)

// A lookout keeps a sample of the vectors of the last day of event time, and tells
// whether they lie as on the days that the champion was learnt from. What it keeps are
// vectors and no counts, so that a new champion, with other bins, needs not wait a day.
// Of each hour it keeps the rows whose places in the source hash lowest: whatever the
// steps, and whether the node decided or stood by. One goroutine uses it.
type lookout struct {
	spec   *spec.Spec
	names  []string
	hours  [lookHours + 1]lookHour // by hour of event time; the newest is incomplete
	first  int64                   // hour, of what was seen
	newest int64                   // 0: nothing was seen
	upto   int64                   // ledger offset up to which decisions were taken in

	// A look takes a turn a step: the columns, the hours for their scores, the log.
	due     bool            // an hour is over, or there is another champion
	turn    int             // the next one; beyond the last, no look goes on
	bundle  *scoring.Bundle // that was looked at last
	index   []float64       // of the columns, the score's last
	said    []int64         // the day on which each of these was last said to have moved
	psi     []prometheus.Gauge
	missing []prometheus.Gauge
	counts  []float64
	rows    []float32 // of an hour, row by row
	scores  []float32
}

// A lookHour is an hour's sample.
type lookHour struct {
	hour           int64 // since the Unix epoch
	rows           int   // vectors, of which some are kept
	scored, alerts int
	kept           lookHeap
	x              []float32 // column by column, lookRows each
}

// A lookKey is a row that is kept: its hash, and where in the columns it is.
type lookKey struct {
	hash uint64
	at   int
}

// A lookHeap has the largest hash first.
type lookHeap []lookKey

func (h *lookHeap) Len() int           { return len(*h) }
func (h *lookHeap) Less(i, j int) bool { return (*h)[i].hash > (*h)[j].hash }
func (h *lookHeap) Swap(i, j int)      { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push and Pop are heap.Interface's, and not used: they would allocate.
func (h *lookHeap) Push(any) { panic("BUG: push") }

// Pop is as Push.
func (h *lookHeap) Pop() any { panic("BUG: pop") }

func newLookout(s *spec.Spec) lookout {
	names := s.FeatureNames()
	w := len(names)
	return lookout{spec: s, names: names, turn: w + scoreTurns + 1, // idle
		index: make([]float64, w+1), said: make([]int64, w+1),
		counts: make([]float64, scoring.ProfileBins+1), rows: make([]float32, w*lookTurn), scores: make([]float32, lookTurn)}
}

// fold takes in a decision of the ledger, once, though a state is folded from a
// snapshot more than once. It may be called where nobody looks out.
func (l *lookout) fold(d *schemas.Decision, offset int64) {
	if l != nil && offset >= l.upto {
		l.upto = offset + 1
		l.add(d)
	}
}

// add takes in a decision, which it does not keep. What is older than the last day is
// too late. It may be called where nobody looks out.
func (l *lookout) add(d *schemas.Decision) {
	if l == nil || d.Outcome > schemas.Degraded || len(d.Features) != len(l.names) || d.Tx.Time < hourMs {
		return
	}
	hour := d.Tx.Time / hourMs
	if hour > l.newest {
		if l.newest == 0 {
			l.first = hour
		}
		l.newest, l.due = hour, true
	}
	h := &l.hours[uint64(hour)%uint64(len(l.hours))]
	if h.hour != hour {
		if hour <= l.newest-int64(len(l.hours)) {
			return
		}
		h.begin(hour, len(l.names))
	}
	h.rows++
	if d.Outcome == schemas.Scored {
		h.scored++
		if d.ReviewProb >= 1 { // below it is exploration, which is no alert
			h.alerts++
		}
	}
	h.keep(d, placeHash(d.Place))
}

func (h *lookHour) begin(hour int64, width int) {
	if h.x == nil {
		h.x, h.kept = make([]float32, width*lookRows), make(lookHeap, 0, lookRows)
	}
	h.hour, h.rows, h.scored, h.alerts, h.kept = hour, 0, 0, 0, h.kept[:0]
}

// keep keeps a row if its hash is among the lowest.
func (h *lookHour) keep(d *schemas.Decision, hash uint64) {
	at := len(h.kept)
	switch {
	case at < lookRows:
		h.kept = append(h.kept, lookKey{hash, at})
		heap.Fix(&h.kept, at)
	case hash < h.kept[0].hash:
		at = h.kept[0].at
		h.kept[0].hash = hash
		heap.Fix(&h.kept, 0)
	default:
		return
	}
	for c, v := range d.Features {
		h.x[c*lookRows+at] = v
	}
}

// placeHash mixes a place in the source (the finaliser of SplitMix64).
func placeHash(p schemas.Place) uint64 {
	x := uint64(p.Partition)<<48 ^ uint64(p.Offset) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A lookSum is the sums of the last whole hours.
type lookSum struct{ rows, kept, scored, alerts int }

// day sums up the last day's hours; false before there was a day, or too little in it.
func (l *lookout) day() (s lookSum, whole bool) {
	l.each(func(h *lookHour) {
		s.rows, s.kept, s.scored, s.alerts = s.rows+h.rows, s.kept+len(h.kept), s.scored+h.scored, s.alerts+h.alerts
	})
	return s, l.newest-l.first >= lookHours && s.kept >= lookMin
}

// each calls fn with the hours of the last day, the newest hour aside, which goes on.
func (l *lookout) each(fn func(h *lookHour)) {
	for i := range l.hours {
		if h := &l.hours[i]; l.ofDay(h) {
			fn(h)
		}
	}
}

// ofDay reports whether an hour is of the last day and has rows.
func (l *lookout) ofDay(h *lookHour) bool {
	return h.hour < l.newest && h.hour >= l.newest-lookHours && len(h.kept) > 0
}

// weight is how many rows of its hour a row that is kept stands for.
func (h *lookHour) weight() float64 { return float64(h.rows) / float64(len(h.kept)) }

// count counts the day's values of a column into a margin's bins.
func (l *lookout) count(m *scoring.Margin, column int) []float64 {
	counts := l.counts[:m.Bins()]
	clear(counts)
	l.each(func(h *lookHour) {
		for _, v := range h.x[column*lookRows:][:len(h.kept)] {
			counts[m.Bin(v)] += h.weight()
		}
	})
	return counts
}

// countScores adds the scores by the champion of now, of some rows of an hour, to the
// counts: whoever decided, so that it is held to a day and not to the hours since it
// came.
func (l *lookout) countScores(s *serving, h *lookHour, from int) error {
	if !l.ofDay(h) || from >= len(h.kept) {
		return nil
	}
	n, w := min(lookTurn, len(h.kept)-from), len(l.names)
	for c := range w {
		for i, v := range h.x[c*lookRows+from:][:n] {
			l.rows[i*w+c] = v
		}
	}
	if err := s.scorer.Score(scoring.Matrix{Data: l.rows, Rows: n, Cols: w}, l.scores); err != nil {
		return err
	}
	m := &s.bundle.Profile.Score
	for _, v := range l.scores[:n] {
		l.counts[m.Bin(v)] += h.weight()
	}
	return nil
}

// looking reports whether a look goes on, or is due.
func (l *lookout) looking() bool {
	return l.bundle != nil && l.bundle.Profile != nil && (l.due || l.turn <= len(l.names)+scoreTurns)
}

// lookOut takes the next turn of a look, which begins once an hour of event time is
// over: all at once, a step would wait for milliseconds. A look that has begun ends
// before the next, or in a stream faster than life none would. The ledger is decided up
// to an offset.
func (n *Node) lookOut(s *serving, upto int64) {
	l, b := &n.lookout, s.bundle
	l.upto = upto
	w, idle := len(l.names), len(l.names)+scoreTurns+1
	if b != l.bundle {
		if l.bundle, l.turn, l.due = b, idle, true; b != nil && b.Profile == nil {
			n.Log.Info("the champion, of an older weir train, does not say what its training's days looked like, so nothing is watched", "bundle", hex32(b.Hash))
		}
	}
	if b == nil || b.Profile == nil || l.turn >= idle && !l.due {
		return
	}
	if l.turn >= idle {
		l.due = false
		sum, whole := l.day()
		if !whole {
			return
		}
		l.turn = 0
		if sum.scored > 0 {
			n.Metrics.AlertRate.WithLabelValues().Set(float64(sum.alerts) / float64(sum.scored))
		}
	}
	switch {
	case l.turn < w:
		n.lookAt(&b.Profile.Features[l.turn])
	case l.turn < w+scoreTurns:
		n.lookAtScores(s, l.turn-w)
	default:
		n.sayMoved()
	}
	l.turn++
}

// lookAt looks at the feature whose turn it is.
func (n *Node) lookAt(m *scoring.Margin) {
	l := &n.lookout
	for len(l.psi) < len(l.names) {
		name := l.names[len(l.psi)]
		// Of what moves by its nature the index is much on any day: nobody is to be called.
		var psi prometheus.Gauge
		if !l.spec.MovesByNature(len(l.psi)) {
			psi = n.Metrics.PSI.WithLabelValues(name)
		}
		l.psi = append(l.psi, psi)
		l.missing = append(l.missing, n.Metrics.Missing.WithLabelValues(name))
	}
	counts, total := l.count(m, l.turn), 0.0
	for _, c := range counts {
		total += c
	}
	l.index[l.turn] = m.Index(counts)
	if psi := l.psi[l.turn]; psi != nil {
		psi.Set(l.index[l.turn])
	}
	l.missing[l.turn].Set(counts[len(counts)-1] / total)
}

// lookAtScores scores some rows of the day, and knows the score's index after the last.
func (n *Node) lookAtScores(s *serving, turn int) {
	l := &n.lookout
	if turn == 0 {
		clear(l.counts)
		l.index[len(l.names)] = 0
	}
	hour, from := turn*lookTurn/lookRows, turn*lookTurn%lookRows
	if s.scorer == nil || l.countScores(s, &l.hours[hour], from) != nil {
		return // what cannot be scored cannot be decided either, and is said there
	}
	if turn == scoreTurns-1 {
		m := &s.bundle.Profile.Score
		l.index[len(l.names)] = m.Index(l.counts[:m.Bins()])
		n.Metrics.ScorePSI.WithLabelValues().Set(l.index[len(l.names)])
	}
}

// sayMoved logs what has moved, each once a day.
func (n *Node) sayMoved() {
	l := &n.lookout
	today, text := l.newest/lookHours, ""
	for i, index := range l.index {
		what := "the score"
		if i < len(l.names) {
			if what = l.names[i]; l.spec.MovesByNature(i) {
				continue
			}
		}
		if index > scoring.IndexMuch && l.said[i] != today {
			l.said[i] = today
			text += fmt.Sprintf(", %s %.3g", what, index)
		}
	}
	if text != "" {
		n.Log.Warn("the last day is unlike those that the champion was learnt from", "psi", text[2:])
	}
}

// blind takes back what was said of the last day: another node decides now.
func (n *Node) blind() {
	for _, g := range []*prometheus.GaugeVec{n.Metrics.PSI, n.Metrics.ScorePSI, n.Metrics.Missing, n.Metrics.AlertRate} {
		g.Reset()
	}
	n.lookout.psi, n.lookout.missing = nil, nil
	n.lookout.bundle = nil // to be looked at anew, where this node decides again
}
