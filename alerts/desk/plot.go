package desk

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-risk/weir/alerts"
)

// A plot is amounts over time as the template draws them: numbers in an SVG's own
// units, and words for whoever cannot see it.
type plot struct {
	Title, Desc   string
	Width, Height float64
	Dots          []dot
	Times         []tick  // along the bottom
	Amounts       []tick  // along the left
	Left, Ticks   float64 // where the plot begins, and where the texts left of it end
	Band          *band   // where half of the amounts lie
}

type dot struct {
	X, Y         float64
	This         bool   // ringed: the alert that the page is about
	Fraud        bool   // crossed
	Label, Place string // on hover, and where it leads
}

type tick struct {
	At   float64
	Text string
}

type band struct{ Top, Width, Height float64 }

// The size of the plot, and the room for its ticks.
const (
	plotWidth, plotHeight = 640.0, 180.0
	plotLeft, plotBottom  = 72.0, 24.0
	plotTop, plotRight    = 10.0, 28.0
)

// plotAfter is for how long after its alert a picture goes on, where there is more.
const plotAfter = 3 * 24 * time.Hour

// plotAmounts draws amounts over the days until shortly after this, which is ringed.
// It returns nil where there is nothing to see: one alert alone says no more than its
// amount.
func plotAmounts(items []alerts.Item, this *alerts.Item, currency string, now int64, days int) *plot {
	to := min(max(now, this.Tx.Time), this.Tx.Time+plotAfter.Milliseconds())
	from := to - int64(days)*24*time.Hour.Milliseconds()
	shown := slices.DeleteFunc(slices.Clone(items), func(i alerts.Item) bool { return i.Tx.Time < from || i.Tx.Time > to })
	if len(shown) < 2 {
		return nil
	}
	p := &plot{Width: plotWidth, Height: plotHeight, Left: plotLeft, Ticks: plotLeft - 6}
	var amounts []int64
	for _, i := range shown {
		amounts = append(amounts, max(i.Tx.AmountBase, 1))
	}
	slices.Sort(amounts)
	// Amounts differ by powers of ten, and what matters is by which factor.
	low, high := math.Log10(float64(amounts[0]))-.1, math.Log10(float64(amounts[len(amounts)-1]))+.1
	x := func(ms int64) float64 {
		return round(plotLeft + (plotWidth-plotLeft-plotRight)*float64(ms-from)/float64(to-from))
	}
	y := func(minor int64) float64 {
		return round(plotTop + (plotHeight-plotTop-plotBottom)*(high-math.Log10(float64(max(minor, 1))))/(high-low))
	}
	frauds := 0
	for _, i := range shown {
		d := dot{X: x(i.Tx.Time), Y: y(i.Tx.AmountBase), This: string(i.ID) == string(this.ID), Fraud: i.Status == alerts.Fraud,
			Label: fmt.Sprintf("%s, %s, %s", money(i.Tx.AmountBase, currency), clock(i.Tx.Time, now), i.Status), Place: "/alerts/" + string(i.ID)}
		if d.Fraud {
			frauds++
		}
		p.Dots = append(p.Dots, d)
	}
	top, bottom := y(amounts[len(amounts)*3/4]), y(amounts[len(amounts)/4])
	p.Band = &band{Top: top, Width: plotWidth - plotLeft - plotRight, Height: round(max(bottom-top, 2))}
	for k := range 4 {
		ms := from + (to-from)*int64(k)/3
		p.Times = append(p.Times, tick{At: x(ms), Text: time.UnixMilli(ms).UTC().Format("2 Jan")})
	}
	for _, m := range []int64{amounts[0], amounts[len(amounts)/2], amounts[len(amounts)-1]} {
		if t := (tick{At: y(m), Text: money(m, "")}); len(p.Amounts) == 0 || math.Abs(p.Amounts[len(p.Amounts)-1].At-t.At) > 14 {
			p.Amounts = append(p.Amounts, t)
		}
	}
	p.Title = fmt.Sprintf("Amounts of the alerts of %d days", days)
	p.Desc = fmt.Sprintf("%d alerts from %s to %s, half of them between %s and %s; %d closed as fraud.", len(shown),
		money(amounts[0], currency), money(amounts[len(amounts)-1], currency), money(amounts[len(amounts)/4], currency), money(amounts[len(amounts)*3/4], currency), frauds)
	return p
}

// round keeps a tenth of a unit, so that pages are short.
func round(v float64) float64 { return math.Round(v*10) / 10 }
