package desk

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
)

// modelsPage is what models.html shows.
type modelsPage struct {
	None                string // why there is nothing to see
	Champion            string
	Columns             []string
	Groups              []factGroup
	Refused             []string
	Open                *proposalRow
	Past                []proposalRow
	Promote, Rollback   *proposalForm
	Forms               []*proposalForm // those of the two that there are
	Wide                int             // columns of the table
	MayPropose, MaySign bool
	Alone               bool
	Charts              []modelChart
	NoCharts            string
	Upto                string
	Drift, MoreDrift    []driftRow
	DriftDay            string
	Changes             []changeGroup
	ChangesOf           string
	Pair                *pairRows
	Slots               []slotRow
}

// factGroup is some lines of the table that has a column a model.
type factGroup struct {
	Name string
	Rows []factRow
}

type factRow struct {
	Name   string
	Values []string
}

type proposalForm struct{ What, Bundle, Before, Name, Instead string }

type proposalRow struct {
	ID, By, Verb, Name, Instead, Reason, Time, Ago, State, Outcome, Decided string
	Mine, Open                                                              bool
}

type driftRow struct {
	Name, PSI, Words, Class, Missing string
	Width                            float64
}

type changeGroup struct {
	Name  string
	Rows  []ModelChange
	Sides bool // some row has two
}

type slotRow struct{ Time, Clock, Slot, Hash, Name, By, Reason string }

type pairRows struct {
	Desc string
	Rows []factRow
}

// shownModel is a column of the page.
type shownModel struct {
	*Model
	title, class string
}

// models shows which models there are, how they do, and what is proposed.
func (s *Server) models(w http.ResponseWriter, r *http.Request) error {
	if s.options.Models == nil {
		return s.page(w, r, http.StatusOK, "models", modelsPage{None: "This desk knows of no models. weir model ls lists them."})
	}
	now, err := s.lookAtModels(r.Context())
	if err != nil {
		return err
	}
	u, at := s.user(r), s.options.Now().UnixMilli()
	p := modelsPage{MayPropose: u.Roles.Any(Roles(ModelOwner)), MaySign: now.MaySign, Alone: s.limits.Load().Approvals == 1, Refused: now.Refused}
	if err := s.proposalsOf(r, &p, at); err != nil {
		return err
	}
	for _, c := range now.Slots {
		text := c.Reason
		if c.Share > 0 {
			text += fmt.Sprintf(" (decides for %g %% of cards)", 100*c.Share)
		}
		p.Slots = append(p.Slots, slotRow{fullTime(c.Time), secondOf(c.Time, at), c.Slot, shortHash(c.Hash), cmp.Or(c.Name, "none"), c.By, text})
	}
	if now.Champion == nil {
		p.None = "There is no champion: the rules of the spec decide. weir train, or weir model promote, makes one."
		return s.page(w, r, http.StatusOK, "models", p)
	}
	p.Champion = now.Champion.Name
	columns := columnsOf(now)
	for _, m := range columns {
		p.Columns = append(p.Columns, m.title)
	}
	p.Groups = sideBySide(now, columns, at)
	if m := now.Challenger; m != nil && m.Hash != now.Champion.Hash {
		p.Promote = &proposalForm{"promote", m.Hash, now.Champion.Hash, m.Name, now.Champion.Name}
	}
	if m := now.Previous; m != nil && m.Hash != now.Champion.Hash {
		p.Rollback = &proposalForm{"rollback", m.Hash, now.Champion.Hash, m.Name, now.Champion.Name}
	}
	for _, f := range []*proposalForm{p.Promote, p.Rollback} {
		if f != nil {
			p.Forms = append(p.Forms, f)
		}
	}
	p.Wide = 1 + len(columns)
	p.Charts = charts(columns)
	p.NoCharts = now.NoHistory
	if len(p.Charts) == 0 && p.NoCharts == "" {
		p.NoCharts = "No day is noted yet. Figures of a day come once it is over, and by labels as these arrive."
	}
	if now.Newest > 0 {
		p.Upto = clock(now.Newest, at)
	}
	p.driftOf(now.Champion, at)
	p.changesOf(now)
	p.Pair = pairOf(now.Pair)
	return s.page(w, r, http.StatusOK, "models", p)
}

