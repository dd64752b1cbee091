package desk

import (
	"encoding/json"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// apiAlert is an alert as programs get it, from the API and in webhooks.
type apiAlert struct {
	ID      string          `json:"id"`
	Raised  string          `json:"raised"`
	Case    apiEntity       `json:"case"`
	State   apiState        `json:"state"`
	Facts   json.RawMessage `json:"facts"`
	Actions []apiAction     `json:"actions,omitzero"`
}

// apiEntity is the entity whose case an alert belongs to.
type apiEntity struct {
	Entity string `json:"entity"`
	Value  string `json:"value"`
}

// apiState is what an alert's actions have made of it.
type apiState struct {
	Status    string  `json:"status"`
	Escalated bool    `json:"escalated"`
	Owner     *string `json:"owner"`
	By        *string `json:"by"`
	Until     *string `json:"until"`
	// Last is the id of the last action that counted: the next one names it.
	Last *string `json:"last"`
}

// apiAction is what somebody did with an alert.
type apiAction struct {
	ID       string  `json:"id"`
	Alert    string  `json:"alert"`
	Kind     string  `json:"kind"`
	By       string  `json:"by"`
	At       string  `json:"at"`
	Reason   *string `json:"reason"`
	Note     *string `json:"note"`
	Previous *string `json:"previous"`
	Until    *string `json:"until"`
	Counted  bool    `json:"counted"`
}

type apiCase struct {
	Case       apiEntity `json:"case"`
	Alerts     int       `json:"alerts"`
	AmountBase int64     `json:"amount_base"`
	Oldest     string    `json:"oldest"`
	Best       apiAlert  `json:"best"`
}

type apiFigures struct {
	Open       int64   `json:"open"`
	Claimed    int64   `json:"claimed"`
	Snoozed    int64   `json:"snoozed"`
	Escalated  int64   `json:"escalated"`
	Closed     int64   `json:"closed"`
	OldestOpen *string `json:"oldest_open"`
}

// apiTime writes a time of ms since the Unix epoch.
func apiTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// orNull is nil for an empty text.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func apiAlertOf(i *alerts.Item, now int64) apiAlert {
	entity, value := i.Case()
	a := apiAlert{ID: string(i.ID), Raised: apiTime(i.Raised), Case: apiEntity{entity.String(), value}, Facts: factsJSON(&i.Alert)}
	a.State = apiState{Status: i.At(now).String(), Escalated: i.Escalated, Owner: orNull(i.Owner), By: orNull(i.By), Last: orNull(i.Last)}
	if i.At(now) == alerts.Snoozed {
		a.State.Until = orNull(apiTime(i.Until))
	}
	return a
}

// factsJSON writes an alert as the topic alerts has it.
func factsJSON(a *schemas.Alert) []byte {
	d := schemas.Decision{Place: a.Source, Verdict: a.Verdict, Tx: a.Tx, Tenant: a.Tenant, Text: a.Text, Score: a.Score, Prob: a.Prob,
		Threshold: a.Threshold, Rank: a.Rank, Action: a.Action, ReviewProb: a.ReviewProb, Bundle: a.Bundle}
	return schemas.AppendAlertJSON(nil, &d, a.Shard, a.Offset, a.Reasons, a.Quick)
}

func apiActionOf(a *alerts.Action) apiAction {
	x := apiAction{ID: string(a.ID), Alert: string(a.AlertID), Kind: a.Kind.String(), By: string(a.By), At: apiTime(a.At),
		Reason: orNull(string(a.Reason)), Note: orNull(string(a.Note)), Previous: orNull(string(a.Previous)), Counted: a.Err == ""}
	if a.Until != 0 {
		x.Until = orNull(apiTime(a.Until))
	}
	return x
}
