package alerts

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// Ages are the bounds of the bands that the backlog is counted in.
var Ages = [...]time.Duration{15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 72 * time.Hour}

// Overview is what a supervisor sees of the desk. Days are of UTC.
type Overview struct {
	Figures
	Late        int64               // not closed, and longer than Goals.Within there
	LateSnoozed int64               // of those, which are put off
	Backlog     [len(Ages) + 1]Band // by age, the youngest first
	Load        []Load              // who has alerts, by name
	Days        []Day               // the last ones, today's last
	Analysts    []Analyst           // who closed something in these seven days, by name
	All         Analyst             // what all of them closed
	Agreement   Agreement
	// What waits for a second person, and what two disagree about, the oldest first, and
	// how much of each there is.
	Proposed, Disputed       []Item
	NumProposed, NumDisputed int
}

// Band counts alerts that are not closed, each once: what was escalated is counted as
// that alone.
type Band struct{ Open, Claimed, Snoozed, Escalated int64 }

// Load is what somebody has.
type Load struct {
	Name           string
	Claimed, Given int64 // Given is how many of them they have not begun
	Oldest         int64 // when the oldest was raised
}

// Day is what was closed on a day, by the verdicts as they stand.
type Day struct {
	Begins              int64 // ms since the Unix epoch
	Closed, Fraud, Late int64
	Caught              int64 // sum of what is fraud, in the base currency
}

// Analyst is what somebody closed, by their own verdicts.
type Analyst struct {
	Name        string
	Today, Week Work
}

// Work is what was closed. Median is from taking an alert up to closing it, to about a
// tenth, of the Timed ones that were taken up at all.
type Work struct {
	Closed, Fraud, Timed int64
	Median               time.Duration
}

// Agreement counts the second looks of AgreementDays by both verdicts.
type Agreement struct {
	BothFraud, BothGenuine   int64
	FirstFraud, FirstGenuine int64 // and the second one said the other
}

// AgreementDays is over how many days second looks are counted: few of them in a week
// would say nothing.
const AgreementDays = 90

// Looks is how many there were.
func (a Agreement) Looks() int64 { return a.BothFraud + a.BothGenuine + a.FirstFraud + a.FirstGenuine }

// Share is the share of second looks that agree, NaN of none.
func (a Agreement) Share() float64 {
	return float64(a.BothFraud+a.BothGenuine) / float64(a.Looks())
}

// Kappa is Cohen's: by how much they agree beyond what chance would give two who say
// fraud as often as these do. It is NaN where chance alone would agree always.
func (a Agreement) Kappa() float64 {
	n := float64(a.Looks())
	first, second := float64(a.BothFraud+a.FirstFraud)/n, float64(a.BothFraud+a.FirstGenuine)/n
	chance := first*second + (1-first)*(1-second)
	if chance == 1 {
		return math.NaN()
	}
	return (a.Share() - chance) / (1 - chance)
}

// listMax bounds the lists of an overview: what one works through before one looks again,
// and sees at once with what the page has besides.
const listMax = 6

// Measure sets what figures are measured by.
func (v *View) Measure(g Goals) {
	v.fold.Lock()
	defer v.fold.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.goals = g
	v.memory.tally.measure(g, v.memory.rows)
}

// Overview returns it for a time, with so many days.
func (v *View) Overview(ctx context.Context, now int64, days int) (Overview, error) {
	o, proposed, disputed := v.overview(now, days)
	var err error
	if o.Proposed, err = v.items(ctx, proposed); err == nil {
		o.Disputed, err = v.items(ctx, disputed)
	}
	if err != nil {
		return Overview{}, fmt.Errorf("overview: %w", err)
	}
	return o, nil
}

// overview counts, and returns the keys of what is listed.
func (v *View) overview(now int64, days int) (o Overview, proposed, disputed []int64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	m := v.memory
	o.Figures = m.tally.figures(now)
	var rows []int32
	load := make([]Load, len(m.owners.text))
	bands := bandsAt(now)
	for _, list := range [][]pending{m.tally.open, m.tally.snoozed} {
		for i := range list {
			w := &list[i]
			o.age(w, now, &bands, m.tally.Within)
			switch w.status {
			case ProposedFraud, ProposedGenuine:
				rows = append(rows, w.row)
			case Claimed:
				load[w.owner].add(w)
			}
		}
	}
	o.NumProposed, proposed = len(rows), m.first(rows, func(i int32) int64 { return m.rows[i].raised })
	rows = rows[:0]
	for i := range m.tally.disputed {
		rows = append(rows, i)
	}
	o.NumDisputed, disputed = len(rows), m.first(rows, func(i int32) int64 { return m.tally.closed[m.tally.place[i]].at })
	for i := range load {
		if load[i].Claimed > 0 {
			load[i].Name = m.owners.text[i]
			o.Load = append(o.Load, load[i])
		}
	}
	slices.SortFunc(o.Load, func(a, b Load) int { return cmp.Compare(a.Name, b.Name) })
	o.past(m, dayOf(now), int64(days))
	return o, proposed, disputed
}

// bandsAt are the times at which the oldest of each band but the last was raised, at
// the earliest.
func bandsAt(now int64) (after [len(Ages)]int64) {
	for i, age := range Ages {
		after[i] = now - age.Milliseconds()
	}
	return after
}

// age counts an alert in its band.
func (o *Overview) age(w *pending, now int64, after *[len(Ages)]int64, within time.Duration) {
	band := 0
	for band < len(after) && w.raised <= after[band] {
		band++
	}
	b, status := &o.Backlog[band], w.at(now)
	switch {
	case w.escalated:
		b.Escalated++
	case status == Snoozed:
		b.Snoozed++
	case status == Claimed:
		b.Claimed++
	default:
		b.Open++
	}
	if within > 0 && now-w.raised > within.Milliseconds() {
		o.Late++
		if status == Snoozed {
			o.LateSnoozed++
		}
	}
}

