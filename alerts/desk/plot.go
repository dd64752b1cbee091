package desk

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/ingest/history"
)

// A plot is amounts over time as the template draws them, and below it the fraud rate
// of whoever got the money: numbers in an SVG's own units, and words for whoever cannot
// see it.
type plot struct {
	Title, Desc   string
	Width, Height float64
	Plain         string  // a path with one point for each payment that raised no alert
	Dots          []dot   // those that did, and known fraud
	Times         []tick  // along the bottom
	Amounts       []tick  // along the left
	Left, Ticks   float64 // where the plot begins, and where the texts left of it end
	Band          *band   // where half of the amounts lie
	Key           []keyEntry
	TimesAt       float64
	Unit          string // of the amounts
	Rate          *ratePlot
}

type dot struct {
	X, Y         float64
	This         bool   // ringed: the alert that the page is about
	Fraud        bool   // crossed
	Alert        bool   // a lozenge
	Label, Place string // on hover, and where it leads
}

type tick struct {
	At   float64
	Text string
}

type band struct{ Top, Width, Height float64 }

// A keyEntry says what a shape of the picture stands for; Shape is its class.
type keyEntry struct{ Shape, Words string }

// ratePlot is the share of a merchant's payments that are known to be fraud, by day.
type ratePlot struct {
	Of        string // the merchant
	Words     string
	Bars      []rateBar
	Base, Top float64
	Above     float64 // where the words above it stand
	Most      string  // what the highest bar is
}

type rateBar struct {
	X, Y, Width, Height float64
	Label               string
}

// The size of the plot, and the room for its ticks.
const (
	plotWidth, plotHeight = 640.0, 190.0
	plotLeft, plotBottom  = 72.0, 24.0
	plotTop, plotRight    = 20.0, 28.0
	rateHeight            = 80.0 // of the panel of rates, under that of amounts
)

// plotAfter is for how long after its alert a picture goes on, where there is more.
const plotAfter = 3 * 24 * time.Hour

// plotSpan is the time that a picture shows.
func plotSpan(this *alerts.Item, now int64) (from, to int64) {
	to = min(max(now, this.Tx.Time), this.Tx.Time+plotAfter.Milliseconds())
	return to - plotDays*dayMs, to
}

// scales place times and amounts.
type scales struct {
	from, to  int64
	low, high float64 // logarithms of amounts: what matters is by which factor they differ
}

func (a *scales) x(ms int64) float64 {
	return round(plotLeft + (plotWidth-plotLeft-plotRight)*float64(ms-a.from)/float64(a.to-a.from))
}

func (a *scales) y(minor int64) float64 {
	return round(plotTop + (plotHeight-plotTop-plotBottom)*(a.high-math.Log10(float64(max(minor, 1))))/(a.high-a.low))
}

// plotAmounts draws the payments of a month until shortly after this one, which is
// ringed. It returns nil where there is nothing to see: one alone says no more than its
// amount.
func plotAmounts(marks []mark, days []history.Day, currency string, from, to, now int64) *plot {
	shown := slices.DeleteFunc(slices.Clone(marks), func(m mark) bool { return m.at < from || m.at > to })
	if len(shown) < 2 && len(days) == 0 {
		return nil
	}
	p := &plot{Width: plotWidth, Height: plotHeight, Left: plotLeft, Ticks: plotLeft - 6, Unit: currency}
	var amounts []int64
	for _, m := range shown {
		amounts = append(amounts, max(m.tx.AmountBase, 1))
	}
	if len(amounts) == 0 {
		amounts = []int64{1}
	}
	slices.Sort(amounts)
	a := &scales{from, to, math.Log10(float64(amounts[0])) - .1, math.Log10(float64(amounts[len(amounts)-1])) + .1}
	counts := p.draw(shown, a, currency, now)
	low, high := amounts[len(amounts)/4], amounts[len(amounts)*3/4]
	p.Band = &band{Top: a.y(high), Width: plotWidth - plotLeft - plotRight, Height: round(max(a.y(low)-a.y(high), 2))}
	for k := range 4 {
		ms := from + (to-from)*int64(k)/3
		p.Times = append(p.Times, tick{At: a.x(ms), Text: time.UnixMilli(ms).UTC().Format("2 Jan")})
	}
	for _, m := range []int64{amounts[0], amounts[len(amounts)/2], amounts[len(amounts)-1]} {
		if t := (tick{At: a.y(m), Text: money(m, "")}); len(p.Amounts) == 0 || math.Abs(p.Amounts[len(p.Amounts)-1].At-t.At) > 14 {
			p.Amounts = append(p.Amounts, t)
		}
	}
	p.describe(counts, currency, amounts[0], amounts[len(amounts)-1], low, high)
	p.Rate = plotRate(days, a)
	if p.Rate != nil {
		p.Height += rateHeight
	}
	p.TimesAt = p.Height - 2
	return p
}

