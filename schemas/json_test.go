package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestLabelSurvivesItsJSON(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := Label{TxID: []byte("tx \"é\\\n" + strings.Repeat("a", r.IntN(4))), Verdict: LabelVerdict(r.IntN(3)),
			Source: LabelSource(r.IntN(5)), KnownAt: r.Int64N(4e12), Version: 1 + r.Uint32N(LabelVersionMax)}
		if r.IntN(2) == 0 {
			want.FraudType, want.Selected, want.SelectedProb = []byte("stolen"), []byte(selectedNames[r.IntN(len(selectedNames))]), r.Float32()
		}
		if r.IntN(2) == 0 {
			want.Time = 1 + r.Int64N(4e12)
		}
		for i := range want.Entity {
			if r.IntN(2) == 0 {
				want.Entity[i] = fmt.Appendf(nil, "%s \"%d\"", LabelEntities[i], r.IntN(100))
			}
		}
		text := AppendLabelJSON(nil, &want)
		if !json.Valid(text) {
			t.Fatalf("seed %d: not JSON: %s", seed, text)
		}
		var got Label
		if err := ParseLabel(text, &got); err != nil {
			t.Fatalf("seed %d: %v: %s", seed, err, text)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: want %+v, got %+v", seed, want, got)
		}
	}
}

func TestParseLabelFailure(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var l Label
		err := ParseLabel([]byte(text), &l)
		if !errors.Is(err, ErrJSON) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	f(``, "expected '{'")
	f(`{}`, "tx_id is missing")
	f(`{"tx_id":"a"}`, "verdict is missing")
	f(`{"tx_id":"a","verdict":"maybe"}`, "none of [none genuine fraud]")
	f(`{"tx_id":"a","verdict":"fraud"}`, "source is missing")
	f(`{"tx_id":"a","verdict":"fraud","source":"analyst"}`, "known_at is missing")
	f(`{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"yesterday"}`, "not a time")
	f(`{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z","version":0}`, "version")
	f(`{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z","version":1024}`, "version")
	f(`{"tx_id":"a","tx_id":"b"}`, "tx_id comes twice")
	f(`{"tx_id":5}`, "tx_id: not in its JSON form: expected a string")
	f(`{"source":"hearsay"}`, "none of [chargeback")
	f(`{"selected_probability":1.5}`, "from 0 to 1")
	f(`{"selected":"chance"}`, `selected: not in its JSON form: "chance" is none of [alert exploration none]`)
	f(`{"selected":true}`, "selected: ")
	f(`{"selected":"Alert"}`, "none of")
	f(`{"time":"noon"}`, "time: not in its JSON form: \"noon\" is not a time")
	f(`{"time":1767225600000}`, "time: not in its JSON form: expected a string")
	f(`{"card":4}`, "card: not in its JSON form: expected a string")
	f(`{"ip":null}`, "ip: not in its JSON form: expected a string")
	f(`{"card":"a","merchant":"b","card":"a"}`, "card comes twice")
	f(`{"tx_id":"a","x":{}}`, "expected a string, a number or a literal")
	f(`{"tx_id":"a"} x`, "bytes after the object")
	f(`{"tx_id":"a`, "without an end")
	f("{\"tx_id\":\"a\nb\"}", "control character")
	f("{\"tx_id\":\"\xff\"}", "broken UTF-8")
	f(`{"tx_id" "a"}`, "expected ':'")
	f(`{"tx_id":"a" "b":1}`, "expected '}'")
}

// TestOldLabelsAreReadable reads labels as they were written before a label said when
// its transaction was and whose; labels.golden says what they were read as then, in
// the form in which they would be written.
func TestOldLabelsAreReadable(t *testing.T) {
	text, err := os.ReadFile("testdata/labels.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for line := range bytes.Lines(text) {
		var l Label
		if err := ParseLabel(bytes.TrimSpace(line), &l); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if l.Time != 0 || len(bytes.Join(l.Entity[:], nil)) > 0 {
			t.Errorf("%s names more than its transaction: %+v", line, l)
		}
		got = append(AppendLabelJSON(got, &l), '\n')
	}
	if *update {
		if err := os.WriteFile("testdata/labels.golden", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/labels.golden")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v; old labels are read as\n%s\nwant\n%s", err, got, want)
	}
}

