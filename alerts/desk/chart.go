package desk

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A chart is a picture of numbers as an SVG of its own units: bars, and lines by day,
// named where they are and not in a legend. Colours come from static/chart.css by the
// classes; what they say is also written, on hover or beside them.
type chart struct {
	ID, Title, Desc string
	Class           string // of all bars, where it is one
	Width, Height   float64
	Paths           []stroke
	Bars            []bar
	Points          []point
	Texts           []word
}

type (
	stroke struct{ Class, D string }
	bar    struct {
		X, Y, Width, Height float64
		Class, Tip          string
	}
	point struct {
		X, Y              float64
		Class, Tip, Range string // Range is the path of its interval
	}
	word struct {
		X, Y        float64
		Class, Text string
	} // Class "end" ends there, "mid" is around it
)

// The size of a chart, about as wide as a telephone or a quarter of a screen, so that its
// letters are as large as those around it; and the room around days and values.
const (
	chartWidth, chartHeight = 360.0, 170.0
	chartLeft, chartRight   = 52.0, 46.0 // the last value is named to its right
	chartTop, chartBottom   = 22.0, 20.0
	letter                  = 6.6 // about how wide one is
)

// chartTemplate writes a chart. It is a template so that what is written is escaped.
var chartTemplate = template.Must(template.New("chart").Parse(`<svg class="chart{{with .Class}} {{.}}{{end}}" viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-labelledby="{{.ID}}-title {{.ID}}-desc">` +
	`<title id="{{.ID}}-title">{{.Title}}</title><desc id="{{.ID}}-desc">{{.Desc}}</desc>` +
	`{{range .Paths}}<path class="{{.Class}}" d="{{.D}}"/>{{end}}` +
	`{{range .Bars}}<rect{{with .Class}} class="{{.}}"{{end}} x="{{.X}}" y="{{.Y}}" width="{{.Width}}" height="{{.Height}}">{{with .Tip}}<title>{{.}}</title>{{end}}</rect>{{end}}` +
	`{{range $p := .Points}}{{with .Range}}<path class="range {{$p.Class}}" d="{{.}}"/>{{end}}<circle{{with .Class}} class="{{.}}"{{end}} cx="{{.X}}" cy="{{.Y}}" r="2.5"><title>{{.Tip}}</title></circle>{{end}}` +
	`{{range .Texts}}<text{{with .Class}} class="{{.}}"{{end}} x="{{.X}}" y="{{.Y}}">{{.Text}}</text>{{end}}</svg>`))

// SVG is the chart as a page holds it.
func (c *chart) SVG() template.HTML {
	var b bytes.Buffer
	if err := chartTemplate.Execute(&b, c); err != nil {
		panic("BUG: " + err.Error()) // it is given numbers and texts
	}
	return template.HTML(b.String()) // of html/template
}

// A series is one kind of what a stack is made of, a value for each of its rows.
type series struct {
	Name, Class string
	Values      []int64
}

// stacks draws rows of stacked bars. Each kind is named in the widest of its bars, or
// where that has no room beneath them.
func stacks(id, title string, rows []string, kinds []series) *chart {
	const row, left, right = 24.0, 90.0, 48.0
	c := &chart{ID: id, Title: title, Width: chartWidth, Height: round(float64(len(rows))*row + 20)}
	totals, before := make([]int64, len(rows)), make([]int64, len(rows))
	most := int64(1)
	for _, k := range kinds {
		for i, n := range k.Values {
			totals[i] += n
			most = max(most, totals[i])
		}
	}
	unit, beneath := (chartWidth-left-right)/float64(most), left
	for _, k := range kinds {
		widest := slices.Index(k.Values, slices.Max(k.Values))
		for i, n := range k.Values {
			if n == 0 {
				continue
			}
			x, y, width := left+unit*float64(before[i]), 2+row*float64(i), unit*float64(n)
			before[i] += n
			c.Bars = append(c.Bars, bar{round(x), y, round(max(width, 1)), row - 4, k.Class, rows[i] + ": " + count(n) + " " + k.Name})
			fits := func(text string) bool { return float64(len(text))*letter+6 < width }
			text := count(n)
			if named := text + " " + k.Name; i == widest && fits(named) {
				text = named
			} else if i == widest {
				c.Bars = append(c.Bars, bar{round(beneath), c.Height - 14, 10, 10, k.Class, ""})
				c.Texts = append(c.Texts, word{round(beneath + 14), c.Height - 5, "", k.Name})
				beneath += 14 + letter*float64(len(k.Name)) + 8
			}
			if fits(text) {
				c.Texts = append(c.Texts, word{round(x + 4), y + 14, "in", text})
			}
		}
	}
	var said []string
	for i, name := range rows {
		y := 16 + row*float64(i)
		c.Texts = append(c.Texts, word{left - 8, y, "end", name}, word{round(left + unit*float64(totals[i]) + 6), y, "", count(totals[i])})
		said = append(said, name+": "+count(totals[i]))
	}
	c.Desc = strings.Join(said, ", ") + "."
	return c
}

