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
	f, h := &r.Facts, &r.Held
	fmt.Fprintf(&s, "learnt from   %d transactions, %d frauds (%.2f %%), %s to %s\n",
		f.Rows, f.Frauds, percent(f.Frauds, f.Rows), f.From, f.To)
	fmt.Fprintf(&s, "model         logistic regression, %d terms of %d features, %d iterations\n",
		f.Terms, len(r.Names), f.Iterations)
	fmt.Fprintf(&s, "held out      %d transactions, %d frauds (%.2f %%), %.1f days after\n",
		h.Rows, h.Frauds, percent(h.Frauds, h.Rows), h.Days)
	fmt.Fprintf(&s, "ranking       ROC AUC %.3f, average precision %.3f", h.AUC, h.AveragePrecision)
	if h.CardPrecision100 > 0 {
		fmt.Fprintf(&s, ", card precision at 100 %.3f", h.CardPrecision100)
	}
	fmt.Fprintf(&s, "\nreview        %d (%.2f %%): %.0f %% of them fraud, %.0f %% of frauds, %.0f %% of their money\n",
		h.Reviewed, percent(h.Reviewed, h.Rows), 100*h.Precision, 100*h.Recall, 100*h.MoneyRecall)
	fmt.Fprintf(&s, "probability   log-loss %.5f, expected %.2f times the frauds seen\n", h.LogLoss, h.Expected)
	fmt.Fprintf(&s, "heaviest      %s\n", strings.Join(r.heaviest(5), ", "))
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
