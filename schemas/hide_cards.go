package schemas

import (
	"bytes"
	"regexp"
)

// digitRuns finds runs of digits, with a space or a dash between them.
var digitRuns = regexp.MustCompile(`[0-9](?:[ -]?[0-9])+`)

// HideCards returns text in which only the first six digits and the last four are left
// of what looks like a card number: what may be shown of it (PCI DSS 4.0, 3.4.1).
func HideCards(text []byte) []byte {
	return digitRuns.ReplaceAllFunc(text, func(run []byte) []byte {
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
