package decode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner checks the syntax of JSON. Its methods take a position and return the
// one behind what they read, or -1 with the check that failed in why.
type scanner struct {
	data     []byte
	depthMax int
	why      check
}

func (s *scanner) stop(c check) int {
	s.why = c
	return -1
}

func (s *scanner) space(at int) int {
	for at < len(s.data) {
		if c := s.data[at]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return at
		}
		at++
	}
	return at
}

// skip reads a value of any kind that nothing wants, at a depth.
func (s *scanner) skip(at, depth int) int {
	if at >= len(s.data) {
		return s.stop(valueUnended)
	}
	switch c := s.data[at]; {
	case c == '"':
		at, _ = s.text(at + 1)
		return at
	case c == '{':
		return s.skipObject(at+1, depth+1)
	case c == '[':
		return s.array(at+1, depth+1)
	case c == '-' || c-'0' <= 9:
		at, _ = s.number(at)
		return at
	}
	return s.literal(at)
}

// array reads elements from behind the bracket.
func (s *scanner) array(at, depth int) int {
	if depth > s.depthMax {
		return s.stop(arrayDeep)
	}
	if at = s.space(at); at < len(s.data) && s.data[at] == ']' {
		return at + 1
	}
	for {
		if at >= len(s.data) {
			return s.stop(arrayUnended)
		}
		if at = s.skip(at, depth); at < 0 {
			return -1
		}
		if at = s.space(at); at >= len(s.data) {
			return s.stop(arrayUnended)
		}
		switch s.data[at] {
		case ']':
			return at + 1
		case ',':
			if at = s.space(at + 1); at < len(s.data) && s.data[at] == ']' {
				return s.stop(arrayTrailing)
			}
		default:
			return s.stop(arrayComma)
		}
	}
}

// skipObject reads members from behind the brace.
func (s *scanner) skipObject(at, depth int) int {
	if depth > s.depthMax {
		return s.stop(objectDeep)
	}
	if at = s.space(at); at < len(s.data) && s.data[at] == '}' {
		return at + 1
	}
	for {
		_, next, _ := s.key(at)
		if next < 0 {
			return -1
		}
		if next = s.skip(next, depth); next < 0 {
			return -1
		}
		var more bool
		if at, more = s.member(next); !more {
			return at
		}
	}
}

// key reads a key and its colon and returns its raw bytes and where the value
// begins.
func (s *scanner) key(at int) (raw []byte, next int, escaped bool) {
	if at >= len(s.data) {
		return nil, s.stop(objectUnended), false
	}
	if s.data[at] != '"' {
		return nil, s.stop(keyUnquoted), false
	}
	from := at + 1
	if at, escaped = s.text(from); at < 0 {
		return nil, -1, false
	}
	raw = s.data[from : at-1]
	if at = s.space(at); at >= len(s.data) || s.data[at] != ':' {
		return nil, s.stop(keyColon), false
	}
	return raw, s.space(at + 1), escaped
}

// member reads what is behind a member: a comma and there is more, or the end of
// the object.
func (s *scanner) member(at int) (next int, more bool) {
	if at = s.space(at); at >= len(s.data) {
		return s.stop(objectUnended), false
	}
	switch s.data[at] {
	case '}':
		return at + 1, false
	case ',':
		if at = s.space(at + 1); at < len(s.data) && s.data[at] == '}' {
			return s.stop(objectTrailing), false
		}
		return at, true
	}
	return s.stop(objectComma), false
}

// literal reads true, false or null.
func (s *scanner) literal(at int) int {
	if at >= len(s.data) {
		return s.stop(valueUnended)
	}
	word := ""
	switch s.data[at] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return s.stop(valueMissing)
	}
	if len(s.data)-at < len(word) || string(s.data[at:at+len(word)]) != word {
		return s.stop(literalUnknown)
	}
	return at + len(word)
}

