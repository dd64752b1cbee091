package decode

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// oracle decodes records of malformed.spec by encoding/json, big rationals and
// the time package, slowly and with nothing in common with the decoder.
type oracle struct {
	spec *spec.Spec
	key  Key

	fault  schemas.Reason
	seen   map[string]bool
	tx     schemas.Transaction
	text   [schemas.NumText]string
	risk   float64
	timed  bool
	amount string
}

var escapes = regexp.MustCompile(`\\(u[dD][89abAB]..(\\u[dD][c-fC-F]..)?|u....|.)`)

// syntax returns the reasons for which a record may be refused before any field
// is looked at: none where it is JSON as this package wants it, several where it
// is wrong in several ways.
func (o *oracle) syntax(data []byte) map[schemas.Reason]bool {
	wrong := map[schemas.Reason]bool{}
	if !json.Valid(data) {
		dec := json.NewDecoder(bytes.NewReader(data))
		var v json.RawMessage
		first := dec.Decode(&v) == nil
		wrong[schemas.TrailingBytes] = first
		// 00 is a 0 with bytes behind it, or no number: either will do.
		wrong[schemas.BadJSON] = !first || v[0] != '{' && v[0] != '[' && v[0] != '"'
	}
	if !utf8.Valid(data) {
		wrong[schemas.BadUTF8] = true
	}
	for _, e := range escapes.FindAll(data, -1) {
		if s := strings.ToLower(string(e)); len(s) == 6 && s[1] == 'u' && s[2] == 'd' && s[3] >= '8' {
			wrong[schemas.BadUTF8] = true
		}
	}
	depth, quoted, deep := 0, false, false
	for k := 0; k < len(data); k++ {
		switch c := data[k]; {
		case quoted && c == '\\':
			k++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deep = deep || depth > o.spec.Input.MaxDepth
		case c == '}' || c == ']':
			depth--
		}
	}
	if deep {
		wrong[schemas.TooDeep] = true
	}
	return wrong
}

// decode decodes a record without an error of syntax.
func (o *oracle) decode(data []byte, timestamp int64) schemas.Reason {
	*o = oracle{spec: o.spec, key: o.key, seen: map[string]bool{}, risk: math.NaN()}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		panic(err)
	}
	if first != json.Delim('{') {
		return schemas.NotObject
	}
	o.members(dec, "", timestamp)
	switch {
	case o.fault != schemas.NoReason:
		return o.fault
	case o.text[schemas.ID] == "":
		return schemas.MissingID
	case !o.timed:
		return schemas.MissingTime
	case o.amount == "":
		return schemas.MissingAmount
	}
	digits, ok := schemas.CurrencyDigits([]byte(o.text[schemas.Currency]))
	if !ok {
		return schemas.BadCurrency
	}
	return o.finish(digits)
}

func (o *oracle) finish(digits int) schemas.Reason {
	v, huge := rational(o.amount)
	limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil))
	v.Mul(v, new(big.Rat).SetInt64(int64(math.Pow10(digits))))
	switch {
	case huge > 0 || new(big.Rat).Abs(v).Cmp(limit) >= 0:
		return schemas.AmountRange
	case huge < 0 || !v.IsInt():
		return schemas.AmountPrecision
	case v.Sign() < 0 && o.tx.Type != schemas.Refund && o.tx.Type != schemas.Reversal:
		return schemas.NegativeAmount
	}
	o.tx.Amount = v.Num().Int64()
	if o.text[schemas.Currency] == o.spec.Base {
		o.tx.AmountBase = o.tx.Amount
	}
	return schemas.NoReason
}

// rational returns the number of a decimal text; where its exponent is so far
// out that no mantissa of a record makes up for it, the exponent's sign instead.
func rational(text string) (*big.Rat, int) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	v, ok := new(big.Rat).SetString(mantissa)
	if !ok {
		panic("no mantissa: " + text)
	}
	e, err := strconv.Atoi(exponent)
	if exponent == "" || v.Sign() == 0 {
		return v, 0
	}
	if err != nil || e > 10000 || e < -10000 {
		if strings.HasPrefix(exponent, "-") {
			return v, -1
		}
		return v, 1
	}
	ten := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(e, -e))), nil))
	if e < 0 {
		ten.Inv(ten)
	}
	return v.Mul(v, ten), 0
}

func (o *oracle) note(r schemas.Reason) {
	if o.fault == schemas.NoReason {
		o.fault = r
	}
}

// wrongType are the reasons of values of a wrong type; it names what is wanted.
var wrongType = map[string]schemas.Reason{"id": schemas.BadID, "type": schemas.BadType, "status": schemas.BadStatus,
	"time": schemas.BadTime, "amount": schemas.BadAmount, "currency": schemas.BadCurrency, "card": schemas.BadSecret,
	"card.pan": schemas.BadSecret, "customer": schemas.BadText, "country": schemas.BadText, "risk": schemas.BadNumber}

