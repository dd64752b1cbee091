package trainer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// GateOptions says how a challenger is held against the champion.
type GateOptions struct {
	// PerDay is what the desk can review a day: cards, or transactions.
	PerDay float64
	Cards  bool
	// Segments are judged each by itself.
	Segments []Segment

	// Draws is how often the cards are drawn anew, and Seed what from.
	Draws int
	Seed  uint64
	// Margin is by how much one of the two main figures may be less where the
	// other is better; SegmentMargin, by how much a guarded one of a segment.
	Margin        float64
	SegmentMargin float64
	// FraudsMin is how many frauds there must be to judge by, SegmentFraudsMin
	// how many in a segment for it to be guarded.
	FraudsMin        int
	SegmentFraudsMin int
}

// Gate returns options for the desk's capacity as o has it on the rows that are
// held out.
func (o *Options) Gate(held *Dataset) GateOptions {
	n, cards := o.capacity(held)
	return GateOptions{
		PerDay: n / max(days(held), 1./dayMs), Cards: cards,
		// The ends of an interval are the 25th and the 975th of a thousand; of fewer
		// they would move from seed to seed by a tenth of its width.
		Draws: 1000, Seed: 1,
		Margin: 0.01, SegmentMargin: 0.05,
		// Below these an interval is wider than any difference that models make.
		FraudsMin: 30, SegmentFraudsMin: 30,
	}
}

// Validate reports every problem of o at once.
func (o *GateOptions) Validate(held *Dataset) error {
	var errs []error
	check := func(ok bool, name string, got any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s cannot be %v", name, got))
		}
	}
	check(o.PerDay > 0 && o.PerDay <= 1e9, "PerDay", o.PerDay)
	check(o.Draws >= 100 && o.Draws <= 100_000, "Draws", o.Draws)
	check(o.Margin >= 0 && o.Margin <= 1, "Margin", o.Margin)
	check(o.SegmentMargin >= 0 && o.SegmentMargin <= 1, "SegmentMargin", o.SegmentMargin)
	check(o.FraudsMin > 0, "FraudsMin", o.FraudsMin)
	check(o.SegmentFraudsMin > 0, "SegmentFraudsMin", o.SegmentFraudsMin)
	for i := range o.Segments {
		s := &o.Segments[i]
		check(len(s.Of) == held.Rows(), "rows of segment "+s.Name, len(s.Of))
		check(len(s.Values) > 0 && len(s.Values) <= 64, "values of segment "+s.Name, len(s.Values))
		check(!slices.ContainsFunc(s.Of, func(v uint16) bool { return int(v) >= len(s.Values) }), "places of segment "+s.Name, "past its values")
	}
	return errors.Join(errs...)
}

// Verdict says which of two models should serve, and why.
type Verdict struct {
	// Publish is whether the challenger should become champion.
	Publish bool   `json:"publish"`
	Reason  string `json:"reason"`

	Champion   string `json:"champion"` // empty where there is none
	Challenger string `json:"challenger"`
	Rows       int    `json:"rows"`
	Frauds     int    `json:"frauds"`
	// Frauds are of so many cards.
	FraudCards int        `json:"fraud_cards"`
	Days       float64    `json:"days"`
	PerDay     float64    `json:"per_day"`
	Unit       string     `json:"unit"` // of per_day: cards or transactions
	Draws      int        `json:"draws"`
	Figures    []Contrast `json:"figures"`

	Segments []SegmentVerdict `json:"segments,omitempty"`
}

// SegmentVerdict is what the gate found for one value of a segment.
type SegmentVerdict struct {
	Segment string     `json:"segment"`
	Value   string     `json:"value"`
	Rows    int        `json:"rows"`
	Frauds  int        `json:"frauds"`
	Figures []Contrast `json:"figures"`
	// Guarded is whether there were frauds enough, and a guard, to hold a
	// challenger back; Worse is the figure that does.
	Guarded bool   `json:"guarded"`
	Worse   string `json:"worse,omitempty"`
}

