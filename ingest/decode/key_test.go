package decode

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

const keySpec = `spec keyed
base EUR
field id = $.id
field time = $.time as ms
field amount = $.amount decimal
field card = $.card secret %BIN%
field account = $.account secret
field customer = $.customer
field text branch = $.branch
scored authorisation
home card
amount
fallback review when amount > 1
`

// TestKeys has records with every kind of Kafka key. A card number must not get
// into the batch, whichever way it came.
func TestKeys(t *testing.T) {
	const digits = "400000" + "1234567899"
	const rest = `"id":"t1","time":1,"amount":1,"customer":"c7","branch":"Gent"`
	const good = `{` + rest + `,"card":"4000-0012 34567899","account":"DE89 3704"}`
	token := func(secret string) string { return wantToken(keyNew, secret) }
	tokens, err := NewTokens(keyNew, &keyOld)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value, key, want string }{
		{"none", good, "", ""},
		{"card", good, digits, token(digits) + "BIN"},
		{"card, written otherwise", good, "4000 0012-3456 7899", token(digits) + "BIN"},
		{"account", good, "DE89 3704", token("DE89 3704")},
		{"customer", good, "c7", "c7"},
		{"own field", good, "Gent", "Gent"},
		{"id", good, "t1", "t1"},
		{"none of the fields", good, "k", token("k")},
		{"another card", good, "4000001234567800", token("4000001234567800")},
		{"more than the card", good, digits + "x", token(digits + "x")},
		{"the card with a point", good, "4000.001234567899", token("4000.001234567899")},
		{"part of a field", good, "Gen", token("Gen")},
		{"long", good, strings.Repeat("x", 4*TextMax), token(strings.Repeat("x", 4*TextMax))},
		{"no card in the record", `{` + rest + `}`, digits, token(digits)},
		{"card that is none", `{` + rest + `,"card":"` + digits + `a"}`, digits + "a", token(digits + "a")},
		{"customer with the card's number", `{` + rest[:len(rest)-len(`,"branch":"Gent"`)] + `,"card":"` + digits + `"}`, "c7", "c7"},
		{"broken", `{`, digits, token(digits)},
		{"broken behind the card", `{"card":"` + digits + `",`, digits, token(digits) + "BIN"},
		{"too deep to tell", `{"id":"t1","x":` + strings.Repeat("[", 200), digits, token(digits)},
	} {
		for _, bin := range []string{"", "keep bin"} {
			s := mustParse(t, strings.Replace(keySpec, "%BIN%", bin, 1))
			d, b := New(s, Options{Tokens: tokens}), newBatch(s)
			i := b.Add(schemas.Place{})
			d.DecodeKeyed(b, i, []byte(c.key), []byte(c.value))
			want := strings.Replace(c.want, "BIN", map[string]string{"": "", "keep bin": ".400000.7899"}[bin], 1)
			if got := string(b.KeyBytes(i)); got != want {
				t.Errorf("%s: %q, want %q", c.name, got, want)
			}
			if bytes.Contains(b.Arena, []byte("3456")) || bytes.Contains(d.hasher.digits[:], []byte("3456")) || d.kafka != nil {
				t.Errorf("%s: the key stays", c.name)
			}
		}
	}
}

// TestKeysWithoutSecrets keeps them as they are, up to a length.
func TestKeysWithoutSecrets(t *testing.T) {
	s := mustParse(t, strings.NewReplacer(" secret %BIN%", "", " secret", "").Replace(keySpec))
	d, b := New(s, Options{}), newBatch(s)
	for _, c := range []struct{ key, want string }{
		{"", ""}, {"k", "k"}, {"\x00\x01", "\x00\x01"}, {strings.Repeat("x", TextMax), strings.Repeat("x", TextMax)}, {strings.Repeat("x", TextMax+1), ""},
	} {
		i := b.Add(schemas.Place{})
		d.DecodeKeyed(b, i, []byte(c.key), []byte("{"))
		if got := string(b.KeyBytes(i)); got != c.want {
			t.Errorf("%q: %q", c.key, got)
		}
		i = b.Add(schemas.Place{})
		d.Refuse(b, i, []byte(c.key), schemas.BadJSON)
		if got := string(b.KeyBytes(i)); got != c.want {
			t.Errorf("refused %q: %q", c.key, got)
		}
	}
}
