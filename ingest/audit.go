package ingest

import (
	"context"
	"fmt"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/kafka"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Audit says what [VerifyLog] reads and with what it recomputes.
type Audit struct {
	Log      *kafka.Client
	Topics   schemas.Topics
	Spec     *spec.Spec
	Features features.Options
	// Bundles finds a bundle and a scorer that holds its model.
	Bundles func(hash [32]byte) (*scoring.Bundle, scoring.Scorer, error)
	// Progress, if set, is told how many records of how many are done.
	Progress func(done, total int64)
}

// VerifyLog verifies the ledger in Kafka against itself and against the source:
// every source record must have exactly one decision, the batches taken must
// form one chain, and every feature and score recomputed from the ledger alone
// must have the recorded bits. The source is read up to where it ended when the
// verification began.
func VerifyLog(ctx context.Context, a Audit) (*Verifier, error) {
	v := NewVerifier(a.Spec, a.Features, 0, a.Bundles)
	source, err := a.Log.Describe(ctx, a.Topics.Transactions)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", a.Topics.Transactions, err)
	}
	ends := make([]int64, source.Partitions)
	total := int64(0)
	for p := range ends {
		var start int64
		if start, ends[p], err = a.Log.Offsets(ctx, a.Topics.Transactions, int32(p)); err != nil {
			return nil, fmt.Errorf("look up the ends of %s: %w", a.Topics.Transactions, err)
		}
		total += ends[p] - start
	}
	start, end, err := a.Log.Offsets(ctx, a.Topics.Decisions, 0)
	if err != nil {
		return nil, fmt.Errorf("look up the ends of %s: %w", a.Topics.Decisions, err)
	}
	if start > 0 {
		return nil, fmt.Errorf("%s begins at offset %d: its beginning was deleted, so it cannot be folded from there; verify from history", a.Topics.Decisions, start)
	}
	w := audit{Audit: a, v: v, done: 0, total: total + end, decided: make(map[int32]*decided)}
	if err := w.ledger(ctx, end); err != nil {
		return nil, err
	}
	for p := range ends {
		if err := w.source(ctx, int32(p), ends[p]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// audit is one run of VerifyLog.
type audit struct {
	Audit
	v           *Verifier
	done, total int64
	decided     map[int32]*decided
	entry       schemas.Entry
}

func (w *audit) progress(n int64) {
	w.done += n
	if w.Progress != nil {
		w.Progress(w.done, w.total)
	}
}

// decided holds the offsets of one partition that have a decision, as ranges:
// nearly all follow one another, so a long ledger takes little memory.
type decided struct {
	ranges [][2]int64 // from, to inclusive, in ledger order
	next   int        // for the sweep over the source
}

func (d *decided) add(offset int64) {
	if k := len(d.ranges); k > 0 && d.ranges[k-1][1]+1 == offset {
		d.ranges[k-1][1] = offset
		return
	}
	d.ranges = append(d.ranges, [2]int64{offset, offset})
}

// has reports whether an offset was decided; offsets come in ascending order.
func (d *decided) has(offset int64) bool {
	for d.next < len(d.ranges) && d.ranges[d.next][1] < offset {
		d.next++
	}
	return d.next < len(d.ranges) && d.ranges[d.next][0] <= offset
}

// ledger reads the ledger with the one reader of the chain and recomputes it.
func (w *audit) ledger(ctx context.Context, end int64) error {
	r := kafka.NewLedgerReader(w.Log, w.Topics.Decisions, 0, schemas.Anchor{})
	defer r.Close()
	for r.Position() < end {
		b, err := r.Next(ctx, end)
		if err != nil {
			return fmt.Errorf("read %s: %w", w.Topics.Decisions, err)
		}
		if b == nil {
			break
		}
		w.progress(int64(len(b.Values)))
		if !b.Taken {
			w.v.Dropped()
			continue
		}
		for _, value := range b.Values {
			if schemas.ParseEntry(value, &w.entry) == nil {
				w.note(&w.entry)
			}
		}
		if err := w.v.Batch(&b.Facts, b.Base, b.Values); err != nil {
			return err
		}
	}
	return nil
}

// note remembers which source records a ledger record settles.
func (w *audit) note(e *schemas.Entry) {
	at := func(p int32) *decided {
		if w.decided[p] == nil {
			w.decided[p] = &decided{}
		}
		return w.decided[p]
	}
	switch e.Kind {
	case schemas.EntryDecision:
		at(e.Decision.Partition).add(e.Decision.Offset)
	case schemas.EntryGap:
		d := at(e.Gap.Partition)
		d.ranges = append(d.ranges, [2]int64{e.Gap.From, e.Gap.To})
	}
}

// source reads one source partition and looks each record's decision up.
func (w *audit) source(ctx context.Context, p int32, end int64) error {
	d := w.decided[p]
	if d == nil {
		d = &decided{}
	}
	r := kafka.NewReader(w.Log, w.Topics.Transactions, p, kafka.Earliest)
	defer r.Close()
	for {
		records, err := r.Next(ctx, end)
		if err != nil {
			return fmt.Errorf("read %s partition %d: %w", w.Topics.Transactions, p, err)
		}
		if records == nil {
			return nil
		}
		n := int64(0)
		for records.Next() {
			w.v.Source(p, records.Record().Offset, d.has(records.Record().Offset))
			n++
		}
		if err := records.Err(); err != nil {
			return fmt.Errorf("read %s partition %d: %w", w.Topics.Transactions, p, err)
		}
		w.progress(n)
	}
}