// Contrast is a figure of two models, and the 95 % interval of the difference.
// What cannot be told is 0.
type Contrast struct {
	Figure     string  `json:"figure"`
	Champion   float64 `json:"champion"`
	Challenger float64 `json:"challenger"`
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
}

// figureNames are the figures of a Contrast: the share of the frauds' money, and
// of items with fraud, in what the desk reviews where it takes the best of each
// day up to its capacity; average precision; how many items a day the model's own
// threshold sends to review; and the calibration error.
var figureNames = [numFigures]string{"money caught", "precision", "average precision", "alerts a day", "calibration error"}

// Gate judges a challenger by the champion on rows that neither learnt from. The
// desk's work is the same for both: the best items of each day by the model's
// rank, up to the capacity, whatever its threshold. A champion without
// probabilities is none, and the challenger has to beat chance.
//
// The challenger is better where money caught or average precision is, surely:
// the 95 % interval of the difference lies above 0; while the other is not worse:
// not surely, and by no more than Margin as it stands. It is published unless a
// guarded segment is worse, surely, and by more than SegmentMargin.
//
// The errors are the options', ErrTooFew, and of models that do not cover the
// rows.
func Gate(champion, challenger Judged, held *Dataset, o GateOptions) (*Verdict, error) {
	if err := o.Validate(held); err != nil {
		return nil, fmt.Errorf("check options of gate: %w", err)
	}
	v := &Verdict{
		Champion: champion.Name, Challenger: challenger.Name, Rows: held.Rows(), Frauds: held.Frauds(),
		Days: days(held), PerDay: o.PerDay, Unit: "transactions", Draws: o.Draws,
	}
	if o.Cards {
		v.Unit = "cards"
	}
	if v.Frauds < o.FraudsMin || v.Frauds == v.Rows {
		return nil, fmt.Errorf("%d rows with %d frauds to compare models by, at least %d frauds wanted: %w",
			v.Rows, v.Frauds, o.FraudsMin, ErrTooFew)
	}
	if champion.Prob == nil {
		champion = chance(held)
	}
	models := [2]*Judged{&champion, &challenger}
	for _, m := range models {
		if err := m.covers(held); err != nil {
			return nil, err
		}
	}
	c := newContest(models, held, &o)
	point, drawn := c.bootstrap(o.Draws, o.Seed)
	v.FraudCards = c.fraudCards()
	v.Figures = contrasts(point, drawn, 0)
	for i := range o.Segments {
		v.Segments = append(v.Segments, c.segmentVerdicts(i, point, drawn, &o)...)
	}
	v.decide(&o)
	return v, nil
}

func (m *Judged) covers(d *Dataset) error {
	if len(m.Prob) != d.Rows() || len(m.Rank) != d.Rows() {
		return fmt.Errorf("compare %s: %d probabilities and %d ranks of %d rows", m.Name, len(m.Prob), len(m.Rank), d.Rows())
	}
	for i, p := range m.Prob {
		if !(p >= 0 && p <= 1) || m.Rank[i] != m.Rank[i] {
			return fmt.Errorf("compare %s: row %d has probability %g and rank %g", m.Name, i, p, m.Rank[i])
		}
	}
	return nil
}

func (c *contest) fraudCards() int {
	seen := make(map[int32]bool)
	for _, f := range c.frauds {
		seen[f.cluster] = true
	}
	return len(seen)
}

// contrasts returns the figures of a scope with their intervals: the range in
// which 95 % of the draws' differences lie.
func contrasts(point []float64, drawn [][]float64, scope int) []Contrast {
	var list []Contrast
	for f := range numFigures {
		a, b := scope*2*numFigures+f, (scope*2+1)*numFigures+f
		var differences []float64
		for _, d := range drawn {
			if v := d[b] - d[a]; v-v == 0 {
				differences = append(differences, v)
			}
		}
		v := Contrast{Figure: figureNames[f], Champion: known(point[a]), Challenger: known(point[b])}
		v.Difference = known(point[b] - point[a])
		if n := len(differences); n > len(drawn)/2 {
			slices.Sort(differences)
			v.Low, v.High = differences[n/40], differences[n-1-n/40]
		}
		list = append(list, v)
	}
	return list
}