// members reads members up to the end of the object.
func (o *oracle) members(dec *json.Decoder, under string, timestamp int64) {
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			panic(err)
		}
		path := under + token.(string)
		wrong, wanted := wrongType[path]
		if under == "" && strings.Contains(path, ".") {
			wanted = false
		}
		if wanted && o.seen[path] {
			o.note(schemas.DuplicateKey)
			wanted = false
		}
		var raw json.RawMessage
		if !wanted {
			if err := dec.Decode(&raw); err != nil {
				panic(err)
			}
			continue
		}
		o.seen[path] = true
		if path == "card" {
			o.card(dec, timestamp)
			continue
		}
		var v any
		if err := dec.Decode(&v); err != nil {
			panic(err)
		}
		switch v := v.(type) {
		case nil:
		case string:
			o.take(path, v, true, timestamp)
		case json.Number:
			o.take(path, v.String(), false, timestamp)
		default:
			o.note(wrong)
		}
	}
	if _, err := dec.Token(); err != nil && err != io.EOF {
		panic(err)
	}
}

func (o *oracle) card(dec *json.Decoder, timestamp int64) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		panic(err)
	}
	switch {
	case raw[0] == '{':
		inner := json.NewDecoder(bytes.NewReader(raw))
		inner.UseNumber()
		if _, err := inner.Token(); err != nil {
			panic(err)
		}
		o.members(inner, "card.", timestamp)
	case raw[0] != 'n':
		o.note(schemas.BadSecret)
	}
}

var (
	wholeForm   = regexp.MustCompile(`^-?[0-9]+$`)
	decimalForm = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	timePattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$`)
)

// take takes a field from a string or from a number's literal.
func (o *oracle) take(path, v string, quoted bool, timestamp int64) {
	switch path {
	case "time":
		o.time(v, quoted, timestamp)
		return
	case "amount":
		if o.amount = v; !decimalForm.MatchString(v) {
			o.note(schemas.BadAmount)
			o.amount = ""
		}
		return
	case "risk":
		x, err := strconv.ParseFloat(v, 64)
		switch {
		case !decimalForm.MatchString(v):
			o.note(schemas.BadNumber)
		case err != nil:
			o.note(schemas.NumberRange)
		default:
			o.risk = x
		}
		return
	}
	if !quoted && (!wholeForm.MatchString(v) || path == "country" || path == "currency") {
		o.note(wrongType[path])
		return
	}
	switch path {
	case "type":
		k, ok := schemas.ParseTxType(v)
		if o.tx.Type = k; !ok {
			o.note(schemas.BadType)
		}
	case "status":
		k, ok := schemas.ParseStatus(v)
		if o.tx.Status = k; !ok {
			o.note(schemas.BadStatus)
		}
	case "card.pan":
		o.pan(v, quoted)
	default:
		f, _ := schemas.ParseTextField(path)
		if len(v) > TextMax || f == schemas.ID && v == "" {
			o.note(map[string]schemas.Reason{"id": schemas.BadID, "currency": schemas.BadCurrency,
				"customer": schemas.TextTooLong, "country": schemas.TextTooLong}[path])
			return
		}
		o.text[f] = v
	}
}

func (o *oracle) pan(v string, quoted bool) {
	if v == "" {
		return
	}
	if !quoted && v[0] == '-' || len(v) > TextMax {
		o.note(schemas.BadSecret)
		return
	}
	v = strings.NewReplacer(" ", "", "-", "").Replace(v)
	if len(v) < 12 || len(v) > 19 || !wholeForm.MatchString(v) {
		o.note(schemas.BadSecret)
		return
	}
	mac := hmac.New(sha256.New, o.key.Secret)
	mac.Write([]byte(v))
	o.text[schemas.Card] = o.key.ID + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]) +
		"." + v[:6] + "." + v[len(v)-4:]
}

func (o *oracle) time(v string, quoted bool, timestamp int64) {
	if !quoted || !timePattern.MatchString(v) {
		o.note(schemas.BadTime)
		return
	}
	leap := v[17:19] == "60"
	s := strings.ToUpper(v[:10] + "T" + v[11:])
	if leap {
		s = s[:17] + "59" + s[19:]
	}
	if !strings.HasSuffix(s, "Z") && !slices.Contains([]byte("+-"), s[max(len(s)-6, 0)]) {
		s += "Z"
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || leap && t.UTC().Format("15:04:05") != "23:59:59" {
		o.note(schemas.BadTime)
		return
	}
	if leap {
		t = t.Add(time.Second)
	}
	ms := t.UnixMilli()
	switch {
	case ms < 0 || ms >= time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli():
		o.note(schemas.AbsurdTime)
	case timestamp >= 0 && ms > timestamp+o.spec.FutureMax:
		o.note(schemas.FutureTime)
	default:
		o.tx.Time, o.timed = ms, true
	}
}