// number reads a number and says whether it is written as an integer.
func (s *scanner) number(at int) (next int, whole bool) {
	if s.data[at] == '-' {
		at++
	}
	first := at
	if at = s.digits(at); at == first {
		return s.stop(numberEmpty), false
	}
	if s.data[first] == '0' && at > first+1 {
		return s.stop(numberZero), false
	}
	whole = true
	if at < len(s.data) && s.data[at] == '.' {
		whole, first = false, at+1
		if at = s.digits(first); at == first {
			return s.stop(numberPoint), false
		}
	}
	if at < len(s.data) && s.data[at]|0x20 == 'e' {
		whole, first = false, at+1
		if first < len(s.data) && (s.data[first] == '+' || s.data[first] == '-') {
			first++
		}
		if at = s.digits(first); at == first {
			return s.stop(numberExponent), false
		}
	}
	return at, whole
}

func (s *scanner) digits(at int) int {
	for at < len(s.data) && s.data[at]-'0' <= 9 {
		at++
	}
	return at
}

// text reads a string from behind its opening quote and says whether it holds
// escapes; its raw bytes end one before next.
func (s *scanner) text(at int) (next int, escaped bool) {
	for {
		at = plain(s.data, at)
		if at >= len(s.data) {
			return s.stop(textUnended), escaped
		}
		switch c := s.data[at]; {
		case c == '"':
			return at + 1, escaped
		case c == '\\':
			escaped = true
			at = s.escape(at + 1)
		case c < 0x20:
			at = s.stop(textControl)
		default:
			at = s.runes(at)
		}
		if at < 0 {
			return -1, escaped
		}
	}
}

// plain returns the first position from at on of a quote, a backslash, a control
// character or a byte that is not ASCII; eight bytes at a time. In each of the
// four masks a borrow can only mark bytes above a right mark, so that the lowest
// mark of all is right.
func plain(data []byte, at int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for at+8 <= len(data) {
		x := binary.LittleEndian.Uint64(data[at:])
		quote, slash := x^ones*'"', x^ones*'\\'
		m := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*0x20)&^x | x) & highs
		if m != 0 {
			return at + bits.TrailingZeros64(m)>>3
		}
		at += 8
	}
	for at < len(data) {
		if c := data[at]; c == '"' || c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			break
		}
		at++
	}
	return at
}

// runes reads characters beyond ASCII.
func (s *scanner) runes(at int) int {
	for at < len(s.data) && s.data[at] >= utf8.RuneSelf {
		_, n := utf8.DecodeRune(s.data[at:])
		if n == 1 {
			return s.stop(textUTF8)
		}
		at += n
	}
	return at
}

// escape reads an escape from behind its backslash; a surrogate with its other
// half.
func (s *scanner) escape(at int) int {
	if at >= len(s.data) {
		return s.stop(textUnended)
	}
	switch s.data[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 1
	case 'u':
	default:
		return s.stop(escapeUnknown)
	}
	high := hex4(s.data, at+1)
	switch {
	case high < 0:
		return s.stop(escapeHex)
	case high < 0xd800 || high >= 0xe000:
		return at + 5
	case high >= 0xdc00:
		return s.stop(surrogateLow)
	case at+6 >= len(s.data) || s.data[at+5] != '\\' || s.data[at+6] != 'u':
		return s.stop(surrogateHigh)
	}
	low := hex4(s.data, at+7)
	if low < 0 {
		return s.stop(escapeHex)
	}
	if low < 0xdc00 || low >= 0xe000 {
		return s.stop(surrogatePair)
	}
	return at + 11
}

// hex4 returns the number of four hexadecimal digits, -1 where they are not there.
func hex4(data []byte, at int) rune {
	if at+4 > len(data) {
		return -1
	}
	var r rune
	for _, c := range data[at : at+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends the text of a string's raw bytes, which text has read.
func unescape(dst, raw []byte) []byte {
	for at := 0; at < len(raw); {
		c := raw[at]
		if c != '\\' {
			dst = append(dst, c)
			at++
			continue
		}
		c = raw[at+1]
		at += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(raw, at)
			at += 4
			if r >= 0xd800 && r < 0xdc00 {
				r = (r-0xd800)<<10 + hex4(raw, at+2) - 0xdc00 + 0x10000
				at += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
