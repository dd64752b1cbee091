package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota // of the line
	tokWord
	tokNumber
	tokDuration
	tokString
	tokPath
	tokSign
)

// token is one piece of a line.
type token struct {
	kind  tokenKind
	text  string   // as written
	value string   // tokString: without quotes and escapes
	num   float64  // tokNumber
	ms    int64    // tokDuration
	path  []string // tokPath
	off   int      // in the line, bytes
	col   int      // in the line, characters from 1
}

// found is the token as a message names it.
func (t token) found() string {
	switch t.kind {
	case tokEnd:
		return "the end of the line"
	case tokNumber:
		return "the number " + t.text
	case tokDuration:
		return "the duration " + t.text
	case tokString:
		return "the text " + shorten(t.text)
	case tokPath:
		return "the path " + shorten(t.text)
	}
	return strconv.Quote(shorten(t.text))
}

// shorten keeps a message on one line.
func shorten(text string) string {
	if utf8.RuneCountInString(text) <= 60 {
		return text
	}
	return string([]rune(text)[:57]) + "..."
}

// lexer cuts one line into tokens. The first mistake ends the line.
type lexer struct {
	src     string
	pos     int
	toks    []token
	problem *Problem
}

// lexLine returns the tokens of a line, the last one tokEnd, and the first
// mistake in it; Name and Line of the mistake are left to the caller.
func lexLine(src string) ([]token, *Problem) {
	l := lexer{src: src}
	for l.problem == nil && l.next() {
	}
	l.toks = append(l.toks, token{kind: tokEnd, off: l.pos, col: l.col(l.pos)})
	return l.toks, l.problem
}

func (l *lexer) col(off int) int { return utf8.RuneCountInString(l.src[:off]) + 1 }

func (l *lexer) fail(off int, found, expected, remedy string) {
	l.problem = &Problem{Col: l.col(off), Found: found, Expected: expected, Remedy: remedy}
}

func (l *lexer) emit(t token, start int) {
	t.text, t.off, t.col = l.src[start:l.pos], start, l.col(start)
	l.toks = append(l.toks, t)
}

// next takes one token and says whether there may be more.
func (l *lexer) next() bool {
	for l.pos < len(l.src) {
		r, n := utf8.DecodeRuneInString(l.src[l.pos:])
		if !unicode.IsSpace(r) {
			break
		}
		l.pos += n
	}
	if l.pos == len(l.src) || l.src[l.pos] == '#' {
		return false
	}
	switch c := l.src[l.pos]; {
	case isLetter(c):
		l.word()
	case isDigit(c):
		l.number()
	case c == '"':
		start := l.pos
		if value, ok := l.quoted(); ok {
			l.emit(token{kind: tokString, value: value}, start)
		}
	case c == '$':
		l.path()
	default:
		l.sign()
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (l *lexer) word() {
	start := l.pos
	l.pos = l.wordEnd(l.pos)
	l.emit(token{kind: tokWord}, start)
}

func (l *lexer) wordEnd(i int) int {
	for i < len(l.src) && (isLetter(l.src[i]) || isDigit(l.src[i])) {
		i++
	}
	return i
}

func (l *lexer) digitsEnd(i int) int {
	for i < len(l.src) && isDigit(l.src[i]) {
		i++
	}
	return i
}

// number takes a number such as 2.5, or a duration such as 7d or 1h30m.
func (l *lexer) number() {
	start := l.pos
	l.pos = l.digitsEnd(l.pos)
	fraction := false
	if l.pos+1 < len(l.src) && l.src[l.pos] == '.' && isDigit(l.src[l.pos+1]) {
		fraction = true
		l.pos = l.digitsEnd(l.pos + 1)
	}
	if l.pos < len(l.src) && isLetter(l.src[l.pos]) {
		end := l.wordEnd(l.pos)
		if fraction {
			l.fail(start, strconv.Quote(l.src[start:end]), "a number, or a duration in whole units",
				"write 90m rather than 1.5h")
			return
		}
		l.pos = end
		l.duration(start)
		return
	}
	num, err := strconv.ParseFloat(l.src[start:l.pos], 64)
	if err != nil || num > 1e15 {
		l.fail(start, "the number "+shorten(l.src[start:l.pos]), "a number of at most 1000000000000000", "")
		return
	}
	l.emit(token{kind: tokNumber, num: num}, start)
}

// duration reads the digits and units of src[start:pos].
func (l *lexer) duration(start int) {
	total, text := int64(0), l.src[start:l.pos]
	for rest := text; rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return !isDigit(byte(r)) })
		if i < 0 {
			i = len(rest)
		}
		j := i
		for j < len(rest) && !isDigit(rest[j]) {
			j++
		}
		count, err := strconv.ParseInt(rest[:i], 10, 64)
		unit, known := unitOf(rest[i:j])
		if !known {
			l.fail(start, strconv.Quote(shorten(text)), "a duration such as 30m, 24h or 7d",
				"the units are ms, s, m (minutes), h, d and w")
			return
		}
		if err != nil || count > math.MaxInt64/2/week || total > math.MaxInt64/2-count*unit {
			l.fail(start, strconv.Quote(shorten(text)), "a duration of at most 400d", "")
			return
		}
		total += count * unit
		rest = rest[j:]
	}
	l.emit(token{kind: tokDuration, ms: total}, start)
}

