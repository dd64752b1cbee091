package trainer

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The inks are colours by name: a report has them by light and by dark, so a plot is
// drawn in stand-ins that are then replaced.
var (
	inkText       = color.RGBA{1, 1, 1, 255}
	inkGrid       = color.RGBA{1, 1, 2, 255}
	inkChallenger = color.RGBA{1, 1, 3, 255}
	inkChampion   = color.RGBA{1, 1, 4, 255}
	inkBaseline   = color.RGBA{1, 1, 5, 255}
	inkFraud      = color.RGBA{1, 1, 6, 255}
	inkFit        = color.RGBA{1, 1, 7, 255}
	inkCalibrate  = color.RGBA{1, 1, 8, 255}
	inkHeld       = color.RGBA{1, 1, 9, 255}
)

var inkNames = strings.NewReplacer(
	"#010101", "var(--text)", "#010102", "var(--grid)", "#010103", "var(--challenger)", "#010104", "var(--champion)",
	"#010105", "var(--baseline)", "#010106", "var(--fraud)", "#010107", "var(--fit)", "#010108", "var(--calibrate)",
	"#010109", "var(--held)",
	// The page's own font, which is about as wide.
	"font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;", "",
)

var plotFont = font.Font{Typeface: "Liberation", Variant: "Sans"}

// The size of a plot, in points; a page scales it to its width.
const plotWidth, plotHeight = 330, 205

// series is one line of a plot.
type series struct {
	ink    color.Color
	points plotter.XYs
	fill   color.Color // below it, where not nil
	steps  bool
	dashes []vg.Length
}

func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = font.From(plotFont, 9), font.From(plotFont, 9)
		a.Label.TextStyle.Color, a.Tick.Label.Color = inkText, inkText
		a.Label.Padding = 3
		a.LineStyle.Color, a.Tick.LineStyle.Color = inkGrid, inkGrid
		a.LineStyle.Width, a.Tick.LineStyle.Width, a.Tick.Length = .5, .5, 3
	}
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = inkGrid, inkGrid
	g.Vertical.Width, g.Horizontal.Width = .4, .4
	p.Add(g)
	return p
}

// add draws a series; one without points is left out.
func (l *series) add(p *plot.Plot) {
	if len(l.points) == 0 {
		return
	}
	v, err := plotter.NewLine(l.points)
	if err != nil {
		panic("BUG: a curve that is not finite: " + err.Error())
	}
	v.Color, v.Width, v.FillColor, v.Dashes = l.ink, 1.4, l.fill, l.dashes
	if l.steps {
		v.StepStyle = plotter.MidStep
	}
	p.Add(v)
}

// svg returns the plot as an element of a page.
func svg(p *plot.Plot, title string) template.HTML {
	c := vgsvg.New(plotWidth, plotHeight)
	// The last tick's label is wider than the plot's edge knows.
	p.Draw(draw.Crop(draw.New(c), 2, -8, 2, -4))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		panic("BUG: a buffer that fails: " + err.Error())
	}
	_, body, _ := strings.Cut(b.String(), "<svg ")
	_, body, _ = strings.Cut(body, ">")
	head := fmt.Sprintf(`<svg role="img" aria-label="%s" viewBox="0 0 %d %d">`, template.HTMLEscapeString(title), plotWidth, plotHeight)
	return template.HTML(head + inkNames.Replace(body))
}

// percentAxis sets an axis from 0 to 100 %.
func percentAxis(a *plot.Axis) {
	a.Min, a.Max = 0, 1
	var ticks plot.ConstantTicks
	for k := 0; k <= 5; k++ {
		ticks = append(ticks, plot.Tick{Value: float64(k) / 5, Label: fmt.Sprintf("%d %%", 20*k)})
	}
	a.Tick.Marker = ticks
}

// logAxis sets an axis by logarithm, with labels at powers of ten and, where
// these are few, between them.
func logAxis(a *plot.Axis, lo, hi float64, label func(v float64) string) {
	a.Min, a.Max, a.Scale = lo, hi, plot.LogScale{}
	var ticks plot.ConstantTicks
	few := hi/lo < 1000
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v < lo*(1-1e-9) || v > hi*(1+1e-9) || m != 1 && !few {
				continue
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label(v)})
		}
	}
	a.Tick.Marker = ticks
}

func percentLabel(v float64) string { return fmt.Sprintf("%.4g %%", 100*v) }
func numberLabel(v float64) string  { return fmt.Sprintf("%.4g", v) }

// countAxis sets an axis from 0 to a little more than a number, with few labels.
func countAxis(a *plot.Axis, most float64) {
	most *= 1.03
	step := math.Pow(10, math.Floor(math.Log10(max(most, 1))))
	for _, m := range []float64{.5, .2} {
		if most/step < 2 || most/(step*m) <= 5 {
			step *= m
			break
		}
	}
	step = max(step, 1)
	a.Min, a.Max = 0, math.Ceil(max(most, 1)/step)*step
	var ticks plot.ConstantTicks
	for v := 0.; v <= a.Max; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: grouped(int64(v))})
	}
	a.Tick.Marker = ticks
}

// dayAxis labels days since the epoch by their date.
func dayAxis(a *plot.Axis, from, to float64) {
	a.Min, a.Max = from, max(to, from+1)
	step := max(1, math.Ceil((to-from)/5))
	var ticks plot.ConstantTicks
	for v := from; v <= to; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: time.UnixMilli(int64(v) * dayMs).UTC().Format("2 Jan")})
	}
	a.Tick.Marker = ticks
}

// band fills the plot's height between two places.
func band(p *plot.Plot, from, to float64, ink color.Color) {
	v, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: p.Y.Min}, {X: to, Y: p.Y.Min}, {X: to, Y: p.Y.Max}, {X: from, Y: p.Y.Max}})
	if err != nil {
		panic("BUG: a band that is not finite: " + err.Error())
	}
	v.Color, v.LineStyle.Width = ink, 0
	p.Add(v)
}
