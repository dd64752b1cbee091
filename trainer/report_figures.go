package trainer

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dayPlots shows what there was on each day, and what it was used for.
func (r *Report) dayPlots(fit, calibrate, held *Dataset) []reportPlot {
	first, last := floorDiv(r.Data.Time[0], dayMs), floorDiv(r.Data.Time[r.Data.Rows()-1], dayMs)
	n := int(last - first + 1)
	rows, frauds := make(plotter.XYs, n), make(plotter.XYs, n)
	for k := range rows {
		rows[k].X, frauds[k].X = float64(first)+float64(k), float64(first)+float64(k)
	}
	for i, t := range r.Data.Time {
		k := floorDiv(t, dayMs) - first
		rows[k].Y += float64(r.Data.Weight[i])
		if r.Data.Y[i] != 0 {
			frauds[k].Y += float64(r.Data.Weight[i])
		}
	}
	legend := []reportKey{{"fit", "learning"}, {"calibrate", "calibration"}, {"held", "held out"}}
	show := func(title, unit string, points plotter.XYs, ink color.Color) reportPlot {
		p := newPlot("", unit)
		dayAxis(&p.X, float64(first), float64(last))
		most := 0.0
		for _, v := range points {
			most = max(most, v.Y)
		}
		countAxis(&p.Y, most)
		for _, part := range []struct {
			d   *Dataset
			ink color.Color
		}{{fit, inkFit}, {calibrate, inkCalibrate}, {held, inkHeld}} {
			band(p, float64(part.d.Time[0])/dayMs, float64(part.d.Time[part.d.Rows()-1])/dayMs, part.ink)
		}
		if len(points) == 1 { // a line needs two
			points = append(slices.Clone(points), plotter.XY{X: points[0].X + 1, Y: points[0].Y})
		}
		(&series{ink: ink, points: points, steps: true}).add(p)
		return reportPlot{Title: title, SVG: svg(p, title), Legend: legend}
	}
	list := []reportPlot{
		show("Transactions by day", "transactions", rows, inkText),
		show("Frauds by day", "frauds", frauds, inkFraud),
	}
	if len(r.LabelAges) > 0 {
		list = append(list, agePlot(r.LabelAges))
	}
	return list
}

// agePlot shows how long labels took to come.
func agePlot(ages []float64) reportPlot {
	sorted := slices.DeleteFunc(slices.Clone(ages), func(v float64) bool { return v-v != 0 })
	slices.Sort(sorted)
	if len(sorted) == 0 {
		return reportPlot{Title: "Label ages", Note: "No label says when it came."}
	}
	points := plotter.XYs{}
	for k := range 201 {
		i := k * (len(sorted) - 1) / 200
		points = append(points, plotter.XY{X: sorted[i], Y: float64(i+1) / float64(len(sorted))})
	}
	p := newPlot("days after the transaction", "labels that were there")
	countAxis(&p.X, sorted[len(sorted)-1])
	percentAxis(&p.Y)
	(&series{ink: inkText, points: points}).add(p)
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1))] }
	return reportPlot{
		Title: "Label ages", SVG: svg(p, "Label ages"),
		Note: fmt.Sprintf("Half of %s labels came within %.1f days, nine in ten within %.1f.", grouped(int64(len(ages))), at(.5), at(.9)),
	}
}

// modelInks are the stand-ins of a model's ink, by its name.
var modelInks = map[string]color.Color{"challenger": inkChallenger, "champion": inkChampion, "baseline": inkBaseline}

