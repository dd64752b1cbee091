package desk

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A modelChart is one figure of the models over the days, as the template draws it.
type modelChart struct {
	ID, Title, Desc string
	Width, Height   float64
	Left, Right     float64 // where lines begin and end
	Lines           []chartLine
	Days, Values    []tick
	Limit           *chartLimit
	DayBase         float64
	Headers         []string
	Table           []factRow // the same in numbers
}

// chartLine is a model's.
type chartLine struct {
	Class, Path, Name string
	Dots              []chartDot
	NameX, NameY      float64
}

type chartDot struct {
	X, Y, Low, High float64
	Ends            bool // an interval is known
	Label           string
}

// chartLimit is a value that the others are held against.
type chartLimit struct {
	Y    float64
	Text string
}

// The size of a chart, and the room for its texts.
const (
	modelChartWidth, modelChartHeight = 440.0, 150.0
	modelChartLeft, modelChartRight   = 44.0, 84.0
	modelChartTop, modelChartBottom   = 10.0, 22.0
)

// figure is what a chart shows: the value of a day, with its interval where one is
// known.
type figure struct {
	id, title string
	value     func(*ModelDay) (e ModelEstimate, known bool)
	text      func(float64) string
	least     float64 // that the scale goes up to at least, or where it is a whole, at all
	whole     bool
	limit     float64 // a line; 0 for none
	limitText string
}

func shareText(v float64) string { return percent(float32(v)) }

func ratioText(v float64) string { return fmt.Sprintf("%.2f", v) }

// figures are the charts that there are.
var figures = []figure{
	{id: "alerted", title: "Share of payments alerted on", text: shareText, value: func(d *ModelDay) (ModelEstimate, bool) {
		return ModelEstimate{d.AlertRate, d.AlertRate, d.AlertRate}, d.Decisions > 0
	}},
	{id: "precision", title: "Precision: alerts that were fraud", text: shareText, least: 1, whole: true, value: func(d *ModelDay) (ModelEstimate, bool) { return estimated(d.Precision) }},
	{id: "recall", title: "Recall: frauds that were alerted on", text: shareText, least: 1, whole: true, value: func(d *ModelDay) (ModelEstimate, bool) { return estimated(d.Recall) }},
	{id: "score", title: "Score drift: PSI against held-out days", text: ratioText, least: 2 * DriftSome, limit: DriftMuch, limitText: "much", value: func(d *ModelDay) (ModelEstimate, bool) {
		if d.ScorePSI == nil {
			return ModelEstimate{}, false
		}
		return ModelEstimate{*d.ScorePSI, *d.ScorePSI, *d.ScorePSI}, true
	}},
	{id: "calibration", title: "Calibration: frauds expected of each seen", text: ratioText, least: 2, limit: 1, limitText: "right", value: func(d *ModelDay) (ModelEstimate, bool) { return estimated(d.Calibration) }},
}

func estimated(e *ModelEstimate) (ModelEstimate, bool) {
	if e == nil {
		return ModelEstimate{}, false
	}
	return *e, true
}

// charts draws each figure that some day has.
func charts(models []shownModel) (list []modelChart) {
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	for _, m := range models {
		for i := range m.Days {
			from, to = min(from, m.Days[i].Day), max(to, m.Days[i].Day)
		}
	}
	for i := range figures {
		if c := figures[i].chart(models, from, to); c != nil {
			list = append(list, *c)
		}
	}
	return list
}

