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

// A chart is a picture of numbers as an SVG of its own units: bars, lines and bands,
// named where they are and not in a legend. Colours come from the page's style sheet by
// the classes; what they say is also written, on hover or beside them.
type chart struct {
	ID, Title, Desc string
	Width, Height   float64
	Rules           []rule
	Bars            []bar
	Bands, Lines    []string // paths
	Points          []point
	Texts           []word
}

type (
	rule struct{ X, Y, X2, Y2 float64 }
	bar  struct {
		X, Y, Width, Height float64
		Class, Tip          string
	}
	point struct {
		X, Y float64
		Tip  string
	}
	word struct {
		X, Y        float64
		Class, Text string
	} // Class "end" ends there, "mid" is around it
)

// The size of a chart, small enough to be read on a telephone, and the room around it.
const (
	chartWidth, chartHeight = 440.0, 180.0
	chartLeft, chartRight   = 64.0, 8.0
	chartTop, chartBottom   = 22.0, 20.0
)

// chartTemplate writes a chart. It is a template so that what is written is escaped.
var chartTemplate = template.Must(template.New("chart").Parse(`<svg class="chart" viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-labelledby="{{.ID}}-title {{.ID}}-desc">` +
	`<title id="{{.ID}}-title">{{.Title}}</title><desc id="{{.ID}}-desc">{{.Desc}}</desc>` +
	`{{range .Rules}}<line x1="{{.X}}" y1="{{.Y}}" x2="{{.X2}}" y2="{{.Y2}}"></line>{{end}}` +
	`{{range .Bands}}<path class="band" d="{{.}}"></path>{{end}}` +
	`{{range .Bars}}<rect class="{{.Class}}" x="{{.X}}" y="{{.Y}}" width="{{.Width}}" height="{{.Height}}"><title>{{.Tip}}</title></rect>{{end}}` +
	`{{range .Lines}}<path class="line" d="{{.}}"></path>{{end}}` +
	`{{range .Points}}<circle cx="{{.X}}" cy="{{.Y}}" r="2.5"><title>{{.Tip}}</title></circle>{{end}}` +
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
// where that has no room behind it.
func stacks(id, title string, rows []string, kinds []series) *chart {
	const row, letter, left, right = 24.0, 6.6, 90.0, 130.0
	c := &chart{ID: id, Title: title, Width: chartWidth, Height: round(float64(len(rows))*row + 4)}
	totals, ends := make([]int64, len(rows)), make([]string, len(rows))
	most := int64(1)
	for _, k := range kinds {
		for i, n := range k.Values {
			totals[i] += n
			most = max(most, totals[i])
		}
	}
	unit := (chartWidth - left - right) / float64(most)
	before := make([]int64, len(rows))
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
				ends[i] += ", " + named
			}
			if fits(text) {
				c.Texts = append(c.Texts, word{round(x + 4), y + 14, "in", text})
			}
		}
	}
	var said []string
	for i, name := range rows {
		y := 16 + row*float64(i)
		c.Texts = append(c.Texts, word{left - 8, y, "end", name},
			word{round(left + unit*float64(totals[i]) + 6), y, "", count(totals[i]) + strings.Replace(ends[i], ", ", ": ", 1)})
		said = append(said, name+": "+count(totals[i]))
	}
	c.Desc = strings.Join(said, ", ") + "."
	return c
}

// axes begins a chart by days, whose values go from 0 to most, and returns where a day
// and a value are. A day has its room around x.
func axes(id, title string, days []int64, most float64, name func(float64) string) (c *chart, x func(i int) float64, y func(float64) float64) {
	c = &chart{ID: id, Title: title, Width: chartWidth, Height: chartHeight}
	step := (chartWidth - chartLeft - chartRight) / float64(max(len(days), 1))
	x = func(i int) float64 { return chartLeft + step*(float64(i)+.5) }
	y = func(v float64) float64 { return chartTop + (chartHeight-chartTop-chartBottom)*(1-v/most) }
	for _, v := range []float64{0, most / 2, most} {
		c.Rules = append(c.Rules, rule{chartLeft, round(y(v)), chartWidth - chartRight, round(y(v))})
		c.Texts = append(c.Texts, word{chartLeft - 6, round(y(v) + 4), "end", name(v)})
	}
	for k := range 3 {
		if i := (len(days) - 1) * k / 2; len(days) > 0 {
			class := []string{"", "mid", "end"}[k]
			at := []float64{chartLeft, x(i), chartWidth - chartRight}[k]
			c.Texts = append(c.Texts, word{round(at), chartHeight - 4, class, dayName(days[i])})
		}
	}
	return c, x, y
}