func unitOf(name string) (int64, bool) {
	switch name {
	case "ms":
		return 1, true
	case "s":
		return second, true
	case "m":
		return minute, true
	case "h":
		return hour, true
	case "d":
		return day, true
	case "w":
		return week, true
	}
	return 0, false
}

// quoted takes a text in double quotes; \" and \\ are its only escapes.
func (l *lexer) quoted() (string, bool) {
	start := l.pos
	var value []byte
	for l.pos++; l.pos < len(l.src); l.pos++ {
		c := l.src[l.pos]
		switch {
		case c == '"':
			l.pos++
			if len(value) > MaxString {
				l.fail(start, fmt.Sprintf("a text of %d bytes", len(value)),
					fmt.Sprintf("at most %d", MaxString), "")
				return "", false
			}
			return string(value), true
		case c == '\\' && l.pos+1 < len(l.src) && (l.src[l.pos+1] == '"' || l.src[l.pos+1] == '\\'):
			l.pos++
			value = append(value, l.src[l.pos])
		case c == '\\':
			l.fail(l.pos, `a lone \`, `\" or \\`, `write \\ for a backslash`)
			return "", false
		case c < ' ' || c == 0x7f:
			l.fail(l.pos, fmt.Sprintf("the control character %q", c), "a text", "")
			return "", false
		default:
			value = append(value, c)
		}
	}
	l.fail(start, "a text without end", `a closing "`, `end the text with "`)
	return "", false
}

// path takes a JSON path: $.card.pan or $["card data"].pan.
func (l *lexer) path() {
	start := l.pos
	var path []string
	for l.pos++; l.pos < len(l.src); {
		switch l.src[l.pos] {
		case '.':
			end := l.pos + 1
			for end < len(l.src) && (isLetter(l.src[end]) || isDigit(l.src[end]) || l.src[end] == '-') {
				end++
			}
			if end == l.pos+1 {
				l.fail(l.pos, "a path that ends in a dot or goes on with a strange character", "a key",
					`write keys of other characters as $["the key"]`)
				return
			}
			path, l.pos = append(path, l.src[l.pos+1:end]), end
			continue
		case '[':
			if l.pos++; l.pos == len(l.src) || l.src[l.pos] != '"' {
				l.fail(l.pos-1, "[ without a key in quotes", `a key, as in $["the key"]`,
					"only keys of objects can be read, not elements of lists")
				return
			}
			key, ok := l.quoted()
			if !ok {
				return
			}
			if l.pos == len(l.src) || l.src[l.pos] != ']' {
				l.fail(l.pos, "a key without ]", "]", "")
				return
			}
			l.pos++
			path = append(path, key)
			continue
		}
		break
	}
	switch {
	case len(path) == 0:
		l.fail(start, "$ alone", "a JSON path such as $.card.pan", "")
	case len(path) > MaxPath:
		l.fail(start, fmt.Sprintf("a path of %d keys", len(path)), fmt.Sprintf("at most %d", MaxPath), "")
	default:
		l.emit(token{kind: tokPath, path: path}, start)
	}
}

// signs are the longest first.
var signs = [...]string{"==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "(", ")", ",", "×"}

// slips are signs of other languages.
var slips = [...]struct{ sign, remedy string }{
	{"&&", "write and"}, {"||", "write or"}, {"<>", "write !="}, {"!", "write not"}, {"≤", "write <="},
	{"≥", "write >="}, {"≠", "write !="}, {"“", `write plain quotes: "`}, {"”", `write plain quotes: "`},
	{"„", `write plain quotes: "`}, {"'", `write double quotes: "`}, {"–", "write a plain minus: -"},
	{"−", "write a plain minus: -"}, {";", "one declaration a line, without ;"}, {"%", "write a share as a number: 0.05"},
}

func (l *lexer) sign() {
	start, rest := l.pos, l.src[l.pos:]
	for _, s := range slips {
		if strings.HasPrefix(rest, s.sign) && !strings.HasPrefix(rest, "!=") {
			l.fail(start, strconv.Quote(s.sign), "a word, a number, a text in quotes or a sign", s.remedy)
			return
		}
	}
	for _, s := range signs {
		if strings.HasPrefix(rest, s) {
			l.pos += len(s)
			l.emit(token{kind: tokSign}, start)
			return
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	remedy := ""
	if unicode.IsLetter(r) {
		remedy = "names are made of a-z, A-Z, 0-9 and _"
	}
	l.fail(start, strconv.QuoteRune(r), "a word, a number, a text in quotes or a sign", remedy)
}
