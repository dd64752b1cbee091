package trainer

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Summary returns the result as a few lines for people: what was learnt from,
// what the model does with the rows held out, and its heaviest terms.
func (r *Result) Summary() string {
	var s strings.Builder
	line := func(name string, parts ...string) { fmt.Fprintf(&s, "%-13s %s\n", name, wrapped(parts)) }
	say := fmt.Sprintf
	f, h := &r.Facts, &r.Held
	line("learnt from", say("%d transactions", f.Rows), say("%d frauds (%.2f %%)", f.Frauds, percent(f.Frauds, f.Rows)), say("%s to %s", f.From, f.To))
	if n := r.Network; n != nil {
		line("model", say("%d networks of %s over %d of %d features", n.members, strings.Trim(fmt.Sprint(n.widths), "[]"), f.Terms, len(r.Names)), say("%d steps", f.Iterations))
	} else {
		line("model", "logistic regression", say("%d terms of %d features", f.Terms, len(r.Names)), say("%d iterations", f.Iterations))
	}
	line("held out", say("%d transactions", h.Rows), say("%d frauds (%.2f %%)", h.Frauds, percent(h.Frauds, h.Rows)), say("%.1f days after", h.Days))
	ranking := []string{say("ROC AUC %.3f", h.AUC), say("average precision %.3f", h.AveragePrecision)}
	if h.CardPrecision100 > 0 {
		ranking = append(ranking, say("card precision at 100 %.3f", h.CardPrecision100))
	}
	line("ranking", ranking...)
	line("review", say("%d (%.2f %%): %.0f %% of them fraud", h.Reviewed, percent(h.Reviewed, h.Rows), 100*h.Precision),
		say("%.0f %% of frauds", 100*h.Recall), say("%.0f %% of their money", 100*h.MoneyRecall))
	if h.CardsPerDay > 0 {
		line("cards", say("%.1f a day: %.0f %% of them with fraud", h.CardsPerDay, 100*h.CardPrecision), say("%.0f %% of its money", 100*h.CardMoneyRecall))
	}
	line("probability", say("log-loss %.5f", h.LogLoss), say("expected %.2f times the frauds seen", h.Expected), say("calibration error %.4f", h.CalibrationError))
	if r.Logistic != nil {
		line("heaviest", r.heaviest(5)...)
	}
	return s.String()
}

// wrapped joins a list in lines that, behind the names of the summary, are no longer
// than a terminal is wide, unless one of the list is.
func wrapped(list []string) string {
	const indent, wide = 14, 80
	var s strings.Builder
	at := indent
	for i, text := range list {
		if i+1 < len(list) {
			text += ","
		}
		switch {
		case i > 0 && at+1+len(text) > wide:
			s.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		case i > 0:
			s.WriteByte(' ')
			at++
		}
		s.WriteString(text)
		at += len(text)
	}
	return s.String()
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

// heaviest names the n terms of the largest weights.
func (r *Result) heaviest(n int) []string {
	l := r.Logistic
	order := make([]int, len(l.Weight))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch wa, wb := math.Abs(l.Weight[a]), math.Abs(l.Weight[b]); {
		case wa > wb:
			return -1
		case wa < wb:
			return 1
		}
		return 0
	})
	var list []string
	for _, t := range order[:min(n, len(order))] {
		name := r.Names[l.Column[t]]
		if l.Log[t] {
			name = "log " + name
		}
		list = append(list, fmt.Sprintf("%s %+.2f", name, l.Weight[t]))
	}
	return list
}