// drawn counts what a picture shows.
type drawn struct{ plain, alerts, frauds int }

// draw places the payments.
func (p *plot) draw(shown []mark, a *scales, currency string, now int64) (n drawn) {
	var plain strings.Builder
	for k := range shown {
		m := &shown[k]
		x, y := a.x(m.at), a.y(m.tx.AmountBase)
		if m.item == nil && !m.fraud() {
			n.plain++
			fmt.Fprintf(&plain, "M%g %gh0", x, y)
			continue
		}
		d := dot{X: x, Y: y, This: m.this, Fraud: m.fraud(), Alert: m.item != nil, Label: money(m.tx.AmountBase, currency) + ", " + clock(m.at, now)}
		if d.Alert {
			n.alerts++
			d.Label, d.Place = d.Label+", alert, "+statusWords(m.item.State, now), "/alerts/"+m.id
		}
		if d.Fraud {
			n.frauds++
			d.Label += ", known fraud"
		}
		p.Dots = append(p.Dots, d)
	}
	p.Plain = plain.String()
	// The one that the page is about lies on top.
	slices.SortStableFunc(p.Dots, func(a, b dot) int { return cmp.Compare(btoi(a.This), btoi(b.This)) })
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// describe puts a picture into words, for those who do not see it and as its key.
func (p *plot) describe(n drawn, currency string, least, most, low, high int64) {
	p.Title = fmt.Sprintf("Amounts of the alerts of %d days", plotDays)
	what := counted(n.alerts, "alert")
	if n.plain > 0 {
		p.Title = fmt.Sprintf("Payments of %d days", plotDays)
		what = counted(n.plain+n.alerts, "payment") + ", " + what + " among them,"
		p.Key = append(p.Key, keyEntry{"plain", counted(n.plain, "payment") + " without alert"})
	}
	p.Key = append(p.Key, keyEntry{"alert", counted(n.alerts, "alert")})
	if n.frauds > 0 {
		p.Key = append(p.Key, keyEntry{"fraud", fmt.Sprintf("%d known to be fraud", n.frauds)})
	}
	p.Key = append(p.Key, keyEntry{"ring", "this alert"}, keyEntry{"band", "usual: half lie between " + money(low, "") + " and " + money(high, currency)})
	p.Desc = fmt.Sprintf("%s from %s to %s, half of them between %s and %s; %d known to be fraud.", what,
		money(least, currency), money(most, currency), money(low, currency), money(high, currency), n.frauds)
}

// counted writes a number with what it is of, as in "3 alerts".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%s %ss", grouped(fmt.Sprint(n)), what)
}

// plotRate draws the share of fraud by day, on the axis of time of the picture above;
// nil where nothing is known.
func plotRate(days []history.Day, a *scales) *ratePlot {
	payments, frauds, most := int64(0), int64(0), 0.0
	for _, d := range days {
		payments, frauds = payments+d.Payments, frauds+d.Frauds
		most = max(most, float64(d.Frauds)/float64(d.Payments))
	}
	if payments == 0 {
		return nil
	}
	r := &ratePlot{Top: plotHeight - plotBottom + 30, Above: plotHeight - plotBottom + 20, Base: plotHeight + rateHeight - plotBottom, Most: percent(float32(most))}
	r.Words = fmt.Sprintf("%s known to be fraud, %s. Of the last days not all is known yet.", of(frauds, payments), percent(float32(float64(frauds)/float64(payments))))
	for _, d := range days {
		from, to := a.x(max(d.Day, a.from)), a.x(min(d.Day+dayMs, a.to))
		if to <= from || d.Frauds == 0 {
			continue
		}
		height := round((r.Base - r.Top) * float64(d.Frauds) / float64(d.Payments) / most)
		r.Bars = append(r.Bars, rateBar{X: from, Y: r.Base - height, Width: round(max(to-from-1, 1)), Height: height,
			Label: time.UnixMilli(d.Day).UTC().Format("2 Jan") + ": " + of(d.Frauds, d.Payments) + " known to be fraud"})
	}
	return r
}

// of writes how many of how many payments, as in "2 of 1,400 payments".
func of(n, all int64) string {
	return grouped(fmt.Sprint(n)) + " of " + counted(int(all), "payment")
}

// round keeps a tenth of a unit, so that pages are short.
func round(v float64) float64 { return math.Round(v*10) / 10 }
