package decode

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
)

// The limits of token keys. Ids go into every token, so they are short; keys of
// less than 16 bytes could be tried out.
const (
	keyIDMax   = 16
	keyMin     = 16
	keyMax     = 64 // a block of SHA-256: more is hashed down
	tokenBytes = 16 // of the HMAC that a token holds
)

// Card numbers have 12 to 19 digits (ISO/IEC 7812).
const (
	cardMin = 12
	cardMax = 19
)

// ErrKey is wrapped by the errors of token keys.
var ErrKey = errors.New("not a token key")

// Key is a key of tokens: an id that every token of it begins with, 1 to 16
// letters, digits, - and _, and 16 to 64 secret bytes.
type Key struct {
	ID     string
	Secret []byte
}

// ParseKey reads ID:HEX, the secret in hexadecimal; space around it is left out.
// Errors never hold the secret.
func ParseKey(text string) (Key, error) {
	id, secret, ok := strings.Cut(strings.TrimSpace(text), ":")
	if !ok {
		return Key{}, fmt.Errorf("%w: expected ID:HEX", ErrKey)
	}
	raw, err := hex.DecodeString(secret)
	if err != nil {
		return Key{}, fmt.Errorf("%w: the secret behind %q is not hexadecimal", ErrKey, id)
	}
	k := Key{ID: id, Secret: raw}
	return k, k.validate()
}

func (k *Key) validate() error {
	if len(k.ID) < 1 || len(k.ID) > keyIDMax {
		return fmt.Errorf("%w: an id of %d bytes, expected 1 to %d", ErrKey, len(k.ID), keyIDMax)
	}
	for _, c := range []byte(k.ID) {
		if c-'0' > 9 && c|0x20-'a' > 'z'-'a' && c != '-' && c != '_' {
			return fmt.Errorf("%w: the id %q has something other than letters, digits, - and _", ErrKey, k.ID)
		}
	}
	if len(k.Secret) < keyMin || len(k.Secret) > keyMax {
		return fmt.Errorf("%w: the secret of %q has %d bytes, expected %d to %d", ErrKey, k.ID, len(k.Secret), keyMin, keyMax)
	}
	return nil
}

// Tokens makes keyed tokens of secrets: the key's id, a dot and the first 16
// bytes of HMAC-SHA-256 in base64url, 22 letters; where the spec keeps them, the
// first six and last four digits of a card number behind another dot:
// k1.Fb6NvWJfuLTeWmL8zP1oWw.411111.1234. The same secret has the same token
// under one key whatever its field, so that an account and a counterparty can be
// matched. It may be used by any number of goroutines.
type Tokens struct {
	current, previous Key // previous is without id outside a change of keys
}

// NewTokens returns tokens of a key. During a change of keys previous is the key
// before, under which the card's token is made too, and behaviour is kept by that
// one: a change lasts as long as the card's behaviour should. Other secrets have
// the new token at once, and their behaviour begins anew. Previous is nil
// otherwise. Errors wrap [ErrKey].
func NewTokens(current Key, previous *Key) (*Tokens, error) {
	if err := current.validate(); err != nil {
		return nil, err
	}
	t := &Tokens{current: current}
	if previous == nil {
		return t, nil
	}
	if err := previous.validate(); err != nil {
		return nil, fmt.Errorf("previous: %w", err)
	}
	if previous.ID == current.ID {
		return nil, fmt.Errorf("%w: current and previous have the same id %q", ErrKey, current.ID)
	}
	t.previous = *previous
	return t, nil
}

// Checks returns numbers that tell the keys, and the ids that their tokens begin
// with, without telling the secrets; previous is 0 outside a change of keys.
func (t *Tokens) Checks() (current, previous uint64) {
	if t.previous.ID != "" {
		previous = t.previous.check()
	}
	return t.current.check(), previous
}

// check is never 0.
func (k *Key) check() uint64 {
	m := hmac.New(sha256.New, k.Secret)
	m.Write([]byte("weir token key " + k.ID))
	return max(1, binary.BigEndian.Uint64(m.Sum(nil)))
}

// token is the form of a token.
var token = regexp.MustCompile(`^[0-9A-Za-z_-]{1,` + strconv.Itoa(keyIDMax) + `}\.[0-9A-Za-z_-]{22}(\.[0-9]{6}\.[0-9]{4})?$`)

// IsToken reports whether a text has the form of a token, of whatever key.
func IsToken(text []byte) bool { return token.Match(text) }

// AppendCard appends the token under the current key of a card number as a
// person or a file gives it, and reports whether it is one. It is for looking a
// card up; a decoder makes its own.
func (t *Tokens) AppendCard(dst, number []byte, keepBIN bool) ([]byte, bool) {
	h := t.hasher()
	digits, c := h.normalise(number)
	if c != passed {
		return dst, false
	}
	return h.append(dst, &h.current, digits, keepBIN), true
}

// hasher makes tokens for one goroutine, without allocation.
type hasher struct {
	current, previous keyed
	digits            [cardMax]byte
	sum               [sha256.Size]byte
}

// keyed is a key ready for use; mac keeps the states behind the key's pads, so
// that a token costs two blocks of SHA-256 and not four.
type keyed struct {
	id  string
	mac hash.Hash
}

func (t *Tokens) hasher() *hasher {
	h := &hasher{current: newKeyed(t.current)}
	if t.previous.ID != "" {
		h.previous = newKeyed(t.previous)
	}
	return h
}

func newKeyed(k Key) keyed { return keyed{id: k.ID, mac: hmac.New(sha256.New, k.Secret)} }

// normalise returns the digits of a card number, which alias h.
func (h *hasher) normalise(text []byte) ([]byte, check) {
	n := 0
	for _, c := range text {
		switch {
		case c-'0' <= 9:
			if n == cardMax {
				return nil, secretLong
			}
			h.digits[n] = c
			n++
		case c != ' ' && c != '-':
			return nil, secretForm
		}
	}
	if n < cardMin {
		return nil, secretShort
	}
	return h.digits[:n], passed
}

// append appends the token of text under a key.
func (h *hasher) append(dst []byte, k *keyed, text []byte, keepBIN bool) []byte {
	k.mac.Reset()
	k.mac.Write(text)
	sum := k.mac.Sum(h.sum[:0])
	dst = append(append(dst, k.id...), '.')
	dst = base64.RawURLEncoding.AppendEncode(dst, sum[:tokenBytes])
	if keepBIN {
		dst = append(append(dst, '.'), text[:6]...)
		dst = append(append(dst, '.'), text[len(text)-4:]...)
	}
	return dst
}

// forget wipes what is left of the last secret.
func (h *hasher) forget() { clear(h.digits[:]) }
