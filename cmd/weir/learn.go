package main

import (
	"context"
	"hash/fnv"
	"strings"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// A learner gathers from the ledger the vectors that decisions were recorded with and
// what became of them, by the labels there. It reads on from where it was.
type learner struct {
	log    *kafka.Client
	topics schemas.Topics
	spec   *spec.Spec
	ledger *kafka.LedgerReader

	rows     *trainer.Dataset
	ids      []uint64         // of rows: the hash of the transaction's id
	alerted  []bool           // of rows: whether the decision was an alert
	at       map[uint64]int32 // row by id
	verdicts map[uint64]*verdicts
	newest   int64 // ms
	entry    schemas.Entry
}

func newLearner(log *kafka.Client, topics schemas.Topics, s *spec.Spec) *learner {
	return &learner{log: log, topics: topics, spec: s, ledger: kafka.NewLedgerReader(log, topics.Decisions, 0, schemas.Anchor{}),
		rows: trainer.NewDataset(s.FeatureNames()), at: make(map[uint64]int32), verdicts: make(map[uint64]*verdicts)}
}

func (l *learner) close() { l.ledger.Close() }

// read reads up to where the ledger ends now.
func (l *learner) read(ctx context.Context) error {
	_, end, err := l.log.Offsets(ctx, l.topics.Decisions, 0)
	if err != nil {
		return err
	}
	for l.ledger.Position() < end {
		b, err := l.ledger.Next(ctx, end)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		if !b.Taken {
			continue
		}
		for _, value := range b.Values {
			if err := schemas.ParseEntry(value, &l.entry); err != nil {
				return err
			}
			l.add()
		}
	}
	return nil
}

// A tuition is what the desk's analysts had to say of rows that are learnt from.
type tuition struct {
	Verdicts int `json:"verdicts"` // of theirs
	Fraud    int `json:"fraud"`    // rows that are taken for fraud because of them
	Genuine  int `json:"genuine"`  // and for genuine, each against what was known otherwise
	Young    int `json:"young"`    // verdicts on rows that are too young to be learnt from
}

// String is what a lesson tells of it, behind how many rows there are.
func (t *tuition) String() string {
	text := "No verdict of the desk is among them. "
	if t.Verdicts > 0 {
		text = several(t.Verdicts, "verdict") + " of the desk among them"
		var because []string
		if t.Fraud > 0 {
			because = append(because, thousands(int64(t.Fraud))+" as fraud")
		}
		if t.Genuine > 0 {
			because = append(because, thousands(int64(t.Genuine))+" as genuine")
		}
		switch {
		case because != nil:
			text += ", because of which " + several(t.Fraud+t.Genuine, "row is", "rows are") + " learnt otherwise: " + strings.Join(because, " and ") + ". "
		case t.Verdicts == 1:
			text += ", which agrees with what was known otherwise. "
		default:
			text += ", which agree with what was known otherwise. "
		}
	}
	if t.Young > 0 {
		text += several(t.Young, "verdict on a younger payment is", "verdicts on younger payments are") + " left for the next lesson. "
	}
	return text
}

// known returns a copy of the rows of a time, from <= time < to, in the order of time,
// with what is known of them. Of before that time it has the rows that an analyst has
// judged: where days go by in seconds, an analyst is slower than they are.
func (l *learner) known(from, to int64) (d *trainer.Dataset, t tuition) {
	d = trainer.NewDataset(l.rows.Names)
	for i, at := range l.rows.Time {
		v := l.verdicts[l.ids[i]]
		judged := v != nil && v.verdict[schemas.Analyst] != schemas.LabelNone
		switch {
		case at >= to && judged:
			t.Young++
			continue
		case at >= to, at < from && !judged:
			continue
		}
		fraud := v != nil && v.winner(l.spec) == schemas.LabelFraud
		d.AddCard(l.rows.Row(i), fraud, at, l.rows.AmountBase[i], l.rows.Card[i])
		if !judged {
			continue
		}
		t.Verdicts++
		switch {
		case v.without(schemas.Analyst).winner(l.spec) == schemas.LabelFraud == fraud:
		case fraud:
			t.Fraud++
		default:
			t.Genuine++
		}
	}
	d.Sort()
	return d, t
}

// forget drops rows of before a time, but for alerts since another, which an analyst may
// yet judge.
func (l *learner) forget(before, alertsBefore int64) {
	rows, ids, alerted := l.rows, l.ids, l.alerted
	l.rows, l.ids, l.alerted, l.at = trainer.NewDataset(rows.Names), nil, nil, make(map[uint64]int32)
	for i, at := range rows.Time {
		if at < before && (at < alertsBefore || !alerted[i]) {
			delete(l.verdicts, ids[i])
			continue
		}
		l.at[ids[i]], l.ids, l.alerted = int32(len(l.ids)), append(l.ids, ids[i]), append(l.alerted, alerted[i])
		l.rows.AddCard(rows.Row(i), false, at, rows.AmountBase[i], rows.Card[i])
	}
}

// verdicts are the latest versions of what each source says of a row.
type verdicts struct {
	version [schemas.NumLabelSources]uint32
	verdict [schemas.NumLabelSources]schemas.LabelVerdict
}

// winner is what the strongest source that says anything says.
func (v *verdicts) winner(s *spec.Spec) schemas.LabelVerdict {
	for _, source := range s.Sources {
		if v.verdict[source] != schemas.LabelNone {
			return v.verdict[source]
		}
	}
	return schemas.LabelNone
}

// without leaves out what a source says.
func (v verdicts) without(source schemas.LabelSource) *verdicts {
	v.verdict[source] = schemas.LabelNone
	return &v
}

func (l *learner) add() {
	switch e := &l.entry; e.Kind {
	case schemas.EntryDecision:
		d := &e.Decision
		if d.Outcome > schemas.Degraded || len(d.Features) != len(l.spec.Features) {
			return
		}
		id := hashText(d.Text[schemas.ID])
		l.at[id], l.ids, l.alerted = int32(len(l.ids)), append(l.ids, id), append(l.alerted, d.Action != schemas.Allow)
		l.rows.AddCard(d.Features, false, d.Tx.Time, d.Tx.AmountBase, hashText(d.Text[schemas.Customer]))
		l.newest = max(l.newest, d.Tx.Time)
	case schemas.EntryLabel:
		id := hashText(e.Label.TxID)
		if _, ok := l.at[id]; !ok {
			return
		}
		v := l.verdicts[id]
		if v == nil {
			v = &verdicts{}
			l.verdicts[id] = v
		}
		if from := e.Label.Source; e.Label.Version > v.version[from] {
			v.version[from], v.verdict[from] = e.Label.Version, e.Label.Verdict
		}
	}
}

func hashText(text []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64()
}
