package decode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

const smallSpec = `spec small
base EUR
field id = $.id
field time = $.time as %s
field amount = $.amount %s
field currency = $.currency default "EUR"
field type = $.type
type authorisation = "A", "1"
type refund = "R"
type reversal = "V"
field status = $.status default approved
status approved = "00"
status declined = "05"
field account = $.account secret
field customer = $.who.id
field channel = "ecom"
field text band = $.who.band
field number age = $.who.age
scored authorisation
home customer
amount
fallback review when amount > 1
`

// decodeOne decodes one record of a spec.
func decodeOne(t *testing.T, s *spec.Spec, record string) (*schemas.Batch, schemas.Reason) {
	t.Helper()
	b := newBatch(s)
	i := b.Add(schemas.Place{Timestamp: -1})
	return b, New(s, Options{Tokens: testTokens(t)}).Decode(b, i, []byte(record))
}

func TestAmountSuccess(t *testing.T) {
	s := mustParse(t, fmt.Sprintf(smallSpec, "ms", "decimal"))
	f := func(amount, currency string, want int64) {
		t.Helper()
		b, r := decodeOne(t, s, `{"amount":`+amount+`,"id":1,"type":"R","time":1,"currency":"`+currency+`"}`)
		base := want
		if currency != "EUR" {
			base = 0
		}
		if r != schemas.NoReason || b.Tx[0].Amount != want || b.Tx[0].AmountBase != base {
			t.Errorf("%s %s: %v, %+v, want %d and %d", amount, currency, r, b.Tx[0], want, base)
		}
	}
	f(`"12.50"`, "EUR", 1250)
	f(`12.5`, "EUR", 1250)
	f(`1250`, "JPY", 1250)
	f(`"12.500"`, "KWD", 12500)
	f(`"12.5000"`, "CLF", 125000)
	// What is exact is taken, however it is written.
	f(`"100.000000000000000000000000"`, "JPY", 100)
	f(`1.25e3`, "EUR", 125000)
	f(`1.0E7`, "EUR", 1000000000)
	f(`12500000000000000000000000e-24`, "EUR", 1250)
	f(`"0000000012.50"`, "EUR", 1250)
	f(`0e999999999999999999999`, "EUR", 0)
	f(`-0.00`, "EUR", 0)
	f(`-12.5`, "EUR", -1250)
	f(`"9999999999999999.99"`, "EUR", 999999999999999999)
	f(`0.1`, "EUR", 10)
	f(`0.29`, "EUR", 29) // 28.999999999999996 in floating point
	// Above, f asks for a refund: a reversal may be below zero too.
	if b, r := decodeOne(t, s, `{"amount":-12.5,"id":1,"type":"V","time":1}`); r != schemas.NoReason || b.Tx[0].Amount != -1250 {
		t.Errorf("a reversal: %v, %+v", r, b.Tx[0])
	}
}

func TestAmountFailure(t *testing.T) {
	s := mustParse(t, fmt.Sprintf(smallSpec, "ms", "decimal"))
	f := func(amount, rest string, want schemas.Reason) {
		t.Helper()
		if b, r := decodeOne(t, s, `{"amount":`+amount+`,"id":1,"time":1`+rest+`}`); r != want || b.Tx[0].Amount != 0 || b.Tx[0].AmountBase != 0 {
			t.Errorf("%s%s: %v, %+v, want %v", amount, rest, r, b.Tx[0], want)
		}
	}
	f(`"10000000000000000.00"`, ``, schemas.AmountRange)
	f(`1e400`, ``, schemas.AmountRange)
	f(`1e99999999999999999999`, ``, schemas.AmountRange)
	f(`"123456789012345678901234567890"`, ``, schemas.AmountRange)
	f(`12.345`, ``, schemas.AmountPrecision)
	f(`1.5`, `,"currency":"JPY"`, schemas.AmountPrecision)
	f(`1e-99999999999999999999`, ``, schemas.AmountPrecision)
	f(`0.0000000000000000000000000001`, ``, schemas.AmountPrecision)
	for _, form := range []string{`""`, `" 1"`, `"1 "`, `"+1"`, `".5"`, `"5."`, `"1,50"`, `"1e"`, `"1e+"`, `"--1"`, `"-"`, `"1.2.3"`, `"NaN"`, `"0x1p3"`, `"1_000"`, `"١"`} {
		f(form, ``, schemas.BadAmount)
	}
	f(`[1]`, ``, schemas.BadAmount)
	f(`-0.01`, ``, schemas.NegativeAmount)
	f(`-0.01`, `,"type":"1"`, schemas.NegativeAmount)
	f(`1`, `,"currency":"eur"`, schemas.BadCurrency)
	f(`1`, `,"currency":"XAU"`, schemas.BadCurrency)
	f(`null`, ``, schemas.MissingAmount)
}

