package schemas

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// AppendDecision appends d as a ledger record (an Entry of decision.proto) to
// dst. It does not allocate where dst has room.
func AppendDecision(dst []byte, d *Decision) []byte {
	dst, from := open(dst, int(EntryDecision))
	dst = appendPlace(dst, &d.Place)
	dst = appendUint(dst, 5, uint64(d.Outcome))
	dst = appendUint(dst, 6, uint64(d.Reason))
	dst = appendUint(dst, 7, uint64(d.Flags))
	dst = appendUint(dst, 8, uint64(d.Action))
	dst = appendBytes(dst, 9, d.Tenant)
	dst = appendSint(dst, 10, d.Tx.Time)
	dst = appendSint(dst, 11, d.Tx.Amount)
	dst = appendSint(dst, 12, d.Tx.AmountBase)
	dst = appendUint(dst, 13, uint64(d.Tx.Type))
	dst = appendUint(dst, 14, uint64(d.Tx.Status))
	for f, text := range d.Text {
		dst = appendBytes(dst, 16+f, text)
	}
	dst = appendOwn(dst, d)
	dst = appendBytes(dst, 33, d.PrevCard)
	if n := len(d.Features); n > 0 {
		dst = binary.AppendUvarint(appendTag(dst, 40, wireBytes), uint64(4*n))
		at := len(dst)
		dst = slices.Grow(dst, 4*n)[:at+4*n]
		for i, x := range d.Features {
			binary.LittleEndian.PutUint32(dst[at+4*i:], math.Float32bits(x))
		}
	}
	dst = appendFloat(dst, 41, d.Score)
	dst = appendFloat(dst, 42, d.Prob)
	dst = appendFloat(dst, 43, d.Threshold)
	dst = appendFloat(dst, 44, d.Rank)
	dst = appendFloat(dst, 45, d.ReviewProb)
	dst = appendUint(dst, 46, uint64(d.Arithmetic))
	dst = appendFixed64(dst, 50, d.Bundle)
	dst = appendFixed64(dst, 51, d.Spec)
	dst = appendFixed64(dst, 52, d.Engine)
	dst = appendFixed64(dst, 53, d.Challenger)
	dst = appendFloat(dst, 54, d.ChallengerScore)
	return shut(dst, from)
}

func appendPlace(dst []byte, p *Place) []byte {
	dst = appendUint(dst, 1, uint64(uint32(p.Partition)))
	dst = appendUint(dst, 2, uint64(p.Offset))
	dst = appendUint(dst, 3, uint64(p.Prev+1))
	return appendSint(dst, 4, p.Timestamp)
}

// appendOwn writes the spec's own fields: all of them where one is present,
// since their place in the list is their name.
func appendOwn(dst []byte, d *Decision) []byte {
	present := false
	for _, text := range d.OwnText {
		present = present || len(text) > 0
	}
	if present {
		for _, text := range d.OwnText {
			dst = binary.AppendUvarint(appendTag(dst, 31, wireBytes), uint64(len(text)))
			dst = append(dst, text...)
		}
	}
	if n := len(d.Own); n > 0 {
		dst = binary.AppendUvarint(appendTag(dst, 32, wireBytes), uint64(8*n))
		for _, x := range d.Own {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
		}
	}
	return dst
}

// AppendLabelEntry appends a ledger record that says that l took effect.
func AppendLabelEntry(dst []byte, l *Label) []byte {
	dst, from := open(dst, int(EntryLabel))
	dst = appendBytes(dst, 1, l.TxID)
	dst = appendUint(dst, 2, uint64(l.Verdict))
	dst = appendBytes(dst, 3, l.FraudType)
	dst = appendUint(dst, 4, uint64(l.Source))
	dst = appendSint(dst, 5, l.KnownAt)
	dst = appendUint(dst, 6, uint64(l.Version))
	dst = appendBytes(dst, 7, l.Selected)
	dst = appendFloat(dst, 8, l.SelectedProb)
	dst = appendUint(dst, 9, uint64(uint32(l.Partition)))
	dst = appendUint(dst, 10, uint64(l.Offset))
	dst = appendUint(dst, 11, uint64(l.Prev+1))
	dst = appendSint(dst, 12, l.Timestamp)
	dst = appendSint(dst, 13, l.Time)
	for i, text := range l.Entity {
		dst = appendBytes(dst, 14+i, text)
	}
	return shut(dst, from)
}

// AppendRateEntry appends a ledger record that says that r took effect.
func AppendRateEntry(dst []byte, r *Rate) []byte {
	dst, from := open(dst, int(EntryRate))
	dst = appendBytes(dst, 1, r.Currency)
	dst = appendSint(dst, 2, r.Since)
	dst = appendSint(dst, 3, r.Num)
	dst = appendSint(dst, 4, r.Den)
	dst = appendUint(dst, 5, uint64(uint32(r.Partition)))
	dst = appendUint(dst, 6, uint64(r.Offset))
	return shut(dst, from)
}

