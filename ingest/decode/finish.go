package decode

import "github.com/weir-risk/weir/schemas"

// finish settles what needs the whole record: what is missing, the spec's
// constants, and the amount, whose decimals are its currency's.
func (d *Decoder) finish() check {
	b, i := d.batch, d.row
	text := b.Text[i*b.TextWidth : (i+1)*b.TextWidth]
	switch {
	case text[schemas.ID].Len == 0:
		return idMissing
	case !d.timed:
		return timeMissing
	case !d.priced:
		return amountMissing
	}
	for k := range d.constants {
		if t := &d.constants[k]; text[t.col].Len == 0 {
			text[t.col] = b.Intern(t.text)
		}
	}
	currency := b.Bytes(i, schemas.Currency)
	if len(currency) == 0 {
		return currencyMissing
	}
	tx, based, digits := &b.Tx[i], string(currency) == d.base, d.digits
	if !based {
		var ok bool
		if digits, ok = schemas.CurrencyDigits(currency); !ok {
			return currencyUnknown
		}
	}
	if d.minor {
		digits = 0
	}
	amount, c := d.amount.minor(digits)
	if c != passed {
		return c
	}
	if amount < 0 && tx.Type != schemas.Refund && tx.Type != schemas.Reversal {
		return amountNegative
	}
	tx.Amount = amount
	if based {
		tx.AmountBase = amount
	}
	return passed
}