func TestAmountMinor(t *testing.T) {
	s := mustParse(t, fmt.Sprintf(smallSpec, "ms", "minor"))
	f := func(amount, currency string, want int64, reason schemas.Reason) {
		t.Helper()
		b, r := decodeOne(t, s, `{"amount":`+amount+`,"id":1,"time":1,"currency":"`+currency+`"}`)
		if r != reason || b.Tx[0].Amount != want {
			t.Errorf("%s %s: %v, %+v, want %d, %v", amount, currency, r, b.Tx[0], want, reason)
		}
	}
	f(`1250`, "EUR", 1250, schemas.NoReason)
	f(`"1250"`, "KWD", 1250, schemas.NoReason)
	f(`1250.00`, "JPY", 1250, schemas.NoReason)
	f(`12.5`, "EUR", 0, schemas.AmountPrecision)
	f(`999999999999999999`, "EUR", 999999999999999999, schemas.NoReason)
	f(`1000000000000000000`, "EUR", 0, schemas.AmountRange)
	f(`1`, "EUX", 0, schemas.BadCurrency)
}

func TestEpochSuccess(t *testing.T) {
	f := func(form, value string, want int64) {
		t.Helper()
		s := mustParse(t, fmt.Sprintf(smallSpec, form, "decimal"))
		if b, r := decodeOne(t, s, `{"amount":1,"id":1,"time":`+value+`}`); r != schemas.NoReason || b.Tx[0].Time != want {
			t.Errorf("%s %s: %v, %d, want %d", form, value, r, b.Tx[0].Time, want)
		}
	}
	f("s", `1767323045`, 1767323045000)
	f("s", `"1767323045"`, 1767323045000)
	f("s", `1767323045.6789`, 1767323045678)
	f("s", `1.767323045e9`, 1767323045000)
	f("s", `0`, 0)
	f("s", `-0`, 0)
	f("s", `0.0009`, 0)
	f("s", `7258118399.9999`, 7258118399999)
	f("ms", `1767323045678`, 1767323045678)
	f("ms", `1767323045678.9`, 1767323045678)
	f("us", `1767323045678901`, 1767323045678)
	f("us", `"999"`, 0)
}

func TestEpochFailure(t *testing.T) {
	f := func(form, value string, want schemas.Reason) {
		t.Helper()
		s := mustParse(t, fmt.Sprintf(smallSpec, form, "decimal"))
		if b, r := decodeOne(t, s, `{"amount":1,"id":1,"time":`+value+`}`); r != want || b.Tx[0].Time != 0 {
			t.Errorf("%s %s: %v, %d, want %v", form, value, r, b.Tx[0].Time, want)
		}
	}
	f("s", `"soon"`, schemas.BadTime)
	f("s", `"2026-01-02T03:04:05Z"`, schemas.BadTime)
	f("s", `1.00000000000000000001`, schemas.BadTime)
	f("s", `true`, schemas.BadTime)
	f("s", `-1`, schemas.AbsurdTime)
	f("s", `1767323045000`, schemas.AbsurdTime) // milliseconds taken for seconds
	f("s", `1e400`, schemas.AbsurdTime)
	f("ms", `7258118400000`, schemas.AbsurdTime)
	f("us", `7258118400000000`, schemas.AbsurdTime)
}