// A plane is a chart by days, each with its room, of values from 0 to most.
type plane struct {
	*chart
	first             int64
	step, right, most float64
}

// axes begins a chart of so many days, with room at its right.
func axes(id, title string, first int64, days int, most, right float64, name func(float64) string) *plane {
	p := &plane{&chart{ID: id, Title: title, Width: chartWidth, Height: chartHeight}, first, 0, chartWidth - right, most}
	p.step = (p.right - chartLeft) / float64(max(days, 1))
	for _, v := range []float64{0, most / 2, most} {
		p.rule("grid", v)
		p.Texts = append(p.Texts, word{chartLeft - 6, p.y(v) + 4, "end", name(v)})
	}
	for k := range min(days, 3) {
		day := first + int64((days-1)*k/max(1, min(days, 3)-1))*dayMs
		word := word{p.x(day), chartHeight - 4, "mid", dayName(day)}
		switch half := letter / 2 * float64(len(word.Text)); {
		case word.X-half < chartLeft:
			word.X, word.Class = chartLeft, ""
		case word.X+half > p.right:
			word.X, word.Class = p.right, "end"
		}
		p.Texts = append(p.Texts, word)
	}
	return p
}

func (p *plane) x(day int64) float64 {
	return round(chartLeft + p.step*(float64(day-p.first)/float64(dayMs)+.5))
}

func (p *plane) y(v float64) float64 {
	return round(chartTop + (chartHeight-chartTop-chartBottom)*(1-min(max(v/p.most, 0), 1)))
}

// rule draws a line at a value.
func (p *plane) rule(class string, v float64) {
	p.Paths = append(p.Paths, stroke{class, fmt.Sprintf("M%g %gH%g", chartLeft, p.y(v), p.right)})
}

// named writes what the last value is, to its right, or what another one is, over it.
func (p *plane) named(day int64, v float64, text string, last bool) {
	w := word{p.x(day), round(p.y(v) - 6), "mid strong", text}
	if half := letter / 2 * float64(len(text)); last {
		w = word{round(w.X + p.step/2 + 3), p.y(v) + 4, "strong", text}
	} else if w.X-half < chartLeft {
		w.X, w.Class = chartLeft, "strong"
	}
	p.Texts = append(p.Texts, w)
}

// A value is a day's, with the interval in which it may truly be.
type value struct {
	day          int64
	v, low, high float64
	tip          string
}

// line draws values as points on a line, which is interrupted where a day has none. Their
// intervals are a band, or a line through each point.
func (p *plane) line(class string, values []value, band bool) {
	for len(values) > 0 {
		n := 1
		for n < len(values) && values[n].day-values[n-1].day == dayMs {
			n++
		}
		var line, top, bottom []string
		for _, v := range values[:n] {
			x := p.x(v.day)
			dot := point{X: x, Y: p.y(v.v), Class: class, Tip: v.tip}
			if !band && v.low != v.high {
				dot.Range = fmt.Sprintf("M%g %gV%g", x, p.y(v.low), p.y(v.high))
			}
			p.Points = append(p.Points, dot)
			line = append(line, fmt.Sprintf("%g %g", x, dot.Y))
			ends := []float64{x}
			if n == 1 {
				ends = []float64{x - 3, x + 3} // a day alone has a band too
			}
			for _, x := range ends {
				top, bottom = append(top, fmt.Sprintf("%g %g", x, p.y(v.high))), append(bottom, fmt.Sprintf("%g %g", x, p.y(v.low)))
			}
		}
		if slices.Reverse(bottom); band {
			p.Paths = append(p.Paths, stroke{"band", "M" + strings.Join(append(top, bottom...), "L") + "Z"})
		}
		p.Paths = append(p.Paths, stroke{strings.TrimSpace("line " + class), "M" + strings.Join(line, "L")})
		values = values[n:]
	}
}

