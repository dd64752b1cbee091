package features

import (
	"math"
	"slices"

	"github.com/weir-risk/weir/features/spec"
)

// Words of an entity's head, before its windows.
const (
	headKey    = iota // the key's hash
	headNewest        // time of the newest event, ms
	headRing          // block of rows: offset<<6 | log2 of its rows
	headSpan          // positions of the rows: first<<32 | one past the last
	headCoarse        // block of buckets, see coarse.go; 0 none
	headDue           // no row leaves the ring before this time
	headNext          // earliest reversal after the windows' time, where reversible
	headPrev          // latest reversal at or before the windows' time
	headWords
)

// The stamp of a row: its time, then facts in the low bits. Predicates live there
// where they are few.
const (
	timeShift  = 21
	bucketBit  = 1 << 20
	labelShift = 18
	labelMask  = 3 << labelShift
	undoneBit  = 1 << 17 // a reversal hides it, from the time in colUndo on
	wordBits   = 17      // predicates that a stamp holds
	timeMax    = 1 << 43
	never      = math.MaxInt64 // after any time
)

// Values of columns.
const (
	absentNumber = 1 << 63          // an own number that the event lacks
	neverUndone  = math.MaxInt64    // the time of no reversal
	numberMax    = int64(1)<<60 - 1 // own numbers are held within it
	milliUnit    = 1e6              // units of an own number in one
)

// kind is what is kept for one entity of the spec, and its parts.
type kind struct {
	index    int
	keep     int64 // ms that an event stays behind the newest one
	home     bool
	labelled bool
	undoable bool // reversals reach its rows
	linked   bool // its rows are looked up by labels or reversals
	hasAll   bool // an aggregate over all

	stride  int // words of a row: its stamp, and columns from 1
	colPred int // columns of a row; 0 none
	colID   int
	colUndo int
	numbers []column
	texts   []column
	// Of the home entity only: content hash, labels, and the keys of the
	// entities that labels or reversals must find, by entity.
	colContent, colLabels int
	colLink               []int
	hashes                []int // columns of whole words: of texts, ids, content, links

	windows  []window
	edges    int      // where the windows' edges are in the head
	leads    []uint64 // by window: how long after an event it may change by it
	entrance changes  // what a row changes as it is placed: in all windows without a delay
	tallies  []tally  // one for each where clause
	tables   []valueTable
	head     int // words of a head
	bucket   int // words of a bucket
	blank    []uint64
	rowsMax  int // budget, a power of two

	parts [Parts]part
}

// column is a field that a row keeps.
type column struct {
	ref      spec.FieldRef
	at       int
	nullable bool
	field    int // of a text: among the fields that are hashed
}

// window is a stretch of time behind the current event, with the running
// state of what lies in it. Aggregates of one stretch share it.
type window struct {
	// Its edge is a word of the head: the position of its first row, and above it when
	// the window is due: moved forward to an earlier time, it does not change.
	edge   int
	end    int   // of one with a delay: the word with the position one past the last row
	length int64 // ms
	delay  int64 // ms
	reach  int64 // ms, length and delay
	all    bool  // from the beginning
	groups []group
	change changes // of every group
	plain  *plain  // nil where it keeps more than that
}

// group is the state of the events of a window that a where clause takes.
type group struct {
	where int
	mask  uint64 // predicates, which must all hold
	sums  []sum
}

// sumOp is what a running sum is of.
type sumOp uint8

const (
	sumCount   sumOp = iota // events
	sumPresent              // events that have the number
	sumValue                // 128 bits
	sumLn                   // of fixed-point logarithms, 128 bits
	sumSquare               // 192 bits
	sumMin                  // value<<1 | stale
	sumMax
	sumFraud
	sumRun    // see fraud.go
	sumLatest // value of the last event; in tallies only
	sumLast   // position of the last event; in tallies its time + 1
	sumFirst
	sumDistinct // number and table of values; in windows only
)

// stateWords and tallyWords are the sizes of each sum.
var (
	stateWords = [...]int{1, 1, 2, 2, 3, 1, 1, 1, 2, 0, 1, 1, 2}
	tallyWords = [...]int{1, 1, 2, 2, 3, 1, 1, 1, 2, 1, 1, 1, 0}
)

