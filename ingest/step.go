package ingest

import (
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A Decider turns work into decisions. It holds the bundle that decides and
// the scratch that a step takes; one goroutine uses it.
type Decider struct {
	bundle *scoring.Bundle // nil: the fallback rules decide
	scorer scoring.Scorer
	tenant []byte
	engine uint64 // prefix of the engine's hash

	view     schemas.Batch
	x        []float32 // vectors, row-major
	scores   []float32
	fallback []schemas.Action
	decision schemas.Decision
}

// Use makes the decider decide with a bundle from the next step on; scorer
// must hold that bundle's model.
func (d *Decider) Use(b *scoring.Bundle, s scoring.Scorer) { d.bundle, d.scorer = b, s }

// step is weir's core: the same records in the same order give the same
// decisions, byte for byte, however they are cut into steps. The records of w
// are decoded and in merge order.
//
//	fold    labels, rates and transactions, in that order, computing vectors
//	score   all vectors at once
//	decide  threshold, rank, action
//	write   one ledger record for each
//
// It reads no clock and no network. What it writes goes to out in the order of
// the merge.
func (d *Decider) step(s *State, w *work, out *output) {
	d.fold(s, w)
	scored := d.score(w)
	d.write(s, w, scored, out)
}

// fold moves the state over the work and leaves the vectors in d.x.
func (d *Decider) fold(s *State, w *work) {
	width := s.Engine.Width()
	d.x = grow(d.x, w.rows.Len()*width)
	clear(d.x)
	d.fallback = grow(d.fallback, w.rows.Len())
	for _, r := range w.order {
		switch r.class {
		case Rates:
			for i := r.from; i < r.to; i++ {
				s.applyRate(&w.rates[i])
			}
		case Labels:
			for i := r.from; i < r.to; i++ {
				s.applyLabel(&w.labels[i])
			}
		case Transactions:
			w.rows.Slice(&d.view, r.from, r.to)
			s.convert(&d.view)
			s.Engine.Step(&d.view, d.x[r.from*width:r.to*width], d.fallback[r.from:r.to])
		}
	}
}

// convert puts amounts of other currencies into the base currency.
func (s *State) convert(b *schemas.Batch) {
	for i := range b.Tx {
		tx, v := &b.Tx[i], &b.Verdict[i]
		currency := b.Bytes(i, schemas.Currency)
		if v.Outcome != schemas.Scored || string(currency) == s.Spec.Base {
			continue
		}
		base, ok := s.Rates.Convert(currency, tx.Amount, tx.Time)
		if !ok {
			*v = schemas.Verdict{Outcome: schemas.Unscored, Reason: schemas.NoRate}
			continue
		}
		tx.AmountBase = base
	}
}

// score fills d.scores and reports whether a model did. Rows that are barred
// from scoring are scored with the rest and their scores never looked at: one
// dense call costs less than picking rows.
func (d *Decider) score(w *work) bool {
	n := w.rows.Len()
	d.scores = grow(d.scores, n)
	if d.scorer == nil {
		return false
	}
	if n == 0 {
		return true
	}
	x := scoring.Matrix{Data: d.x, Rows: n, Cols: len(d.x) / n}
	return d.scorer.Score(x, d.scores) == nil
}

// write decides row by row and appends the step's ledger records to out.
func (d *Decider) write(s *State, w *work, scored bool, out *output) {
	width := s.Engine.Width()
	for _, r := range w.order {
		for i := r.from; i < r.to; i++ {
			switch r.class {
			case Rates:
				out.rate(&w.rates[i])
			case Labels:
				out.label(&w.labels[i])
			case Transactions:
				d.rule(s, w, i, width, scored)
				s.take(d.decision.Place, d.decision.Verdict, d.decision.Tx.Time)
				s.Counts.count(d.decision.Verdict, d.decision.Action)
				w.rows.Verdict[i] = d.decision.Verdict
				out.decide(&d.decision)
			}
		}
	}
}

// rule fills d.decision with what is decided of row i.
func (d *Decider) rule(s *State, w *work, i, width int, scored bool) {
	x := &d.decision
	w.rows.Decision(i, x)
	x.Tenant, x.Spec, x.Engine = d.tenant, schemas.HashPrefix(s.Spec.Hash), d.engine
	x.Features, x.Score, x.Prob, x.Threshold, x.Rank, x.ReviewProb, x.Bundle = nil, 0, 0, 0, 0, 0, 0
	switch x.Outcome {
	case schemas.Scored:
		x.Features = d.x[i*width : (i+1)*width]
		d.judge(x, d.scores[i], d.fallback[i], scored)
	case schemas.Unscored:
		// Whatever could not be scored is looked at by a person, save a type
		// that the bank said to fold only.
		x.Action = schemas.Review
		if x.Flags&schemas.FoldOnly != 0 {
			x.Action = schemas.Allow
			x.Features = d.x[i*width : (i+1)*width]
		}
	case schemas.Duplicate:
		x.Action = schemas.Allow
		if x.Reason == schemas.Conflict {
			x.Action = schemas.Review
		}
	default:
		x.Action = schemas.Allow
	}
}

// judge decides a transaction that has a vector: by the model, or where none
// could score it by the fallback rules.
func (d *Decider) judge(x *schemas.Decision, score float32, fallback schemas.Action, scored bool) {
	if !scored {
		x.Outcome, x.Reason = schemas.Degraded, schemas.NoModel
		if d.scorer != nil {
			x.Reason = schemas.ModelFailed
		}
		x.Action = fallback
		return
	}
	r := d.bundle.Decide(score, x.Tx.AmountBase, x.Text[schemas.ID])
	x.Score, x.Prob, x.Rank, x.Threshold = score, r.Prob, r.Rank, r.Threshold
	x.Action, x.ReviewProb, x.Bundle = r.Action, r.ReviewProb, d.bundle.Prefix()
	if r.Explored {
		x.Flags |= schemas.Explored
	}
}

// grow returns s with length n, its contents undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}
