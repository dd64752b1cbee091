package schemas

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// RandomAudit makes an audit entry with or without each of its parts.
func RandomAudit(r *rand.Rand) AuditEntry {
	maybe := func(text string) []byte {
		if r.IntN(2) == 0 {
			return nil
		}
		return []byte(text)
	}
	return AuditEntry{ID: []byte("a\"é\\" + strings.Repeat("1", r.IntN(5))), At: r.Int64N(4e12), Who: []byte("ann"),
		What: AuditAct(r.IntN(int(NumAuditActs))), Of: maybe("/alerts/0-7"), Address: maybe("::1"), Detail: maybe("wrong\npassword")}
}

func TestAuditSurvivesItsJSON(t *testing.T) {
	for seed := range uint64(500) {
		want := RandomAudit(rand.New(rand.NewPCG(seed, 9)))
		text := AppendAuditJSON(nil, &want)
		var got AuditEntry
		if err := ParseAudit(text, &got); err != nil {
			t.Fatalf("seed %d: %v: %s", seed, err, text)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: want %+v, got %+v", seed, want, got)
		}
	}
}

// TestLongAuditTextsAreCutNotRefused: what a browser sends must not be able to keep
// an entry from being written.
func TestLongAuditTextsAreCutNotRefused(t *testing.T) {
	for _, text := range []string{strings.Repeat("é", 3000), strings.Repeat("\xff", 5000), "x" + strings.Repeat("漢", 1000)} {
		a := AuditEntry{ID: []byte("1"), Who: []byte("ann"), What: AuditViewed, Of: []byte(text)}
		var got AuditEntry
		if err := ParseAudit(AppendAuditJSON(nil, &a), &got); err != nil {
			t.Fatal(err)
		}
		if n := len(got.Of); n > AuditTextBytesMax || n < AuditTextBytesMax-3 || !utf8.Valid(got.Of) {
			t.Errorf("%.8q is cut to %d bytes", text, n)
		}
	}
}

func TestParseAuditFailure(t *testing.T) {
	const sound = `"id":"1","at":"2026-01-01T00:00:00Z","who":"ann","what":"viewed"`
	f := func(text, want string) {
		t.Helper()
		var a AuditEntry
		err := ParseAudit([]byte(text), &a)
		if !errors.Is(err, ErrJSON) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	f(``, "expected '{'")
	f(`{}`, "id is missing")
	f(`{"id":"1"}`, "at is missing")
	f(`{"id":"1","at":"2026-01-01T00:00:00Z"}`, "who is missing")
	f(`{"id":"1","at":"2026-01-01T00:00:00Z","who":"ann"}`, "what is missing")
	f(`{`+sound+`,"what":"viewed"}`, "what comes twice")
	f(`{`+sound+`,"of":7}`, "of: not in its JSON form: expected a string")
	f(`{`+sound+`,"detail":"`+strings.Repeat("n", AuditTextBytesMax+1)+`"}`, "detail of 2049 bytes, expected 2048 at most")
	f(`{"what":"stared"}`, "none of [logged_in")
	f(`{"at":"noon"}`, "not a time")
	f("{\"id\":\"\xff\"}", "broken UTF-8")
}

func FuzzParseAudit(f *testing.F) {
	for seed := range uint64(10) {
		a := RandomAudit(rand.New(rand.NewPCG(seed, 9)))
		f.Add(AppendAuditJSON(nil, &a))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a, again AuditEntry
		if ParseAudit(text, &a) != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("taken, but not JSON: %q", text)
		}
		if err := ParseAudit(AppendAuditJSON(nil, &a), &again); err != nil {
			t.Fatalf("written, but not taken again: %v", err)
		}
		// Empty texts are left out when they are written.
		for _, p := range []*AuditEntry{&a, &again} {
			for _, text := range []*[]byte{&p.Of, &p.Address, &p.Detail} {
				if len(*text) == 0 {
					*text = nil
				}
			}
		}
		if !reflect.DeepEqual(a, again) {
			t.Fatalf("%+v became %+v", a, again)
		}
	})
}