// sum is one running sum.
type sum struct {
	op       sumOp
	nullable bool
	col      int // column of the row, 0 none
	at       int // in the head
	rel      int // in the tally
}

// change is a sum and its group's where clause, laid out for a row that comes
// or goes.
type change struct {
	mask     uint64
	col, at  int32
	op       sumOp
	nullable bool
}

// valueTable is where a window keeps its distinct values, for those who look ahead.
type valueTable struct {
	at, edge   int // words of the head: of the sum, and of its window
	col, field int // of the row, and among the fields that are hashed
}

// changes are the sums that a row's coming and going changes: those apart that take
// every row as it is, which are most, and those that need no more than its stamp.
type changes struct {
	counts []int32
	facts  []change
	values []change
	others []change
	plain  bool // counts are all there is
	reads  bool // columns
}

func (x *changes) put(c change) {
	switch {
	case c.op == sumLatest: // only tallies keep it
	case c.op == sumCount && c.mask == 0:
		x.counts = append(x.counts, c.at)
	case c.op == sumCount, c.op == sumFraud, c.op == sumRun, c.op == sumLast, c.op == sumFirst:
		x.facts = append(x.facts, c)
	case c.op == sumValue && c.mask == 0 && !c.nullable:
		x.values = append(x.values, c)
	default:
		x.others = append(x.others, c)
	}
	x.reads = len(x.values)+len(x.others) > 0
	x.plain = !x.reads && len(x.facts) == 0
}

// layChanges lists what a row changes as it enters or leaves each window, and
// as it is placed.
func (k *kind) layChanges() {
	for w := range k.windows {
		win := &k.windows[w]
		for _, g := range win.groups {
			for _, x := range g.sums {
				c := change{mask: g.mask, col: int32(x.col), at: int32(x.at), op: x.op, nullable: x.nullable}
				win.change.put(c)
				if x.op == sumDistinct {
					k.tables = append(k.tables, valueTable{at: x.at, edge: win.edge, col: x.col})
				}
				// A row has no label yet as it is placed.
				if win.delay == 0 && x.op != sumFraud && x.op != sumRun {
					k.entrance.put(c)
				}
			}
		}
		k.leads = append(k.leads, win.lead())
	}
}

// lead is how long after an event the window first changes by it, other than
// as the event is placed.
func (win *window) lead() uint64 {
	switch {
	case win.delay > 0:
		return uint64(win.delay)
	case win.all:
		return never / 2
	}
	return uint64(win.length)
}

// tally holds the sums of a where clause's events that have left their rows:
// the base of windows over all in the head, and a bucket's content.
type tally struct {
	where  int
	mask   uint64
	sums   []sum
	words  int
	base   int // in the head; 0 none
	bucket int // in a bucket
}

// emitter computes one aggregate.
type emitter struct {
	fn                                    spec.AggFn
	kind                                  int
	where                                 int
	self                                  bool // the current event counts
	nullable                              bool
	window, group                         int
	col                                   int
	scale                                 float64
	count, value, ln, square, edge        sumRef
	edgeOp                                sumOp // sumMin or sumMax
	fraud, run, last, first, latest, dist sumRef
}

// sumRef says where an emitter finds a sum: in the head, and (0 none) the
// base of what left the ring.
type sumRef struct{ at, base int }

// makeKind lays out the rows, windows and tallies of entity i.
func makeKind(s *spec.Spec, i int, rowsMax int) *kind {
	k := &kind{index: i, home: i == s.Home, undoable: reversible(s), labelled: isLabelled(s, i), rowsMax: rowsMax}
	k.linked = s.Home >= 0 && (k.undoable || k.labelled)
	k.layRow(s)
	k.layWindows(s)
	k.layTallies()
	k.layChanges()
	k.keep = ownKeep(s, i)
	if k.home {
		k.keep = max(k.keep, s.DedupWindow+s.LateMax)
		for j := range s.Entities {
			if k.undoable || isLabelled(s, j) {
				k.keep = max(k.keep, ownKeep(s, j))
			}
		}
	}
	return k
}

