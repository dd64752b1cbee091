package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/weir-risk/weir/schemas"
)

// ErrRate is wrapped by the errors of rate records.
var ErrRate = errors.New("not a rate record")

// ParseRate reads a rate record,
//
//	{"currency":"USD","since":"2026-01-01T00:00:00Z","rate":"0.9132"}
//
// which says that from since on one unit of currency is 0.9132 units of base, a
// code of ISO 4217. The rate is a decimal in a string or a number, above zero, of
// at most 18 digits; the result holds it between minor units in lowest terms.
// Place is left zero; Currency is a copy. Errors wrap [ErrRate].
func ParseRate(value []byte, base string) (schemas.Rate, error) {
	in, err := readRate(value)
	if err != nil {
		return schemas.Rate{}, fmt.Errorf("%w: %w", ErrRate, err)
	}
	r := schemas.Rate{Currency: []byte(in.Currency)}
	from, ok := schemas.CurrencyDigits(r.Currency)
	if !ok || in.Currency == base {
		return schemas.Rate{}, fmt.Errorf("%w: currency %q: expected a code of ISO 4217 other than %s", ErrRate, in.Currency, base)
	}
	to, ok := schemas.CurrencyDigits([]byte(base))
	if !ok {
		return schemas.Rate{}, fmt.Errorf("%w: base currency %q: expected a code of ISO 4217", ErrRate, base)
	}
	var c check
	if r.Since, c = parseTime([]byte(in.Since)); c != passed || r.Since < 0 || r.Since >= timeEnd {
		return schemas.Rate{}, fmt.Errorf("%w: since %q: expected a time of RFC 3339 from 1970 to 2200", ErrRate, in.Since)
	}
	x, ok := parseDecimal([]byte(in.Rate))
	if !ok || x.neg || x.n == 0 {
		return schemas.Rate{}, fmt.Errorf("%w: rate %q: expected a decimal above zero", ErrRate, string(in.Rate))
	}
	// A minor unit is 10^-from units, and there are 10^to minor units of base in one.
	if r.Num, r.Den, ok = x.ratio(int64(to - from)); !ok {
		return schemas.Rate{}, fmt.Errorf("%w: rate %q of %s: more than 18 digits between minor units", ErrRate, string(in.Rate), in.Currency)
	}
	return r, nil
}

// rateRecord is the JSON form of a rate.
type rateRecord struct {
	Currency, Since string
	Rate            json.Number
}

// readRate reads the JSON form key by key: package json takes a key that comes
// twice, and one in other letters, where another reader of the topic takes neither
// or the first of them.
func readRate(value []byte) (in rateRecord, err error) {
	if !utf8.Valid(value) {
		return in, errors.New("broken UTF-8")
	}
	if !json.Valid(value) {
		return in, errors.New("not JSON")
	}
	keys := json.NewDecoder(bytes.NewReader(value))
	if first, err := keys.Token(); err != nil || first != json.Delim('{') {
		return in, errors.New("expected an object")
	}
	fields := map[string]any{"currency": &in.Currency, "since": &in.Since, "rate": &in.Rate}
	for keys.More() {
		token, err := keys.Token()
		if err != nil {
			return in, err
		}
		var other json.RawMessage
		key := token.(string)
		field, known := fields[key]
		switch {
		case !known:
			field = &other
		case field == nil:
			return in, fmt.Errorf("%s comes twice", key)
		default:
			fields[key] = nil
		}
		if err := keys.Decode(field); err != nil {
			return in, fmt.Errorf("%s: %w", key, err)
		}
	}
	return in, nil
}

// ratio returns the number × 10^scale in lowest terms, false where it takes more
// than 18 digits above or below.
func (d *decimal) ratio(scale int64) (num, den int64, ok bool) {
	e := d.exp + scale
	if d.n > 18 || d.n+max(e, 0) > 18 || e < -18 {
		return 0, 0, false
	}
	num, den = int64(d.mant), 1
	if e >= 0 {
		return num * int64(pow10[e]), 1, true
	}
	den = int64(pow10[-e])
	a, b := num, den
	for b != 0 {
		a, b = b, a%b
	}
	return num / a, den / a, true
}
