package desk

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// aboutFeatures is what is known of the numbers of a vector.
type aboutFeatures struct {
	spec   *spec.Spec      // nil where the one that decided is not at hand
	bundle *scoring.Bundle // likewise
}

// aboutFeatures finds the spec and the bundle that decided, and says what is missing.
func (s *Server) aboutFeatures(ctx context.Context, d *schemas.Decision) (a aboutFeatures, missing string) {
	o := &s.options.Receipts
	if o.Spec != nil && schemas.HashPrefix(o.Spec.Hash) == d.Spec {
		a.spec = o.Spec
	}
	switch {
	case d.Bundle == 0:
		return a, "No model scored it, so there is no training to compare with."
	case o.Bundle == nil:
		return a, "This desk does not read bundles, so there is no training to compare with: weir desk --trust FILE names the keys that they are signed with."
	}
	b, err := ask(ctx, s, func(ctx context.Context) (*scoring.Bundle, error) { return o.Bundle(ctx, d.Bundle) })
	if err != nil {
		s.options.Log.Warn("bundle not at hand", "bundle", hex64(d.Bundle), "cause", err)
		return a, "The bundle that decided is not at hand, so there is no training to compare with. The desk's log says why."
	}
	a.bundle = b
	if a.spec == nil && schemas.HashPrefix(b.Spec.Hash) == d.Spec {
		if own, err := spec.Parse(b.Spec.Name, b.Spec.Text); err == nil {
			a.spec = own
		}
	}
	if b.Profile == nil {
		missing = "The bundle that decided does not say what its training looked like."
	}
	return a, missing
}

// name is what feature i is called.
func (a *aboutFeatures) name(i int) string {
	switch {
	case a.spec != nil && i < len(a.spec.Features):
		return a.spec.Features[i].Name
	case a.bundle != nil && i < len(a.bundle.Features):
		return a.bundle.Features[i]
	}
	return "feature " + strconv.Itoa(i+1)
}

// featuresPage is what features.html shows.
type featuresPage struct {
	ID, Amount, Time string
	Groups           []featureGroup
	Missing          string
	Compared         bool
}

type featureGroup struct {
	Name string
	Rows []featureRow
}

// featureRow is one feature; Where says how it lies among the training's, Far whether
// that is at an end.
type featureRow struct {
	Name, Value, Exact, Meaning, Text, Usual, Where string
	Far                                             bool
}

// featurePage shows every number that the model saw.
func (s *Server) featurePage(w http.ResponseWriter, r *http.Request) error {
	d, err := s.decided(r)
	if err != nil {
		return err
	}
	x := &d.decision
	p := featuresPage{ID: string(d.item.ID), Amount: money(x.Tx.Amount, string(x.Text[schemas.Currency])), Time: fullTime(x.Tx.Time)}
	about, missing := s.aboutFeatures(r.Context(), x)
	p.Missing = missing
	if about.spec == nil {
		p.Missing += " The spec that decided is not at hand, so features have numbers in place of meanings."
	}
	if len(x.Features) == 0 {
		p.Missing = "No vector was computed: " + x.Outcome.String() + ", " + x.Reason.String() + "."
	}
	p.Compared = about.bundle != nil && about.bundle.Profile != nil
	at := make(map[string]int)
	for i, v := range x.Features {
		row, group := about.row(i, v, s.options.Base)
		n, ok := at[group]
		if !ok {
			n = len(p.Groups)
			at[group] = n
			p.Groups = append(p.Groups, featureGroup{Name: group})
		}
		p.Groups[n].Rows = append(p.Groups[n].Rows, row)
	}
	return s.page(w, r, http.StatusOK, "features", p)
}

// row says all that is known of feature i.
func (a *aboutFeatures) row(i int, v float32, base string) (row featureRow, group string) {
	row, group = featureRow{Name: a.name(i), Value: exact(v), Exact: exact(v) + ", bits " + bitsOf(v)}, "features"
	write, yes := exact, false
	if a.spec != nil && i < len(a.spec.Features) {
		f := &a.spec.Features[i]
		words := scoring.NewWords(f.Text)
		group, row.Meaning, row.Text = f.Group, words.Meaning(), f.Text
		u := unitOf(a.spec, f.Expr)
		write = func(x float32) string { return inUnit(x, u, base) }
		row.Value = write(v)
		yes = u == yesUnit
	}
	if a.bundle != nil && a.bundle.Profile != nil && i < len(a.bundle.Profile.Features) {
		m := &a.bundle.Profile.Features[i]
		row.Usual, row.Where, row.Far = among(m, v, write)
		if present := 1 - m.Missing(); yes && len(m.Edges) == 1 && present > 0 {
			row.Usual = "no in " + wholePercent(float64(m.Shares[0])/present)
		}
	}
	return row, group
}

// A unit is what a feature's number is in.
type unit uint8