// ownKeep is the longest that an aggregate of entity i looks back, by an event
// that is as late as may be.
func ownKeep(s *spec.Spec, i int) int64 {
	keep := int64(1)
	for j := range s.Aggregates {
		if a := &s.Aggregates[j]; a.Entity == i {
			keep = max(keep, a.Window+a.Delay+s.LateMax)
		}
	}
	return keep
}

func (k *kind) layRow(s *spec.Spec) {
	k.stride = 1
	next := func() int { k.stride++; return k.stride - 1 }
	if len(s.Predicates) > wordBits {
		k.colPred = next()
	}
	if k.undoable {
		k.colUndo = next()
	}
	for j := range s.Aggregates {
		a := &s.Aggregates[j]
		if a.Entity != k.index {
			continue
		}
		if takesNumber(a.Fn) && findColumn(k.numbers, a.Arg) == nil {
			k.numbers = append(k.numbers, column{ref: a.Arg, at: next(), nullable: a.Arg.Kind == spec.OwnNumberRef})
		}
		if a.Fn == spec.Distinct && findColumn(k.texts, a.Arg) == nil {
			k.texts = append(k.texts, column{ref: a.Arg, at: next()})
		}
	}
	for i := range k.texts {
		k.hashes = append(k.hashes, k.texts[i].at)
	}
	if k.home || k.linked {
		k.colID = next()
		k.hashes = append(k.hashes, k.colID)
	}
	if k.home {
		k.colContent, k.colLabels = next(), next()
		k.hashes = append(k.hashes, k.colContent)
		k.colLink = make([]int, len(s.Entities))
		for j := range s.Entities {
			if j != k.index && (k.undoable || isLabelled(s, j)) {
				k.colLink[j] = next()
				k.hashes = append(k.hashes, k.colLink[j])
			}
		}
	}
}

func findColumn(cols []column, ref spec.FieldRef) *column {
	for i := range cols {
		if sameField(cols[i].ref, ref) {
			return &cols[i]
		}
	}
	return nil
}

// sameField compares what matters of two references: a text field's number
// says nothing about an amount.
func sameField(a, b spec.FieldRef) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case spec.TextRef:
		return a.Text == b.Text
	case spec.OwnTextRef, spec.OwnNumberRef:
		return a.Index == b.Index
	}
	return true
}

// mask returns the predicates that a where clause looks at.
func mask(where int) uint64 {
	if where < 0 {
		return 0
	}
	return 1 << where
}

// layWindows makes the windows with their groups and sums, without places.
func (k *kind) layWindows(s *spec.Spec) {
	for j := range s.Aggregates {
		a := &s.Aggregates[j]
		if a.Entity != k.index {
			continue
		}
		w, g := k.find(a)
		grp := &k.windows[w].groups[g]
		for _, n := range k.needs(a) {
			if !slices.ContainsFunc(grp.sums, n.same) {
				grp.sums = append(grp.sums, n)
			}
		}
	}
	k.head = headNext
	if k.undoable {
		k.head = headWords
	}
	k.edges = k.head
	k.head += len(k.windows)
	for w := range k.windows {
		k.windows[w].edge = k.edges + w
		if k.windows[w].delay > 0 {
			k.windows[w].end = k.head
			k.head++
		}
		k.hasAll = k.hasAll || k.windows[w].all
		for g := range k.windows[w].groups {
			grp := &k.windows[w].groups[g]
			// A tally needs the time of its last event after that event's value.
			slices.SortStableFunc(grp.sums, func(x, y sum) int { return int(x.op) - int(y.op) })
			for i := range grp.sums {
				grp.sums[i].at = k.head
				k.head += stateWords[grp.sums[i].op]
			}
		}
	}
}

// find returns the window and group of an aggregate, made where there are none.
func (k *kind) find(a *spec.Aggregate) (w, g int) {
	w = slices.IndexFunc(k.windows, func(x window) bool { return x.length == a.Window && x.delay == a.Delay })
	if w < 0 {
		w = len(k.windows)
		k.windows = append(k.windows, window{length: a.Window, delay: a.Delay, reach: a.Window + a.Delay, all: a.Window == 0})
	}
	groups := &k.windows[w].groups
	g = slices.IndexFunc(*groups, func(x group) bool { return x.where == a.Where })
	if g < 0 {
		g = len(*groups)
		*groups = append(*groups, group{where: a.Where, mask: mask(a.Where)})
	}
	return w, g
}

