package wireformat

import (
	"encoding/base64"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/weir-risk/weir/features/spec"
)

const hexDigits = "0123456789abcdef"

// appendString appends a text, which is UTF-8, as a JSON string.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = appendEscaped(append(dst, s[from:i]...), c)
		from = i + 1
	}
	return append(append(dst, s[from:]...), '"')
}

// appendEscaped appends the escape of a quote, a backslash or a control character.
func appendEscaped(dst []byte, c byte) []byte {
	if c < 0x20 {
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '\\', c)
}

// appendBytes appends a string that has a character for each byte, as the JSON
// encoding of Avro does.
func appendBytes(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c < 0x20 || c == '"' || c == '\\':
			dst = appendEscaped(dst, c)
		default:
			dst = utf8.AppendRune(dst, rune(c))
		}
	}
	return append(dst, '"')
}

// appendBase64 appends a string of base64, as the JSON mapping of Protobuf does.
func appendBase64(dst, s []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), s), '"')
}

// appendFloat appends a floating-point number of so many bits.
func appendFloat(dst []byte, f float64, size int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, size)
}

// appendUUID appends 16 bytes in the usual five groups.
func appendUUID(dst, s []byte) []byte {
	dst = append(dst, '"')
	for i, c := range s {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '"')
}

// appendExponent appends what makes units of 10^e of an integer before it.
func appendExponent(dst []byte, e int64) []byte {
	if e == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, 'e'), e, 10)
}

// decimalMax is the most bytes of a decimal: 154 digits. Its text takes a time
// that grows with the square of its length.
const decimalMax = 64

// appendDecimal appends an integer of two's complement, big-endian, in units of
// 10^-scale; of no bytes it is 0.
func appendDecimal(dst, s []byte, scale int64) (text []byte, ok bool) {
	if len(s) > decimalMax {
		return dst, false
	}
	neg := len(s) > 0 && s[0]&0x80 != 0
	var words [decimalMax / 8]uint64 // the least first
	for i, c := range s {
		if neg {
			c = ^c
		}
		at := len(s) - 1 - i
		words[at/8] |= uint64(c) << (at % 8 * 8)
	}
	if neg { // the magnitude is the complement and 1
		dst = append(dst, '-')
		carry := uint64(1)
		for i := range words {
			words[i], carry = bits.Add64(words[i], 0, carry)
		}
	}
	return appendExponent(appendWords(dst, &words), -scale), true
}

// appendWords appends the digits of an integer, which it uses up.
func appendWords(dst []byte, words *[decimalMax / 8]uint64) []byte {
	const chunk, digits = 1e19, 19 // what a word holds of whole digits
	from, more := len(dst), true
	for more {
		var rest uint64
		more = false
		for i, w := range slices.Backward(words[:]) {
			words[i], rest = bits.Div64(rest, w, chunk)
			more = more || words[i] != 0
		}
		for n := 0; rest > 0 || n == 0 || more && n < digits; n++ {
			dst = append(dst, '0'+byte(rest%10))
			rest /= 10
		}
	}
	slices.Reverse(dst[from:])
	return dst
}

// The years of RFC 3339, in seconds since 1970.
const (
	secondsMin = -62135596800 // 0001-01-01T00:00:00Z
	secondsMax = 253402300799 // 9999-12-31T23:59:59Z
)

// epochExponent is the unit of each form of times, as a power of ten of seconds.
var epochExponent = [...]int64{spec.EpochSec: 0, spec.EpochMilli: -3, spec.EpochMicro: -6}

// appendTime appends an instant in the form that the spec's time has. nanos are 0
// to 999,999,999, of an instant before 1970 too. A year that RFC 3339 does not have
// is not ok.
func appendTime(dst []byte, form spec.TimeForm, seconds, nanos int64) (text []byte, ok bool) {
	if seconds < secondsMin || seconds > secondsMax {
		return dst, false
	}
	if form == spec.RFC3339 {
		return appendLayout(dst, `"2006-01-02T15:04:05.999999999Z"`, seconds, nanos), true
	}
	if seconds < 0 && nanos > 0 { // the sign is of the whole
		seconds, nanos = seconds+1, 1e9-nanos
		if seconds == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, seconds, 10)
	if nanos > 0 {
		dst = append(dst, '.')
		for unit := int64(1e8); unit > 0; unit /= 10 {
			dst = append(dst, '0'+byte(nanos/unit%10))
		}
	}
	return appendExponent(dst, -epochExponent[form]), true
}

// appendLayout appends an instant by a layout of package time.
func appendLayout(dst []byte, layout string, seconds, nanos int64) []byte {
	return time.Unix(seconds, nanos).UTC().AppendFormat(dst, layout)
}
