package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/trainer"
)

// onlineFigures are of a week, or the mean of the weeks of the protocol's test folds.
type onlineFigures struct {
	AveragePrecision float64 `json:"average_precision"`
	CardPrecision100 float64 `json:"card_precision_100"`
	// MoneyCaught is the share of the frauds' money that the 100 best cards of each
	// day hold.
	MoneyCaught float64 `json:"money_caught_share"`
}

type onlineWeek struct {
	Start string `json:"start"`
	Test  bool   `json:"test_fold"` // of the protocol, and in the mean
	onlineFigures
	Still  onlineFigures `json:"without_retraining"`
	Models []string      `json:"models"` // that decided, the first 8 bytes of their hashes
}

// onlineLife is what came of one life of the stream. Weeks are those in which a model
// decided all along, without the cards that are known by the protocol's rule.
type onlineLife struct {
	Weeks     []onlineWeek  `json:"weeks"`
	Mean      onlineFigures `json:"mean"`
	Still     onlineFigures `json:"without_retraining"`
	Trained   int           `json:"trained"`
	Published int           `json:"published"`
	Reviewed  int           `json:"reviewed"` // transactions
	Seconds   float64       `json:"seconds"`
	// CPUSeconds are those of all processors together, whatever else the machine does.
	CPUSeconds float64 `json:"cpu_seconds"`
}

type onlineReport struct {
	onlineLife
	Spec        string      `json:"spec"`
	Analysts    *onlineLife `json:"with_analysts,omitempty"`
	Exploration *onlineLife `json:"with_exploration,omitempty"`
}

// runOnline lives through the stream as often as was asked.
func (v *evaluation) runOnline(ctx context.Context, e *env, s *spec.Spec) error {
	rep := onlineReport{Spec: s.Name}
	o := *v.online
	plain := o
	plain.analysts, plain.explore = 0, 0
	e.printf("%s\n", v.stream.from)
	life, err := v.live(ctx, e, s, plain, "labels after seven days")
	if err != nil {
		return err
	}
	rep.onlineLife = *life
	if o.analysts > 0 {
		reviewed := o
		reviewed.explore = 0
		if rep.Analysts, err = v.live(ctx, e, s, reviewed, fmt.Sprintf("%d best cards a day reviewed", o.analysts)); err != nil {
			return err
		}
	}
	if o.explore > 0 {
		if rep.Exploration, err = v.live(ctx, e, s, o, fmt.Sprintf("%d best cards a day reviewed, and %d that teach most", o.analysts, o.explore)); err != nil {
			return err
		}
	}
	return e.report(rep)
}

func (v *evaluation) live(ctx context.Context, e *env, s *spec.Spec, o onlineFlags, label string) (*onlineLife, error) {
	began, spent := time.Now(), usageNow().CPUSeconds
	e.printf("\n%s\n", label)
	l := &online{env: e, spec: s, from: v.spec, stream: v.stream, network: v.network, options: o}
	if err := l.liveThrough(ctx, "online"); err != nil {
		return nil, err
	}
	life := l.measure()
	if len(life.Weeks) == 0 {
		return nil, errors.New("no week was decided by a model: there were too few labels")
	}
	life.Seconds, life.CPUSeconds = time.Since(began).Seconds(), usageNow().CPUSeconds-spent
	e.printf("%s", onlineHead)
	for i := range life.Weeks {
		w := &life.Weeks[i]
		mark := ""
		if w.Test {
			mark = "*"
		}
		e.printf(onlineRow, w.Start+mark, w.AveragePrecision, w.Still.AveragePrecision, w.CardPrecision100, w.Still.CardPrecision100, 100*w.MoneyCaught, 100*w.Still.MoneyCaught, len(w.Models))
	}
	m, still := life.Mean, life.Still
	e.printf(onlineRow, "mean of *", m.AveragePrecision, still.AveragePrecision, m.CardPrecision100, still.CardPrecision100, 100*m.MoneyCaught, 100*still.MoneyCaught, life.Published)
	e.printf("trained %d times, published %d models, reviewed %s transactions, in %.0f s (%.0f of a processor)\n", life.Trained, life.Published, thousands(int64(life.Reviewed)), life.Seconds, life.CPUSeconds)
	return life, nil
}

// onlineHead names the columns of onlineRow; "once" is the first model all along.
const (
	onlineHead = "week from    average precision  card precision 100  money caught, %  models\n" +
		"             retrained    once  retrained     once  retrained  once\n"
	onlineRow = "%-11s  %9.4f  %6.4f  %9.4f   %6.4f  %9.1f  %4.1f  %6d\n"
)

