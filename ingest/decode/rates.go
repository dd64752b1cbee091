package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// RatesMax is the most rates that are kept of a currency: eleven years of daily
// ones. Beyond it the oldest is forgotten.
const RatesMax = 4096

// amountMax is the largest amount: 18 digits of minor units.
const amountMax = 1e18 - 1

// ErrRates is wrapped by the errors of stored rates that cannot be loaded.
var ErrRates = errors.New("stored rates are damaged")

// Rates are the dated exchange rates to the base currency. The zero Rates holds
// none. It belongs to one goroutine.
type Rates struct {
	list []dated // by currency, then since; each pair once
}

// dated is one rate: from since (ms) on one minor unit of currency is num/den
// minor units of the base currency.
type dated struct {
	currency uint32 // its three letters, big-endian
	since    int64
	num, den int64
}

// compare orders by currency and since.
func (d dated) compare(o dated) int {
	switch {
	case d.currency != o.currency:
		return int(d.currency) - int(o.currency)
	case d.since < o.since:
		return -1
	case d.since > o.since:
		return 1
	}
	return 0
}

func letters(code []byte) uint32 {
	if len(code) != 3 {
		return 0
	}
	return uint32(code[0])<<16 | uint32(code[1])<<8 | uint32(code[2])
}

// Len returns the number of rates.
func (r *Rates) Len() int { return len(r.list) }

// Set enters a rate; one of the same currency and time is replaced. A rate that
// is none (no currency of three letters, not above zero) changes nothing, so that
// whatever a ledger holds can be folded.
func (r *Rates) Set(rate *schemas.Rate) {
	d := dated{letters(rate.Currency), rate.Since, rate.Num, rate.Den}
	if d.currency == 0 || d.num <= 0 || d.den <= 0 {
		return
	}
	at, found := slices.BinarySearchFunc(r.list, d, dated.compare)
	if found {
		r.list[at] = d
		return
	}
	first, _ := slices.BinarySearchFunc(r.list[:at], dated{currency: d.currency, since: -1 << 63}, dated.compare)
	last := at
	for last-first < RatesMax && last < len(r.list) && r.list[last].currency == d.currency {
		last++
	}
	if last-first < RatesMax {
		r.list = slices.Insert(r.list, at, d)
		return
	}
	if at > first { // forget the oldest: the others of before move down into its place
		copy(r.list[first:at-1], r.list[first+1:at])
		r.list[at-1] = d
	}
}

// Convert returns amount, minor units of currency, in minor units of the base
// currency by the rate that holds at a time (ms), half to even; false where there
// is no rate, or the result is beyond 18 digits.
func (r *Rates) Convert(currency []byte, amount, at int64) (int64, bool) {
	code := letters(currency)
	k, found := slices.BinarySearchFunc(r.list, dated{currency: code, since: at}, dated.compare)
	if !found {
		k--
	}
	if k < 0 || r.list[k].currency != code {
		return 0, false
	}
	size := uint64(amount)
	if amount < 0 {
		size = -size
	}
	num, den := uint64(r.list[k].num), uint64(r.list[k].den)
	high, low := bits.Mul64(size, num)
	if high >= den {
		return 0, false
	}
	whole, rest := bits.Div64(high, low, den)
	// den is below 2^63, so that twice the rest does not overflow.
	if rest *= 2; rest > den || rest == den && whole&1 != 0 {
		whole++
	}
	if whole > amountMax {
		return 0, false
	}
	if amount < 0 {
		return -int64(whole), true
	}
	return int64(whole), true
}

// The stored form: a byte of version, then for each rate, in order, currency (3
// letters), since, num and den (8 bytes each, little-endian).
const (
	ratesVersion = 1
	rateBytes    = 3 + 3*8
)

// AppendTo appends the stored form: the same rates give the same bytes.
func (r *Rates) AppendTo(dst []byte) []byte {
	dst = append(dst, ratesVersion)
	for _, d := range r.list {
		dst = append(dst, byte(d.currency>>16), byte(d.currency>>8), byte(d.currency))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.since))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.num))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.den))
	}
	return dst
}

// Load replaces the rates by stored ones. Errors wrap [ErrRates] and change
// nothing.
func (r *Rates) Load(src []byte) error {
	if len(src) < 1 || src[0] != ratesVersion || (len(src)-1)%rateBytes != 0 {
		return fmt.Errorf("%w: %d bytes of another version or length", ErrRates, len(src))
	}
	src = src[1:]
	list, run := make([]dated, 0, len(src)/rateBytes), 0
	for ; len(src) > 0; src = src[rateBytes:] {
		d := dated{
			currency: letters(src[:3]),
			since:    int64(binary.LittleEndian.Uint64(src[3:])),
			num:      int64(binary.LittleEndian.Uint64(src[11:])),
			den:      int64(binary.LittleEndian.Uint64(src[19:])),
		}
		n := len(list)
		if run++; n == 0 || list[n-1].currency != d.currency {
			run = 1
		}
		if d.currency == 0 || d.num <= 0 || d.den <= 0 || run > RatesMax || n > 0 && list[n-1].compare(d) >= 0 {
			return fmt.Errorf("%w: rate %d of %s", ErrRates, n, src[:3])
		}
		list = append(list, d)
	}
	r.list = list
	return nil
}
