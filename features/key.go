package features

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/dchest/siphash"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// keyText returns the text that a field counts as where it is a key or a
// value: the card's under the previous token key, while there is one, so that
// behaviour goes on through a change of the key. Once there is none, the card's
// behaviour begins anew: what is kept is under tokens that no record has any more.
func keyText(b *schemas.Batch, i int, f schemas.TextField) []byte {
	if f == schemas.Card {
		if p := b.PrevCard[i]; p.Len > 0 {
			return b.Arena[p.Off : p.Off+p.Len]
		}
	}
	return b.Bytes(i, f)
}

// Field numbers of hashes: texts have their column, these the rest.
const (
	typeHash   = 254
	statusHash = 255
)

// hashField returns the keyed hash of a field of row i; 0 where it is absent,
// and never otherwise.
func (e *Engine) hashField(b *schemas.Batch, i int, f spec.FieldRef) uint64 {
	var column int
	switch f.Kind {
	case spec.TextRef:
		column = int(f.Text)
	case spec.OwnTextRef:
		column = int(schemas.NumText) + f.Index
	case spec.TypeRef:
		e.one[0] = byte(b.Tx[i].Type)
		return e.hash(typeHash, e.one[:])
	case spec.StatusRef:
		e.one[0] = byte(b.Tx[i].Status)
		return e.hash(statusHash, e.one[:])
	}
	text := keyText(b, i, schemas.TextField(column))
	if len(text) == 0 {
		return 0
	}
	return e.hash(column, text)
}

// hash returns SipHash-2-4 of a field number and a text, never 0.
func (e *Engine) hash(field int, text []byte) uint64 {
	e.text = append(append(e.text[:0], byte(field)), text...)
	return max(siphash.Hash(e.key0, e.key1, e.text), 1)
}

// hashID returns the hash of a transaction's id.
func (e *Engine) hashID(id []byte) uint64 { return e.hash(int(schemas.ID), id) }

// keyOf returns the hash of an entity's key, of the hashes of its fields; 0
// where one of them is absent.
func (e *Engine) keyOf(hashes []uint64, fields []int) uint64 {
	if len(fields) == 1 {
		return hashes[fields[0]]
	}
	e.text = e.text[:0]
	for _, f := range fields {
		if hashes[f] == 0 {
			return 0
		}
		e.text = binary.LittleEndian.AppendUint64(e.text, hashes[f])
	}
	return max(siphash.Hash(e.key0, e.key1, e.text), 1)
}

// content returns a keyed hash of what makes a repeated id a conflict: time,
// amount, currency and all texts. It tells honest mistakes apart, and is
// faster than SipHash for that.
func (e *Engine) content(b *schemas.Batch, i int) uint64 {
	tx := &b.Tx[i]
	h := mix(e.key0^uint64(tx.Time), e.key1^uint64(tx.Amount))
	h = mix(h^uint64(tx.Type)<<8^uint64(tx.Status), e.key1)
	for f := range b.TextWidth {
		text := keyText(b, i, schemas.TextField(f))
		if len(text) == 0 {
			continue
		}
		h = mix(h^uint64(f)<<32^uint64(len(text)), e.key0|1)
		for len(text) > 8 {
			h = mix(h^binary.LittleEndian.Uint64(text), e.key1|1)
			text = text[8:]
		}
		h = mix(h^word(text), e.key0|1)
	}
	return h
}

// word returns up to eight bytes as a word, the first one lowest.
func word(text []byte) (w uint64) {
	if cap(text) >= 8 {
		// What follows in the arena is read along and cut off.
		return binary.LittleEndian.Uint64(text[:8]) << (64 - 8*len(text)) >> (64 - 8*len(text))
	}
	for j, c := range text {
		w |= uint64(c) << (8 * j)
	}
	return w
}

// mix folds the 128-bit product of two words, neither of which it lets vanish.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9E3779B97F4A7C15, b^0xD1B54A32D192ED03)
	return hi ^ lo ^ a
}

// number returns the integer that a numeric field of row i counts as.
func number(b *schemas.Batch, i int, f spec.FieldRef) uint64 {
	switch f.Kind {
	case spec.AmountRef:
		return uint64(min(max(b.Tx[i].AmountBase, -numberMax), numberMax))
	case spec.TimeRef:
		return uint64(b.Tx[i].Time)
	case spec.OwnNumberRef:
		x := b.Number[i*b.NumberWidth+f.Index]
		if math.IsNaN(x) {
			return absentNumber
		}
		units := math.RoundToEven(float64(x * milliUnit))
		if units >= float64(numberMax) {
			return uint64(numberMax)
		}
		if units <= -float64(numberMax) {
			least := -numberMax
			return uint64(least)
		}
		return uint64(int64(units))
	}
	return absentNumber
}