// bars draws one bar a day, of which the highest and the last are named.
func bars(id, title string, first int64, values []float64, class string, name func(float64) string) *chart {
	highest, sum, most := 0, 0.0, 1.0
	for i, v := range values {
		if sum += v; v > values[highest] {
			highest = i
		}
	}
	last := len(values) - 1
	if last >= 0 {
		most = ceiling(values[highest])
	}
	p := axes(id, title, first, len(values), most, chartRight, name)
	p.Class = class
	for i, v := range values {
		day := first + int64(i)*dayMs
		x, y := p.x(day), p.y(v)
		if v > 0 {
			p.Bars = append(p.Bars, bar{round(x - .4*p.step), y, round(.8 * p.step), round(max(p.y(0)-y, 1)), "", dayName(day) + ": " + name(v)})
		}
		if i == last || v > 0 && i == highest {
			p.named(day, v, name(v), i == last)
		}
	}
	p.Desc = fmt.Sprintf("%s in %d days", name(sum), len(values))
	if sum > 0 {
		p.Desc += fmt.Sprintf(", most on %s: %s", dayName(first+int64(highest)*dayMs), name(values[highest]))
	}
	p.Desc += "."
	return p.chart
}

// A share is one day's: of so many, K.
type share struct{ K, N int64 }

// shares draws a share a day as a line within the band where it may truly be (Wilson's
// interval, 95 %). Days without anything are left out of it.
func shares(id, title string, first int64, days []share) *chart {
	var all share
	var values []value
	p := axes(id, title, first, len(days), 1, chartRight, func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) })
	for i, d := range days {
		if d.N == 0 {
			continue
		}
		v := value{day: first + int64(i)*dayMs, v: float64(d.K) / float64(d.N)}
		v.low, v.high = wilson(d.K, d.N)
		v.tip = fmt.Sprintf("%s: %.0f %%, %d of %d; between %.0f and %.0f %%", dayName(v.day), 100*v.v, d.K, d.N, 100*v.low, 100*v.high)
		values, all = append(values, v), share{all.K + d.K, all.N + d.N}
	}
	if len(values) == 0 {
		p.Desc = "Nothing was closed in these days."
		return p.chart
	}
	p.line("", values, true)
	low, high := wilson(all.K, all.N)
	p.Desc = fmt.Sprintf("%.0f %% of all, %s of %s (95 %% interval %.0f to %.0f %%).", 100*float64(all.K)/float64(all.N), count(all.K), count(all.N), 100*low, 100*high)
	last := values[len(values)-1]
	p.named(last.day, last.v, fmt.Sprintf("%.0f %%", 100*last.v), true)
	return p.chart
}

// wilson is the interval of 95 % for a share that was k of n.
func wilson(k, n int64) (low, high float64) {
	const z = 1.959964
	p, m := float64(k)/float64(n), float64(n)
	mid := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, (mid-half)/(1+z*z/m)), min(1, (mid+half)/(1+z*z/m))
}

// ceiling is the end of an axis for values up to most: 1, 2 or 5 times a power of ten.
func ceiling(most float64) float64 {
	if most <= 2 {
		return 2
	}
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{1, 2, 5} {
		if most <= f*power {
			return f * power
		}
	}
	return 10 * power
}

// dayName is a day of UTC.
func dayName(ms int64) string { return time.UnixMilli(ms).UTC().Format("2 Jan") }

// count writes a number in groups of three.
func count(n int64) string { return grouped(strconv.FormatInt(n, 10)) }

// brief writes a number as an axis has room for it, as in 12k.
func brief(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e9, "bn"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= 10*u.of || v >= u.of && math.Mod(v, u.of) == 0 {
			return fmt.Sprintf("%.0f%s", v/u.of, u.name)
		}
		if v >= u.of {
			return fmt.Sprintf("%.1f%s", v/u.of, u.name)
		}
	}
	return fmt.Sprintf("%.0f", v)
}
