package trainer

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-risk/weir/scoring"
)

func gate(t *testing.T, d *Dataset, m [2]Judged, change func(o *GateOptions)) *Verdict {
	t.Helper()
	desk := Options{ReviewCardsPerDay: 20}
	o := desk.Gate(d)
	if o.Draws = 200; testing.Short() {
		o.Draws = 100
	}
	if change != nil {
		change(&o)
	}
	v, err := Gate(m[0], m[1], d, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Of challengers as good as the champion few are published, of worse ones none,
// and of much better ones most.
func TestGateIsSeldomTakenIn(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 5
	}
	f := func(noise [2]float64, least, most float64) {
		t.Helper()
		published := 0
		for k := range worlds {
			d, m := rivals(uint64(2000+k), 4000, noise)
			if gate(t, d, m, nil).Publish {
				published++
			}
		}
		if share := float64(published) / float64(worlds); share < least || share > most {
			t.Errorf("noise of %v: %d of %d published", noise, published, worlds)
		}
	}
	f([2]float64{1, 1}, 0, .13) // 3 % of 400
	f([2]float64{.7, 1}, 0, 0)
	f([2]float64{1.5, .4}, .9, 1)
}

// A verdict is in words what it is in numbers, the same each time, and JSON.
func TestVerdictIsTheSameEachTime(t *testing.T) {
	d, m := rivals(1, 6000, [2]float64{1.5, .4})
	segments := func(o *GateOptions) { o.Segments = []Segment{AmountBands(d, 2), Hours(d)} }
	first, err := json.Marshal(gate(t, d, m, segments))
	if err != nil {
		t.Fatal(err)
	}
	second, _ := json.Marshal(gate(t, d, m, segments))
	if string(first) != string(second) {
		t.Error("the same rows give another verdict")
	}
	v := gate(t, d, m, segments)
	if !v.Publish || !strings.HasPrefix(v.Reason, "better: average precision 0.") ||
		!strings.Contains(v.Reason, "money caught in 20 cards a day 0.") || !strings.Contains(v.Reason, "guarded segments worse by more than 0.05") {
		t.Errorf("%+v", v)
	}
	if len(v.Segments) != 9 || v.Frauds != d.Frauds() || v.Unit != "cards" {
		t.Errorf("%+v", v)
	}
	cards := make(map[uint64]bool)
	for i, y := range d.Y {
		if y != 0 {
			cards[d.Card[i]] = true
		}
	}
	if v.FraudCards != len(cards) {
		t.Errorf("frauds of %d cards, not %d", v.FraudCards, len(cards))
	}
	ap := v.Figures[figureAP]
	if want := AveragePrecision(m[1].Prob, d.Y) - AveragePrecision(m[0].Prob, d.Y); math.Abs(ap.Difference-want) > 1e-9 || ap.Low > want || ap.High < want {
		t.Errorf("%+v, not %g", ap, want)
	}
}

// A challenger that is better on the whole is held back by a guarded segment
// where it is worse, and by none that is not guarded.
func TestGuardedSegmentHoldsBack(t *testing.T) {
	d, m := rivals(2, 12_000, [2]float64{1.5, .3})
	s := NewSegment("channel", make([]string, d.Rows()))
	s.Values = []string{"card present", "online"}
	for i := range s.Of {
		if i%8 == 0 {
			s.Of[i] = 1
			m[1].Prob[i] = m[0].Prob[(i*7919+3)%d.Rows()] // knows nothing of it
		}
	}
	m[1].Rank = m[1].Prob
	f := func(publish bool, words string, change func(s *Segment, o *GateOptions)) {
		t.Helper()
		v := gate(t, d, m, func(o *GateOptions) {
			s := s
			change(&s, o)
			o.Segments = []Segment{s}
		})
		if v.Publish != publish || !strings.Contains(v.Reason, words) {
			t.Errorf("published: %t, %s", v.Publish, v.Reason)
		}
	}
	f(false, "worse where it must not be: channel online, with ", func(*Segment, *GateOptions) {})
	f(false, "average precision", func(s *Segment, _ *GateOptions) { s.GuardMoney = false })
	f(false, "frauds: money caught", func(s *Segment, _ *GateOptions) { s.GuardPrecision = false })
	f(true, "better: ", func(s *Segment, _ *GateOptions) { s.GuardMoney, s.GuardPrecision = false, false })
	f(true, "better: ", func(_ *Segment, o *GateOptions) { o.SegmentMargin = .9 })
	f(true, "better: ", func(_ *Segment, o *GateOptions) { o.SegmentFraudsMin = 100_000 })
}

func TestDecide(t *testing.T) {
	f := func(money, ap Contrast, publish bool, words string) {
		t.Helper()
		v := Verdict{Champion: "old", Figures: make([]Contrast, numFigures), PerDay: 40, Unit: "cards"}
		money.Figure, ap.Figure = figureNames[figureMoney], figureNames[figureAP]
		v.Figures[figureMoney], v.Figures[figureAP] = money, ap
		v.decide(&GateOptions{Margin: .01})
		if v.Publish != publish || !strings.HasPrefix(v.Reason, words) {
			t.Errorf("%+v, %+v: %t, %s", money, ap, v.Publish, v.Reason)
		}
	}
	up := Contrast{Champion: .684, Challenger: .712, Difference: .028, Low: .012, High: .045}
	same := Contrast{Difference: -.005, Low: -.03, High: .02}
	perhaps := Contrast{Difference: -.02, Low: -.05, High: .01}
	surely := Contrast{Difference: -.008, Low: -.015, High: -.001}
	f(same, up, true, "better: average precision 0.712 against 0.684, +0.028 (+0.012 to +0.045); money caught in 40 cards a day")
	f(up, same, true, "better: ")
	f(up, up, true, "better: ")
	f(same, same, false, "not better: the difference may be chance: ")
	f(perhaps, perhaps, false, "not better: ")
	f(surely, perhaps, false, "worse: average precision")
	f(same, surely, false, "worse: average precision 0.000 against 0.000, -0.008 (-0.015 to -0.001)")
	f(same, Contrast{Difference: -.0002, Low: -.004, High: .0004}, false,
		"not better: the difference may be chance: average precision 0.000 against 0.000, 0.000 (-0.004 to 0.000)")
	f(perhaps, up, false, "better in one figure and worse in the other: ")
	f(up, perhaps, false, "better in one")
	f(surely, up, false, "better in one")
	f(up, surely, false, "better in one")
}

// Where there is no champion, a model that knows something is published, and one
// that knows nothing is not.
func TestGateWithoutChampion(t *testing.T) {
	d, m := rivals(4, 4000, [2]float64{1, 1})
	if v := gate(t, d, [2]Judged{{}, m[1]}, nil); !v.Publish || !strings.HasPrefix(v.Reason, "no champion, so held against chance; better: ") {
		t.Errorf("%+v", v)
	}
	published := 0
	worlds := 20
	if testing.Short() {
		worlds = 5
	}
	for k := range worlds {
		d, m := rivals(uint64(9000+k), 2000, [2]float64{1, 1})
		p := m[1].Prob
		rand.New(rand.NewPCG(uint64(k), 1)).Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		if gate(t, d, [2]Judged{{}, m[1]}, nil).Publish {
			published++
		}
	}
	if published > 3 { // 5 of 200
		t.Errorf("%d of %d that know nothing are published", published, worlds)
	}
}

func TestGateFailure(t *testing.T) {
	d, m := rivals(5, 2000, [2]float64{1, 1})
	f := func(want error, words string, change func(d *Dataset, m *[2]Judged, o *GateOptions)) {
		t.Helper()
		d, m, desk := d.pick(upTo(d.Rows())), m, Options{ReviewShare: .01}
		o := desk.Gate(d)
		change(d, &m, &o)
		if _, err := Gate(m[0], m[1], d, o); err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, not %v, %s", err, want, words)
		}
	}
	f(ErrTooFew, "frauds to compare models by, at least 5000", func(_ *Dataset, _ *[2]Judged, o *GateOptions) { o.FraudsMin = 5000 })
	f(ErrTooFew, "2000 rows with 0 frauds", func(d *Dataset, _ *[2]Judged, _ *GateOptions) { clear(d.Y) })
	f(nil, "1999 probabilities", func(_ *Dataset, m *[2]Judged, _ *GateOptions) { m[1].Prob = m[1].Prob[1:] })
	f(nil, "row 3 has probability NaN", func(_ *Dataset, m *[2]Judged, _ *GateOptions) {
		m[0].Prob = append([]float32(nil), m[0].Prob...)
		m[0].Prob[3] = float32(math.NaN())
	})
	f(nil, "PerDay cannot be 0\nDraws cannot be 3", func(_ *Dataset, _ *[2]Judged, o *GateOptions) { o.PerDay, o.Draws = 0, 3 })
	f(nil, "rows of segment hour (UTC) cannot be 1", func(d *Dataset, _ *[2]Judged, o *GateOptions) {
		o.Segments = []Segment{Hours(d.Slice(0, 1))}
	})
	f(nil, "places of segment x", func(d *Dataset, _ *[2]Judged, o *GateOptions) {
		o.Segments = []Segment{{Name: "x", Values: []string{"a"}, Of: append(make([]uint16, d.Rows()-1), 1)}}
	})
}