func (x sum) same(y sum) bool { return x.op == y.op && x.col == y.col }

// needs returns the sums that an aggregate is made of.
func (k *kind) needs(a *spec.Aggregate) []sum {
	col, nullable := 0, false
	if takesNumber(a.Fn) {
		c := findColumn(k.numbers, a.Arg)
		col, nullable = c.at, c.nullable
	}
	of := func(op sumOp) sum { return sum{op: op, col: col, nullable: nullable} }
	count := sum{op: sumCount}
	if nullable {
		count = of(sumPresent)
	}
	switch a.Fn {
	case spec.Sum:
		return []sum{of(sumValue)}
	case spec.Mean:
		return []sum{count, of(sumValue)}
	case spec.GeoMean:
		return []sum{count, of(sumLn)}
	case spec.Std:
		return []sum{count, of(sumValue), of(sumSquare)}
	case spec.Min:
		return []sum{count, of(sumMin)}
	case spec.Max:
		return []sum{count, of(sumMax)}
	case spec.Distinct:
		return []sum{{op: sumDistinct, col: findColumn(k.texts, a.Arg).at}}
	case spec.Last:
		return []sum{{op: sumLast}, of(sumLatest)}
	case spec.SinceLast:
		return []sum{{op: sumLast}}
	case spec.FirstSeen:
		return []sum{{op: sumFirst}}
	case spec.FraudCount:
		return []sum{{op: sumFraud}}
	case spec.FraudRate:
		return []sum{count, {op: sumFraud}}
	case spec.FraudRun, spec.FraudRunAge:
		return []sum{{op: sumRun}}
	}
	return []sum{count}
}

// layTallies makes one tally for each where clause that the entity uses, and
// the blank head of a new entity.
func (k *kind) layTallies() {
	for w := range k.windows {
		for g := range k.windows[w].groups {
			k.tallyOf(&k.windows[w].groups[g], k.windows[w].all)
		}
	}
	k.bucket = 1 // a bucket begins with the number of its events
	for i := range k.tallies {
		t := &k.tallies[i]
		slices.SortStableFunc(t.sums, func(x, y sum) int { return int(x.op) - int(y.op) })
		for j := range t.sums {
			t.sums[j].rel = t.words
			t.words += tallyWords[t.sums[j].op]
		}
		t.bucket = k.bucket
		k.bucket += t.words
		if t.base != 0 {
			t.base = k.head
			k.head += t.words
		}
	}
	k.head = (k.head + 3) &^ 3 // of which none begins in the last words of a line
	k.blank = make([]uint64, k.head)
	k.blank[headDue] = never
	for w := range k.windows {
		k.blank[k.windows[w].edge] = edgeOf(0, never)
		for g := range k.windows[w].groups {
			grp := &k.windows[w].groups[g]
			t := k.tally(grp.where)
			for i := range grp.sums {
				x := &grp.sums[i]
				if j := slices.IndexFunc(t.sums, x.same); j >= 0 {
					x.rel = t.sums[j].rel
				}
				blankSum(k.blank[x.at:], x.op)
			}
		}
		k.windows[w].plain = k.plainOf(&k.windows[w])
	}
	for i := range k.tallies {
		if t := &k.tallies[i]; t.base > 0 {
			t.blank(k.blank[t.base:])
		}
	}
	if k.undoable {
		k.blank[headNext], k.blank[headPrev] = uint64(neverUndone), 0
	}
}

// tallyOf adds a group's sums to its where clause's tally.
func (k *kind) tallyOf(g *group, all bool) {
	t := k.tally(g.where)
	if t == nil {
		k.tallies = append(k.tallies, tally{where: g.where, mask: g.mask, sums: []sum{{op: sumCount}}})
		t = &k.tallies[len(k.tallies)-1]
	}
	if all {
		t.base = -1 // placed later
	}
	for _, x := range g.sums {
		if x.op != sumDistinct && !slices.ContainsFunc(t.sums, x.same) {
			t.sums = append(t.sums, x)
		}
	}
}

func (k *kind) tally(where int) *tally {
	for i := range k.tallies {
		if k.tallies[i].where == where {
			return &k.tallies[i]
		}
	}
	return nil
}
