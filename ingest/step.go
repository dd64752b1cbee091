package ingest

import (
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// A Decider turns work into decisions. It holds the bundle that decides, the one
// that challenges it, and the scratch that a step takes; one goroutine uses it.
type Decider struct {
	serves [numSlots]serving // without a champion the fallback rules decide
	tenant []byte
	engine uint64 // prefix of the engine's hash

	lookout  *lookout // takes a sample of what is decided; may be nil
	view     schemas.Batch
	x        []float32 // vectors, row-major
	scores   [numSlots][]float32
	half     [numSlots]bool // the scores are of float16 arithmetic
	claims   *claims        // of who recomputes; nil for who decides
	fallback []schemas.Action
	decision schemas.Decision
	failure  error   // why the last step ended the shadow; nil: it did not
	failed   serving // the challenger that failed
}

// Use makes the decider decide with a bundle from the next step on; scorer
// must hold that bundle's model.
func (d *Decider) Use(b *scoring.Bundle, s scoring.Scorer) {
	d.serves[champion] = serving{bundle: b, scorer: s, offset: -1}
}

// step is weir's core: the same records in the same order give the same
// decisions, byte for byte, however they are cut into steps. The records of w
// are decoded and in merge order.
//
//	fold    labels, rates and transactions, in that order, computing vectors
//	score   all vectors at once, by the champion and by the challenger
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

// score fills d.scores and reports whether the champion did. Rows that are barred
// from scoring are scored with the rest and their scores never looked at: one
// dense call costs less than picking rows.
func (d *Decider) score(w *work) bool {
	n := w.rows.Len()
	d.failure, d.half = nil, [numSlots]bool{}
	if n == 0 {
		return d.serves[champion].scorer != nil
	}
	x := scoring.Matrix{Data: d.x, Rows: n, Cols: len(d.x) / n}
	if d.serves[challenger].scorer != nil {
		d.failure = d.scoreBy(challenger, x)
	}
	return d.serves[champion].scorer != nil && d.scoreBy(champion, x) == nil
}

func (d *Decider) scoreBy(k slot, x scoring.Matrix) error {
	d.scores[k] = grow(d.scores[k], x.Rows)
	err := d.serves[k].scorer.Score(x, d.scores[k])
	d.half[k] = err == nil && scoring.Half(d.serves[k].scorer)
	return err
}

// endShadow ends the shadow of a challenger that failed, before anything of the
// step is written: who recomputes the ledger could not make it fail again.
func (d *Decider) endShadow(s *State, out *output) {
	d.failed, d.serves[challenger] = d.serves[challenger], serving{}
	gone := schemas.BundleTaken{Slot: []byte(challenger.String()), Offset: -1}
	s.applyBundle(&gone)
	out.bundle(&gone)
}

// write decides row by row and appends the step's ledger records to out.
func (d *Decider) write(s *State, w *work, scored bool, out *output) {
	width := s.Engine.Width()
	if d.failure != nil {
		d.endShadow(s, out)
	}
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
				d.lookout.add(&d.decision)
				out.decide(&d.decision, w.rows.KeyBytes(i))
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
	x.Challenger, x.ChallengerScore, x.Arithmetic = 0, 0, schemas.Float32
	switch x.Outcome {
	case schemas.Scored:
		x.Features = d.x[i*width : (i+1)*width]
		d.judge(x, i, scored)
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

// judge decides a transaction that has a vector, row i: by the champion, by the
// challenger where it has the card, or where the champion could not score by the
// fallback rules. The score of the one that does not decide is written beside.
func (d *Decider) judge(x *schemas.Decision, i int, scored bool) {
	k, beside := champion, challenger
	if c := &d.serves[challenger]; scored && c.share > 0 && c.bundle.Takes(c.share, whose(x)) {
		k, beside = challenger, champion
	}
	if b := d.serves[beside].bundle; b != nil {
		x.Challenger = b.Prefix()
		x.ChallengerScore, x.Arithmetic = d.scoreOf(beside, i, x.Features, schemas.ChallengerFloat16)
	}
	if !scored {
		x.Outcome, x.Reason = schemas.Degraded, schemas.NoModel
		if d.serves[champion].scorer != nil {
			x.Reason = schemas.ModelFailed
		}
		x.Action = d.fallback[i]
		return
	}
	b := d.serves[k].bundle
	score, arithmetic := d.scoreOf(k, i, x.Features, schemas.Float16)
	x.Arithmetic |= arithmetic
	r := b.Decide(score, x.Tx.AmountBase, x.Text[schemas.ID])
	x.Score, x.Prob, x.Rank, x.Threshold = score, r.Prob, r.Rank, r.Threshold
	x.Action, x.ReviewProb, x.Bundle = r.Action, r.ReviewProb, b.Prefix()
	if r.Explored {
		x.Flags |= schemas.Explored
	}
}

// whose returns by what payments are shared out between champion and challenger: the
// card, or the first of what else tells who pays.
func whose(x *schemas.Decision) []byte {
	for _, f := range [...]schemas.TextField{schemas.Card, schemas.Customer, schemas.Account} {
		if len(x.Text[f]) > 0 {
			return x.Text[f]
		}
	}
	return x.Text[schemas.ID]
}

// grow returns s with length n, its contents undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}