// columnsOf are the models that stand beside each other, each once.
func columnsOf(now *ModelsNow) []shownModel {
	list := []shownModel{{now.Champion, "Champion", "champion"}}
	for _, m := range []shownModel{{now.Challenger, "Challenger", "challenger"}, {now.Previous, "Before it", "before"}} {
		if m.Model != nil && !slices.ContainsFunc(list, func(x shownModel) bool { return x.Hash == m.Hash }) {
			list = append(list, m)
		}
	}
	return list
}

// sideBySide puts the models side by side.
func sideBySide(now *ModelsNow, columns []shownModel, at int64) []factGroup {
	row := func(name string, value func(m *Model) string) factRow {
		r := factRow{Name: name}
		for _, m := range columns {
			r.Values = append(r.Values, cmp.Or(value(m.Model), "–"))
		}
		return r
	}
	slot := func(value func(c *SlotChange) string) func(*Model) string {
		return func(m *Model) string {
			for i := range now.Slots { // the newest
				if now.Slots[i].Hash == m.Hash {
					return value(&now.Slots[i])
				}
			}
			return ""
		}
	}
	from := factGroup{"Where it came from", []factRow{row("Name", func(m *Model) string { return m.Name }), row("Bundle", func(m *Model) string { return shortHash(m.Hash) }),
		row("In its slot since", slot(func(c *SlotChange) string { return secondOf(c.Time, at) })), row("By", slot(func(c *SlotChange) string { return c.By })),
		row("Why", slot(func(c *SlotChange) string { return c.Reason })), row("Spec", func(m *Model) string { return m.Spec })}}
	if slices.ContainsFunc(columns, func(m shownModel) bool { return m.Refused != "" }) {
		from.Rows = append(from.Rows, row("Refused", func(m *Model) string { return m.Refused }))
	}
	groups := []factGroup{from}
	for _, g := range []struct {
		name string
		of   func(*Model) []ModelFact
	}{{"Learnt from", func(m *Model) []ModelFact { return m.Learnt }}, {"On days held out", func(m *Model) []ModelFact { return m.Held }},
		{"Live, newest day known", liveFacts}, {"Decides", func(m *Model) []ModelFact { return m.Policy }}} {
		var names []string
		for _, m := range columns {
			for _, f := range g.of(m.Model) {
				if !slices.Contains(names, f.Name) {
					names = append(names, f.Name)
				}
			}
		}
		group := factGroup{Name: g.name}
		for _, name := range names {
			group.Rows = append(group.Rows, row(name, func(m *Model) string {
				for _, f := range g.of(m) {
					if f.Name == name {
						return f.Value
					}
				}
				return ""
			}))
		}
		if len(names) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}

// liveFacts are the newest figures of a model, each of the newest day that has it.
func liveFacts(m *Model) (list []ModelFact) {
	add := func(name string, value func(d *ModelDay) string) {
		for i := len(m.Days) - 1; i >= 0; i-- {
			if d := &m.Days[i]; value(d) != "" {
				list = append(list, ModelFact{name, value(d) + " on " + dayName(d.Day)})
				return
			}
		}
	}
	add("Decisions", func(d *ModelDay) string { return grouped(strconv.FormatInt(d.Decisions, 10)) })
	add("Alerted on", func(d *ModelDay) string { return percent(float32(d.AlertRate)) })
	add("Precision", func(d *ModelDay) string { return estimateWords(d.Precision, d.AtAge) })
	add("Recall", func(d *ModelDay) string { return estimateWords(d.Recall, d.AtAge) })
	add("Frauds expected of those seen", func(d *ModelDay) string {
		if d.Calibration == nil {
			return ""
		}
		return fmt.Sprintf("%.2f (%.2f to %.2f)", d.Calibration.Value, d.Calibration.Low, d.Calibration.High)
	})
	add("Score drift", func(d *ModelDay) string {
		if d.ScorePSI == nil {
			return ""
		}
		return fmt.Sprintf("%.3f, %s", *d.ScorePSI, driftWords(*d.ScorePSI))
	})
	return list
}

func estimateWords(e *ModelEstimate, age string) string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s to %s), by labels %s old", percent(float32(e.Value)), percent(float32(e.Low)), percent(float32(e.High)), age)
}

func driftWords(psi float64) string {
	switch {
	case psi >= DriftMuch:
		return "much"
	case psi >= DriftSome:
		return "some"
	}
	return "as in training"
}

