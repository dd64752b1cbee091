package decode

import (
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// fromText takes a field from the raw bytes of a string.
func (d *Decoder) fromText(l *leaf, raw []byte, escaped bool) {
	if l.kind == textKind {
		d.setText(l, raw, escaped)
		return
	}
	if escaped {
		d.scratch = unescape(d.scratch[:0], raw)
		raw = d.scratch
	}
	switch l.kind {
	case secretKind:
		d.setSecret(l, raw)
		clear(d.scratch) // nothing secret stays longer than it must
	case timeKind:
		d.setTime(raw, true)
	case amountKind:
		d.setAmount(raw)
	case typeKind:
		if v, ok := d.types.find(raw); ok {
			d.batch.Tx[d.row].Type = schemas.TxType(v)
		} else {
			d.note(typeUnknown)
		}
	case statusKind:
		if v, ok := d.statuses.find(raw); ok {
			d.batch.Tx[d.row].Status = schemas.Status(v)
		} else {
			d.note(statusUnknown)
		}
	case numberKind:
		d.setNumber(l, raw)
	}
}

// fromNumber takes a field from a JSON number.
func (d *Decoder) fromNumber(l *leaf, raw []byte, whole bool) {
	switch l.kind {
	case timeKind:
		d.setTime(raw, false)
	case amountKind:
		d.setAmount(raw)
	case numberKind:
		d.setNumber(l, raw)
	default:
		if !whole || !l.whole {
			d.note(l.fraction)
			return
		}
		if l.card && raw[0] == '-' {
			d.note(secretForm) // in a string it would pass for a dash
			return
		}
		d.fromText(l, raw, false)
	}
}

func (e *enum) find(text []byte) (uint8, bool) {
	k := e.names.find(text)
	if k < 0 {
		return 0, false
	}
	return e.numbers[k], true
}

// setText copies a text into the batch.
func (d *Decoder) setText(l *leaf, raw []byte, escaped bool) {
	b := d.batch
	from := len(b.Arena)
	if escaped {
		b.Arena = unescape(b.Arena, raw)
	} else {
		b.Arena = append(b.Arena, raw...)
	}
	n := len(b.Arena) - from
	switch {
	case n > TextMax:
		b.Arena = b.Arena[:from]
		d.note(l.long)
	case n > 0:
		b.Text[d.row*b.TextWidth+l.col] = schemas.Span{Off: uint32(from), Len: uint32(n)}
	case l.col == int(schemas.ID):
		d.note(idEmpty)
	}
}

// setSecret puts the token of a text into the batch, and for a card that under
// the previous key.
func (d *Decoder) setSecret(l *leaf, text []byte) {
	b, h := d.batch, d.hasher
	if len(text) == 0 {
		return
	}
	if len(text) > TextMax {
		d.note(l.long)
		return
	}
	if l.card {
		var c check
		if text, c = h.normalise(text); c != passed {
			d.note(c)
			return
		}
	}
	from := len(b.Arena)
	b.Arena = h.append(b.Arena, &h.current, text, l.keepBIN)
	token := schemas.Span{Off: uint32(from), Len: uint32(len(b.Arena) - from)}
	b.Text[d.row*b.TextWidth+l.col] = token
	if d.keyIs(l, text) {
		b.Key[d.row] = token
	}
	if l.card && h.previous.mac != nil {
		from = len(b.Arena)
		b.Arena = h.append(b.Arena, &h.previous, text, l.keepBIN)
		b.PrevCard[d.row] = schemas.Span{Off: uint32(from), Len: uint32(len(b.Arena) - from)}
	}
	h.forget()
}

// epochScale is what makes milliseconds of a number of each form.
var epochScale = [...]int64{spec.EpochSec: 3, spec.EpochMilli: 0, spec.EpochMicro: -3}

func (d *Decoder) setTime(raw []byte, quoted bool) {
	var ms int64
	var c check
	if d.timeForm == spec.RFC3339 {
		if !quoted {
			d.note(timeType)
			return
		}
		ms, c = parseTime(raw)
	} else {
		x, ok := parseDecimal(raw)
		if !ok {
			d.note(timeEpoch)
			return
		}
		ms, c = x.millis(epochScale[d.timeForm])
	}
	switch {
	case c != passed:
		d.note(c)
		return
	case ms < 0:
		d.note(timeEarly)
		return
	case ms >= timeEnd:
		d.note(timeLate)
		return
	}
	if at := d.batch.Place[d.row].Timestamp; at >= 0 && ms-d.futureMs > at {
		d.note(timeFuture)
		return
	}
	d.batch.Tx[d.row].Time, d.timed = ms, true
}

// setAmount keeps the amount as it is written: how many decimals it may have is
// known when the currency is.
func (d *Decoder) setAmount(raw []byte) {
	if d.amount, d.priced = parseDecimal(raw); !d.priced {
		d.note(amountForm)
	}
}

func (d *Decoder) setNumber(l *leaf, raw []byte) {
	x, ok := parseDecimal(raw)
	if !ok {
		d.note(numberForm)
		return
	}
	v, c := x.float(raw)
	if c != passed {
		d.note(c)
		return
	}
	d.batch.Number[d.row*d.batch.NumberWidth+l.col] = v
}
