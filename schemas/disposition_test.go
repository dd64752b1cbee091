package schemas

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// RandomDisposition makes a disposition with or without each of its parts.
func RandomDisposition(r *rand.Rand) Disposition {
	maybe := func(text string) []byte {
		if r.IntN(2) == 0 {
			return nil
		}
		return []byte(text)
	}
	d := Disposition{ID: []byte("a\"é\\" + strings.Repeat("1", r.IntN(5))), AlertID: AppendAlertID(nil, r.Int32N(3), r.Int64N(1e9)),
		TxID: []byte("tx 1"), Kind: DispositionKind(r.IntN(int(NumDispositionKinds))), By: []byte("ann"), At: r.Int64N(4e12),
		Reason: maybe("card_lost"), Note: maybe("called\nthe customer"), Previous: maybe("b"), As: Standing(r.IntN(int(NumStandings)))}
	switch d.Kind {
	case Snoozed:
		d.Until = r.Int64N(4e12)
	case Undone:
		d.Previous = []byte("b")
	case Assigned:
		d.To = []byte("bob")
	}
	return d
}

func TestDispositionSurvivesItsJSON(t *testing.T) {
	for seed := range uint64(500) {
		want := RandomDisposition(rand.New(rand.NewPCG(seed, 8)))
		text := AppendDispositionJSON(nil, &want)
		var got Disposition
		if err := ParseDisposition(text, &got); err != nil {
			t.Fatalf("seed %d: %v: %s", seed, err, text)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: want %+v, got %+v", seed, want, got)
		}
	}
}

func TestParseDispositionPassesUnknownKeysOver(t *testing.T) {
	var d Disposition
	err := ParseDisposition([]byte(`{"x":1,"x":"2","id":"1","alert_id":"0-1","tx_id":"t","kind":"noted","by":"ann","at":"2026-01-01T00:00:00Z","note":"n"}`), &d)
	if err != nil || string(d.Note) != "n" || d.Kind != Noted {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestParseDispositionFailure(t *testing.T) {
	const sound = `"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann","at":"2026-01-01T00:00:00Z"`
	f := func(text, want string) {
		t.Helper()
		var d Disposition
		err := ParseDisposition([]byte(text), &d)
		if !errors.Is(err, ErrJSON) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	f(``, "expected '{'")
	f(`{}`, "id is missing")
	f(`{"id":"1"}`, "alert_id is missing")
	f(`{"id":"1","alert_id":"0-1"}`, "tx_id is missing")
	f(`{"id":"1","alert_id":"0-1","tx_id":"t"}`, "kind is missing")
	f(`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed"}`, "by is missing")
	f(`{"id":"1","alert_id":"0-1","tx_id":"t","kind":"claimed","by":"ann"}`, "at is missing")
	f(`{`+sound+`,"kind":"noted"}`, "kind comes twice")
	f(`{`+sound+`,"note":7}`, "note: not in its JSON form: expected a string")
	f(`{`+sound+`,"until":"2026-01-01T00:00:00Z"}`, "until belongs")
	f(`{`+sound+`,"to":"bob"}`, "to belongs")
	f(strings.Replace(`{`+sound+`}`, "claimed", "assigned", 1), "to belongs")
	f(strings.Replace(`{`+sound+`,"to":""}`, "claimed", "assigned", 1), "to belongs")
	f(`{`+sound+`,"note":"`+strings.Repeat("n", NoteBytesMax+1)+`"}`, "expected 4096 at most")
	f(`{`+sound+`,"as":"owner"}`, "none of [analyst supervisor]")
	f(`{`+sound+`,"as":1}`, "none of [analyst supervisor]")
	f(`{"kind":"shut"}`, "none of [claimed")
	f(`{"kind":3}`, "none of [claimed")
	f(`{"at":"noon"}`, "not a time")
	f("{\"id\":\"\xff\"}", "broken UTF-8")
}

func FuzzParseDisposition(f *testing.F) {
	for seed := range uint64(10) {
		d := RandomDisposition(rand.New(rand.NewPCG(seed, 8)))
		f.Add(AppendDispositionJSON(nil, &d))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d, again Disposition
		if ParseDisposition(text, &d) != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("taken, but not JSON: %q", text)
		}
		if err := ParseDisposition(AppendDispositionJSON(nil, &d), &again); err != nil {
			t.Fatalf("written, but not taken again: %v", err)
		}
		// Empty texts are left out when they are written.
		for _, p := range []*Disposition{&d, &again} {
			for _, text := range []*[]byte{&p.Reason, &p.Note, &p.Previous, &p.To} {
				if len(*text) == 0 {
					*text = nil
				}
			}
		}
		if !reflect.DeepEqual(d, again) {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
