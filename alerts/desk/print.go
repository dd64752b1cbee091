package desk

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// printRoutes is the page of a case that is made to be printed, or saved as PDF. It
// leaves the desk, so it is audited as an export.
func (s *Server) printRoutes() []route {
	return []route{{pattern: "GET /alerts/{id}/print", roles: desk, handle: s.print, of: address, act: schemas.AuditExported}}
}

// printedMax is how many other alerts of an entity are printed.
const printedMax = 20

// printPage is what print.html shows.
type printPage struct {
	ID, Amount, Entity, Who, Merchant, Channel string
	Time, Raised, Printed, By                  string
	Likely, Prob, Threshold, State, Class      string
	Quick                                      bool
	Reasons                                    []reasonRow
	NoReasons                                  string
	Actions                                    []printedAction
	Others                                     []printedAlert
	More                                       bool // there are others that are not printed
	Facts                                      []fact
	Ledger, Source                             schemas.Position
	Bundle                                     string
}

type printedAction struct{ Time, Who, What, Note, Void string }

type printedAlert struct{ ID, Time, Amount, To, Prob, State string }

// printTime writes a time as paper needs it: whole.
func printTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") }

// print shows all that is known of an alert on one sheet.
func (s *Server) print(w http.ResponseWriter, r *http.Request) error {
	i, err := s.item(r)
	if err != nil {
		return err
	}
	now := s.options.Now().UnixMilli()
	entity, value := i.Case()
	p := printPage{ID: string(i.ID), Amount: money(i.Tx.Amount, string(i.Text[schemas.Currency])), Entity: entity.String(), Who: value,
		Merchant: otherSide(&i), Channel: string(i.Text[schemas.Channel]), Time: printTime(i.Tx.Time), Raised: printTime(i.Raised),
		Printed: printTime(now), By: s.user(r).Display, Likely: likely(i.Prob), Prob: percent(i.Prob), State: statusWords(i.State, now), Class: i.At(now).String(),
		Quick: i.Quick, Reasons: reasonRows(i.Reasons), NoReasons: withoutReasons(&i), Facts: factsOf(&i),
		Ledger: schemas.Position{Partition: i.Shard, Offset: i.Offset}, Source: schemas.Position{Partition: i.Source.Partition, Offset: i.Source.Offset},
	}
	if i.Bundle != 0 {
		p.Bundle = fmt.Sprintf("%016x", i.Bundle)
	}
	actions, err := s.options.View.Actions(r.Context(), p.ID)
	if err != nil {
		return err
	}
	for _, a := range actions {
		p.Actions = append(p.Actions, printedAction{printTime(a.At), string(a.By), cmp.Or(did[a.Kind], a.Kind.String()) + because(string(a.Reason)), string(a.Note), a.Err})
	}
	others, err := s.options.View.Related(r.Context(), entity, value, printedMax+2)
	if err != nil {
		return err
	}
	for _, o := range others {
		switch {
		case string(o.ID) == p.ID:
		case len(p.Others) == printedMax:
			p.More = true
		default:
			p.Others = append(p.Others, printedOf(&o, now))
		}
	}
	return s.page(w, r, http.StatusOK, "print", p)
}

func printedOf(o *alerts.Item, now int64) printedAlert {
	return printedAlert{string(o.ID), printTime(o.Tx.Time), money(o.Tx.Amount, string(o.Text[schemas.Currency])), otherSide(o), percent(o.Prob), statusWords(o.State, now)}
}

// because puts the reason of an action behind what it did.
func because(code string) string {
	for _, c := range reasonCodes {
		if c.Code == code {
			return ": " + c.Words
		}
	}
	return ""
}
