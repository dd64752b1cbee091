package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// NetworkOptions says how a network is learnt.
type NetworkOptions struct {
	Widths  []int   `json:"widths"` // of the hidden layers, multiples of 64
	Members int     `json:"members"`
	Epochs  int     `json:"epochs"`
	Batch   int     `json:"batch"` // rows a step
	Rate    float64 `json:"rate"`  // of learning, at its highest
	Decay   float64 `json:"decay"` // of weights, decoupled
	Dropout float64 `json:"dropout"`
	// Sample is the share of the genuine rows that an epoch sees, drawn anew for
	// each; 0 is what makes them fifty times the frauds, but at least .05 of them, and
	// at most 200,000 rows or .05. Frauds then count as much less, so that the odds
	// stay what they are.
	Sample float64 `json:"sample"`
	Seed   uint64  `json:"seed"`
	// Bins is how many edges of bins each class gives a column; 0 is nine.
	Bins int `json:"bins,omitempty"`
}

// DefaultNetwork returns options that did well on the Handbook stream's four
// validation folds. Average precision there hardly depends on them: with three
// seeds it was between .759 and .760 for widths, members, decay and rates from a
// half to twice these, and for a dropout of .1 to .4, of which .4 had the best card
// precision.
func DefaultNetwork() NetworkOptions {
	return NetworkOptions{Widths: []int{64, 64}, Members: 8, Epochs: 10, Batch: 256, Rate: 8e-3, Decay: 0.1, Dropout: 0.4, Seed: 1}
}

// Validate reports every problem of o at once.
func (o *NetworkOptions) Validate() error {
	var errs []error
	check := func(ok bool, name string, got any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s cannot be %v", name, got))
		}
	}
	check(len(o.Widths) > 0 && len(o.Widths) <= 4, "Widths", o.Widths)
	for _, w := range o.Widths {
		check(w > 0 && w%lane == 0 && w <= 1024, "Widths", o.Widths)
	}
	check(o.Members > 0 && o.Members <= 64, "Members", o.Members)
	check(o.Epochs > 0, "Epochs", o.Epochs)
	check(o.Batch > 0, "Batch", o.Batch)
	check(o.Rate > 0 && o.Rate < 1, "Rate", o.Rate)
	check(o.Decay >= 0 && o.Decay < 1, "Decay", o.Decay)
	check(o.Dropout >= 0 && o.Dropout < 1, "Dropout", o.Dropout)
	check(o.Sample >= 0 && o.Sample <= 1, "Sample", o.Sample)
	check(o.Bins == 0 || o.Bins >= 2 && o.Bins <= 64, "Bins", o.Bins)
	return errors.Join(errs...)
}

// encoded is a data set as a network's encoding sees it: of row i and input k,
// the segment and how far into it, at i*inputs+k.
type encoded struct {
	segment []uint8
	u       []float32
	y       []uint8
	weight  []float32
}

func encode(d *Dataset, inputs []encoder) *encoded {
	e := &encoded{
		segment: make([]uint8, d.Rows()*len(inputs)), u: make([]float32, d.Rows()*len(inputs)), y: d.Y, weight: d.Weight,
	}
	eachChunk(d.Rows(), func(_, from, to int) {
		for i := from; i < to; i++ {
			row := d.Row(i)
			for k := range inputs {
				s, u := inputs[k].place(row[inputs[k].input.Column])
				e.segment[i*len(inputs)+k], e.u[i*len(inputs)+k] = uint8(s), u
			}
		}
	})
	return e
}

// LearnNetwork learns a network from all rows of d. The same data and options
// give the same bits on processors of one kind. Progress, where not nil, is
// called with the steps done and all. The errors are the options', ErrTooFew, of a
// loss that is not finite, and the context's.
func LearnNetwork(ctx context.Context, d *Dataset, o NetworkOptions, progress func(done, total int)) (*Network, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	frauds, total := 0.0, 0.0
	for i, y := range d.Y {
		total += float64(d.Weight[i])
		frauds += float64(d.Weight[i]) * float64(y)
	}
	if n := d.Frauds(); n < fitFraudsMin || d.Rows()-n < fitFraudsMin {
		return nil, fmt.Errorf("%d rows with %d frauds: %w", d.Rows(), n, ErrTooFew)
	}
	rng := rand.NewPCG(o.Seed, 0)
	n := newNetwork(d, &o, frauds/total, rng)
	if len(n.inputs) == 0 {
		return nil, fmt.Errorf("no column varies: %w", ErrTooFew)
	}
	l := &learner{data: encode(d, n.inputs), pass: newPass(n, o.Dropout), adam: newAdam(n, &o), rng: rng, options: &o}
	l.pass.rng = *rand.NewPCG(o.Seed, 1)
	return n, l.run(ctx, progress)
}

