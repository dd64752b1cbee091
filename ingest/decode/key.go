package decode

import (
	"bytes"

	"github.com/weir-risk/weir/schemas"
)

// keyIs reports whether the record's Kafka key is the secret of a field, whose
// text is given as it is hashed.
func (d *Decoder) keyIs(l *leaf, text []byte) bool {
	if len(d.kafka) < len(text) {
		return false
	}
	return bytes.Equal(d.kafka, text) || l.card && sameDigits(d.kafka, text)
}

// sameDigits reports whether a text is these digits with spaces and dashes
// between them.
func sameDigits(text, digits []byte) bool {
	n := 0
	for _, c := range text {
		switch {
		case n < len(digits) && c == digits[n]:
			n++
		case c != ' ' && c != '-':
			return false
		}
	}
	return n == len(digits)
}

// setKey gives the row its key, unless a secret field's token was it already.
// Where the spec has secrets, a key that is no field of the record known to be
// none may be one, in whatever form, and only its token goes on.
func (d *Decoder) setKey() {
	b, i := d.batch, d.row
	switch {
	case b.Key[i].Len > 0:
		return
	case d.hasher == nil:
		if len(d.kafka) <= TextMax {
			b.Key[i] = b.Intern(d.kafka)
		}
		return
	}
	for _, col := range d.plain {
		if s := b.Text[i*b.TextWidth+col]; int(s.Len) == len(d.kafka) && bytes.Equal(b.Arena[s.Off:s.Off+s.Len], d.kafka) {
			b.Key[i] = s
			return
		}
	}
	// A card number has one token however it is written.
	h := d.hasher
	text, c := h.normalise(d.kafka)
	if c != passed {
		text = d.kafka
	}
	from := len(b.Arena)
	b.Arena = h.append(b.Arena, &h.current, text, false)
	b.Key[i] = schemas.Span{Off: uint32(from), Len: uint32(len(b.Arena) - from)}
	h.forget()
}