func FuzzParseLabel(f *testing.F) {
	f.Add([]byte(`{"tx_id":"a","verdict":"fraud","source":"analyst","known_at":"2026-01-01T00:00:00Z","version":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l Label
		if ParseLabel(text, &l) == nil && !json.Valid(text) {
			t.Fatalf("taken, but not JSON: %q", text)
		}
	})
}

func TestAlertIsJSONWithAllFieldsThatArePresent(t *testing.T) {
	d := randomDecision(rand.New(rand.NewPCG(6, 6)))
	for f := range d.Text {
		d.Text[f] = []byte("v-" + TextField(f).String())
	}
	var m map[string]any
	if err := json.Unmarshal(AppendAlertJSON(nil, &d, 2, 77, nil, false), &m); err != nil {
		t.Fatal(err)
	}
	if m["id"] != "2-77" {
		t.Errorf("id is %v", m["id"])
	}
	for f := range NumText {
		key := f.String()
		if f == ID {
			key = "tx_id"
		}
		if m[key] != "v-"+f.String() {
			t.Errorf("%s is %v", key, m[key])
		}
	}
}

// TestAlertSaysWhatTheDecisionIs gives every field another value, so that none
// can stand for another.
func TestAlertSaysWhatTheDecisionIs(t *testing.T) {
	d := Decision{
		Place: Place{Partition: 3, Offset: 41}, Verdict: Verdict{Outcome: Degraded, Reason: ModelFailed}, Tenant: []byte("a \"bank\""),
		Tx:    Transaction{Time: 1767323045006, Amount: -1250, AmountBase: -1100, Type: Refund, Status: Declined},
		Score: .25, Prob: .125, Rank: 7.5, Threshold: 6.5, ReviewProb: 1, Action: Block, Bundle: 0x0123456789abcdef,
	}
	d.Text[ID], d.Text[Currency] = []byte("t-1"), []byte("USD")
	const want = `{"id":"2-77","ledger":{"partition":2,"offset":77},"source":{"partition":3,"offset":41},"tenant":"a \"bank\"",` +
		`"outcome":"degraded","action":"block","reason":"model_failed","time":"2026-01-02T03:04:05.006Z","type":"refund",` +
		`"status":"declined","amount":-1250,"amount_base":-1100,"score":0.25,"probability":0.125,"rank":7.5,"threshold":6.5,` +
		`"review_probability":1,"bundle":"0123456789abcdef",` +
		`"reasons":[{"group":"card","logit":1.5,"words":["9 times","twice"]},{"group":"device","logit":-0.5,"words":[]}],"reasons_quick":true,` +
		`"tx_id":"t-1","currency":"USD"}`
	got := AppendAlertJSON(nil, &d, 2, 77, []AlertReason{
		{Group: []byte("card"), Logit: 1.5, Words: [][]byte{[]byte("9 times"), []byte("twice")}}, {Group: []byte("device"), Logit: -.5}}, true)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNamesAreUniqueAndParse(t *testing.T) {
	for r := NoReason; r < NumReasons; r++ {
		if got, ok := ParseReason(r.String()); !ok || got != r {
			t.Errorf("reason %d is called %q, which is %d", r, r, got)
		}
	}
	for f := range NumText {
		if got, ok := ParseTextField(f.String()); !ok || got != f {
			t.Errorf("field %d is called %q, which is %d", f, f, got)
		}
	}
}

func TestCurrencyDigits(t *testing.T) {
	f := func(code string, want int, ok bool) {
		t.Helper()
		if got, k := CurrencyDigits([]byte(code)); got != want || k != ok {
			t.Errorf("%s: got %d, %v", code, got, k)
		}
	}
	f("EUR", 2, true)
	f("JPY", 0, true)
	f("KWD", 3, true)
	f("CLF", 4, true)
	f("XAU", 0, false)
	f("eur", 0, false)
	f("EU", 0, false)
	f("EURO", 0, false)
}
