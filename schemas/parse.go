package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// parseDecision parses the body of a Decision. The slices of d are reused.
func parseDecision(src []byte, d *Decision) error {
	*d = Decision{Place: Place{Prev: -1}, OwnText: d.OwnText[:0], Own: d.Own[:0], Features: d.Features[:0]}
	for len(src) > 0 {
		f, rest, err := nextField(src)
		if err != nil {
			return err
		}
		src = rest
		switch {
		case f.number >= 16 && f.number < 16+int(NumText):
			d.Text[f.number-16] = f.b
		case f.number >= 31 && f.number <= 40:
			err = d.variable(&f)
		case f.number <= 14:
			err = d.head(&f)
		default:
			d.tail(&f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// head takes the fields of place, verdict and transaction.
func (d *Decision) head(f *wireField) error {
	switch f.number {
	case 5:
		return within(f, uint64(NumOutcomes), "outcome", &d.Outcome)
	case 6:
		return within(f, uint64(NumReasons), "reason", &d.Reason)
	case 7:
		return within(f, 1<<8, "flags", &d.Flags)
	case 8:
		return within(f, uint64(NumActions), "action", &d.Action)
	case 9:
		d.Tenant = f.b
	case 10:
		d.Tx.Time = f.sint()
	case 11:
		d.Tx.Amount = f.sint()
	case 12:
		d.Tx.AmountBase = f.sint()
	case 13:
		return within(f, uint64(NumTxTypes), "type", &d.Tx.Type)
	case 14:
		return within(f, uint64(NumStatuses), "status", &d.Tx.Status)
	default:
		d.Place.field(f, 1)
	}
	return nil
}

// within refuses a number that this version has no name for: it could only be
// folded wrongly.
func within[T ~uint8 | ~uint16 | ~uint32](f *wireField, limit uint64, what string, to *T) error {
	if f.n >= limit {
		return fmt.Errorf("%w: %s %d is not known to this version", ErrWire, what, f.n)
	}
	*to = T(f.n)
	return nil
}

// field takes one of a place's four fields, numbered from first.
func (p *Place) field(f *wireField, first int) {
	switch f.number - first {
	case 0:
		p.Partition = int32(f.n)
	case 1:
		p.Offset = int64(f.n)
	case 2:
		p.Prev = int64(f.n) - 1
	case 3:
		p.Timestamp = f.sint()
	}
}

// variable takes the fields of variable length besides the canonical texts.
func (d *Decision) variable(f *wireField) error {
	switch f.number {
	case 31:
		d.OwnText = append(d.OwnText, f.b)
	case 32:
		if f.wire != wireBytes || len(f.b)%8 != 0 {
			return fmt.Errorf("%w: own numbers are not packed doubles", ErrWire)
		}
		for b := f.b; len(b) > 0; b = b[8:] {
			d.Own = append(d.Own, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case 33:
		d.PrevCard = f.b
	case 40:
		if f.wire != wireBytes || len(f.b)%4 != 0 {
			return fmt.Errorf("%w: features are not packed floats", ErrWire)
		}
		n := len(f.b) / 4
		at := len(d.Features)
		d.Features = slices.Grow(d.Features, n)[:at+n]
		for i := range n {
			d.Features[at+i] = math.Float32frombits(binary.LittleEndian.Uint32(f.b[4*i:]))
		}
	}
	return nil
}

// tail takes the fields of the score and of what decided.
func (d *Decision) tail(f *wireField) {
	switch f.number {
	case 41:
		d.Score = f.float()
	case 42:
		d.Prob = f.float()
	case 43:
		d.Threshold = f.float()
	case 44:
		d.Rank = f.float()
	case 45:
		d.ReviewProb = f.float()
	case 46:
		d.Arithmetic = Arithmetic(f.n)
	case 50:
		d.Bundle = f.n
	case 51:
		d.Spec = f.n
	case 52:
		d.Engine = f.n
	case 53:
		d.Challenger = f.n
	case 54:
		d.ChallengerScore = f.float()
	}
}

func (l *Label) field(f wireField) error {
	switch f.number {
	case 1:
		l.TxID = f.b
	case 2:
		return within(&f, uint64(NumLabelVerdicts), "label verdict", &l.Verdict)
	case 3:
		l.FraudType = f.b
	case 4:
		return within(&f, uint64(NumLabelSources), "label source", &l.Source)
	case 5:
		l.KnownAt = f.sint()
	case 6:
		return within(&f, LabelVersionMax+1, "label version", &l.Version)
	case 7:
		l.Selected = f.b
	case 8:
		l.SelectedProb = f.float()
	case 13:
		l.Time = f.sint()
	default:
		if i := f.number - 14; i >= 0 && i < NumLabelEntities {
			l.Entity[i] = f.b
			return nil
		}
		l.Place.field(&f, 9)
	}
	return nil
}

func (r *Rate) field(f wireField) error {
	switch f.number {
	case 1:
		r.Currency = f.b
	case 2:
		r.Since = f.sint()
	case 3:
		r.Num = f.sint()
	case 4:
		r.Den = f.sint()
	case 5:
		r.Partition = int32(f.n)
	case 6:
		r.Offset = int64(f.n)
	}
	return nil
}

func (b *BundleTaken) field(f wireField) error {
	switch f.number {
	case 1:
		b.Slot = f.b
	case 2:
		if len(f.b) != len(b.Hash) {
			return fmt.Errorf("%w: a bundle's hash of %d bytes", ErrWire, len(f.b))
		}
		copy(b.Hash[:], f.b)
	case 3:
		b.Offset = int64(f.n) - 1
	case 4:
		b.Share = f.float()
	}
	return nil
}

func (g *Gap) field(f wireField) error {
	switch f.number {
	case 1:
		g.Partition = int32(f.n)
	case 2:
		g.From = int64(f.n)
	case 3:
		g.To = int64(f.n)
	case 4:
		g.By = f.b
	case 5:
		g.Topic = f.b
	}
	return nil
}

func (g *Genesis) field(f wireField) error {
	switch f.number {
	case 1:
		if len(f.b) != len(g.TopicID) {
			return fmt.Errorf("%w: a topic id of %d bytes", ErrWire, len(f.b))
		}
		copy(g.TopicID[:], f.b)
	case 2:
		g.Topic = f.b
	case 3:
		var p Position
		if err := fields(f.b, &p); err != nil {
			return err
		}
		g.Start = append(g.Start, p)
	case 4:
		return fields(f.b, &g.Spec)
	}
	return nil
}

func (s *SpecTaken) field(f wireField) error {
	switch f.number {
	case 1:
		s.Name = f.b
	case 2:
		s.Text = f.b
	case 3:
		if len(f.b) != len(s.Before) {
			return fmt.Errorf("%w: a spec's hash of %d bytes", ErrWire, len(f.b))
		}
		copy(s.Before[:], f.b)
	}
	return nil
}

func (p *Position) field(f wireField) error {
	switch f.number {
	case 1:
		p.Partition = int32(f.n)
	case 2:
		p.Offset = int64(f.n)
	}
	return nil
}
