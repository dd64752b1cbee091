package main

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// entryFields adds what a record of the ledger says to a line.
func entryFields(line map[string]any, e *schemas.Entry) {
	switch e.Kind {
	case schemas.EntryDecision:
		line["decision"] = decisionFields(&e.Decision)
	case schemas.EntryLabel:
		line["label"] = labelFields(&e.Label)
	case schemas.EntryRate:
		r := &e.Rate
		line["rate"] = map[string]any{"currency": string(r.Currency), "since": rfc3339(r.Since), "num": r.Num, "den": r.Den}
	case schemas.EntryBundle:
		line["bundle"] = map[string]any{"slot": string(e.Bundle.Slot), "hash": fmt.Sprintf("%x", e.Bundle.Hash), "offset": e.Bundle.Offset}
		if e.Bundle.Share != 0 {
			line["bundle"].(map[string]any)["share"] = e.Bundle.Share
		}
	case schemas.EntryGap:
		g := &e.Gap
		line["gap"] = map[string]any{"partition": g.Partition, "from": g.From, "to": g.To, "by": string(g.By)}
		if len(g.Topic) > 0 {
			line["gap"].(map[string]any)["topic"] = string(g.Topic)
		}
	case schemas.EntryGenesis:
		start := make([]map[string]any, len(e.Genesis.Start))
		for i, at := range e.Genesis.Start {
			start[i] = map[string]any{"partition": at.Partition, "offset": at.Offset}
		}
		line["genesis"] = map[string]any{"topic": string(e.Genesis.Topic), "topic_id": fmt.Sprintf("%x", e.Genesis.TopicID), "start": start}
		if len(e.Genesis.Spec.Text) > 0 {
			line["genesis"].(map[string]any)["spec"] = specFields(&e.Genesis.Spec)
		}
	case schemas.EntrySpec:
		line["spec"] = specFields(&e.Spec)
	case schemas.EntrySync:
		line["sync"] = true
	}
}

// specFields is a spec by which the ledger goes on.
func specFields(s *schemas.SpecTaken) map[string]any {
	m := map[string]any{"name": string(s.Name), "hash": fmt.Sprintf("%x", sha256.Sum256(s.Text)), "text": string(s.Text)}
	if s.Before != [32]byte{} {
		m["before"] = fmt.Sprintf("%x", s.Before)
	}
	return m
}

// labelFields is a label as people read it: what is absent is left out.
func labelFields(l *schemas.Label) map[string]any {
	m := map[string]any{"tx_id": string(l.TxID), "verdict": l.Verdict.String(), "source": l.Source.String(),
		"version": l.Version, "known_at": rfc3339(l.KnownAt), "partition": l.Partition, "offset": l.Offset}
	if len(l.FraudType) > 0 {
		m["fraud_type"] = string(l.FraudType)
	}
	if len(l.Selected) > 0 {
		m["selected"], m["selected_probability"] = string(l.Selected), l.SelectedProb
	}
	if l.Time != 0 {
		m["time"] = rfc3339(l.Time)
	}
	for i, text := range l.Entity {
		if len(text) > 0 {
			m[schemas.LabelEntities[i].String()] = string(text)
		}
	}
	return m
}

func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// decisionFields is a decision as people read it: what is absent is left out.
func decisionFields(d *schemas.Decision) map[string]any {
	m := map[string]any{
		"partition": d.Partition, "offset": d.Offset, "outcome": d.Outcome.String(), "action": d.Action.String(),
	}
	if d.Reason != schemas.NoReason {
		m["reason"] = d.Reason.String()
	}
	for f, text := range d.Text {
		if len(text) > 0 {
			m[schemas.TextField(f).String()] = string(text)
		}
	}
	if d.Outcome != schemas.Rejected {
		m["time"], m["type"], m["status"] = rfc3339(d.Tx.Time), d.Tx.Type.String(), d.Tx.Status.String()
		m["amount"], m["amount_base"] = d.Tx.Amount, d.Tx.AmountBase
	}
	if d.Outcome == schemas.Scored {
		m["score"], m["probability"], m["rank"], m["threshold"] = d.Score, d.Prob, d.Rank, d.Threshold
		m["bundle"] = fmt.Sprintf("%016x", d.Bundle)
	}
	if d.Challenger != 0 {
		m["challenger"], m["challenger_score"] = fmt.Sprintf("%016x", d.Challenger), d.ChallengerScore
	}
	for flag, name := range map[schemas.Flags]string{schemas.Approximate: "approximate", schemas.Late: "late", schemas.Explored: "explored", schemas.FoldOnly: "fold_only"} {
		if d.Flags&flag != 0 {
			m[name] = true
		}
	}
	if len(d.Features) > 0 {
		m["features"] = numbers(d.Features)
	}
	return m
}

// numbers turns a vector into values that JSON can hold: NaN is null.
func numbers(x []float32) []any {
	out := make([]any, len(x))
	for i, v := range x {
		if v == v {
			out[i] = v
		}
	}
	return out
}
