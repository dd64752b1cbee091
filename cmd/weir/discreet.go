package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"regexp"
)

// discreet returns JSON and text as [readable] does, card numbers without their
// middle. Anything else may hold one: what it is says the rest.
func discreet(b []byte) any {
	switch {
	case b == nil:
		return nil
	case json.Valid(b):
		return json.RawMessage(hideInJSON(b))
	case isText(b):
		return string(hideCards(b))
	case len(b) >= 5 && b[0] == 0: // as of a schema registry
		return map[string]any{"schema": binary.BigEndian.Uint32(b[1:]), "bytes": len(b)}
	}
	return map[string]any{"bytes": len(b)}
}

var (
	// scalars finds strings and numbers in JSON that is valid.
	scalars = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*`)
	// digits finds runs of digits, with a space or a dash between them.
	digits = regexp.MustCompile(`[0-9](?:[ -]?[0-9])+`)
)

// hideInJSON hides the card numbers in JSON; one that was a number is a string then.
func hideInJSON(b []byte) []byte {
	return scalars.ReplaceAllFunc(b, func(token []byte) []byte {
		if token[0] == '"' {
			return hideCards(token)
		}
		for _, c := range token {
			if c < '0' || c > '9' {
				return token
			}
		}
		if hidden := hideCards(token); bytes.IndexByte(hidden, '*') >= 0 {
			return append(append([]byte{'"'}, hidden...), '"')
		}
		return token
	})
}

// hideCards leaves of card numbers what may be shown of them: the first six digits
// and the last four.
func hideCards(text []byte) []byte {
	return digits.ReplaceAllFunc(text, func(run []byte) []byte {
		var out []byte
		for len(run) > 0 {
			number, length := leadingCard(run)
			if length == 0 { // on to the next group of digits
				if length = bytes.IndexAny(run, " -") + 1; length == 0 {
					length = len(run)
				}
				number = run[:length]
			}
			out, run = append(out, number...), run[length:]
		}
		return out
	})
}

// leadingCard returns the hidden form of the card number that the first groups of a
// run of digits make up, and how much of the run they are; 0 where they make up none.
// What stands before or behind a number, a date say, may be in the same run.
func leadingCard(run []byte) (number []byte, length int) {
	for i, c := range run {
		if c >= '0' && c <= '9' {
			number = append(number, c)
		} else if i == 0 {
			return nil, 0
		}
		last := i+1 == len(run) || run[i+1] == ' ' || run[i+1] == '-'
		if last && isCard(number) {
			for j := 6; j < len(number)-4; j++ {
				number[j] = '*'
			}
			return number, i + 1
		}
	}
	return nil, 0
}

// isCard reports whether digits look like a card's: 13 to 19, the first one of a
// network's, and the last one right by ISO/IEC 7812. Times as numbers begin with 1.
func isCard(number []byte) bool {
	if len(number) < 13 || len(number) > 19 || number[0] < '2' || number[0] > '6' {
		return false
	}
	sum := 0
	for i, c := range number {
		d := int(c - '0')
		if (len(number)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