// A bundle is judged as its own result is; one for other columns is refused.
func TestJudgeBundle(t *testing.T) {
	d, _ := knownWorld(13, 20_000)
	o := DefaultOptions()
	o.Rank = scoring.BySqrtAmount
	r, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, b := sealed(t, d, o)
	held := d.Slice(17_000, 20_000)
	a, err := r.Judge("first", held)
	if err != nil {
		t.Fatal(err)
	}
	c, err := JudgeBundle("first", b, held)
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for i := range a.Prob {
		if a.Prob[i] != c.Prob[i] || a.Rank[i] != c.Rank[i] {
			t.Fatalf("row %d: %g and %g", i, a.Prob[i], c.Prob[i])
		}
		if a.Rank[i] >= a.Review {
			alerts++
		}
	}
	if alerts != r.Held.Reviewed || a.Review != c.Review {
		t.Errorf("%d alerts, not %d", alerts, r.Held.Reviewed)
	}
	// Rows as in training have not moved, and of those with a column moved it leads.
	if s := c.Since; len(s) != len(d.Names)+1 || s[0].Name != "the score" || s[0].Index > 1e-6 || s[1].Index > .05 {
		t.Errorf("since its training: %+v", s)
	}
	shifted := held.pick([]int{1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61})
	for i := range shifted.Rows() {
		shifted.Row(i)[2] = float32(math.NaN())
	}
	if m, err := JudgeBundle("first", b, shifted); err != nil || m.Since[1].Name != d.Names[2] || m.Since[1].MissingIn != 1 {
		t.Errorf("since its training: %+v, %v", m.Since, err)
	}
	held.Names = []string{"other"}
	if _, err := JudgeBundle("first", b, held); !errors.Is(err, scoring.ErrFeatures) {
		t.Errorf("%v", err)
	}
}

func TestSegmentsOfRows(t *testing.T) {
	d := NewDataset([]string{"x"})
	for _, row := range [][2]int64{{-1, 999}, {0, 1000}, {dayMs/4 - 1, 4999}, {dayMs / 4, 5000}, {3*dayMs - 1, 99_999}, {3 * dayMs, 100_000}} {
		d.Add([]float32{0}, false, row[0], row[1])
	}
	f := func(s Segment, want ...string) {
		t.Helper()
		for i, k := range s.Of {
			if s.Values[k] != want[i] {
				t.Errorf("row %d is %q, not %q", i, s.Values[k], want[i])
			}
		}
	}
	f(Hours(d), "18 to 24", "0 to 6", "0 to 6", "6 to 12", "18 to 24", "0 to 6")
	f(AmountBands(d, 2), "below 10", "10 to 50", "10 to 50", "50 to 200", "200 to 1000", "1000 and more")
	f(NewSegment("channel", []string{"pos", "web", "pos"}), "pos", "web", "pos")
}