const (
	plainUnit   unit = iota
	moneyUnit        // of the base currency
	secondsUnit      // of a duration
	countUnit
	shareUnit
	yesUnit
	timesUnit
)

// unitOf tells the unit of an expression by what it does.
func unitOf(s *spec.Spec, e *spec.Expr) unit {
	switch e.Op {
	case spec.OpField:
		if e.Field.Kind == spec.AmountRef {
			return moneyUnit
		}
	case spec.OpAgg:
		return aggregateUnit(&s.Aggregates[e.Index])
	case spec.OpFeature:
		return unitOf(s, s.Features[e.Index].Expr)
	case spec.OpTextEq, spec.OpTextNe, spec.OpLT, spec.OpLE, spec.OpGT, spec.OpGE, spec.OpEQ, spec.OpNE, spec.OpAnd, spec.OpOr, spec.OpNot:
		return yesUnit
	case spec.OpDiv:
		if a, b := unitOf(s, e.Args[0]), unitOf(s, e.Args[1]); a == b && a != plainUnit {
			return timesUnit
		}
	case spec.OpAdd, spec.OpSub, spec.OpMin, spec.OpMax:
		if a, b := unitOf(s, e.Args[0]), unitOf(s, e.Args[1]); a == b {
			return a
		}
	}
	return plainUnit
}

func aggregateUnit(a *spec.Aggregate) unit {
	switch a.Fn {
	case spec.Count, spec.Distinct, spec.FraudCount, spec.FraudRun:
		return countUnit
	case spec.FirstSeen, spec.SinceLast, spec.FraudRunAge:
		return secondsUnit
	case spec.FraudRate:
		return shareUnit
	}
	if a.HasArg && a.Arg.Kind == spec.AmountRef {
		return moneyUnit
	}
	return plainUnit
}

// inUnit writes a number as people read it; the exact one stands beside it.
func inUnit(x float32, u unit, base string) string {
	if x != x {
		return "missing"
	}
	if math.IsInf(float64(x), 0) {
		return exact(x)
	}
	switch u {
	case moneyUnit:
		digits, ok := schemas.CurrencyDigits([]byte(base))
		if !ok {
			digits = 2
		}
		if minor := float64(x) * math.Pow10(digits); math.Abs(minor) < 1e15 {
			return money(int64(math.Round(minor)), base)
		}
	case secondsUnit:
		if x >= 0 && x < 1e9 {
			return span(time.Duration(float64(x) * float64(time.Second)))
		}
	case shareUnit:
		return percent(x)
	case yesUnit:
		if x == 0 {
			return "no"
		}
		return "yes"
	case timesUnit:
		return strconv.FormatFloat(float64(x), 'g', 3, 32) + " times"
	}
	if x == float32(math.Trunc(float64(x))) && math.Abs(float64(x)) < 1e9 {
		return strconv.FormatFloat(float64(x), 'f', 0, 32)
	}
	return strconv.FormatFloat(float64(x), 'g', 4, 32)
}

// among says where a value lies among those of the training, and between what the
// middle half of them did.
func among(m *scoring.Margin, v float32, write func(float32) string) (usual, where string, far bool) {
	present, last := 1-m.Missing(), len(m.Edges)
	if present < .001 {
		return "nearly always missing", missingWords(m, v), v == v
	}
	share := func(k int) float64 { return float64(m.Shares[k]) / present }
	low, high, sum := 0, 0, 0.0
	for k := range last + 1 {
		if sum < .25 {
			low = k
		}
		if sum < .75 {
			high = k
		}
		sum += share(k)
	}
	switch {
	case last == 0:
		usual = "hardly differs"
	case low == 0 && high == last:
		usual = "under " + write(m.Edges[0]) + " in " + wholePercent(share(0))
	case low == 0:
		usual = "under " + write(m.Edges[high])
	case high == last:
		usual = write(m.Edges[low-1]) + " or more"
	default:
		usual = write(m.Edges[low-1]) + " to " + write(m.Edges[high])
	}
	if v != v {
		return usual, missingWords(m, v), m.Missing() < .05
	}
	k, below := m.Bin(v), 0.0
	for i := range k {
		below += share(i)
	}
	switch {
	case share(k) > .25:
		return usual, "like " + wholePercent(share(k)), false
	case k == last:
		return usual, "among the highest " + wholePercent(share(k)), share(k) < .105
	case k == 0:
		return usual, "among the lowest " + wholePercent(share(k)), share(k) < .105
	}
	return usual, "above " + wholePercent(below) + ", below " + wholePercent(1-below-share(k)), false
}

func missingWords(m *scoring.Margin, v float32) string {
	if v == v {
		return "seldom there in the training"
	}
	return "missing, like " + wholePercent(m.Missing())
}

// wholePercent writes a share without pretending to know it well.
func wholePercent(x float64) string {
	if x > 0 && x < .01 {
		return "<1 %"
	}
	return strconv.FormatFloat(100*x, 'f', 0, 64) + " %"
}
