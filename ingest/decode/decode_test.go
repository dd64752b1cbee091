package decode

import (
	"strconv"
	"strings"
	"testing"

	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/schemas"
)

// TestDecodeDoesNotAllocate decodes good and malformed records into a batch that
// has its size.
func TestDecodeDoesNotAllocate(t *testing.T) {
	cases, err := decodetest.Read("testdata/malformed.txt")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := NewTokens(keyNew, &keyOld)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, d *Decoder, b *schemas.Batch, value []byte, refused bool) {
		t.Helper()
		ownText, ownNumber := b.TextWidth-int(schemas.NumText), b.NumberWidth
		if n := testing.AllocsPerRun(20, func() {
			b.Reset(ownText, ownNumber)
			for range 8 {
				if r := d.Decode(b, b.Add(schemas.Place{Timestamp: kafkaTime}), value); (r != schemas.NoReason) != refused {
					t.Fatalf("%s: %v", name, r)
				}
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, r := range records {
		s := builtin(t, r.spec)
		f(r.spec, New(s, Options{Tokens: tokens}), newBatch(s), []byte(r.text), false)
	}
	s := malformedSpec(t)
	d, b := New(s, Options{Tokens: tokens}), newBatch(s)
	for _, c := range cases {
		f(c.Check, d, b, c.Value, true)
	}
	for _, extra := range []string{`"risk":0.1234567890123456789`, `"customer":"a\u00e9\ud83d\ude00"`, `"status":"app\u0072oved"`, `"c\u0061rd":{"p\u0061n":"4000\u0030\u0030123456"}`} {
		f(extra, d, b, []byte(`{"id":"a","time":"2026-01-02T03:04:05Z","amount":1,"currency":"EUR",`+extra+`}`), false)
	}
}

// TestDecodeFields compares records whose cells are apart with the same ones in
// JSON, good and malformed.
func TestDecodeFields(t *testing.T) {
	s := builtin(t, "payments")
	d := New(s, Options{Tokens: testTokens(t)})
	header := []string{"n", "id", "type", "time", "amount", "currency", "card", "customer", "mcc", "note", "status"}
	c, err := d.Columns(header)
	if err != nil {
		t.Fatal(err)
	}
	f := func(line string, want schemas.Reason) {
		t.Helper()
		b, cells, record := newBatch(s), [][]byte{}, "{"
		for k, cell := range strings.Split(line, ",") {
			cells = append(cells, []byte(cell))
			if cell != "" {
				record += strconv.Quote(header[k]) + ":" + strconv.Quote(cell) + ","
			}
		}
		place := schemas.Place{Timestamp: -1}
		got := d.DecodeFields(b, b.Add(place), c, cells)
		if got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
		if strings.Contains(line, "\xff") {
			return // Quote makes an escape of it that JSON does not have
		}
		other := d.Decode(b, b.Add(place), []byte(strings.TrimSuffix(record, ",")+"}"))
		if other != got || b.Tx[0] != b.Tx[1] || b.Verdict[0] != b.Verdict[1] {
			t.Errorf("%s: %v, %+v; as JSON %v, %+v", line, got, b.Tx[0], other, b.Tx[1])
		}
		for f := range schemas.NumText {
			if string(b.Bytes(0, f)) != string(b.Bytes(1, f)) {
				t.Errorf("%s: %v is %q; as JSON %q", line, f, b.Bytes(0, f), b.Bytes(1, f))
			}
		}
	}
	f("1,t1,refund,2026-01-02 03:04:05,-12.50,USD,4000 0012 3456 7899,c1,5411,x,approved", schemas.NoReason)
	f("1,t1,,2026-01-02 03:04:05,12.50,,,,,,", schemas.NoReason)
	f("1,,,2026-01-02 03:04:05,12.50,,,,,,", schemas.MissingID)
	f("1,t1,,,12.50,,,,,,", schemas.MissingTime)
	f("1,t1,,2026-01-02 03:04:05,,,,,,,", schemas.MissingAmount)
	f("1,t1,,2026-01-02 03:04:05,1.234,,,,,,", schemas.AmountPrecision)
	f("1,t1,gift,2026-01-02 03:04:05,1.23,,,,,,", schemas.BadType)
	f("1,t1,,2026-01-02 03:04:05,1.23,,4000,,,,", schemas.BadSecret)
	f("1,t1,,2026-01-02 03:04:05,1.23,,,c\xff,,,", schemas.BadUTF8)
	f("1,t1,,2026-01-02 03:04:05,1.23,,,"+strings.Repeat("c", 257)+",,,", schemas.TextTooLong)
}

func TestColumnsFailure(t *testing.T) {
	s := malformedSpec(t)
	d := New(s, Options{Tokens: testTokens(t)})
	f := func(header ...string) {
		t.Helper()
		if _, err := d.Columns(header); err == nil {
			t.Errorf("%v: taken", header)
		}
	}
	f("time", "amount", "currency")
	f("id", "amount", "currency")
	f("id", "time", "currency")
	f("id", "time", "amount", "id")
	f("id", "time", "amount", "card")
	if _, err := d.Columns([]string{"id", "time", "amount", "x", "x"}); err != nil {
		t.Error(err)
	}
}

// TestColumnsInside reads a field inside an object from a column of its path.
func TestColumnsInside(t *testing.T) {
	d := New(malformedSpec(t), Options{Tokens: testTokens(t)})
	c, err := d.Columns([]string{"id", "time", "amount", "card.pan", "currency"})
	if err != nil {
		t.Fatal(err)
	}
	var b schemas.Batch
	b.Reset(8, 8)
	cells := [][]byte{[]byte("t1"), []byte("2026-01-02 03:04:05"), []byte("1.50"), []byte("4000001234567899"), []byte("EUR")}
	b.Add(schemas.Place{Timestamp: -1})
	if r := d.DecodeFields(&b, 0, c, cells); r != schemas.NoReason || len(b.Bytes(0, schemas.Card)) == 0 {
		t.Errorf("%v, card %q", r, b.Bytes(0, schemas.Card))
	}
	if _, err := d.Columns([]string{"id", "time", "amount", "card.pan", "card.pan"}); err == nil {
		t.Error("a column twice was taken")
	}
}

// TestTable holds names that the hash cannot tell apart, and finds no others.
func TestTable(t *testing.T) {
	names := []string{"", "a", "ab", "abc", "abcd", "12345678", "12345678x12345678", "12345678y12345678", "12345678z12345678", "$", "é"}
	table := newTable(names)
	for k, name := range names {
		if got := table.find([]byte(name)); got != k {
			t.Errorf("%q: %d, want %d", name, got, k)
		}
	}
	for _, name := range []string{"b", "A", "12345678w12345678", "12345678xx12345678", "1234567"} {
		if got := table.find([]byte(name)); got != -1 {
			t.Errorf("%q: %d", name, got)
		}
	}
	empty := newTable(nil)
	if empty.find([]byte("a")) != -1 {
		t.Error("an empty table finds a name")
	}
}

// TestNeedsTokens sees that a decoder that could take no record is not made.
func TestNeedsTokens(t *testing.T) {
	if NeedsTokens(builtin(t, "handbook")) || !NeedsTokens(builtin(t, "payments")) {
		t.Error("wrong about the built-in specs")
	}
	defer func() {
		if recover() == nil {
			t.Error("New made a decoder of secrets without tokens")
		}
	}()
	New(builtin(t, "payments"), Options{})
}
