package decode

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

const cardSpec = `spec card
base EUR
field id = $.id
field time = $.time as ms
field amount = $.amount decimal
field card = $.card secret %BIN%
field account = $.account secret
field counterparty = $.payee secret
scored authorisation
home card
amount
fallback review when amount > 1
`

// wantToken is a token made the plain way.
func wantToken(k Key, secret string) string {
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write([]byte(secret))
	return k.ID + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

var (
	keyOld = Key{ID: "k1", Secret: bytes.Repeat([]byte{1}, 16)}
	keyNew = Key{ID: "k2", Secret: bytes.Repeat([]byte{2}, 64)}
)

func TestTokens(t *testing.T) {
	tokens, err := NewTokens(keyNew, &keyOld)
	if err != nil {
		t.Fatal(err)
	}
	for _, bin := range []string{"", "keep bin"} {
		s := mustParse(t, strings.Replace(cardSpec, "%BIN%", bin, 1))
		d, b := New(s, Options{Tokens: tokens}), newBatch(s)
		i := b.Add(schemas.Place{})
		record := `{"id":1,"time":1,"amount":1,"card":"40\u0030000 1234-567899","account":"DE89 3704","payee":"DE89 3704"}`
		if r := d.Decode(b, i, []byte(record)); r != schemas.NoReason {
			t.Fatal(r)
		}
		rest := ""
		if bin != "" {
			rest = ".400000.7899"
		}
		p := b.PrevCard[i]
		f := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		f("card", string(b.Bytes(i, schemas.Card)), wantToken(keyNew, "400000"+"1234567899")+rest)
		f("card before", string(b.Arena[p.Off:p.Off+p.Len]), wantToken(keyOld, "400000"+"1234567899")+rest)
		f("account", string(b.Bytes(i, schemas.Account)), wantToken(keyNew, "DE89 3704"))
		f("payee", string(b.Bytes(i, schemas.Counterparty)), wantToken(keyNew, "DE89 3704"))
		if bytes.Contains(b.Arena, []byte("1234")) || bytes.Contains(b.Arena, []byte("3704")) {
			t.Errorf("a secret is in the arena: %q", b.Arena)
		}
		if bytes.Contains(d.scratch[:cap(d.scratch)], []byte("1234")) || bytes.Contains(d.hasher.digits[:], []byte("1234")) {
			t.Error("a secret stays in the decoder")
		}
		got, ok := tokens.AppendCard(nil, []byte("4000 0012 3456 7899"), bin != "")
		if !ok || !bytes.Equal(got, b.Bytes(i, schemas.Card)) {
			t.Errorf("AppendCard: %s %v, the decoder has %s", got, ok, b.Bytes(i, schemas.Card))
		}
	}
	if _, ok := tokens.AppendCard(nil, []byte("4000"), false); ok {
		t.Error("a number of four digits has a token")
	}
}

// TestNoSecretOnFailure refuses records around card numbers and looks for the
// number in what is left.
func TestNoSecretOnFailure(t *testing.T) {
	s := mustParse(t, strings.Replace(cardSpec, "%BIN%", "keep bin", 1))
	d, b := New(s, Options{Tokens: testTokens(t)}), newBatch(s)
	for _, record := range []string{
		`{"id":1,"time":1,"card":"4000001234567899123"`,
		`{"id":1,"time":1,"card":"4000001234567899x","amount":1}`,
		`{"id":1,"time":1,"card":"4000001234567899\u0031234567","amount":1}`,
		`{"id":1,"time":1,"card":-4000001234567899,"amount":1}`,
		`{"id":1,"time":1,"card":["4000001234567899"],"amount":1}`,
		`{"id":1,"time":1,"card":4000001234567899,"card":4000001234567899,"amount":1}`,
		`{"id":1,"time":1,"card":4000001234567899,"amount":1} 4000001234567899`,
		`{"id":1,"time":1,"amount":1,"card":"40000012345678994000001234567899"}`,
	} {
		i := b.Add(schemas.Place{})
		if r := d.Decode(b, i, []byte(record)); r == schemas.NoReason {
			t.Errorf("%s: taken", record)
		}
	}
	if bytes.Contains(b.Arena, []byte("12345")) {
		t.Errorf("a card number is in the arena: %q", b.Arena)
	}
}

func TestParseKey(t *testing.T) {
	k, err := ParseKey(" pan-2026_1:000102030405060708090a0b0c0d0e0f\n")
	if err != nil || k.ID != "pan-2026_1" || len(k.Secret) != 16 || k.Secret[15] != 15 {
		t.Fatalf("%+v, %v", k, err)
	}
	f := func(text string) {
		t.Helper()
		k, err := ParseKey(text)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%q: %+v, %v", text, k, err)
		}
		if err != nil && strings.Contains(err.Error(), "0001") {
			t.Errorf("%q: the error holds the secret: %v", text, err)
		}
	}
	f("")
	f("000102030405060708090a0b0c0d0e0f")
	f(":000102030405060708090a0b0c0d0e0f")
	f("k.1:000102030405060708090a0b0c0d0e0f")
	f("k1234567890123456:000102030405060708090a0b0c0d0e0f")
	f("k1:000102030405060708090a0b0c0d0e")
	f("k1:0001not")
	f("k1:" + strings.Repeat("00", 65))
}

func TestNewTokensFailure(t *testing.T) {
	f := func(current Key, previous *Key) {
		t.Helper()
		if _, err := NewTokens(current, previous); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", current.ID, err)
		}
	}
	f(Key{}, nil)
	f(keyNew, &Key{ID: "k1"})
	f(keyNew, &Key{ID: "k2", Secret: keyOld.Secret})
}

func TestIsToken(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if IsToken([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
	tokens, err := NewTokens(Key{ID: "a-key_of_16_byte", Secret: make([]byte, keyMin)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, bin := range []bool{false, true} {
		text, ok := tokens.AppendCard(nil, []byte("4000 0012 3456 7899"), bin)
		f(string(text), ok)
		f(string(text)+"0", false)
		f("x"+string(text), false)
		f(string(text[1:]), true)
		f(" "+string(text[1:]), false)
		f(string(text)+"\n", false)
	}
	f("", false)
	f("4000001234567899", false)
	f("k1.4000001234567899", false)
	f("k1.4000001234567899......", false)
}
