package simulate

import (
	"math"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// What the bank sends is what the built-in payments spec reads: no record is
// refused, and each field is the one that was meant.
func TestRecordsAreReadByThePaymentsSpec(t *testing.T) {
	s, ok := spec.Builtin("payments")
	if !ok {
		t.Fatal("no payments spec")
	}
	tokens, err := decode.NewTokens(decode.Key{ID: "k1", Secret: make([]byte, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := decode.New(s, decode.Options{Tokens: tokens})
	cfg := small()
	cfg.Days = 40
	b := mustNew(t, cfg)
	var tx Transaction
	var batch schemas.Batch
	var buf []byte
	var seen [schemas.NumText]int
	total := 0
	for b.Next(&tx) {
		buf = tx.AppendJSON(buf[:0])
		batch.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
		i := batch.Add(schemas.Place{Timestamp: tx.Sent})
		if r := d.Decode(&batch, i, buf); r != schemas.NoReason {
			t.Fatalf("%s: %v: %s", buf, r, d.Stopped())
		}
		got := batch.Tx[i]
		if got.Time != tx.Time || got.Amount != tx.Amount || got.Type != tx.Type || got.Status != tx.Status {
			t.Fatalf("%s: read as %+v", buf, got)
		}
		total++
		for f := range schemas.NumText {
			if len(batch.Bytes(i, f)) > 0 {
				seen[f]++
			}
		}
	}
	for f, n := range seen {
		share := float64(n) / float64(total)
		want := 1.0
		switch field := schemas.TextField(f); field {
		case schemas.OriginalID, schemas.Counterparty:
			want = 0.04
		case schemas.Device, schemas.IP:
			want = 0.26
		case schemas.Terminal, schemas.Card, schemas.Merchant, schemas.EntryMode:
			want = 0.93
		}
		if math.Abs(share-want) > 0.4*want {
			t.Errorf("%v is in %.3f of the records", schemas.TextField(f), share)
		}
	}
}

func TestRatesAreReadAsTheyAreMeant(t *testing.T) {
	cfg := DefaultConfig()
	rates := cfg.Rates()
	n := 0
	for _, cur := range cfg.Currencies {
		if cur.Code == cfg.BaseCurrency {
			continue
		}
		text := cur.AppendRate(nil)
		got, err := decode.ParseRate(text, cfg.BaseCurrency)
		want := rates[n]
		n++
		if err != nil || string(got.Currency) != string(want.Currency) || got.Num != want.Num || got.Den != want.Den || got.Since != want.Since {
			t.Errorf("%s is read as %+v, not %+v: %v", text, got, want, err)
		}
	}
	if n != len(rates) || n != 5 {
		t.Errorf("%d currencies, %d rates", n, len(rates))
	}
}
