// Package leaktest finds secrets and card numbers in what a program lets out, in the forms
// in which they get there: as they are, in hexadecimal, in base64, escaped, as numbers.
package leaktest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// shortest is the fewest bytes of a form: a shorter one would be found by chance.
const shortest = 8

// A Search knows what must not be found.
type Search struct {
	forms []form
	by    map[[3]byte][]int // forms by how they begin
	first [1 << 16]bool     // whether some form begins with two bytes
}

type form struct {
	name string // of the secret, and how it is written
	text []byte
}

// Add adds a secret.
func (s *Search) Add(name string, secret []byte) {
	if len(secret) < shortest {
		panic("BUG: the secret " + name + " is too short to be told from chance")
	}
	for _, f := range Forms(secret) {
		s.add(name+" "+f.name, f.text)
	}
}

// AddCard adds a card number, given as its digits, with all that may stand between them.
func (s *Search) AddCard(name, digits string) {
	for between, word := range map[string]string{"": "plain", " ": "with spaces", "-": "with dashes"} {
		var groups []string
		for part := range slices.Chunk([]byte(digits), 4) {
			groups = append(groups, string(part))
		}
		s.Add(name+" "+word, []byte(strings.Join(groups, between)))
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic("BUG: the card " + name + " is no number")
	}
	s.add(name+" little-endian", binary.LittleEndian.AppendUint64(nil, n))
	s.add(name+" big-endian", binary.BigEndian.AppendUint64(nil, n))
	s.add(name+" varint", binary.AppendUvarint(nil, n))
	s.add(name+" float, little-endian", binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(n))))
	s.add(name+" float, written", strconv.AppendFloat(nil, float64(n), 'e', -1, 64))
}

func (s *Search) add(name string, text []byte) {
	if slices.ContainsFunc(s.forms, func(f form) bool { return bytes.Equal(f.text, text) }) {
		return
	}
	if s.by == nil {
		s.by = make(map[[3]byte][]int)
	}
	k := [3]byte(text)
	s.by[k] = append(s.by[k], len(s.forms))
	s.first[binary.LittleEndian.Uint16(text)] = true
	s.forms = append(s.forms, form{name, text})
}

// In returns the names of what a text holds, each once.
func (s *Search) In(text []byte) (found []string) {
	for i := 0; i+shortest-1 < len(text); i++ {
		if !s.first[binary.LittleEndian.Uint16(text[i:])] {
			continue
		}
		for _, f := range s.by[[3]byte(text[i:])] {
			if bytes.HasPrefix(text[i:], s.forms[f].text) && !slices.Contains(found, s.forms[f].name) {
				found = append(found, s.forms[f].name)
			}
		}
	}
	return found
}

// Known returns all forms that are looked for, by name.
func (s *Search) Known() map[string][]byte {
	all := make(map[string][]byte)
	for _, f := range s.forms {
		all[f.name] = f.text
	}
	return all
}

// Forms returns the ways of writing a secret, each of which tells it.
func Forms(secret []byte) (list []form) {
	put := func(name, text string) {
		if len(text) >= shortest {
			list = append(list, form{name, []byte(text)})
		}
	}
	put("as it is", string(secret))
	put("in hexadecimal", hex.EncodeToString(secret))
	put("in capital hexadecimal", strings.ToUpper(hex.EncodeToString(secret)))
	put("in hexadecimal with spaces", fmt.Sprintf("% x", secret))
	put("as a list of bytes", strings.Trim(fmt.Sprint(secret), "[]"))
	put("escaped for a query", url.QueryEscape(string(secret)))
	put("escaped for a path", url.PathEscape(string(secret)))
	var percent strings.Builder
	for _, c := range secret {
		fmt.Fprintf(&percent, "%%%02X", c)
	}
	put("escaped altogether", percent.String())
	put("escaped altogether, small", strings.ToLower(percent.String()))
	if quoted, err := json.Marshal(string(secret)); err == nil {
		put("in JSON", string(quoted[1:len(quoted)-1]))
	}
	quoted := strconv.Quote(string(secret))
	put("quoted", quoted[1:len(quoted)-1])
	for alignment := range 3 {
		put(fmt.Sprint("in base64 at ", alignment), inside(base64.RawStdEncoding, secret, alignment))
		put(fmt.Sprint("in base64 for URLs at ", alignment), inside(base64.RawURLEncoding, secret, alignment))
	}
	return list
}

// inside returns those characters of base64 that the secret alone decides where so many
// bytes, modulo three, are before it and any behind.
func inside(e *base64.Encoding, secret []byte, before int) string {
	text := e.EncodeToString(append(make([]byte, before), secret...))
	text = text[(before*8+5)/6:]
	if (before+len(secret))%3 != 0 {
		text = text[:len(text)-1]
	}
	return text
}