// bars draws one bar a day, of which the highest and the last are named.
func bars(id, title string, days []int64, values []float64, class string, name func(float64) string) *chart {
	highest := 0
	sum := 0.0
	for i, v := range values {
		if sum += v; v > values[highest] {
			highest = i
		}
	}
	most := 1.0
	if len(values) > 0 {
		most = ceiling(values[highest])
	}
	c, x, y := axes(id, title, days, most, name)
	width := 2 * (x(0) - chartLeft) * .8
	for i, v := range values {
		if v > 0 {
			c.Bars = append(c.Bars, bar{round(x(i) - width/2), round(y(v)), round(width), round(max(y(0)-y(v), 1)), class, dayName(days[i]) + ": " + name(v)})
		}
		switch last := i == len(values)-1; {
		case v > 0 && i == highest && (last || len(values)-1-i > 4):
			c.Texts = append(c.Texts, named(x(i), y(v), name(v)))
		case last:
			c.Texts = append(c.Texts, named(x(i), y(v), name(v)))
		}
	}
	c.Desc = fmt.Sprintf("%s in %d days", name(sum), len(values))
	if sum > 0 {
		c.Desc += fmt.Sprintf(", most on %s: %s", dayName(days[highest]), name(values[highest]))
	}
	c.Desc += "."
	return c
}

// named is a label over a point, within the chart.
func named(x, y float64, text string) word {
	switch {
	case x > chartWidth-60:
		return word{chartWidth - chartRight, round(y - 6), "end strong", text}
	case x < chartLeft+30:
		return word{chartLeft, round(y - 6), "strong", text}
	}
	return word{round(x), round(y - 6), "mid strong", text}
}

// A share is one day's: of so many, K.
type share struct{ K, N int64 }

// shares draws a share a day as a line within the band where it may truly be (Wilson's
// interval, 95 %). Days without anything are left out of it.
func shares(id, title string, days []int64, values []share) *chart {
	c, x, y := axes(id, title, days, 1, func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) })
	var k, n int64
	last := -1
	for begin := 0; begin < len(values); begin++ {
		end := begin
		for end < len(values) && values[end].N > 0 {
			end++
		}
		if end == begin {
			continue
		}
		c.run(values[begin:end], begin, x, y)
		for i := begin; i < end; i++ {
			v := values[i]
			low, high := wilson(v.K, v.N)
			c.Points = append(c.Points, point{round(x(i)), round(y(v.of())),
				fmt.Sprintf("%s: %.0f %%, %d of %d; between %.0f and %.0f %%", dayName(days[i]), 100*v.of(), v.K, v.N, 100*low, 100*high)})
			k, n, last = k+v.K, n+v.N, i
		}
		begin = end
	}
	if last < 0 {
		c.Desc = "Nothing was closed in these days."
		return c
	}
	v := share{k, n}
	low, high := wilson(k, n)
	c.Desc = fmt.Sprintf("%.0f %% of all, %s of %s (95 %% interval %.0f to %.0f %%).", 100*v.of(), count(k), count(n), 100*low, 100*high)
	c.Texts = append(c.Texts, named(x(last), y(values[last].of()), fmt.Sprintf("%.0f %%", 100*values[last].of())))
	return c
}

func (s share) of() float64 { return float64(s.K) / float64(s.N) }

// run draws days that follow one another.
func (c *chart) run(values []share, begin int, x func(int) float64, y func(float64) float64) {
	var top, bottom, line []string
	for i, v := range values {
		low, high := wilson(v.K, v.N)
		at := []float64{x(begin + i)}
		if len(values) == 1 {
			at = []float64{at[0] - 3, at[0] + 3} // a day alone has a band too
		}
		for _, at := range at {
			top = append(top, fmt.Sprintf("%g %g", round(at), round(y(high))))
			bottom = append([]string{fmt.Sprintf("%g %g", round(at), round(y(low)))}, bottom...)
		}
		line = append(line, fmt.Sprintf("%g %g", round(x(begin+i)), round(y(v.of()))))
	}
	c.Bands = append(c.Bands, "M"+strings.Join(append(top, bottom...), "L")+"Z")
	c.Lines = append(c.Lines, "M"+strings.Join(line, "L"))
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
