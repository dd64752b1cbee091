package main

import (
	"context"
	"hash/fnv"

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

// known returns a copy of the rows of a time, from <= time < to, in the order of time,
// with what is known of them.
func (l *learner) known(from, to int64) *trainer.Dataset {
	d := trainer.NewDataset(l.rows.Names)
	for i, at := range l.rows.Time {
		if at < from || at >= to {
			continue
		}
		v := l.verdicts[l.ids[i]]
		d.AddCard(l.rows.Row(i), v != nil && v.winner(l.spec) == schemas.LabelFraud, at, l.rows.AmountBase[i], l.rows.Card[i])
	}
	d.Sort()
	return d
}

// forget drops rows of before a time.
func (l *learner) forget(before int64) {
	rows, ids := l.rows, l.ids
	l.rows, l.ids, l.at = trainer.NewDataset(rows.Names), nil, make(map[uint64]int32)
	for i, at := range rows.Time {
		if at < before {
			delete(l.verdicts, ids[i])
			continue
		}
		l.at[ids[i]], l.ids = int32(len(l.ids)), append(l.ids, ids[i])
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

func (l *learner) add() {
	switch e := &l.entry; e.Kind {
	case schemas.EntryDecision:
		d := &e.Decision
		if d.Outcome > schemas.Degraded || len(d.Features) != len(l.spec.Features) {
			return
		}
		id := hashText(d.Text[schemas.ID])
		l.at[id], l.ids = int32(len(l.ids)), append(l.ids, id)
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