// AppendBundleEntry appends a ledger record that says that a slot took b.
func AppendBundleEntry(dst []byte, b *BundleTaken) []byte {
	dst, from := open(dst, int(EntryBundle))
	dst = appendBytes(dst, 1, b.Slot)
	if b.Hash != [32]byte{} {
		dst = appendBytes(dst, 2, b.Hash[:])
	}
	dst = appendUint(dst, 3, uint64(b.Offset+1))
	dst = appendFloat(dst, 4, b.Share)
	return shut(dst, from)
}

// AppendGapEntry appends a ledger record that says that g was given up.
func AppendGapEntry(dst []byte, g *Gap) []byte {
	dst, from := open(dst, int(EntryGap))
	dst = appendUint(dst, 1, uint64(uint32(g.Partition)))
	dst = appendUint(dst, 2, uint64(g.From))
	dst = appendUint(dst, 3, uint64(g.To))
	dst = appendBytes(dst, 4, g.By)
	dst = appendBytes(dst, 5, g.Topic)
	return shut(dst, from)
}

// AppendGenesisEntry appends a ledger's first record.
func AppendGenesisEntry(dst []byte, g *Genesis) []byte {
	dst, from := open(dst, int(EntryGenesis))
	if g.TopicID != [16]byte{} {
		dst = appendBytes(dst, 1, g.TopicID[:])
	}
	dst = appendBytes(dst, 2, g.Topic)
	for _, p := range g.Start {
		var at int
		dst, at = open(dst, 3)
		dst = appendUint(dst, 1, uint64(uint32(p.Partition)))
		dst = appendUint(dst, 2, uint64(p.Offset))
		dst = shut(dst, at)
	}
	if len(g.Spec.Text) > 0 {
		dst = appendSpec(dst, 4, &g.Spec)
	}
	return shut(dst, from)
}

// AppendSpecEntry appends a ledger record that says that the ledger goes on by s.
func AppendSpecEntry(dst []byte, s *SpecTaken) []byte { return appendSpec(dst, int(EntrySpec), s) }

// AppendSyncEntry appends a ledger record that says that the other shards' ledgers
// were folded up to the positions in its batch's facts.
func AppendSyncEntry(dst []byte) []byte {
	dst, from := open(dst, int(EntrySync))
	return shut(dst, from)
}

func appendSpec(dst []byte, number int, s *SpecTaken) []byte {
	dst, from := open(dst, number)
	dst = appendBytes(dst, 1, s.Name)
	dst = appendBytes(dst, 2, s.Text)
	if s.Before != [32]byte{} {
		dst = appendBytes(dst, 3, s.Before[:])
	}
	return shut(dst, from)
}

// ParseEntry parses one ledger record into e, whose slices are reused and
// alias src. Unknown fields are passed over, so that an older weir reads a
// newer ledger. Errors wrap [ErrWire].
func ParseEntry(src []byte, e *Entry) error {
	e.Kind = 0
	for len(src) > 0 {
		f, rest, err := nextField(src)
		if err != nil {
			return err
		}
		src = rest
		if f.number > int(EntrySync) {
			continue
		}
		if f.wire != wireBytes || e.Kind != 0 {
			return fmt.Errorf("%w: an entry holds field %d where one message is expected", ErrWire, f.number)
		}
		e.Kind = EntryKind(f.number)
		if err := e.parse(f.b); err != nil {
			return err
		}
	}
	if e.Kind == 0 {
		return fmt.Errorf("%w: an entry of no kind that is known", ErrWire)
	}
	return nil
}

func (e *Entry) parse(src []byte) error {
	switch e.Kind {
	case EntryDecision:
		return parseDecision(src, &e.Decision)
	case EntryLabel:
		e.Label = Label{Place: Place{Prev: -1}}
		return fields(src, &e.Label)
	case EntryRate:
		e.Rate = Rate{}
		return fields(src, &e.Rate)
	case EntryBundle:
		e.Bundle = BundleTaken{Offset: -1}
		return fields(src, &e.Bundle)
	case EntryGap:
		e.Gap = Gap{}
		return fields(src, &e.Gap)
	case EntryGenesis:
		e.Genesis = Genesis{Start: e.Genesis.Start[:0]}
		return fields(src, &e.Genesis)
	case EntrySpec:
		e.Spec = SpecTaken{}
		return fields(src, &e.Spec)
	default: // a sync says no more than that
		return nil
	}
}

// fields gives every field of a message to m.
func fields[M interface{ field(wireField) error }](src []byte, m M) error {
	for len(src) > 0 {
		f, rest, err := nextField(src)
		if err != nil {
			return err
		}
		if err := m.field(f); err != nil {
			return err
		}
		src = rest
	}
	return nil
}