func (l *Load) add(w *pending) {
	if l.Claimed == 0 || w.raised < l.Oldest {
		l.Oldest = w.raised
	}
	l.Claimed++
	l.Given += int64(bit(w.given))
}

// first returns the keys of the first rows by a time, listMax at most.
func (m *memory) first(rows []int32, at func(int32) int64) (keys []int64) {
	order := func(i, j int32) int {
		return cmp.Or(cmp.Compare(at(i), at(j)), cmp.Compare(m.rows[i].key, m.rows[j].key))
	}
	var list []int32
	for _, i := range rows {
		if len(list) == listMax && order(i, list[listMax-1]) > 0 {
			continue
		}
		k, _ := slices.BinarySearchFunc(list, i, order)
		list = slices.Insert(list, k, i)
		list = list[:min(len(list), listMax)]
	}
	for _, i := range list {
		keys = append(keys, m.rows[i].key)
	}
	return keys
}

// past adds up the days until today.
func (o *Overview) past(m *memory, today, days int64) {
	type total struct{ today, week work }
	totals := make(map[uint32]*total)
	for n := today - max(days, AgreementDays) + 1; n <= today; n++ {
		d := m.tally.days[n]
		if d == nil {
			d = &day{}
		}
		if n > today-days {
			o.Days = append(o.Days, Day{Begins: n * dayMs, Closed: d.closed, Fraud: d.fraud, Late: d.late, Caught: d.caught})
		}
		if n > today-AgreementDays {
			o.Agreement.BothFraud += d.pairs[1][1]
			o.Agreement.BothGenuine += d.pairs[0][0]
			o.Agreement.FirstFraud += d.pairs[1][0]
			o.Agreement.FirstGenuine += d.pairs[0][1]
		}
		if n <= today-7 {
			continue
		}
		for who, w := range d.work {
			if w.closed == 0 {
				continue // what was closed is open again
			}
			t := totals[who]
			if t == nil {
				t = &total{}
				totals[who] = t
			}
			t.week.add(w)
			if n == today {
				t.today.add(w)
			}
		}
	}
	var all total
	for who, t := range totals {
		all.today.add(&t.today)
		all.week.add(&t.week)
		o.Analysts = append(o.Analysts, Analyst{Name: m.owners.text[who], Today: t.today.sum(), Week: t.week.sum()})
	}
	o.All = Analyst{Today: all.today.sum(), Week: all.week.sum()}
	slices.SortFunc(o.Analysts, func(a, b Analyst) int { return cmp.Compare(a.Name, b.Name) })
}

func (w *work) add(x *work) {
	w.closed += x.closed
	w.fraud += x.fraud
	w.timed += x.timed
	for i := range w.took {
		w.took[i] += x.took[i]
	}
}

func (w *work) sum() Work {
	return Work{Closed: w.closed, Fraud: w.fraud, Timed: w.timed, Median: median(&w.took)}
}

// Held returns the first of the alerts that somebody has, by rank, and how many there are.
func (v *View) Held(ctx context.Context, who string, limit int) ([]Item, int, error) {
	keys, n := v.held(who, false, limit)
	list, err := v.items(ctx, keys)
	if err != nil {
		return nil, 0, fmt.Errorf("what %s has: %w", who, err)
	}
	return list, n, nil
}

// Given returns the first by rank of the alerts that a supervisor gave to somebody who
// has not begun; ErrNoAlert where there is none.
func (v *View) Given(ctx context.Context, who string) (Item, error) {
	keys, _ := v.held(who, true, 1)
	if len(keys) == 0 {
		return Item{}, ErrNoAlert
	}
	return v.item(ctx, keys[0])
}

// held returns the first keys of what somebody has, or of what they have not begun, and
// how many there are.
func (v *View) held(who string, given bool, limit int) (keys []int64, n int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	m := v.memory
	number, ok := m.owners.number[who]
	if !ok || who == "" {
		return nil, 0
	}
	b := &best{memory: m, limit: limit}
	for i := range m.tally.open {
		if w := &m.tally.open[i]; w.owner == number && w.status == Claimed && (w.given || !given) {
			if n++; b.wants(&m.rows[w.row]) {
				b.add(w.row)
			}
		}
	}
	for _, i := range b.sorted() {
		keys = append(keys, m.rows[i].key)
	}
	return keys, n
}

// LooksWithin is for how long after its closing an alert waits for a second look: what
// nobody had time for until then is old news.
const LooksWithin = 7 * 24 * time.Hour

// SecondLook returns the alert that somebody is to look at next, empty for none, and how
// many wait for them. Which one it is differs from one to another, so that two who look
// at the same time seldom get the same.
func (v *View) SecondLook(who string, now int64) (id string, waiting int) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(who)) // it never fails
	seed := hash.Sum64()
	v.mu.RLock()
	defer v.mu.RUnlock()
	m, least, first := v.memory, uint64(math.MaxUint64), int64(-1)
	number := m.numberOf(who)
	for n := dayOf(now - LooksWithin.Milliseconds()); n <= dayOf(now); n++ {
		d := m.tally.days[n]
		if d == nil {
			continue
		}
		for i := range d.looks {
			if c := &m.tally.closed[m.tally.place[i]]; !c.awaits(number, now) {
				continue
			}
			waiting++
			key := m.rows[i].key
			if h := mixed(seed ^ uint64(key)); h < least || h == least && key < first {
				least, first = h, key
			}
		}
	}
	if waiting == 0 {
		return "", 0
	}
	return idOf(first), waiting
}

// mixed is the finaliser of splitmix64.
func mixed(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
