package alerts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// A decided is the decision of an alert, and what it says besides.
type decided struct {
	schemas.Decision
	shard   int32
	offset  int64
	reasons []schemas.AlertReason
}

// json is its record.
func (d *decided) json() []byte {
	return schemas.AppendAlertJSON(nil, &d.Decision, d.shard, d.offset, d.reasons, false)
}

// id is the alert's.
func (d *decided) id() string { return string(schemas.AppendAlertID(nil, d.shard, d.offset)) }

// decide makes a decision to alert on; cards is of how many cards it is one.
func decide(r *rand.Rand, shard int32, offset int64, cards int) *decided {
	d := &decided{shard: shard, offset: offset}
	d.Action, d.Offset, d.Bundle = schemas.Review, offset, 7
	d.Prob = r.Float32()
	d.Score, d.Threshold = d.Prob, 0.3
	d.Tx = schemas.Transaction{Time: 1_700_000_000_000 + offset*100, Amount: r.Int64N(100_000), Status: schemas.Approved}
	d.Tx.AmountBase = d.Tx.Amount
	d.Rank = d.Prob * float32(math.Sqrt(float64(d.Tx.AmountBase)))
	text := func(f schemas.TextField, prefix string, n int) {
		d.Text[f] = fmt.Appendf(nil, "%s%06x", prefix, r.IntN(n))
	}
	d.Text[schemas.ID] = fmt.Appendf(nil, "tx-%d-%d", shard, offset)
	text(schemas.Card, "card", cards)
	text(schemas.Customer, "cust", cards)
	text(schemas.Account, "acct", cards)
	text(schemas.Merchant, "shop", max(1, cards/20))
	text(schemas.Terminal, "term", max(1, cards/10))
	text(schemas.Device, "dev", cards)
	d.Text[schemas.IP] = fmt.Appendf(nil, "10.0.%d.%d", r.IntN(256), r.IntN(256))
	d.Text[schemas.Currency], d.Text[schemas.Country], d.Text[schemas.MCC] = []byte("EUR"), []byte("DE"), []byte("5411")
	d.Text[schemas.Channel] = []byte([]string{"ecom", "pos", "atm"}[r.IntN(3)])
	for _, group := range []string{"amount", "velocity", "merchant", "device"} {
		if r.IntN(2) == 0 {
			d.reasons = append(d.reasons, schemas.AlertReason{Group: []byte(group), Logit: r.Float32(), Words: [][]byte{[]byte("9.2 times this customer's 30-day mean")}})
		}
	}
	return d
}

// open opens a view, which is closed with the test.
func open(t testing.TB, file string) *View {
	t.Helper()
	v, err := OpenView(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() }) // a test may have
	return v
}

func fresh(t testing.TB) *View { return open(t, filepath.Join(t.TempDir(), "view.db")) }
