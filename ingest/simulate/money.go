package simulate

import "github.com/weir-risk/weir/schemas"

const rateUnit = 1_000_000

// amountMax bounds amounts in minor units of the base currency, so that their
// products with a rate's denominator fit in 64 bits.
const amountMax = 1e9

// ratio returns what one minor unit of the currency is worth in minor units of
// a base currency with so many decimals, in lowest terms.
func (c *Currency) ratio(baseDigits int) (num, den int64) {
	num, den = c.Rate, rateUnit
	for range baseDigits {
		num *= 10
	}
	for range c.Digits {
		den *= 10
	}
	a, b := num, den
	for b != 0 {
		a, b = b, a%b
	}
	return num / a, den / a
}

// Rates returns the exchange rates of the bank's world, each in force since
// 1970, as a decoder has them from what [Currency.AppendRate] writes.
func (c *Config) Rates() []schemas.Rate {
	digits := 0
	for i := range c.Currencies {
		if c.Currencies[i].Code == c.BaseCurrency {
			digits = c.Currencies[i].Digits
		}
	}
	var rates []schemas.Rate
	for i := range c.Currencies {
		if cur := &c.Currencies[i]; cur.Code != c.BaseCurrency {
			num, den := cur.ratio(digits)
			rates = append(rates, schemas.Rate{Currency: []byte(cur.Code), Num: num, Den: den})
		}
	}
	return rates
}

// AppendRate appends the currency's rate as the rates topic takes it, under the
// currency's code as key: one object, no line end.
func (c *Currency) AppendRate(dst []byte) []byte {
	dst = append(append(dst, `{"currency":"`...), c.Code...)
	dst = append(dst, `","since":"1970-01-01T00:00:00Z","rate":"`...)
	return append(appendAmount(dst, c.Rate, 6), `"}`...)
}

// money sets the amount of tx to what major units of the base currency, at
// prices of the bank's first day, are worth.
func (b *Bank) money(tx *Transaction, major float64) {
	w := b.world
	years := float64(tx.Time-b.start) / float64(yearMs)
	major *= 1 + float64(b.cfg.Drift.Inflation*years)
	for range w.currencies[w.base].Digits {
		major *= 10
	}
	minor := int64(min(major, amountMax) + 0.5)
	for i := range w.currencies {
		if string(tx.Currency[:]) == w.currencies[i].Code {
			num, den := w.num[i], w.den[i]
			minor = (minor*den + num/2) / num
			break
		}
	}
	tx.Amount = max(minor, 1)
}