// TestParseTime compares with the time package over random times and zones, and
// over every day from 1900 to 2300.
func TestParseTime(t *testing.T) {
	for day := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2300; day = day.AddDate(0, 0, 1) {
		text := day.Format("2006-01-02 15:04:05")
		if ms, c := parseTime([]byte(text)); c != passed || ms != day.UnixMilli() {
			t.Fatalf("%s: %d, %s", text, ms, checks[c].text)
		}
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	layouts := []string{time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000Z07:00", "2006-01-02 15:04:05.000000-07:00"}
	for range 20_000 {
		zone := time.FixedZone("", (rnd.IntN(2*1440-1)-1439)*60)
		want := time.Unix(rnd.Int64N(8e9)-1e9, rnd.Int64N(1e9)).In(zone)
		text := want.Format(layouts[rnd.IntN(len(layouts))])
		want, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "T", 1)) // with the layout's loss
		if err != nil {
			t.Fatal(err)
		}
		if ms, c := parseTime([]byte(text)); c != passed || ms != want.UnixMilli() {
			t.Fatalf("seed %d: %s: %d, %s, want %d", seed, text, ms, checks[c].text, want.UnixMilli())
		}
	}
}

func TestParseTimeForms(t *testing.T) {
	f := func(text string, want int64, c check) {
		t.Helper()
		if ms, got := parseTime([]byte(text)); got != c || c == passed && ms != want {
			t.Errorf("%q: %d %q, want %d %q", text, ms, checks[got].name, want, checks[c].name)
		}
	}
	f("2016-12-31T23:59:60Z", 1483228800000, passed)
	f("2017-01-01T00:59:60.5+01:00", 1483228800500, passed)
	f("2016-12-31T22:59:60Z", 0, timeClock)
	f("2016-12-31T23:59:61Z", 0, timeClock)
	f("2000-02-29t00:00:00z", 951782400000, passed)
	f("2100-02-29T00:00:00Z", 0, timeCalendar)
	f("2026-13-01T00:00:00Z", 0, timeCalendar)
	f("2026-00-01T00:00:00Z", 0, timeCalendar)
	f("2026-04-31T00:00:00Z", 0, timeCalendar)
	f("2026-01-00T00:00:00Z", 0, timeCalendar)
	f("2026-01-01T00:60:00Z", 0, timeClock)
	f("2026-01-01T00:00:00+24:00", 0, timeZone)
	f("2026-01-01T00:00:00+01:60", 0, timeZone)
	f("2026-01-01T00:00:00+01", 0, timeZone)
	f("2026-01-01T00:00:00 Z", 0, timeZone)
	f("2026-01-01T00:00:00.Z", 0, timeForm)
	f("2026-01-01T00:00:00,5Z", 0, timeZone)
	f("2026-01-01", 0, timeForm)
	f("2026-1-01T00:00:00Z ", 0, timeForm)
	f("2026-01-01X00:00:00Z", 0, timeForm)
	f("-026-01-01T00:00:00Z", 0, timeForm)
	f("", 0, timeForm)
}

// TestFuture holds the bound against the record's Kafka timestamp.
func TestFuture(t *testing.T) {
	s := mustParse(t, fmt.Sprintf(smallSpec, "ms", "decimal")) // future 5m by default
	d := New(s, Options{Tokens: testTokens(t)})
	f := func(timestamp, time int64, want schemas.Reason) {
		t.Helper()
		b := newBatch(s)
		i := b.Add(schemas.Place{Timestamp: timestamp})
		if r := d.Decode(b, i, fmt.Appendf(nil, `{"id":"a","amount":1,"time":%d}`, time)); r != want || (r == 0) != (b.Tx[i].Time == time) {
			t.Errorf("time %d at %d: %v, %d, want %v", time, timestamp, r, b.Tx[i].Time, want)
		}
	}
	f(1e12, 1e12+300_000, schemas.NoReason)
	f(1e12, 1e12+300_001, schemas.FutureTime)
	f(-1, 1e12, schemas.NoReason)
	f(0, 300_000, schemas.NoReason)
	f(0, 300_001, schemas.FutureTime)
	f(math.MaxInt64, 7258118399999, schemas.NoReason)
}