// chart draws a figure over days; nil where no day has it.
func (f *figure) chart(models []shownModel, from, to int64) *modelChart {
	top, any := f.least, false
	if f.limit > 0 {
		top = max(top, 1.2*f.limit)
	}
	for _, m := range models {
		for i := range m.Days {
			// An interval of few alerts may go up to anything: the scale is the values'.
			if e, ok := f.value(&m.Days[i]); ok {
				top, any = max(top, 1.1*e.Value), true
			}
		}
	}
	if !any {
		return nil
	}
	if top == 0 || f.whole {
		top = 1
	}
	c := &modelChart{ID: f.id, Title: f.title, Width: modelChartWidth, Height: modelChartHeight, Left: modelChartLeft, Right: modelChartWidth - modelChartRight, DayBase: modelChartHeight - 4}
	x := func(day int64) float64 {
		if from == to {
			return (modelChartLeft + c.Right) / 2
		}
		return round(modelChartLeft + (c.Right-modelChartLeft)*float64(day-from)/float64(to-from))
	}
	y := func(v float64) float64 {
		return round(modelChartTop + (modelChartHeight-modelChartTop-modelChartBottom)*(1-min(max(v/top, 0), 1)))
	}
	for _, v := range []float64{0, top / 2, top} {
		c.Values = append(c.Values, tick{y(v), f.text(v)})
	}
	if f.limit > 0 {
		c.Limit = &chartLimit{y(f.limit), f.limitText}
	}
	for _, day := range days3(from, to) {
		c.Days = append(c.Days, tick{x(day), dayOf(day)})
	}
	var said []string
	for _, m := range models {
		if line, last := f.line(m, x, y); line != nil {
			c.Lines = append(c.Lines, *line)
			said = append(said, m.title+": "+last)
		}
	}
	c.apart()
	c.Desc = strings.Join(said, "; ") + "."
	f.table(c, models)
	return c
}

// days3 are the first day, the last one, and one between.
func days3(from, to int64) []int64 {
	const day = int64(24 * time.Hour / time.Millisecond)
	switch n := (to - from) / day; {
	case n == 0:
		return []int64{from}
	case n == 1:
		return []int64{from, to}
	default:
		return []int64{from, from + n/2*day, to}
	}
}

// line draws a model's days, and says what the last one was; nil where none has the
// figure. Where a day lacks it, the line is interrupted.
func (f *figure) line(m shownModel, x func(int64) float64, y func(float64) float64) (l *chartLine, last string) {
	var path strings.Builder
	pen := byte('M')
	for i := range m.Days {
		d := &m.Days[i]
		e, ok := f.value(d)
		if !ok {
			pen = 'M'
			continue
		}
		if l == nil {
			l = &chartLine{Class: m.class, Name: m.title}
		}
		dot := chartDot{X: x(d.Day), Y: y(e.Value), Low: y(e.Low), High: y(e.High), Ends: e.Low != e.High}
		dot.Label = m.title + ", " + dayOf(d.Day) + ": " + f.text(e.Value)
		if dot.Ends {
			dot.Label += " (" + f.text(e.Low) + " to " + f.text(e.High) + ")"
		}
		fmt.Fprintf(&path, "%c%g %g", pen, dot.X, dot.Y)
		l.Dots = append(l.Dots, dot)
		l.NameX, l.NameY = dot.X+8, dot.Y
		last, pen = f.text(e.Value)+" on "+dayOf(d.Day), 'L'
	}
	if l != nil {
		l.Path = path.String()
	}
	return l, last
}

// apart moves the names of lines that end at one height away from each other.
func (c *modelChart) apart() {
	const high = 12
	for i := range c.Lines {
		for j := range i {
			if a, b := &c.Lines[j], &c.Lines[i]; math.Abs(a.NameY-b.NameY) < high && math.Abs(a.NameX-b.NameX) < modelChartRight {
				b.NameY = a.NameY + high
			}
		}
	}
}

// table writes the chart's numbers, a line a day.
func (f *figure) table(c *modelChart, models []shownModel) {
	rows := make(map[int64][]string)
	var days []int64
	for k, m := range models {
		c.Headers = append(c.Headers, m.title)
		for i := range m.Days {
			e, ok := f.value(&m.Days[i])
			if !ok {
				continue
			}
			day := m.Days[i].Day
			if rows[day] == nil {
				rows[day] = make([]string, len(models))
				days = append(days, day)
			}
			if rows[day][k] = f.text(e.Value); e.Low != e.High {
				rows[day][k] += " (" + f.text(e.Low) + " to " + f.text(e.High) + ")"
			}
		}
	}
	slices.Sort(days)
	for _, day := range days {
		c.Table = append(c.Table, factRow{dayOf(day), rows[day]})
	}
}
