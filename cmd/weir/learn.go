package main

import (
	"context"
	"hash/fnv"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/trainer"
)

// ledgerRows reads the vectors that decisions were recorded with and what became
// of them, by the labels in the ledger, into a data set. Rows younger than ripe
// (ms) before the newest are left out: for them no label means nothing yet.
func ledgerRows(ctx context.Context, log *kafka.Client, topics schemas.Topics, s *spec.Spec, ripe int64) (*trainer.Dataset, error) {
	names := make([]string, len(s.Features))
	for i := range names {
		names[i] = s.Features[i].Name
	}
	l := learner{rows: trainer.NewDataset(names), at: make(map[uint64]int32), verdicts: make(map[int32]*verdicts)}
	_, end, err := log.Offsets(ctx, topics.Decisions, 0)
	if err != nil {
		return nil, err
	}
	r := kafka.NewLedgerReader(log, topics.Decisions, 0, schemas.Anchor{})
	defer r.Close()
	for r.Position() < end {
		b, err := r.Next(ctx, end)
		if err != nil {
			return nil, err
		}
		if b == nil {
			break
		}
		if !b.Taken {
			continue
		}
		for _, value := range b.Values {
			if err := schemas.ParseEntry(value, &l.entry); err != nil {
				return nil, err
			}
			l.add(s)
		}
	}
	for row, v := range l.verdicts {
		if v.winner(s) == schemas.LabelFraud {
			l.rows.Y[row] = 1
		}
	}
	l.rows.Sort()
	if n := l.rows.Rows(); n > 0 {
		l.rows, _ = l.rows.Split(l.rows.Time[n-1] - ripe)
	}
	return l.rows, nil
}

// A learner gathers rows and what is known of them.
type learner struct {
	rows     *trainer.Dataset
	at       map[uint64]int32 // row by hash of the transaction's id
	verdicts map[int32]*verdicts
	entry    schemas.Entry
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

func (l *learner) add(s *spec.Spec) {
	switch e := &l.entry; e.Kind {
	case schemas.EntryDecision:
		d := &e.Decision
		if d.Outcome > schemas.Degraded || len(d.Features) != len(s.Features) {
			return
		}
		l.at[hashText(d.Text[schemas.ID])] = int32(l.rows.Rows())
		l.rows.AddCard(d.Features, false, d.Tx.Time, d.Tx.AmountBase, hashText(d.Text[schemas.Customer]))
	case schemas.EntryLabel:
		row, ok := l.at[hashText(e.Label.TxID)]
		if !ok {
			return
		}
		v := l.verdicts[row]
		if v == nil {
			v = &verdicts{}
			l.verdicts[row] = v
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