// TestFields holds what becomes of fields, and of those that are not there.
func TestFields(t *testing.T) {
	s := mustParse(t, fmt.Sprintf(smallSpec, "ms", "decimal"))
	f := func(record string, want string, reason schemas.Reason) {
		t.Helper()
		b, r := decodeOne(t, s, `{"time":1,"amount":1,`+record+`}`)
		account := b.Bytes(0, schemas.Account)
		got := fmt.Sprintf("%s %v %v %s %s %s %s %v", b.Bytes(0, schemas.ID), b.Tx[0].Type, b.Tx[0].Status, b.Bytes(0, schemas.Customer),
			b.Bytes(0, schemas.Channel), b.Bytes(0, schemas.Currency), b.Bytes(0, schemas.NumText), b.Number[0])
		if len(account) > 0 {
			got += " " + string(account[:3])
		}
		if r != reason || got != want {
			t.Errorf("%s: %v %q, want %v %q", record, r, got, reason, want)
		}
	}
	f(`"id":"a"`, "a authorisation approved  ecom EUR  NaN", schemas.NoReason)
	f(`"id":-17`, "-17 authorisation approved  ecom EUR  NaN", schemas.NoReason)
	f(`"id":"a","type":1,"status":"05"`, "a authorisation declined  ecom EUR  NaN", schemas.NoReason)
	f(`"id":"a","who":{"age":-1.5e2,"id":"c","band":"x"}`, "a authorisation approved c ecom EUR x -150", schemas.NoReason)
	f(`"id":"a","who":null,"currency":"","channel":"pos"`, "a authorisation approved  ecom EUR  NaN", schemas.NoReason)
	f(`"id":"a","account":"DE89 3704 0044 0532 0130 00"`, "a authorisation approved  ecom EUR  NaN k1.", schemas.NoReason)
	// What is below another name, or above, is another field.
	f(`"id":"a","x":{"id":"b","who":{"id":"c"}}`, "a authorisation approved  ecom EUR  NaN", schemas.NoReason)
	f(`"id":"a","who":{"who":{"id":"c"}}`, "a authorisation approved  ecom EUR  NaN", schemas.NoReason)
	// A fault keeps what was good, and the id behind it. Constants are not filled in.
	f(`"who":{"id":true},"id":"a"`, "a authorisation approved     NaN", schemas.BadText)
	f(`"who":"c","id":"a"`, "a authorisation approved     NaN", schemas.BadText)
	f(`"who":[{"id":"c"}],"id":"a"`, "a authorisation approved     NaN", schemas.BadText)
	f(`"id":"a","who":{"band":5}`, "a authorisation approved     NaN", schemas.BadText)
	f(`"id":"a","who":{"age":"1e400"}`, "a authorisation approved     NaN", schemas.NumberRange)
	f(`"id":"a","type":"A","type":"R"`, "a authorisation approved     NaN", schemas.DuplicateKey)
}

// TestFloat compares own numbers with strconv bit by bit.
func TestFloat(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		var text string
		switch rnd.IntN(4) {
		case 0:
			text = strconv.FormatFloat(math.Float64frombits(rnd.Uint64()), 'e', rnd.IntN(20)-1, 64)
		case 1:
			text = strconv.FormatFloat(rnd.NormFloat64()*1000, 'f', rnd.IntN(6), 64)
		case 2:
			text = strconv.FormatInt(rnd.Int64()-rnd.Int64(), 10) + "e" + strconv.Itoa(rnd.IntN(60)-30)
		case 3:
			text = strings.Repeat("9", rnd.IntN(30)+1) + "." + strings.Repeat("0", rnd.IntN(30)+1) + "1e" + strconv.Itoa(rnd.IntN(700)-350)
		}
		if strings.ContainsAny(text, "NI") {
			continue // NaN and Inf are no JSON
		}
		want, err := strconv.ParseFloat(text, 64)
		d, ok := parseDecimal([]byte(text))
		if !ok {
			t.Fatalf("seed %d: %s: not read", seed, text)
		}
		got, c := d.float([]byte(text))
		if (err != nil) != (c == numberRange) || err == nil && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("seed %d: %s: %v %s, want %v %v", seed, text, got, checks[c].text, want, err)
		}
	}
}
