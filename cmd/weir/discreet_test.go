package main

import (
	"encoding/json"
	"testing"

	"github.com/weir-risk/weir/ingest/decode/wiretest"
)

// TestDiscreet shows what tail makes of records that others write: whatever looks
// like a card's number loses its middle, and nothing else is changed.
func TestDiscreet(t *testing.T) {
	f := func(record, want string) {
		t.Helper()
		got, err := json.Marshal(discreet([]byte(record)))
		if err != nil || string(got) != want {
			t.Errorf("%q: %s, %v, want %s", record, got, err, want)
		}
	}
	// Strings of JSON, with what the decoder takes between digits.
	f(`{"card":"4000001234567899","id":"t1"}`, `{"card":"400000******7899","id":"t1"}`)
	f(`{"a":["5555 5555-5555 4444",{"b":"x4111111111111111y"}]}`, `{"a":["555555******4444",{"b":"x411111******1111y"}]}`)
	f(`{"a":"378282246310005","b":"6011000990139424777","c":"4222222222222"}`, `{"a":"378282*****0005","b":"601100*********4777","c":"422222***2222"}`)
	f(`{"4111111111111111":"\"4111111111111111\\"}`, `{"411111******1111":"\"411111******1111\\"}`)
	// Numbers: a whole one may be a card, and is a string then.
	f(`{"card":4000001234567899,"x":-4111111111111111,"y":0.4111111111111111,"z":4111111111111111e2}`, `{"card":"400000******7899","x":-4111111111111111,"y":0.4111111111111111,"z":4111111111111111e2}`)
	f(`4111111111111111`, `"411111******1111"`) // a key
	// Other digits: another check digit, no network, too short, too long, times.
	f(`{"a":"4000001234567890","b":"9999999999999995","c":"422222222222","d":"41111111111111111115","t":1700000000004,"u":1700000000000001}`,
		`{"a":"4000001234567890","b":"9999999999999995","c":"422222222222","d":"41111111111111111115","t":1700000000004,"u":1700000000000001}`)
	f(`{"id":"550e8400-e29b-41d4-a716-446655440000","t":"2026-01-02T03:04:05.123456Z"}`, `{"id":"550e8400-e29b-41d4-a716-446655440000","t":"2026-01-02T03:04:05.123456Z"}`)
	// A number beside other digits, in one run with them.
	f(`{"a":"2026-11-25 4111 1111 1111 1111","b":"3 4000001234567899 12","c":"4111-1111-1111-1111-5555555555554444"}`,
		`{"a":"2026-11-25 411111******1111","b":"3 400000******7899 12","c":"411111******1111-555555******4444"}`)
	// Text that is no JSON.
	f(`pay,4111111111111111,12.50`, `"pay,411111******1111,12.50"`)
	f("", `""`)
	// Anything else is not shown at all.
	f(string(wiretest.Frame(258, nil, []byte("\x20"+"4111111111111111"))), `{"bytes":22,"schema":258}`)
	f("\x00\x00", `{"bytes":2}`)
	f("\x02\x204111111111111111", `{"bytes":18}`)
	f("4111111111111111\xff", `{"bytes":17}`)
	if discreet(nil) != nil {
		t.Error("a tombstone is shown as something")
	}
}