// measure judges what was decided, week by week.
func (l *online) measure() *onlineLife {
	life := &onlineLife{Weeks: []onlineWeek{}, Trained: l.trained, Published: l.published}
	for _, r := range l.reviewed {
		if r {
			life.Reviewed++
		}
	}
	rows := l.stream.rows
	first, last := rows[0].time/dayMs*dayMs, (rows[len(rows)-1].time/dayMs+1)*dayMs
	// The weeks are those that the test folds lie on.
	start := first + ((dayTime(testFolds[0])-first)%(7*dayMs)+7*dayMs)%(7*dayMs)
	tests := 0.0
	for ; start+7*dayMs <= last; start += 7 * dayMs {
		w, ok := l.week(start)
		if !ok {
			continue
		}
		life.Weeks = append(life.Weeks, w)
		if w.Test {
			tests++
			life.Mean.add(&w.onlineFigures, 1)
			life.Still.add(&w.Still, 1)
		}
	}
	for _, f := range []*onlineFigures{&life.Mean, &life.Still} {
		sum := *f
		*f = onlineFigures{}
		f.add(&sum, 1/max(tests, 1))
	}
	return life
}

func (f *onlineFigures) add(g *onlineFigures, times float64) {
	f.AveragePrecision += times * g.AveragePrecision
	f.CardPrecision100 += times * g.CardPrecision100
	f.MoneyCaught += times * g.MoneyCaught
}

// week judges one week. It is not one to judge where rules decided any of it, or
// where there is no fraud.
func (l *online) week(start int64) (w onlineWeek, ok bool) {
	w.Start = time.UnixMilli(start).UTC().Format(time.DateOnly)
	for _, fold := range testFolds {
		w.Test = w.Test || dayTime(fold)+14*dayMs == start
	}
	d, kept := l.unknown(start)
	if d.Frauds() == 0 || slices.ContainsFunc(kept, func(i int) bool { return l.bundle[i] == 0 }) {
		return w, false
	}
	models := make(map[uint64]bool)
	prob, still := make([]float32, len(kept)), make([]float32, len(kept))
	for k, i := range kept {
		prob[k], still[k] = l.prob[i], l.still[i]
		if !models[l.bundle[i]] {
			models[l.bundle[i]] = true
			w.Models = append(w.Models, fmt.Sprintf("%016x", l.bundle[i]))
		}
	}
	w.onlineFigures, w.Still = onlineFiguresOf(d, prob), onlineFiguresOf(d, still)
	return w, true
}

func onlineFiguresOf(d *trainer.Dataset, scores []float32) onlineFigures {
	return onlineFigures{trainer.AveragePrecision(scores, d.Y), trainer.CardPrecision(100, d, scores), moneyCaught(100, d, scores)}
}

// unknown returns a week's rows without those of cards known by their day, by the
// protocol's rule, and their places in the stream; the rows have no vectors. What is
// known is the truth, not what was reviewed: all lives are judged by the same rows.
func (l *online) unknown(start int64) (d *trainer.Dataset, kept []int) {
	d = trainer.NewDataset(nil)
	known := make(map[string]bool)
	day := func(at int64, fn func(i int, r *handbookRow)) {
		i, _ := slices.BinarySearchFunc(l.stream.rows, at, func(r handbookRow, t int64) int { return cmp.Compare(r.time, t) })
		for ; i < len(l.stream.rows) && l.stream.rows[i].time < at+dayMs; i++ {
			fn(i, &l.stream.rows[i])
		}
	}
	learn := func(_ int, r *handbookRow) {
		if r.fraud {
			known[string(r.customer)] = true
		}
	}
	for k := int64(-14); k < -8; k++ {
		day(start+k*dayMs, learn)
	}
	for k := range int64(7) {
		day(start+(k-8)*dayMs, learn)
		day(start+k*dayMs, func(i int, r *handbookRow) {
			if !known[string(r.customer)] {
				d.AddCard(nil, r.fraud, r.time, r.amount, hashText(r.customer))
				kept = append(kept, i)
			}
		})
	}
	return d, kept
}

// moneyCaught is the share of the frauds' money of the n best cards of each day.
func moneyCaught(n int, d *trainer.Dataset, scores []float32) float64 {
	type card struct {
		best  float32
		money int64
	}
	all, caught := int64(0), int64(0)
	for i := 0; i < d.Rows(); {
		cards := make(map[uint64]card)
		day := d.Time[i] / dayMs
		for ; i < d.Rows() && d.Time[i]/dayMs == day; i++ {
			c := cards[d.Card[i]]
			c.best = max(c.best, scores[i])
			c.money += int64(d.Y[i]) * d.AmountBase[i]
			cards[d.Card[i]] = c
		}
		order := make([]card, 0, len(cards))
		for _, c := range cards {
			order = append(order, c)
			all += c.money
		}
		slices.SortFunc(order, func(a, b card) int { return cmp.Or(cmp.Compare(b.best, a.best), cmp.Compare(a.money, b.money)) })
		for _, c := range order[:min(n, len(order))] {
			caught += c.money
		}
	}
	return float64(caught) / float64(max(all, 1))
}