func (c *contest) segmentVerdicts(i int, point []float64, drawn [][]float64, o *GateOptions) (list []SegmentVerdict) {
	s := &o.Segments[i]
	rows, frauds := make([]int, len(s.Values)), make([]int, len(s.Values))
	for row, k := range s.Of {
		rows[k]++
		frauds[k] += int(c.held.Y[row])
	}
	for k, value := range s.Values {
		v := SegmentVerdict{Segment: s.Name, Value: value, Rows: rows[k], Frauds: frauds[k], Figures: contrasts(point, drawn, c.base[i]+k)}
		enough := frauds[k] >= o.SegmentFraudsMin
		v.Guarded = enough && (s.GuardMoney || s.GuardPrecision)
		if m := &v.Figures[figureMoney]; enough && s.GuardMoney && m.worse(o.SegmentMargin) {
			v.Worse = m.Figure
		}
		if p := &v.Figures[figureAP]; enough && s.GuardPrecision && p.worse(o.SegmentMargin) {
			v.Worse = p.Figure
		}
		list = append(list, v)
	}
	return list
}

// better reports whether a figure of which more is better is surely more.
func (c *Contrast) better() bool { return c.Low > 0 }

// worse reports whether it is surely less, and by more than a margin.
func (c *Contrast) worse(margin float64) bool { return c.High < 0 && c.Difference < -margin }

// decide settles whether to publish, and says why.
func (v *Verdict) decide(o *GateOptions) {
	money, ap := &v.Figures[figureMoney], &v.Figures[figureAP]
	less := func(c *Contrast) bool { return c.High < 0 || c.Difference < -o.Margin }
	both := v.words(ap) + "; " + v.words(money)
	var segments []string
	for i := range v.Segments {
		if s := &v.Segments[i]; s.Worse != "" {
			segments = append(segments, v.segmentWords(s))
		}
	}
	switch {
	case !money.better() && !ap.better() && (money.High < 0 || ap.High < 0):
		v.Reason = "worse: " + both
	case !money.better() && !ap.better():
		v.Reason = "not better: the difference may be chance: " + both
	case less(money) || less(ap):
		v.Reason = "better in one figure and worse in the other: " + both
	case len(segments) > 0:
		v.Reason = "better, but worse where it must not be: " + strings.Join(segments, "; ") + "; of all, " + both
	default:
		v.Publish = true
		v.Reason = "better: " + both
		if n := v.guarded(); n > 0 {
			v.Reason += fmt.Sprintf("; none of %d guarded segments worse by more than %.2f", n, o.SegmentMargin)
		}
	}
	if v.Champion == "" {
		v.Reason = "no champion, so held against chance; " + v.Reason
	}
}

func (v *Verdict) guarded() (n int) {
	for i := range v.Segments {
		if v.Segments[i].Guarded {
			n++
		}
	}
	return n
}

// words says what a figure is: "average precision 0.712 against 0.684, +0.028
// (+0.012 to +0.045)".
func (v *Verdict) words(c *Contrast) string {
	name := c.Figure
	if name == figureNames[figureMoney] {
		name = fmt.Sprintf("money caught in %.3g %s a day", v.PerDay, v.Unit)
	}
	return fmt.Sprintf("%s %.3f against %.3f, %s (%s to %s)", name, c.Challenger, c.Champion,
		signed(3, c.Difference), signed(3, c.Low), signed(3, c.High))
}

// signed writes a difference, and no sign before what rounds to nothing.
func signed(digits int, v float64) string {
	s := fmt.Sprintf("%+.*f", digits, v)
	if strings.Trim(s, "+-0.") == "" {
		return s[1:]
	}
	return s
}

func (v *Verdict) segmentWords(s *SegmentVerdict) string {
	k := slices.IndexFunc(s.Figures, func(c Contrast) bool { return c.Figure == s.Worse })
	return fmt.Sprintf("%s %s, with %d frauds: %s", s.Segment, s.Value, s.Frauds, v.words(&s.Figures[k]))
}
