package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unsafe"
)

// ErrJSON is wrapped by every error of a label, alert, disposition or audit entry
// that is not in its JSON form.
var ErrJSON = errors.New("not in its JSON form")

// flatObject calls take with each key and raw value of a JSON object without
// nested values. Strings come without their quotes, quoted is set, and escapes
// are resolved. It is what labels need and several times faster than reflection.
func flatObject(src []byte, take func(key, value []byte, quoted bool) error) error {
	p := flatParser{src: src}
	if err := p.expect('{'); err != nil {
		return err
	}
	if p.space(); p.at < len(p.src) && p.src[p.at] == '}' {
		p.at++
		return p.end()
	}
	for {
		p.space()
		key, err := p.text()
		if err != nil {
			return err
		}
		if err := p.expect(':'); err != nil {
			return err
		}
		p.space()
		value, quoted, err := p.value()
		if err != nil {
			return err
		}
		if err := take(key, value, quoted); err != nil {
			return err
		}
		p.space()
		if p.at < len(p.src) && p.src[p.at] == ',' {
			p.at++
			continue
		}
		if err := p.expect('}'); err != nil {
			return err
		}
		return p.end()
	}
}

type flatParser struct {
	src []byte
	at  int
}

func (p *flatParser) space() {
	for p.at < len(p.src) {
		switch p.src[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *flatParser) expect(c byte) error {
	p.space()
	if p.at >= len(p.src) || p.src[p.at] != c {
		return fmt.Errorf("%w: byte %d: expected %q", ErrJSON, p.at, c)
	}
	p.at++
	return nil
}

func (p *flatParser) end() error {
	if p.space(); p.at != len(p.src) {
		return fmt.Errorf("%w: byte %d: bytes after the object", ErrJSON, p.at)
	}
	return nil
}

// text parses a string.
func (p *flatParser) text() ([]byte, error) {
	if p.at >= len(p.src) || p.src[p.at] != '"' {
		return nil, fmt.Errorf("%w: byte %d: expected a string", ErrJSON, p.at)
	}
	start := p.at
	for i := start + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '\\':
			i++
		case c < 0x20:
			return nil, fmt.Errorf("%w: byte %d: a control character in a string", ErrJSON, i)
		case c == '"':
			p.at = i + 1
			raw := p.src[start+1 : i : i]
			if bytes.IndexByte(raw, '\\') < 0 {
				return raw, nil
			}
			var s string
			if err := json.Unmarshal(p.src[start:i+1], &s); err != nil {
				return nil, fmt.Errorf("%w: byte %d: %w", ErrJSON, start, err)
			}
			return []byte(s), nil
		}
	}
	return nil, fmt.Errorf("%w: byte %d: a string without an end", ErrJSON, start)
}

// value parses a string, a number or a literal.
func (p *flatParser) value() (value []byte, quoted bool, err error) {
	if p.at < len(p.src) && p.src[p.at] == '"' {
		value, err = p.text()
		return value, true, err
	}
	start := p.at
	for p.at < len(p.src) && bytes.IndexByte([]byte(",} \t\r\n"), p.src[p.at]) < 0 {
		p.at++
	}
	value = p.src[start:p.at:p.at]
	if !json.Valid(value) || value[0] == '{' || value[0] == '[' {
		return nil, false, fmt.Errorf("%w: byte %d: expected a string, a number or a literal", ErrJSON, start)
	}
	return value, false, nil
}

// parseNumber parses an unquoted number without copying it.
func parseNumber(value []byte, quoted bool) (float64, error) {
	if quoted || len(value) == 0 {
		return 0, fmt.Errorf("%w: expected a number", ErrJSON)
	}
	x, err := strconv.ParseFloat(unsafe.String(&value[0], len(value)), 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number", ErrJSON, string(value))
	}
	return x, nil
}
