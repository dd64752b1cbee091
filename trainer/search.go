package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A Search looks for options of a network by trying some at random, in bounds that
// did not spoil the Handbook stream's validation folds. Trial 0 is what it began
// from, so what is chosen is never worse where it was judged: on the rows that
// calibrate. The rows held out it never sees.
type Search struct {
	Seed uint64
	base Options
	fit  *Dataset
	late *Dataset // the rows that calibrate
	key  string
}

// TrialResult is what came of a trial: a line of a search's journal.
type TrialResult struct {
	// Search is a hash of all that the trials follow from: rows, options, seed.
	Search           string         `json:"search"`
	Trial            int            `json:"trial"`
	Options          NetworkOptions `json:"options"`
	AveragePrecision float64        `json:"average_precision"`
}

// NewSearch returns a search over the network of o, on the rows that [Fit] would cut
// d into, which it puts in the order of time. The errors are Cut's, of options that
// are none of a network from scratch.
func NewSearch(d *Dataset, o Options, seed uint64) (*Search, error) {
	if o.Network == nil || o.Warm != nil {
		return nil, errors.New("a search is for options of a network that is learnt from scratch")
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("check options: %w", err)
	}
	d.Sort()
	fit, late, _, err := Cut(d, &o)
	if err != nil {
		return nil, err
	}
	s := &Search{Seed: seed, base: o, fit: fit, late: late}
	s.key = s.hash()
	return s, nil
}

// Options returns the options of a trial: they follow from the seed and its number.
func (s *Search) Options(trial int) NetworkOptions {
	o := *s.base.Network
	o.Widths = slices.Clone(o.Widths)
	if trial == 0 {
		return o
	}
	r := rand.New(rand.NewPCG(s.Seed, uint64(trial)))
	// Numbers of few digits are read, and written again, as they were.
	between := func(lo, hi float64) float64 {
		v := math.Exp(math.Log(lo) + r.Float64()*math.Log(hi/lo))
		scale := math.Pow(10, math.Floor(math.Log10(v))-1)
		return math.Round(v/scale) * scale
	}
	o.Rate, o.Decay = between(1e-3, 2e-2), between(5e-3, 0.5)
	o.Dropout = float64(r.IntN(6)) / 10
	o.Epochs = 5 + r.IntN(16)
	o.Bins = []int{5, 9, 17}[r.IntN(3)]
	width := []int{64, 128}[r.IntN(2)]
	for i := range o.Widths {
		o.Widths[i] = width
	}
	return o
}

// Try learns with the options of a trial, and judges them. Progress is as in Fit.
func (s *Search) Try(ctx context.Context, trial int, progress func(done, total int)) (TrialResult, error) {
	t := TrialResult{Search: s.key, Trial: trial, Options: s.Options(trial)}
	n, err := LearnNetwork(ctx, s.fit, t.Options, progress)
	if err != nil {
		return t, fmt.Errorf("trial %d: %w", trial, err)
	}
	r := Result{Names: s.fit.Names, Network: n}
	scores, err := r.scores(s.late)
	if err != nil {
		return t, fmt.Errorf("trial %d: %w", trial, err)
	}
	t.AveragePrecision = known(averagePrecision(scores, s.late.Y, s.late.Weight))
	return t, nil
}

// Best returns the place of the best of trials; of equals, the first tried.
func Best(trials []TrialResult) (best int) {
	for i := range trials {
		a, b := &trials[i], &trials[best]
		if a.AveragePrecision > b.AveragePrecision || a.AveragePrecision == b.AveragePrecision && a.Trial < b.Trial {
			best = i
		}
	}
	return best
}

// Key returns a hash of the rows that the search sees, of the options that it begins
// from, and of its seed: trials of one key need not be made again.
func (s *Search) Key() string { return s.key }

func (s *Search) hash() string {
	h := sha256.New()
	options, err := json.Marshal(s.base.Network)
	if err != nil {
		panic("BUG: options that JSON cannot hold: " + err.Error()) // validated numbers
	}
	_, _ = h.Write(binary.LittleEndian.AppendUint64(options, s.Seed))
	var b []byte
	for _, d := range []*Dataset{s.fit, s.late} {
		for i := range d.Rows() {
			b = b[:0]
			for _, v := range d.Row(i) {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			b = append(b, d.Y[i])
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(d.Weight[i]))
			b = binary.LittleEndian.AppendUint64(b, uint64(d.Time[i]))
			_, _ = h.Write(b)
		}
		_, _ = h.Write([]byte{'|'})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Words says what a trial's options are, for people.
func (t *TrialResult) Words() string {
	o := &t.Options
	bins := o.Bins
	if bins == 0 {
		bins = (edgeQuantiles + 1) / 2
	}
	return fmt.Sprintf("rate %.2g, dropout %.1f, decay %.2g, %d epochs, %d edges a class, width %d", o.Rate, o.Dropout, o.Decay, o.Epochs, bins, o.Widths[0])
}
