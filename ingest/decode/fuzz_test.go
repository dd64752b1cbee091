package decode

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/schemas"
)

// seeds are records to begin with: all that are malformed, and good ones.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	cases, err := decodetest.Read("testdata/malformed.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for _, c := range cases {
		if c.Value != nil {
			list = append(list, bytes.TrimRight(c.Value, " "))
		}
	}
	for _, s := range []string{
		`{"id":"t1","type":"refund","status":"approved","time":"2026-01-02T03:04:05.6789Z","amount":-12.5,"currency":"EUR",` +
			`"card":{"x":[1,2.5e-3],"pan":"4000 0012-3456 7899"},"customer":17,"country":"BE","risk":0.125,"more":{"a":[true,false,null]}}`,
		"{ \"id\" : 1 ,\r\n\t\"time\":\"2016-12-31 23:59:60\", \"amount\":\"0012.50\",\"currency\":\"KWD\",\"risk\":\"1e-7\"}",
		`{"\u0069d":"\ud83d\ude00 \\ \/ \b\f\n\r\t é","time":"2025-12-31T23:00:00-05:30","amount":1e3,"currency":"JPY","status":null}`,
		`{"id":"t1","time":"2026-01-02T03:04:05Z","amount":0.1e1,"currency":"USD","card":{"pan":400000123456},"risk":123456789012345678901}`,
		` [1,{"a":"b"}] `, `{}`, `null`, `""`, ``, "\xef\xbb\xbf{}",
	} {
		list = append(list, []byte(s))
	}
	return list
}

// FuzzDecode compares with the oracle: what encoding/json refuses is refused,
// what it takes is refused only for broken UTF-8, a lone surrogate or the depth;
// and where a record is JSON, reason and every value are the oracle's.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	s := malformedSpec(f)
	d := New(s, Options{Tokens: testTokens(f)})
	o := &oracle{spec: s, key: Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, d, o, data) })
}

func compare(t *testing.T, d *Decoder, o *oracle, data []byte) {
	t.Helper()
	if data == nil {
		data = []byte{}
	}
	b := newBatch(o.spec)
	b.Add(schemas.Place{})
	i := b.Add(schemas.Place{Timestamp: kafkaTime})
	got := d.Decode(b, i, data)
	if len(data) > o.spec.Input.MaxBytes {
		if got != schemas.Oversize {
			t.Fatalf("%d bytes: %v", len(data), got)
		}
		return
	}
	if wrong := o.syntax(data); len(wrong) > 0 {
		if !wrong[got] {
			t.Fatalf("%q: %v (%s), want one of %v", data, got, d.Stopped(), wrong)
		}
		return
	}
	if want := o.decode(data, kafkaTime); got != want {
		t.Fatalf("%q: %v (%s), want %v", data, got, d.Stopped(), want)
	}
	if v := b.Verdict[i]; v.Reason != got || (v.Outcome == schemas.Rejected) != (got != schemas.NoReason) {
		t.Fatalf("%q: verdict %v", data, v)
	}
	if got != schemas.NoReason {
		return
	}
	if b.Tx[i] != o.tx {
		t.Fatalf("%q: %+v, want %+v", data, b.Tx[i], o.tx)
	}
	for f := range schemas.NumText {
		if string(b.Bytes(i, f)) != o.text[f] {
			t.Fatalf("%q: %v is %q, want %q", data, f, b.Bytes(i, f), o.text[f])
		}
		if b.Text[int(f)].Len > 0 {
			t.Fatalf("%q: %v went to the row before", data, f)
		}
	}
	if x := b.Number[i*b.NumberWidth]; math.Float64bits(x) != math.Float64bits(o.risk) && (x == x || o.risk == o.risk) {
		t.Fatalf("%q: %v, want %v", data, x, o.risk)
	}
}

// TestDecodeMutated runs the comparison of FuzzDecode over seeds with pieces
// changed, repeated, swapped and cut out, so that every go test covers more than
// the seeds.
func TestDecodeMutated(t *testing.T) {
	list := seeds(t)
	s := malformedSpec(t)
	d := New(s, Options{Tokens: testTokens(t)})
	o := &oracle{spec: s, key: Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, `0`, `-`, `.`, `e9`, ` `, `null`, `true`, `"id"`, `"card":`,
		`\u`, `\ud800`, `\udc00`, `\u0030`, "\x00", "\xff", "é", "€", "😀", `"amount":"1.00",`, `"type":"refund",`, `1e400`, `:60`, `1e18`}
	taken := 0
	for range 60_000 {
		v := bytes.Clone(list[rnd.IntN(len(list))])
		for range rnd.IntN(4) {
			a, z := rnd.IntN(len(v)+1), rnd.IntN(len(v)+1)
			a, z = min(a, z), max(a, z)
			switch rnd.IntN(5) {
			case 0:
				v = append(v[:a:a], v[z:]...)
			case 1:
				v = append(v[:a:a], append([]byte(pieces[rnd.IntN(len(pieces))]), v[a:]...)...)
			case 2:
				v = append(v[:z:z], append(bytes.Clone(v[a:z]), v[z:]...)...)
			case 3:
				if a < len(v) {
					v[a] = byte(rnd.IntN(256))
				}
			case 4:
				if a < len(v) {
					v[a] = '0' + byte(rnd.IntN(10))
				}
			}
		}
		compare(t, d, o, v)
		if d.why == passed {
			taken++
		}
	}
	if taken < 1000 {
		t.Errorf("only %d records were taken: the mutations show little", taken)
	}
}
