package ingest

import (
	"fmt"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// Folder applies batches of the ledger to a state. It holds the scratch that
// this takes, so one Folder serves one goroutine.
type Folder struct {
	entry schemas.Entry
	rows  schemas.Batch
	x     []float32        // the recorded vectors of rows
	by    *spec.Succession // of rows, which another spec decided; nil: the state's own did
	calls []int            // records of the last batch that call for an alert or a dead letter
	past  pastSpecs

	lookout *lookout // takes a sample of what was decided; may be nil
}

// Fold applies one taken batch: base is the ledger offset of its first record,
// values its records. An error means that the ledger cannot be read by this
// version; the state is then of no use.
func (f *Folder) Fold(s *State, facts *schemas.Facts, base int64, values [][]byte) error {
	f.begin(s)
	f.calls = f.calls[:0]
	for i, value := range values {
		if err := schemas.ParseEntry(value, &f.entry); err != nil {
			return fmt.Errorf("parse ledger record %d: %w", base+int64(i), err)
		}
		if f.entry.Kind == schemas.EntryDecision {
			if d := &f.entry.Decision; d.Action != schemas.Allow || d.Outcome == schemas.Rejected {
				f.calls = append(f.calls, i)
			}
			if err := f.add(s, &f.entry.Decision); err != nil {
				return fmt.Errorf("fold ledger record %d: %w", base+int64(i), err)
			}
			if f.by == nil {
				f.lookout.fold(&f.entry.Decision, base+int64(i))
			}
			continue
		}
		// The order of the ledger is the order of the fold.
		f.flush(s)
		f.past.learn(&f.entry)
		if err := s.apply(&f.entry); err != nil {
			return fmt.Errorf("fold ledger record %d: %w", base+int64(i), err)
		}
	}
	f.flush(s)
	s.applyFacts(facts, base)
	return nil
}

func (f *Folder) begin(s *State) {
	f.rows.Reset(len(s.Spec.Input.OwnText), len(s.Spec.Input.OwnNumber))
	f.x = f.x[:0]
}

// add folds one decision of the shard's own.
func (f *Folder) add(s *State, d *schemas.Decision) error {
	if err := f.queue(s, d); err != nil {
		return err
	}
	s.take(d.Place, d.Verdict, d.Tx.Time)
	s.Counts.count(d.Verdict, d.Action)
	return nil
}

// queue queues one decision for the engine.
func (f *Folder) queue(s *State, d *schemas.Decision) error {
	by, err := f.past.by(s.Spec, d.Spec)
	if err != nil {
		return err
	}
	if by != f.by {
		f.flush(s)
		f.by = by
	}
	w := s.Engine.Width()
	switch {
	case by == nil && len(d.Features) == w:
		f.x = append(f.x, d.Features...)
	case by != nil || len(d.Features) == 0:
		for range w {
			f.x = append(f.x, 0)
		}
	default:
		return fmt.Errorf("decision has %d features, the spec %s has %d: fold it with the spec it names", len(d.Features), s.Spec.Name, w)
	}
	if by != nil {
		by.Add(&f.rows, d)
	} else {
		f.rows.AddDecision(d)
	}
	return nil
}

func (f *Folder) flush(s *State) {
	switch {
	case f.rows.Len() == 0:
		return
	case f.by != nil: // what the engine makes of it is this spec's affair
		s.convert(&f.rows)
		s.Engine.Step(&f.rows, f.x, nil)
	default:
		s.Engine.Fold(&f.rows, f.x)
	}
	f.begin(s)
}

// apply folds a ledger record that is not a decision.
func (s *State) apply(e *schemas.Entry) error {
	switch e.Kind {
	case schemas.EntryLabel:
		s.applyLabel(&e.Label)
	case schemas.EntryRate:
		s.applyRate(&e.Rate)
	case schemas.EntryBundle:
		s.applyBundle(&e.Bundle)
	case schemas.EntryGap:
		s.applyGap(&e.Gap)
	case schemas.EntryGenesis:
		return s.applyGenesis(&e.Genesis)
	case schemas.EntrySpec: // the facts say by which spec a batch was decided
	case schemas.EntrySync: // and how far the other shards were folded
	default:
		return fmt.Errorf("ledger record of unknown kind %d", e.Kind)
	}
	return nil
}

// applyBundle folds that a slot took another bundle.
func (s *State) applyBundle(b *schemas.BundleTaken) {
	switch string(b.Slot) {
	case "champion":
		s.Champion = b.Hash
	case "challenger":
		s.Challenger, s.Share = b.Hash, b.Share
	}
}
