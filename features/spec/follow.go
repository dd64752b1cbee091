package spec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weir-risk/weir/schemas"
)

// Follow returns why decisions that were made by before cannot be taken over by s,
// every reason at once; nil where they can. What before did not read of a record is
// absent in them, and what it read remains as it read it.
func (s *Spec) Follow(before *Spec) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Base != before.Base {
		bad("the base currency is %s and was %s: amounts and rates of before are in that", s.Base, before.Base)
	}
	for f := range schemas.NumText {
		now, was := s.Input.Text[f], before.Input.Text[f]
		if now.read() && was.read() && (now.Secret != was.Secret || now.KeepBIN != was.KeepBIN) {
			bad("field %s is %s and was %s: whatever has it would begin anew", f, now.secrecy(), was.secrecy())
		}
	}
	return errors.Join(errs...)
}

// read reports whether a record's field has any value.
func (t *TextInput) read() bool { return t.Path != nil || t.Constant != "" }

func (t *TextInput) secrecy() string {
	switch {
	case t.Secret && t.KeepBIN:
		return "secret keep bin"
	case t.Secret:
		return "secret"
	}
	return "no secret"
}

// A Succession turns transactions that were decided by one spec into what they would
// have been by another, as far as the first one read them.
type Succession struct {
	Before, Now    *Spec
	texts, numbers []int // by own field of Now: its place among those of Before; -1 for none
	own            [][]byte
	number         []float64
}

// NewSuccession returns the succession of before by s; the error is that of Follow.
func NewSuccession(before, s *Spec) (*Succession, error) {
	if err := s.Follow(before); err != nil {
		return nil, err
	}
	c := &Succession{Before: before, Now: s}
	find := func(list []OwnField, name string) int {
		return slices.IndexFunc(list, func(o OwnField) bool { return o.Name == name })
	}
	for _, o := range s.Input.OwnText {
		c.texts = append(c.texts, find(before.Input.OwnText, o.Name))
	}
	for _, o := range s.Input.OwnNumber {
		c.numbers = append(c.numbers, find(before.Input.OwnNumber, o.Name))
	}
	return c, nil
}

// Add appends the transaction of a decision that Before made as a row of b, which has
// the widths of Now. It is yet to be decided, unless it could not be decoded.
func (c *Succession) Add(b *schemas.Batch, d *schemas.Decision) {
	again := *d
	if d.Outcome != schemas.Rejected {
		again.Verdict = schemas.Verdict{}
	}
	for f := range schemas.NumText {
		switch in := &c.Now.Input.Text[f]; {
		case f == schemas.Currency: // the amount is in that
		case !in.read():
			again.Text[f] = nil
		case in.Path == nil && in.Constant != "":
			again.Text[f] = []byte(in.Constant)
		}
	}
	if !c.Now.Input.Text[schemas.Card].read() {
		again.PrevCard = nil
	}
	c.own, c.number = c.own[:0], c.number[:0]
	for _, k := range c.texts {
		var text []byte
		if k >= 0 && k < len(d.OwnText) {
			text = d.OwnText[k]
		}
		c.own = append(c.own, text)
	}
	again.OwnText = c.own
	i := b.Len()
	again.Own = nil // absent, as a row begins
	b.AddDecision(&again)
	for to, k := range c.numbers {
		if k >= 0 && k < len(d.Own) {
			b.Number[i*b.NumberWidth+to] = d.Own[k]
		}
	}
}