// learner takes a network through epochs.
type learner struct {
	options *NetworkOptions
	data    *encoded
	pass    *pass
	adam    *adam
	rng     *rand.PCG

	frauds, genuine []int32
	rows            []int32
	weight          []float32
}

func (l *learner) run(ctx context.Context, progress func(done, total int)) error {
	for i, y := range l.data.y {
		if y != 0 {
			l.frauds = append(l.frauds, int32(i))
		} else {
			l.genuine = append(l.genuine, int32(i))
		}
	}
	share := l.options.share(len(l.frauds), len(l.genuine))
	drawn := max(1, int(share*float64(len(l.genuine))))
	share = float64(drawn) / float64(len(l.genuine))
	epoch := len(l.frauds) + drawn
	steps := (epoch + l.options.Batch - 1) / l.options.Batch
	total, done := steps*l.options.Epochs, 0
	for range l.options.Epochs {
		l.draw(drawn)
		loss := 0.0
		for s := range steps {
			if err := ctx.Err(); err != nil {
				return err
			}
			loss += l.step(l.rows[s*epoch/steps:(s+1)*epoch/steps], float32(share), l.options.Rate*pace(done, total))
			if done++; progress != nil {
				progress(done, total)
			}
		}
		if loss-loss != 0 {
			return fmt.Errorf("loss is %g after %d steps", loss, done)
		}
	}
	return nil
}

// sampleMost is how many genuine rows an epoch sees where Sample is 0. Over months of
// a bank, fifty for each fraud are half of all rows, and ten times half a million take
// minutes; other ones come in each epoch.
const sampleMost = 200_000

// share is the share of the genuine rows that an epoch sees.
func (o *NetworkOptions) share(frauds, genuine int) float64 {
	if o.Sample > 0 {
		return o.Sample
	}
	return min(max(min(float64(50*frauds), sampleMost)/float64(genuine), 0.05), 1)
}

// pace is the share of the highest rate of learning that a step has: up within
// the first twentieth, then down to nothing.
func pace(step, total int) float64 {
	warm := max(1, total/20)
	if step < warm {
		return float64(step+1) / float64(warm)
	}
	return float64(total-step) / float64(total-warm+1)
}

// draw fills l.rows with every fraud and so many genuine rows, shuffled.
func (l *learner) draw(genuine int) {
	r := rand.New(l.rng)
	for i := range genuine {
		j := i + r.IntN(len(l.genuine)-i)
		l.genuine[i], l.genuine[j] = l.genuine[j], l.genuine[i]
	}
	l.rows = append(append(l.rows[:0], l.frauds...), l.genuine[:genuine]...)
	r.Shuffle(len(l.rows), func(i, j int) { l.rows[i], l.rows[j] = l.rows[j], l.rows[i] })
}

// step learns from a batch and returns its loss.
func (l *learner) step(rows []int32, share float32, rate float64) (loss float64) {
	l.pass.begin()
	l.weight = l.weight[:0]
	per := 1 / float32(len(rows))
	for _, i := range rows {
		w := l.data.weight[i] * per
		if l.data.y[i] != 0 {
			w *= share
		}
		l.weight = append(l.weight, w)
	}
	for from := 0; from < len(rows); from += passRows {
		to := min(from+passRows, len(rows))
		loss += l.pass.rows(l.data, rows[from:to], l.weight[from:to])
	}
	l.adam.step(l.pass.n.p, l.pass.end(), rate)
	return loss
}

// adam is AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization",
// 2019).
type adam struct {
	m, v   []float32
	decays []bool
	decay  float64
	b1, b2 float64 // powers of the rates of forgetting
}

const (
	adamFirst  = 0.9
	adamSecond = 0.999
	adamSmall  = 1e-8
)

func newAdam(n *Network, o *NetworkOptions) *adam {
	return &adam{m: make([]float32, len(n.p)), v: make([]float32, len(n.p)), decays: n.decays(), decay: o.Decay, b1: 1, b2: 1}
}

func (a *adam) step(p, g []float32, rate float64) {
	a.b1, a.b2 = a.b1*adamFirst, a.b2*adamSecond
	size, root := float32(rate/(1-a.b1)), float32(math.Sqrt(1/(1-a.b2)))
	keep := float32(1 - rate*a.decay)
	for i, d := range g {
		m := adamFirst*a.m[i] + (1-adamFirst)*d
		v := adamSecond*a.v[i] + (1-adamSecond)*d*d
		a.m[i], a.v[i] = m, v
		if a.decays[i] {
			p[i] *= keep
		}
		p[i] -= size * m / (float32(math.Sqrt(float64(v)))*root + adamSmall)
	}
}
