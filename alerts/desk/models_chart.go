package desk

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A modelChart is one figure of the models over the days, and the same in numbers.
type modelChart struct {
	*chart
	Headers []string
	Table   []factRow
}

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
			list = append(list, modelChart{chart: c})
			figures[i].table(&list[len(list)-1], models)
		}
	}
	return list
}

// values are a model's of a figure, of the days that have it.
func (f *figure) values(m shownModel) (list []value) {
	for i := range m.Days {
		if e, ok := f.value(&m.Days[i]); ok {
			day := m.Days[i].Day
			list = append(list, value{day, e.Value, e.Low, e.High, m.title + ", " + dayName(day) + ": " + f.words(e)})
		}
	}
	return list
}

// words write a value, with its interval where it has one.
func (f *figure) words(e ModelEstimate) string {
	if e.Low == e.High {
		return f.text(e.Value)
	}
	return f.text(e.Value) + " (" + f.text(e.Low) + " to " + f.text(e.High) + ")"
}

// chart draws a figure over days; nil where no day has it.
func (f *figure) chart(models []shownModel, from, to int64) *chart {
	const right = 84.0 // for the names of the models
	top, lines := max(f.least, 1.2*f.limit), make([][]value, len(models))
	for k, m := range models {
		lines[k] = f.values(m)
		for _, v := range lines[k] {
			top = max(top, 1.1*v.v) // an interval of few alerts may go up to anything: the scale is the values'
		}
	}
	if !slices.ContainsFunc(lines, func(l []value) bool { return len(l) > 0 }) {
		return nil
	}
	if top == 0 || f.whole {
		top = 1
	}
	p := axes(f.id, f.title, from, int((to-from)/dayMs)+1, top, right, f.text)
	if f.limit > 0 {
		p.rule("limit", f.limit)
		p.Texts = append(p.Texts, word{chartLeft + 4, p.y(f.limit) - 3, "", f.limitText})
	}
	var said []string
	var names []word
	for k, m := range models {
		if len(lines[k]) == 0 {
			continue
		}
		p.line(m.class, lines[k], false)
		last := lines[k][len(lines[k])-1]
		names = append(names, word{p.right + 4, p.y(last.v) + 4, "strong " + m.class, m.title})
		said = append(said, m.title+": "+f.text(last.v)+" on "+dayName(last.day))
	}
	p.Texts = append(p.Texts, apart(names)...)
	p.Desc = strings.Join(said, "; ") + "."
	return p.chart
}

// apart moves names of lines that end at about one height away from each other.
func apart(names []word) []word {
	const high = 13
	slices.SortFunc(names, func(a, b word) int { return cmp.Compare(a.Y, b.Y) })
	for i := 1; i < len(names); i++ {
		names[i].Y = max(names[i].Y, names[i-1].Y+high)
	}
	return names
}

// table writes the chart's numbers, a line a day.
func (f *figure) table(c *modelChart, models []shownModel) {
	rows := make(map[int64][]string)
	for k, m := range models {
		c.Headers = append(c.Headers, m.title)
		for i := range m.Days {
			if e, ok := f.value(&m.Days[i]); ok {
				day := m.Days[i].Day
				if rows[day] == nil {
					rows[day] = make([]string, len(models))
				}
				rows[day][k] = f.words(e)
			}
		}
	}
	for _, day := range slices.Sorted(maps.Keys(rows)) {
		c.Table = append(c.Table, factRow{dayName(day), rows[day]})
	}
}
