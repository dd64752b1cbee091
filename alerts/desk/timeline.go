package desk

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// A timelineRow is something that happened; Kind says by a word what: payment, alert,
// fraud, genuine, action, raised.
type timelineRow struct {
	at                                               int64
	Time, Clock, Kind, Text, Note, Void, Path, Class string
}

// The bounds of a timeline: a page is to be short, and what it leaves out is counted.
const (
	timelinePayments = 60
	timelineAlerts   = 20 // whose actions are told too
)

// timeline is what happened around an alert, newest first: payments, alerts, what was
// done with them, and what became known. It returns how many payments it leaves out.
func (s *Server) timeline(ctx context.Context, i *alerts.Item, marks []mark, now int64) (rows []timelineRow, earlier int, err error) {
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(b.at, a.at) })
	payments, told := 0, 0
	for k := range marks {
		m := &marks[k]
		if payments++; payments > timelinePayments && m.item == nil && !m.fraud() {
			earlier++
			continue
		}
		rows = append(rows, paymentRow(m, now))
		for l := range m.labels {
			rows = append(rows, labelRow(m, &m.labels[l]))
		}
		if m.item == nil || !m.this && told >= timelineAlerts {
			continue
		}
		told++
		actions, err := s.options.View.Actions(ctx, string(m.item.ID))
		if err != nil {
			return nil, 0, err
		}
		for _, a := range actions {
			rows = append(rows, actionRow(&a, m))
		}
	}
	rows = append(rows, timelineRow{at: i.Raised, Kind: "raised", Text: "This alert was raised", Class: "raised"})
	slices.SortStableFunc(rows, func(a, b timelineRow) int { return cmp.Compare(b.at, a.at) })
	for k := range rows {
		rows[k].Time, rows[k].Clock = fullTime(rows[k].at), clock(rows[k].at, now)
	}
	return rows, earlier, nil
}

func paymentRow(m *mark, now int64) timelineRow {
	row := timelineRow{at: m.at, Kind: "payment", Text: money(m.tx.Amount, m.currency) + " to " + cmp.Or(m.to, "somebody unknown")}
	if m.tx.Status == schemas.Declined {
		row.Text += ", declined"
	}
	if m.item != nil {
		row.Kind, row.Path = "alert", "/alerts/"+m.id
		row.Text += ", " + percent(m.prob) + ", " + statusWords(m.item.State, now)
	}
	if m.this {
		row.Text, row.Path, row.Class = "This one: "+row.Text, "", "this"
	}
	if m.fraud() {
		row.Class += " fraud"
	}
	return row
}

// sourceWords say who says what is known, see [schemas.LabelSource].
var sourceWords = [schemas.NumLabelSources]string{"chargeback", "the issuer", "the customer", "an analyst", "by default, after its time"}

func labelRow(m *mark, l *schemas.Label) timelineRow {
	row := timelineRow{at: l.KnownAt, Kind: l.Verdict.String(), Class: l.Verdict.String(), Text: "known by " + sourceWords[min(l.Source, schemas.NumLabelSources-1)] + ": "}
	switch l.Verdict {
	case schemas.LabelFraud:
		row.Text += "fraud"
	case schemas.LabelGenuine:
		row.Text += "genuine"
	default:
		row.Kind, row.Text = "taken back", row.Text+"taken back"
	}
	if len(l.FraudType) > 0 {
		row.Text += " (" + string(schemas.HideCards(l.FraudType)) + ")"
	}
	row.Text += ", " + aboutPayment(m)
	return row
}

func actionRow(a *alerts.Action, m *mark) timelineRow {
	row := timelineRow{at: a.At, Kind: "action", Text: string(a.By) + " " + did[a.Kind], Note: string(a.Note), Void: a.Err}
	if a.Kind == schemas.Assigned {
		row.Text += " to " + string(a.To)
	}
	for _, c := range reasonCodes {
		if c.Code == string(a.Reason) {
			row.Text += ": " + c.Words
		}
	}
	if !m.this {
		row.Text += ", " + aboutPayment(m)
	}
	if a.Err != "" {
		row.Class = "void"
	}
	return row
}

// aboutPayment names the payment that something is about.
func aboutPayment(m *mark) string {
	if m.this {
		return "of this payment"
	}
	return "of the " + money(m.tx.Amount, m.currency) + " to " + cmp.Or(m.to, "somebody unknown")
}

// A relatedGroup is the other alerts that share something with this one.
type relatedGroup struct {
	What, Value string
	Rows        []timelineRow
	More        string // how many there are besides
}

// relatedShown is how many alerts of a group are shown, and relatedLook how many are
// looked up: each takes a twentieth of a millisecond, and of a large merchant nobody
// counts them.
const (
	relatedShown = 5
	relatedLook  = 12
)

// related are the newest other alerts of the same merchant and device, and of whatever
// else tells who pays: those of the case's own entity are in the timeline.
func (s *Server) related(ctx context.Context, i *alerts.Item, entity schemas.TextField, now int64) (groups []relatedGroup, err error) {
	for _, f := range []schemas.TextField{schemas.Card, schemas.Customer, schemas.Merchant, schemas.Device} {
		value := string(i.Text[f])
		if value == "" || f == entity {
			continue
		}
		items, err := s.options.View.Beside(ctx, f, value, entity, string(i.Text[entity]), relatedLook)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			continue
		}
		g := relatedGroup{What: f.String(), Value: value}
		for k := range items[:min(len(items), relatedShown)] {
			o := &items[k]
			_, who := o.Case()
			g.Rows = append(g.Rows, timelineRow{Time: fullTime(o.Tx.Time), Clock: clock(o.Tx.Time, now), Path: "/alerts/" + string(o.ID), Class: o.At(now).String(),
				Kind: statusWords(o.State, now), Text: money(o.Tx.Amount, string(o.Text[schemas.Currency])), Note: who})
		}
		if n := len(items) - len(g.Rows); n > 0 {
			g.More = strconv.Itoa(n) + " more"
			if len(items) == relatedLook {
				g.More = "more than " + g.More
			}
		}
		groups = append(groups, g)
	}
	return groups, nil
}
