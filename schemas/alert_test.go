package schemas

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// randomAlert makes the decision of an alert, and what the alert says of it.
func randomAlert(r *rand.Rand) (d Decision, a Alert) {
	d = randomDecision(r)
	d.Tx.Time = r.Int64N(4e12) // a year of four digits
	for f, text := range d.Text {
		d.Text[f] = bytes.ToValidUTF8(text, []byte("?"))
	}
	d.Text[ID], d.Tenant = []byte("tx\n\"1\""), bytes.ToValidUTF8(d.Tenant, []byte("?"))
	a = Alert{Shard: r.Int32N(3), Offset: r.Int64N(1 << 40), Source: Place{Partition: d.Partition, Offset: d.Offset}, Tenant: d.Tenant,
		Verdict: Verdict{Outcome: d.Outcome, Reason: d.Reason}, Action: d.Action, Tx: d.Tx, Text: d.Text,
		Score: d.Score, Prob: d.Prob, Rank: d.Rank, Threshold: d.Threshold, ReviewProb: d.ReviewProb, Bundle: d.Bundle, Quick: r.IntN(2) == 0}
	a.ID = AppendAlertID(nil, a.Shard, a.Offset)
	for range r.IntN(4) {
		one := AlertReason{Group: []byte("card"), Logit: r.Float32()}
		for range r.IntN(3) {
			one.Words = append(one.Words, []byte("9.2 times this customer's 30-day mean"))
		}
		a.Reasons = append(a.Reasons, one)
	}
	return d, a
}

func TestAlertSurvivesItsJSON(t *testing.T) {
	for seed := range uint64(500) {
		d, want := randomAlert(rand.New(rand.NewPCG(seed, 9)))
		text := AppendAlertJSON(nil, &d, want.Shard, want.Offset, want.Reasons, want.Quick)
		var got Alert
		if err := ParseAlert(text, &got); err != nil {
			t.Fatalf("seed %d: %v: %s", seed, err, text)
		}
		got.Tenant, want.Tenant = append([]byte{}, got.Tenant...), append([]byte{}, want.Tenant...)
		for f := range want.Text {
			got.Text[f], want.Text[f] = append([]byte{}, got.Text[f]...), append([]byte{}, want.Text[f]...)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: want\n%+v, got\n%+v", seed, want, got)
		}
	}
}

func TestAlertWithoutAScoreHasNone(t *testing.T) {
	d, a := randomAlert(rand.New(rand.NewPCG(1, 9)))
	d.Score = float32(math.NaN())
	var got Alert
	if err := ParseAlert(AppendAlertJSON(nil, &d, a.Shard, a.Offset, nil, false), &got); err != nil || got.Score == got.Score {
		t.Errorf("%v, %v", got.Score, err)
	}
}

func TestParseAlertFailure(t *testing.T) {
	d, a := randomAlert(rand.New(rand.NewPCG(3, 9)))
	d.Outcome, d.Action, d.Reason, d.Tx.Type, d.Tx.Status = Scored, Review, 0, Authorisation, Approved
	sound := string(AppendAlertJSON(nil, &d, a.Shard, a.Offset, []AlertReason{{Group: []byte("card"), Logit: 1}}, false))
	f := func(old, new, want string) {
		t.Helper()
		text := strings.Replace(sound, old, new, 1)
		if old != "" && text == sound {
			t.Fatalf("%q is not in %s", old, sound)
		}
		var got Alert
		err := ParseAlert([]byte(text), &got)
		if !errors.Is(err, ErrJSON) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s for %s: got %v, want %q", new, old, err, want)
		}
	}
	for _, key := range []string{"id", "ledger", "source", "outcome", "action", "reason", "time", "type", "status", "amount", "amount_base", "bundle", "tx_id"} {
		f(`"`+key+`":`, `"no_`+key+`":`, key+" is missing")
	}
	f(`{"id":"`, `{"id":"9`, "is not the alert of ledger partition")
	f(`"ledger":{"partition":`, `"ledger":{"partition":-1`, "a partition is from 0")
	f(`"offset":`, `"offset":1`, "id: ")
	f(`"source":{"partition":`, `"source":{"partition":99999999999`, "a partition is from 0")
	f(`"outcome":"scored"`, `"outcome":"done"`, `outcome: "done" is not known`)
	f(`"action":"review"`, `"action":"look"`, `action: "look"`)
	f(`"reason":"none"`, `"reason":"why"`, `reason: "why"`)
	f(`"type":"authorisation"`, `"type":"gift"`, `type: "gift"`)
	f(`"status":"approved"`, `"status":"so"`, `status: "so"`)
	f(`"time":"`, `"time":"x`, "not a time of RFC 3339")
	f(`"bundle":"`, `"bundle":"0`, "16 hexadecimal digits")
	f(`"group":`, `"grape":`, "reasons: group or logit")
	f(`{"id"`, `[{"id"`, "not in its JSON form")
	f(`{"id"`, "{\"\xff\"", "broken UTF-8")
	sound += "1"
	f("", "", "bytes after the object")
}

func FuzzParseAlert(f *testing.F) {
	for seed := range uint64(10) {
		d, a := randomAlert(rand.New(rand.NewPCG(seed, 9)))
		f.Add(AppendAlertJSON(nil, &d, a.Shard, a.Offset, a.Reasons, a.Quick))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a Alert
		if ParseAlert(text, &a) != nil {
			return
		}
		d := Decision{Place: a.Source, Verdict: a.Verdict, Tx: a.Tx, Tenant: a.Tenant, Action: a.Action, Score: a.Score, Prob: a.Prob,
			Rank: a.Rank, Threshold: a.Threshold, ReviewProb: a.ReviewProb, Bundle: a.Bundle, Text: a.Text}
		if len(a.Text[ID]) == 0 {
			return // nothing is written of it
		}
		var again Alert
		if err := ParseAlert(AppendAlertJSON(nil, &d, a.Shard, a.Offset, a.Reasons, a.Quick), &again); err != nil {
			t.Fatalf("written, but not taken again: %v", err)
		}
	})
}