// curvePlots shows what the models do with the rows held out.
func curvePlots(models []reportModel, held *Dataset, o *GateOptions) []reportPlot {
	var legend []reportKey
	for _, m := range models {
		legend = append(legend, reportKey{m.Ink, m.Role})
	}
	unit := "transactions"
	if o.Cards {
		unit = "cards"
	}
	ranking, roc := newPlot("share of frauds found", "precision"), newPlot("false alarms, of genuine transactions", "share of frauds found")
	percentAxis(&ranking.X)
	percentAxis(&ranking.Y)
	percentAxis(&roc.Y)
	logAxis(&roc.X, 1e-5, 1, percentLabel)
	precision, money := newPlot(unit+" reviewed a day", "precision"), newPlot(unit+" reviewed a day", "fraud money caught")
	for _, p := range []*plot.Plot{precision, money} {
		logAxis(&p.X, o.PerDay/20, o.PerDay*20, numberLabel)
		percentAxis(&p.Y)
		(&series{ink: inkText, points: plotter.XYs{{X: o.PerDay, Y: 0}, {X: o.PerDay, Y: 1}}, dashes: []vg.Length{2, 2}}).add(p)
	}
	for _, m := range slices.Backward(models) { // this model on top
		ink := modelInks[m.Ink]
		a, b := rankingCurves(m.judged, held)
		b = slices.DeleteFunc(b, func(v plotter.XY) bool { return v.X < 1e-5 })
		(&series{ink: ink, points: a}).add(ranking)
		(&series{ink: ink, points: b}).add(roc)
		var c, d plotter.XYs
		for _, v := range capacityCurve(m.judged, held, o) {
			c, d = append(c, plotter.XY{X: v.perDay, Y: v.precision}), append(d, plotter.XY{X: v.perDay, Y: v.money})
		}
		(&series{ink: ink, points: c}).add(precision)
		(&series{ink: ink, points: d}).add(money)
	}
	at := fmt.Sprintf("The dashed line is the desk's capacity, %.3g %s a day.", o.PerDay, unit)
	return []reportPlot{
		{Title: "Precision by capacity", SVG: svg(precision, "Precision by capacity"), Legend: legend, Note: "Share with fraud among the best " + unit + " of each day. " + at},
		{Title: "Money caught by capacity", SVG: svg(money, "Money caught by capacity"), Legend: legend, Note: at},
		{Title: "Precision and recall", SVG: svg(ranking, "Precision and recall"), Legend: legend, Note: "The area below is the average precision."},
		{Title: "ROC", SVG: svg(roc, "ROC"), Legend: legend, Note: "By logarithm to the right: what matters happens below one false alarm in a hundred."},
		reliabilityPlot(models[0].judged, held),
	}
}

// reliabilityPlot shows the shares seen against those expected.
func reliabilityPlot(m *Judged, held *Dataset) reportPlot {
	points := reliabilityCurve(m, held)
	lo := 1.0
	for _, v := range points {
		lo = min(lo, v.Expected)
	}
	lo = max(math.Pow(10, math.Floor(math.Log10(max(lo, 1e-6)))), 1e-6)
	lo = min(lo, .1)
	p := newPlot("fraud expected", "fraud seen")
	logAxis(&p.X, lo, 1, percentLabel)
	logAxis(&p.Y, lo, 1, percentLabel)
	(&series{ink: inkText, points: plotter.XYs{{X: lo, Y: lo}, {X: 1, Y: 1}}, dashes: []vg.Length{2, 2}}).add(p)
	var seen plotter.XYs
	for _, v := range points {
		x := max(v.Expected, lo)
		if v.Seen > lo {
			seen = append(seen, plotter.XY{X: x, Y: v.Seen})
		}
		(&series{ink: inkChallenger, points: plotter.XYs{{X: x, Y: max(v.low, lo)}, {X: x, Y: max(v.high, lo)}}}).add(p)
	}
	if s, err := plotter.NewScatter(seen); err == nil && len(seen) > 0 {
		s.Color, s.Radius, s.Shape = inkChallenger, 2.2, draw.CircleGlyph{}
		p.Add(s)
	}
	return reportPlot{
		Title: "Reliability", SVG: svg(p, "Reliability"), Legend: []reportKey{{"challenger", "this model"}},
		Note: "Each point holds as many expected frauds as the others; bars are 95 % intervals. On the dashed line probabilities are right.",
	}
}

// searchPlot shows what each try reached, and the best up to it.
func searchPlot(trials []Trial) reportPlot {
	p := newPlot("trial", "average precision")
	lo, hi := known(trials[0].AveragePrecision), known(trials[0].AveragePrecision)
	var points, best plotter.XYs
	for i, t := range trials {
		ap := known(t.AveragePrecision)
		lo, hi = min(lo, ap), max(hi, ap)
		points = append(points, plotter.XY{X: float64(i + 1), Y: ap})
		best = append(best, plotter.XY{X: float64(i + 1), Y: hi})
	}
	countAxis(&p.X, float64(len(trials)))
	p.Y.Min, p.Y.Max = lo-.1*(hi-lo)-1e-3, hi+.1*(hi-lo)+1e-3
	(&series{ink: inkBaseline, points: best, steps: true}).add(p)
	if s, err := plotter.NewScatter(points); err == nil {
		s.Color, s.Radius, s.Shape = inkChallenger, 2.2, draw.CircleGlyph{}
		p.Add(s)
	}
	return reportPlot{Title: "Search", SVG: svg(p, "Search"), Legend: []reportKey{{"challenger", "a trial"}, {"baseline", "the best so far"}}}
}
