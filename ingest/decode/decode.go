package decode

import (
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// TextMax is the most bytes of a text field. Why not less: a bank's own ids with
// their prefixes reach 100. Why not more: a text is copied into every decision.
const TextMax = 256

// Options are what a Decoder needs beside the spec.
type Options struct {
	// Tokens makes the tokens of secret fields; it may be nil where the spec has
	// none, see [NeedsTokens].
	Tokens *Tokens
}

// Decoder decodes records of one spec. It belongs to one goroutine.
type Decoder struct {
	scanner
	root     *node
	bytesMax int
	base     string // currency
	digits   int    // its decimals
	futureMs int64

	timeForm  spec.TimeForm
	minor     bool      // amounts are in minor units
	constants []textual // of fields that a record may lack
	types     enum
	statuses  enum
	hasher    *hasher // nil where nothing is secret
	input     *spec.Input
	plain     []int // columns of texts that are not secret

	// Of the record that is being decoded:
	batch   *schemas.Batch
	row     int
	seen    []uint64 // a bit for each node
	fault   check    // the first that was no error of syntax
	timed   bool
	priced  bool
	amount  decimal
	scratch []byte // a text whose escapes are resolved
	key     []byte // likewise a key
	kafka   []byte // the record's Kafka key
}

// textual is a text of the spec's for a column.
type textual struct {
	col  schemas.TextField
	text []byte
}

// enum maps texts to numbers.
type enum struct {
	names   table
	numbers []uint8
	without uint8 // of a record that has none
}

// NeedsTokens reports whether records of s hold secrets, so that a Decoder of it
// needs [Options].Tokens.
func NeedsTokens(s *spec.Spec) bool {
	for _, t := range s.Input.Text {
		if t.Secret {
			return true
		}
	}
	return false
}

// New returns a decoder of a checked spec's records. It panics where the spec has
// secret fields and the options no tokens: no record could be taken.
func New(s *spec.Spec, o Options) *Decoder {
	in := &s.Input
	d := &Decoder{
		input: in, scanner: scanner{depthMax: in.MaxDepth}, bytesMax: in.MaxBytes,
		base: s.Base, digits: s.BaseDigits, futureMs: s.FutureMax,
		timeForm: in.Time.Form, minor: in.Amount.Minor,
		types: newEnum(&in.Type), statuses: newEnum(&in.Status),
	}
	var nodes int
	d.root, nodes = tree(fields(in))
	d.seen = make([]uint64, (nodes+63)/64)
	for f, t := range in.Text {
		if t.Constant != "" {
			d.constants = append(d.constants, textual{schemas.TextField(f), []byte(t.Constant)})
		}
		if !t.Secret {
			d.plain = append(d.plain, f)
		}
	}
	for k := range in.OwnText {
		d.plain = append(d.plain, int(schemas.NumText)+k)
	}
	if NeedsTokens(s) {
		if o.Tokens == nil {
			panic("BUG: a spec with secret fields and no tokens")
		}
		d.hasher = o.Tokens.hasher()
	}
	return d
}

// AppendSecret appends the token, under the current key, of a field's text, as it is in
// a decision whose record has that text; false where the field is not secret, or may
// not have the text. It is for what names a transaction's entities besides its record.
func (d *Decoder) AppendSecret(dst []byte, f schemas.TextField, text []byte) ([]byte, bool) {
	in := &d.input.Text[f]
	if !in.Secret || len(text) == 0 || len(text) > TextMax {
		return dst, false
	}
	if f == schemas.Card {
		var c check
		if text, c = d.hasher.normalise(text); c != passed {
			return dst, false
		}
	}
	dst = d.hasher.append(dst, &d.hasher.current, text, in.KeepBIN)
	d.hasher.forget()
	return dst, true
}

func newEnum(in *spec.EnumInput) enum {
	e := enum{without: in.Default}
	var names []string
	for name, number := range in.Values {
		names, e.numbers = append(names, name), append(e.numbers, number)
	}
	e.names = newTable(names)
	return e
}

// Decode decodes a JSON record into row i of b, an empty row with its place. It
// returns NoReason, or the reason for which the record is refused and which is
// then the row's verdict; what was good of it stays in the row. A nil value is a
// record without one. Nothing of value is kept, and nothing secret gets into b.
func (d *Decoder) Decode(b *schemas.Batch, i int, value []byte) schemas.Reason {
	return d.DecodeKeyed(b, i, nil, value)
}

// DecodeKeyed is Decode of a record that has a Kafka key; the row gets what the
// decision's key is to be, see the package comment.
func (d *Decoder) DecodeKeyed(b *schemas.Batch, i int, key, value []byte) schemas.Reason {
	d.begin(b, i)
	d.data, d.kafka = value, key
	c := d.record()
	if c == passed {
		c = d.finish()
	}
	return d.end(c)
}

// Refuse makes row i of b that of a record, with its Kafka key, which is refused
// before it is JSON.
func (d *Decoder) Refuse(b *schemas.Batch, i int, key []byte, r schemas.Reason) schemas.Reason {
	d.begin(b, i)
	d.kafka = key
	d.end(passed)
	b.Verdict[i] = schemas.Verdict{Outcome: schemas.Rejected, Reason: r}
	return r
}

// Stopped says in words what the last record was refused for; empty where it was
// not.
func (d *Decoder) Stopped() string { return checks[d.why].text }

func (d *Decoder) begin(b *schemas.Batch, i int) {
	d.batch, d.row = b, i
	clear(d.seen)
	d.fault, d.timed, d.priced = passed, false, false
	b.Tx[i].Type = schemas.TxType(d.types.without)
	b.Tx[i].Status = schemas.Status(d.statuses.without)
}

// end writes the verdict and lets go of what belongs to the caller.
func (d *Decoder) end(c check) schemas.Reason {
	r := checks[c].reason
	if c != passed {
		d.batch.Verdict[d.row] = schemas.Verdict{Outcome: schemas.Rejected, Reason: r}
	}
	if len(d.kafka) > 0 {
		d.setKey()
	}
	d.why, d.data, d.kafka, d.batch = c, nil, nil, nil
	return r
}

// record reads the whole record; only errors of syntax stop it.
func (d *Decoder) record() check {
	switch {
	case d.data == nil:
		return nullValue
	case len(d.data) > d.bytesMax:
		return oversize
	}
	at := d.space(0)
	if at < len(d.data) && d.data[at] == '{' {
		at = d.object(at+1, d.root, 1)
	} else {
		if at < len(d.data) && d.data[at] == '[' {
			d.note(recordArray)
		} else {
			d.note(recordScalar)
		}
		at = d.skip(at, 0)
	}
	if at < 0 {
		return d.why
	}
	if d.space(at) < len(d.data) {
		return recordTrailing
	}
	return d.fault
}

// note keeps the first fault that is no error of syntax.
func (d *Decoder) note(c check) {
	if d.fault == passed {
		d.fault = c
	}
}

// object reads members from behind the brace and takes those that n wants.
func (d *Decoder) object(at int, n *node, depth int) int {
	if depth > d.depthMax {
		return d.stop(objectDeep)
	}
	if at = d.space(at); at < len(d.data) && d.data[at] == '}' {
		return at + 1
	}
	for {
		key, next, escaped := d.scanner.key(at)
		if next < 0 {
			return -1
		}
		if escaped {
			d.key = unescape(d.key[:0], key)
			key = d.key
		}
		if k := n.names.find(key); k >= 0 {
			next = d.take(next, n.children[k], depth)
		} else {
			next = d.skip(next, depth)
		}
		if next < 0 {
			return -1
		}
		var more bool
		if at, more = d.member(next); !more {
			return at
		}
	}
}

// take reads the value of a wanted key.
func (d *Decoder) take(at int, n *node, depth int) int {
	word, bit := &d.seen[n.index>>6], uint64(1)<<(n.index&63)
	if *word&bit != 0 {
		if n.leaf != nil {
			d.note(fieldTwice)
		} else {
			d.note(objectTwice)
		}
		return d.skip(at, depth)
	}
	*word |= bit
	if at >= len(d.data) {
		return d.stop(valueUnended)
	}
	c := d.data[at]
	switch {
	case c == 'n':
		return d.literal(at) // null is no value
	case n.leaf == nil:
		if c == '{' {
			return d.object(at+1, n, depth+1)
		}
	case c == '"':
		next, escaped := d.text(at + 1)
		if next < 0 {
			return -1
		}
		d.fromText(n.leaf, d.data[at+1:next-1], escaped)
		return next
	case c == '-' || c-'0' <= 9:
		next, whole := d.number(at)
		if next < 0 {
			return -1
		}
		d.fromNumber(n.leaf, d.data[at:next], whole)
		return next
	}
	d.note(n.bad)
	return d.skip(at, depth)
}
