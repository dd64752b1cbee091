package decode

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode/decodetest"
	"github.com/weir-risk/weir/schemas"
)

// kafkaTime is the Kafka timestamp of the records in these tests:
// 2026-01-02T03:04:06Z.
const kafkaTime = 1767323046000

func mustParse(t testing.TB, text string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testTokens(t testing.TB) *Tokens {
	t.Helper()
	tokens, err := NewTokens(Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func malformedSpec(t testing.TB) *spec.Spec {
	t.Helper()
	text, err := os.ReadFile("testdata/malformed.spec")
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, string(text))
}

func newBatch(s *spec.Spec) *schemas.Batch {
	b := &schemas.Batch{}
	b.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
	return b
}

// elsewhere are the checks that no record of malformed.spec can fail: its times
// are not epochs. TestEpochFailure has it.
var elsewhere = map[check]bool{passed: true, timeEpoch: true}

// TestMalformed decodes each record of the file, sees that it is stopped by the
// check that it names, and that every check stops exactly one.
func TestMalformed(t *testing.T) {
	cases, err := decodetest.Read("testdata/malformed.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := malformedSpec(t)
	d, b := New(s, Options{Tokens: testTokens(t)}), newBatch(s)
	stopped := map[string]int{}
	for _, c := range cases {
		i := b.Add(schemas.Place{Offset: int64(len(stopped)), Timestamp: kafkaTime})
		reason := d.Decode(b, i, c.Value)
		if name := checks[d.why].name; name != c.Check || reason != c.Reason {
			t.Errorf("%s: stopped by %q with %v, want %v", c.Check, name, reason, c.Reason)
		}
		if v := b.Verdict[i]; v.Outcome != schemas.Rejected || v.Reason != reason {
			t.Errorf("%s: verdict %v %v", c.Check, v.Outcome, v.Reason)
		}
		if d.Stopped() == "" {
			t.Errorf("%s: says nothing", c.Check)
		}
		stopped[c.Check]++
	}
	for c := range numChecks {
		if n := stopped[checks[c].name]; n != 1 && !elsewhere[c] {
			t.Errorf("%d cases are stopped by %q, want 1", n, checks[c].name)
		}
	}
	if len(cases) < 45 {
		t.Errorf("%d cases, want 45 or more", len(cases))
	}
	if bytes.Contains(b.Arena, []byte("4000001234567")) || bytes.Contains(b.Arena, []byte("40000012345")) {
		t.Error("a card number is in the batch")
	}
}

// TestWhatJustFits takes records at the very limits that others are beyond.
func TestWhatJustFits(t *testing.T) {
	s := malformedSpec(t)
	d, b := New(s, Options{Tokens: testTokens(t)}), newBatch(s)
	f := func(what, more string) {
		t.Helper()
		record := `{"id":"t1","time":"2026-01-02T03:04:05Z","amount":1,"currency":"EUR"` + more + `}`
		if r := d.Decode(b, b.Add(schemas.Place{Timestamp: kafkaTime}), []byte(record)); r != schemas.NoReason {
			t.Errorf("%s: %v, %s", what, r, d.Stopped())
		}
	}
	f("a record of max_bytes", strings.Repeat(" ", s.Input.MaxBytes-len(`{"id":"t1","time":"2026-01-02T03:04:05Z","amount":1,"currency":"EUR"}`)))
	f("objects as deep as max_depth", `,"x":{"a":{"b":{}}}`)
	f("arrays as deep as max_depth", `,"x":[[[]]]`)
	f("a wanted object beside one", `,"card":{"x":{"a":{}}}`)
	f("a card number of 12 digits", `,"card":{"pan":"400000123456"}`)
	f("a card number of 19 digits", `,"card":{"pan":4000001234567899123}`)
	f("a text of 256 bytes", `,"customer":"`+strings.Repeat("c", TextMax)+`"`)
}

// TestNoReasonIsForgotten sees that every reason of rejected that a JSON record
// can have is given by some check.
func TestNoReasonIsForgotten(t *testing.T) {
	given := map[schemas.Reason]bool{
		// Of files that weir features reads, and one that nothing gives.
		schemas.BadSchema: true, schemas.BadLabel: true, schemas.BadCompression: true,
	}
	for _, c := range checks {
		given[c.reason] = true
	}
	for r := schemas.NullValue; r <= schemas.BadCompression; r++ {
		if !given[r] {
			t.Errorf("no check gives %v", r)
		}
	}
}
