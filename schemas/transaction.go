package schemas

import "math"

// TxType is what a transaction does. The zero value is an authorisation, which
// is what a record without a type field is taken for.
type TxType uint8

// The transaction types, with the numbers they have in the ledger.
const (
	Authorisation TxType = iota
	Capture
	Reversal
	Refund
	Transfer
	Payout
	NumTxTypes
)

// Status is how the transaction ended at the bank.
type Status uint8

// The statuses, with the numbers they have in the ledger.
const (
	StatusUnknown Status = iota
	Approved
	Declined
	NumStatuses
)

// TextField numbers the canonical text fields of a transaction. The order is
// the order of the columns in [Batch.Text] and is never changed; a new field
// goes at the end.
type TextField uint8

// The canonical text fields.
const (
	ID         TextField = iota // the bank's id of the transaction
	OriginalID                  // of the transaction that a reversal or capture refers to
	Currency                    // ISO 4217 letters
	Card                        // a keyed token where the source field is secret
	Customer
	Account
	Counterparty // the other side's account
	Merchant
	MCC // ISO 18245 merchant category code
	Terminal
	Country // ISO 3166-1
	Channel
	EntryMode
	Device
	IP
	NumText
)

// Span is a piece of an arena: Len bytes from Off. Len 0 means absent.
type Span struct{ Off, Len uint32 }

// Transaction is the fixed-size part of a decoded payment. Its texts and own
// numbers lie in the columns of the [Batch] that holds it.
type Transaction struct {
	Time       int64 // event time, milliseconds since the Unix epoch
	Amount     int64 // minor units of its currency
	AmountBase int64 // minor units of the spec's base currency
	Type       TxType
	Status     Status
}

// Batch holds the decoded transactions of one step. It is reused from step to
// step; nothing in it outlives the next [Batch.Reset].
type Batch struct {
	Tx      []Transaction
	Place   []Place
	Verdict []Verdict
	// Text is row-major, TextWidth spans a row: the NumText canonical fields,
	// then the spec's own text fields.
	Text      []Span
	TextWidth int
	// Number is row-major, NumberWidth numbers a row: the spec's own numeric
	// fields; NaN where absent.
	Number      []float64
	NumberWidth int
	// PrevCard holds, during a change of the token key, the card's token under
	// the previous key; Len 0 otherwise.
	PrevCard []Span
	// Key is what a row's record has as its Kafka key in the ledger; Len 0 is none.
	// It is for consumers that go by keys, and no part of the decision.
	Key   []Span
	Arena []byte // what the spans point into
}

// Place is where a record was found in the source topic.
type Place struct {
	Partition int32
	Offset    int64
	Prev      int64 // offset of the data record before it there, -1 at the first
	Timestamp int64 // the Kafka record's timestamp, ms since the Unix epoch
}

// Verdict is what is known so far of the outcome of a row.
type Verdict struct {
	Outcome Outcome
	Reason  Reason
	Flags   Flags
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.Tx) }

// Reset empties b and sets the widths of its rows; ownText and ownNumber are
// the counts of the spec's own fields.
func (b *Batch) Reset(ownText, ownNumber int) {
	b.TextWidth, b.NumberWidth = int(NumText)+ownText, ownNumber
	b.Tx, b.Place, b.Verdict = b.Tx[:0], b.Place[:0], b.Verdict[:0]
	b.Text, b.Number, b.PrevCard, b.Key, b.Arena = b.Text[:0], b.Number[:0], b.PrevCard[:0], b.Key[:0], b.Arena[:0]
}

// Add appends one empty row and returns its index: no texts, NaN numbers,
// outcome scored.
func (b *Batch) Add(p Place) int {
	b.Tx = append(b.Tx, Transaction{})
	b.Place = append(b.Place, p)
	b.Verdict = append(b.Verdict, Verdict{})
	b.PrevCard, b.Key = append(b.PrevCard, Span{}), append(b.Key, Span{})
	for range b.TextWidth {
		b.Text = append(b.Text, Span{})
	}
	for range b.NumberWidth {
		b.Number = append(b.Number, math.NaN())
	}
	return len(b.Tx) - 1
}

// Bytes returns the text of column f in row i; it aliases the arena.
func (b *Batch) Bytes(i int, f TextField) []byte {
	s := b.Text[i*b.TextWidth+int(f)]
	return b.Arena[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// KeyBytes returns the key of row i, nil for none; it aliases the arena.
func (b *Batch) KeyBytes(i int) []byte {
	s := b.Key[i]
	if s.Len == 0 {
		return nil
	}
	return b.Arena[s.Off : s.Off+s.Len : s.Off+s.Len]
}

// SetBytes copies text into the arena as column f of row i.
func (b *Batch) SetBytes(i int, f TextField, text []byte) {
	b.Text[i*b.TextWidth+int(f)] = b.Intern(text)
}

// Intern copies text into the arena and returns its span.
func (b *Batch) Intern(text []byte) Span {
	s := Span{Off: uint32(len(b.Arena)), Len: uint32(len(text))}
	b.Arena = append(b.Arena, text...)
	return s
}
