package decode

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

const handbookRecord = `{"TRANSACTION_ID":680886,"TX_DATETIME":"2018-06-11 00:00:24","CUSTOMER_ID":3711,"TERMINAL_ID":8121,"TX_AMOUNT":75.81}`

const paymentsRecord = `{"id":"tx000000680886","original_id":"tx000000680001","type":"authorisation","status":"approved",` +
	`"time":"2026-01-02T03:04:05.678Z","amount":"1234.56","currency":"EUR","card":"4000001234567899","customer":"C00003711",` +
	`"account":"A00003712","counterparty":"A00009120","merchant":"M00000812","mcc":"5411","terminal":"T00008121","country":"BE",` +
	`"channel":"ecom","entry_mode":"chip","device":"D00001234","ip":"192.168.17.201","reference":"order 2026/000123 – thank you",` +
	`"basket":[{"sku":"A-1","n":2},{"sku":"B-7","n":1}],"three_ds":true}`

func builtin(t testing.TB, name string) *spec.Spec {
	t.Helper()
	s, ok := spec.Builtin(name)
	if !ok {
		t.Fatalf("no spec %q", name)
	}
	return s
}

// records are those that speed and allocations are measured on.
var records = []struct{ spec, text string }{{"handbook", handbookRecord}, {"payments", paymentsRecord}}

func BenchmarkDecode(b *testing.B) {
	for _, r := range records {
		b.Run("decoder=weir/record="+r.spec, func(b *testing.B) {
			s := builtin(b, r.spec)
			d, rows, value := New(s, Options{Tokens: testTokens(b)}), newBatch(s), []byte(r.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(value)))
			n := 0
			for b.Loop() {
				if n++; n%1024 == 0 {
					rows.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
				}
				i := rows.Add(schemas.Place{Timestamp: kafkaTime})
				if reason := d.Decode(rows, i, value); reason != schemas.NoReason {
					b.Fatal(reason)
				}
			}
		})
		b.Run("decoder=encoding-json/record="+r.spec, func(b *testing.B) {
			value := []byte(r.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				if err := decodeUsual(r.spec, value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// decodeUsual is how a service that does not hurry reads the same records.
func decodeUsual(name string, value []byte) error {
	if name == "handbook" {
		var r struct {
			TRANSACTION_ID, CUSTOMER_ID, TERMINAL_ID int64
			TX_DATETIME                              string
			TX_AMOUNT                                float64
		}
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		_, err := time.Parse("2006-01-02 15:04:05", r.TX_DATETIME)
		return err
	}
	var r struct {
		ID         string    `json:"id"`
		OriginalID string    `json:"original_id"`
		Type       string    `json:"type"`
		Status     string    `json:"status"`
		Time       time.Time `json:"time"`
		Amount     string    `json:"amount"`
		Currency   string    `json:"currency"`
		Card       string    `json:"card"`
		Customer   string    `json:"customer"`
		Account    string    `json:"account"`
		Counter    string    `json:"counterparty"`
		Merchant   string    `json:"merchant"`
		MCC        string    `json:"mcc"`
		Terminal   string    `json:"terminal"`
		Country    string    `json:"country"`
		Channel    string    `json:"channel"`
		EntryMode  string    `json:"entry_mode"`
		Device     string    `json:"device"`
		IP         string    `json:"ip"`
	}
	return json.Unmarshal(value, &r)
}

func BenchmarkToken(b *testing.B) {
	h := testTokens(b).hasher()
	var dst []byte
	number := []byte("4000001234567899")
	b.ReportAllocs()
	for b.Loop() {
		dst = h.append(dst[:0], &h.current, number, true)
	}
}

func BenchmarkConvert(b *testing.B) {
	var r Rates
	for day := range int64(365) {
		for _, code := range []string{"USD", "GBP", "JPY", "CHF", "SEK"} {
			r.Set(&schemas.Rate{Currency: []byte(code), Since: day * dayMs, Num: 9132 + day, Den: 10000})
		}
	}
	code := []byte("USD")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Convert(code, 123456, 200*dayMs); !ok {
			b.Fatal("no rate")
		}
	}
}