// proposalsOf fills in what is proposed and what became of the last ones.
func (s *Server) proposalsOf(r *http.Request, p *modelsPage, now int64) error {
	const proposalsShown = 10
	list, err := s.options.Accounts.proposals(r.Context(), `true`, proposalsShown)
	if err != nil {
		return err
	}
	for _, x := range list {
		row := proposalRow{ID: x.ID, By: x.By, Verb: map[string]string{"promote": "promote", "rollback": "roll back to"}[x.What], Name: x.Name, Instead: shortHash(x.Before),
			Reason: x.Reason, Time: fullTime(x.At), Ago: ago(x.At, now), State: x.State, Outcome: x.Outcome, Mine: x.By == s.user(r).Name, Open: x.State == proposalOpen}
		if x.DecidedBy != "" {
			row.Decided = x.DecidedBy + ", " + clock(x.DecidedMs, now)
		}
		if x.State == proposalOpen || x.State == proposalApproved {
			p.Open = &row
		} else {
			p.Past = append(p.Past, row)
		}
	}
	return nil
}

// driftShown is how many features are shown before the others are folded away.
const driftShown = 12

// driftOf fills in how far the features have moved by the newest day.
func (p *modelsPage) driftOf(m *Model, now int64) {
	if len(m.Days) == 0 || len(m.Days[len(m.Days)-1].Drift) == 0 {
		return
	}
	day := &m.Days[len(m.Days)-1]
	p.DriftDay = dayName(day.Day)
	list := slices.Clone(day.Drift)
	slices.SortStableFunc(list, func(a, b FeatureDrift) int {
		if a.Nature != b.Nature {
			return map[bool]int{true: 1, false: -1}[a.Nature]
		}
		return cmp.Compare(b.PSI, a.PSI)
	})
	widest := 2 * DriftMuch // so that a bar of nothing much is short
	for _, f := range list {
		if !f.Nature {
			widest = max(widest, f.PSI)
		}
	}
	for i, f := range list {
		row := driftRow{Name: f.Name, PSI: fmt.Sprintf("%.3f", f.PSI), Words: driftWords(f.PSI), Width: round(min(100*f.PSI/widest, 100))}
		switch {
		case f.Nature:
			row.Words, row.Class = "moves by its nature", "nature"
		case f.PSI >= DriftMuch:
			row.Class = "much"
		case f.PSI >= DriftSome:
			row.Class = "some"
		}
		if f.Missing > 0 {
			row.Missing = percent(float32(f.Missing)) + " missing"
		}
		if i < driftShown && !f.Nature {
			p.Drift = append(p.Drift, row)
		} else {
			p.MoreDrift = append(p.MoreDrift, row)
		}
	}
}

// changesOf fills in how two models differ.
func (p *modelsPage) changesOf(now *ModelsNow) {
	p.ChangesOf = now.ChangesOf
	for _, c := range now.Changes {
		if n := len(p.Changes); n == 0 || p.Changes[n-1].Name != c.Group {
			p.Changes = append(p.Changes, changeGroup{Name: c.Group})
		}
		g := &p.Changes[len(p.Changes)-1]
		g.Rows = append(g.Rows, c)
		g.Sides = g.Sides || c.A != ""
	}
}

// pairOf says how champion and challenger did on the same payments.
func pairOf(x *ModelPair) *pairRows {
	if x == nil {
		return nil
	}
	count := func(n int) string { return grouped(strconv.Itoa(n)) }
	p := &pairRows{Desc: fmt.Sprintf("%s payments from %s to %s were scored by both. Their scores correlate by %.3f. Of %s it is known what they were.",
		count(x.Decisions), dayName(x.From), dayName(x.To), x.Correlation, count(x.Known))}
	add := func(name, champion, challenger string) {
		p.Rows = append(p.Rows, factRow{name, []string{champion, challenger}})
	}
	add("Would have alerted on", count(x.Both+x.OnlyChampion), count(x.Both+x.OnlyChallenger))
	add("of these alone", count(x.OnlyChampion), count(x.OnlyChallenger))
	share := func(part, whole int) string {
		if whole == 0 {
			return "–"
		}
		return fmt.Sprintf("%s (%s of %s)", percent(float32(part)/float32(whole)), count(part), count(whole))
	}
	a, b := &x.Champion, &x.Challenger
	add("Precision", share(a.Right, a.Alerted), share(b.Right, b.Alerted))
	add("Recall", share(a.Right, a.Right+a.Missed), share(b.Right, b.Right+b.Missed))
	if v := a.AveragePrecision + b.AveragePrecision; v > 0 && !math.IsNaN(v) {
		add("Average precision", fmt.Sprintf("%.3f", a.AveragePrecision), fmt.Sprintf("%.3f", b.AveragePrecision))
	}
	return p
}
